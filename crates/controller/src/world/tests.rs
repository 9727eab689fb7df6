//! The loop's conclusions, driven event by event with made-up time.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use supple_quantity::{Bytes, MilliCpu};

use super::*;
use crate::samples::Sample;
use supple_decide::note::{ANNOTATION, Author, LastResize};

const MINUTE: i64 = 60;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(extra: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"namespace": "d", "name": "p", "uid": "u", "generation": 1, "labels": {ENABLED: "true"},
                     "creationTimestamp": at(0)},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
        "status": {"phase": "Running"},
    });
    json_patch::merge(&mut pod, &extra);
    serde_json::from_value(pod).unwrap()
}

fn used(second: i64, cpu: i64, memory_mib: i64) -> Event {
    let sample = Sample { at: at(second), cpu: MilliCpu(cpu), memory: Bytes(memory_mib << 20) };
    let containers = [("c".to_owned(), sample)].into_iter().collect();
    Event::Usage(Ok(vec![PodUse { namespace: "d".into(), name: "p".into(), containers }]))
}

/// A world that has seen the pod use 100m and 100Mi for three samples up to `second`; what they brought.
fn after_samples(world: &mut World, second: i64) -> Vec<Effect> {
    let mut effects = Vec::new();
    for before in [30, 15, 0] {
        effects.extend(world.apply(used(second - before, 100, 100), at(second - before)));
    }
    effects
}

fn world_with(pod: Pod) -> World {
    let mut world = World::new(Policy::default());
    assert_eq!(world.apply(Event::Pod(Box::new(pod)), at(1)), []);
    world
}

#[track_caller]
fn check_left_alone(extra: Value, state: &str) {
    let mut world = world_with(pod(extra));
    assert_eq!(after_samples(&mut world, 20 * MINUTE), []);
    assert_eq!(world.snapshot(at(20 * MINUTE)).rows.first().map_or("no row", |it| &it.state), state);
}

fn key() -> PodKey {
    PodKey { namespace: "d".into(), name: "p".into(), uid: "u".into() }
}

fn ended(reason: Reason) -> Event {
    Event::Ended(Ended { pod: key(), reason, message: "because".into() })
}

#[test]
fn a_tick_measures() {
    assert_eq!(World::new(Policy::default()).apply(Event::Tick, at(0)), [Effect::Measure]);
}

#[test]
fn an_oversized_pod_is_shrunk_once() {
    let mut world = world_with(pod(json!({})));
    let effects = after_samples(&mut world, 20 * MINUTE);
    let [Effect::Resize(Request { pod: who, change, why })] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((who, why.as_str()), (&key(), "c uses 100m CPU and 100Mi"));
    let patch =
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "125m", "memory": "130Mi"}}}]}});
    assert_eq!(change.to_patch(&pod(json!({}))).unwrap(), patch);
    // While that is under way nothing else is begun.
    assert_eq!(world.apply(used(21 * MINUTE, 900, 900), at(21 * MINUTE)), []);
    assert_eq!(world.snapshot(at(21 * MINUTE)).rows[0].state, "is being resized");
}

#[test]
fn the_end_is_told_and_remembered() {
    let mut world = world_with(pod(json!({})));
    after_samples(&mut world, 20 * MINUTE);
    let told = Told { pod: key(), reason: Reason::Resized, message: "because".into(), at: at(20 * MINUTE) };
    assert_eq!(world.apply(ended(Reason::Resized), at(20 * MINUTE)), [Effect::Tell(told)]);
    assert_eq!(world.snapshot(at(20 * MINUTE)).rows[0].last.as_ref().map(|it| it.reason), Some(Reason::Resized));
}

#[test]
fn failures_are_tried_again_later_and_later() {
    let mut world = world_with(pod(json!({})));
    after_samples(&mut world, 20 * MINUTE);
    let mut now = 20 * MINUTE;
    for pause in [60, 120, 240, 480, 960, 1800, 1800] {
        world.apply(ended(Reason::Refused), at(now));
        assert_eq!(world.apply(used(now + pause - 1, 100, 100), at(now + pause - 1)), [], "after {pause}");
        assert_eq!(world.apply(used(now + pause, 100, 100), at(now + pause)).len(), 1, "after {pause}");
        now += pause;
    }
    world.apply(ended(Reason::Resized), at(now));
    assert_eq!(world.apply(used(now + 1, 100, 100), at(now + 1)).len(), 1, "a success ends the pause");
}

