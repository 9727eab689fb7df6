//! The reference's allocation tables (§4.8): a node of 4 CPU and 4 GiB, of which two other pods hold 1 CPU and 1 GiB each.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use supple_quantity::Bytes;
use supple_resize::allocate::{Allocation, Capacity, Decision, Impossible, NodeView, Used, admit, decide, held};

use crate::support::{classed, milli, pod};

const GIB: i64 = 1 << 30;

fn node() -> NodeView {
    let allocatable = Capacity { cpu: milli(4000), memory: Bytes(4 * GIB), pods: 110 };
    NodeView { allocatable, ..NodeView::default() }
}

const OTHERS: Used = Used { cpu: milli(2000), memory: Bytes(2 * GIB), pods: 2 };

/// `allocate`, `unchanged`, or reason and message.
fn outcome(decision: &Decision) -> String {
    match decision {
        Decision::Unchanged => "unchanged".to_owned(),
        Decision::Allocate(_) => "allocate".to_owned(),
        Decision::Deferred(shortage) => format!("{}: {shortage}", shortage.reason()),
        Decision::Infeasible(why) => format!("{}: {why}", why.detail()),
    }
}

#[test]
fn what_fits_beside_two_other_pods() {
    #[track_caller]
    fn check(old: &str, new: &str, expected: &str) {
        // Regular container, init container and sidecar are decided alike.
        for kind in ["c", "init c", "side c"] {
            let line = |amounts: &str| {
                let rest = if kind == "c" { "" } else { "; main:" };
                format!("{kind}: {amounts}{rest}")
            };
            let (old, new) = (pod(&line(old)), pod(&line(new)));
            let decision = decide(&new, &Allocation::of(&old), &node(), &OTHERS);
            assert_eq!(outcome(&decision), expected, "{kind}");
            if let Decision::Allocate(allocation) = decision {
                assert_eq!(allocation, Allocation::of(&new));
            }
        }
    }
    let base = "R{cpu=1,mem=1Gi}";
    check(base, "R{cpu=500m,mem=500Mi}", "allocate");
    check(base, "R{cpu=1500m,mem=500Mi}", "allocate");
    check(base, "R{cpu=500m,mem=1500Mi}", "allocate");
    check(base, base, "unchanged");
    check(base, "R{cpu=1000m,mem=1024Mi}", "unchanged");
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 2500, used: 2000, capacity: 4000";
    check(base, "R{cpu=2500m,mem=2500Mi}", short);
    check(base, "R{cpu=2,mem=2Gi}", "allocate"); // to the edge
    let short = "OutOfmemory: Node didn't have enough resource: memory, requested: 2621440000, used: 2147483648, capacity: 4294967296";
    check(base, "R{cpu=500m,mem=2500Mi}", short);
    let short = "OutOfmemory: Node didn't have enough resource: memory, requested: 4718592000, used: 2147483648, capacity: 4294967296";
    check(base, "R{cpu=1,mem=4500Mi}", short);
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 5000, used: 2000, capacity: 4000";
    check(base, "R{cpu=5,mem=1Gi}", short);
    check("R{cpu=2m}", "R{cpu=1}", "allocate");
    check("R{cpu=1}", "R{cpu=2m}", "allocate");
    check("R{cpu=10m} L{cpu=10m}", "R{cpu=10m} L{cpu=20m}", "allocate");
    check("R{cpu=10m} L{cpu=20m}", "R{cpu=10m} L{cpu=10m}", "allocate");
    check("R{cpu=1} L{cpu=1}", "R{cpu=1} L{cpu=64}", "allocate"); // limits are not promised
    let short =
        "OutOfcpu: Node didn't have enough resource: cpu, requested: 9223372036854775807, used: 2000, capacity: 4000";
    check(base, "R{cpu=9223372036854775807,mem=1Gi}", short); // would be -1000m if it wrapped
}

