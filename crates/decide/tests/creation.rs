//! What a new pod is created with, against what the loop does: in random scenes it never goes below that, is never one that the API
//! server refuses, and is left alone afterwards; and one by one, what each check says of it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "decide/stage.rs"]
mod stage;

#[path = "decide/cases.rs"]
mod cases;

#[path = "decide/times.rs"]
mod times;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use supple_decide::code::Code;
use supple_decide::create::{Creation, Siblings, create, newborn};
use supple_decide::facts::{Metric, Phase, PodFacts, Scaler};
use supple_decide::need::Use;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Mode, Pause, StepCaps, Window, WithScaler};
use supple_decide::progress::Progress;
use supple_decide::record::{Record, TooSmall};
use supple_decide::recreated::Recreated;
use supple_quantity::Bytes;
use supple_resize::admission::{limit_range, quota};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::qos;

use cases::*;
use stage::*;
use times::times;

const EACH: [(Resource, Requirement); 4] = [
    (Resource::Cpu, Requirement::Request),
    (Resource::Cpu, Requirement::Limit),
    (Resource::Memory, Requirement::Request),
    (Resource::Memory, Requirement::Limit),
];

/// The pod that the template of the workload makes, and what it is created with.
fn born(stage: &Stage, name: &str) -> (PodFacts, Creation) {
    let subject = &stage.scene.workloads[&workload(name)];
    let pods = || stage.scene.pods.values().filter(|it| it.workload == workload(name)).map(|it| &**it);
    let new = newborn(subject, pods().next().unwrap());
    let siblings = Siblings::of(&stage.scene, subject, pods(), stage.now);
    let creation = create(&stage.scene, subject, &siblings, &new, stage.now);
    (new, creation)
}

/// The pod with what it was created with.
fn sized(mut pod: PodFacts, creation: &Creation) -> PodFacts {
    for container in &mut pod.containers {
        if let Some(sizes) = creation.sizes.get(&container.name) {
            container.asked = *sizes;
        }
    }
    pod
}

/// A workload with pods of its template's sizes that need much less, and a policy that lets go all the way at once.
fn web(pods: usize) -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "200m 128Mi");
    stage.policy("web", |it| it.steps.value = StepCaps::default());
    stage.subject("web").facts.template.insert("app".into(), numbers("1:2 512Mi:1Gi"));
    for index in 1..=pods {
        stage.pod("web", &format!("web-{index}"), "n1", "1:2 512Mi:1Gi");
    }
    stage
}

#[test]
fn in_a_protected_namespace_a_new_pod_keeps_its_own_sizes() {
    let protected = |word: Option<&'static str>| {
        move |stage: &mut Stage| {
            stage.scene.cluster.own_namespace = Some(NAMESPACE.into());
            for name in ["web-1", "web-2"] {
                stage.at(name).words.extend(word.map(|it| ("supple.dev/mode".to_owned(), it.to_owned())));
            }
        }
    };
    check_born(protected(None), Code::ProtectedNamespace, "its own");
    check_born(protected(Some("in-place")), Code::ProtectedNamespace, "its own");
}

#[track_caller]
fn check_born(change: impl FnOnce(&mut Stage), code: Code, expect: &str) {
    let mut stage = web(2);
    change(&mut stage);
    let (_, creation) = born(&stage, "web");
    let sizes = creation.sizes.get("app").map_or("its own".to_owned(), show);
    assert_eq!((creation.verdict.code, sizes.as_str()), (code, expect), "{:#?}", creation.verdict);
}

#[test]
fn a_new_pod_gets_what_the_loop_would_give_it() {
    let all = "200m:400m 128Mi:256Mi";
    for mode in [Mode::Initial, Mode::Recreate, Mode::InPlaceOrRecreate, Mode::InPlace] {
        check_born(|it| it.policy("web", |it| it.mode.value = mode), Code::Resize, all);
    }
    check_born(|it| it.policy("web", |it| it.mode.value = Mode::Off), Code::ModeOff, "its own");
    check_born(|it| it.scene.cluster.minor_version = Some(32), Code::Resize, "200m:400m 128Mi:1Gi");
    // What the others were resized to is nothing to it.
    check_born(|it| it.resized("web-1", "1:2 512Mi:1Gi", 60), Code::Resize, all);
    let mut loops = web(1);
    loops.policy("web", |it| it.cool_down_down.value = minutes(0));
    check(&loops.decide(), "web-1", Code::Resize, all);
}

