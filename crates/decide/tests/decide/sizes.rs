//! What a container is to have: headroom, bounds, schedules, limits, steps, classes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use supple_decide::code::Code;
use supple_decide::policy::{ContainerPolicy, CpuAndMemory, Layer, Limits, Policy, ScheduledSize, StepCaps};
use supple_decide::record::TooSmall;
use supple_quantity::{Bytes, MilliCpu};

use crate::stage::*;

fn nothing(_: &mut Stage) {}

fn limits(limits: Limits) -> impl FnOnce(&mut Stage) {
    move |stage| stage.policy("web", |it| it.limits.value = limits)
}

fn container(own: ContainerPolicy) -> impl FnOnce(&mut Stage) {
    move |stage| {
        let containers = BTreeMap::from([(Arc::from("app"), own)]);
        stage.policy("web", |it| *it = it.clone().under(Layer { containers, ..Layer::default() }));
    }
}

fn amounts(cpu: i64, memory_mib: i64) -> CpuAndMemory {
    CpuAndMemory { cpu: Some(MilliCpu(cpu)), memory: Some(Bytes(memory_mib * MIB)) }
}

#[test]
fn headroom_rounding_and_threshold() {
    size("1 1Gi", "500m 600Mi", nothing, Code::Resize, "500m 600Mi");
    size("1 1Gi", "501m 629145601", nothing, Code::Resize, "501m 601Mi");
    let headroom = |stage: &mut Stage| {
        stage.policy("web", |it| (it.cpu_headroom_percent.value, it.memory_headroom_percent.value) = (20, 10));
    };
    size("1 1Gi", "500m 600Mi", headroom, Code::Resize, "600m 660Mi");
    size("1 1Gi", "950m 1000Mi", nothing, Code::NotWorthIt, "nothing");
    size("1 1Gi", "900m 1000Mi", nothing, Code::Resize, "900m");
    size("1 1Gi", "1 1Gi", nothing, Code::Fits, "nothing");
    // Below what is safe even a small raise is worth it, but none that the next hour may ask for again.
    size("1 1Gi", "1050m 1Gi", nothing, Code::Resize, "1050m");
    size("1 1Gi", "1010m 1Gi", nothing, Code::Resize, "1010m");
    size("1 1Gi", "1009m 1Gi", nothing, Code::NotWorthIt, "nothing");
}

#[test]
fn a_limit_that_has_to_stay_makes_no_small_step_worth_it() {
    let full_of_files = |stage: &mut Stage| {
        stage.policy("web", |it| it.limits.value = Limits::Equal);
        stage.used("web-1").memory_charged = Some(Bytes(2048 * MIB));
    };
    size("1 1Gi:2Gi", "1 1000Mi", full_of_files, Code::NotWorthIt, "nothing");
    size("1 1Gi:2Gi", "1 800Mi", full_of_files, Code::Resize, "800Mi");
    // Nor does one that a limit range holds in proportion, which by its own would be four times the request.
    let in_proportion = |stage: &mut Stage| {
        stage.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}));
        stage.at("web-1").hand = supple_decide::hand::Hand::Ours;
        stage.subject("web").facts.template.insert("app".into(), numbers("1:4 1Gi"));
    };
    size("1:2 1Gi", "980m 1Gi", in_proportion, Code::NotWorthIt, "nothing");
    size("1:2 1Gi", "880m 1Gi", in_proportion, Code::Resize, "880m:1760m");
    // With a limit range that has a word to say, too.
    let ranged = |stage: &mut Stage| {
        full_of_files(stage);
        stage.limit_range(json!({"type": "Container", "min": {"memory": "1010Mi"}}));
    };
    size("1 1Gi:2Gi", "1 800Mi", ranged, Code::NotWorthIt, "nothing");
}

#[test]
fn some_milli_cpu_are_no_change_for_their_own_sake() {
    let round = decided("16m 1Gi", "14m 1Gi", nothing);
    check(&round, "web-1", Code::NotWorthIt, "nothing");
    assert_eq!(decision(&round, "web-1").message, "app: cpu 16m → 14m is a change of less than 5m");
    size("16m 1Gi", "11m 1Gi", nothing, Code::Resize, "11m");
    // Where there is too little they are.
    size("16m 1Gi", "20m 1Gi", nothing, Code::Resize, "20m");
    // They come with what is worth it in memory no more than by themselves.
    size("16m 1Gi", "14m 800Mi", nothing, Code::Resize, "800Mi");
}

