//! Canaries, budgets, restarts and recreation.

use std::sync::Arc;

use serde_json::json;
use supple_decide::code::Code;
use supple_decide::facts::{PodFacts, Rollout};
use supple_decide::policy::{Mode, RecreateBy, StepCaps};
use supple_decide::progress::Progress;
use supple_decide::round::What;
use supple_quantity::MilliCpu;

use crate::stage::*;

/// Pods of one workload, each on a node of its own, that want half.
pub fn herd(pods: usize) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "500m");
    for index in 1..=pods {
        let node = format!("node-{index}");
        stage.node(&node, "4", "16Gi");
        stage.pod("web", &format!("web-{index}"), &node, "1");
    }
    stage
}

fn resized(round: &supple_decide::round::Round) -> Vec<&str> {
    round.actions.iter().map(|it| &*it.pod.name).collect()
}

#[test]
fn one_pod_goes_first_and_the_others_follow_when_it_has_settled() {
    let mut stage = herd(6);
    let round = stage.decide();
    assert_eq!(resized(&round), ["web-1"]);
    check(&round, "web-2", Code::CanarySettling, "nothing");
    stage.carry_out(&round);
    check(&stage.decide(), "web-2", Code::CanarySettling, "nothing");
    stage.let_settle();
    stage.pass(3);
    check(&stage.decide(), "web-2", Code::CanarySettling, "nothing");
    stage.pass(3);
    let round = stage.decide();
    assert_eq!(resized(&round), ["web-2", "web-3", "web-4"]);
    check(&round, "web-5", Code::WorkloadBudget, "nothing");
    assert_eq!(round.records[&workload("web")].last[0].code, Code::Resized);
}

#[test]
fn a_sibling_that_lives_with_the_size_is_proof() {
    let mut stage = herd(4);
    stage.pod("web", "web-0", "n1", "500m");
    assert_eq!(resized(&stage.decide()), ["web-1", "web-2", "web-3"]);
}

#[test]
fn what_cannot_wait_is_no_canary() {
    let mut stage = herd(3);
    stage.needs_cpu_at_once("web", "2");
    for name in ["web-1", "web-2"] {
        stage.used(name).throttled_permille = Some(400);
    }
    let round = stage.decide();
    assert_eq!(resized(&round), ["web-1", "web-2"]);
    check(&round, "web-3", Code::CanarySettling, "nothing");
}

/// What a herd of three does about CPU that cannot wait, when its second pod uses and suffers this.
fn of_three(uses: impl Fn(&mut supple_decide::need::Use)) -> Vec<String> {
    let mut stage = herd(3);
    stage.needs_cpu_at_once("web", "2");
    uses(stage.used("web-2"));
    resized(&stage.decide()).into_iter().map(str::to_owned).collect()
}

#[test]
fn cpu_cannot_wait_where_a_pod_is_kept_waiting_for_it() {
    let [in_turn, at_once] = [["web-1"], ["web-2"]].map(|it| it.map(str::to_owned).to_vec());
    assert_eq!(of_three(|it| it.throttled_permille = Some(50)), at_once);
    assert_eq!(of_three(|it| it.throttled_permille = Some(49)), in_turn);
    assert_eq!(of_three(|it| it.cpu_pressure_permille = Some(250)), at_once);
    // What the node has to spare is nobody's harm.
    assert_eq!(of_three(|it| it.cpu = Some(MilliCpu(1500))), in_turn);
    assert_eq!(of_three(|it| (it.cpu, it.throttled_permille) = (Some(MilliCpu(1500)), Some(0))), in_turn);
}

