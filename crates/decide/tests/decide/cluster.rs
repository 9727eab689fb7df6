//! What nodes and namespaces have left, and what pods have of each other.

use serde_json::json;

use supple_decide::code::Code;
use supple_decide::policy::StepCaps;
use supple_decide::progress::Progress;
use supple_quantity::Bytes;
use supple_resize::amounts::Resource;

use crate::stage::*;

/// A node with 4 CPU and two workloads on it: `big` wants more, `idle` less.
fn crowded(big: &str, wants: &str, idle: &str, idle_wants: &str) -> Stage {
    let mut stage = Stage::new();
    stage.node("small", "4", "8Gi");
    stage.workload("big", wants);
    stage.workload("idle", idle_wants);
    stage.pod("big", "big-1", "small", big);
    stage.pod("idle", "idle-1", "small", idle);
    for name in ["big", "idle"] {
        stage.policy(name, |it| it.steps.value = StepCaps::default());
    }
    stage
}

#[test]
fn a_node_never_promises_more_than_it_has() {
    check(&crowded("1", "2", "2", "2").decide(), "big-1", Code::Resize, "2");
    check(&crowded("1", "2500m", "2", "2").decide(), "big-1", Code::NoRoom, "nothing");
    check(&crowded("1", "5", "2", "2").decide(), "big-1", Code::NodeCapacity, "nothing");
    check(&crowded("1 1Gi", "1 7Gi", "1 2Gi", "1 2Gi").decide(), "big-1", Code::NoRoom, "nothing");
    // What finds no room does not keep back what does.
    check(&crowded("1 1Gi", "2500m 2Gi", "2 1Gi", "2 1Gi").decide(), "big-1", Code::Resize, "2Gi");
}

#[test]
fn what_shrinks_but_has_not_yet_still_holds_its_room() {
    let mut stage = crowded("1", "2500m", "1", "1");
    stage.at("idle-1").containers[0].actual = Some(numbers("2"));
    check(&stage.decide(), "big-1", Code::NoRoom, "nothing");
}

#[test]
fn decreases_go_first_and_increases_on_the_node_follow() {
    let mut stage = crowded("1", "2500m", "2", "500m");
    let round = stage.decide();
    check(&round, "idle-1", Code::Resize, "500m");
    // There would be room; but a node does one thing after the other.
    check(&round, "big-1", Code::NodeBusy, "nothing");
    stage.carry_out(&round);
    assert_eq!(stage.decide().actions, []);
    stage.let_settle();
    check(&stage.decide(), "big-1", Code::Resize, "2500m");
}

#[test]
fn what_cannot_wait_takes_the_room_a_neighbour_gives_back_in_the_same_round() {
    let mut stage = crowded("1 2Gi", "1 5Gi", "1 6Gi", "1 1Gi");
    stage.subject("big").needs.get_mut("app").unwrap().memory.as_mut().unwrap().urgent = true;
    stage.used("big-1").memory = Some(Bytes(2000 * MIB));
    let round = stage.decide();
    let order: Vec<&str> = round.actions.iter().map(|it| &*it.pod.name).collect();
    assert_eq!(order, ["idle-1", "big-1"]);
}

#[test]
fn what_waits_on_a_node_has_precedence() {
    let mut stage = crowded("1", "1500m", "1", "1");
    stage.workload("waiting", "2");
    let pod = stage.pod("waiting", "waiting-1", "small", "2");
    pod.progress = Progress::Deferred("no room".into());
    pod.containers[0].allocated = Some(numbers("500m"));
    pod.containers[0].actual = Some(numbers("500m"));
    // 4 - 1 - 1 - 500m = 1500m are free, and 1500m of them are waited for.
    check(&stage.decide(), "big-1", Code::NoRoom, "nothing");
    stage.at("waiting-1").progress = Progress::Settled;
    stage.at("waiting-1").containers[0].asked = numbers("500m");
    stage.subject("waiting").needs.clear();
    check(&stage.decide(), "big-1", Code::Resize, "1500m");
}

#[test]
fn what_has_been_sent_holds_its_room_before_it_shows() {
    let mut stage = crowded("1", "2", "1", "1");
    let change = supple_resize::predict::Change::of_container(
        "app",
        numbers("3").beyond(&supple_decide::numbers::Numbers::default()),
    );
    stage.scene.acting.insert(key("idle-1"), change);
    let round = stage.decide();
    assert!(codes(&round, "big-1").contains(&Code::NoRoom), "{:?}", codes(&round, "big-1"));
}

