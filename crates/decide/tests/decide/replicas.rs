//! One pod at a time: what the other replicas must be before one is recreated or restarted, and when they need not be.

use jiff::{SignedDuration, Timestamp};
use supple_decide::code::Code;
use supple_decide::facts::{NodeFacts, Phase, PodFacts};
use supple_decide::policy::{Mode, StepCaps};
use supple_decide::round::Round;
use supple_quantity::Bytes;
use supple_resize::predict::Change;

use crate::stage::*;

/// Ten replicas that are recreated for half of what they ask for, each on a node of its own.
fn ten() -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    for index in 0..10 {
        let node = format!("node-{index}");
        stage.node(&node, "4", "16Gi");
        stage.pod("web", &format!("web-{index}"), &node, "1");
    }
    stage.sizes_new_pods();
    stage.policy("web", |it| {
        it.mode.value = Mode::Recreate;
        it.steps.value = StepCaps::default();
    });
    stage.subject("web").facts.template.insert("app".into(), numbers("1"));
    stage
}

fn evicted(round: &Round) -> Vec<&str> {
    round.actions.iter().map(|it| &*it.pod.name).collect()
}

fn unready(pod: &mut PodFacts, since: Timestamp) {
    (pod.ready, pod.unready) = (None, Some(since.into()));
    pod.containers[0].ready = false;
}

/// The pod that takes the place of one that was evicted: made now, not ready, with the sizes it was to come with.
fn replace(stage: &mut Stage, name: &str) {
    let now = stage.now;
    let pod = stage.pod("web", name, "n1", "500m");
    (pod.made, pod.started) = (Some(now.into()), Some(now.into()));
    unready(pod, now);
}

/// The first pod goes; the next one does not before the pod in its place, `web-a`, with which this is the matter, is ready.
fn one_after_the_other(stage: &mut Stage, new: impl FnOnce(&mut Stage)) {
    let round = stage.decide();
    assert_eq!(evicted(&round), ["web-0"]);
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(1);
    replace(stage, "web-a");
    new(stage);
    check(&stage.decide(), "web-1", Code::ReplicasNotReady, "nothing");
    let now = stage.now;
    stage.at("web-a").ready = Some(now.into());
    assert_eq!(evicted(&stage.decide()), ["web-1"]);
}

#[test]
fn the_next_one_goes_when_the_replacement_of_the_last_is_ready() {
    let mut stage = ten();
    let round = stage.decide();
    assert_eq!(evicted(&round), ["web-0"]);
    stage.carry_out(&round);
    assert_eq!(evicted(&stage.decide()), [""; 0], "it is on its way out");
    // Gone, and not made again yet.
    stage.let_settle();
    stage.subject("web").facts.replicas = 10;
    let round = stage.decide();
    check(&round, "web-1", Code::ReplicasNotReady, "nothing");
    let said = &decision(&round, "web-1").message;
    assert!(said.starts_with("9 of 10 replicas are ready"), "{said}");
    // Made again, and not ready for a long time.
    stage.subject("web").facts.replicas = 9;
    stage.pass(1);
    replace(&mut stage, "web-a");
    for _ in 0..20 {
        check(&stage.decide(), "web-1", Code::ReplicasNotReady, "nothing");
        stage.pass(1);
    }
    let now = stage.now;
    stage.at("web-a").ready = Some(now.into());
    assert_eq!(evicted(&stage.decide()), ["web-1"]);
}

#[test]
fn an_eviction_that_was_sent_counts_before_it_shows() {
    let mut stage = ten();
    stage.scene.acting.insert(key("web-3"), Change::default());
    check(&stage.decide(), "web-1", Code::DisruptionBudget, "nothing");
}

/// What is evicted when one of ten is not ready, and everything else is as the change makes it.
#[track_caller]
fn with_one_unready(change: impl FnOnce(&mut Stage), expect: &[&str]) {
    let mut stage = ten();
    let since = stage.ago(60);
    unready(stage.at("web-4"), since);
    change(&mut stage);
    assert_eq!(evicted(&stage.decide()), expect);
}

/// `web-4` waits for room, since so many minutes.
fn pending(stage: &mut Stage, minutes: i64) {
    let made = stage.ago(minutes);
    let pod = stage.at("web-4");
    (pod.phase, pod.node, pod.made, pod.started) = (Phase::Pending, None, Some(made.into()), None);
    pod.containers[0].running_since = None;
}

#[test]
fn what_is_not_ready_goes_first_and_what_serves_waits_for_it() {
    with_one_unready(|_| (), &["web-4"]);
    // It has what it needs, and is not ready for another reason: nobody goes.
    with_one_unready(|it| it.at("web-4").containers[0] = it.container("app", "500m"), &[]);
    // What has ended, or is another workload's, is nobody's replica.
    with_one_unready(|it| (it.at("web-4").phase, it.subject("web").facts.replicas) = (Phase::Ended, 9), &["web-0"]);
}