#[test]
fn where_nobody_tells_of_throttling_a_pod_at_its_limit_is_held_by_it() {
    let decided = |cpu| {
        let mut stage = herd(3);
        for name in ["web-1", "web-2", "web-3"] {
            stage.at(name).containers[0] = stage.container("app", "1:2");
        }
        stage.needs_cpu_at_once("web", "2");
        stage.used("web-2").cpu = Some(MilliCpu(cpu));
        resized(&stage.decide()).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(decided(1600), ["web-2"]);
    assert_eq!(decided(1500), ["web-1"]);
}

#[test]
fn a_size_that_is_known_to_be_too_small_is_raised_in_turn() {
    let mut stage = herd(3);
    stage.needs_cpu_at_once("web", "2");
    stage.subject("web").needs.get_mut("app").unwrap().cpu.as_mut().unwrap().lower = MilliCpu(1001);
    for name in ["web-1", "web-2", "web-3"] {
        stage.used(name).throttled_permille = Some(400);
    }
    assert_eq!(resized(&stage.decide()), ["web-1"]);
}

#[test]
fn what_was_suffered_before_a_resize_is_not_answered_twice() {
    let throttled_for = |minutes| {
        let mut stage = herd(1);
        stage.resized("web-1", "500m", minutes);
        stage.needs_cpu_at_once("web", "2");
        stage.used("web-1").throttled_permille = Some(400);
        stage.used("web-1").details_at = Some(stage.now);
        stage
    };
    check(&throttled_for(0).decide(), "web-1", Code::Settling, "nothing");
    check(&throttled_for(1).decide(), "web-1", Code::Resize, "2");
    let mut long_ago = throttled_for(3);
    long_ago.used("web-1").details_at = Some(long_ago.ago(3));
    check(&long_ago.decide(), "web-1", Code::Settling, "nothing");
}

#[test]
fn a_node_and_the_cluster_do_not_do_too_much_at_once() {
    let mut stage = Stage::new();
    for name in ["a", "b", "c"] {
        stage.workload(name, "500m");
    }
    stage.node("n2", "16", "64Gi");
    stage.pod("a", "a-1", "n1", "1");
    stage.pod("b", "b-1", "n1", "1");
    stage.pod("c", "c-1", "n2", "1");
    let round = stage.decide();
    assert_eq!(resized(&round), ["a-1", "c-1"]);
    check(&round, "b-1", Code::NodeBusy, "nothing");
    stage.scene.cluster.max_in_flight = 1;
    check(&stage.decide(), "c-1", Code::ClusterBudget, "nothing");
}

#[test]
fn a_pod_that_goes_holds_up_no_resize_on_its_node() {
    for (deleting, code, sizes) in [(false, Code::NodeBusy, "nothing"), (true, Code::Resize, "500m")] {
        let mut stage = Stage::new();
        stage.workload("a", "500m");
        stage.workload("b", "1");
        stage.pod("a", "a-1", "n1", "1");
        // Its node has not looked at its newest generation yet, which is all that is known.
        let going = stage.pod("b", "b-1", "n1", "1");
        (going.deleting, going.progress, going.progress_since) = (deleting, Progress::Underway, None);
        check(&stage.decide(), "a-1", code, sizes);
    }
}

#[test]
fn a_namespace_does_not_do_too_much_at_once() {
    let mut stage = Stage::new();
    for name in ["a", "b", "c"] {
        stage.workload(name, "500m");
        stage.policy(name, |it| it.namespace_pods_at_once.value = Some(2));
        stage.node(name, "16", "64Gi");
        stage.pod(name, &format!("{name}-1"), name, "1");
    }
    let round = stage.decide();
    assert_eq!(resized(&round), ["a-1", "b-1"]);
    check(&round, "c-1", Code::NamespaceBudget, "nothing");
    // What is watched counts as long as its own policy watches it.
    stage.carry_out(&round);
    stage.let_settle();
    stage.pass(1);
    check(&stage.decide(), "c-1", Code::NamespaceBudget, "nothing");
    stage.pass(5);
    assert_eq!(resized(&stage.decide()), ["c-1"]);
    // Who does not ask for it is not held by it, nor is what cannot wait.
    stage.pass(-5);
    stage.policy("c", |it| it.namespace_pods_at_once.value = None);
    assert_eq!(resized(&stage.decide()), ["c-1"]);
    stage.policy("c", |it| it.namespace_pods_at_once.value = Some(1));
    stage.needs_cpu_at_once("c", "2");
    stage.used("c-1").throttled_permille = Some(400);
    assert_eq!(resized(&stage.decide()), ["c-1"]);
}

#[test]
fn a_restart_for_the_change() {
    let with = |mode, pods| {
        let mut stage = herd(pods);
        stage.policy("web", |it| it.mode.value = mode);
        for index in 1..=pods {
            stage.at(&format!("web-{index}")).containers[0].restarts_for_cpu = true;
        }
        stage
    };
    check(&with(Mode::InPlace, 3).decide(), "web-1", Code::WouldRestart, "nothing");
    check(&with(Mode::InPlaceOrRecreate, 3).decide(), "web-1", Code::Resize, "500m");
    check(&with(Mode::InPlaceOrRecreate, 1).decide(), "web-1", Code::TooFewReplicas, "nothing");
    let mut budget = with(Mode::InPlaceOrRecreate, 3);
    budget.budget("web", 0, (2, 2));
    check(&budget.decide(), "web-1", Code::DisruptionBudget, "nothing");
    let mut asked = with(Mode::InPlaceOrRecreate, 3);
    asked.at("web-1").do_not_evict = true;
    check(&asked.decide(), "web-1", Code::DoNotDisrupt, "nothing");
    // Only what changes is asked about.
    let mut memory = herd(1);
    memory.at("web-1").containers[0].restarts_for_memory = true;
    check(&memory.decide(), "web-1", Code::Resize, "500m");
}

#[test]
fn recreate_evicts_one_after_the_other() {
    let mut stage = herd(3);
    stage.policy("web", |it| it.mode.value = Mode::Recreate);
    check(&stage.decide(), "web-1", Code::ComesBackSame, "nothing");
    stage.sizes_new_pods();
    let round = stage.decide();
    assert_eq!(resized(&round), ["web-1"]);
    assert_eq!(round.actions[0].what, What::Evict);
    check(&round, "web-2", Code::DisruptionBudget, "nothing");
    stage.carry_out(&round);
    assert_eq!(stage.decide().actions, []);
    let mut rollout = herd(1);
    rollout.sizes_new_pods();
    rollout.policy("web", |it| (it.mode.value, it.recreate_by.value) = (Mode::Recreate, RecreateBy::Rollout));
    check(&rollout.decide(), "web-1", Code::RollOut, "roll out");
}

#[test]
fn what_a_new_pod_would_not_get_it_is_not_recreated_for() {
    let mut stage = herd(3);
    stage.sizes_new_pods();
    stage.policy("web", |it| it.mode.value = Mode::Recreate);
    check(&stage.decide(), "web-1", Code::Evict, "evict");
    // Its use keeps a sibling higher, and a new pod starts where that is.
    stage.subject("web").needs.insert("app".into(), need("2 100Mi"));
    for name in ["web-1", "web-2", "web-3"] {
        stage.at(name).containers[0].asked = numbers("2 1Gi");
    }
    stage.subject("web").facts.template.insert("app".into(), numbers("2 1Gi"));
    stage.used("web-3").memory_peak = Some(supple_quantity::Bytes(900 * MIB));
    let round = stage.decide();
    check(&round, "web-1", Code::ComesBackSame, "nothing");
    let said = &decision(&round, "web-1").message;
    assert!(said.contains("a new pod would not get these sizes"), "{said}");
}

/// A pod of 1 CPU that needs 1500m, of a workload of this kind that may be recreated, in a namespace whose quota has so much CPU.
fn under_a_quota(kind: &str, by: RecreateBy, hard: &str) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "1500m");
    stage.subject("web").facts.key.kind = kind.into();
    stage.subject("web").facts.template = [("app".into(), numbers("1"))].into();
    stage.policy("web", |it| {
        (it.mode.value, it.recreate_by.value, it.min_replicas.value) = (Mode::Recreate, by, 1);
        it.steps.value = StepCaps::default();
    });
    for name in ["web-1", "web-2"] {
        stage.pod("web", name, "n1", "1");
    }
    stage.at("web-2").containers[0].asked = numbers("1500m");
    stage.sizes_new_pods();
    stage.quota(json!({"requests.cpu": hard}), json!({"requests.cpu": "2500m"}));
    stage
}

