//! Whose pod it is: other hands, other autoscalers.

use supple_decide::code::Code;
use supple_decide::facts::{Metric, Scaler};
use supple_decide::hand::{Hand, Other};
use supple_decide::policy::{Limits, Mode, StepCaps, WithScaler};
use supple_decide::progress::Progress;
use supple_decide::round::{Action, Round, What};
use supple_decide::scaler::Anchor;
use supple_resize::amounts::Resource;
use supple_resize::predict::Change;

use crate::stage::*;

fn scaler(cpu: Option<u32>, memory: Option<u32>) -> Scaler {
    Scaler {
        name: "web".into(),
        kind: "HorizontalPodAutoscaler".into(),
        metrics: [(Resource::Cpu, cpu), (Resource::Memory, memory)]
            .into_iter()
            .filter_map(|(resource, percent)| Some(Metric { resource, percent: percent?, container: None }))
            .collect(),
        min_replicas: 1,
        max_replicas: 9,
        current_replicas: 2,
        anchor: None,
        set_by: None,
        through: None,
    }
}

/// `ContainerResource`, of CPU.
fn metric(container: &str, percent: u32) -> Metric {
    Metric { resource: Resource::Cpu, percent, container: Some(container.into()) }
}

fn stage(pods: usize, scaler: Scaler) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m 750Mi").facts.scalers.push(scaler);
    for index in 1..=pods {
        let node = format!("node-{index}");
        stage.node(&node, "4", "16Gi");
        stage.pod("web", &format!("web-{index}"), &node, "1 1Gi");
    }
    stage
}

#[test]
fn another_hand_moves_the_pod() {
    let mut other = stage(1, scaler(None, None));
    other.at("web-1").hand = Hand::Theirs(Other::Manager("vpa-updater".into()));
    check(&other.decide(), "web-1", Code::OtherHand, "nothing");
    let mut vertical = stage(1, scaler(None, None));
    vertical.subject("web").facts.other_vertical.push("web".into());
    check(&vertical.decide(), "web-1", Code::OtherVertical, "nothing");
}

#[test]
fn what_vpa_s_updater_left_is_gone_on_with_by_what_the_template_says() {
    let mut stage = stage(1, scaler(None, None));
    stage.at("web-1").hand = Hand::Inherited;
    // A limit that VPA left alone (`RequestsOnly`) while it lowered the request.
    let resized = stage.container("app", "1:4 1Gi");
    stage.at("web-1").containers[0] = resized;
    stage.subject("web").facts.template.insert("app".into(), numbers("2:4 2Gi"));
    stage.policy("web", |it| (it.limits.value, it.steps.value) = (Limits::Ratio, StepCaps::default()));
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "500m:1 750Mi");
    let originals = &round.records.values().next().unwrap().originals;
    assert_eq!(show(originals.get("app").unwrap()), "2:4 2Gi", "and not what VPA made of it");
    stage.subject("web").facts.other_vertical.push("web".into());
    check(&stage.decide(), "web-1", Code::OtherVertical, "nothing");
}

#[test]
fn a_scaler_keeps_only_what_it_reads() {
    check(&stage(1, scaler(None, None)).decide(), "web-1", Code::Resize, "500m 750Mi");
    check(&stage(1, scaler(Some(80), None)).decide(), "web-1", Code::Resize, "750Mi");
    check(&stage(1, scaler(None, Some(80))).decide(), "web-1", Code::Resize, "500m");
    check(&stage(1, scaler(Some(80), Some(80))).decide(), "web-1", Code::HorizontalScaler, "nothing");
    let other = Scaler { metrics: vec![metric("sidecar", 80)], ..scaler(None, None) };
    check(&stage(1, other).decide(), "web-1", Code::Resize, "500m 750Mi");
}

#[test]
fn the_target_of_one_that_scales_more_than_the_workload_is_left() {
    let mut through = adjusting(1, 40);
    through.subject("web").facts.scalers[0].through = Some("prometheus/k8s".into());
    let round = through.decide();
    check(&round, "web-1", Code::Resize, "750Mi");
    assert!(adjusted(&round).is_empty());
    let said = decision(&round, "web-1").findings.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("; ");
    for part in ["scales prometheus/k8s at 40 %", "which may have other pods too"] {
        assert!(said.contains(part), "{said}");
    }
}

