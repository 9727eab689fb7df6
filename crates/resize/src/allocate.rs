//! What the node promises: whether a desired size fits, must wait, or can never be on this node (reference §4.3).
//!
//! Three copies of a pod's resources exist on a node. *Desired* is the pod spec in the API; *allocated* is what the node
//! has promised ([`Allocation`], checkpointed); *actuated* is what the cgroups have been given ([`crate::actuate`]).
//! [`decide`] moves desired to allocated, for the whole pod or not at all.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

use crate::amounts::{Amounts, Requirement, Resource, containers, effective, overhead, requests_of};
use crate::qos::{self, QosClass};
use crate::semantic::requirements_equal as same;

/// What a node has promised one pod: the content of its "allocated" checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Per container (regular, sidecar and init): the whole requirements, also of resources that cannot be resized.
    pub containers: BTreeMap<String, ResourceRequirements>,
    /// `spec.resources` of the pod, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ResourceRequirements>,
}

impl Allocation {
    /// The resources of a pod as its spec states them.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        Self {
            containers: containers(pod).map(|it| (it.name.clone(), it.resources.clone().unwrap_or_default())).collect(),
            pod: spec.and_then(|it| it.resources.clone()),
        }
    }

    /// Whether it is [`Allocation::of`] this pod, word by word.
    #[must_use]
    pub fn is_of(&self, pod: &Pod) -> bool {
        let nothing = ResourceRequirements::default();
        let is_own = |it: &Container| {
            self.containers.get(&it.name).is_some_and(|own| it.resources.as_ref().unwrap_or(&nothing) == own)
        };
        containers(pod).count() == self.containers.len()
            && containers(pod).all(is_own)
            && self.pod.as_ref() == pod.spec.as_ref().and_then(|it| it.resources.as_ref())
    }

    /// What a pod was promised as its status in the API reports it: each container's requests (limits are not reported,
    /// those of the spec stand in). For whoever is not the node; the node has its checkpoint.
    #[must_use]
    pub fn reported(pod: &Pod) -> Self {
        let mut allocation = Self::of(pod);
        let status = pod.status.as_ref();
        let init = status.and_then(|it| it.init_container_statuses.as_ref()).into_iter().flatten();
        for status in init.chain(status.and_then(|it| it.container_statuses.as_ref()).into_iter().flatten()) {
            // A container that is reported without allocated resources was promised none.
            let reported = status.resources.is_some() || status.allocated_resources.is_some();
            if let Some(own) = allocation.containers.get_mut(&status.name).filter(|_| reported) {
                own.requests.clone_from(&status.allocated_resources);
            }
        }
        let promised = status.and_then(|it| it.allocated_resources.as_ref());
        if let (Some(level), Some(promised)) = (allocation.pod.as_mut(), promised) {
            restate(level, &requests_of(Some(promised)), REQUEST, pod);
        }
        allocation
    }

    /// The pod as its worker is to see it: its spec with the allocated resources in place of the desired ones.
    #[must_use]
    pub fn applied_to(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        if let Some(spec) = pod.spec.as_mut() {
            for container in spec.init_containers.iter_mut().flatten().chain(spec.containers.iter_mut()) {
                if let Some(allocated) = self.containers.get(&container.name) {
                    container.resources = Some(allocated.clone());
                }
            }
            spec.resources.clone_from(&self.pod);
        }
        pod
    }

    /// The effective amounts of a pod with this allocation, overhead included. `pod` gives the shape (which containers
    /// are sidecars), its own resources are not looked at.
    #[must_use]
    pub fn requests(&self, pod: &Pod) -> Amounts {
        effective(pod, Amounts::of(self.pod.as_ref()), |it| Amounts::of(self.containers.get(&it.name)))
    }

    /// Whether two allocations are the same by value: `0.1` and `100m` are one CPU request, an empty list and none too.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.containers.len() == other.containers.len()
            && self
                .containers
                .iter()
                .all(|(name, it)| other.containers.get(name).is_some_and(|other| same(Some(it), Some(other))))
            && same(self.pod.as_ref(), other.pod.as_ref())
    }
}

/// What a node offers to pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Allocatable CPU.
    pub cpu: MilliCpu,
    /// Allocatable memory.
    pub memory: Bytes,
    /// How many pods it takes.
    pub pods: u32,
}

/// What the decision needs to know of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// `status.allocatable`.
    pub allocatable: Capacity,
    /// CPU manager policy `static`: Guaranteed pods may own whole cores, which cannot be taken back in place.
    pub static_cpu_manager: bool,
    /// Memory manager policy `Static`.
    pub static_memory_manager: bool,
    /// Swap behaviour `LimitedSwap` on cgroup v2 with a swap controller.
    pub limited_swap: bool,
}

/// What the other active pods of the node hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Requests, milli-CPU.
    pub cpu: MilliCpu,
    /// Requests, bytes.
    pub memory: Bytes,
    /// Number of pods.
    pub pods: u32,
}