#[test]
fn a_quota_counts_the_pod_made_anew_beside_the_old_one_where_it_is_made_beside_it() {
    let check = |kind: &str, by: RecreateBy, hard: &str, code: Code, expect: &str| {
        check(&under_a_quota(kind, by, hard).decide(), "web-1", code, expect);
    };
    // What has to be gone before it is made again is not counted beside it; there must be room all the same.
    for kind in ["StatefulSet", "DaemonSet"] {
        check(kind, RecreateBy::Eviction, "3", Code::Evict, "evict");
        let mut stage = under_a_quota(kind, RecreateBy::Rollout, "3");
        stage.rolls("web", kind, Rollout::After, 1);
        crate::stage::check(&stage.decide(), "web-1", Code::RollOut, "roll out");
        check(kind, RecreateBy::Eviction, "2900m", Code::QuotaExceeded, "nothing");
    }
    let rolled_out = |kind: &str, rollout: Rollout, hard: &str, code: Code, expect: &str| {
        let mut stage = under_a_quota(kind, RecreateBy::Rollout, hard);
        stage.rolls("web", kind, rollout, u32::from(rollout != Rollout::Surge));
        crate::stage::check(&stage.decide(), "web-1", code, expect);
    };
    // A daemon set that surges has the new one beside the old one; a deployment that does not waits for its going.
    rolled_out("DaemonSet", Rollout::Surge, "3", Code::ComesBackSame, "nothing");
    rolled_out("DaemonSet", Rollout::Surge, "4", Code::RollOut, "roll out");
    rolled_out("Deployment", Rollout::Replace, "3", Code::RollOut, "roll out");
    rolled_out("Deployment", Rollout::Replace, "3500m", Code::ComesBackSame, "nothing");
    // A new one of the template's sizes would be let in at once, and one of more would not.
    check("Deployment", RecreateBy::Eviction, "3500m", Code::ComesBackSame, "nothing");
    check("Deployment", RecreateBy::Eviction, "4", Code::Evict, "evict");
    // None is let in before the old one is gone; a rollout waits with that for the new one.
    check("Deployment", RecreateBy::Eviction, "3", Code::Evict, "evict");
    check("Deployment", RecreateBy::Rollout, "3", Code::ComesBackSame, "nothing");
}

