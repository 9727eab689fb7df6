//! What befalls a pod after its resize and is not the doing of it.

use jiff::SignedDuration;
use supple_decide::code::Code;
use supple_decide::facts::{NodeFacts, Phase};
use supple_resize::resources::ContainerKind;

use crate::settling::{NEW, Read, ended, guarded, lowered, of_no_account, taken_back};
use crate::stage::*;

/// Lowered three minutes ago, and not ready since so many minutes.
fn unready(minutes_ago: i64) -> Stage {
    let mut stage = lowered();
    let at = stage.ago(minutes_ago);
    (stage.at("web-1").ready, stage.at("web-1").unready) = (None, Some(at.into()));
    stage
}

/// Lowered three minutes ago, and ended a minute ago with this code.
fn crashed(exit_code: i32) -> Stage {
    let mut stage = lowered();
    ended(&mut stage, 1, false, exit_code);
    stage
}

fn killed() -> Stage {
    let mut stage = lowered();
    ended(&mut stage, 1, true, 137);
    stage
}

fn node(stage: &mut Stage) -> &mut NodeFacts {
    stage.scene.nodes.get_mut("n1").unwrap()
}

/// What is remembered of harm, where a pod cannot be given anything back any more.
#[track_caller]
fn remembered(stage: &Stage, harm: Code) {
    let round = stage.decide();
    let record = &round.records[&workload("web")];
    assert_eq!((record.last[0].code, record.setbacks), (harm, 1), "{record:?}");
}

#[test]
fn what_befalls_a_pod_that_is_taken_away_tells_nothing_of_its_sizes() {
    // Deleted, to be disrupted, or ended by its node: a minute before it was seen, in the same second, or after it.
    let leaves = |mut stage: Stage, minutes_ago: i64, deleting: bool| {
        let at = stage.ago(minutes_ago) + SignedDuration::from_millis(900);
        (stage.at("web-1").leaving, stage.at("web-1").deleting) = (Some(at.into()), deleting);
        stage
    };
    for deleting in [true, false] {
        for since in [1, 2] {
            of_no_account(&leaves(unready(1), since, deleting));
            of_no_account(&leaves(crashed(143), since, deleting));
        }
        remembered(&leaves(unready(1), 0, deleting), Code::NotReady);
        remembered(&leaves(crashed(1), 0, deleting), Code::Restarted);
        // Whatever else becomes of it, it was killed under the limit that was lowered.
        remembered(&leaves(killed(), 2, deleting), Code::OutOfMemory);
    }
    of_no_account(&leaves(guarded(lowered(), &NEW), 2, true));
    let mut throttled = leaves(lowered(), 1, true);
    throttled.used("web-1").throttled_permille = Some(200);
    of_no_account(&throttled);
    // It does not end well either.
    let mut late = leaves(lowered(), 1, false);
    late.pass(5);
    of_no_account(&late);
}

#[test]
fn nor_does_what_befalls_a_pod_whose_node_is_away() {
    let away = |mut stage: Stage| {
        node(&mut stage).ready = false;
        stage
    };
    of_no_account(&away(unready(1)));
    of_no_account(&away(crashed(137)));
    remembered(&away(killed()), Code::OutOfMemory);
    // Nobody knows how it is: it has not settled.
    let mut late = away(unready(1));
    late.pass(5);
    of_no_account(&late);

    let gone = |others: bool| {
        let mut stage = unready(1);
        if others {
            stage.node("n2", "16", "64Gi");
        }
        stage.scene.nodes.remove("n1");
        stage
    };
    of_no_account(&gone(true));
    // Where no node is known at all, that says nothing.
    remembered(&gone(false), Code::NotReady);

    let mut lost = unready(1);
    lost.at("web-1").phase = Phase::Unknown;
    of_no_account(&lost);
}

#[test]
fn what_was_while_its_node_was_away_is_nothing_when_it_is_back() {
    let back = |mut stage: Stage, minutes_ago: i64| {
        let since = stage.ago(minutes_ago);
        node(&mut stage).since = Some(since.into());
        stage
    };
    of_no_account(&back(unready(2), 1));
    of_no_account(&back(crashed(255), 1));
    // A node tells how its pods are within a minute of its return.
    remembered(&back(unready(1), 2), Code::NotReady);
    remembered(&back(crashed(1), 2), Code::Restarted);
    // A guard does not count what its query looks back on either.
    of_no_account(&back(guarded(lowered(), &NEW), 2));
    remembered(&back(guarded(lowered(), &NEW), 3), Code::GuardCrossed);

    let mut settled = back(crashed(137), 0);
    settled.pass(5);
    let round = settled.decide();
    let done = &round.records[&workload("web")].last[0];
    assert_eq!(done.code, Code::Resized);
    assert!(
        done.message.ends_with("app ended with code 137 at 2026-03-01T11:59:00Z, when its node was not ready"),
        "{done:?}"
    );
}

