//! What holds for every scene: no action breaks a rule of a resize, deciding twice does nothing, order does not matter, more room
//! never refuses more, and it comes to rest.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "decide/stage.rs"]
mod stage;

#[path = "decide/cases.rs"]
mod cases;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use supple_decide::check::Check;
use supple_decide::facts::{Metric, Rollout};
use supple_decide::guard::{Billionths, Guard, GuardReading, baseline};
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Mode, StepCaps};
use supple_decide::progress::Progress;
use supple_decide::record::Record;
use supple_decide::round::{Action, Outcome, Round, What};
use supple_decide::scaler::Anchor;
use supple_quantity::Bytes;
use supple_resize::admission::{limit_range, quota};
use supple_resize::allocate::Used;
use supple_resize::amounts::Resource;
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{NamespaceSight, NodeObject, NodeSight, Reason, predict};
use supple_resize::qos;

use cases::*;
use stage::*;

/// In another order: turned by so many places, and back to front where wanted.
fn shuffle<T>(list: &mut [T], (by, back): (usize, bool)) {
    if !list.is_empty() {
        let by = by % list.len();
        list.rotate_left(by);
    }
    if back {
        list.reverse();
    }
}

/// Carry the actions out in their order on nodes that enact at once, and look at each by the rules of a resize.
fn enact(stage: &Stage, round: &Round) -> Result<(), TestCaseError> {
    let mut pods = stage.scene.pods.clone();
    let facts = &stage.scene.namespaces[NAMESPACE];
    let mut namespace = NamespaceSight { limit_ranges: facts.limit_ranges.clone(), quotas: facts.quotas.clone() };
    for action in &round.actions {
        if matches!(action.what, What::SettleScaler(_)) {
            continue; // a target of ours is ours to put right, whatever the policy says by now
        }
        let mode = stage.scene.workloads[&action.workload].policy.mode.value;
        prop_assert!(mode > Mode::Initial, "{mode:?} {action:?}");
        let Some(change) = action.what.change() else {
            prop_assert!(matches!(mode, Mode::Recreate | Mode::InPlaceOrRecreate), "{action:?}");
            continue;
        };
        let facts = pods[&action.pod].clone();
        let node = &stage.scene.nodes[facts.node.as_ref().unwrap()];
        let mut others = Used::default();
        for other in pods.values().filter(|it| it.node == facts.node && it.key != facts.key) {
            let held = other.held();
            others.cpu.0 += held.cpu_request.0;
            others.memory.0 += held.memory_request.0;
            others.pods += 1;
        }
        let mut sight = NodeSight { object: NodeObject::Present(Box::new(node.object())), ..NodeSight::default() };
        sight.view.allocatable = node.allocatable;
        sight.others = Some(others);
        let charged = stage.scene.uses[&action.pod].iter();
        let usage = MemoryUsage {
            pod: None,
            containers: charged.map(|(name, it)| (name.to_string(), it.memory_charged.unwrap())).collect(),
        };
        let pod = facts.to_pod();
        let forecast = predict(&pod, change, &sight, &namespace, Some(&usage));
        prop_assert_eq!(
            forecast.obstacle.as_ref().map(|it| it.reason),
            None::<Reason>,
            "{:?} {:?}",
            action,
            forecast.obstacle
        );
        prop_assert!(mode != Mode::InPlace || forecast.restarts.is_empty(), "{action:?} {:?}", forecast.restarts);
        let after = change.applied_to(&pod).unwrap();
        for charge in quota::check(&after, Some(&pod), &namespace.quotas).unwrap() {
            let charged = namespace.quotas.iter_mut().find(|it| it.metadata.name.as_ref() == Some(&charge.quota));
            charged.unwrap().status.as_mut().unwrap().used = Some(charge.used);
        }
        prop_assert_eq!(qos::compute(&after), facts.qos);
        // What was sent is what is noted as decided.
        let decision = round.decisions.iter().find(|it| it.pod == action.pod).unwrap();
        prop_assert!(decision.containers.iter().any(|it| it.next != it.now), "{decision:?}");
        for (name, sizes) in &change.containers {
            let own = facts.containers.iter().find(|it| *it.name == **name).unwrap();
            let (now, next) = (own.asked, Numbers::of(sizes));
            if let (Some(now), Some(next)) = (now.memory_limit, next.memory_limit) {
                let used = stage.scene.uses[&action.pod].get(&own.name).unwrap();
                prop_assert!(
                    next >= now || next > used.memory_charged.max(used.memory).unwrap(),
                    "{action:?} {used:?}"
                );
            }
            prop_assert!(
                !own.restarts_for_cpu || mode != Mode::InPlace || (next.cpu_request, next.cpu_limit) == (None, None)
            );
        }
        let own = pods.get_mut(&action.pod).unwrap();
        send(own, change, supple_decide::note::Author::Controller, stage.now);
        for container in &mut own.containers {
            container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..container.asked });
            container.actual = Some(container.asked);
        }
        let all = pods.values().filter(|it| it.node == facts.node).map(|it| it.held());
        let (cpu, memory) = all.fold((0, 0), |sum, it| (sum.0 + it.cpu_request.0, sum.1 + it.memory_request.0));
        prop_assert!(cpu <= node.allocatable.cpu.0 && memory <= node.allocatable.memory.0, "{action:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn no_action_breaks_a_rule(namespace in namespace(), cases in cases(), webhook in any::<bool>()) {
        let stage = build_in(&namespace, &cases, webhook);
        let round = stage.decide();
        enact(&stage, &round)?;
        // Every pod is judged once, in order, and every action has its decision and a sentence.
        let names: Vec<_> = round.decisions.iter().map(|it| &it.pod).collect();
        prop_assert_eq!(names, stage.scene.pods.keys().collect::<Vec<_>>());
        for decision in &round.decisions {
            prop_assert!(!decision.message.is_empty(), "{decision:?}");
            prop_assert!(decision.findings.is_sorted_by_key(|it| it.check), "{decision:?}");
        }
    }

    #[test]
    fn no_namespace_has_more_under_way_than_it_may(cases in cases(), most in 1_u32..4) {
        let mut stage = build(&cases, false);
        for subject in stage.scene.workloads.values_mut() {
            Arc::make_mut(&mut subject.policy).namespace_pods_at_once.value = Some(most);
            for need in subject.needs.values_mut() {
                // What cannot wait needs no place, nor what changes together with all its siblings.
                need.cpu.as_mut().unwrap().urgent = false;
                need.memory.as_mut().unwrap().urgent = false;
            }
            subject.facts.scalers.clear();
        }
        for _ in 0..12 {
            let busy = stage.scene.pods.values().filter(|it| matches!(it.progress, Progress::Underway)
                || it.note.as_ref().is_some_and(|it| stage.now < it.at + minutes(5))).count();
            let round = stage.decide();
            let resizes = round.actions.iter().filter(|it| matches!(it.what, What::Resize(_))).count();
            let most = usize::try_from(most).unwrap();
            prop_assert!(resizes == 0 || busy + resizes <= most, "{busy} {:?}", round.actions);
            stage.carry_out(&round);
            stage.let_settle();
            stage.pass(1);
        }
    }

    #[test]
    fn no_pod_that_serves_is_evicted_while_another_is_missing_or_does_not(
        cases in cases(), unready in prop::collection::vec(any::<bool>(), 12), missing in 0_u32..2,
    ) {
        let mut stage = build(&cases, true);
        for subject in stage.scene.workloads.values_mut() {
            let policy = Arc::make_mut(&mut subject.policy);
            (policy.mode.value, policy.min_replicas.value) = (Mode::Recreate, 0);
            subject.facts.replicas += missing;
        }
        let since = stage.ago(5);
        for (pod, _) in stage.scene.pods.values_mut().zip(&unready).filter(|it| *it.1) {
            (pod.ready, pod.unready) = (None, Some(since.into()));
        }
        let round = stage.decide();
        let evicted = || round.actions.iter().filter(|it| it.what == What::Evict);
        for action in evicted() {
            let pods = || stage.scene.pods.values().filter(|it| it.workload == action.workload);
            let serves = stage.scene.pods[&action.pod].ready.is_some();
            let others = pods().filter(|it| it.key != action.pod).all(|it| it.ready.is_some());
            prop_assert!(!serves || (others && missing == 0), "{action:?}");
            prop_assert!(!serves || pods().filter(|it| it.ready.is_some()).count() > 1, "{action:?}");
            prop_assert_eq!(evicted().filter(|it| it.workload == action.workload).count(), 1);
        }
    }

    #[test]
    fn no_rollout_takes_away_who_has_to_serve(
        cases in cases(), kinds in prop::collection::vec((0_usize..5, 0_u32..4, 0_u32..4, prop::option::of(0_u32..4)), 4),
        unready in prop::collection::vec(prop::bool::weighted(0.2), 12),
        stays in prop::option::weighted(0.1, 0_usize..4), more in 0_usize..3,
    ) {
        let mut stage = build(&cases, true);
        // Random cases have few pods, and what is asked is asked of many.
        for name in ["a", "b", "c", "d"].iter().take(cases.len()) {
            (0..more).for_each(|it| { stage.pod(name, &format!("{name}-more-{it}"), "n0", "100m 64Mi"); });
        }
        let names: Vec<_> = stage.scene.workloads.keys().map(|it| it.name.to_string()).collect();
        for (name, (kind, takes, least, budget)) in names.iter().zip(&kinds) {
            let all = stage.subject(name).facts.replicas;
            let (kind, how, takes) = [
                ("Deployment", Rollout::Surge, *takes), ("Deployment", Rollout::Replace, (*takes).max(1)), ("Deployment", Rollout::After, all),
                ("StatefulSet", Rollout::After, (*takes).max(1)), ("DaemonSet", Rollout::Surge, 0),
            ][*kind];
            stage.rolls(name, kind, how, takes);
            stage.policy(name, |it| (it.mode.value, it.min_replicas.value) = (Mode::Recreate, *least));
            if let Some(allowed) = budget {
                stage.budget(name, *allowed, (3, 3 - i64::from(*allowed)));
            }
        }
        let since = stage.ago(5);
        for (pod, _) in stage.scene.pods.values_mut().zip(&unready).filter(|it| *it.1) {
            (pod.ready, pod.unready) = (None, Some(since.into()));
        }
        if let Some(pod) = stays.and_then(|it| stage.scene.pods.values_mut().nth(it)) {
            pod.do_not_evict = true;
        }
        let round = stage.decide();
        prop_assert!(round.actions.iter().all(|it| it.what != What::Evict), "nobody is stuck: {:?}", round.actions);
        let rolled_out = || round.actions.iter().filter(|it| it.what == What::RollOut);
        for action in rolled_out() {
            prop_assert_eq!(rolled_out().filter(|it| it.workload == action.workload).count(), 1);
            let subject = &stage.scene.workloads[&action.workload];
            let pods = || stage.scene.pods.values().filter(|it| it.workload == action.workload);
            prop_assert!(pods().all(|it| !it.do_not_evict), "{action:?}");
            let takes = subject.facts.rollout_takes;
            if takes == 0 {
                continue;
            }
            let ready = u32::try_from(pods().filter(|it| it.ready.is_some()).count()).unwrap();
            let least = subject.policy.min_replicas.value;
            prop_assert!(ready >= least, "{action:?}");
            prop_assert!(ready == 0 || ready > takes, "{action:?}: {takes} of {ready}");
            prop_assert!(subject.facts.budgets.iter().all(|it| it.allowed >= takes), "{action:?}");
        }
    }

    #[test]
    fn deciding_twice_without_news_does_nothing(namespace in namespace(), cases in cases(), webhook in any::<bool>()) {
        let mut stage = build_in(&namespace, &cases, webhook);
        let round = stage.decide();
        stage.carry_out(&round);
        count(&mut stage);
        // A scaler follows the pods that were changed without it, at once or a round later, once.
        let mut again = stage.decide();
        prop_assert!(again.actions.iter().all(|it| matches!(it.what, What::SettleScaler(_))), "{:?}", again.actions);
        // And a pod that stood behind the first may find that those took the room: since when is noted, once.
        for (workload, record) in &again.records {
            let known = &stage.scene.workloads[workload].record;
            let noted = Record { no_room_since: known.no_room_since, ..record.clone() };
            prop_assert_eq!(&noted, &**known);
        }
        if !again.actions.is_empty() || !again.records.is_empty() {
            stage.carry_out(&again);
            count(&mut stage);
            again = stage.decide();
        }
        prop_assert_eq!(&again.actions, &vec![]);
        prop_assert_eq!(again.records, BTreeMap::new());
        prop_assert_eq!(stage.decide().decisions, again.decisions);
    }

    #[test]
    fn it_comes_to_rest(namespace in namespace(), cases in cases()) {
        let mut stage = build_in(&namespace, &cases, false);
        let mut actions = Vec::new();
        for _ in 0..60 {
            let round = stage.decide();
            enact(&stage, &round)?;
            actions = round.actions.clone();
            stage.carry_out(&round);
            stage.let_settle();
            count(&mut stage);
            stage.pass(61);
        }
        prop_assert_eq!(actions, vec![]);
    }

    #[test]
    fn workloads_judged_alone_are_judged_the_same(cases in cases()) {
        // What needs nobody else: everything but places.
        let alone = |it: &Check| !matches!(it, Check::Quota | Check::Room | Check::Restart | Check::Budget | Check::Owner | Check::Qos);
        let stage = build(&cases, false);
        let all = stage.decide();
        for (name, _) in ["a", "b", "c", "d"].iter().zip(&cases) {
            for decision in stage.decide_only(&[name]).decisions {
                let other = all.decisions.iter().find(|it| it.pod == decision.pod).unwrap();
                let of = |it: &supple_decide::round::Decision| it.findings.iter().filter(|it| alone(&it.check)).cloned().collect::<Vec<_>>();
                prop_assert_eq!(of(&decision), of(other));
            }
        }
    }

    #[test]
    fn no_order_matters(
        namespace in namespace(), cases in cases(), order in (0_usize..3, any::<bool>()),
        resized in any::<bool>(), second in any::<bool>(),
    ) {
        let mut stage = build_in(&namespace, &cases, false);
        for (name, case) in ["a", "b", "c", "d"].iter().zip(&cases) {
            if second {
                let memory = supple_decide::facts::Scaler {
                    name: format!("{name}-2"),
                    kind: "HorizontalPodAutoscaler".into(),
                    metrics: [Some(Resource::Memory), (case.hours == 0).then_some(Resource::Cpu)]
                        .into_iter()
                        .flatten()
                        .map(|resource| Metric { resource, percent: 70, container: Some("side".into()) })
                        .collect(),
                    min_replicas: 1,
                    max_replicas: 9,
                    current_replicas: 2,
                    anchor: (case.hours == 0).then_some(Anchor { percent: 40, milli_cpu: 500, pods: 1, to: 70 }),
                    through: None,
                };
                stage.subject(name).facts.scalers.push(memory);
            }
            let guard = |name: &str| Guard {
                name: name.to_owned(), query: String::new(), above: Some(Billionths(10)), below: None,
            };
            stage.policy(name, |it| it.guards.value = vec![guard("errors"), guard("slowness"), guard("queue")]);
            let (at, resized_at, pod) = (stage.ago(1), stage.ago(3), format!("{name}-0"));
            let reading = |(index, name): (i64, &str)| GuardReading {
                name: name.to_owned(), pod: (index > 1).then(|| pod.as_str().into()),
                at: at + SignedDuration::from_secs(index), value: Billionths(9 + i128::from(index)),
                container: None, before: vec![(baseline(resized_at), None)], well: None,
            };
            let readings = (0..).zip(["queue", "slowness", "errors"]).map(reading).collect();
            stage.scene.guards.insert(workload(name), readings);
            let asked = stage.at(&format!("{name}-0")).containers[0].asked;
            let all = asked.cpu_limit.is_some() && asked.memory_limit.is_some();
            if resized && all {
                stage.resized(&format!("{name}-0"), "3:3 3Gi:3Gi", 3);
            }
        }
        let mut turned = Stage { scene: stage.scene.clone(), now: stage.now };
        turned.scene.pods = turned.scene.pods.into_iter().rev().collect();
        turned.scene.nodes = turned.scene.nodes.into_iter().rev().collect();
        for pod in turned.scene.pods.values_mut() {
            shuffle(&mut pod.containers, order);
        }
        for facts in turned.scene.namespaces.values_mut() {
            shuffle(&mut facts.limit_ranges, order);
            shuffle(&mut facts.quotas, order);
        }
        for subject in turned.scene.workloads.values_mut() {
            shuffle(&mut subject.facts.scalers, order);
            shuffle(&mut Arc::make_mut(&mut subject.policy).guards.value, order);
        }
        for readings in turned.scene.guards.values_mut() {
            shuffle(readings, order);
        }
        let (one, other) = (stage.decide(), turned.decide());
        let codes = |round: &Round| round.decisions.iter().map(|it| (it.pod.clone(), it.code)).collect::<Vec<_>>();
        prop_assert_eq!(codes(&one), codes(&other));
        prop_assert_eq!(&one.records, &other.records);
        let changes = |round: &Round| round.actions.iter().map(|it| (it.pod.clone(), it.what.clone())).collect::<Vec<_>>();
        prop_assert_eq!(changes(&one), changes(&other));
    }

    #[test]
    fn more_room_never_refuses_more(case in workload_case(), more in (0_i64..3000, 0_i64..3000)) {
        let case = WorkloadCase { pods: vec![case.pods[0].clone()], scaler: None, mode: Mode::InPlace, ..case };
        let stage = build(std::slice::from_ref(&case), false);
        let mut roomy = build(&[case], false);
        for node in roomy.scene.nodes.values_mut() {
            node.allocatable.cpu.0 += more.0;
            node.allocatable.memory.0 += more.1 * MIB;
            let mut object = node.object();
            let allocatable = object.status.as_mut().unwrap().allocatable.as_mut().unwrap();
            allocatable.insert("cpu".into(), quantity(node.allocatable.cpu.into()));
            allocatable.insert("memory".into(), quantity(node.allocatable.memory.into()));
            *node = supple_decide::facts::NodeFacts::of(&object);
        }
        let numbers = |round: &Round| -> Vec<(String, Numbers)> {
            let changes = round.actions.iter().filter_map(|it| it.what.change());
            changes.flat_map(|it| it.containers.iter().map(|(name, it)| (name.clone(), Numbers::of(it)))).collect()
        };
        let (tight, wide) = (numbers(&stage.decide()), numbers(&roomy.decide()));
        for (name, sizes) in tight {
            let other = wide.iter().find(|it| it.0 == name).map(|it| it.1).unwrap_or_default();
            let kept = |own: Option<i64>, other: Option<i64>| own.is_none() || own == other;
            prop_assert!(kept(sizes.cpu_request.map(|it| it.0), other.cpu_request.map(|it| it.0)), "{sizes:?} {other:?}");
            prop_assert!(kept(sizes.memory_request.map(|it| it.0), other.memory_request.map(|it| it.0)), "{sizes:?} {other:?}");
        }
    }
}