#[test]
fn the_last_ready_replica_stays() {
    let mut stage = herd(3);
    stage.sizes_new_pods();
    stage.policy("web", |it| it.mode.value = Mode::Recreate);
    stage.policy("web", |it| it.min_replicas.value = 1);
    for name in ["web-2", "web-3"] {
        stage.at(name).ready = None;
    }
    let round = stage.decide();
    check(&round, "web-1", Code::TooFewReplicas, "nothing");
    assert_eq!(resized(&round), ["web-2"]);
    // Nobody is sent to a setting that changes nothing.
    for least in [0, 1, 2] {
        let mut alone = herd(1);
        alone.sizes_new_pods();
        alone.policy("web", |it| (it.mode.value, it.min_replicas.value) = (Mode::Recreate, least));
        let round = alone.decide();
        check(&round, "web-1", Code::TooFewReplicas, "nothing");
        let finding = decision(&round, "web-1").findings.iter().find(|it| it.code == Code::TooFewReplicas).unwrap();
        assert!(finding.setting.is_none() && finding.message.contains("the last ready replica"), "{finding:?}");
        // What the cure says.
        alone.rolls("web", "Deployment", Rollout::Surge, 0);
        check(&alone.decide(), "web-1", Code::RollOut, "roll out");
    }
    let mut bare = herd(1);
    bare.sizes_new_pods();
    bare.policy("web", |it| (it.mode.value, it.min_replicas.value) = (Mode::Recreate, 0));
    bare.subject("web").facts.key.kind = "Pod".into();
    check(&bare.decide(), "web-1", Code::TooFewReplicas, "nothing");
}