#[test]
fn nothing_falls_below_what_a_process_can_do_with() {
    size("100m 100Mi", "1m 1Mi", nothing, Code::Resize, "10m 16Mi");
    size("5m 5Mi", "1m 1Mi", nothing, Code::BelowUse, "held");
}

#[test]
fn only_what_is_requested_is_sized() {
    size("1", "500m 1Gi", nothing, Code::Resize, "500m");
    size("", "500m 1Gi", nothing, Code::NothingRequested, "nothing");
}

#[test]
fn floors_and_ceilings() {
    let bounds =
        || ContainerPolicy { at_least: amounts(700, 800), at_most: amounts(1500, 1200), ..ContainerPolicy::default() };
    size("1 1Gi", "100m 100Mi", container(bounds()), Code::Resize, "700m 800Mi");
    size("1 1Gi", "3 3Gi", container(bounds()), Code::Resize, "1500m 1200Mi");
    size("1500m 1200Mi", "3 3Gi", container(bounds()), Code::AtMost, "held");
    size("700m 800Mi", "1m 1Mi", container(bounds()), Code::AtLeast, "held");
}

#[test]
fn a_ceiling_holds_against_a_floor_above_it() {
    let bounds = || ContainerPolicy {
        at_least: amounts(4000, 4096),
        at_most: amounts(2000, 2048),
        ..ContainerPolicy::default()
    };
    for wanted in ["1 1Gi", "3 3Gi", "8 8Gi"] {
        size("1 1Gi", wanted, container(bounds()), Code::Resize, "2 2Gi");
        size("2 2Gi", wanted, container(bounds()), Code::AtMost, "held");
    }
    size("4 4Gi", "3 3Gi", container(bounds()), Code::Resize, "2 2Gi");
}

#[test]
fn which_bound_held_is_said_and_that_they_contradict_each_other() {
    let mut stage = Stage::new();
    stage.workload("web", "1 1Gi");
    let bounds =
        ContainerPolicy { at_least: amounts(500, 4096), at_most: amounts(500, 2048), ..ContainerPolicy::default() };
    container(bounds)(&mut stage);
    stage.pod("web", "web-1", "n1", "1 1Gi");
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "500m 2Gi");
    let said: Vec<&str> = decision(&round, "web-1").findings.iter().map(|it| &*it.message).collect();
    assert!(
        said.iter().any(|it| it.ends_with("becomes 2Gi: maxAllowed, which is less than minAllowed (4Gi)")),
        "{said:?}"
    );
    assert!(said.iter().any(|it| it.ends_with("becomes 500m: maxAllowed")), "{said:?}");
}

#[test]
fn what_is_not_ours_to_size() {
    let off = ContainerPolicy { off: Some(true), ..ContainerPolicy::default() };
    size("1 1Gi", "500m 600Mi", container(off), Code::Fits, "nothing");
    let cpu = ContainerPolicy { controlled: Some((true, false)), ..ContainerPolicy::default() };
    size("1 1Gi", "500m 600Mi", container(cpu), Code::Resize, "500m");
    // Once what is ours fits, the rest is no obstacle to anything.
    let cpu = ContainerPolicy { controlled: Some((true, false)), ..ContainerPolicy::default() };
    size("500m 1Gi", "500m 600Mi", container(cpu), Code::Fits, "nothing");
}

