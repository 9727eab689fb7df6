//! Budgets over pods with and without owners.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::super::simulated::{Fate, World};
use super::super::view::Key;

fn budget(world: &mut World, spec: Value) {
    let mut all = json!({"selector": {"matchLabels": {"app": "a"}}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    world.put::<PodDisruptionBudget>(json!({"metadata": {"namespace": "n", "name": "b"}, "spec": all}));
}

/// Four pods of a Deployment; all but `unready` are ready.
fn workload(unready: usize) -> World {
    let mut world = World::new();
    world.put::<Deployment>(json!({"metadata": {"namespace": "n", "name": "a"}, "spec": {
        "replicas": 4, "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }}));
    world.settle_now();
    let keys: Vec<Key> = world.truth.pods.iter().take(unready).map(|it| Key::of(&it.metadata)).collect();
    for key in keys {
        world.set_pod(&key, "Running", false);
    }
    world
}

#[track_caller]
fn check(unready: usize, spec: Value, expect: [i64; 4]) {
    let mut world = workload(unready);
    budget(&mut world, spec.clone());
    world.settle_now();
    let status = world.status::<PodDisruptionBudget>("b");
    let fields = ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"];
    assert_eq!(fields.map(|it| status[it].as_i64().unwrap()), expect, "{spec}");
    let (is, reason) = if expect[3] > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    assert_eq!((&status["conditions"][0]["status"], &status["conditions"][0]["reason"]), (&json!(is), &json!(reason)));
    assert_eq!(status["observedGeneration"], 1);
}

#[test]
fn what_is_granted_is_what_is_healthy_beyond_what_is_wanted() {
    check(0, json!({"minAvailable": 3}), [4, 3, 4, 1]);
    check(1, json!({"minAvailable": 3}), [4, 3, 3, 0]);
    check(2, json!({"minAvailable": 3}), [4, 3, 2, 0]);
    check(0, json!({"minAvailable": "60%"}), [4, 3, 4, 1]);
    check(0, json!({"maxUnavailable": 1}), [4, 3, 4, 1]);
    check(1, json!({"maxUnavailable": 1}), [4, 3, 3, 0]);
    check(0, json!({"maxUnavailable": "30%"}), [4, 2, 4, 2]);
    check(0, json!({"maxUnavailable": 9}), [4, 0, 4, 4]);
    check(0, json!({"minAvailable": 0}), [4, 0, 4, 4]);
    check(0, json!({"maxUnavailable": 1, "selector": {"matchLabels": {"app": "none"}}}), [0, 0, 0, 0]);
    check(0, json!({"maxUnavailable": 1, "selector": {}}), [4, 3, 4, 1]);
}

#[test]
fn it_follows_pods_and_owners() {
    let mut world = workload(0);
    budget(&mut world, json!({"minAvailable": "50%"}));
    world.settle_now();
    let allowed = |world: &World| world.status::<PodDisruptionBudget>("b")["disruptionsAllowed"].clone();
    assert_eq!(allowed(&world), 2);
    let key = Key::of(&world.truth.pods.iter().next().unwrap().metadata);
    world.set_pod(&key, "Running", false);
    world.settle_now();
    assert_eq!(allowed(&world), 1);
    world.put::<Pod>(
        json!({"metadata": {"namespace": "n", "name": "alone", "labels": {"app": "a"}}, "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    world.settle_now();
    assert_eq!(allowed(&world), 2, "it counts as healthy, and wants nothing");
    world.put::<StatefulSet>(json!({"metadata": {"namespace": "n", "name": "other"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "a", "kind": "s"}}, "serviceName": "",
        "template": {"metadata": {"labels": {"app": "a", "kind": "s"}}, "spec": {"containers": []}},
    }}));
    world.settle_now();
    assert_eq!(allowed(&world), 3, "six are wanted, three of them must stay, six serve");
}

#[test]
fn a_granted_eviction_counts_until_the_pod_goes_or_does_not() {
    let mut world = workload(0);
    budget(&mut world, json!({"minAvailable": 2}));
    world.settle_now();
    let pod = Key::of(&world.truth.pods.iter().next().unwrap().metadata);
    let key = Key::new("n", "b");
    let mut granted = serde_json::to_value(world.truth.budgets.get(&key).unwrap().as_ref()).unwrap();
    granted["status"]["disruptedPods"] = json!({pod.name.clone(): world.now, "vanished": world.now});
    granted["status"]["disruptionsAllowed"] = json!(1);
    world.put::<PodDisruptionBudget>(granted);
    while world.see(0) || world.act(0, Fate::Whole) {}
    let status = world.status::<PodDisruptionBudget>("b");
    assert_eq!((&status["currentHealthy"], &status["disruptionsAllowed"]), (&json!(3), &json!(1)));
    assert_eq!(status["disruptedPods"].as_object().unwrap().keys().collect::<Vec<_>>(), [&pod.name]);
    world.pass(SignedDuration::from_secs(121));
    while world.see(0) || world.act(0, Fate::Whole) {}
    let status = world.status::<PodDisruptionBudget>("b");
    assert_eq!((&status["currentHealthy"], &status["disruptedPods"]), (&json!(4), &Value::Null));
    assert!(world.told.contains(&"NotDeleted: Pod was expected by PDB n/b to be deleted but it wasn't".to_owned()));
}
