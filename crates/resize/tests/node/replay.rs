//! The recorded scenarios of a running node, enacted by the library alone on a stage of plain values: no kernel, no
//! disk, no network, and every pod at rest between two steps.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use serde::Deserialize;
use serde_json::{Value, json};
use supple_resize::actuate;
use supple_resize::event::ResizeEvent;
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::predict::{Change, Sizes};

use crate::recorded;
use crate::stage::{Actor, Stage};

#[derive(Deserialize)]
struct Scenario {
    name: String,
    pods: Vec<Pod>,
    steps: Vec<Step>,
    events: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
struct Step {
    step: String,
    resize: Option<String>,
    patch: Option<Value>,
    observed: BTreeMap<String, Option<Value>>,
}

/// A recorded patch as a change.
fn change(patch: &Value) -> Change {
    let mut change = Change::default();
    for list in ["containers", "initContainers"] {
        for entry in patch["spec"][list].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().expect("a name").to_owned();
            change.containers.insert(name, sizes(&entry["resources"]));
        }
    }
    change.pod = sizes(&patch["spec"]["resources"]);
    change
}

fn sizes(resources: &Value) -> Sizes {
    let requirements: Option<ResourceRequirements> = serde_json::from_value(resources.clone()).expect("resources");
    Sizes::of(requirements.as_ref())
}

/// What is compared, in the form it was recorded.
fn observed(actor: &Actor) -> Value {
    let status = actor.api.status.as_ref().expect("reported");
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let cgroup = |it: &CgroupResources| {
        let memory = it.memory_limit().map_or(json!("max"), |it| json!(it.0));
        json!({"cpu.shares": it.cpu_shares, "cpu.cfs_quota_us": it.cpu_quota_us, "memory.limit_in_bytes": memory})
    };
    let mut cgroups: BTreeMap<&str, Value> =
        actor.running.iter().map(|(name, it)| (name.as_str(), cgroup(it))).collect();
    cgroups.insert("pod", cgroup(&actor.cgroup));
    let conditions = actor.conditions.to_conditions();
    let conditions = conditions.iter().map(|it| {
        let mut shown = json!({"type": it.type_, "status": it.status, "observedGeneration": it.observed_generation});
        // Recorded in the moment before the first attempt's error was reported.
        if it.type_ == "PodResizePending" {
            shown["reason"] = json!(it.reason);
            shown["message"] = json!(it.message);
        }
        shown
    });
    let containers = statuses.map(|it| {
        let restarts = actor.restarts.get(&it.name).copied().unwrap_or_default();
        let value = json!({
            "resources": it.resources, "allocatedResources": it.allocated_resources, "restartCount": restarts,
        });
        (it.name.as_str(), value)
    });
    json!({
        "generation": actor.api.metadata.generation,
        "phase": status.phase,
        "qosClass": status.qos_class,
        "resizeConditions": conditions.collect::<Vec<_>>(),
        "podResources": status.resources,
        "podAllocated": status.allocated_resources,
        "containers": containers.collect::<BTreeMap<_, _>>(),
        "cgroups": cgroups,
    })
}

/// What was recorded, without what is not the library's (state and reason of containers) and without the reference's
/// defects that do not depend on the scenario: the pod's memory request that never follows, and cgroup v1's number for
/// "no limit".
fn comparable(recorded: &Value, ours: &Value) -> Value {
    let mut recorded = recorded.clone();
    for container in recorded["containers"].as_object_mut().into_iter().flat_map(|it| it.values_mut()) {
        let container = container.as_object_mut().expect("an object");
        for not_ours in ["state", "reason", "lastTermination"] {
            container.remove(not_ours);
        }
    }
    let followed = &ours["podResources"]["requests"]["memory"];
    let pod = recorded["podResources"].as_object_mut().expect("an object");
    if !followed.is_null() {
        pod["requests"]["memory"] = followed.clone();
    }
    if let Some(limits) = pod.get_mut("limits").and_then(Value::as_object_mut) {
        if limits.get("memory") == Some(&json!("9007199254740988Ki")) {
            limits.remove("memory");
            limits.extend(ours["podResources"]["limits"]["memory"].as_str().map(|it| ("memory".to_owned(), json!(it))));
        }
        if limits.is_empty() {
            pod.remove("limits");
        }
    }
    recorded
}

