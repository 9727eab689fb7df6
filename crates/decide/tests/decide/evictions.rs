//! What an eviction is for: `evictionRequirements`, asked of what would be set. And how fast one follows the other.

use std::sync::Arc;

use jiff::SignedDuration;
use supple_decide::code::Code;
use supple_decide::create::{Siblings, create, newborn};
use supple_decide::facts::{PodFacts, Rollout};
use supple_decide::policy::{ContainerPolicy, Direction, Mode, Origin};
use supple_quantity::Bytes;

use crate::stage::*;

const UP: Direction = Direction { rises: true, cpu: true, memory: true };
const MEMORY_UP: Direction = Direction { rises: true, cpu: false, memory: true };
const CPU_DOWN: Direction = Direction { rises: false, cpu: true, memory: false };

/// Three replicas of containers with what they have and need, in mode `Recreate`, which are evicted only for this.
#[track_caller]
fn check_required(
    containers: &[(&str, &str, &str)],
    required: &[Direction],
    change: impl FnOnce(&mut Stage),
    expect: Option<Code>,
) {
    let mut stage = Stage::new();
    stage.workload("web", "");
    let all: Vec<_> = containers.iter().map(|(name, has, _)| stage.container(name, has)).collect();
    for name in ["web-1", "web-2", "web-3"] {
        let pod = stage.pod("web", name, "n1", "");
        pod.containers.clone_from(&all);
        Arc::make_mut(&mut pod.shape).qos = class(&pod.containers);
        let used = *stage.used(name);
        let uses = stage.scene.uses.get_mut(&key(name)).unwrap();
        for (name, ..) in containers {
            uses.insert((*name).into(), used);
        }
    }
    let subject = stage.subject("web");
    subject.needs = containers.iter().map(|(name, _, needs)| (Arc::from(*name), need(needs))).collect();
    subject.facts.template = containers.iter().map(|(name, has, _)| (Arc::from(*name), numbers(has))).collect();
    stage.sizes_new_pods();
    stage.policy("web", |it| {
        it.mode.value = Mode::Recreate;
        it.recreate_only_for.value = required.to_vec();
    });
    change(&mut stage);
    let round = stage.decide();
    match expect {
        Some(code) => check(&round, "web-1", code, "nothing"),
        None => check(&round, "web-1", Code::Evict, "evict"),
    }
}

/// A word of the container `app`'s own policy.
fn of_app(stage: &mut Stage, change: impl FnOnce(&mut ContainerPolicy)) {
    let mut said = ContainerPolicy::default();
    change(&mut said);
    stage.policy("web", |it| it.containers.push((Origin::BuiltIn, [("app".into(), said)].into())));
}

#[test]
fn what_is_required_of_an_eviction_is_required_of_what_would_be_set() {
    let wrong = Some(Code::WrongDirection);
    let app = |has, needs| [("app", has, needs)];
    check_required(&app("400m 512Mi", "40m 900Mi"), &[UP], |_| {}, None);
    // More memory is wanted than it may have, and it has that: only its CPU would fall.
    let most = |stage: &mut Stage| of_app(stage, |it| it.at_most.memory = Some(Bytes(512 << 20)));
    check_required(&app("400m 512Mi", "40m 900Mi"), &[UP], most, wrong);
    // Nor is what Supple does not size, or is not worth a resize, changed by an eviction.
    let only_cpu = |stage: &mut Stage| of_app(stage, |it| it.controlled = Some((true, false)));
    check_required(&app("400m 512Mi", "40m 900Mi"), &[UP], only_cpu, wrong);
    check_required(&app("400m 512Mi", "40m 900Mi"), &[CPU_DOWN], only_cpu, None);
    let both = [("app", "100m 512Mi", "100m 900Mi"), ("proxy", "400m 64Mi", "40m 64Mi")];
    check_required(&both, &[UP], |_| {}, None);
    check_required(&both, &[UP], |stage| of_app(stage, |it| it.off = Some(true)), wrong);
    // One container has to meet all that is required.
    check_required(&both, &[MEMORY_UP, CPU_DOWN], |_| {}, wrong);
    let one = [("app", "400m 512Mi", "40m 900Mi"), ("proxy", "100m 64Mi", "100m 64Mi")];
    check_required(&one, &[MEMORY_UP, CPU_DOWN], |_| {}, None);
}

/// Three replicas that ask for 400m and need 42m, in mode `Recreate`, in steps of a half, sized as they are created.
fn stepping() -> Stage {
    let mut stage = Stage::new();
    stage.workload("web", "42m").facts.template.insert("app".into(), numbers("400m"));
    for name in ["web-0", "web-1", "web-2"] {
        stage.pod("web", name, "n1", "400m");
    }
    stage.sizes_new_pods();
    stage.policy("web", |it| {
        it.mode.value = Mode::Recreate;
        it.startup.value = SignedDuration::from_secs(30);
    });
    stage
}