#[test]
fn pod_level_resources_are_what_counts() {
    #[track_caller]
    fn check(new: &str, expected: &str) {
        let old = pod("pod: R{cpu=1500m,mem=1500Mi}; c: R{cpu=1,mem=1Gi}");
        assert_eq!(outcome(&decide(&pod(new), &Allocation::of(&old), &node(), &OTHERS)), expected);
    }
    check("pod: R{cpu=2,mem=2Gi}; c: R{cpu=1,mem=1Gi}", "allocate");
    check("pod: R{cpu=1200m,mem=1200Mi}; c: R{cpu=1,mem=1Gi}", "allocate");
    check("pod: R{cpu=1500m,mem=1500Mi}; c: R{cpu=1500m,mem=1Gi}", "allocate");
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 2500, used: 2000, capacity: 4000";
    check("pod: R{cpu=2500m,mem=1500Mi}; c: R{cpu=1,mem=1Gi}", short);
    let short = "OutOfmemory: Node didn't have enough resource: memory, requested: 4718592000, used: 2147483648, capacity: 4294967296";
    check("pod: R{cpu=1500m,mem=4500Mi}; c: R{cpu=1,mem=1Gi}", short);
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 2100, used: 2000, capacity: 4000";
    check("over: R{cpu=100m}; pod: R{cpu=2,mem=2Gi}; c: R{cpu=1,mem=1Gi}", short);
}

#[test]
fn a_shrink_is_never_deferred() {
    let full = Used { cpu: milli(9000), memory: Bytes(9 * GIB), pods: 200 };
    let old = Allocation::of(&pod("c: R{cpu=1,mem=1Gi}"));
    let decision = decide(&pod("c: R{cpu=500m,mem=1Gi}"), &old, &node(), &full);
    assert_eq!(outcome(&decision), "allocate");
    let decision = decide(&pod("c: R{cpu=500m,mem=1025Mi}"), &old, &node(), &full);
    assert!(outcome(&decision).starts_with("OutOfmemory"), "what grows is still asked for");
}

#[test]
fn what_a_configured_node_can_never_do() {
    #[track_caller]
    fn check(node: &NodeView, class: &str, old: &str, new: &str, expected: Option<Impossible>) {
        let decision = decide(&classed(class, new), &Allocation::of(&pod(old)), node, &Used::default());
        match (&decision, expected) {
            (Decision::Infeasible(why), Some(expected)) => assert_eq!(*why, expected),
            (Decision::Allocate(_), None) => {}
            (decision, expected) => panic!("{decision:?}, not {expected:?}"),
        }
    }
    let cpu = NodeView { static_cpu_manager: true, ..node() };
    let memory = NodeView { static_memory_manager: true, ..node() };
    let both = NodeView { static_memory_manager: true, ..cpu };
    let swap = NodeView { limited_swap: true, ..node() };
    let old = "c: R{cpu=1,mem=1Gi} L{cpu=1,mem=1Gi}";
    let more_cpu = "c: R{cpu=2,mem=1Gi} L{cpu=2,mem=1Gi}";
    let more_memory = "c: R{cpu=1,mem=2Gi} L{cpu=1,mem=2Gi}";
    let more = "c: R{cpu=2,mem=2Gi} L{cpu=2,mem=2Gi}";
    check(&cpu, "Guaranteed", old, more_cpu, Some(Impossible::StaticCpuManager));
    check(&cpu, "Guaranteed", old, more_memory, None);
    check(&memory, "Guaranteed", old, more_memory, Some(Impossible::StaticMemoryManager));
    check(&memory, "Guaranteed", old, more_cpu, None);
    check(&both, "Guaranteed", old, more, Some(Impossible::StaticCpuManager));
    check(&node(), "Guaranteed", old, more, None);
    let side = |amounts: &str| format!("side s: {amounts}; c: R{{cpu=1,mem=1Gi}} L{{cpu=1,mem=1Gi}}");
    let (old, new) = (side("R{cpu=1,mem=1Gi} L{cpu=1,mem=1Gi}"), side("R{cpu=2,mem=1Gi} L{cpu=2,mem=1Gi}"));
    check(&cpu, "Guaranteed", &old, &new, Some(Impossible::StaticCpuManager));
    let (old, new) = ("c: R{cpu=1,mem=1Gi} L{mem=3Gi}", "c: R{cpu=1,mem=1Gi} L{mem=4Gi}");
    check(&both, "Burstable", old, new, None);
    check(&swap, "Burstable", old, new, None); // its request stays
    let new = "c: R{cpu=1,mem=2Gi} L{mem=3Gi}";
    check(&swap, "Burstable", old, new, Some(Impossible::Swap));
    check(&node(), "Burstable", old, new, None);
    check(&swap, "Guaranteed", old, new, None);
    check(&swap, "Burstable", old, &format!("{new} rp[memory Restart]"), None);
    check(&swap, "Burstable", "c: R{mem=1Gi} L{mem=1Gi}; d:", "c: R{mem=2Gi} L{mem=2Gi}; d:", None); // request = limit
}

