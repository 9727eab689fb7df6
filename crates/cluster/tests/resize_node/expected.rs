//! What the recordings say, with the reference's defects put right: the deliberate differences, each with its reason.

use serde_json::{Value, json};

use crate::{Scenario, Told};

/// `memory.limit_in_bytes` of an unlimited cgroup v1, which the reference reports as a limit of the pod.
const UNLIMITED: &str = "9007199254740988Ki";

/// What a pod is to look like after a step.
pub fn expected(scenario: &Scenario, step: usize, pod: &str, recorded: &Value) -> Value {
    let mut expected = recorded.clone();
    let spec = scenario.pods.iter().find(|it| it["metadata"]["name"] == pod).map_or(&Value::Null, |it| &it["spec"]);
    pod_limits(&mut expected, spec);
    pod_memory_request(&mut expected, spec);
    match (scenario.name.as_str(), step) {
        // Recorded before the node had tried; and the number in the text was the wrong one (see `event`).
        ("memory limit down below usage", 1) => {
            expected["resizeConditions"][0]["reason"] = json!("Error");
            expected["resizeConditions"][0]["message"] = json!(BELOW_USAGE);
        }
        // A container that crashes, never started or was OOM-killed: the reference says the resize is completed and
        // leaves the pod's cgroup as it was, so that the container dies again under the old limit.
        ("crash-looping container", 1) => {
            let container = &mut expected["containers"]["app"];
            container["restartCount"] = json!(2);
            container["reason"] = json!("CrashLoopBackOff");
            container["lastTermination"] = json!("Error");
            expected["podResources"] = expected["containers"]["app"]["resources"].clone();
            expected["cgroups"]["pod"] = cgroup(153, 30000, 256);
        }
        ("image not available (container never started)", 1) => {
            expected["cgroups"]["pod"] = cgroup(153, 30000, 256);
        }
        ("OOM-killed in a loop, then memory raised", 1) => {
            let container = &mut expected["containers"]["app"];
            container["restartCount"] = json!(2);
            container["state"] = json!("running");
            container["reason"] = Value::Null;
            expected["podResources"] = expected["containers"]["app"]["resources"].clone();
            expected["cgroups"]["pod"] = cgroup(102, 50000, 400);
            expected["cgroups"]["app"] = cgroup(102, 50000, 400);
        }
        _ => {}
    }
    expected
}

/// The text of the memory guard, with the number of the usage left out: it is whatever the process uses.
pub const BELOW_USAGE: &str = "cannot decrease memory limits: attempting to set container \"app\" memory limit (31457280) below current usage (N)";

/// An event, numbers that cannot be the same left out.
pub fn event(recorded: &Told, pod: &str) -> Told {
    Told { message: comparable(&recorded.message, pod), ..recorded.clone() }
}

/// A message without what differs from run to run: usage, namespace and UID.
pub fn comparable(message: &str, pod: &str) -> String {
    const USAGE: &str = "below current usage (";
    let mut message = message.to_owned();
    if let Some((before, after)) = message.split_once(USAGE)
        && let Some((_, rest)) = after.split_once(')')
    {
        message = format!("{before}{USAGE}N){rest}");
    }
    let place = format!(" in pod {pod}_");
    if let Some((before, _)) = message.split_once(&place) {
        message = format!("{before}{place}NS(UID)");
    }
    message
}

fn cgroup(shares: i64, quota: i64, mebibytes: i64) -> Value {
    json!({ "cpu.shares": shares, "cpu.cfs_quota_us": quota, "memory.limit_in_bytes": mebibytes << 20 })
}

/// An unlimited cgroup is no limit.
fn pod_limits(expected: &mut Value, _spec: &Value) {
    let Some(limits) = expected.pointer_mut("/podResources/limits").and_then(Value::as_object_mut) else { return };
    limits.retain(|_, limit| limit != UNLIMITED);
    if limits.is_empty()
        && let Some(resources) = expected["podResources"].as_object_mut()
    {
        resources.remove("limits");
    }
}

/// The reference never moves `status.resources.requests.memory` of a pod from its first value; ours follows what the
/// containers report. With pod-level resources it is theirs, which no recorded step changes.
fn pod_memory_request(expected: &mut Value, spec: &Value) {
    if spec.get("resources").is_some() {
        return;
    }
    let containers = expected["containers"].as_object();
    let requests = containers.into_iter().flatten().map(|(_, it)| it.pointer("/resources/requests/memory"));
    let mebibytes: Option<i64> =
        requests.map(|it| it?.as_str()?.strip_suffix("Mi")?.parse::<i64>().ok()).sum::<Option<i64>>();
    if let Some(request) = expected.pointer_mut("/podResources/requests/memory")
        && let Some(sum) = mebibytes
    {
        *request = json!(format!("{sum}Mi"));
    }
}