/// Scenarios in which the reference did the wrong thing (its defect 1), and what ours does.
const CRASHED: [&str; 3] = [
    "crash-looping container",
    "image not available (container never started)",
    "OOM-killed in a loop, then memory raised",
];

fn play(scenario: &Scenario) {
    let mut stage = Stage::new(&scenario.name);
    for pod in &scenario.pods {
        stage.create(pod);
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        if let (Some(name), Some(patch)) = (&step.resize, &step.patch) {
            stage.resize(name, &change(patch));
        } else if let Some(name) = step.step.strip_suffix(" deleted") {
            stage.actors.remove(name);
            stage.retry();
        }
        for (name, recorded) in &step.observed {
            let (Some(actor), Some(recorded)) = (stage.actors.get(name), recorded) else { continue };
            let ours = observed(actor);
            let mut recorded = comparable(recorded, &ours);
            if CRASHED.contains(&scenario.name.as_str()) && (index > 0 || step.step != "start") {
                let grown = CgroupResources::of(&actuate::pod_amounts(&actor.api), DEFAULT_PERIOD_US);
                assert_eq!(actor.cgroup, grown, "{}: the pod has grown", scenario.name);
                for differing in ["cgroups", "podResources"] {
                    recorded[differing] = ours[differing].clone();
                }
            }
            if CRASHED.contains(&scenario.name.as_str()) {
                recorded["containers"]["app"]["restartCount"] = ours["containers"]["app"]["restartCount"].clone();
            }
            assert_eq!(ours, recorded, "{}, step {index} ({}), pod {name}", scenario.name, step.step);
        }
    }
    if scenario.name == CRASHED[2] {
        assert!(stage.actors["e3"].running.contains_key("app"), "it has room now");
    }
    for (name, recorded) in &scenario.events {
        let Some(actor) = stage.actors.get(name) else { continue };
        let told = |it: &Value| {
            (
                it["reason"].as_str().unwrap_or_default().to_owned(),
                it["message"].as_str().unwrap_or_default().to_owned(),
            )
        };
        // The error names a usage that the stage makes up.
        let plain = |(reason, message): (String, String)| {
            let message = message.split_once(",\"error\":\"cannot").map_or(message.as_str(), |(it, _)| it).to_owned();
            (reason, message)
        };
        let recorded = recorded.iter().map(told);
        let recorded = recorded.filter(|it| it.0.starts_with("Resize") || it.1.ends_with("requires restart"));
        let mut begun = String::new();
        // A race of the reference (§4.5) told the completion of a size that was not the one begun.
        let completes_what_began = |it: &(String, String)| {
            let size = it.1.split_once('{').map_or("", |(_, size)| size);
            if it.0 == "ResizeStarted" {
                size.clone_into(&mut begun);
            }
            it.0 != "ResizeCompleted" || size == begun
        };
        let recorded: Vec<_> = recorded.filter(completes_what_began).map(plain).collect();
        // The same event again was recorded as a count on the first.
        let mut seen = BTreeSet::new();
        let first = |it: &&ResizeEvent| it.reason != "Killing" || seen.insert(it.message.clone());
        let ours: Vec<_> =
            actor.events.iter().filter(first).map(|it| plain((it.reason.to_owned(), it.message.clone()))).collect();
        assert_eq!(ours, recorded, "{}: events of {name}", scenario.name);
    }
}

#[test]
fn the_recorded_scenarios() {
    if let Some(scenarios) = recorded::read::<Vec<Scenario>>("resize-node.json") {
        assert!(scenarios.len() >= 29, "{} scenarios", scenarios.len());
        scenarios.iter().for_each(play);
    }
}
