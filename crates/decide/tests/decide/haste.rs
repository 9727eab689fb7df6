//! What cannot wait beside what can, in one pod: where there is not enough for both, what can wait does.

use supple_decide::code::Code;
use supple_decide::facts::PodLevelHeld;
use supple_decide::numbers::Numbers;
use supple_decide::round::Round;
use supple_quantity::Bytes;

use serde_json::json;

use crate::stage::*;

/// A pod of two containers that both need twice their gibibyte, of which only the first one's need cannot wait, on a node with room for
/// all of it.
fn two(short: &str) -> Stage {
    let mut stage = Stage::new();
    let subject = stage.workload("web", "1 2Gi");
    subject.needs.insert("side".into(), need("1 2Gi"));
    subject.needs.get_mut(short).unwrap().memory.as_mut().unwrap().urgent = true;
    let side = stage.container("side", "1 1Gi");
    stage.pod("web", "web-1", "n1", "1 1Gi").containers.push(side);
    let mut used = *stage.used("web-1");
    used.memory = Some(Bytes(MIB));
    stage.scene.uses.get_mut(&key("web-1")).unwrap().insert("side".into(), used);
    stage.scene.uses.get_mut(&key("web-1")).unwrap().get_mut(short).unwrap().memory = Some(Bytes(1020 * MIB));
    stage
}

/// What the two containers are to request, of those of which that changes.
fn given(round: &Round) -> Vec<(String, Option<Bytes>)> {
    let changes = action(round, "web-1").and_then(|it| it.what.change()).map(|it| &it.containers);
    changes.into_iter().flatten().map(|(name, it)| (name.clone(), Numbers::of(it).memory_request)).collect()
}

#[track_caller]
fn check_goes_first(code: Code, change: impl Fn(&mut Stage)) {
    for short in ["app", "side"] {
        let mut stage = two(short);
        change(&mut stage);
        let round = stage.decide();
        assert_eq!(
            given(&round),
            [(short.to_owned(), Some(Bytes(2048 * MIB)))],
            "{code}: {:#?}",
            decision(&round, "web-1")
        );
        assert!(codes(&round, "web-1").contains(&code), "{:#?}", decision(&round, "web-1"));
    }
}

#[test]
fn what_cannot_wait_has_what_is_not_enough_for_both() {
    assert_eq!(given(&two("app").decide()).len(), 2, "there is enough");
    check_goes_first(Code::NoRoom, |it| {
        it.workload("other", "1 1Gi");
        it.pod("other", "other-1", "n1", "1 1Gi");
        it.node("n1", "16", "4Gi");
    });
    check_goes_first(Code::NodeCapacity, |it| it.node("n1", "16", "3500Mi"));
    check_goes_first(Code::QuotaExceeded, |it| {
        it.quota(json!({"requests.memory": "3Gi"}), json!({"requests.memory": "2Gi"}))
    });
    check_goes_first(Code::LimitRange, |it| {
        for name in ["app", "side"] {
            let limited = it.container(name, "1 1Gi:1Gi");
            let pod = it.at("web-1");
            let place = pod.containers.iter().position(|it| *it.name == *name).unwrap();
            pod.containers[place] = limited;
        }
        it.limit_range(json!({"type": "Pod", "max": {"memory": "3Gi"}}));
    });
    check_goes_first(Code::PodLevel, |it| {
        let pod = it.at("web-1");
        let level = numbers("4 3Gi");
        pod.pod_level = level;
        pod.pod_level_held = Some(Box::new(PodLevelHeld { allocated: Some(level), actual: Some(level) }));
    });
}
