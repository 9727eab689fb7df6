//! What a memory decrease needs.

use supple_decide::code::Code;
use supple_decide::facts::LastEnd;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{ContainerPolicy, Layer, StepCaps};
use supple_quantity::Bytes;

use crate::stage::*;

/// What it should have, and what is done of that.
#[track_caller]
fn due(has: &str, needs: &str, change: impl FnOnce(&mut Stage), expect: &str, done: &str) {
    let round = decided(has, needs, change);
    let proposal = &decision(&round, "web-1").containers[0];
    let due = show(&Numbers::of(&proposal.due.beyond(&proposal.now)));
    assert_eq!((due.as_str(), sizes(&round, "web-1").as_str()), (expect, done), "{:#?}", decision(&round, "web-1"));
}

fn uses(memory: i64, peak: i64, charged: i64) -> impl FnOnce(&mut Stage) {
    move |stage| {
        let used = stage.used("web-1");
        used.memory = Some(Bytes(memory * MIB));
        used.memory_peak = Some(Bytes(peak * MIB));
        used.memory_charged = Some(Bytes(charged * MIB));
    }
}

#[test]
fn never_to_or_below_what_this_pod_uses() {
    // 500Mi and a tenth.
    size("1 1Gi:1Gi", "1 100Mi", uses(500, 500, 0), Code::Resize, "550Mi:550Mi");
    size("1 1Gi:1Gi", "1 100Mi", uses(100, 500, 0), Code::Resize, "550Mi:550Mi");
    size("1 1Gi:2Gi", "1 100Mi", uses(100, 500, 0), Code::Resize, "550Mi:1100Mi");
    size("1 1Gi:1Gi", "1 100Mi", uses(950, 950, 0), Code::BelowUse, "held");
    size("1 1Gi:1Gi", "1 100Mi", uses(2000, 2000, 0), Code::BelowUse, "held");
    // Small ones have at least 8Mi above.
    size("1 100Mi", "1 10Mi", uses(20, 20, 0), Code::Resize, "28Mi");
}

#[test]
fn the_page_cache_holds_the_limit_not_the_request() {
    size("1 1Gi:2Gi", "1 100Mi", uses(100, 100, 1500), Code::Resize, "110Mi:1501Mi");
    let round = {
        let mut stage = Stage::new();
        stage.workload("web", "1 100Mi");
        stage.pod("web", "web-1", "n1", "1 1Gi:2Gi");
        stage.policy("web", |it| it.steps.value = StepCaps::default());
        uses(100, 100, 1500)(&mut stage);
        stage.decide()
    };
    let said = decision(&round, "web-1").findings.iter().any(|it| it.message.contains("page cache included"));
    assert!(said, "{:#?}", decision(&round, "web-1").findings);
}

#[test]
fn pressure_swap_and_a_veto_forbid_it() {
    size(
        "1 1Gi",
        "1 500Mi",
        |it| it.used("web-1").memory_pressure_permille = Some(150),
        Code::UnderPressure,
        "nothing",
    );
    size("1 1Gi", "1 500Mi", |it| it.used("web-1").memory_pressure_permille = Some(50), Code::Resize, "500Mi");
    size("1 1Gi:1Gi", "1 500Mi", |it| it.used("web-1").swap = Some(Bytes(MIB)), Code::SwapInUse, "nothing");
    size("1 1Gi", "1 500Mi", |it| it.used("web-1").swap = Some(Bytes(MIB)), Code::Resize, "500Mi");
    size("1 1Gi", "1 500Mi", |it| it.used("web-1").memory = None, Code::StaleData, "nothing");
    let veto = |stage: &mut Stage| {
        stage.subject("web").needs.get_mut("app").unwrap().memory.as_mut().unwrap().veto = true;
    };
    size("1 1Gi", "1 500Mi", veto, Code::UnderPressure, "nothing");
}

#[test]
fn throttling_and_waiting_for_a_cpu_forbid_a_cpu_decrease_alone() {
    let waits = |permille| move |it: &mut Stage| it.used("web-1").cpu_pressure_permille = Some(permille);
    size("1 1Gi", "500m 1Gi", waits(240), Code::Resize, "500m");
    size("1 1Gi", "500m 1Gi", waits(310), Code::UnderPressure, "nothing");
    size("1 1Gi", "1 500Mi", waits(310), Code::Resize, "500Mi");
    size("1 1Gi", "500m 1Gi", |it| it.used("web-1").throttled_permille = Some(60), Code::UnderPressure, "nothing");
    let mut stage = Stage::new();
    stage.workload("web", "500m 1Gi");
    stage.pod("web", "web-1", "n1", "1 1Gi");
    waits(310)(&mut stage);
    let said = "it waited for CPU in 31.0 % of the time: nothing is lowered";
    assert!(decision(&stage.decide(), "web-1").findings.iter().any(|it| it.message == said));
}