#[test]
fn a_pod_of_a_template_that_changed_is_one_that_could_be_made() {
    #[track_caller]
    fn check_new(template: &str, expect: &str) {
        let mut stage = web(1);
        stage.subject("web").facts.template.insert("app".into(), numbers(template));
        assert_eq!(born(&stage, "web").0.containers[0].asked, numbers(expect));
    }
    check_new("3:4 512Mi:1Gi", "3:4 512Mi:1Gi");
    // What the template does not say was put there as the pod was created,
    check_new("1 512Mi", "1:2 512Mi:1Gi");
    // unless it cannot be any more: the limit that was there is below what is asked for now, or the request above the new limit.
    check_new("3 512Mi", "3 512Mi:1Gi");
    check_new(":500m 2Gi", "500m:500m 2Gi");
}

#[test]
fn a_brake_is_one_for_new_pods_too() {
    check_born(|it| it.scene.cluster.stopped = Some("drill".into()), Code::Stopped, "its own");
    let pause = |minutes: i64| {
        move |stage: &mut Stage| {
            let until = Some(stage.ago(-minutes));
            stage.policy("web", |it| it.pause.value = Some(Pause { until, why: "holidays".into() }));
        }
    };
    check_born(pause(5), Code::Paused, "its own");
    check_born(pause(-5), Code::Resize, "200m:400m 128Mi:256Mi");
    check_born(
        |stage| {
            let spans = vec![(stage.ago(10), stage.ago(-10))];
            let window = Window { allow: false, spans, text: "noon".into() };
            stage.policy("web", |it| it.windows.value = vec![window]);
        },
        Code::OutsideWindow,
        "its own",
    );
    check_born(
        |stage| {
            let policy = stage.subject("web").policy.clone();
            let mut record = Record::default();
            record.set_back(stage.now, &policy);
            stage.subject("web").record = Arc::new(record);
        },
        Code::BackOff,
        "its own",
    );
}

/// What was asked of a node in vain begins a pause, and recreates the pod: with the very sizes that the pause would keep from it.
#[test]
fn the_pause_that_began_with_a_recreation_does_not_hold_the_new_pod() {
    for (otherwise, code, expect) in [
        (None, Code::Resize, "200m:400m 128Mi:256Mi"),
        (Some(false), Code::BackOff, "its own"),
        (Some(true), Code::BackOff, "its own"),
    ] {
        let recreated = |stage: &mut Stage| {
            let policy = stage.subject("web").policy.clone();
            let aim = (numbers("200m:400m 128Mi:256Mi"), numbers("200m:400m 128Mi:256Mi"));
            let recreated = Recreated { at: stage.now, sizes: [("app".into(), aim)].into(), otherwise };
            let mut record = Record { recreated: Some(recreated), ..Record::default() };
            record.set_back(stage.now, &policy);
            stage.subject("web").record = Arc::new(record);
        };
        check_born(recreated, code, expect);
    }
}

#[test]
fn what_is_not_known_is_not_lowered() {
    let hours = |stage: &mut Stage| stage.subject("web").needs.get_mut("app").unwrap().hours = 3;
    check_born(hours, Code::Learning, "its own");
    check_born(|it| it.policy("web", |it| it.min_confidence_permille.value = 950), Code::LowConfidence, "its own");
    check_born(|it| it.scene.uses.clear(), Code::StaleData, "its own");
    check_born(|it| it.subject("web").needs.clear(), Code::NoData, "its own");
    // Where none of its pods runs there is nothing to be measured: a job's next pod goes by what was learned.
    let ended = |stage: &mut Stage| {
        stage.scene.uses.clear();
        for pod in stage.scene.pods.values_mut() {
            pod.phase = Phase::Ended;
            pod.containers[0].running_since = None;
        }
    };
    check_born(ended, Code::Resize, "200m:400m 128Mi:256Mi");
    // Little data raises.
    check_born(
        |stage| {
            stage.workload("web", "2 2Gi").needs.get_mut("app").unwrap().hours = 0;
            stage.subject("web").facts.template.insert("app".into(), numbers("1:2 512Mi:1Gi"));
        },
        Code::Resize,
        "2:4 2Gi:4Gi",
    );
}