#[test]
fn a_new_pod_is_admitted_while_there_is_room() {
    #[track_caller]
    fn check(line: &str, others: Used, expected: Option<&str>) {
        let refusal = admit(&pod(line), &node(), &others).err();
        assert_eq!(refusal.map(|it| format!("{}: {it}", it.reason())).as_deref(), expected);
    }
    check("c: R{cpu=2,mem=2Gi}", OTHERS, None);
    check("c:", Used { cpu: milli(5000), ..OTHERS }, None);
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 2001, used: 2000, capacity: 4000";
    check("c: R{cpu=2001m,mem=9Gi}", OTHERS, Some(short));
    let short = "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110";
    check("c: R{cpu=9}", Used { pods: 110, ..OTHERS }, Some(short));
    check("init i: R{cpu=2}; side s: R{cpu=500m}; c: R{cpu=1500m}", OTHERS, None);
    let short = "OutOfcpu: Node didn't have enough resource: cpu, requested: 2500, used: 2000, capacity: 4000";
    check("side s: R{cpu=500m}; init i: R{cpu=2}; c: R{cpu=1500m}", OTHERS, Some(short));
}

/// A pod whose only container reports these requests, and was promised those.
fn reporting(line: &str, in_force: &str, promised: &str) -> Pod {
    let requests = |text: &str| crate::support::requirements(text).and_then(|it| it.requests);
    let status = ContainerStatus {
        name: "c".to_owned(),
        resources: crate::support::requirements(in_force),
        allocated_resources: requests(promised),
        ..ContainerStatus::default()
    };
    Pod { status: Some(PodStatus { container_statuses: Some(vec![status]), ..PodStatus::default() }), ..pod(line) }
}

#[test]
fn another_pod_holds_the_greater_of_allocated_and_reported() {
    #[track_caller]
    fn check(pod: &Pod, cpu: i64, memory: i64) {
        let held = held(pod, &Allocation::of(pod));
        assert_eq!((held.cpu_request, held.memory_request.0 >> 20), (milli(cpu), memory));
    }
    check(&pod("c: R{cpu=1,mem=1Gi}"), 1000, 1024);
    check(&reporting("c: R{cpu=1,mem=1Gi}", "R{cpu=2,mem=512Mi}", "R{cpu=1,mem=1Gi}"), 2000, 1024);
    check(&reporting("c: R{cpu=1,mem=1Gi}", "R{cpu=500m,mem=512Mi}", "R{cpu=3,mem=2Gi}"), 3000, 2048);
    check(&reporting("over: R{cpu=100m}; c: R{cpu=1}; d: R{cpu=200m}", "R{cpu=2}", ""), 2300, 0);
    let mut level = pod("over: R{cpu=100m}; pod: R{cpu=1}; c: R{cpu=500m}");
    check(&level, 1100, 0);
    let resources = crate::support::requirements("R{cpu=2100m,mem=1Gi}");
    level.status = Some(PodStatus { resources, ..PodStatus::default() });
    check(&level, 2100, 0);
}

#[test]
fn used_counts_pods_and_never_overflows() {
    let mut used = Used::default();
    let large = pod("c: R{cpu=9000000000000000,mem=8Ei}");
    for _ in 0..3 {
        used.add(&large, &Allocation::of(&large));
    }
    assert_eq!(used.pods, 3);
    assert_eq!((used.cpu, used.memory), (milli(i64::MAX), Bytes(i64::MAX)));
}

#[test]
fn an_allocation_is_what_the_worker_sees() {
    let desired = pod("pod: R{cpu=2} L{cpu=3}; side s: R{cpu=200m}; c: R{cpu=1,mem=1Gi} L{mem=2Gi}");
    let before = pod("side s: R{cpu=100m}; c: R{cpu=500m}");
    let view = Allocation::of(&before).applied_to(&desired);
    assert_eq!(Allocation::of(&view), Allocation::of(&before));
    assert_eq!(Allocation::of(&desired).applied_to(&before), desired);
    let text = serde_json::to_string(&Allocation::of(&desired)).expect("plain data");
    let again: Allocation = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again, Allocation::of(&desired));
    assert!(Allocation::of(&pod("c: R{cpu=0.1}")).same_as(&Allocation::of(&pod("c: R{cpu=100m}"))));
    assert!(Allocation::of(&pod("c: R{}")).same_as(&Allocation::of(&pod("c:"))));
    assert!(!Allocation::of(&pod("c: R{cpu=0}")).same_as(&Allocation::of(&pod("c:"))), "a key that was not there");
}