#[test]
fn nodes_in_trouble() {
    let mut stage = crowded("1", "2", "1", "500m");
    stage.scene.nodes.get_mut("small").unwrap().pressure.push("MemoryPressure".into());
    let round = stage.decide();
    check(&round, "big-1", Code::NodePressure, "nothing");
    check(&round, "idle-1", Code::Resize, "500m");
    stage.scene.nodes.get_mut("small").unwrap().ready = false;
    check(&stage.decide(), "idle-1", Code::NodeNotReady, "nothing");
    stage.scene.nodes.clear();
    check(&stage.decide(), "big-1", Code::NodeUnsupported, "nothing");
}

#[test]
fn limit_ranges_hold_and_refuse() {
    let mut stage = crowded("1 1Gi", "3 2Gi", "1", "1");
    stage.limit_range(json!({"type": "Container", "max": {"cpu": "2"}}));
    // A maximum is asked of limits, and a container without one is refused as it is.
    check(&stage.decide(), "big-1", Code::LimitRange, "nothing");
    let mut limited = crowded("1:1 1Gi:1Gi", "3 2Gi", "1:1", "1");
    limited.limit_range(json!({"type": "Container", "max": {"cpu": "2"}}));
    check(&limited.decide(), "big-1", Code::Resize, "2:2 2Gi:2Gi");
    let mut ratio = crowded("1:2", "500m", "1:1", "1");
    ratio.policy("big", |it| it.limits.value = supple_decide::policy::Limits::Keep);
    ratio.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "3"}}));
    check(&ratio.decide(), "big-1", Code::Resize, "667m");
    // What is out of proportion as it is stays so.
    let mut apart = crowded("1:4", "500m", "1:1", "1");
    apart.policy("big", |it| it.limits.value = supple_decide::policy::Limits::Keep);
    apart.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "3"}}));
    check(&apart.decide(), "big-1", Code::LimitRange, "nothing");
}

#[test]
fn a_resize_that_would_bring_a_limit_with_it_is_not_made() {
    // As Kubernetes 1.36.2 answers: of a pod that is older than the range, any resize fills in the default, for good.
    let sized = |sizes: &str| {
        let mut stage = crowded(sizes, "3 2Gi", "1", "1");
        stage.limit_range(json!({"type": "Container", "default": {"memory": "4Gi"}}));
        stage.decide()
    };
    check(&sized("1 1Gi"), "big-1", Code::LimitRange, "nothing");
    // One that is made anew has the default in any case.
    let mut stage = crowded("1 1Gi", "3 2Gi", "1", "1");
    stage.limit_range(json!({"type": "Container", "default": {"memory": "4Gi"}}));
    stage.policy("big", |it| it.mode.value = supple_decide::policy::Mode::Recreate);
    let verdict = stage.decide();
    let of_big = verdict.decisions.iter().find(|it| &*it.pod.name == "big-1").unwrap();
    assert!(of_big.findings.iter().all(|it| it.code != Code::LimitRange), "{of_big:?}");
    check(&sized("1 1Gi:1Gi"), "big-1", Code::Resize, "3 2Gi:2Gi");
    // Where the mode recreates what cannot be resized in place, a new pod gets sizes that somebody chose.
    let mut stage = crowded("1 1Gi", "3 2Gi", "1", "1");
    stage.pod("big", "big-2", "n2", "3 2Gi");
    stage.limit_range(json!({"type": "Container", "default": {"memory": "4Gi"}}));
    stage.policy("big", |it| {
        (it.mode.value, it.min_replicas.value) = (supple_decide::policy::Mode::InPlaceOrRecreate, 1);
    });
    check(&stage.decide(), "big-1", Code::ComesBackSame, "nothing");
    stage.sizes_new_pods();
    let round = stage.decide();
    check(&round, "big-1", Code::Evict, "evict");
    assert!(decision(&round, "big-1").message.contains("the default of a limit range"));
    // A request is filled in as a limit is.
    let mut stage = crowded("1", "3", "1", "1");
    stage.limit_range(json!({"type": "Container", "defaultRequest": {"memory": "1Gi"}}));
    check(&stage.decide(), "big-1", Code::LimitRange, "nothing");
}

#[test]
fn where_a_memory_limit_has_to_stay_the_request_stays_in_proportion_to_it() {
    let mut stage = Stage::new();
    stage.scene.cluster.minor_version = Some(33);
    stage.workload("web", "100Mi");
    stage.subject("web").needs.insert("app".into(), need("1 100Mi"));
    stage.policy("web", |it| it.steps.value = StepCaps::default());
    stage.pod("web", "web-1", "n1", "1 800Mi:1600Mi");
    stage.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {"memory": "4"}}));
    check(&stage.decide(), "web-1", Code::Resize, "400Mi");
}