#[test]
fn the_numbers_are_those_of_the_loop() {
    let policy = |change: fn(&mut supple_decide::policy::Policy)| move |stage: &mut Stage| stage.policy("web", change);
    let headroom = |it: &mut supple_decide::policy::Policy| {
        (it.cpu_headroom_percent.value, it.memory_headroom_percent.value) = (50, 50);
    };
    check_born(policy(headroom), Code::Resize, "300m:600m 192Mi:384Mi");
    check_born(policy(|it| it.limits.value = supple_decide::policy::Limits::Keep), Code::Resize, "200m:2 128Mi:1Gi");
    check_born(policy(|it| it.approve_memory_decrease.value = true), Code::Resize, "200m:400m 512Mi:1Gi");
    check_born(
        |stage| {
            stage.policy("web", |it| it.approve_memory_decrease.value = true);
            let approved = ("supple.dev/approve-memory-decrease".to_owned(), "true".to_owned());
            stage.subject("web").facts.words.extend([approved]);
        },
        Code::Resize,
        "200m:400m 128Mi:256Mi",
    );
    // The least that a process can do with, and what a sibling uses.
    check_born(
        |it| it.subject("web").needs = [("app".into(), need("1m 1Mi"))].into(),
        Code::Resize,
        "10m:20m 16Mi:32Mi",
    );
    check_born(|it| it.used("web-2").memory_peak = Some(Bytes(300 * MIB)), Code::Resize, "200m:400m 330Mi:660Mi");
    check_born(
        |stage| {
            let size = Numbers { memory_limit: Some(Bytes(256 * MIB)), ..Numbers::default() };
            let harmed = TooSmall { container: "app".into(), size, at: stage.ago(60), code: Code::OutOfMemory };
            stage.subject("web").record = Arc::new(Record { too_small: vec![harmed], ..Record::default() });
        },
        Code::Resize,
        "200m:400m 128Mi:308Mi",
    );
    check_born(
        |it| it.limit_range(json!({"type": "Container", "min": {"cpu": "400m", "memory": "256Mi"}})),
        Code::Resize,
        "400m:800m 256Mi:512Mi",
    );
    // A charge that stands in a node's way, or swap, is that of a running container.
    check_born(
        |stage| {
            (stage.used("web-1").memory_charged, stage.used("web-1").swap) = (Some(Bytes(900 * MIB)), Some(Bytes(MIB)))
        },
        Code::Resize,
        "200m:400m 128Mi:256Mi",
    );
}

#[test]
fn who_else_has_a_say() {
    check_born(|it| it.subject("web").facts.other_vertical.push("vpa".into()), Code::OtherVertical, "its own");
    let scaler = || Scaler {
        name: "web".into(),
        kind: "HorizontalPodAutoscaler".into(),
        metrics: vec![Metric { resource: Resource::Cpu, percent: 60, container: None }],
        min_replicas: 1,
        max_replicas: 9,
        current_replicas: 2,
        anchor: None,
        set_by: None,
        through: None,
    };
    let memory_alone = "1:2 128Mi:256Mi";
    check_born(|it| it.subject("web").facts.scalers.push(scaler()), Code::Resize, memory_alone);
    check_born(
        |stage| {
            stage.subject("web").facts.scalers.push(scaler());
            stage.policy("web", |it| it.with_scaler.value = WithScaler::Adjust);
        },
        Code::Resize,
        memory_alone,
    );
    // A quota counts the whole of a new pod, and a pod with its own sizes is better than none.
    check_born(
        |stage| {
            stage.subject("web").needs.insert("app".into(), need("200m 600Mi"));
            stage.quota(json!({"requests.memory": "1550Mi"}), json!({"requests.memory": "1Gi"}));
        },
        Code::Resize,
        "200m:400m 512Mi:1Gi",
    );
}

#[test]
fn a_step_is_counted_from_where_the_siblings_are() {
    let half = |stage: &mut Stage| {
        let steps = StepCaps { cpu_down: Some(50), memory_down: Some(50), ..StepCaps::default() };
        stage.policy("web", |it| it.steps.value = steps);
    };
    check_born(half, Code::Resize, "500m:1 256Mi:512Mi");
    let further = |stage: &mut Stage| {
        half(stage);
        stage.at("web-2").containers[0].asked = numbers("500m:1 256Mi:512Mi");
    };
    check_born(further, Code::Resize, "250m:500m 128Mi:256Mi");
    // And one that is recreated for a step takes that, and no second one, whose effect nobody has seen.
    check_born(
        |stage| {
            half(stage);
            let aim = (numbers("400m:800m 200Mi:400Mi"), numbers("200m:400m 128Mi:256Mi"));
            let recreated = Recreated { at: stage.now, sizes: [("app".into(), aim)].into(), otherwise: None };
            stage.subject("web").record = Arc::new(Record { recreated: Some(recreated), ..Record::default() });
        },
        Code::Resize,
        "400m:800m 200Mi:400Mi",
    );
}

