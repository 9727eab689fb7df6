//! Rollouts in a simulated cluster: what must hold at every moment, whatever comes in between, and what it all comes to.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};
use supple_resize::rolling::Fence;

use super::super::pods;
use super::super::simulated::World;
use super::super::view::Key;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn deployment(replicas: i32, image: &str, strategy: Value, more: Value) -> Value {
    let mut spec = json!({
        "replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "strategy": strategy,
        "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "app", "image": image}]}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"namespace": "n", "name": "d"}, "spec": spec})
}

fn rolling(surge: &str, unavailable: &str) -> Value {
    let amount = |text: &str| text.parse::<i32>().map_or_else(|_| json!(text), |it| json!(it));
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": amount(surge), "maxUnavailable": amount(unavailable)}})
}

fn put(world: &mut World, object: Value) {
    world.put::<Deployment>(object);
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

fn sets(world: &World) -> Vec<(String, i32)> {
    let mut sets: Vec<_> = world
        .truth
        .replica_sets
        .iter()
        .map(|it| {
            let spec = it.spec.as_ref().unwrap();
            let template = spec.template.as_ref().unwrap().spec.as_ref().unwrap();
            (template.containers[0].image.clone().unwrap(), spec.replicas.unwrap())
        })
        .collect();
    sets.sort();
    sets
}

fn condition(world: &World, type_: &str) -> String {
    let status = world.status::<Deployment>("d");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|it| it["type"] == type_);
    found
        .map_or_else(String::new, |it| format!("{} {}", it["status"].as_str().unwrap(), it["reason"].as_str().unwrap()))
}

#[track_caller]
fn check_complete(world: &World, replicas: usize, wanted: &str) {
    let running: Vec<&str> = world.truth.pods.iter().filter(|it| pods::is_active(it)).map(|it| image(it)).collect();
    assert_eq!(running, vec![wanted; replicas], "{:#?}", world.told);
    let status = world.status::<Deployment>("d");
    let count = i64::try_from(replicas).unwrap();
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[field].as_i64().unwrap_or(0), count, "{field} of {status:#}");
    }
    assert_eq!(condition(world, "Progressing"), "True NewReplicaSetAvailable");
    assert_eq!(condition(world, "Available"), "True MinimumReplicasAvailable");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never more pods than the surge lets, never fewer serving than may be missing: whatever the controllers have not
    /// seen yet, however pods come up, wherever the program is killed, and if the template changes again on the way.
    #[test]
    fn a_rolling_update_stays_within_its_fence(
        replicas in 1..7_i32,
        surge in prop::sample::select(vec!["0", "1", "2", "25%", "100%"]),
        unavailable in prop::sample::select(vec!["0", "1", "2", "25%", "100%"]),
        schedule in prop::collection::vec(any::<u8>(), 0..300),
        again in 0..300_usize,
        kills in any::<bool>(),
    ) {
        let mut world = World::new();
        put(&mut world, deployment(replicas, "v1", rolling(surge, unavailable), json!({})));
        world.settle_now();
        check_complete(&world, usize::try_from(replicas).unwrap(), "v1");
        let said = serde_json::from_value(rolling(surge, unavailable)["rollingUpdate"].clone()).unwrap();
        let fence = Fence::of_deployment(Some(&said), replicas);
        let (most, least) = (replicas + fence.surge, replicas - fence.unavailable);
        put(&mut world, deployment(replicas, "v2", rolling(surge, unavailable), json!({})));
        for (at, choice) in schedule.into_iter().enumerate() {
            if at == again {
                put(&mut world, deployment(replicas, "v3", rolling(surge, unavailable), json!({})));
            }
            world.step(choice, kills);
            let (active, serving) = (i32::try_from(world.active()).unwrap(), i32::try_from(world.serving()).unwrap());
            prop_assert!(active <= most, "{active} pods, at most {most}: {:#?}", world.told);
            prop_assert!(serving >= least, "{serving} serve, at least {least}: {:#?}", world.told);
        }
        put(&mut world, deployment(replicas, "v4", rolling(surge, unavailable), json!({})));
        world.settle(MINUTE);
        check_complete(&world, usize::try_from(replicas).unwrap(), "v4");
    }

    /// Two templates never run side by side.
    #[test]
    fn recreate_never_runs_two_generations(
        replicas in 1..5_i32,
        schedule in prop::collection::vec(any::<u8>(), 0..300),
        kills in any::<bool>(),
    ) {
        let strategy = || json!({"type": "Recreate"});
        let mut world = World::new();
        put(&mut world, deployment(replicas, "v1", strategy(), json!({})));
        world.settle_now();
        put(&mut world, deployment(replicas, "v2", strategy(), json!({})));
        for choice in schedule {
            world.step(choice, kills);
            let images: std::collections::BTreeSet<&str> = world.truth.pods.iter().map(|it| image(it)).collect();
            prop_assert!(images.len() <= 1, "{images:?}");
        }
        world.settle(MINUTE);
        check_complete(&world, usize::try_from(replicas).unwrap(), "v2");
    }

    /// Scaled while it rolls, and killed: it comes to what was asked for last.
    #[test]
    fn scaling_in_the_middle_comes_to_its_end(
        sizes in prop::collection::vec(0..9_i32, 1..4),
        schedule in prop::collection::vec(any::<u8>(), 0..200),
        kills in any::<bool>(),
    ) {
        let mut world = World::new();
        put(&mut world, deployment(4, "v1", rolling("1", "1"), json!({})));
        world.settle_now();
        put(&mut world, deployment(4, "v2", rolling("1", "1"), json!({})));
        for (at, choice) in schedule.iter().enumerate() {
            if at % 50 == 25 {
                let size = sizes[(at / 50) % sizes.len()];
                put(&mut world, deployment(size, "v2", rolling("1", "1"), json!({})));
            }
            world.step(*choice, kills);
        }
        let last = *sizes.last().unwrap();
        put(&mut world, deployment(last, "v2", rolling("1", "1"), json!({})));
        world.settle(MINUTE);
        check_complete(&world, usize::try_from(last).unwrap(), "v2");
    }
}