/// A resource of the node that ran out; its display is the reference's message (`predicate.go`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}")]
#[serde(rename_all = "camelCase")]
pub struct Shortage {
    /// `pods`, `cpu` or `memory`: the first that does not fit.
    pub resource: ShortResource,
    /// What the whole pod asks for, overhead included (milli-CPU, bytes, or 1 pod).
    pub requested: i64,
    /// What the other pods hold.
    pub used: i64,
    /// What the node has.
    pub capacity: i64,
}

/// A resource that a node can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortResource {
    /// The number of pods.
    Pods,
    /// CPU requests.
    Cpu,
    /// Memory requests.
    Memory,
}

impl std::fmt::Display for ShortResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::Cpu => Resource::Cpu.as_str(),
            Self::Memory => Resource::Memory.as_str(),
        })
    }
}

impl Shortage {
    /// The admission reason as the event prints it: `OutOfcpu`, `OutOfmemory`, `OutOfpods`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.resource {
            ShortResource::Pods => "OutOfpods",
            ShortResource::Cpu => "OutOfcpu",
            ShortResource::Memory => "OutOfmemory",
        }
    }
}

/// Why a resize can never be done on this node in its configuration. Its display is the condition's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Impossible {
    /// The container has swap, and its memory request would change without a restart.
    #[error("In-place resize of containers with swap is not supported.")]
    Swap,
    /// A Guaranteed pod's CPU request on a node that pins CPUs.
    #[error("Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"")]
    StaticCpuManager,
    /// A Guaranteed pod's memory request on a node that pins memory.
    #[error("Resize is infeasible for Guaranteed Pods alongside Memory Manager policy \"Static\"")]
    StaticMemoryManager,
}

impl Impossible {
    /// Stable detail, as the reference's metric labels it.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Swap => "swap_limitation",
            Self::StaticCpuManager => "guaranteed_pod_cpu_manager_static_policy",
            Self::StaticMemoryManager => "guaranteed_pod_memory_manager_static_policy",
        }
    }
}

/// What becomes of a desired size.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is what the pod has already; a pending condition is to be cleared.
    Unchanged,
    /// It fits: write this checkpoint, then actuate.
    Allocate(Allocation),
    /// It does not fit now: keep it in the queue.
    Deferred(Shortage),
    /// It cannot be on this node: drop it from the queue until the spec changes or the node restarts.
    Infeasible(Impossible),
}

/// Decide on the size a pod desires. `others` is what all other active pods hold (see [`Used::add`]).
///
/// Capacity is asked only for a resource whose request grows: one that stays or falls cannot break a promise, so that a
/// pod on a node that has become too small can still shrink (the reference defers that too).
#[must_use]
pub fn decide(desired: &Pod, allocated: &Allocation, node: &NodeView, others: &Used) -> Decision {
    let wanted = Allocation::of(desired);
    if wanted.same_as(allocated) {
        return Decision::Unchanged;
    }
    if let Some(why) = impossible(desired, allocated, node) {
        return Decision::Infeasible(why);
    }
    let old = allocated.requests(desired);
    let new = wanted.requests(desired);
    match shortage(node, others, &new, |resource| new.get(resource, REQUEST) > old.get(resource, REQUEST)) {
        Some(shortage) => Decision::Deferred(shortage),
        None => Decision::Allocate(wanted),
    }
}

/// Whether a pod that is new on the node fits. The error's [`Shortage::reason`] is the failed pod's `status.reason`.
///
/// # Errors
/// The first resource that does not fit.
pub fn admit(pod: &Pod, node: &NodeView, others: &Used) -> Result<(), Shortage> {
    if others.pods >= node.allocatable.pods {
        return Err(Shortage {
            resource: ShortResource::Pods,
            requested: 1,
            used: i64::from(others.pods),
            capacity: i64::from(node.allocatable.pods),
        });
    }
    let requests = Allocation::of(pod).requests(pod);
    shortage(node, others, &requests, |_| true).map_or(Ok(()), Err)
}

const REQUEST: Requirement = Requirement::Request;

/// Put the pod's amounts from its status in the place of what its spec states at pod level, keys that it states only. The
/// status counts the overhead in, and lists more than the pod level states.
pub(crate) fn restate(level: &mut ResourceRequirements, amounts: &Amounts, requirement: Requirement, pod: &Pod) {
    let list = match requirement {
        Requirement::Request => &mut level.requests,
        Requirement::Limit => &mut level.limits,
    };
    let overhead = overhead(pod);
    for resource in [Resource::Cpu, Resource::Memory] {
        let amount = amounts.get(resource, requirement).saturating_sub(overhead.get(resource, REQUEST));
        if let Some(own) = list.as_mut().and_then(|it| it.get_mut(resource.as_str())).filter(|_| amount > 0) {
            own.0 = resource.quantity(amount).to_string();
        }
    }
}

