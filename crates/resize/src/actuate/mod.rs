//! From allocated to actuated: which containers must restart and which cgroup values are written in which order
//! (reference §5.1-5.3). Values only: the node carries them out.
//!
//! ```text
//!   kill restarting containers ─▶ steps in order ─▶ start what is not running
//!
//!   steps: memory, then cpu; for each:
//!     pod limit up · pod request up · containers, decreases first · pod request down · pod limit down
//! ```
//!
//! So a request never exceeds its limit and a parent is never smaller than a child, after each step.
//! Each [`Step`] says what is true once it has been written ([`Actuated::record`]); a plan made from that record, from any
//! prefix of another plan's steps, ends at the same values.

mod plan;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

use crate::allocate::restarts_for;
use crate::amounts::{self, Amounts, Requirement, Resource, containers};
use crate::few::Few;
use crate::kernel::{self, CgroupResources};

pub use plan::plan;

/// What the cgroups of one pod have been given: the content of its "actuated" checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actuated {
    /// Per container, limits inherited from the pod included.
    pub containers: Few<String, Amounts>,
    /// The pod's own cgroup; `None` before it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Amounts>,
}

impl Actuated {
    /// The pod's cgroup was created with [`pod_amounts`].
    pub fn pod_created(&mut self, amounts: Amounts) {
        self.pod = Some(amounts);
    }

    /// A container is about to be started with [`container_amounts`]. Recorded before the start, so that a crash in
    /// between cannot leave a running container without a record.
    pub fn container_starting(&mut self, container: &str, amounts: Amounts) {
        self.containers.insert(container.to_owned(), amounts);
    }

    /// Believe a cgroup over the record where the two cannot be about the same values: a predecessor was killed, or a
    /// write failed, between the file and the record. To be called for the pod and each running container after a start
    /// and after a failed step, so that the next plan begins from what is really there.
    ///
    /// Roundings of the kernel are no difference (see [`kernel::adopt`]). What restarts its container when it changes is
    /// left as recorded: it is never written in place, and a reading must not be a reason to kill.
    pub fn adopt(&mut self, pod: &Pod, target: &Target, reading: &CgroupResources) {
        let mut reading = *reading;
        let amounts = match target {
            Target::Pod => self.pod.get_or_insert_with(Amounts::default),
            Target::Container(name) => {
                let policy = |resource| containers(pod).any(|it| it.name == *name && restarts_for(it, resource));
                if policy(Resource::Memory) {
                    reading.memory_limit_bytes = None;
                }
                if policy(Resource::Cpu) {
                    (reading.cpu_shares, reading.cpu_quota_us) = (None, None);
                }
                self.containers.get_or_default(name.as_str())
            }
        };
        kernel::adopt(amounts, &reading);
    }

    /// A step was carried out.
    pub fn record(&mut self, step: &Step) {
        let amounts = match &step.target {
            Target::Pod => self.pod.get_or_insert_with(Amounts::default),
            Target::Container(name) => self.containers.get_or_default(name.as_str()),
        };
        if let Some(request) = step.request {
            amounts.set(step.resource, Requirement::Request, request);
        }
        if let Some(limit) = step.limit {
            amounts.set(step.resource, Requirement::Limit, limit);
        }
    }
}

/// Whose cgroup is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The pod's own.
    Pod,
    /// The container's of that name.
    Container(String),
}

/// One write, and what it makes true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose cgroup.
    pub target: Target,
    /// Which resource it is about; a step never mixes two.
    pub resource: Resource,
    /// What to write; may be empty (a memory request has no file), then only the record changes.
    pub write: CgroupResources,
    /// The request that is actuated afterwards (milli-CPU or bytes); `None`: as before.
    pub request: Option<i64>,
    /// The limit that is actuated afterwards; `None`: as before.
    pub limit: Option<i64>,
}

/// A memory limit that a plan lowers, for [`crate::guard`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decrease {
    /// Whose.
    pub target: Target,
    /// The new limit.
    pub to: Bytes,
}