proptest! {
    /// A container that keeps its proportion keeps what a limit range says of it: no rounding to whole units is ever refused.
    #[test]
    fn a_proportion_that_is_allowed_is_never_refused_for_how_it_is_rounded(
        (request, more, slack) in (10_i64..3000, 1_i64..6000, 0_i64..3),
        wanted in 5_i64..3000,
        is_memory in any::<bool>(),
    ) {
        let limit = request + more;
        // The strictest bound that the sizes of now keep, and a little more.
        let bound = (limit * 1000 + request - 1) / request + slack;
        let mut stage = Stage::new();
        let of = |it: i64| if is_memory { format!("{it}Mi") } else { format!("{it}m") };
        stage.workload("web", &if is_memory { format!("1 {}", of(wanted)) } else { of(wanted) });
        stage.policy("web", |it| it.steps.value = StepCaps::default());
        let sizes = format!("{}{}:{}", if is_memory { "1 " } else { "" }, of(request), of(limit));
        stage.pod("web", "web-1", "n1", &sizes);
        stage.node("n1", "64", "64Gi");
        let used = stage.used("web-1");
        (used.memory, used.memory_peak, used.memory_charged) = (Some(Bytes(MIB)), Some(Bytes(MIB)), None);
        let resource = if is_memory { "memory" } else { "cpu" };
        let ratio = format!("{}.{:03}", bound / 1000, bound % 1000);
        stage.limit_range(json!({"type": "Container", "maxLimitRequestRatio": {resource: ratio}}));
        let round = stage.decide();
        let refused = round.decisions.iter().flat_map(|it| &it.findings);
        let refused: Vec<_> = refused.filter(|it| it.check == Check::LimitRange && it.outcome == Outcome::Refused).collect();
        prop_assert!(refused.is_empty(), "{sizes} at most {ratio}: {refused:?}");
        let ranges = &stage.scene.namespaces[NAMESPACE].limit_ranges;
        for action in &round.actions {
            let What::Resize(change) = &action.what else { continue };
            let pod = change.applied_to(&stage.scene.pods[&action.pod].to_pod()).unwrap();
            prop_assert_eq!(limit_range::validate_pod(&pod, ranges).map_err(|it| it.message), Ok(()));
        }
    }

    #[test]
    fn no_budget_is_overdrawn_by_the_workloads_under_it(
        cases in cases(), most in 0_u32..4, restarts in prop::collection::vec(any::<(bool, bool)>(), 12),
    ) {
        let mut stage = build(&cases, true);
        let names: Vec<_> = stage.scene.workloads.keys().map(|it| it.name.to_string()).collect();
        for name in &names {
            stage.policy(name, |it| (it.mode.value, it.min_replicas.value) = (Mode::InPlaceOrRecreate, 0));
            stage.budget(name, most, (9, 9));
        }
        for (pod, restarts) in stage.scene.pods.values_mut().zip(&restarts) {
            for container in &mut pod.containers {
                (container.restarts_for_cpu, container.restarts_for_memory) = *restarts;
            }
        }
        let mut taken = 0;
        for _ in 0..3 {
            let round = stage.decide();
            let disrupts = |action: &Action| match &action.what {
                What::Evict => true,
                What::Resize(change) | What::AdjustScaler { change, .. } => {
                    let pod = &stage.scene.pods[&action.pod];
                    pod.containers.iter().filter(|it| it.running_since.is_some()).any(|it| {
                        let next = change.containers.get(&*it.name).map(Numbers::of).unwrap_or_default();
                        let changes = |get: fn(&Numbers) -> Option<i64>| get(&next).is_some_and(|next| get(&it.asked) != Some(next));
                        let cpu = changes(|it| Some(it.cpu_request?.0)) || changes(|it| Some(it.cpu_limit?.0));
                        let memory = changes(|it| Some(it.memory_request?.0)) || changes(|it| Some(it.memory_limit?.0));
                        (it.restarts_for_cpu && cpu) || (it.restarts_for_memory && memory)
                    })
                }
                // What is taken back asks no budget, and is counted all the same.
                What::RollBack(_) | What::SettleScaler(_) | What::RollOut => false,
            };
            taken += u32::try_from(round.actions.iter().filter(|it| disrupts(it)).count()).unwrap();
            prop_assert!(taken <= most, "{taken} of {most}: {:?}", round.actions);
            // The API server charges an eviction before it is answered; of a restart the budgets still know nothing.
            let evicted = u32::try_from(round.actions.iter().filter(|it| it.what == What::Evict).count()).unwrap();
            stage.carry_out(&round);
            for budget in stage.scene.workloads.values_mut().flat_map(|it| &mut it.facts.budgets) {
                budget.allowed = budget.allowed.saturating_sub(evicted);
            }
        }
    }
}