fn adjusting(pods: usize, percent: u32) -> Stage {
    let mut stage = stage(pods, scaler(Some(percent), None));
    stage.policy("web", |it| it.with_scaler.value = WithScaler::Adjust);
    stage
}

/// Every pod that changes with the target, and from what to what that is.
fn adjusted(round: &Round) -> Vec<(&str, u32, u32)> {
    let one = |it: &Action| match it.what.clone() {
        What::AdjustScaler { target, .. } => Some((target.from, target.to)),
        _ => None,
    };
    round.actions.iter().filter_map(|it| one(it).map(|(from, to)| (&*it.pod.name, from, to))).collect()
}

/// The target that the scaler alone is given, and whether it is as it was before us then.
fn settled(round: &Round) -> Option<(u32, u32, bool)> {
    round.actions.iter().find_map(|it| match &it.what {
        What::SettleScaler(target) => Some((target.from, target.to, target.anchor.is_none())),
        _ => None,
    })
}

#[test]
fn the_target_changes_with_the_request_of_all_pods() {
    let round = adjusting(3, 40).decide();
    check(&round, "web-1", Code::AdjustScaler, "500m 750Mi");
    for name in ["web-2", "web-3"] {
        check(&round, name, Code::AdjustScaler, "500m");
        assert!(codes(&round, name).contains(&Code::CanarySettling), "{:?}", codes(&round, name));
    }
    // 40 % of 1 and 80 % of 500m are the same use.
    assert_eq!(adjusted(&round), [("web-1", 40, 80), ("web-2", 40, 80), ("web-3", 40, 80)]);
}

/// A pod of two containers that both want less, under an autoscaler with these metrics: what comes of it, and what is said.
#[track_caller]
fn check_two(metrics: Vec<Metric>, adjust: bool, expect: &str, says: &str) {
    let mut stage = stage(1, Scaler { metrics, ..scaler(None, None) });
    if adjust {
        stage.policy("web", |it| it.with_scaler.value = WithScaler::Adjust);
    }
    stage.subject("web").needs.insert("proxy".into(), need("100m 80Mi"));
    let (proxy, used) = (stage.container("proxy", "200m 100Mi"), *stage.used("web-1"));
    stage.at("web-1").containers.push(proxy);
    stage.scene.uses.get_mut(&key("web-1")).unwrap().insert("proxy".into(), used);
    let round = stage.decide();
    let change = round.actions.first().and_then(|it| it.what.change()).expect("something is resized");
    let of = |(name, it): (&String, &supple_resize::predict::Sizes)| {
        format!("{name}: {}", show(&supple_decide::numbers::Numbers::of(it)))
    };
    assert_eq!(change.containers.iter().map(of).collect::<Vec<_>>().join(", "), expect);
    let said = decision(&round, "web-1").findings.iter().map(|it| it.message.as_str()).collect::<Vec<_>>().join("; ");
    assert!(said.contains(says), "{said}");
}

#[test]
fn whatever_any_metric_of_an_autoscaler_reads_is_held() {
    let memory = || Metric { resource: Resource::Memory, percent: 80, container: None };
    let both = || vec![metric("app", 60), metric("proxy", 70)];
    check_two(both(), false, "app: 750Mi, proxy: 80Mi", "scales at 60 % of requested cpu of app:");
    check_two(both(), true, "app: 750Mi, proxy: 80Mi", "exactly one CPU metric, and there are 2");
    check_two(vec![metric("app", 60), memory()], false, "proxy: 100m", "80 % of requested memory:");
    check_two(vec![memory(), metric("proxy", 70)], false, "app: 500m", "70 % of requested cpu of proxy:");
    check_two(vec![metric("app", 60), memory()], true, "app: 600m, proxy: 100m", "80 % of requested memory:");
}