#[test]
fn schedules() {
    let schedule = |from: i64, until: i64| {
        move |stage: &mut Stage| {
            let schedule = ScheduledSize {
                spans: vec![(stage.ago(-from), stage.ago(-until))],
                text: "weekdays".into(),
                at_least: BTreeMap::from([(Arc::from("*"), amounts(800, 900))]),
                at_most: BTreeMap::new(),
            };
            stage.policy("web", |it| it.schedules.value.push(schedule));
        }
    };
    let contradicts = |stage: &mut Stage| {
        schedule(-60, 60)(stage);
        stage.policy("web", |it| {
            it.schedules.value[0].at_most.insert("*".into(), amounts(700, 800));
        });
    };
    size("1 1Gi", "500m 600Mi", contradicts, Code::Resize, "700m 800Mi");
    size("1 1Gi", "500m 600Mi", schedule(-60, 60), Code::Resize, "800m 900Mi");
    size("1 1Gi", "500m 600Mi", schedule(60, 120), Code::Resize, "500m 600Mi");
    size("800m 900Mi", "500m 600Mi", schedule(-60, 60), Code::Scheduled, "held");
}

#[test]
fn limit_strategies() {
    size("1:2 1Gi:2Gi", "500m 512Mi", nothing, Code::Resize, "500m:1 512Mi:1Gi");
    size("1:2 1Gi:2Gi", "500m 512Mi", limits(Limits::Keep), Code::Resize, "500m 512Mi");
    size("1:2 1Gi:2Gi", "3 3Gi", limits(Limits::Keep), Code::Resize, "1999m 2Gi");
    size("2:2 1Gi:2Gi", "3 1Gi", limits(Limits::Keep), Code::LimitKept, "held");
    size("1:2 1Gi:2Gi", "500m 512Mi", limits(Limits::None), Code::Resize, "500m 512Mi");
    size("1:2 1Gi:2Gi", "3 1Gi", limits(Limits::None), Code::Resize, "3:3");
    size("1:2 1Gi", "500m 512Mi", limits(Limits::Equal), Code::Resize, "500m:500m 512Mi");
}

#[test]
fn the_class_is_kept() {
    // Guaranteed: equal stays equal, whatever the strategy.
    size("1:1 1Gi:1Gi", "500m 512Mi", nothing, Code::Resize, "500m:500m 512Mi:512Mi");
    size("1:1 1Gi:1Gi", "500m 512Mi", limits(Limits::None), Code::Resize, "500m:500m 512Mi:512Mi");
    size("1:1 1Gi:1Gi", "500m 512Mi", limits(Limits::Keep), Code::QosChange, "nothing");
    // Burstable: it does not become Guaranteed.
    size("1:2 1Gi:2Gi", "500m 512Mi", limits(Limits::Equal), Code::Resize, "500m:501m 512Mi:512Mi");
    size("1000m:1001m 1Gi:1025Mi", "500m 512Mi", nothing, Code::Resize, "500m:501m 512Mi:513Mi");
}

#[test]
fn which_limit_keeps_the_class_is_decided_by_name() {
    for turned in [false, true] {
        let mut stage = Stage::new();
        let other = need("500m 512Mi");
        stage.workload("web", "500m 512Mi").needs.insert(Arc::from("side"), other);
        let side = stage.container("side", "1:2 1Gi:1Gi");
        let pod = stage.pod("web", "web-1", "n1", "1:2 1Gi:1Gi");
        pod.containers.push(side);
        if turned {
            pod.containers.reverse();
        }
        pod.qos = class(&pod.containers);
        let used = *stage.used("web-1");
        stage.scene.uses.get_mut(&key("web-1")).unwrap().insert("side".into(), used);
        limits(Limits::Equal)(&mut stage);
        stage.policy("web", |it| it.steps.value = StepCaps::default());
        check(&stage.decide(), "web-1", Code::Resize, "500m:501m 512Mi:512Mi");
    }
}

#[test]
fn steps() {
    let caps = |cpu_up, cpu_down, memory_up, memory_down| {
        move |stage: &mut Stage| {
            let caps = StepCaps { cpu_up, cpu_down, memory_up, memory_down };
            stage.policy("web", |it| it.steps.value = caps);
        }
    };
    size("1:2 1Gi:2Gi", "100m 100Mi", caps(None, Some(50), None, Some(30)), Code::Resize, "500m:1 717Mi:1434Mi");
    size("1 1Gi", "4 4Gi", caps(Some(50), None, Some(100), None), Code::Resize, "1500m 2Gi");
    // A step smaller than the threshold is taken all the same: the whole way is worth it.
    size("1 1Gi", "100m 1Gi", caps(None, Some(5), None, None), Code::Resize, "950m");
    size("1 1Gi", "100m 1Gi", caps(None, Some(0), None, None), Code::StepCapped, "nothing");
    size("1:1 1Gi:1Gi", "100m 100Mi", caps(None, Some(50), None, Some(30)), Code::Resize, "500m:500m 717Mi:717Mi");
}

