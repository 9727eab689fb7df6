//! Stateful sets in a simulated cluster.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::history;
use super::super::pods;
use super::super::simulated::{Fate, World};
use super::super::view::Key;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn set(replicas: i32, image: &str, more: Value) -> Value {
    let mut spec = json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": "s"}}, "serviceName": "peers",
        "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 1,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "app", "image": image}]}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})
}

fn put(world: &mut World, object: Value) {
    world.put::<StatefulSet>(object);
}

/// `name image` of each pod that is not on its way out.
fn there(world: &World) -> Vec<String> {
    let active = world.truth.pods.iter().filter(|it| pods::is_active(it));
    active
        .map(|it| {
            let image = it.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap();
            format!("{} {image}", it.metadata.name.as_deref().unwrap())
        })
        .collect()
}

fn controllers(world: &mut World) {
    while world.see(0) || world.act(0, Fate::Whole) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ordered: at most one pod at a time is not well, and it is always that of the right slot. In parallel: never more
    /// missing than allowed. Whatever has not been seen, and wherever the program is killed.
    #[test]
    fn an_update_never_misses_more_than_it_may(
        replicas in 1..6_i32,
        parallel in any::<bool>(),
        most in 1..4_i32,
        schedule in prop::collection::vec(any::<u8>(), 0..300),
        kills in any::<bool>(),
    ) {
        let most = if parallel { most } else { 1 };
        let more = || json!({
            "podManagementPolicy": if parallel { "Parallel" } else { "OrderedReady" },
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}},
        });
        let mut world = World::new();
        put(&mut world, set(replicas, "v1", more()));
        world.settle_now();
        put(&mut world, set(replicas, "v2", more()));
        for choice in schedule {
            world.step(choice, kills);
            let serving = i32::try_from(world.serving()).unwrap();
            prop_assert!(serving >= replicas - most, "{serving} of {replicas}: {:#?}", world.told);
            prop_assert!(world.truth.pods.iter().count() <= usize::try_from(replicas).unwrap());
        }
        world.settle(MINUTE);
        let wanted: Vec<String> = (0..replicas).map(|at| format!("s-{at} v2")).collect();
        prop_assert_eq!(there(&world), wanted);
        let status = world.status::<StatefulSet>("s");
        prop_assert_eq!(&status["currentRevision"], &status["updateRevision"]);
        prop_assert_eq!(&status["currentReplicas"], &json!(replicas));
    }
}

#[test]
fn in_order_one_follows_the_other_up_and_down() {
    let mut world = World::new();
    put(&mut world, set(3, "v1", json!({})));
    for at in 0..3 {
        controllers(&mut world);
        assert_eq!(there(&world).len(), at + 1);
        world.kubelet(0);
    }
    put(&mut world, set(1, "v1", json!({})));
    controllers(&mut world);
    assert_eq!(there(&world), ["s-0 v1", "s-1 v1"]);
    controllers(&mut world);
    assert_eq!(there(&world), ["s-0 v1", "s-1 v1"], "the last one must be gone first");
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v1"]);
    assert!(
        world.told.contains(&"SuccessfulDelete: delete Pod s-2 in StatefulSet s successful".to_owned()),
        "{:#?}",
        world.told
    );
}

#[test]
fn side_by_side_all_come_at_once() {
    let mut world = World::new();
    put(&mut world, set(3, "v1", json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}})));
    controllers(&mut world);
    assert_eq!(there(&world), ["s-5 v1", "s-6 v1", "s-7 v1"]);
}

#[test]
fn a_partition_holds_lower_slots_back_also_when_they_are_made_anew() {
    let partition = |at: i32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": at}}});
    let mut world = World::new();
    put(&mut world, set(3, "v1", partition(2)));
    world.settle_now();
    put(&mut world, set(3, "v2", partition(2)));
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v1", "s-1 v1", "s-2 v2"]);
    world.set_pod(&Key::new("n", "s-0"), "Failed", false);
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v1", "s-1 v1", "s-2 v2"]);
    assert!(
        world.told.iter().any(|it| it.starts_with("RecreatingFailedPod: StatefulSet n/s is recreating failed Pod s-0"))
    );
    put(&mut world, set(3, "v2", partition(0)));
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v2", "s-1 v2", "s-2 v2"]);
}

#[test]
fn on_delete_nothing_is_touched_until_somebody_does() {
    let on_delete = || json!({"updateStrategy": {"type": "OnDelete"}});
    let mut world = World::new();
    put(&mut world, set(2, "v1", on_delete()));
    world.settle_now();
    put(&mut world, set(2, "v2", on_delete()));
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v1", "s-1 v1"]);
    world.set_pod(&Key::new("n", "s-1"), "Failed", false);
    world.settle_now();
    assert_eq!(there(&world), ["s-0 v1", "s-1 v2"]);
}

#[test]
fn a_pod_has_a_name_of_its_own_and_what_goes_with_it() {
    let mut world = World::new();
    let claim = json!({"metadata": {"name": "data"}, "spec": {}});
    put(&mut world, set(1, "v1", json!({"volumeClaimTemplates": [claim]})));
    controllers(&mut world);
    let pod = serde_json::to_value(world.truth.pods.get(&Key::new("n", "s-0")).unwrap().as_ref()).unwrap();
    let labels: BTreeMap<String, String> = serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap();
    let revision = world.truth.revisions.iter().next().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "s-0");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(labels[history::REVISION_LABEL], history::name(revision));
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("s-0"), &json!("peers")));
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-s-0");
    let claim = world.truth.claims.get(&Key::new("n", "data-s-0")).unwrap();
    assert_eq!(claim.metadata.labels.as_ref().unwrap()["app"], "s");
    // It outlives its pod, and is not made twice.
    world.set_pod(&Key::new("n", "s-0"), "Failed", false);
    world.settle_now();
    assert_eq!(world.told.iter().filter(|it| it.contains("Claim data-s-0")).count(), 1, "{:#?}", world.told);
}

#[test]
fn revisions_are_numbered_reused_and_forgotten() {
    let mut world = World::new();
    for image in ["v1", "v2", "v1"] {
        put(&mut world, set(1, image, json!({})));
        world.settle_now();
    }
    let kept = |world: &World| {
        let mut kept: Vec<(i64, String)> = world
            .truth
            .revisions
            .iter()
            .map(|it: &std::sync::Arc<ControllerRevision>| {
                let template = history::template_of(it).unwrap();
                (it.revision, template.spec.unwrap().containers[0].image.clone().unwrap())
            })
            .collect();
        kept.sort();
        kept
    };
    assert_eq!(kept(&world), [(2, "v2".to_owned()), (3, "v1".to_owned())]);
    for image in ["v3", "v4"] {
        put(&mut world, set(1, image, json!({})));
        world.settle_now();
    }
    assert_eq!(kept(&world), [(4, "v3".to_owned()), (5, "v4".to_owned())]);
}