/// How many pods change these of their numbers in a round.
fn changing(round: &Round, which: fn(&supple_resize::predict::Sizes) -> bool) -> usize {
    let changes = round.actions.iter().filter_map(|it| it.what.new_change());
    changes.filter(|it| it.containers.values().any(which)).count()
}

#[test]
fn what_the_scaler_does_not_read_has_its_canary_and_its_rate() {
    let mut stage = adjusting(50, 40);
    let round = stage.decide();
    let (cpu, memory) = (
        |round: &Round| changing(round, |it| it.cpu_request.is_some()),
        |round: &Round| changing(round, |it| it.memory_request.is_some()),
    );
    assert_eq!((adjusted(&round).len(), cpu(&round), memory(&round)), (50, 50, 1));
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(1);
    assert_eq!(stage.decide().actions, [], "all of them are watched");
    stage.pass(60); // their cool-down is over
    for _ in 0..3 {
        stage.pass(6);
        let round = stage.decide();
        assert_eq!((cpu(&round), memory(&round)), (0, 3));
        stage.carry_out(&round);
        stage.let_settle();
    }
    // A container that it does not read is held like any other.
    let mut one = adjusting(4, 40);
    one.subject("web").facts.scalers[0].metrics[0].container = Some("app".into());
    one.subject("web").needs.insert("side".into(), need("100m"));
    let uses = *one.used("web-1");
    for index in 1..=4 {
        let side = one.container("side", "200m");
        let name = format!("web-{index}");
        one.at(&name).containers.push(side);
        one.scene.uses.get_mut(&key(&name)).unwrap().insert("side".into(), uses);
    }
    let round = one.decide();
    let of = |name: &str| {
        let actions = round.actions.iter().filter_map(|it| it.what.new_change());
        actions.filter(|it| it.containers.contains_key(name)).count()
    };
    assert_eq!((of("app"), of("side")), (4, 1));
}

/// Three pods that need this, with memory near its end, so that it cannot wait; the target changes with CPU.
fn pressing(needs: &str) -> Stage {
    let mut stage = adjusting(3, 40);
    stage.subject("web").needs.insert("app".into(), need(needs));
    stage.subject("web").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = true;
    for name in ["web-1", "web-2", "web-3"] {
        stage.used(name).memory = Some(supple_quantity::Bytes(1000 * MIB));
    }
    stage
}

#[test]
fn what_cannot_wait_is_given_beside_what_changes_with_the_target() {
    let stage = pressing("500m 2Gi");
    let round = stage.decide();
    for name in ["web-1", "web-2", "web-3"] {
        check(&round, name, Code::AdjustScaler, "500m 2Gi");
    }
}

#[test]
fn what_finds_room_after_its_siblings_could_not_change_with_it_leaves_the_target_alone() {
    let mut stage = pressing("2 2Gi");
    stage.node("small", "4", "4Gi");
    stage.at("web-1").node = Some("small".into());
    stage.workload("idle", "1 1Gi");
    stage.policy("idle", |it| it.steps.value = supple_decide::policy::StepCaps::default());
    stage.pod("idle", "idle-1", "small", "2500m 2560Mi");
    let round = stage.decide();
    check(&round, "idle-1", Code::Resize, "1 1Gi");
    check(&round, "web-1", Code::Resize, "2Gi");
    assert_eq!(adjusted(&round), []);
}

/// Three pods of which so many have got their new size when the loop was killed; the target had been changed before.
fn killed_after(resized: usize) -> Stage {
    let mut stage = adjusting(3, 80);
    stage.subject("web").facts.scalers[0].anchor = Some(Anchor { percent: 40, milli_cpu: 3000, pods: 3, to: 80 });
    for index in 1..=resized {
        let resized = stage.container("app", "500m 750Mi");
        stage.at(&format!("web-{index}")).containers[0] = resized;
    }
    stage
}

#[test]
fn what_a_kill_left_half_done_is_finished_and_adds_up_to_nothing() {
    assert_eq!(adjusted(&killed_after(0).decide()), [("web-1", 80, 80), ("web-2", 80, 80), ("web-3", 80, 80)]);
    assert_eq!(adjusted(&killed_after(1).decide()), [("web-2", 80, 80), ("web-3", 80, 80)]);
    assert_eq!(killed_after(3).decide().actions, []);
}

