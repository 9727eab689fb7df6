//! Nine defects of the Vertical Pod Autoscaler's updater and recommender, as scenes in which the decision here is another one.
//! The numbers are those of the project's baseline of VPA, D1 to D9.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "decide/stage.rs"]
mod stage;

use std::sync::Arc;

use serde_json::json;

use supple_decide::code::Code;
use supple_decide::policy::Mode;
use supple_decide::progress::Progress;
use supple_decide::record::Record;
use supple_decide::round::What;

use stage::*;

fn herd(pods: usize, mode: Mode) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.policy("web", |it| it.mode.value = mode);
    for index in 1..=pods {
        let node = format!("node-{index}");
        stage.node(&node, "4", "16Gi");
        stage.pod("web", &format!("web-{index}"), &node, "1");
    }
    stage
}

/// VPA: in mode InPlace a decision to wait falls through into the patch, so that all five pods are patched at once, restarts
/// included, and again every minute.
#[test]
fn d1_a_decision_to_wait_is_one_in_every_mode() {
    for mode in [Mode::InPlace, Mode::InPlaceOrRecreate] {
        assert_eq!(herd(5, mode).decide().actions.len(), 1, "{mode:?}");
    }
    let mut restarting = herd(5, Mode::InPlace);
    for index in 1..=5 {
        restarting.at(&format!("web-{index}")).containers[0].restarts_for_cpu = true;
    }
    assert_eq!(restarting.decide().actions, []);
    for progress in [Progress::Underway, Progress::Deferred("no room".into())] {
        let mut stage = herd(1, Mode::InPlace);
        stage.at("web-1").progress = progress;
        assert_eq!(stage.decide().actions, []);
    }
}

/// VPA: the clock of a deferral is set at the first one ever of that name, so that a later one evicts at first sight.
#[test]
fn d2_a_deferral_is_as_old_as_its_own_condition() {
    let mut stage = herd(3, Mode::InPlaceOrRecreate);
    stage.subject("web").needs.insert("app".into(), need("1"));
    stage.resized("web-1", "500m", 60 * 48);
    let since = stage.ago(1);
    stage.at("web-1").note.as_mut().unwrap().at = since;
    stage.at("web-1").progress = Progress::Deferred("no room".into());
    stage.at("web-1").progress_since = Some(since.into());
    // Two days ago the same pod waited and was given up: that is remembered, and is no clock.
    let two_days = stage.ago(60 * 48);
    let mut record = Record::default();
    record.remember(supple_decide::record::Done {
        at: two_days,
        pod: "web-1".into(),
        containers: Default::default(),
        code: Code::GivenUp,
        message: String::new(),
    });
    stage.subject("web").record = Arc::new(record);
    check(&stage.decide(), "web-1", Code::Deferred, "nothing");
}

/// VPA: twelve hours after the pod's start every loop may resize it again, because a resize does not move its start.
#[test]
fn d3_a_cool_down_begins_with_the_last_resize() {
    let mut stage = herd(1, Mode::InPlace);
    let started = stage.at("web-1").started.unwrap();
    assert!(stage.now.duration_since(started.into()).as_hours() > 12);
    stage.resized("web-1", "2", 10);
    check(&stage.decide(), "web-1", Code::CoolDown, "nothing");
    stage.pass(50);
    check(&stage.decide(), "web-1", Code::Resize, "500m");
}

/// VPA: nothing is resized in place while its admission webhook does not serve.
#[test]
fn d4_a_resize_in_place_needs_no_webhook() {
    let stage = herd(1, Mode::InPlace);
    check(&stage.decide(), "web-1", Code::Resize, "500m");
}

/// VPA: what is required of an eviction is required of a resize in place too; a single replica is never resized.
#[test]
fn d5_what_forbids_an_eviction_does_not_forbid_a_resize() {
    let mut stage = herd(1, Mode::InPlaceOrRecreate);
    stage.budget("web", 0, (1, 1));
    stage.at("web-1").do_not_evict = true;
    let only_up = supple_decide::policy::Direction { rises: true, cpu: true, memory: true };
    stage.policy("web", |it| it.recreate_only_for.value = vec![only_up]);
    check(&stage.decide(), "web-1", Code::Resize, "500m");
    // What is required of an eviction is required of one.
    let mut recreated = herd(3, Mode::Recreate);
    recreated.sizes_new_pods();
    check(&recreated.decide(), "web-1", Code::Evict, "evict");
    recreated.policy("web", |it| it.recreate_only_for.value = vec![only_up]);
    check(&recreated.decide(), "web-1", Code::WrongDirection, "nothing");
    recreated.subject("web").needs.insert("app".into(), need("2"));
    check(&recreated.decide(), "web-1", Code::Evict, "evict");
}

