//! A forecast is what the node then does: any pods on a node of plain values, any resizes, each foreseen from the API's
//! objects alone and then enacted.

use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::json;
use supple_resize::predict::{Change, Forecast, NamespaceSight, NodeSight, Reason, Stage as Part, predict};
use supple_resize::resources::containers;

use crate::properties::any_pod;
use crate::stage::Stage;
use crate::support::pod;
use crate::times::times;

/// The pod of a line as it is created: `used` bytes of memory in each container.
fn created(name: &str, line: &str, used: u32) -> Pod {
    let mut pod = pod(line);
    pod.metadata.name = Some(name.to_owned());
    let spec = pod.spec.as_mut().expect("has one");
    spec.node_name = Some("n".to_owned());
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container.image = Some("i".to_owned());
        container.image_pull_policy = Some("Never".to_owned());
        container.termination_message_policy = Some("File".to_owned());
        container.command = Some(vec![format!("head -c {used} /dev/zero")]);
    }
    supple_resize::defaults::apply(&mut pod);
    pod
}

fn node() -> Node {
    let features = ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"];
    serde_json::from_value(json!({
        "metadata": {"name": "n"},
        "status": {"allocatable": {"cpu": "2", "memory": "24581696Ki", "pods": "110"}, "declaredFeatures": features},
    }))
    .expect("a node")
}

/// From what anybody sees in the API, and what the metrics say.
fn foresee(stage: &Stage, name: &str, change: &Change) -> Forecast {
    let others = stage.actors.iter().filter(|(it, _)| *it != name).map(|(_, it)| &it.api);
    let actor = &stage.actors[name];
    let sight = NodeSight::from_api(&node(), others);
    predict(&actor.api, change, &sight, &NamespaceSight::default(), Some(&actor.usage()))
}

fn check(stage: &mut Stage, name: &str, change: &Change) {
    let forecast = foresee(stage, name, change);
    let reason = forecast.obstacle.as_ref().map(|it| it.reason);
    if reason.is_some_and(|it| it.stage() <= Part::Api) {
        return; // what the API refuses is held against records elsewhere
    }
    let before = stage.actors[name].restarts.clone();
    stage.resize(name, change);
    let after = &stage.actors[name];
    let told = || format!("{forecast:#?}\nafter {:#?}\n{:#?}", after.conditions, after.actuated);
    assert_eq!(after.conditions.pending.is_some(), reason == Some(Reason::Deferred), "{}", told());
    let failed = after.conditions.in_progress.as_ref().is_some_and(|it| it.error.is_some());
    match reason {
        // What was promised before may still wait for memory, which this forecast is not about.
        Some(Reason::Deferred) => return,
        // As it says itself.
        _ if !forecast.unforeseen.is_empty() => return,
        _ => assert_eq!(failed, reason == Some(Reason::MemoryBelowUsage), "{}", told()),
    }
    if failed {
        assert_eq!(after.restarts, before, "nothing was killed for it");
        return;
    }
    let count = |it: &str, all: &std::collections::BTreeMap<String, u32>| all.get(it).copied().unwrap_or_default();
    for container in containers(&after.api).map(|it| it.container) {
        let name = &container.name;
        let started = count(name, &after.restarts) > count(name, &before);
        let foreseen = forecast.restarts.contains(name);
        assert!(!foreseen || started || !after.running.contains_key(name), "{name}: {}", told());
        if let Some(cgroup) = after.running.get(name) {
            let mut expected = forecast.cgroups.containers[name];
            // What started without a CPU request has shares that follow its limit.
            expected.cpu_shares = if started { cgroup.cpu_shares } else { expected.cpu_shares };
            let untouched = expected.cpu_shares == Some(2);
            expected.cpu_shares = if untouched { cgroup.cpu_shares } else { expected.cpu_shares };
            assert_eq!(*cgroup, expected, "{name}: {}", told());
        }
    }
    assert_eq!(after.cgroup, forecast.cgroups.pod, "{}", told());
}

proptest! {
    #![proptest_config(times(256))]

    #[test]
    fn what_is_foreseen_is_what_happens(
        pods in proptest::collection::vec((any_pod(), 0..20_u32), 1..4),
        asked in proptest::collection::vec((0..4_usize, 1..3_usize), 1..8),
    ) {
        let mut stage = Stage::new("");
        let mut created_pods = Vec::new();
        for (index, (lines, used)) in pods.iter().enumerate() {
            let name = format!("p{index}");
            let pod = created(&name, &lines[0], used << 20);
            if stage.admits(&pod) {
                stage.create(&pod);
                created_pods.push((name, lines, used));
            }
        }
        for (index, size) in asked {
            let Some((name, lines, used)) = created_pods.get(index) else { continue };
            let change = Change::between(&stage.actors[name].api, &created(name, &lines[size], **used));
            check(&mut stage, name, &change);
        }
    }
}