#[test]
fn who_is_left_alone_and_why() {
    check_left_alone(json!({"metadata": {"labels": {ENABLED: "false"}}}), "no row");
    check_left_alone(json!({"metadata": {"labels": {ENABLED: null}}}), "no row");
    check_left_alone(json!({"metadata": {"deletionTimestamp": at(2)}}), "is being deleted");
    check_left_alone(json!({"status": {"phase": "Pending"}}), "does not run");
    check_left_alone(json!({"status": {"observedGeneration": 0}}), "a resize is under way");
    let failing = json!({"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "disk full"});
    check_left_alone(json!({"status": {"conditions": [failing]}}), "its node cannot finish a resize: disk full");
    check_left_alone(json!({"metadata": {"creationTimestamp": at(11 * MINUTE)}}), "too young: 540 s of 600 s");
    check_left_alone(
        json!({"spec": {"containers": [{"name": "other", "resources": {"requests": {"cpu": "1"}}}]}}),
        "measuring: 0 of 3 samples",
    );
    check_left_alone(
        json!({"spec": {"containers": [{"name": "c"}]}}),
        "requests nothing, and a resize may not change its QoS class",
    );
    check_left_alone(
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "126m", "memory": "130Mi"}}}]}}),
        "fits",
    );
}

#[test]
fn what_would_restart_a_container_is_left_to_people() {
    let policy = |cpu: &str, memory: &str| {
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
        let policies =
            json!([{"resourceName": "cpu", "restartPolicy": cpu}, {"resourceName": "memory", "restartPolicy": memory}]);
        json!({"spec": {"containers": [{"name": "c", "resources": resources, "resizePolicy": policies}]}})
    };
    check_left_alone(
        policy("RestartContainer", "RestartContainer"),
        "does not fit, but would be restarted: for a person to resize",
    );
    let pod = pod(policy("NotRequired", "RestartContainer"));
    let effects = after_samples(&mut world_with(pod.clone()), 20 * MINUTE);
    let [Effect::Resize(Request { change, .. })] = effects.as_slice() else { panic!("{effects:?}") };
    let patch = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "125m"}}}]}});
    assert_eq!(change.to_patch(&pod).unwrap(), patch);
}

#[test]
fn a_namespace_opts_its_pods_in() {
    let unlabelled = || pod(json!({"metadata": {"labels": {ENABLED: null}}}));
    let mut world = world_with(unlabelled());
    world.apply(Event::Namespace { name: "d".into(), enabled: true }, at(1));
    assert_eq!(after_samples(&mut world, 20 * MINUTE).len(), 1);
    let mut world = world_with(unlabelled());
    world.apply(Event::Namespace { name: "d".into(), enabled: true }, at(1));
    world.apply(Event::Namespace { name: "d".into(), enabled: false }, at(1));
    assert_eq!(after_samples(&mut world, 20 * MINUTE), []);
}

#[test]
fn somebody_elses_hand_is_respected_and_said_once() {
    let mut by_hand = pod(json!({}));
    let change = Change::of_container("c", Sizes { cpu_request: "500m".parse().ok(), ..Sizes::default() });
    let note = LastResize::of(&by_hand, &change, Author::Resize, at(5));
    by_hand = change.applied_to(&by_hand).unwrap();
    by_hand.metadata.annotations =
        Some([(ANNOTATION.to_owned(), serde_json::to_string(&note).unwrap())].into_iter().collect());
    let mut world = world_with(by_hand);
    let effects: Vec<Effect> = (0..5).flat_map(|round| after_samples(&mut world, (20 + round) * MINUTE)).collect();
    let [Effect::Tell(Told { reason: Reason::StoodBack, message, .. })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "stands back: a person resized it");
    // Without the note, it is ours again.
    world.apply(Event::Pod(Box::new(pod(json!({})))), at(30 * MINUTE));
    assert_eq!(after_samples(&mut world, 31 * MINUTE).len(), 1);
}

#[test]
fn pods_come_and_go() {
    let mut world = world_with(pod(json!({})));
    world.apply(Event::PodsListed(vec![key()]), at(2));
    assert_eq!(world.snapshot(at(2)).rows.len(), 1);
    world.apply(Event::PodsListed(vec![]), at(2));
    assert_eq!(world.snapshot(at(2)).rows.len(), 0);
    world.apply(Event::Pod(Box::new(pod(json!({})))), at(3));
    world.apply(Event::PodGone(key()), at(3));
    assert_eq!(world.apply(ended(Reason::Resized), at(4)), [], "nobody is left to be told about");
}

#[test]
fn without_usage_it_says_so() {
    let mut world = world_with(pod(json!({})));
    world.apply(Event::Usage(Err("no metrics".into())), at(20 * MINUTE));
    assert_eq!(world.snapshot(at(20 * MINUTE)).blind.as_deref(), Some("no metrics"));
    after_samples(&mut world, 20 * MINUTE);
    assert_eq!(world.snapshot(at(20 * MINUTE)).blind, None);
}