#[test]
fn a_limit_that_use_holds_takes_no_more_of_the_request_along_than_it_has_to() {
    // In proportion to what is wanted the limit would be below what is charged. It stays above that, and so does the request, to be
    // in proportion; left at the whole limit, it would be lowered again in the next round, and raised in the one after it.
    let comes_to = |sizes: &str| {
        let mut stage = Stage::new();
        stage.workload("web", "140Mi");
        stage.subject("web").needs.insert("app".into(), need("100m 140Mi"));
        stage.pod("web", "web-1", "n1", sizes);
        let used = stage.used("web-1");
        (used.memory, used.memory_charged) = (Some(Bytes(1 << 20)), Some(Bytes(141 << 20)));
        stage.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {"memory": "1.001"}}));
        for _ in 0..12 {
            let round = stage.decide();
            stage.carry_out(&round);
            stage.let_settle();
            stage.pass(61);
        }
        assert_eq!(stage.decide().actions, vec![]);
        show(&stage.at("web-1").containers[0].asked)
    };
    assert_eq!(comes_to("100m 279Mi:280Mi"), "100m 148749043:142Mi", "142Mi / 1.001, rounded up");
    // A raise lowers no limit: what is out of proportion as it is stays so.
    assert_eq!(comes_to("100m 100Mi:200Mi"), "100m 100Mi:200Mi");
}

#[test]
fn a_maximum_of_a_limit_range_leads_no_limit_below_use() {
    let sized = |charged: i64| {
        let mut stage = Stage::new();
        stage.workload("web", "600Mi");
        stage.subject("web").needs.insert("app".into(), need("100m 600Mi"));
        stage.policy("web", |it| it.steps.value = StepCaps::default());
        stage.pod("web", "web-1", "n1", "100m:1 800Mi:1600Mi");
        let used = stage.used("web-1");
        (used.memory, used.memory_charged) = (Some(Bytes(1 << 20)), Some(Bytes(charged << 20)));
        stage.limit_range(json!({"type": "Container", "max": {"cpu": "1", "memory": "1000Mi"}}));
        stage.decide()
    };
    check(&sized(999), "web-1", Code::Resize, "600Mi:1000Mi");
    check(&sized(1000), "web-1", Code::LimitRange, "nothing");
}

#[test]
fn a_limit_goes_with_the_request_that_a_limit_range_leaves() {
    let mut stage = crowded("400m:1600m", "50m", "1:1", "1");
    stage.policy("big", |it| it.steps.value = supple_decide::policy::StepCaps::default());
    stage.limit_range(json!({"type": "Container", "min": {"cpu": "200m"}}));
    let round = stage.decide();
    check(&round, "big-1", Code::Resize, "200m:800m");
    for _ in 0..4 {
        let round = stage.decide();
        stage.carry_out(&round);
        stage.let_settle();
        stage.pass(61);
    }
    assert_eq!(show(&stage.at("big-1").containers[0].asked), "200m:800m", "deciding again without news does nothing");
    // A maximum takes the proportion away; without it the proportion is again what it was before us.
    let mut stage = crowded("400m:1600m", "1500m", "1:1", "1");
    stage.policy("big", |it| it.steps.value = supple_decide::policy::StepCaps::default());
    stage.limit_range(json!({"type": "Container", "max": {"cpu": "2"}}));
    let round = stage.decide();
    check(&round, "big-1", Code::Resize, "1500m:2");
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(61);
    stage.subject("big").needs.insert("app".into(), need("300m"));
    check(&stage.decide(), "big-1", Code::Resize, "300m:1200m");
    // What its template says by now counts before what it asked for when it was first resized.
    stage.subject("big").facts.template = [("app".into(), numbers("400m:800m"))].into();
    check(&stage.decide(), "big-1", Code::Resize, "300m:600m");
    // The narrowest of several ranges holds, whatever their order.
    for turned in [false, true] {
        let mut stage = crowded("400m:400m", "50m", "1:1", "1");
        stage.policy("big", |it| it.steps.value = supple_decide::policy::StepCaps::default());
        stage.limit_range(json!({"type": "Container", "min": {"cpu": "200m"}}));
        stage.limit_range(json!({"type": "Container", "min": {"cpu": "300m"}}));
        if turned {
            stage.scene.namespaces.get_mut(NAMESPACE).unwrap().limit_ranges.reverse();
        }
        check(&stage.decide(), "big-1", Code::Resize, "300m:300m");
    }
}

