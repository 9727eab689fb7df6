//! The four numbers a resize moves (CPU and memory, request and limit) as integers, and how they are read from a spec.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu, Quantity};

use crate::resources::{CPU, ContainerKind, MEMORY, WireList, resizable_containers, wire_quantity};

/// The two resources that can be resized in place; all others are immutable (reference §2.1 V14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// `cpu`, counted in thousandths of a core.
    Cpu,
    /// `memory`, counted in bytes.
    Memory,
}

impl Resource {
    /// The key in a resource list: `cpu` or `memory`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => CPU,
            Self::Memory => MEMORY,
        }
    }

    /// An amount (milli-CPU or bytes) as the reference prints one it has computed: CPU decimal, memory binary.
    #[must_use]
    pub const fn quantity(self, amount: i64) -> Quantity {
        match self {
            Self::Cpu => Quantity::milli_units(amount),
            Self::Memory => Quantity::binary(amount),
        }
    }
}

/// What a container asked for (request) or may use at most (limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// `requests`.
    Request,
    /// `limits`.
    Limit,
}

/// The four numbers of one container or of a pod. Zero means "not set": the node treats a missing value and an explicit
/// zero alike (reference §4.7), which is why these are not `Option`s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Amounts {
    /// `requests.cpu`.
    pub cpu_request: MilliCpu,
    /// `limits.cpu`; zero: no limit.
    pub cpu_limit: MilliCpu,
    /// `requests.memory`.
    pub memory_request: Bytes,
    /// `limits.memory`; zero: no limit.
    pub memory_limit: Bytes,
}

impl Amounts {
    /// The four numbers as a spec (or a status) states them. A quantity that cannot be read counts as not set: the API
    /// server refuses such a pod, so the node never has one.
    #[must_use]
    pub fn of(requirements: Option<&ResourceRequirements>) -> Self {
        let requests = requirements.and_then(|it| it.requests.as_ref());
        let limits = requirements.and_then(|it| it.limits.as_ref());
        Self {
            cpu_request: milli(requests, CPU),
            cpu_limit: milli(limits, CPU),
            memory_request: bytes(requests, MEMORY),
            memory_limit: bytes(limits, MEMORY),
        }
    }

    /// One of the four as a plain integer (milli-CPU or bytes).
    #[must_use]
    pub const fn get(&self, resource: Resource, requirement: Requirement) -> i64 {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => self.cpu_request.0,
            (Resource::Cpu, Requirement::Limit) => self.cpu_limit.0,
            (Resource::Memory, Requirement::Request) => self.memory_request.0,
            (Resource::Memory, Requirement::Limit) => self.memory_limit.0,
        }
    }

    /// Replace one of the four.
    pub const fn set(&mut self, resource: Resource, requirement: Requirement, amount: i64) {
        match (resource, requirement) {
            (Resource::Cpu, Requirement::Request) => self.cpu_request = MilliCpu(amount),
            (Resource::Cpu, Requirement::Limit) => self.cpu_limit = MilliCpu(amount),
            (Resource::Memory, Requirement::Request) => self.memory_request = Bytes(amount),
            (Resource::Memory, Requirement::Limit) => self.memory_limit = Bytes(amount),
        }
    }

    /// The greater of the two, number by number.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, i64::max)
    }

    /// The sum, number by number; stays at the greatest integer where it would overflow, which no node can hold.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    /// `other` where `self` is not set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| if a == 0 { b } else { a })
    }

    fn zip(self, other: Self, f: fn(i64, i64) -> i64) -> Self {
        Self {
            cpu_request: MilliCpu(f(self.cpu_request.0, other.cpu_request.0)),
            cpu_limit: MilliCpu(f(self.cpu_limit.0, other.cpu_limit.0)),
            memory_request: Bytes(f(self.memory_request.0, other.memory_request.0)),
            memory_limit: Bytes(f(self.memory_limit.0, other.memory_limit.0)),
        }
    }

    /// Whether both numbers of a resource are the same in `self` and `other`.
    #[must_use]
    pub fn same(&self, other: &Self, resource: Resource) -> bool {
        [Requirement::Request, Requirement::Limit].iter().all(|&it| self.get(resource, it) == other.get(resource, it))
    }
}