/// A raise of `web-1` from 500m that its node has deferred for so many minutes.
fn deferred(minutes_ago: i64, mode: Mode, pods: usize) -> Stage {
    let mut stage = herd(pods);
    stage.subject("web").needs.insert("app".into(), need("1"));
    stage.policy("web", |it| it.mode.value = mode);
    stage.resized("web-1", "500m", minutes_ago);
    let since = stage.ago(minutes_ago);
    let pod = stage.at("web-1");
    pod.progress = Progress::Deferred("Node didn't have enough resource: cpu".into());
    pod.progress_since = Some(since.into());
    pod.containers[0].allocated = Some(numbers("500m"));
    pod.containers[0].actual = Some(numbers("500m"));
    stage
}

#[test]
fn a_deferred_resize_waits_and_is_given_up_in_the_end() {
    let waiting = deferred(10, Mode::InPlaceOrRecreate, 3).decide();
    check(&waiting, "web-1", Code::Deferred, "nothing");
    assert_eq!(decision(&waiting, "web-1").again, Some(Stage::new().ago(-20)));
    let mut stage = deferred(31, Mode::InPlace, 3);
    let round = stage.decide();
    check(&round, "web-1", Code::GivenUp, "500m");
    assert!(matches!(round.actions[0].what, What::RollBack(_)));
    let record = &round.records[&workload("web")];
    assert_eq!((record.setbacks, record.last[0].code), (1, Code::GivenUp));
    assert!(record.not_before.is_some_and(|it| it > stage.now));
    // It counts once, also where taking it back does not come about.
    for (key, record) in &round.records {
        stage.scene.workloads.get_mut(key).unwrap().record = Arc::new(record.clone());
    }
    assert_eq!(stage.decide().records, Default::default());
    check(&stage.decide(), "web-1", Code::GivenUp, "500m");
    check(&deferred(31, Mode::InPlaceOrRecreate, 3).decide(), "web-1", Code::Evict, "evict");
    // Where it may not be evicted, the former sizes are second best.
    check(&deferred(31, Mode::InPlaceOrRecreate, 1).decide(), "web-1", Code::GivenUp, "500m");
}

#[test]
fn what_a_node_can_never_do_is_given_up_at_once() {
    let infeasible = |mode, pods| {
        let mut stage = deferred(0, mode, pods);
        stage.at("web-1").progress = Progress::Infeasible("static CPU manager".into());
        stage.sizes_new_pods();
        stage
    };
    check(&infeasible(Mode::InPlace, 3).decide(), "web-1", Code::GivenUp, "500m");
    let round = infeasible(Mode::InPlaceOrRecreate, 3).decide();
    check(&round, "web-1", Code::Evict, "evict");
    let record = &round.records[&workload("web")];
    assert_eq!(record.recreated.as_ref().unwrap().sizes["app"].0, numbers("1"), "what it is to come back with");
    check(&infeasible(Mode::InPlaceOrRecreate, 1).decide(), "web-1", Code::GivenUp, "500m");
    // A pod that comes back as it was would be asked for the same again, and its node could do it no better.
    let mut without = infeasible(Mode::InPlaceOrRecreate, 3);
    without.subject("web").facts.sized_at_creation = false;
    without.subject("web").facts.template = [("app".into(), numbers("500m"))].into();
    let round = without.decide();
    check(&round, "web-1", Code::GivenUp, "500m");
    assert!(codes(&round, "web-1").contains(&Code::ComesBackSame), "{:?}", codes(&round, "web-1"));
    assert_eq!(round.records[&workload("web")].setbacks, 1);
    // Who has put the sizes into the template meanwhile gets them without a webhook.
    without.subject("web").facts.template = [("app".into(), numbers("1"))].into();
    check(&without.decide(), "web-1", Code::Evict, "evict");
    // And a new pod that would get others than those that are waited for is no cure either.
    let mut otherwise = infeasible(Mode::InPlaceOrRecreate, 3);
    otherwise.subject("web").needs.insert("app".into(), need("250m"));
    check(&otherwise.decide(), "web-1", Code::GivenUp, "500m");
}

