//! The invariants of design §3 over any pods and any resizes: what a node promises, and what is true after each step.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use supple_quantity::Bytes;
use supple_resize::actuate::{Step, Target, container_amounts, in_progress, pod_amounts};
use supple_resize::allocate::{Allocation, Capacity, Decision, NodeView, Used, admit, decide, restarts_for};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::guard::{self, MemoryUsage};
use supple_resize::kernel::{self, CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::resources::{containers, pod_limits, pod_requests};

use crate::actuate::{Settled, plan_for, settled};
use crate::support::{milli, pod};
use crate::times::times;

/// One of the four numbers through three sizes: absent first, perhaps, but never again once there (the API refuses a
/// removal). In units of 50m and 1Mi, so that no two are alike to a weight.
#[derive(Clone, Copy, Debug)]
struct Amount {
    since: usize,
    units: [u32; 3],
}

impl Amount {
    fn at(&self, size: usize) -> Option<u32> {
        (size >= self.since).then(|| self.units[size])
    }
}

fn any_amount() -> impl Strategy<Value = Amount> {
    (0..5_usize, [1..20_u32, 1..20, 1..20]).prop_map(|(since, units)| Amount { since: since.saturating_sub(1), units })
}

/// Request and limit.
type Pair = (Option<u32>, Option<u32>);

/// A container through three sizes.
#[derive(Clone, Debug)]
struct Shape {
    kind: &'static str,
    cpu: (Amount, Amount),
    memory: (Amount, Amount),
    policy: (bool, bool),
}

impl Shape {
    /// Request and limit at a size; the request never exceeds the limit.
    fn pair((request, limit): (Amount, Amount), size: usize) -> Pair {
        let limit = limit.at(size);
        (request.at(size).map(|it| it.min(limit.unwrap_or(u32::MAX))), limit)
    }

    fn line(&self, index: usize, size: usize) -> String {
        let (cpu, memory) = (Self::pair(self.cpu, size), Self::pair(self.memory, size));
        let policy = |restart: bool| if restart { "Restart" } else { "Not" };
        let policies = format!("cpu {}, mem {}", policy(self.policy.0), policy(self.policy.1));
        let lists = lists(cpu, memory);
        format!("{}c{index}: {lists} rp[{policies}]", self.kind)
    }
}

fn lists(cpu: Pair, memory: Pair) -> String {
    let list = |cpu: Option<u32>, memory: Option<u32>| {
        let cpu = cpu.map(|it| format!("cpu={}m", it * 50));
        let memory = memory.map(|it| format!("mem={it}Mi"));
        cpu.into_iter().chain(memory).collect::<Vec<_>>().join(",")
    };
    format!("R{{{}}} L{{{}}}", list(cpu.0, memory.0), list(cpu.1, memory.1))
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![3 => Just(""), 1 => Just("side "), 1 => Just("init ")];
    let pair = || (any_amount(), any_amount());
    (kind, pair(), pair(), any::<(bool, bool)>()).prop_map(|(kind, cpu, memory, policy)| Shape {
        kind,
        cpu,
        memory,
        policy,
    })
}

/// One pod in three sizes, with pod-level resources or without.
pub fn any_pod() -> impl Strategy<Value = [String; 3]> {
    let level = proptest::option::of([0..10_u32, 0..10, 0..10]);
    (proptest::collection::vec(any_shape(), 1..4), level).prop_map(|(shapes, level)| {
        [0, 1, 2].map(|size| {
            let lines: Vec<String> = shapes.iter().enumerate().map(|(index, it)| it.line(index, size)).collect();
            let mut line = lines.join("; ");
            if let Some(spare) = level {
                // At least what the containers ask for together, and no less than any of their limits.
                let of = |side: fn(&Shape, usize) -> Pair| {
                    let requests: u32 = shapes.iter().filter_map(|it| side(it, size).0).sum();
                    let limit = shapes.iter().filter_map(|it| side(it, size).1).max().unwrap_or(0);
                    (Some(requests + 1), Some(requests.max(limit) + 1 + spare[size]))
                };
                let cpu = of(|it, size| Shape::pair(it.cpu, size));
                let memory = of(|it, size| Shape::pair(it.memory, size));
                line = format!("pod: {}; {line}", lists(cpu, memory));
            }
            line
        })
    })
}

/// What the machine has after a step was written.
fn write(machine: &mut Settled, step: &Step) {
    let cgroup = match &step.target {
        Target::Pod => &mut machine.cgroup,
        Target::Container(name) => machine.running.get_mut(name).expect("only running containers are updated"),
    };
    *cgroup = cgroup.with(&step.write);
}

/// Carry out a plan; `until` steps are recorded, one more perhaps only written. Checks the invariants after each.
fn carry_out(pod: &Pod, machine: &mut Settled, until: usize, one_more: bool) {
    let plan = plan_for(pod, machine);
    for container in &plan.restart {
        machine.running.remove(container);
    }
    for (index, step) in plan.steps.iter().enumerate() {
        if index < until || (index == until && one_more) {
            write(machine, step);
        }
        if index < until {
            machine.actuated.record(step);
            // Shares are compared as requests: a container that starts without a request starts with its limit's.
            assert_in_order(machine, step);
        }
    }
}

const fn or_infinite(limit: i64) -> i64 {
    if limit <= 0 { i64::MAX } else { limit }
}

/// request ≤ limit in every cgroup, and no child beyond its parent: by the record and as written.
fn assert_in_order(machine: &Settled, step: &Step) {
    let parent = machine.actuated.pod.expect("created");
    let mut all = vec![parent];
    for (name, cgroup) in &machine.running {
        let child = machine.actuated.containers[name];
        for resource in [Resource::Cpu, Resource::Memory] {
            let (child, parent) = (child.get(resource, Requirement::Limit), parent.get(resource, Requirement::Limit));
            assert!(or_infinite(child) <= or_infinite(parent), "{name} {resource:?} after {step:?}");
        }
        let quota = |it: &CgroupResources| or_infinite(it.cpu_quota_us.expect("written"));
        assert!(quota(cgroup) <= quota(&machine.cgroup), "{name} quota after {step:?}");
        let memory = |it: &CgroupResources| or_infinite(it.memory_limit_bytes.expect("written"));
        assert!(memory(cgroup) <= memory(&machine.cgroup), "{name} memory after {step:?}");
        assert!(cgroup.cpu_shares <= machine.cgroup.cpu_shares, "{name} shares after {step:?}");
        all.push(child);
    }
    for cgroup in machine.running.values().chain([&machine.cgroup]) {
        let request = kernel::milli_from_shares(cgroup.cpu_shares.expect("written"));
        assert!(cgroup.cpu_limit().is_none_or(|limit| request <= limit), "{cgroup:?} after {step:?}");
    }
    for amounts in all {
        for resource in [Resource::Cpu, Resource::Memory] {
            let limit = or_infinite(amounts.get(resource, Requirement::Limit));
            assert!(amounts.get(resource, Requirement::Request) <= limit, "{amounts:?} after {step:?}");
        }
    }
}

/// Start what does not run, as the node does after the steps.
fn start(pod: &Pod, machine: &mut Settled) {
    for container in containers(pod).map(|it| it.container) {
        if !machine.running.contains_key(&container.name) {
            let amounts = container_amounts(pod, &container.name).expect("its own");
            machine.actuated.container_starting(&container.name, amounts);
            machine.running.insert(container.name.clone(), CgroupResources::of(&amounts, DEFAULT_PERIOD_US));
        }
    }
}

/// Everything is as allocated, in the record and in the cgroups.
fn assert_arrived(pod: &Pod, machine: &Settled) {
    assert!(!in_progress(pod, &machine.actuated, |it| machine.running.contains_key(it)));
    assert!(plan_for(pod, machine).is_empty(), "a second plan has nothing to do");
    for (name, cgroup) in &machine.running {
        let amounts = container_amounts(pod, name).expect("its own");
        assert_eq!(cgroup, &CgroupResources::of(&amounts, DEFAULT_PERIOD_US), "{name}");
    }
    assert_eq!(machine.cgroup, CgroupResources::of(&pod_amounts(pod), DEFAULT_PERIOD_US));
}

/// What a node does first after it was killed.
fn adopt(pod: &Pod, machine: &mut Settled) {
    machine.actuated.adopt(pod, &Target::Pod, &machine.cgroup);
    for (name, cgroup) in &machine.running {
        machine.actuated.adopt(pod, &Target::Container(name.clone()), cgroup);
    }
}

proptest! {
    #![proptest_config(times(512))]

    /// What the node sums as integers is what the API server sums as quantities.
    #[test]
    fn the_two_sums_of_a_pod_agree(lines in any_pod(), overhead in any::<bool>()) {
        for line in lines {
            let pod = pod(&if overhead { format!("over: R{{cpu=30m,mem=3Mi}}; {line}") } else { line });
            let sum = Allocation::of(&pod).requests(&pod);
            let (requests, limits) = (pod_requests(&pod), pod_limits(&pod));
            prop_assert_eq!((sum.cpu_request, sum.memory_request), (requests.cpu(), requests.memory()));
            prop_assert_eq!((sum.cpu_limit, sum.memory_limit), (limits.cpu(), limits.memory()));
        }
    }

    #[test]
    fn a_plan_arrives_and_every_step_is_in_order([first, second, third] in any_pod()) {
        let mut machine = settled(&first);
        for line in [second, third] {
            let pod = pod(&line);
            carry_out(&pod, &mut machine, usize::MAX, false);
            start(&pod, &mut machine);
            assert_arrived(&pod, &machine);
        }
    }

    #[test]
    fn a_killed_plan_goes_on_to_the_same_end(
        [first, second, third] in any_pod(),
        until in 0..16_usize,
        one_more in any::<bool>(),
        changed_mind in any::<bool>(),
    ) {
        let mut machine = settled(&first);
        carry_out(&pod(&second), &mut machine, until, one_more);
        adopt(&pod(&second), &mut machine);
        // After the start the same size is still allocated, or another one is by now.
        let pod = pod(if changed_mind { &third } else { &second });
        carry_out(&pod, &mut machine, usize::MAX, false);
        start(&pod, &mut machine);
        assert_arrived(&pod, &machine);
    }

    #[test]
    fn containers_that_died_find_their_pod_resized([first, second, _third] in any_pod(), dead in any::<[bool; 4]>()) {
        let mut machine = settled(&first);
        let mut dead = dead.into_iter();
        machine.running.retain(|_, _| !dead.next().unwrap_or_default());
        let pod = pod(&second);
        carry_out(&pod, &mut machine, usize::MAX, false);
        prop_assert_eq!(machine.cgroup, CgroupResources::of(&pod_amounts(&pod), DEFAULT_PERIOD_US));
        start(&pod, &mut machine);
        assert_arrived(&pod, &machine);
    }

    #[test]
    fn only_what_asks_for_a_restart_is_restarted([first, second, _third] in any_pod()) {
        let (machine, pod) = (settled(&first), pod(&second));
        let plan = plan_for(&pod, &machine);
        for container in containers(&pod).map(|it| it.container) {
            let old = machine.actuated.containers[&container.name];
            let new = container_amounts(&pod, &container.name).expect("its own");
            let asks = [Resource::Cpu, Resource::Memory]
                .into_iter()
                .any(|it| restarts_for(container, it) && !old.same(&new, it));
            prop_assert_eq!(plan.restart.contains(&container.name), asks);
            let updated = plan.steps.iter().any(|it| it.target == Target::Container(container.name.clone()));
            prop_assert!(!(asks && updated), "what restarts is not also updated");
        }
    }

    #[test]
    fn no_memory_limit_goes_to_or_below_usage([first, second, _third] in any_pod(), used in any::<[u16; 4]>()) {
        let (mut machine, pod) = (settled(&first), pod(&second));
        let plan = plan_for(&pod, &machine);
        // Up to 20 MiB each, within the limit in force.
        let used = used.map(|it| i64::from(it) * 320);
        let within = |cgroup: &CgroupResources, it: i64| Bytes(cgroup.memory_limit().map_or(it, |limit| it.min(limit.0)));
        let names: Vec<String> = machine.running.keys().cloned().collect();
        let containers: BTreeMap<String, Bytes> =
            names.into_iter().zip(used).map(|(name, it)| { let it = within(&machine.running[&name], it); (name, it) }).collect();
        let total = containers.values().map(|it| it.0).sum();
        let usage = MemoryUsage { pod: Some(within(&machine.cgroup, total)), containers };
        if guard::check(&plan, &usage).is_ok() {
            let restarting: i64 = plan.restart.iter().map(|it| usage.containers[it].0).sum();
            for step in &plan.steps {
                let before = match &step.target {
                    Target::Pod => machine.cgroup,
                    Target::Container(name) => machine.running[name],
                };
                let limit = step.write.memory_limit_bytes.map(or_infinite);
                let lowered = limit.is_some_and(|it| before.memory_limit().is_none_or(|before| it < before.0));
                if let (Some(limit), true) = (limit, lowered) {
                    let uses = match &step.target {
                        Target::Pod => usage.pod.expect("known").0 - restarting,
                        Target::Container(name) => usage.containers[name].0,
                    };
                    prop_assert!(limit > uses, "{step:?} below {uses}");
                }
                write(&mut machine, step);
            }
        }
    }

    #[test]
    fn a_node_never_promises_more_than_it_has(
        pods in proptest::collection::vec(any_pod(), 1..6),
        asked in proptest::collection::vec((0..6_usize, 0..3_usize), 0..24),
        cpu in 500..4000_i64,
        memory in 10..120_i64,
    ) {
        let allocatable = Capacity { cpu: milli(cpu), memory: Bytes(memory << 20), pods: 110 };
        let node = NodeView { allocatable, ..NodeView::default() };
        let mut held: BTreeMap<usize, (Pod, Allocation)> = BTreeMap::new();
        let others = |held: &BTreeMap<usize, (Pod, Allocation)>, but: usize| {
            let mut used = Used::default();
            held.iter().filter(|(index, _)| **index != but).for_each(|(_, (pod, it))| used.add(pod, it));
            used
        };
        for (index, lines) in pods.iter().enumerate() {
            let pod = pod(&lines[0]);
            if admit(&pod, &node, &others(&held, index)).is_ok() {
                let allocation = Allocation::of(&pod);
                held.insert(index, (pod, allocation));
            }
        }
        for (index, size) in asked {
            if let Some((_, old)) = held.get(&index) {
                let desired = pod(&pods[index][size]);
                if let Decision::Allocate(allocation) = decide(&desired, old, &node, &others(&held, index)) {
                    held.insert(index, (desired, allocation));
                }
            }
            let all = others(&held, usize::MAX);
            prop_assert!(all.cpu.0 <= cpu && all.memory.0 <= memory << 20, "{all:?} of {allocatable:?}");
        }
    }
}