#[test]
fn what_is_not_done_after_all_is_taken_back_from_the_target() {
    // The others cannot change now: the target goes with what they have.
    let held = |resized| {
        let mut stage = killed_after(resized);
        stage.at("web-3").progress = Progress::Underway;
        settled(&stage.decide())
    };
    assert_eq!(held(0), Some((80, 40, true)));
    assert_eq!(held(1), Some((80, 48, false)));
    assert_eq!(held(2), Some((80, 60, false)));
    // Nobody wants the change any more, whatever the policy says by now.
    for mode in [Mode::Off, Mode::InPlace] {
        let mut unwanted = killed_after(0);
        unwanted.subject("web").needs.clear();
        unwanted.policy("web", |it| it.mode.value = mode);
        let round = unwanted.decide();
        assert_eq!(settled(&round), Some((80, 40, true)), "{mode:?}");
        unwanted.carry_out(&round);
        assert_eq!(unwanted.decide().actions, [], "once is enough");
    }
    // Whoever said that nothing is to be done is obeyed, and while something is on its way to a pod nothing is known for sure.
    let mut stopped = killed_after(1);
    stopped.scene.cluster.stopped = Some("peace".into());
    assert_eq!(stopped.decide().actions, []);
    let mut acting = killed_after(1);
    acting.at("web-3").progress = Progress::Underway;
    acting.scene.acting.insert(key("web-2"), Change::default());
    assert_eq!(settled(&acting.decide()), None);
}

#[test]
fn pods_that_join_with_the_former_size_move_the_target() {
    let mut stage = killed_after(3);
    stage.node("node-4", "4", "16Gi");
    stage.pod("web", "web-4", "node-4", "1 1Gi").progress = Progress::Underway;
    assert_eq!(settled(&stage.decide()), Some((80, 64, false)));
}

#[test]
fn a_step_goes_as_far_as_the_target_can_follow() {
    // Half of the request would need 120 %: 60 % of 1 is 100 % of 600m.
    let mut stage = adjusting(2, 60);
    let round = stage.decide();
    check(&round, "web-1", Code::AdjustScaler, "600m 750Mi");
    check(&round, "web-2", Code::AdjustScaler, "600m");
    assert_eq!(adjusted(&round), [("web-1", 60, 100), ("web-2", 60, 100)]);
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(61);
    let round = stage.decide();
    check(&round, "web-2", Code::Resize, "750Mi");
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(61);
    let round = stage.decide();
    assert_eq!(round.actions, [], "and no further");
    check_held(&round, "web-1", Code::HorizontalScaler);
    // The limit goes with the request that is left.
    let mut limited = adjusting(1, 60);
    limited.at("web-1").containers[0] = limited.container("app", "1:2 1Gi");
    check(&limited.decide(), "web-1", Code::AdjustScaler, "600m:1200m 750Mi");
    // A step that is hardly one is not worth it.
    let mut near = adjusting(1, 96);
    near.policy("web", |it| it.threshold_percent.value = 5);
    check(&near.decide(), "web-1", Code::Resize, "750Mi");
    // Upwards a target ends at one percent.
    let mut low = adjusting(1, 1);
    low.subject("web").needs.insert("app".into(), need("3 750Mi"));
    check(&low.decide(), "web-1", Code::Resize, "750Mi");
}

#[test]
fn all_pods_or_none() {
    let mut stage = adjusting(3, 40);
    stage.at("web-2").progress = Progress::Underway;
    let round = stage.decide();
    assert!(round.actions.iter().all(|it| !matches!(it.what, What::AdjustScaler { .. })), "{:#?}", round.actions);
    assert!(codes(&round, "web-1").contains(&Code::HorizontalScaler));
    // Also where it shows only as places are given: one node is full.
    let mut full = adjusting(3, 40);
    full.subject("web").needs.insert("app".into(), need("1500m 1Gi"));
    let room = full.scene.nodes.get_mut("node-3").unwrap();
    room.allocatable.cpu.0 = 1200;
    let round = full.decide();
    assert_eq!(round.actions, []);
    for name in ["web-1", "web-2", "web-3"] {
        assert!(codes(&round, name).contains(&Code::HorizontalScaler), "{name}: {:?}", codes(&round, name));
    }
}