#[test]
fn approval_where_policy_asks() {
    let asks = |stage: &mut Stage| stage.policy("web", |it| it.approve_memory_decrease.value = true);
    size("1 1Gi", "1 500Mi", asks, Code::NeedsApproval, "nothing");
    size("1 1Gi", "500m 500Mi", asks, Code::Resize, "500m");
    // What is held is still told, and what is not ours to size is not.
    due("1 1Gi", "1 500Mi", asks, "500Mi", "nothing");
    due("1 1Gi", "500m 500Mi", asks, "500m 500Mi", "500m");
    let not_ours = |stage: &mut Stage| {
        let cpu_alone = ContainerPolicy { controlled: Some((true, false)), ..ContainerPolicy::default() };
        let containers = [("*".into(), cpu_alone)].into_iter().collect();
        stage.policy("web", |it| *it = it.clone().under(Layer { containers, ..Layer::default() }));
    };
    due("1 1Gi", "500m 500Mi", not_ours, "500m", "500m");
    size("1 1Gi", "1 2Gi", asks, Code::Resize, "2Gi");
    let approved = |stage: &mut Stage| {
        asks(stage);
        stage.at("web-1").words.insert("supple.dev/approve-memory-decrease".into(), "true".into());
    };
    size("1 1Gi", "1 500Mi", approved, Code::Resize, "500Mi");
}

#[test]
fn old_clusters_lower_no_limit() {
    let old = |stage: &mut Stage| stage.scene.cluster.minor_version = Some(33);
    size("1 1Gi:2Gi", "1 500Mi", old, Code::Resize, "500Mi");
    // The limit that stays makes no small step of the request worth it.
    let equal = |stage: &mut Stage| {
        old(stage);
        stage.policy("web", |it| it.limits.value = supple_decide::policy::Limits::Equal);
    };
    size("1 1Gi:2Gi", "1 1000Mi", equal, Code::NotWorthIt, "nothing");
    size("1:1 1Gi:1Gi", "1 500Mi", old, Code::LimitNotLowered, "nothing");
    size("1 1Gi:2Gi", "1 2Gi", old, Code::Resize, "2Gi:4Gi");
    size("1 1Gi", "1 500Mi", old, Code::Resize, "500Mi");
}

/// A pod that was killed for want of memory so many minutes ago and resized by us two minutes ago.
fn killed(minutes_ago: i64) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "1 2Gi").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = true;
    stage.pod("web", "web-1", "n1", "1 1Gi:1Gi");
    stage.resized("web-1", "1 900Mi:900Mi", 2);
    let at = stage.ago(minutes_ago);
    stage.at("web-1").containers[0].last_end = Some(LastEnd { at, out_of_memory: true, exit_code: 137 });
    stage
}

#[test]
fn a_kill_is_answered_at_once_and_once() {
    check(&killed(1).decide(), "web-1", Code::Resize, "2Gi:2Gi");
    check(&killed(3).decide(), "web-1", Code::Settling, "nothing");
    let mut pressed = killed(3);
    pressed.used("web-1").memory_pressure_permille = Some(100);
    check(&pressed.decide(), "web-1", Code::Resize, "2Gi:2Gi");
    pressed.used("web-1").details_at = Some(pressed.ago(2));
    check(&pressed.decide(), "web-1", Code::Settling, "nothing");
}

#[test]
fn of_what_cannot_wait_who_is_nearest_to_being_killed_goes_first() {
    let mut stage = Stage::new();
    for (name, used) in [("a", 950), ("b", 1010), ("c", 990)] {
        stage.workload(name, "1 1536Mi").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = true;
        let pod = format!("{name}-1");
        stage.pod(name, &pod, "n1", "1 1Gi:1Gi");
        stage.used(&pod).memory = Some(Bytes(used * MIB));
    }
    let round = stage.decide();
    let order: Vec<&str> = round.actions.iter().map(|it| &*it.pod.name).collect();
    assert_eq!(order, ["b-1", "c-1", "a-1"]);
    assert!(round.actions.iter().all(|it| it.cannot_wait));
}
