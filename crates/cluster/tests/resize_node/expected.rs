//! What the recordings say, with the reference's defects put right: the deliberate differences, each with its reason.

use serde_json::{Value, json};

use crate::{Scenario, Told};

/// `memory.limit_in_bytes` of an unlimited cgroup v1, which the reference reports as a limit of the pod.
const UNLIMITED: &str = "9007199254740988Ki";

/// What a pod is to look like after a step.
pub fn expected(scenario: &Scenario, step: usize, pod: &str, recorded: &Value) -> Value {
    let mut expected = recorded.clone();
    let spec = scenario.pods.iter().find(|it| it["metadata"]["name"] == pod).map_or(&Value::Null, |it| &it["spec"]);
    pod_limits(&mut expected);
    pod_memory_request(&mut expected, spec);
    match (scenario.name.as_str(), step) {
        // Recorded before the node had tried; and the number in the text was the wrong one (see `CONTAINER_BELOW`).
        ("memory limit down below usage", 1) => {
            expected["resizeConditions"][0]["reason"] = json!("Error");
            expected["resizeConditions"][0]["message"] =
                json!(format!("cannot decrease memory limits: {}", both_below()));
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

/// What the reference says of the container, with the number of the usage left out: it printed the pod's, which it had
/// as 0 at that moment, and for the same reason found nothing wrong with the pod's own limit.
const CONTAINER_BELOW: &str = "attempting to set container \"app\" memory limit (31457280) below current usage (N)";

/// What there is to say: both limits would go below what is used.
fn both_below() -> String {
    format!("[attempting to set pod memory limit (31457280) below current usage (N), {CONTAINER_BELOW}]")
}

/// The events about a pod, numbers that cannot be the same left out.
pub fn events(scenario: &Scenario, pod: &str, recorded: &[Told]) -> Vec<Told> {
    let mut events: Vec<Told> =
        recorded.iter().map(|it| Told { message: comparable(&it.message, pod), ..it.clone() }).collect();
    for event in &mut events {
        // Inside JSON its quotes are escaped.
        let escaped = |text: &str| text.replace('"', "\\\"");
        event.message = event.message.replace(&escaped(CONTAINER_BELOW), &escaped(&both_below()));
    }
    if (scenario.name.as_str(), pod) == ("random schedule 5", "s5-1") {
        // The reference looks at progress outside the lock of the allocation: here it saw the old size, which was in
        // force, and said that the new generation was completed, before it was.
        events.remove(1);
    }
    events
}

/// A message without what differs from run to run: usage, namespace and UID.
pub fn comparable(message: &str, pod: &str) -> String {
    const USAGE: &str = "below current usage (";
    let mut parts = message.split(USAGE);
    let mut message = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        message.push_str(USAGE);
        message.push_str("N)");
        message.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
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

/// An unlimited cgroup v1 is no limit: ours reports what the containers' limits add up to, as the reference does for
/// CPU, and on cgroup v2 for memory too.
fn pod_limits(expected: &mut Value) {
    let sum = sum_of_memory(expected, "limits").filter(|sum| *sum > 0);
    let Some(limits) = expected.pointer_mut("/podResources/limits").and_then(Value::as_object_mut) else { return };
    if limits.get("memory").is_some_and(|it| it == UNLIMITED) {
        match sum {
            Some(sum) => limits.insert("memory".into(), json!(format!("{sum}Mi"))),
            None => limits.remove("memory"),
        };
    }
    if limits.is_empty()
        && let Some(resources) = expected["podResources"].as_object_mut()
    {
        resources.remove("limits");
    }
}

/// What the containers' memory, requests or limits, adds up to in mebibytes; `None` where one is written otherwise.
fn sum_of_memory(expected: &Value, which: &str) -> Option<i64> {
    let containers = expected["containers"].as_object();
    let amounts = containers.into_iter().flatten().filter_map(|(_, it)| it["resources"][which].get("memory"));
    amounts.map(|it| it.as_str()?.strip_suffix("Mi")?.parse::<i64>().ok()).sum()
}

/// The reference never moves `status.resources.requests.memory` of a pod from its first value; ours follows what the
/// containers report. With pod-level resources it is theirs, which no recorded step changes.
fn pod_memory_request(expected: &mut Value, spec: &Value) {
    if spec.get("resources").is_some() {
        return;
    }
    let sum = sum_of_memory(expected, "requests").filter(|sum| *sum > 0);
    if let Some(request) = expected.pointer_mut("/podResources/requests/memory")
        && let Some(sum) = sum
    {
        *request = json!(format!("{sum}Mi"));
    }
}