/// The containers a resize may change, init containers first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    resizable_containers(pod).map(|it| it.container)
}

/// The effective amounts of a pod, each container counted as `amounts_of` says: the greater of what runs together in
/// the end and what any init container needs beside the sidecars started before it; then pod-level values where the pod
/// has them; then the overhead (on a limit only where there is one).
///
/// The integer twin of [`crate::resources::pod_requests`] and [`crate::resources::pod_limits`] (a property holds the two
/// together): the node asks this of every pod at every decision, where quantities would be too slow, and needs the view of
/// a container exchanged (allocated, status, the greater of both).
#[must_use]
pub fn effective(pod: &Pod, pod_level: Amounts, amounts_of: impl Fn(&Container) -> Amounts) -> Amounts {
    together(resizable_containers(pod).map(|it| (it.kind, amounts_of(it.container))), pod_level, overhead(pod))
}

/// The formula itself, over containers as whoever asks has them, in the order of the spec: the pod-level values and the overhead are
/// given.
#[must_use]
pub fn together(
    containers: impl Iterator<Item = (ContainerKind, Amounts)>,
    level: Amounts,
    overhead: Amounts,
) -> Amounts {
    let (mut sidecars, mut during_init, mut running) = <(Amounts, Amounts, Amounts)>::default();
    for (kind, amounts) in containers {
        match kind {
            ContainerKind::Sidecar => {
                sidecars = sidecars.plus(amounts);
                during_init = during_init.max(sidecars);
            }
            ContainerKind::Init => during_init = during_init.max(sidecars.plus(amounts)),
            ContainerKind::Regular => running = running.plus(amounts),
        }
    }
    let sum = level.or(running.plus(sidecars).max(during_init));
    let with_limit = |limit: i64, overhead: i64| if limit == 0 { 0 } else { limit.saturating_add(overhead) };
    Amounts {
        cpu_request: MilliCpu(sum.cpu_request.0.saturating_add(overhead.cpu_request.0)),
        cpu_limit: MilliCpu(with_limit(sum.cpu_limit.0, overhead.cpu_request.0)),
        memory_request: Bytes(sum.memory_request.0.saturating_add(overhead.memory_request.0)),
        memory_limit: Bytes(with_limit(sum.memory_limit.0, overhead.memory_request.0)),
    }
}

/// `spec.overhead`, as requests.
#[must_use]
pub fn overhead(pod: &Pod) -> Amounts {
    let list = pod.spec.as_ref().and_then(|it| it.overhead.as_ref());
    Amounts { cpu_request: milli(list, CPU), memory_request: bytes(list, MEMORY), ..Amounts::default() }
}

/// The pod-level `spec.resources`.
#[must_use]
pub fn pod_level(pod: &Pod) -> Amounts {
    Amounts::of(pod.spec.as_ref().and_then(|it| it.resources.as_ref()))
}

/// The requests of a resource list (`allocatedResources`).
#[must_use]
pub fn requests_of(list: Option<&WireList>) -> Amounts {
    Amounts { cpu_request: milli(list, CPU), memory_request: bytes(list, MEMORY), ..Amounts::default() }
}

/// Milli-CPU under `key`, rounded up; zero where missing. Saturates: the reference's view would wrap, and an amount beyond
/// every machine would fit any.
fn milli(list: Option<&WireList>, key: &str) -> MilliCpu {
    list.and_then(|it| it.get(key)).map_or(MilliCpu(0), |it| MilliCpu::from(&wire_quantity(it)))
}

/// Bytes under `key`, rounded up; zero where missing. Saturates.
fn bytes(list: Option<&WireList>, key: &str) -> Bytes {
    list.and_then(|it| it.get(key)).map_or(Bytes(0), |it| Bytes::from(&wire_quantity(it)))
}
