//! Recreating pods by restarting their workload: what the rollout itself takes away, and what it may not.

use supple_decide::code::Code;
use supple_decide::facts::Rollout;
use supple_decide::policy::{Mode, StepCaps};

use crate::stage::*;

/// So many replicas of a workload of this kind that are to be recreated for half of what they ask for, by a rollout that takes away
/// up to so many at once.
fn of(pods: u32, kind: &str, how: Rollout, takes: u32) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    for index in 0..pods {
        stage.pod("web", &format!("web-{index}"), "n1", "1");
    }
    stage.subject("web").facts.template.insert("app".into(), numbers("1"));
    stage.sizes_new_pods();
    stage.rolls("web", kind, how, takes);
    stage.policy("web", |it| (it.mode.value, it.steps.value) = (Mode::Recreate, StepCaps::default()));
    stage
}

#[track_caller]
fn rolls_out(stage: &Stage) {
    check(&stage.decide(), "web-0", Code::RollOut, "roll out");
}

#[track_caller]
fn stays(stage: &Stage, code: Code) {
    check(&stage.decide(), "web-0", code, "nothing");
}

#[test]
fn where_new_ones_are_ready_first_nobody_is_missed() {
    let mut stage = of(1, "Deployment", Rollout::Surge, 0);
    stage.budget("web", 0, (1, 1));
    rolls_out(&stage);
    rolls_out(&of(1, "DaemonSet", Rollout::Surge, 0));
    // It is not to be disturbed by anybody all the same, and it is a pod of the same rollout.
    let mut stage = of(3, "Deployment", Rollout::Surge, 0);
    stage.at("web-2").do_not_evict = true;
    stays(&stage, Code::DoNotDisrupt);
    stage.at("web-2").deleting = true;
    rolls_out(&stage);
}

#[test]
fn the_last_that_serve_are_not_taken_away() {
    for (pods, kind, how, takes) in [
        (1, "StatefulSet", Rollout::After, 1),
        (1, "DaemonSet", Rollout::After, 1),
        (1, "Deployment", Rollout::Replace, 1),
        // `maxSurge: 1, maxUnavailable: 1` may begin with either.
        (1, "Deployment", Rollout::Surge, 1),
        (3, "DaemonSet", Rollout::After, 3),
    ] {
        let with = |least: u32| {
            let mut stage = of(pods, kind, how, takes);
            stage.policy("web", |it| it.min_replicas.value = least);
            stage
        };
        for least in [0, 1, 2] {
            stays(&with(least), Code::TooFewReplicas);
        }
        // None serves: none is missed. But more are asked for than that.
        let none_serves = |mut stage: Stage| {
            for index in 0..pods {
                stage.at(&format!("web-{index}")).ready = None;
            }
            stage
        };
        rolls_out(&none_serves(with(0)));
        stays(&none_serves(with(1)), Code::TooFewReplicas);
    }
}

#[test]
fn as_many_are_ready_as_the_policy_wants_and_all_that_are_wanted() {
    let with = |least: u32, unready: &[&str]| {
        let mut stage = of(3, "StatefulSet", Rollout::After, 1);
        stage.policy("web", |it| it.min_replicas.value = least);
        for name in unready {
            stage.at(name).ready = None;
        }
        stage
    };
    rolls_out(&with(2, &[]));
    rolls_out(&with(3, &[]));
    stays(&with(4, &[]), Code::TooFewReplicas);
    stays(&with(3, &["web-1"]), Code::TooFewReplicas);
    stays(&with(2, &["web-1"]), Code::ReplicasNotReady);
    let mut going = with(2, &[]);
    going.pod("web", "web-3", "n1", "1").deleting = true;
    stays(&going, Code::DisruptionBudget);
}

#[test]
fn the_strategy_recreate_takes_all_that_serve_however_many_there_are() {
    let with = |unready: u32| {
        let mut stage = of(4, "Deployment", Rollout::After, 3);
        stage.subject("web").facts.replicas = 3; // one is to go, and has not yet
        stage.policy("web", |it| it.min_replicas.value = 0);
        (0..unready).for_each(|it| stage.at(&format!("web-{it}")).ready = None);
        stage
    };
    stays(&with(0), Code::TooFewReplicas);
    let said = decision(&with(0).decide(), "web-0").message.clone();
    assert!(said.contains("strategy Recreate") && said.contains("recreateBy: Eviction"), "{said}");
    stays(&with(3), Code::TooFewReplicas);
    rolls_out(&with(4));
}

#[test]
fn a_budget_allows_as_many_as_the_rollout_takes() {
    let with = |takes: u32, allowed: u32| {
        let mut stage = of(10, "Deployment", Rollout::Surge, takes);
        stage.budget("web", 9, (10, 1));
        stage.budget("web", allowed, (10, 10 - i64::from(allowed)));
        stage
    };
    rolls_out(&with(2, 2));
    stays(&with(2, 1), Code::DisruptionBudget);
    let said = decision(&with(2, 1).decide(), "web-0").message.clone();
    assert_eq!(
        said,
        "a rollout takes up to 2 of its pods away at once, and its disruption budget budget-1 allows 1 now"
    );
    // No pod is evicted by it: two budgets are no error.
    let mut twice = with(1, 1);
    twice.subject("web").facts.budgets.iter_mut().for_each(|it| it.is_shared = true);
    rolls_out(&twice);
}

#[test]
fn one_that_is_stuck_goes_alone_where_a_rollout_would_take_others() {
    let stuck = |how: Rollout, takes: u32| {
        let mut stage = of(3, "StatefulSet", how, takes);
        stage.workload("web", "1 2Gi").facts.replicas = 3;
        stage.rolls("web", "StatefulSet", how, takes);
        stage.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
        for index in 0..3 {
            stage.at(&format!("web-{index}")).containers[0] = stage.container("app", "1 2Gi:2Gi");
        }
        stage.stuck("web-0");
        stage.budget("web", 0, (2, 2));
        stage
    };
    check(&stuck(Rollout::After, 1).decide(), "web-0", Code::Evict, "evict");
    rolls_out(&stuck(Rollout::Surge, 0));
}
