//! The reference's table of memory decreases against usage (§5.4), and what differs on purpose.

use std::collections::BTreeMap;

use supple_quantity::Bytes;
use supple_resize::actuate::{Decrease, Plan, Target};
use supple_resize::guard::{self, MemoryUsage};

const POD: Target = Target::Pod;

fn container(name: &str) -> Target {
    Target::Container(name.to_owned())
}

fn usage(pod: Option<i64>, containers: &[(&str, i64)]) -> MemoryUsage {
    let containers: BTreeMap<_, _> = containers.iter().map(|(name, it)| ((*name).to_owned(), Bytes(*it))).collect();
    MemoryUsage { pod: pod.map(Bytes), containers }
}

fn lowering(decreases: &[(Target, i64)]) -> Plan {
    let decreases = decreases.iter().map(|(target, to)| Decrease { target: target.clone(), to: Bytes(*to) });
    Plan { decreases: decreases.collect(), ..Plan::default() }
}

#[track_caller]
fn check(decreases: &[(Target, i64)], usage: &MemoryUsage, expected: Option<&str>) {
    let refusal = guard::check(&lowering(decreases), usage).err().map(|it| it.to_string());
    assert_eq!(refusal.as_deref(), expected);
}

#[test]
fn limits_against_usage() {
    let c = || container("c");
    let known = |c: i64, pod: i64| usage(Some(pod), &[("c", c)]);
    check(&[], &usage(None, &[]), None); // a request alone
    check(&[(c(), 100)], &known(10, 10), None);
    check(
        &[(c(), 100)],
        &known(200, 200),
        Some(
            "cannot decrease memory limits: attempting to set container \"c\" memory limit (100) below current usage (200)",
        ),
    );
    check(
        &[(c(), 100)],
        &usage(Some(10), &[]),
        Some("cannot decrease memory limits: missing container \"c\" memory usage"),
    );
    check(&[(c(), 100)], &usage(None, &[("c", 10)]), None);
    check(&[(c(), 100)], &known(20, 20), None);
    check(&[(c(), 100)], &known(99, 99), None);
    check(
        &[(c(), 100)],
        &known(100, 100),
        Some(
            "cannot decrease memory limits: attempting to set container \"c\" memory limit (100) below current usage (100)",
        ),
    );
    check(&[(POD, 100)], &known(20, 20), None);
    check(
        &[(POD, 100)],
        &known(20, 200),
        Some("cannot decrease memory limits: attempting to set pod memory limit (100) below current usage (200)"),
    );
    check(&[(POD, 100)], &usage(None, &[("c", 20)]), Some("cannot decrease memory limits: missing pod memory usage"));
    check(
        &[(POD, 100), (c(), 90)],
        &known(150, 180),
        Some(
            "cannot decrease memory limits: [attempting to set pod memory limit (100) below current usage (180), \
             attempting to set container \"c\" memory limit (90) below current usage (150)]",
        ),
    );
}

#[test]
fn what_a_restarting_container_uses_does_not_count() {
    let mut plan = lowering(&[(POD, 100)]);
    plan.restart.push("c".to_owned());
    assert_eq!(guard::check(&plan, &usage(Some(180), &[("c", 150), ("d", 30)])), Ok(()));
    assert!(guard::check(&plan, &usage(Some(280), &[("c", 150), ("d", 130)])).is_err());
    assert!(guard::check(&plan, &usage(Some(180), &[("d", 30)])).is_err(), "not known: nothing is given back");
}

#[test]
fn a_step_is_checked_for_itself_alone() {
    use supple_resize::actuate::Step;
    use supple_resize::amounts::Resource;
    use supple_resize::kernel::CgroupResources;
    let plan = lowering(&[(POD, 100), (container("c"), 90)]);
    let step = |target: Target, limit: Option<i64>| Step {
        target,
        resource: Resource::Memory,
        write: CgroupResources { memory_limit_bytes: limit, ..CgroupResources::default() },
        request: None,
        limit,
    };
    let usage = usage(Some(150), &[("c", 50), ("d", 100)]);
    assert_eq!(guard::check_step(&plan, &step(container("c"), Some(90)), &usage), Ok(()));
    assert_eq!(guard::check_step(&plan, &step(container("d"), Some(90)), &usage), Ok(()), "d grows");
    assert_eq!(guard::check_step(&plan, &step(POD, None), &usage), Ok(()));
    assert!(guard::check_step(&plan, &step(POD, Some(100)), &usage).is_err());
}