#[test]
fn what_a_node_can_never_do_is_done_step_by_step_by_new_pods() {
    // From 1 to 100m a half at a time; `web-1` was asked to take the first half, and goes on with 1.
    let infeasible = |sibling: &str, needs: &str| {
        let mut stage = herd(3);
        stage.subject("web").needs.insert("app".into(), need(needs));
        stage.policy("web", |it| {
            it.mode.value = Mode::InPlaceOrRecreate;
            it.steps.value = StepCaps { cpu_down: Some(50), ..StepCaps::default() };
        });
        stage.subject("web").facts.template = [("app".into(), numbers("1"))].into();
        stage.sizes_new_pods();
        stage.at("web-1").containers[0] = stage.container("app", "500m");
        stage.at("web-2").containers[0] = stage.container("app", sibling);
        stage.resized("web-1", "1", 0);
        let pod = stage.at("web-1");
        pod.progress = Progress::Infeasible("static CPU manager".into());
        (pod.containers[0].allocated, pod.containers[0].actual) = (Some(numbers("1")), Some(numbers("1")));
        stage.decide()
    };
    // The first one comes back with the step; those after it go on from where the first one is.
    check(&infeasible("1", "100m"), "web-1", Code::Evict, "evict");
    check(&infeasible("500m", "100m"), "web-1", Code::Evict, "evict");
    check(&infeasible("250m", "100m"), "web-1", Code::Evict, "evict");
    // What is needed by now lies the other way.
    check(&infeasible("500m", "2"), "web-1", Code::GivenUp, "1");
}

/// How often pods of three are evicted in two weeks on nodes that can never do, or never have room for, what they are asked for, where
/// new ones come with `given`.
fn evicted_in_two_weeks(progress: &Progress, given: &str, sized: bool) -> usize {
    let mut stage = herd(3);
    stage.workload("web", "1");
    stage.subject("web").facts.template = [("app".into(), numbers("500m"))].into();
    stage.subject("web").facts.sized_at_creation = sized;
    stage.policy("web", |it| (it.mode.value, it.startup.value) = (Mode::InPlaceOrRecreate, minutes(0)));
    for name in ["web-1", "web-2", "web-3"] {
        stage.at(name).containers[0] = stage.container("app", "500m");
    }
    let mut evicted = 0;
    for made in 0..14 * 24 {
        let round = stage.decide();
        let asked: Vec<_> = round.actions.iter().filter(|it| matches!(it.what, What::Resize(_))).collect();
        let gone = round.actions.iter().filter(|it| it.what == What::Evict).count();
        evicted += gone;
        stage.carry_out(&round);
        let since = stage.now;
        for pod in asked {
            let pod = stage.at(&pod.pod.name);
            (pod.progress, pod.progress_since) = (progress.clone(), Some(since.into()));
            pod.containers[0].allocated = Some(numbers("500m"));
            pod.containers[0].actual = Some(numbers("500m"));
        }
        stage.let_settle();
        for _ in 0..gone {
            let pod = stage.pod("web", &format!("new-{made}"), "n1", given);
            (pod.made, pod.started, pod.ready) = (Some(since.into()), Some(since.into()), Some(since.into()));
        }
        stage.subject("web").facts.replicas = 3;
        stage.pass(60);
    }
    evicted
}

#[test]
fn what_can_never_be_is_not_tried_by_evictions_for_ever() {
    let never = Progress::Infeasible("static CPU manager".into());
    assert_eq!(evicted_in_two_weeks(&never, "500m", false), 0);
    assert_eq!(evicted_in_two_weeks(&never, "1", true), 3, "each once");
    assert!(
        (1..=3).contains(&evicted_in_two_weeks(&never, "500m", true)),
        "a webhook that does not do it: once a week"
    );
    let no_room = Progress::Deferred("Node didn't have enough resource: cpu".into());
    assert!((1..=3).contains(&evicted_in_two_weeks(&no_room, "500m", false)), "once a week");
    assert_eq!(evicted_in_two_weeks(&no_room, "1", true), 3, "each once");
}