/// The first resource, among those asked about, of which the node has too little. A pod that requests none of a resource
/// is never short of it, even where others hold more than there is.
fn shortage(node: &NodeView, others: &Used, requests: &Amounts, asked: impl Fn(Resource) -> bool) -> Option<Shortage> {
    let short = |resource, used: i64, capacity: i64| {
        let requested = requests.get(resource, REQUEST);
        let fits = requested == 0 || requested <= capacity.saturating_sub(used);
        let resource_name = match resource {
            Resource::Cpu => ShortResource::Cpu,
            Resource::Memory => ShortResource::Memory,
        };
        (asked(resource) && !fits).then_some(Shortage { resource: resource_name, requested, used, capacity })
    };
    short(Resource::Cpu, others.cpu.0, node.allocatable.cpu.0)
        .or_else(|| short(Resource::Memory, others.memory.0, node.allocatable.memory.0))
}

/// Why the change from `allocated` to `desired` can never be on this node, if so; in the reference's order.
fn impossible(desired: &Pod, allocated: &Allocation, node: &NodeView) -> Option<Impossible> {
    let class = qos::recorded(desired);
    let changed = |resource| {
        containers(desired).filter(move |it| {
            let old = Amounts::of(allocated.containers.get(&it.name));
            let new = Amounts::of(it.resources.as_ref());
            old.get(resource, REQUEST) != new.get(resource, REQUEST)
        })
    };
    let swaps = |requirements: Option<&ResourceRequirements>| {
        let amounts = Amounts::of(requirements);
        amounts.memory_request != amounts.memory_limit
    };
    let may_swap = node.limited_swap && class == QosClass::Burstable && !is_critical(desired);
    if may_swap
        && changed(Resource::Memory).any(|it| {
            !restarts_for(it, Resource::Memory)
                && (swaps(it.resources.as_ref()) || swaps(allocated.containers.get(&it.name)))
        })
    {
        return Some(Impossible::Swap);
    }
    if class != QosClass::Guaranteed {
        return None;
    }
    if node.static_cpu_manager && changed(Resource::Cpu).next().is_some() {
        return Some(Impossible::StaticCpuManager);
    }
    (node.static_memory_manager && changed(Resource::Memory).next().is_some())
        .then_some(Impossible::StaticMemoryManager)
}

/// Priority from which a pod is critical to node or cluster (`system-node-critical`, `system-cluster-critical`).
const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether a pod is critical: such pods get no swap.
fn is_critical(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|it| it.priority).is_some_and(|it| it >= SYSTEM_CRITICAL_PRIORITY)
}

/// Whether a change of this resource restarts the container by its resize policy; absent means it does not.
#[must_use]
pub fn restarts_for(container: &Container, resource: Resource) -> bool {
    let policies = container.resize_policy.iter().flatten();
    policies.into_iter().any(|it| it.resource_name == resource.as_str() && it.restart_policy == "RestartContainer")
}

impl Used {
    /// Count one more active pod: per container the greater of what it was allocated and what its status still reports
    /// (a shrink frees room only once the cgroup has shrunk). `pod` is read for its status, which may be newer than the
    /// API's: a node need not wait for its own report to come back, as the reference does.
    pub fn add(&mut self, pod: &Pod, allocated: &Allocation) {
        let held = held(pod, allocated);
        self.cpu.0 = self.cpu.0.saturating_add(held.cpu_request.0);
        self.memory.0 = self.memory.0.saturating_add(held.memory_request.0);
        self.pods = self.pods.saturating_add(1);
    }
}

/// What a pod holds on the node: the greater of allocated and reported requests, overhead included.
#[must_use]
pub fn held(pod: &Pod, allocated: &Allocation) -> Amounts {
    let status = pod.status.as_ref();
    let statuses = || {
        let init = status.and_then(|it| it.init_container_statuses.as_ref()).into_iter().flatten();
        init.chain(status.and_then(|it| it.container_statuses.as_ref()).into_iter().flatten())
    };
    let mut level = Amounts::of(allocated.pod.as_ref());
    if level.cpu_request.0 != 0 || level.memory_request.0 != 0 {
        // The status of the pod includes its overhead; `effective` is about to add it once more.
        let overhead = overhead(pod);
        let reported = Amounts::of(status.and_then(|it| it.resources.as_ref()));
        let promised = requests_of(status.and_then(|it| it.allocated_resources.as_ref()));
        let reported = reported.max(promised);
        let only_where_set = |level: i64, reported: i64, overhead: i64| {
            if level == 0 { 0 } else { level.max(reported.saturating_sub(overhead)) }
        };
        level.cpu_request.0 = only_where_set(level.cpu_request.0, reported.cpu_request.0, overhead.cpu_request.0);
        level.memory_request.0 =
            only_where_set(level.memory_request.0, reported.memory_request.0, overhead.memory_request.0);
    }
    effective(pod, level, |container| {
        let allocated = Amounts::of(allocated.containers.get(&container.name));
        let Some(status) = statuses().find(|it| it.name == container.name) else { return allocated };
        let reported = Amounts::of(status.resources.as_ref());
        allocated.max(reported).max(requests_of(status.allocated_resources.as_ref()))
    })
}
