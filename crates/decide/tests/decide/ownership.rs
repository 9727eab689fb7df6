//! Whose pod it is: other hands, other autoscalers.

use supple_decide::code::Code;
use supple_decide::facts::Scaler;
use supple_decide::hand::{Hand, Other};
use supple_decide::policy::WithScaler;
use supple_decide::round::What;

use crate::stage::*;

fn scaler(cpu: Option<u32>, memory: Option<u32>) -> Scaler {
    Scaler {
        name: "web".into(),
        kind: "HorizontalPodAutoscaler".into(),
        cpu_utilization: cpu,
        memory_utilization: memory,
        container: None,
        min_replicas: 1,
        max_replicas: 9,
        current_replicas: 2,
    }
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
fn a_scaler_keeps_only_what_it_reads() {
    check(&stage(1, scaler(None, None)).decide(), "web-1", Code::Resize, "500m 750Mi");
    check(&stage(1, scaler(Some(80), None)).decide(), "web-1", Code::Resize, "750Mi");
    check(&stage(1, scaler(None, Some(80))).decide(), "web-1", Code::Resize, "500m");
    check(&stage(1, scaler(Some(80), Some(80))).decide(), "web-1", Code::HorizontalScaler, "nothing");
    let other = Scaler { container: Some("sidecar".into()), ..scaler(Some(80), None) };
    check(&stage(1, other).decide(), "web-1", Code::Resize, "500m 750Mi");
}

fn adjusting(pods: usize, percent: u32) -> Stage {
    let mut stage = stage(pods, scaler(Some(percent), None));
    stage.policy("web", |it| it.with_scaler.value = WithScaler::Adjust);
    stage
}

#[test]
fn the_target_changes_with_the_request_of_all_pods() {
    let stage = adjusting(3, 40);
    let round = stage.decide();
    check(&round, "web-1", Code::AdjustScaler, "500m 750Mi");
    check(&round, "web-2", Code::Resize, "500m 750Mi");
    check(&round, "web-3", Code::Resize, "500m 750Mi");
    assert_eq!(&*round.actions[0].pod.name, "web-1");
    let What::AdjustScaler { scaler, from_percent, to_percent, .. } = &round.actions[0].what else { panic!() };
    // 40 % of 1 and 80 % of 500m are the same use.
    assert_eq!((scaler.as_str(), *from_percent, *to_percent), ("web", 40, 80));
}

#[test]
fn a_target_out_of_bounds_is_refused() {
    let round = adjusting(2, 60).decide();
    check(&round, "web-1", Code::Resize, "750Mi");
    assert!(codes(&round, "web-1").contains(&Code::HorizontalScaler));
}

#[test]
fn all_pods_or_none() {
    let mut stage = adjusting(3, 40);
    stage.at("web-2").progress = supple_decide::progress::Progress::Underway;
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
fn two_scalers_or_keda() {
    let mut two = adjusting(1, 40);
    two.subject("web").facts.scalers.push(Scaler { name: "web-2".into(), ..scaler(Some(70), None) });
    check(&two.decide(), "web-1", Code::Resize, "750Mi");
    let mut keda = adjusting(1, 40);
    keda.subject("web").facts.scalers[0].kind = "ScaledObject".into();
    let round = keda.decide();
    let What::AdjustScaler { kind, .. } = &round.actions[0].what else { panic!("{:?}", round.actions) };
    assert_eq!(kind, "ScaledObject");
}

#[test]
fn a_pod_that_lacks_a_little_counts_among_all() {
    let mut stage = adjusting(2, 40);
    stage.subject("web").needs.insert("app".into(), need("1050m 750Mi"));
    stage.at("web-2").containers[0] = stage.container("app", "100m 1Gi");
    stage.at("web-1").progress = supple_decide::progress::Progress::Underway;
    // A twentieth more is below the threshold, but what `web-1` has is less than is safe: it would change too, and cannot.
    let round = stage.decide();
    assert!(round.actions.iter().all(|it| !matches!(it.what, What::AdjustScaler { .. })), "{:#?}", round.actions);
    assert!(codes(&round, "web-2").contains(&Code::HorizontalScaler));
}
