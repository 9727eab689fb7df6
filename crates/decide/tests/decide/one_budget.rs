//! One disruption budget over the pods of several workloads.

use jiff::{SignedDuration, Timestamp};
use supple_decide::code::Code;
use supple_decide::facts::{PodFacts, Rollout};
use supple_decide::policy::Mode;
use supple_decide::progress::Progress;
use supple_decide::round::Round;
use supple_resize::predict::Change;

use crate::stage::*;

/// Workloads `a` and `b` of three pods each that want half, which takes a restart, under one budget that allows so many disruptions.
fn two(allowed: u32) -> Stage {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.workload(name, "500m");
        stage.subject(name).facts.key.kind = "StatefulSet".into();
        stage.policy(name, |it| it.mode.value = Mode::InPlaceOrRecreate);
        for index in 1..=3 {
            let (pod, node) = (format!("{name}-{index}"), format!("node-{name}-{index}"));
            stage.node(&node, "4", "16Gi");
            stage.pod(name, &pod, &node, "1").containers[0].restarts_for_cpu = true;
        }
        stage.budget(name, allowed, (6, 6 - i64::from(allowed)));
    }
    stage
}

fn acts(round: &Round) -> Vec<&str> {
    round.actions.iter().map(|it| &*it.pod.name).collect()
}

#[test]
fn is_not_overdrawn_in_one_round() {
    let round = two(1).decide();
    assert_eq!(acts(&round), ["a-1"]);
    check(&round, "b-1", Code::DisruptionBudget, "nothing");
    let said = &decision(&round, "b-1").message;
    assert_eq!(said, "app: its disruption budget budget-0 allows 1 now, and pods under it that are being disrupted: 1");
    assert_eq!(acts(&two(2).decide()), ["a-1", "b-1"]);
    // Another one, and one of the same name in another namespace, are others.
    let mut other = two(1);
    other.subject("b").facts.budgets[0].name = "other".into();
    assert_eq!(acts(&other.decide()), ["a-1", "b-1"]);
    // What changes without a restart asks no budget.
    let mut without = two(1);
    for index in 1..=3 {
        without.at(&format!("b-{index}")).containers[0].restarts_for_cpu = false;
    }
    assert_eq!(acts(&without.decide()), ["a-1", "b-1"]);
}

#[test]
fn what_it_does_not_show_yet_is_counted() {
    let restarting = |change: &dyn Fn(&mut PodFacts, Timestamp)| {
        let mut stage = two(1);
        let round = stage.decide();
        stage.carry_out(&round);
        let now = stage.now;
        change(stage.at("a-1"), now);
        let round = stage.decide();
        acts(&round).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(restarting(&|_, _| ()), [""; 0]);
    // Not ready for long: the status shows it, and allows one more all the same.
    assert_eq!(
        restarting(&|it, now| (it.ready, it.unready) = (None, Some((now - SignedDuration::from_secs(5)).into()))),
        [""; 0]
    );
    assert_eq!(restarting(&|it, now| (it.ready, it.unready) = (None, Some((now - minutes(1)).into()))), ["b-1"]);
    // It is done.
    assert_eq!(restarting(&|it, _| it.progress = Progress::Settled), ["b-1"]);
}

#[test]
fn what_was_sent_is_counted() {
    let sent = |recreates: bool| {
        let mut stage = two(1);
        let change = Change::default();
        let resize = || stage.decide().actions[0].what.change().unwrap().clone();
        let change = if recreates { change } else { resize() };
        stage.scene.acting.insert(key("a-1"), change);
        stage
    };
    for recreates in [true, false] {
        check(&sent(recreates).decide(), "b-1", Code::DisruptionBudget, "nothing");
        // Once it is on its way out, the budget has been charged for it.
        let mut goes = sent(recreates);
        goes.at("a-1").deleting = true;
        assert_eq!(acts(&goes.decide()), ["b-1"]);
    }
}

#[test]
fn a_rollout_counts_for_all_it_takes() {
    let rolls = |allowed| {
        let mut stage = two(allowed);
        stage.sizes_new_pods();
        for name in ["a", "b"] {
            stage.rolls(name, "StatefulSet", Rollout::After, 1);
            stage.policy(name, |it| it.mode.value = Mode::Recreate);
        }
        stage
    };
    let round = rolls(1).decide();
    check(&round, "a-1", Code::RollOut, "roll out");
    check(&round, "b-1", Code::DisruptionBudget, "nothing");
    check(&rolls(2).decide(), "b-1", Code::RollOut, "roll out");
    let mut sent = rolls(1);
    sent.scene.acting.insert(key("a-1"), Change::default());
    check(&sent.decide(), "b-1", Code::DisruptionBudget, "nothing");
    let mut in_place = two(1);
    in_place.rolls("a", "StatefulSet", Rollout::After, 1);
    in_place.scene.acting.insert(key("a-1"), Change::default());
    check(&in_place.decide(), "b-1", Code::DisruptionBudget, "nothing");
    // A rollout whose new pods are ready first takes none away.
    in_place.rolls("a", "StatefulSet", Rollout::Surge, 0);
    check(&in_place.decide(), "b-1", Code::Resize, "500m");
}
