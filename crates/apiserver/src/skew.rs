//! Clients that are older than a field they would fail on. `kubectl edit` compares what it was given with what was saved
//! by the types compiled into it, and gives up at a changed map those types lack. A resize shows in such maps of a pod's
//! status, and an editor that replaces an amount everywhere changes them too; the server ignores a status in an edit, so
//! it need not be shown. Only `edit` is treated so: every other command prints what it gets.

use http::HeaderMap;
use http::header::USER_AGENT;
use serde_json::Value;

use crate::kinds::Resource;

/// A field that clients before a minor version do not know.
struct Newer {
    plural: &'static str,
    /// The first minor version of kubectl whose types have the field.
    since: u32,
    /// The object that holds it.
    within: &'static str,
    field: &'static str,
}

const NEWER: &[Newer] = &[
    Newer { plural: "pods", since: 35, within: "status", field: "resources" },
    Newer { plural: "pods", since: 35, within: "status", field: "allocatedResources" },
];

/// The minor version of a `kubectl edit` that asks, if it is one that lacks fields of ours.
pub(crate) fn old_editor(headers: &HeaderMap) -> Option<u32> {
    let text = |value: Option<&http::HeaderValue>| value.and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    if !text(headers.get("kubectl-command")).starts_with("kubectl edit") {
        return None;
    }
    let agent = text(headers.get(USER_AGENT));
    let minor: u32 = agent.strip_prefix("kubectl/v1.")?.split(['.', '+', '-', ' ']).next()?.parse().ok()?;
    NEWER.iter().any(|it| minor < it.since).then_some(minor)
}

/// Takes out of an object what an editor of this minor version does not know.
pub(crate) fn hide(resource: &Resource, object: &mut Value, minor: u32) {
    for newer in NEWER.iter().filter(|it| it.plural == resource.plural && minor < it.since) {
        if let Some(within) = object.get_mut(newer.within).and_then(Value::as_object_mut) {
            within.remove(newer.field);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::kinds;

    #[track_caller]
    fn check(agent: &'static str, command: &'static str, expected: Option<u32>) {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert("kubectl-command", HeaderValue::from_static(command));
        assert_eq!(old_editor(&headers), expected, "{agent} {command}");
    }

    #[test]
    fn only_old_editors_are_spared() {
        check("kubectl/v1.32.4 (linux/amd64) kubernetes/4cb5f07", "kubectl edit", Some(32));
        check("kubectl/v1.34.0+k3s1 (linux/amd64)", "kubectl edit", Some(34));
        check("kubectl/v1.35.0 (linux/amd64)", "kubectl edit", None);
        check("kubectl/v1.32.4 (linux/amd64)", "kubectl get", None);
        check("supple", "kubectl edit", None);
        assert_eq!(old_editor(&HeaderMap::new()), None);
    }

    #[test]
    fn what_they_lack_is_hidden() {
        let pods = kinds::find("", "v1", "pods").expect("served");
        let mut pod = json!({"spec": {"resources": {}}, "status": {"resources": {}, "allocatedResources": {}, "phase": "Running"}});
        hide(pods, &mut pod, 32);
        assert_eq!(pod, json!({"spec": {"resources": {}}, "status": {"phase": "Running"}}));
        let nodes = kinds::find("", "v1", "nodes").expect("served");
        let mut node = json!({"status": {"resources": {}}});
        hide(nodes, &mut node, 32);
        assert_eq!(node, json!({"status": {"resources": {}}}));
    }
}