#[test]
fn what_waits_for_room_is_given_room() {
    with_one_unready(|it| pending(it, 10), &[]);
    with_one_unready(|it| pending(it, 40), &["web-0"]);
    // One that is made larger gives none back.
    let grows = |it: &mut Stage| {
        pending(it, 40);
        it.subject("web").needs.insert("app".into(), need("2"));
    };
    with_one_unready(grows, &[]);
    // Nor is a second one spent on it where the first did not help.
    let mut stage = ten();
    let since = stage.ago(60);
    unready(stage.at("web-4"), since);
    pending(&mut stage, 40);
    one_after_the_other(&mut stage, |it| {
        let made = it.at("web-a");
        (made.phase, made.node) = (Phase::Pending, None);
        it.pass(60);
    });
}

#[test]
fn what_a_quota_keeps_from_being_made_is_given_its_room() {
    let missing = |quota: bool| {
        move |it: &mut Stage| {
            it.scene.pods.remove(&key("web-4"));
            if quota {
                it.quota(serde_json::json!({"requests.cpu": "9"}), serde_json::json!({"requests.cpu": "9"}));
            }
        }
    };
    with_one_unready(missing(false), &[]);
    with_one_unready(missing(true), &["web-0"]);
}

#[test]
fn of_a_daemon_set_a_node_that_is_down_holds_up_no_other() {
    let down = |it: &mut Stage| {
        it.at("web-4").containers[0] = it.container("app", "500m");
        it.scene.nodes.insert("node-4".into(), not_ready("node-4"));
    };
    with_one_unready(down, &[]);
    let daemons = |it: &mut Stage| {
        down(it);
        it.subject("web").facts.key.kind = "DaemonSet".into();
    };
    with_one_unready(daemons, &["web-0"]);
}

fn not_ready(name: &str) -> NodeFacts {
    let node = serde_json::json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "Unknown"}]},
    });
    NodeFacts::of(&serde_json::from_value(node).unwrap())
}

#[test]
fn a_workload_that_crashes_for_want_of_memory_is_not_stuck_for_ever() {
    let mut stage = ten();
    stage.policy("web", |it| it.min_replicas.value = 0);
    stage.subject("web").needs.insert("app".into(), need("2"));
    let since = stage.ago(60);
    for index in 0..10 {
        unready(stage.at(&format!("web-{index}")), since);
    }
    // The new size has to prove itself before the next one goes, and goes on itself where it was not enough.
    one_after_the_other(&mut stage, |it| it.at("web-a").containers[0].asked = numbers("2"));
}

#[test]
fn a_restart_in_place_waits_for_the_others_unless_it_cannot() {
    let restarts = |urgent: bool| {
        move |it: &mut Stage| {
            it.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
            it.subject("web").needs.insert("app".into(), need("1 2Gi"));
            it.subject("web").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = urgent;
            for index in 0..10 {
                let name = format!("web-{index}");
                it.at(&name).containers[0] = it.container("app", if index == 4 { "1 2Gi" } else { "1 1Gi" });
                it.at(&name).containers[0].restarts_for_memory = true;
            }
            it.used("web-0").memory = Some(Bytes(1000 * MIB));
        }
    };
    with_one_unready(restarts(false), &[]);
    with_one_unready(restarts(true), &["web-0"]);
}

#[test]
fn want_of_cpu_restarts_nothing_while_another_is_missing() {
    with_one_unready(
        |it| {
            it.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
            it.needs_cpu_at_once("web", "2");
            it.at("web-4").containers[0] = it.container("app", "2");
            for index in 0..10 {
                it.at(&format!("web-{index}")).containers[0].restarts_for_cpu = true;
            }
            it.used("web-0").throttled_permille = Some(400);
        },
        &[],
    );
}

/// Ten pods that take so long to be ready, judged every quarter of a minute: how many served at the least.
fn served_at_least(starts_in: SignedDuration) -> usize {
    let mut stage = ten();
    let (mut least, mut made, mut rounds) = (10, 0, 0);
    while stage.scene.pods.values().any(|it| it.containers[0].asked == numbers("1")) {
        rounds += 1;
        assert!(rounds < 1000, "it comes to an end");
        let round = stage.decide();
        stage.carry_out(&round);
        let gone = stage.scene.pods.values().filter(|it| it.deleting).count();
        stage.let_settle();
        for _ in 0..gone {
            made += 1;
            replace(&mut stage, &format!("web-{made}-new"));
        }
        stage.now += SignedDuration::from_secs(15);
        for used in stage.scene.uses.values_mut().flat_map(supple_decide::need::Uses::values_mut) {
            used.at = stage.now;
        }
        let now = stage.now;
        for pod in stage.scene.pods.values_mut().filter(|it| it.ready.is_none()) {
            if pod.made.is_some_and(|it| now.duration_since(it.into()) >= starts_in) {
                pod.ready = Some(now.into());
            }
        }
        least = least.min(stage.scene.pods.values().filter(|it| it.ready.is_some()).count());
    }
    least
}

#[test]
fn however_long_a_start_takes_nine_of_ten_serve() {
    for minutes in [0, 1, 5] {
        assert_eq!(served_at_least(SignedDuration::from_mins(minutes)), if minutes == 0 { 10 } else { 9 });
    }
}