#[test]
fn only_other_sizes_make_another_generation_too() {
    let mut world = World::new();
    put(&mut world, deployment(1, "v1", rolling("1", "0"), json!({})));
    world.settle_now();
    let mut resized = deployment(1, "v1", rolling("1", "0"), json!({}));
    resized["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    put(&mut world, resized);
    world.settle_now();
    assert_eq!(sets(&world), [("v1".to_owned(), 0), ("v1".to_owned(), 1)]);
}

#[test]
fn a_pod_resized_in_place_is_still_of_its_template() {
    let mut world = World::new();
    put(&mut world, deployment(1, "v1", rolling("1", "0"), json!({})));
    world.settle_now();
    let mut pod = serde_json::to_value(world.truth.pods.iter().next().unwrap().as_ref()).unwrap();
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "2"}});
    world.put::<Pod>(pod);
    world.told.clear();
    world.settle_now();
    assert_eq!((sets(&world), world.active(), &world.told), (vec![("v1".to_owned(), 1)], 1, &Vec::new()));
}

#[test]
fn paused_it_scales_in_proportion_and_rolls_on_when_resumed() {
    let mut world = World::new();
    put(&mut world, deployment(10, "v1", rolling("3", "2"), json!({})));
    world.settle_now();
    put(&mut world, deployment(10, "v2", rolling("3", "2"), json!({})));
    // The new pods come up and serve for nobody: it stands at the fence.
    while world.see(0) || world.act(0, super::super::simulated::Fate::Whole) {}
    assert_eq!(sets(&world), [("v1".to_owned(), 8), ("v2".to_owned(), 5)]);
    let paused = |replicas| deployment(replicas, "v2", rolling("3", "2"), json!({"paused": true}));
    put(&mut world, paused(10));
    world.settle_now();
    assert_eq!(condition(&world, "Progressing"), "Unknown DeploymentPaused");
    put(&mut world, paused(15));
    world.settle_now();
    // 18 in all: 5 more, shared 8 to 5.
    assert_eq!(sets(&world), [("v1".to_owned(), 11), ("v2".to_owned(), 7)]);
    put(&mut world, deployment(15, "v2", rolling("3", "2"), json!({})));
    world.settle_now();
    check_complete(&world, 15, "v2");
}

#[test]
fn a_rollout_that_stands_still_is_told_of_after_its_deadline() {
    let mut world = World::new();
    put(&mut world, deployment(2, "v1", rolling("1", "0"), json!({"progressDeadlineSeconds": 10})));
    world.settle_now();
    put(&mut world, deployment(2, "v2", rolling("1", "0"), json!({"progressDeadlineSeconds": 10})));
    let quiet = |world: &mut World| while world.see(0) || world.act(0, super::super::simulated::Fate::Whole) {};
    quiet(&mut world);
    assert_eq!(condition(&world, "Progressing"), "True ReplicaSetUpdated");
    world.pass(SignedDuration::from_secs(12));
    quiet(&mut world);
    assert_eq!(condition(&world, "Progressing"), "False ProgressDeadlineExceeded");
    world.settle_now();
    check_complete(&world, 2, "v2");
}