/// The pod is gone, and another one is made in its place as the webhook sizes it, which is ready half a minute later. From what to what.
fn make_anew(stage: &mut Stage, name: &str, new: &str) -> (String, String) {
    let old = stage.scene.pods.remove(&key(name)).unwrap();
    stage.subject("web").facts.replicas -= 1;
    let subject = &stage.scene.workloads[&workload("web")];
    let siblings = Siblings::of(&stage.scene, subject, stage.scene.pods.values().map(|it| &**it), stage.now);
    let newborn = newborn(subject, &old);
    let created = create(&stage.scene, subject, &siblings, &newborn, stage.now);
    let given = newborn.containers[0].asked;
    let sizes = created.sizes.get("app").copied().unwrap_or(given);
    let now = stage.now;
    let pod = stage.pod("web", new, "n1", &show(&sizes));
    (pod.made, pod.started) = (Some(now.into()), Some(now.into()));
    (pod.ready, pod.unready) = (None, Some(now.into()));
    let sized = (sizes != given).then(|| Box::new([("app".into(), given)].into()));
    Arc::make_mut(&mut pod.shape).sized = sized;
    (show(&old.containers[0].asked), show(&sizes))
}

fn pass(stage: &mut Stage, seconds: i64) {
    stage.now += SignedDuration::from_secs(seconds);
    stage.pass(0); // and is measured
    let now = stage.now;
    let is_due =
        |it: &PodFacts| it.ready.is_none() && it.made.is_some_and(|it| now.duration_since(it.into()).as_secs() >= 30);
    for pod in stage.scene.pods.values_mut().filter(|it| is_due(it)) {
        (pod.ready, pod.unready) = (Some(now.into()), None);
    }
}

/// Every eviction within so many minutes, the loop judging every quarter of one: after how many seconds, from what to what.
fn evictions(stage: &mut Stage, minutes: i64) -> Vec<(i64, String, String)> {
    let (begin, mut all) = (stage.now, Vec::new());
    while stage.now.duration_since(begin) < SignedDuration::from_mins(minutes) {
        let round = stage.decide();
        stage.carry_out(&round);
        let gone: Vec<String> =
            stage.scene.pods.values().filter(|it| it.deleting).map(|it| it.key.name.to_string()).collect();
        assert!(gone.len() <= 1, "{gone:?}");
        for name in gone {
            // Of a stateful set it has the same name, of others another one.
            let is_named = &*stage.scene.workloads[&workload("web")].facts.key.kind == "StatefulSet";
            let new = if is_named { name.clone() } else { format!("web-{}", 3 + all.len()) };
            let (from, to) = make_anew(stage, &name, &new);
            all.push((stage.now.duration_since(begin).as_secs(), from, to));
        }
        pass(stage, 15);
    }
    all
}

#[test]
fn one_pod_takes_a_step_first_then_the_others_and_the_next_step_waits_for_its_cool_down() {
    for kind in ["Deployment", "StatefulSet"] {
        let mut stage = stepping();
        stage.subject("web").facts.key.kind = kind.into();
        let steps = [(0, "400m", "200m"), (3600, "200m", "100m"), (7200, "100m", "50m"), (10800, "50m", "42m")];
        // The first is ready after half a minute, and has settled five minutes later; then each goes when the one before it is ready.
        let expect = steps
            .iter()
            .flat_map(|(at, from, to)| [0, 330, 360].map(|after| (at + after, (*from).to_owned(), (*to).to_owned())));
        assert_eq!(evictions(&mut stage, 5 * 60), expect.collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn what_holds_the_next_one_is_said_and_does_not_hold_what_cannot_wait() {
    let mut stage = stepping();
    assert_eq!(evictions(&mut stage, 1).len(), 1);
    let round = stage.decide();
    check(&round, "web-1", Code::CanarySettling, "nothing");
    check(&round, "web-3", Code::CoolDown, "nothing");
    assert!(decision(&round, "web-3").again > Some(stage.now));
    // It does not serve: nothing is lost with it, and the size is what it needs.
    let now = stage.now;
    (stage.at("web-1").ready, stage.at("web-1").unready) = (None, Some(now.into()));
    check(&stage.decide(), "web-1", Code::Evict, "evict");
}

/// Whoever restarts a workload, and whatever makes its pods anew: each takes the one step that the first of them takes.
#[test]
fn the_pods_of_a_rollout_do_not_each_take_a_step_more_than_the_one_before() {
    for mode in [Mode::Initial, Mode::InPlace, Mode::Recreate] {
        let mut stage = stepping();
        stage.policy("web", |it| it.mode.value = mode);
        let made = ["web-0", "web-1", "web-2"].map(|name| {
            let made = make_anew(&mut stage, name, &format!("{name}-new"));
            pass(&mut stage, 60);
            made.1
        });
        assert_eq!(made, ["200m"; 3], "{mode:?}");
        pass(&mut stage, 3600);
        assert_eq!(make_anew(&mut stage, "web-0-new", "web-3").1, "100m", "{mode:?}");
    }
    // As it is with ours, which waits for the cool-down before it is the next one.
    let mut stage = stepping();
    stage.rolls("web", "Deployment", Rollout::Surge, 0);
    check(&stage.decide(), "web-0", Code::RollOut, "roll out");
    for name in ["web-0", "web-1", "web-2"] {
        make_anew(&mut stage, name, &format!("{name}-new"));
        pass(&mut stage, 60);
    }
    check(&stage.decide(), "web-1-new", Code::CoolDown, "nothing");
    pass(&mut stage, 3600);
    check(&stage.decide(), "web-0-new", Code::RollOut, "roll out");
}