#[test]
fn steps_that_cancel_each_other_out_are_taken_together() {
    // Whoever went first would move the point at which it scales.
    let mut stage = adjusting(2, 40);
    stage.subject("web").needs.insert("app".into(), need("1 1Gi"));
    for (name, has) in [("web-1", "800m 1Gi"), ("web-2", "1200m 1Gi")] {
        let container = stage.container("app", has);
        stage.at(name).containers[0] = container;
    }
    assert_eq!(adjusted(&stage.decide()), [("web-2", 40, 40), ("web-1", 40, 40)]);
    // Also on one node that is full, where one makes the room of the other.
    stage.node("full", "2", "2Gi");
    for name in ["web-1", "web-2"] {
        stage.at(name).node = Some("full".into());
    }
    assert_eq!(adjusted(&stage.decide()), [("web-2", 40, 40), ("web-1", 40, 40)]);
}

#[test]
fn two_scalers_or_keda() {
    let mut two = adjusting(1, 40);
    two.subject("web").facts.scalers.push(Scaler { name: "web-2".into(), ..scaler(Some(70), None) });
    check(&two.decide(), "web-1", Code::Resize, "750Mi");
    // What KEDA makes of a `ScaledObject` it puts back at once.
    let mut keda = adjusting(1, 40);
    keda.subject("web").facts.scalers[0].kind = "ScaledObject".into();
    check(&keda.decide(), "web-1", Code::Resize, "750Mi");
}

#[test]
fn a_pod_that_lacks_a_little_counts_among_all() {
    let mut stage = adjusting(2, 40);
    stage.subject("web").needs.insert("app".into(), need("1050m 750Mi"));
    stage.at("web-2").containers[0] = stage.container("app", "100m 1Gi");
    stage.at("web-1").progress = Progress::Underway;
    // A twentieth more is below the threshold, but what `web-1` has is less than is safe: it would change too, and cannot.
    let round = stage.decide();
    assert!(round.actions.iter().all(|it| !matches!(it.what, What::AdjustScaler { .. })), "{:#?}", round.actions);
    assert!(codes(&round, "web-2").contains(&Code::HorizontalScaler));
}

/// The manifest of an autoscaler that was adjusted is applied again: its old target, and our note.
#[test]
fn a_target_that_is_set_back_is_said_and_taken_for_no_new_beginning() {
    let set_back = |sizes: &str| {
        let mut stage = adjusting(2, 40);
        let scaler = &mut stage.subject("web").facts.scalers[0];
        scaler.anchor = Some(Anchor { percent: 40, milli_cpu: 2000, pods: 2, to: 80 });
        scaler.set_by = Some("argocd-controller".into());
        for name in ["web-1", "web-2"] {
            let resized = stage.container("app", sizes);
            stage.at(name).containers[0] = resized;
        }
        stage
    };
    let why =
        "argocd-controller set horizontalpodautoscaler/web to 40 % after Supple had moved its target from 40 % to 80 %";
    for (sizes, code) in [("1 750Mi", Code::HorizontalScaler), ("500m 750Mi", Code::Fits)] {
        let round = set_back(sizes).decide();
        check(&round, "web-1", code, "nothing");
        assert_eq!((adjusted(&round), settled(&round)), (vec![], None));
        let said = &decision(&round, "web-1").message;
        assert!(said.contains(why) && said.contains("supple.dev/adjusted-target"), "{said}");
    }
    // A person has removed the note: from here on it is moved from where it stands.
    let mut stage = set_back("1 750Mi");
    stage.subject("web").facts.scalers[0].anchor = None;
    assert_eq!(adjusted(&stage.decide()), [("web-1", 40, 80), ("web-2", 40, 80)]);
    // What does not concern it goes on.
    check(&set_back("1 1Gi").decide(), "web-1", Code::Resize, "750Mi");
}