#[test]
fn no_room_for_long_moves_the_pod_where_the_mode_allows() {
    let full = |mode| {
        let mut stage = herd(3);
        stage.subject("web").needs.insert("app".into(), need("5"));
        stage.policy("web", |it| it.mode.value = mode);
        stage.node("node-1", "8", "16Gi");
        stage.workload("other", "4");
        stage.pod("other", "other-1", "node-1", "4");
        stage
    };
    for (mode, code, expect) in
        [(Mode::InPlace, Code::NoRoom, "nothing"), (Mode::InPlaceOrRecreate, Code::Evict, "evict")]
    {
        let mut stage = full(mode);
        let round = stage.decide();
        check(&round, "web-1", Code::NoRoom, "nothing");
        assert_eq!(round.records[&workload("web")].no_room_since, Some(stage.now));
        stage.carry_out(&round);
        stage.pass(29);
        assert_eq!(stage.decide().records, Default::default());
        stage.pass(1);
        let round = stage.decide();
        check(&round, "web-1", code, expect);
        assert!(round.actions.len() <= 1, "{:?}", round.actions);
    }
}

#[test]
fn a_pod_whose_cgroup_stays_small_after_a_kill_is_made_anew() {
    let stuck_so = |mode, version, at_start| {
        let mut stage = herd(1);
        stage.workload("web", "1 2Gi");
        stage.scene.cluster.minor_version = Some(version);
        stage.subject("web").facts.replicas = 1;
        stage.at("web-1").containers[0] = stage.container("app", "1 2Gi:2Gi");
        stage.policy("web", |it| it.mode.value = mode);
        stage.resized("web-1", "1 1Gi:1Gi", 10);
        let at = stage.ago(5);
        let pod = stage.at("web-1");
        (pod.ready, pod.unready) = (None, Some(at.into()));
        let container = &mut pod.containers[0];
        container.running_since = None;
        // As a kubelet of 1.36.2 tells of both: the second one says that the resize was completed, and that the start failed.
        let (has, exit_code) = if at_start { ("1 2Gi:2Gi", 128) } else { ("1 1Gi:1Gi", 137) };
        container.actual = Some(numbers(has));
        container.last_end = Some(supple_decide::facts::LastEnd { at, out_of_memory: !at_start, exit_code });
        (container.killed_and_waiting, container.killed_at_start) = (!at_start, at_start);
        stage.decide()
    };
    let stuck = |mode, version| stuck_so(mode, version, false);
    check(&stuck_so(Mode::InPlace, 36, true), "web-1", Code::StuckAfterKill, "nothing");
    check(&stuck_so(Mode::InPlaceOrRecreate, 36, true), "web-1", Code::Evict, "evict");
    check(&stuck(Mode::InPlace, 36), "web-1", Code::StuckAfterKill, "nothing");
    // Nobody is served by it, so that it may go although it is the only one.
    check(&stuck(Mode::InPlaceOrRecreate, 36), "web-1", Code::Evict, "evict");
    assert!(!codes(&stuck(Mode::InPlaceOrRecreate, 37), "web-1").contains(&Code::StuckAfterKill));
}

/// Three pods of which the first is stuck after a kill, and not ready, under what `change` makes of it.
fn stuck_of_three(change: impl FnOnce(&mut Stage)) -> Stage {
    let mut stage = herd(3);
    stage.workload("web", "1 2Gi");
    stage.subject("web").facts.replicas = 3;
    stage.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
    for name in ["web-1", "web-2", "web-3"] {
        stage.at(name).containers[0] = stage.container("app", "1 2Gi:2Gi");
    }
    stage.stuck("web-1");
    change(&mut stage);
    stage
}

