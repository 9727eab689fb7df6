//! What an eviction is for: `evictionRequirements`, asked of what would be set.

use std::sync::Arc;

use supple_decide::code::Code;
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
        let used = stage.used(name).clone();
        let uses = stage.scene.uses.get_mut(&key(name)).unwrap();
        containers.iter().for_each(|(name, ..)| drop(uses.insert((*name).into(), used.clone())));
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