#[test]
fn a_guard_over_a_workload_does_not_blame_a_pod_for_what_becomes_of_others() {
    let beside = |pod: Option<&'static str>, change: &dyn Fn(&mut Stage)| {
        let mut stage = lowered();
        stage.node("n2", "16", "64Gi");
        stage.pod("web", "web-2", "n2", "500m:1 512Mi:1Gi");
        change(&mut stage);
        guarded(stage, &Read { pod, ..NEW })
    };
    let leaves = |minutes_ago: i64| {
        move |stage: &mut Stage| {
            let at = stage.ago(minutes_ago);
            (stage.at("web-2").leaving, stage.at("web-2").deleting) = (Some(at.into()), true);
        }
    };
    let node_away = |stage: &mut Stage| {
        let at = stage.ago(1);
        let node = stage.scene.nodes.get_mut("n2").unwrap();
        (node.ready, node.since) = (false, Some(at.into()));
    };
    of_no_account(&beside(None, &leaves(2)));
    of_no_account(&beside(None, &node_away));
    of_no_account(&beside(None, &|it| it.subject("web").facts.rolling = true));
    // What stood so before the resize explains nothing that is new, and what is read of the pod alone is its own.
    remembered(&beside(None, &leaves(10)), Code::GuardCrossed);
    remembered(&beside(Some("web-1"), &leaves(2)), Code::GuardCrossed);
    remembered(&beside(Some("web-1"), &node_away), Code::GuardCrossed);
}

#[test]
fn a_container_that_was_not_lowered_has_trouble_of_its_own() {
    let beside = |own_ready: bool, runs_for: Option<i64>| {
        let mut stage = unready(1);
        let mut other = stage.container("other", "100m 64Mi");
        (other.ready, other.running_since) = (false, runs_for.map(|it| stage.ago(it).into()));
        stage.at("web-1").containers[0].ready = own_ready;
        stage.at("web-1").containers.push(other);
        stage
    };
    of_no_account(&beside(true, Some(1)));
    of_no_account(&beside(true, None));
    // One that runs on may be waiting for the one that was lowered; and that one is not ready itself.
    remembered(&beside(true, Some(60)), Code::NotReady);
    remembered(&beside(false, Some(1)), Code::NotReady);
}

#[test]
fn a_sidecar_is_ended_when_the_work_is_done() {
    let done = |done: bool| {
        let mut stage = crashed(143);
        let since = stage.ago(1);
        let mut main = stage.container("main", "100m 64Mi");
        (main.done, main.ready) = (done, !done);
        let pod = stage.at("web-1");
        pod.containers[0].kind = ContainerKind::Sidecar;
        pod.containers[0].ready = false;
        (pod.ready, pod.unready) = (None, Some(since.into()));
        pod.containers.push(main);
        stage
    };
    of_no_account(&done(true));
    remembered(&done(false), Code::Restarted);
    // It is over.
    let mut over = unready(1);
    over.at("web-1").phase = Phase::Ended;
    of_no_account(&over);
}

#[test]
fn not_to_be_ready_for_a_moment_is_no_harm() {
    let mut stage = unready(0);
    of_no_account(&stage);
    stage.pass(1);
    taken_back(&stage, Code::NotReady, "1:2 1Gi:2Gi");
    // One that ends well is started again, and has until the end of the watch for it.
    let mut well = unready(1);
    ended(&mut well, 1, false, 0);
    well.at("web-1").containers[0].ready = false;
    of_no_account(&well);
    well.pass(2);
    taken_back(&well, Code::NotReady, "1:2 1Gi:2Gi");
}

#[test]
fn a_pod_that_was_not_ready_before_is_not_judged_by_it() {
    of_no_account(&unready(4));
}

#[test]
fn only_the_limit_that_was_lowered_throttles() {
    let throttled = |before: &str, change: &dyn Fn(&mut Stage)| {
        let mut stage = Stage::new();
        stage.workload("web", "500m 512Mi");
        stage.pod("web", "web-1", "n1", "500m:1 512Mi:1Gi");
        stage.resized("web-1", before, 3);
        stage.used("web-1").throttled_permille = Some(200);
        change(&mut stage);
        stage
    };
    remembered(&throttled("1:2 512Mi:1Gi", &|_| ()), Code::Throttled);
    of_no_account(&throttled("1:1 512Mi:1Gi", &|_| ()));
    // Measured while it was being done, long ago beside newer news, or as it started.
    let measured = |minutes_ago: i64| move |it: &mut Stage| it.used("web-1").details_at = Some(it.ago(minutes_ago));
    of_no_account(&throttled("1:2 512Mi:1Gi", &|it| {
        it.used("web-1").details_at = Some(it.ago(3) + SignedDuration::from_secs(30));
    }));
    of_no_account(&throttled("1:2 512Mi:1Gi", &measured(9)));
    of_no_account(&throttled("1:2 512Mi:1Gi", &|it| {
        it.at("web-1").containers[0].running_since = Some(it.ago(2).into())
    }));
}