#[test]
fn a_budget_lets_a_pod_go_that_is_not_ready_as_the_api_server_does() {
    let under = |allowed, health, always| {
        stuck_of_three(|it| it.budget("web", allowed, health).health.always = always).decide()
    };
    check(&under(1, (3, 2), false), "web-1", Code::Evict, "evict");
    // Nothing is allowed because of this very pod.
    check(&under(0, (2, 2), false), "web-1", Code::Evict, "evict");
    check(&under(0, (1, 2), false), "web-1", Code::DisruptionBudget, "nothing");
    check(&under(0, (1, 2), true), "web-1", Code::Evict, "evict");
    check(&under(0, (0, 0), false), "web-1", Code::DisruptionBudget, "nothing");
    // One that serves is counted.
    let mut serves = herd(3);
    serves.sizes_new_pods();
    serves.policy("web", |it| it.mode.value = Mode::Recreate);
    serves.budget("web", 0, (3, 3)).health.always = true;
    check(&serves.decide(), "web-1", Code::DisruptionBudget, "nothing");
    let said = &decision(&serves.decide(), "web-1").message.clone();
    assert_eq!(said, "its disruption budget budget-0 allows no disruption now");
}

#[test]
fn of_pods_with_two_budgets_none_is_evicted() {
    let twice = |stage: &mut Stage| {
        for _ in 0..2 {
            stage.budget("web", 1, (3, 2)).is_shared = true;
        }
    };
    let round = stuck_of_three(twice).decide();
    check(&round, "web-1", Code::DisruptionBudget, "nothing");
    let said = &decision(&round, "web-1").message;
    assert!(said.contains("budget-0 and budget-1"), "{said}");
    // A restart in place asks nobody, and keeps both.
    let mut restarts = herd(3);
    restarts.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
    restarts.at("web-1").containers[0].restarts_for_cpu = true;
    twice(&mut restarts);
    check(&restarts.decide(), "web-1", Code::Resize, "500m");
    restarts.subject("web").facts.budgets[1].allowed = 0;
    check(&restarts.decide(), "web-1", Code::DisruptionBudget, "nothing");
    // Two that are over different pods are each over one.
    let each = stuck_of_three(|it| (0..2).for_each(|_| it.budget("web", 1, (3, 2)).is_shared = false));
    check(&each.decide(), "web-1", Code::Evict, "evict");
}

/// As a kubelet of 1.36.2 with containerd tells it, in turns.
#[test]
fn a_start_that_is_killed_is_told_by_its_message() {
    let why = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to \
               start container process: container init was OOM-killed (memory limit too low?): unknown";
    let told = |state: serde_json::Value, message: &str| {
        let ended = serde_json::json!({"exitCode": 128, "reason": "StartError", "message": message, "finishedAt": "2026-11-30T04:20:01Z"});
        let pod = serde_json::json!({
            "metadata": {"name": "web-1", "namespace": "d", "uid": "u"}, "spec": {"containers": [{"name": "app"}]},
            "status": {"containerStatuses": [{"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 5,
                "state": state, "lastState": {"terminated": ended}}]},
        });
        let facts = PodFacts::of(&serde_json::from_value(pod).unwrap(), workload("web"));
        facts.containers[0].killed_at_start
    };
    let waits = |reason: &str, message: &str| serde_json::json!({"waiting": {"reason": reason, "message": message}});
    assert!(told(waits("RunContainerError", why), why));
    assert!(told(waits("CrashLoopBackOff", "back-off 40s restarting failed container"), why));
    assert!(!told(waits("RunContainerError", "exec: \"nope\": not found"), "exec: \"nope\": not found"));
    assert!(!told(serde_json::json!({"running": {"startedAt": "2026-11-30T04:20:11Z"}}), why), "it runs now");
}

#[test]
fn a_restart_under_way_is_a_disruption() {
    let mut stage = herd(3);
    stage.policy("web", |it| it.mode.value = Mode::InPlaceOrRecreate);
    for name in ["web-1", "web-2", "web-3"] {
        stage.at(name).containers[0].restarts_for_cpu = true;
    }
    let round = stage.decide();
    assert_eq!(resized(&round), ["web-1"]);
    stage.carry_out(&round);
    // Also where a sibling proves the size, so that no canary is in the way.
    stage.pod("web", "web-0", "n1", "500m");
    check(&stage.decide(), "web-2", Code::DisruptionBudget, "nothing");
}
