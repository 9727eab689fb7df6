//! What a pod's status says about its resources (reference §6).

pub mod fields;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::actuate::{self, Actuated};
use crate::amounts::{Amounts, Requirement, Resource};
use crate::kernel::{self, CgroupResources};
use crate::resources::{WireList, pod_limits, pod_requests};

/// The two resource fields of a container status, or of the pod status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reported {
    /// `resources`: what is in force. Always present, `{}` when empty.
    pub resources: ResourceRequirements,
    /// `allocatedResources`: the requests that were promised; `None` when there are none.
    pub allocated_resources: Option<WireList>,
}

/// What the runtime knows of a container whose status is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observed<'a> {
    /// It runs, with these cgroup values where they could be read.
    Running {
        /// What was actuated.
        actuated: Option<&'a Amounts>,
        /// The reading.
        cgroup: Option<&'a CgroupResources>,
        /// `resources` of the previous status, if that was of the same running container.
        previous: Option<&'a ResourceRequirements>,
    },
    /// It has run, or was killed, and does not run now.
    Stopped,
}

/// Resource fields of a container's status. A container the runtime has never seen gets none: do not call.
///
/// Of a running container, `resources` has the amounts in force, written as the spec writes them where they are equal;
/// a request up to 2m and a limit up to 10m count as equal, because the kernel cannot tell them apart. Lists that the
/// allocation does not have are not invented.
#[must_use]
pub fn container(allocated: &ResourceRequirements, observed: Observed<'_>) -> Reported {
    let allocated_resources = allocated.requests.clone().filter(|it| !it.is_empty());
    let mut resources = allocated.clone();
    resources.requests = resources.requests.filter(|it| !it.is_empty());
    resources.limits = resources.limits.filter(|it| !it.is_empty());
    if let Observed::Running { actuated, cgroup, previous } = observed {
        let mut now = actuated.copied().unwrap_or_default();
        if let Some(cgroup) = cgroup {
            kernel::adopt(&mut now, cgroup);
            if now.cpu_request.0 == 0 && cgroup.cpu_shares.is_some_and(|it| it > kernel::MIN_SHARES) {
                now.cpu_request = now.cpu_limit; // started without a request: its shares follow its limit
            }
        }
        let wanted = Amounts::of(Some(allocated));
        for (requirement, list) in
            [(Requirement::Request, resources.requests.as_mut()), (Requirement::Limit, resources.limits.as_mut())]
        {
            let Some(list) = list else { continue };
            for resource in [Resource::Cpu, Resource::Memory] {
                let (now, wanted) = (now.get(resource, requirement), wanted.get(resource, requirement));
                if now == wanted || (resource == Resource::Cpu && alike(requirement, now, wanted)) {
                    continue;
                }
                // Not known: as it was reported before, else as allocated.
                let before = || previous.and_then(|it| list_of(it, requirement)?.get(resource.as_str()).cloned());
                let value = if now == 0 { before() } else { Some(quantity(resource, now)) };
                if let Some(value) = value {
                    list.insert(resource.as_str().to_owned(), value);
                }
            }
        }
    }
    Reported { resources, allocated_resources }
}

/// Whether two CPU amounts are too small for the kernel to tell apart.
fn alike(requirement: Requirement, a: i64, b: i64) -> bool {
    let least = match requirement {
        Requirement::Request => kernel::MIN_MILLI_CPU_REQUEST,
        Requirement::Limit => kernel::MIN_MILLI_CPU_LIMIT,
    };
    a <= least.0 && b <= least.0
}

fn list_of(requirements: &ResourceRequirements, requirement: Requirement) -> Option<&WireList> {
    match requirement {
        Requirement::Request => requirements.requests.as_ref(),
        Requirement::Limit => requirements.limits.as_ref(),
    }
}

fn quantity(resource: Resource, amount: i64) -> Quantity {
    Quantity(resource.quantity(amount).to_string())
}

/// Resource fields of the pod's status, from its allocated view and what was actuated. `running`: phase Running.
///
/// The effective amounts, as aggregated from the allocation; of a running pod those in force, by the record of what its
/// cgroup was given and not by reading it back: a cgroup v2 weight would make 79m of 100m, and cgroup v1 has a very large
/// number for "no limit". A memory request follows like the others (the reference keeps the first it ever reported).
#[must_use]
pub fn pod(pod: &Pod, actuated: &Actuated, running: bool) -> Reported {
    let requests = pod_requests(pod).to_wire();
    let allocated_resources = Some(requests.clone()).filter(|it| !it.is_empty());
    let (mut requests, mut limits) = (requests, pod_limits(pod).to_wire());
    if let Some(now) = actuated.pod.filter(|_| running) {
        let target = actuate::pod_amounts(pod);
        for (requirement, list) in [(Requirement::Request, &mut requests), (Requirement::Limit, &mut limits)] {
            for resource in [Resource::Cpu, Resource::Memory] {
                let (now, target) = (now.get(resource, requirement), target.get(resource, requirement));
                if now != 0 && now != target {
                    list.insert(resource.as_str().to_owned(), quantity(resource, now));
                }
            }
        }
    }
    let some = |list: WireList| Some(list).filter(|it| !it.is_empty());
    let resources = ResourceRequirements { requests: some(requests), limits: some(limits), claims: None };
    Reported { resources, allocated_resources }
}