/// One of two was created at half, or resized to it, and so many minutes ago.
#[test]
fn no_further_step_is_counted_from_a_sibling_that_might_take_none_itself() {
    let half = |minutes_ago: i64, resized: bool| {
        move |stage: &mut Stage| {
            let steps = StepCaps { cpu_down: Some(50), memory_down: Some(50), ..StepCaps::default() };
            stage.policy("web", |it| it.steps.value = steps);
            let at = stage.ago(minutes_ago);
            let pod = stage.at("web-2");
            pod.containers[0].asked = numbers("500m:1 256Mi:512Mi");
            if resized {
                stage.resized("web-2", "1:2 512Mi:1Gi", minutes_ago);
            } else {
                (pod.made, pod.started, pod.ready) = (Some(at.into()), Some(at.into()), Some(at.into()));
                Arc::make_mut(&mut pod.shape).sized = Some(Box::new([("app".into(), numbers("1:2 512Mi:1Gi"))].into()));
            }
        }
    };
    for resized in [false, true] {
        for minutes_ago in [0, 30, 59] {
            check_born(half(minutes_ago, resized), Code::Resize, "500m:1 256Mi:512Mi");
        }
        check_born(half(60, resized), Code::Resize, "250m:500m 128Mi:256Mi");
    }
    // It was never well, or is not any more.
    check_born(
        |stage| {
            half(90, false)(stage);
            stage.at("web-2").ready = None;
        },
        Code::Resize,
        "500m:1 256Mi:512Mi",
    );
}

/// Whether the pod is one of those that nothing but its sizes speaks of.
fn is_calm(pod: &PodFacts, now: jiff::Timestamp) -> bool {
    pod.progress == Progress::Settled
        && pod.started.is_some_and(|it| now.duration_since(it.into()) > minutes(1000))
        && pod.containers.iter().all(|it| !it.restarts_for_cpu && !it.restarts_for_memory)
}

/// The scene, in which every pod has the sizes of its template and all of its charge is use.
fn templated(namespace: &NamespaceCase, cases: &[WorkloadCase]) -> Stage {
    let mut stage = build_in(namespace, cases, true);
    for (name, _) in ["a", "b", "c", "d"].iter().zip(cases) {
        let first = stage.at(&format!("{name}-0")).clone();
        for pod in stage.scene.pods.values_mut().filter(|it| it.workload == workload(name) && it.key != first.key) {
            pod.containers.clone_from(&first.containers);
            pod.shape = first.shape.clone();
        }
        let template = first.containers.iter().map(|it| (it.name.clone(), it.asked));
        stage.subject(name).facts.template = template.collect();
    }
    for used in stage.scene.uses.values_mut().flat_map(supple_decide::need::Uses::values_mut) {
        used.memory_charged = used.memory;
    }
    stage
}