#[test]
fn going_back_renumbers_the_old_generation_and_old_ones_are_forgotten() {
    let mut world = World::new();
    let at = |world: &mut World, image: &str| {
        put(world, deployment(1, image, rolling("1", "0"), json!({"revisionHistoryLimit": 2})));
        world.settle_now();
    };
    for image in ["v1", "v2", "v1"] {
        at(&mut world, image);
    }
    let annotation = |world: &World, image: &str, name: &str| {
        let of = |it: &&std::sync::Arc<ReplicaSet>| {
            it.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.as_deref()
                == Some(image)
        };
        let set = world.truth.replica_sets.iter().find(of).unwrap();
        set.metadata.annotations.as_ref().unwrap().get(name).cloned().unwrap_or_default()
    };
    assert_eq!(annotation(&world, "v1", super::revision::REVISION), "3");
    assert_eq!(annotation(&world, "v1", super::revision::HISTORY), "1");
    assert_eq!(annotation(&world, "v2", super::revision::REVISION), "2");
    let deployment = world.truth.deployments.get(&Key::new("n", "d")).unwrap();
    assert_eq!(deployment.metadata.annotations.as_ref().unwrap()[super::revision::REVISION], "3");
    for image in ["v3", "v4"] {
        at(&mut world, image);
    }
    assert_eq!(sets(&world).into_iter().map(|it| it.0).collect::<Vec<_>>(), ["v1", "v3", "v4"]);
}

#[test]
fn a_name_that_is_taken_is_counted_and_another_one_made() {
    let mut world = World::new();
    put(&mut world, deployment(1, "v1", rolling("1", "0"), json!({})));
    world.settle_now();
    let taken = world.truth.replica_sets.iter().next().unwrap().metadata.name.clone().unwrap();
    let mut world = World::new();
    let other = json!({"metadata": {"namespace": "n", "name": taken}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "other"}},
        "template": {"metadata": {"labels": {"app": "other"}}, "spec": {"containers": []}},
    }});
    world.put::<ReplicaSet>(other);
    put(&mut world, deployment(1, "v1", rolling("1", "0"), json!({})));
    world.settle_now();
    check_complete(&world, 1, "v1");
    assert_eq!(world.status::<Deployment>("d")["collisionCount"], 1);
}

#[test]
fn what_is_refused_is_told_and_goes_on_when_it_is_let() {
    let mut world = World::new();
    world.refuses_pods = Some("exceeded quota");
    put(&mut world, deployment(2, "v1", rolling("1", "0"), json!({})));
    for _ in 0..50 {
        world.step(0, false);
        world.act(0, super::super::simulated::Fate::Whole);
        world.pass(SignedDuration::from_millis(10));
    }
    assert!(world.told.contains(&"FailedCreate: Error creating: exceeded quota".to_owned()), "{:#?}", world.told);
    assert_eq!(condition(&world, "ReplicaFailure"), "True FailedCreate");
    world.refuses_pods = None;
    world.settle(MINUTE);
    check_complete(&world, 2, "v1");
    assert_eq!(condition(&world, "ReplicaFailure"), "");
}

#[test]
fn it_adopts_what_matches_and_lets_go_what_does_not() {
    let mut world = World::new();
    put(&mut world, deployment(2, "v1", rolling("1", "0"), json!({})));
    world.settle_now();
    let mut pod = serde_json::to_value(world.truth.pods.iter().next().unwrap().as_ref()).unwrap();
    let name = pod["metadata"]["name"].clone();
    let labels = pod["metadata"]["labels"].clone();
    pod["metadata"]["labels"] = json!({"app": "elsewhere"});
    world.put::<Pod>(pod);
    world.settle_now();
    let owners = |world: &World| {
        let key = Key::new("n", name.as_str().unwrap());
        world.truth.pods.get(&key).map(|it| it.metadata.owner_references.iter().flatten().count())
    };
    assert_eq!((owners(&world), world.active()), (Some(0), 3));
    let key = Key::new("n", name.as_str().unwrap());
    let mut pod = serde_json::to_value(world.truth.pods.get(&key).unwrap().as_ref()).unwrap();
    pod["metadata"]["labels"] = labels;
    world.put::<Pod>(pod);
    world.settle_now();
    // Adopted again, one is too many.
    assert_eq!(world.active(), 2);
    check_complete(&world, 2, "v1");
}