/// VPA: a restarted recommender has forgotten the open window and recommends too little. Ours has not, which is a scene of the
/// controller's (`history/tests.rs`, as is D7's of the recommender). Whatever a recommender has forgotten:
/// nothing is lowered by one that knows little, nor below what the pod used within a day, and what we remember survives as text.
#[test]
fn d6_nothing_is_lowered_by_one_that_has_forgotten() {
    let mut stage = Stage::new();
    stage.workload("web", "1 100Mi").needs.get_mut("app").unwrap().hours = 0;
    stage.pod("web", "web-1", "n1", "1 1Gi:1Gi");
    check(&stage.decide(), "web-1", Code::Learning, "nothing");
    stage.subject("web").needs.clear();
    check(&stage.decide(), "web-1", Code::NoData, "nothing");
    stage.workload("web", "1 100Mi");
    stage.subject("web").facts.replicas = 1;
    stage.used("web-1").memory_peak = Some(supple_quantity::Bytes(950 * MIB));
    check_held(&stage.decide(), "web-1", Code::BelowUse);

    let mut record = Record::default();
    let policy = stage.subject("web").policy.clone();
    record.set_back(stage.now, &policy);
    record.originals.insert("app".into(), numbers("1 1Gi:1Gi"));
    let text = serde_json::to_value(&record).unwrap();
    assert_eq!(text["setbacks"], json!(1));
    assert_eq!(serde_json::from_value::<Record>(text).unwrap(), record);
}

/// VPA: a first sample of zero bytes mutes memory for a day. A resource of which nothing is known is left alone and said so;
/// the other one goes on.
#[test]
fn d7_a_resource_without_data_holds_up_only_itself() {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    stage.pod("web", "web-1", "n1", "1 1Gi");
    let used = stage.used("web-1");
    (used.memory, used.memory_peak) = (Some(supple_quantity::Bytes(0)), Some(supple_quantity::Bytes(0)));
    let round = stage.decide();
    check(&round, "web-1", Code::Resize, "500m");
    assert!(codes(&round, "web-1").contains(&Code::NoData));
}

/// VPA: when its rate limit runs out, all others are passed over, and the next loop begins in another order.
#[test]
fn d8_a_used_up_budget_delays_the_rest_and_everyone_has_a_turn() {
    let mut stage = Stage::new();
    stage.scene.cluster.max_in_flight = 1;
    for name in ["a", "b", "c"] {
        stage.node(name, "4", "16Gi");
        stage.workload(name, "500m");
        stage.pod(name, &format!("{name}-1"), name, "1");
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let round = stage.decide();
        assert_eq!(round.actions.len(), 1);
        assert_eq!(round.decisions.len(), 3);
        order.push(round.actions[0].pod.name.to_string());
        stage.carry_out(&round);
        stage.let_settle();
        stage.pass(1);
    }
    assert_eq!(order, ["a-1", "b-1", "c-1"]);
    assert_eq!(stage.decide().actions, []);
}

/// VPA: any error of a patch, however it passes by itself, puts the pod on the list of those to be evicted. Here an error is no
/// fact a decision sees, and a node that fails is never a reason to evict: after long enough the former sizes come back.
#[test]
fn d9_what_passes_by_itself_evicts_nobody() {
    let mut stage = herd(5, Mode::InPlaceOrRecreate);
    stage.sizes_new_pods();
    stage.resized("web-1", "2", 5);
    let since = stage.ago(5);
    stage.at("web-1").progress = Progress::Failing("missing pod memory usage".into());
    stage.at("web-1").progress_since = Some(since.into());
    check(&stage.decide(), "web-1", Code::NodeFailing, "nothing");
    stage.pass(30);
    let round = stage.decide();
    check(&round, "web-1", Code::GivenUp, "2");
    assert!(round.actions.iter().all(|it| !matches!(it.what, What::Evict | What::RollOut)));
}
