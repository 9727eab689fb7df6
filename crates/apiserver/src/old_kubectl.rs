//! What kubectl before 1.35 needs to be able to `edit` a pod.
//!
//! `kubectl edit` makes its patch with the Go types it was compiled with and gives up on an object with a list or map
//! they do not have ("unable to find api field in struct PodStatus"). 1.35 gave the pod's status two such fields. Nobody
//! can edit a status, so to that one command, in those versions, they are not shown; to every other they are.

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::Value;

/// The fields of a pod's status that 1.35 brought.
const UNKNOWN: [&str; 2] = ["allocatedResources", "resources"];

/// The first minor version of kubectl that knows them.
const KNOWS: u32 = 35;

/// The object as the client can read it.
pub fn readable(headers: &HeaderMap, object: Bytes) -> Bytes {
    if !is_old_edit(headers) {
        return object;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&object) else { return object };
    if value.get("kind").and_then(Value::as_str) != Some("Pod") {
        return object;
    }
    let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) else { return object };
    for field in UNKNOWN {
        status.remove(field);
    }
    value.to_string().into()
}

fn is_old_edit(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let version = text(header::USER_AGENT.as_str()).strip_prefix("kubectl/v1.");
    let minor = version.and_then(|rest| rest.split('.').next()).and_then(|minor| minor.parse::<u32>().ok());
    text("kubectl-command") == "kubectl edit" && minor.is_some_and(|minor| minor < KNOWS)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(agent: &'static str, command: &'static str, object: &'static str, expect: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        headers.insert("Kubectl-Command", HeaderValue::from_static(command));
        assert_eq!(readable(&headers, Bytes::from_static(object.as_bytes())), expect);
    }

    #[test]
    fn only_an_old_edit_of_a_pod_is_spared() {
        let pod = r#"{"kind":"Pod","status":{"allocatedResources":{},"phase":"Running","resources":{}}}"#;
        let spared = r#"{"kind":"Pod","status":{"phase":"Running"}}"#;
        let old = "kubectl/v1.32.4 (linux/amd64) kubernetes/4cb5f07";
        check(old, "kubectl edit", pod, spared);
        check("kubectl/v1.34.0 (linux/amd64)", "kubectl edit", pod, spared);
        check("kubectl/v1.36.2 (linux/amd64)", "kubectl edit", pod, pod);
        check(old, "kubectl get", pod, pod);
        check("curl/8", "kubectl edit", pod, pod);
        let node = r#"{"kind":"Node","status":{"resources":{}}}"#;
        check(old, "kubectl edit", node, node);
    }
}