/// What to do to bring a pod's cgroups to what it was allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Containers to stop before the first step and to start after the last, with a new attempt and without back-off,
    /// because their policy is RestartContainer for something that changes.
    pub restart: Vec<String>,
    /// Writes, in order. The first that fails ends the attempt; a new plan is made for the next.
    pub steps: Vec<Step>,
    /// Memory limits that the steps lower: to be checked against usage before anything is stopped or written.
    pub decreases: Vec<Decrease>,
}

impl Plan {
    /// Whether the pod is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.restart.is_empty() && self.steps.is_empty()
    }
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The pod with its *allocated* resources ([`crate::allocate::Allocation::applied_to`]).
    pub pod: &'a Pod,
    /// What was actuated last.
    pub actuated: &'a Actuated,
    /// The containers that run now, each with its cgroup's values where they could be read (else the default).
    pub running: &'a BTreeMap<String, CgroupResources>,
    /// The values of the pod's own cgroup now.
    pub cgroup: CgroupResources,
    /// `cpu.cfs_period_us` of this node.
    pub period_us: u64,
}

/// Whether a resize is being actuated: some running container, or the pod's cgroup, is not yet what was allocated. To
/// be asked under the same lock as the allocation, so that a fresh allocation is not missed (reference §4.5).
///
/// A pod whose cgroup has no record yet is being created, not resized.
#[must_use]
pub fn in_progress(pod: &Pod, actuated: &Actuated, running: impl Fn(&str) -> bool) -> bool {
    let pod_differs = actuated.pod.is_some_and(|it| it != pod_amounts(pod));
    pod_differs
        || containers(pod).filter(|it| running(&it.name)).any(|it| {
            let recorded = actuated.containers.get(&it.name).copied().unwrap_or_default();
            recorded != amounts_of(pod, it)
        })
}

/// What the pod's own cgroup is to have: the pod's effective requests, and of the limits those that bind it as a whole
/// (pod-level, or declared by every container), overhead included (reference §5.5 `ResourceConfigForPod`).
#[must_use]
pub fn pod_amounts(pod: &Pod) -> Amounts {
    let level = amounts::pod_level(pod);
    let of = |it: &Container| Amounts::of(it.resources.as_ref());
    let mut sum = amounts::effective(pod, level, of);
    if level.cpu_limit.0 == 0 && containers(pod).any(|it| of(it).cpu_limit.0 == 0) {
        sum.cpu_limit = MilliCpu(0);
    }
    if level.memory_limit.0 == 0 && containers(pod).any(|it| of(it).memory_limit.0 == 0) {
        sum.memory_limit = Bytes(0);
    }
    sum
}

/// What a container's cgroup is to have: its own amounts, a missing limit replaced by the pod-level one. `None`: the
/// pod has no such container.
#[must_use]
pub fn container_amounts(pod: &Pod, container: &str) -> Option<Amounts> {
    containers(pod).find(|it| it.name == container).map(|it| amounts_of(pod, it))
}

/// See [`container_amounts`]. A change of a pod-level limit so becomes an update of every container without its own.
fn amounts_of(pod: &Pod, container: &Container) -> Amounts {
    let own = Amounts::of(container.resources.as_ref());
    let level = amounts::pod_level(pod);
    Amounts {
        cpu_limit: if own.cpu_limit.0 == 0 { level.cpu_limit } else { own.cpu_limit },
        memory_limit: if own.memory_limit.0 == 0 { level.memory_limit } else { own.memory_limit },
        ..own
    }
}

/// Whether a container with these amounts may be started in a pod whose cgroup has those: its limits are not above the
/// pod's. A pod's cgroup that is still to grow grows first.
#[must_use]
pub fn fits_in(container: &Amounts, pod: &Amounts) -> bool {
    [Resource::Memory, Resource::Cpu].into_iter().all(|resource| {
        let limit = |it: &Amounts| it.get(resource, Requirement::Limit);
        limit(pod) == 0 || (limit(container) != 0 && limit(container) <= limit(pod))
    })
}

/// The message of the `Killing` event of a container in [`Plan::restart`].
#[must_use]
pub fn restart_message(container: &str) -> String {
    format!("Container {container} resize requires restart")
}