#[test]
fn a_size_that_did_harm_is_kept_above_for_a_week() {
    let harmed = |days: i64| {
        move |stage: &mut Stage| {
            let size = numbers("500m 600Mi");
            let at = stage.ago(days * 24 * 60);
            let entry = TooSmall { container: "app".into(), size, at, code: Code::OutOfMemory };
            Arc::make_mut(&mut stage.subject("web").record).too_small.push(entry);
        }
    };
    size("1 1Gi", "400m 500Mi", harmed(1), Code::Resize, "600m 720Mi");
    size("1 1Gi", "400m 500Mi", harmed(8), Code::Resize, "400m 500Mi");
    size("600m 720Mi", "400m 500Mi", harmed(1), Code::KnownTooSmall, "held");
    size("500m 600Mi", "1 1Gi", harmed(1), Code::Resize, "1 1Gi");
    // No ceiling of a policy leads back to it, and none holds up what goes up.
    let ceiling = |days: i64| {
        move |stage: &mut Stage| {
            harmed(days)(stage);
            container(ContainerPolicy { at_most: amounts(450, 500), ..ContainerPolicy::default() })(stage);
        }
    };
    size("1 1Gi", "700m 900Mi", ceiling(1), Code::Resize, "600m 720Mi");
    size("1 1Gi", "700m 900Mi", ceiling(8), Code::Resize, "450m 500Mi");
    size("600m 720Mi", "700m 900Mi", ceiling(1), Code::KnownTooSmall, "held");
    // Nor does a limit range, which then refuses whatever the pod is to have: it has more than the range allows.
    let ranged = |days: i64| {
        move |stage: &mut Stage| {
            harmed(days)(stage);
            stage.limit_range(json!({"type": "Container", "max": {"memory": "600Mi"}}));
        }
    };
    size("1 1Gi:1Gi", "1 800Mi", ranged(8), Code::Resize, "600Mi:600Mi");
    size("1 1Gi:1Gi", "1 800Mi", ranged(1), Code::LimitRange, "nothing");
}

#[test]
fn absurd_numbers_do_not_overflow() {
    let huge = |stage: &mut Stage| {
        let need = stage.subject("web").needs.get_mut("app").unwrap();
        need.cpu = Some(wanted(MilliCpu(i64::MAX)));
        stage.policy("web", |it| it.cpu_headroom_percent.value = u32::MAX);
    };
    size("1:2 1Gi:2Gi", "1 1Gi", huge, Code::NodeCapacity, "nothing");
    let more_huge = |stage: &mut Stage| {
        let need = stage.subject("web").needs.get_mut("app").unwrap();
        need.memory = Some(wanted(Bytes(i64::MAX)));
        stage.used("web-1").memory_peak = Some(Bytes(i64::MAX));
    };
    size("1 1Gi", "1 1Gi", more_huge, Code::NodeCapacity, "nothing");
}

#[test]
fn a_named_setting_is_said_with_its_origin() {
    let mut stage = Stage::new();
    stage.workload("web", "100m 100Mi");
    stage.pod("web", "web-1", "n1", "1 1Gi");
    let layer = Layer {
        origin: supple_decide::policy::Origin::Policy("careful".into()),
        steps: Some(StepCaps { cpu_down: Some(10), ..StepCaps::default() }),
        ..Layer::default()
    };
    stage.policy("web", |it: &mut Policy| *it = it.clone().under(layer));
    let round = stage.decide();
    let finding = decision(&round, "web-1").findings.iter().find(|it| it.code == Code::StepCapped).unwrap();
    assert_eq!(finding.setting.as_deref(), Some("steps (rightsizepolicy/careful)"));
    assert_eq!(finding.message, "100m becomes 900m: the rest follows in later steps");
}