#[test]
fn a_quota_holds_what_it_names_alone() {
    let held = |hard: serde_json::Value, used: serde_json::Value, expect: &str| {
        let mut stage = Stage::new();
        stage.workload("web", "2 2Gi");
        stage.pod("web", "web-1", "n1", "1:2 1Gi:2Gi");
        stage.quota(hard, used);
        let round = stage.decide();
        check(&round, "web-1", Code::Resize, expect);
        assert!(codes(&round, "web-1").contains(&Code::QuotaExceeded), "{:?}", codes(&round, "web-1"));
    };
    held(json!({"requests.memory": "1536Mi"}), json!({"requests.memory": "1Gi"}), "2:4");
    held(json!({"limits.memory": "3Gi"}), json!({"limits.memory": "2Gi"}), "2:4");
    held(json!({"cpu": "1500m"}), json!({"cpu": "1"}), "2Gi:4Gi");
    // Neither does it hold who wants more of the other number alone.
    let mut stage = Stage::new();
    stage.workload("web", "2 1Gi");
    stage.policy("web", |it| it.limits.value = supple_decide::policy::Limits::None);
    stage.pod("web", "web-1", "n1", "1:3 1Gi:1Gi");
    stage.quota(json!({"limits.cpu": "3"}), json!({"limits.cpu": "3"}));
    check(&stage.decide(), "web-1", Code::Resize, "2");
}

#[test]
fn a_quota_is_told_of_also_where_nothing_would_be_done_for_another_reason() {
    let mut stage = Stage::new();
    stage.workload("web", "2");
    stage.pod("web", "web-1", "n1", "1");
    stage.quota(json!({"requests.cpu": "1500m"}), json!({"requests.cpu": "1"}));
    stage.policy("web", |it| it.mode.value = supple_decide::policy::Mode::Off);
    let round = stage.decide();
    check(&round, "web-1", Code::ModeOff, "nothing");
    assert!(codes(&round, "web-1").contains(&Code::QuotaExceeded), "{:?}", codes(&round, "web-1"));
    let bound = round.decisions[0].bound("app", Resource::Cpu).and_then(|it| it.code.rule());
    assert_eq!(bound, Some("quota"), "which is what `plan` says the size is held by");
}

#[test]
fn a_quota_is_shared_by_those_resized_in_the_same_round() {
    let mut stage = Stage::new();
    stage.node("n2", "16", "64Gi");
    for (workload, node) in [("a", "n1"), ("b", "n2")] {
        stage.workload(workload, "2");
        stage.pod(workload, &format!("{workload}-1"), node, "1");
    }
    stage.quota(json!({"requests.cpu": "3500m"}), json!({"requests.cpu": "2"}));
    let round = stage.decide();
    check(&round, "a-1", Code::Resize, "2");
    check(&round, "b-1", Code::QuotaExceeded, "nothing");
    // Whose policy says so goes first.
    stage.policy("b", |it| it.priority.value = 1);
    let round = stage.decide();
    check(&round, "a-1", Code::QuotaExceeded, "nothing");
    check(&round, "b-1", Code::Resize, "2");
}

#[test]
fn pods_with_resources_of_their_own_are_kept_within() {
    let mut stage = crowded("1", "2", "1", "1");
    stage.at("big-1").pod_level = numbers("1500m");
    check(&stage.decide(), "big-1", Code::PodLevel, "nothing");
    let round = stage.decide();
    let told = &decision(&round, "big-1").message;
    assert!(told.contains("the pod as a whole has 1500m of cpu; raise that first"), "{told}");
    stage.at("big-1").pod_level = numbers("2500m");
    check(&stage.decide(), "big-1", Code::Resize, "2");
    // Before 1.36 no resize of such a pod is taken at all.
    stage.scene.cluster.minor_version = Some(35);
    check(&stage.decide(), "big-1", Code::NodeUnsupported, "nothing");
    stage.scene.cluster.minor_version = Some(36);
    check(&stage.decide(), "big-1", Code::Resize, "2");
}

#[test]
fn what_is_held_makes_no_room() {
    let mut stage = Stage::new();
    stage.node("small", "4", "1000Mi");
    stage.workload("web", "1 100Mi");
    let more = need("1 300Mi");
    stage.subject("web").needs.insert("side".into(), more);
    let side = stage.container("side", "1 200Mi");
    let pod = stage.pod("web", "web-1", "small", "1 800Mi");
    pod.containers.push(side);
    stage.policy("web", |it| it.steps.value = StepCaps::default());
    let used = *stage.used("web-1");
    stage.scene.uses.get_mut(&key("web-1")).unwrap().insert("side".into(), used);
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "100Mi");
    // `app` would have to restart for it, and keeps what it has: nothing is left for `side`.
    stage.at("web-1").containers[0].restarts_for_memory = true;
    let round = stage.decide();
    check(&round, "web-1", Code::NodeCapacity, "nothing");
    assert!(codes(&round, "web-1").contains(&Code::WouldRestart));
}