proptest! {
    #![proptest_config(times(400))]

    #[test]
    fn no_new_pod_is_smaller_than_the_loop_would_make_it_nor_refused(namespace in namespace(), cases in cases()) {
        let stage = templated(&namespace, &cases);
        let round = stage.decide();
        let facts = &stage.scene.namespaces[NAMESPACE];
        for (name, case) in ["a", "b", "c", "d"].iter().zip(&cases) {
            let (new, creation) = born(&stage, name);
            prop_assert!(case.mode != Mode::Off || creation.sizes.is_empty());
            // Where a range ends, a class is kept by a unit less of the request.
            let keeps_class = creation.verdict.findings.iter().any(|it| it.code == Code::QosChange);
            let kept_apart = |resource| match resource {
                _ if !keeps_class => 0,
                Resource::Cpu => 1,
                Resource::Memory => 1 << 20,
            };
            for (container, created) in creation.sizes.iter() {
                let template = stage.scene.workloads[&workload(name)].facts.template[&**container];
                for (resource, requirement) in EACH {
                    let get = |it: &Numbers| it.get(resource, requirement);
                    prop_assert_eq!(get(created).is_some(), get(&template).is_some());
                    if get(created) >= get(&template) {
                        continue;
                    }
                    for decision in round.decisions.iter().filter(|it| it.workload == workload(name)) {
                        if !is_calm(&stage.scene.pods[&decision.pod], stage.now) {
                            continue;
                        }
                        let proposal = decision.containers.iter().find(|it| it.container == *container).unwrap();
                        prop_assert!(get(&proposal.due) <= get(created).map(|it| it + kept_apart(resource)), "{} {:?} {decision:#?} {creation:#?}", container, (resource, requirement));
                    }
                }
            }
            let (before, after) = (new.to_pod(), sized(new.clone(), &creation).to_pod());
            prop_assert_eq!(qos::compute(&after), qos::compute(&before));
            if limit_range::validate_pod(&before, &facts.limit_ranges).is_ok() {
                prop_assert!(limit_range::validate_pod(&after, &facts.limit_ranges).is_ok(), "{creation:#?}");
            }
            if quota::check(&before, None, &facts.quotas).is_ok() {
                prop_assert!(quota::check(&after, None, &facts.quotas).is_ok(), "{creation:#?}");
            }
        }
    }

    #[test]
    fn the_loop_leaves_a_new_pod_as_it_was_created(namespace in namespace(), cases in cases()) {
        // Where a step is capped it is on its way; and a target changes together with all pods or none.
        let apart = |it: WorkloadCase| it.scaler.map(|it| (it.0, false));
        let cases: Vec<_> = cases.into_iter().map(|it| WorkloadCase { steps: true, scaler: apart(it.clone()), ..it }).collect();
        let mut stage = templated(&NamespaceCase { quotas: Vec::new(), ..namespace }, &cases);
        for (name, _) in ["a", "b", "c", "d"].iter().zip(&cases) {
            let (new, creation) = born(&stage, name);
            let mut pod = sized(new, &creation);
            let started = stage.ago(4000);
            (pod.key, pod.phase, pod.node) = (key(&format!("{name}-new")), Phase::Running, Some("big".into()));
            (pod.made, pod.started, pod.ready) = (Some(started.into()), Some(started.into()), Some(started.into()));
            for container in &mut pod.containers {
                let asked = container.asked;
                container.running_since = Some(started.into());
                container.allocated = Some(Numbers { cpu_limit: None, memory_limit: None, ..asked });
                container.actual = Some(asked);
            }
            // It uses what the one that uses most uses.
            let siblings: Vec<_> = stage.scene.pods.values().filter(|it| it.workload == workload(name)).map(|it| it.key.clone()).collect();
            let uses = |container: &str| {
                let all = siblings.iter().filter_map(|it| stage.scene.uses[it].get(container));
                all.copied().reduce(|a, b| Use {
                    memory: a.memory.max(b.memory), memory_peak: a.memory_peak.max(b.memory_peak),
                    memory_charged: None, throttled_permille: a.throttled_permille.max(b.throttled_permille), ..a
                }).map(|it| Use { memory_charged: None, ..it })
            };
            let uses = pod.containers.iter().filter_map(|it| Some((it.name.clone(), uses(&it.name)?))).collect();
            stage.scene.uses.insert(pod.key.clone(), uses);
            stage.scene.pods.insert(pod.key.clone(), Box::new(pod));
            stage.node("big", "640", "6400Gi");
            // Nothing of the others is in its way.
            for sibling in &siblings {
                let pod = stage.scene.pods.get_mut(sibling).unwrap();
                pod.progress = Progress::Settled;
                pod.words.insert("supple.dev/mode".into(), "Off".into());
            }
            let round = stage.decide();
            let action = action(&round, &format!("{name}-new"));
            prop_assert!(action.is_none(), "{action:#?}\n{creation:#?}");
        }
    }

    /// Whatever the webhook does with new pods, each is recreated at most once.
    #[test]
    fn nobody_is_evicted_for_ever(answers in prop::collection::vec(0_usize..5, 1..12), mode in prop::sample::select(vec![Mode::Recreate, Mode::InPlaceOrRecreate])) {
        let mut stage = web(3);
        stage.sizes_new_pods();
        stage.policy("web", |it| {
            it.mode.value = mode;
            it.startup.value = minutes(0);
        });
        let names: Vec<String> = stage.scene.pods.keys().map(|it| it.name.to_string()).collect();
        names.iter().for_each(|it| stage.says_nothing_of_sizes(it)); // and so resizes nothing
        let given = ["1:2 512Mi:1Gi", "200m:400m 128Mi:256Mi", "10m:20m 16Mi:32Mi", "2:4 2Gi:4Gi", "200m:400m 512Mi:1Gi"];
        let (mut answers, mut evicted) = (answers.into_iter().cycle(), 0);
        for round in 0..100 {
            let decided = stage.decide();
            stage.carry_out(&decided);
            let gone = stage.scene.pods.values().filter(|it| it.deleting).count();
            evicted += gone;
            stage.let_settle();
            for _ in 0..gone {
                let started = stage.now;
                let name = format!("web-new-{round}");
                let pod = stage.pod("web", &name, "n1", given[answers.next().unwrap()]);
                (pod.made, pod.started, pod.ready) = (Some(started.into()), Some(started.into()), Some(started.into()));
                stage.says_nothing_of_sizes(&name);
                stage.subject("web").facts.replicas = 3;
            }
            stage.pass(60);
        }
        prop_assert!((1..=3).contains(&evicted), "{evicted}");
    }
}
