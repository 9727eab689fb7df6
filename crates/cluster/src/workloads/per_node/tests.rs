//! Daemon sets in a simulated cluster.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::pods;
use super::super::simulated::{Fate, World};
use super::target;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn set(image: &str, strategy: Value, more: Value) -> Value {
    let mut of_pod = json!({"containers": [{"name": "app", "image": image}]});
    of_pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"namespace": "n", "name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "d"}}, "updateStrategy": strategy, "revisionHistoryLimit": 10,
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": of_pod},
    }})
}

fn rolling(surge: i32, unavailable: i32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn node(world: &mut World, name: &str, labels: Value, taint: Option<(&str, &str)>) {
    let taints: Vec<Value> = taint.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
    world.put::<Node>(json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}}));
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

/// `node image` of each pod that is not on its way out.
fn there(world: &World) -> Vec<String> {
    let active = world.truth.pods.iter().filter(|it| pods::is_active(it));
    let mut there: Vec<String> = active.map(|it| format!("{} {}", target(it).unwrap(), image(it))).collect();
    there.sort();
    there
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never more nodes without a serving pod than may be, never more with two than the surge lets.
    #[test]
    fn an_update_stays_within_its_fence(
        nodes in 1..6_usize,
        surge in 0..3_i32,
        unavailable in 1..3_i32,
        schedule in prop::collection::vec(any::<u8>(), 0..300),
        kills in any::<bool>(),
    ) {
        let unavailable = if surge > 0 { 0 } else { unavailable };
        let mut world = World::new();
        for at in 0..nodes {
            node(&mut world, &format!("node-{at}"), json!({}), None);
        }
        world.put::<DaemonSet>(set("v1", rolling(surge, unavailable), json!({})));
        world.settle_now();
        prop_assert_eq!(there(&world).len(), nodes);
        world.put::<DaemonSet>(set("v2", rolling(surge, unavailable), json!({})));
        for choice in schedule {
            world.step(choice, kills);
            let on = |at: usize, is: &dyn Fn(&Pod) -> bool| {
                let name = format!("node-{at}");
                world.truth.pods.iter().filter(|it| target(it) == Some(&name) && pods::is_active(it) && is(it)).count()
            };
            let missing = (0..nodes).filter(|at| on(*at, &|pod| pods::is_ready(pod)) == 0).count();
            prop_assert!(i32::try_from(missing).unwrap() <= unavailable, "{missing} missing: {:#?}", there(&world));
            let doubled = (0..nodes).filter(|at| on(*at, &|_| true) > 1).count();
            prop_assert!(i32::try_from(doubled).unwrap() <= surge, "{doubled} doubled: {:#?}", there(&world));
        }
        world.settle(MINUTE);
        let wanted: Vec<String> = (0..nodes).map(|at| format!("node-{at} v2")).collect();
        prop_assert_eq!(there(&world), wanted);
        let status = world.status::<DaemonSet>("d");
        for field in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable", "updatedNumberScheduled"] {
            prop_assert_eq!(&status[field], &json!(nodes), "{} of {}", field, status);
        }
    }
}

#[test]
fn every_node_that_will_have_it_gets_one() {
    let mut world = World::new();
    node(&mut world, "plain", json!({}), None);
    node(&mut world, "ssd", json!({"disk": "ssd"}), None);
    node(&mut world, "cordoned", json!({"disk": "ssd"}), Some(("node.kubernetes.io/unschedulable", "NoSchedule")));
    node(&mut world, "kept", json!({"disk": "ssd"}), Some(("team", "NoSchedule")));
    node(&mut world, "shut", json!({"disk": "ssd"}), Some(("team", "NoExecute")));
    world.put::<DaemonSet>(set("v1", rolling(0, 1), json!({"nodeSelector": {"disk": "ssd"}})));
    world.settle_now();
    assert_eq!(there(&world), ["cordoned v1", "ssd v1"]);
    node(&mut world, "plain", json!({"disk": "ssd"}), None);
    node(&mut world, "ssd", json!({}), None);
    // A taint that only keeps newcomers out does not drive anybody away.
    node(&mut world, "cordoned", json!({"disk": "ssd"}), Some(("team", "NoSchedule")));
    world.settle_now();
    assert_eq!(there(&world), ["cordoned v1", "plain v1"]);
    assert_eq!(world.status::<DaemonSet>("d")["numberMisscheduled"], 1);
    node(&mut world, "cordoned", json!({"disk": "ssd"}), Some(("team", "NoExecute")));
    world.settle_now();
    assert_eq!(there(&world), ["plain v1"]);
}

#[test]
fn on_delete_nothing_is_touched_and_what_failed_is_made_anew() {
    let mut world = World::new();
    node(&mut world, "a", json!({}), None);
    let strategy = || json!({"type": "OnDelete"});
    world.put::<DaemonSet>(set("v1", strategy(), json!({})));
    world.settle_now();
    world.put::<DaemonSet>(set("v2", strategy(), json!({})));
    world.settle_now();
    assert_eq!(there(&world), ["a v1"]);
    let key = super::super::view::Key::of(&world.truth.pods.iter().next().unwrap().metadata);
    world.set_pod(&key, "Failed", false);
    while world.see(0) || world.act(0, Fate::Whole) {}
    assert!(
        world.told.iter().any(|it| it.starts_with("FailedDaemonPod: Found failed daemon pod n/")),
        "{:#?}",
        world.told
    );
    world.settle_now();
    assert_eq!(there(&world), ["a v2"]);
}
