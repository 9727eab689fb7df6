//! What a pod's status says about its resources (reference §6).

use crate::actuate::Actuated;
use crate::amounts::Amounts;
use crate::kernel::CgroupResources;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// The two resource fields of a container status, or of the pod status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reported {
    /// `resources`: what is in force. Always present, `{}` when empty.
    pub resources: ResourceRequirements,
    /// `allocatedResources`: the requests that were promised; `None` when there are none.
    pub allocated_resources: Option<BTreeMap<String, Quantity>>,
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
#[must_use]
pub fn container(allocated: &ResourceRequirements, observed: Observed<'_>) -> Reported {
    let _ = observed;
    Reported { resources: allocated.clone(), allocated_resources: allocated.requests.clone() }
}

/// Resource fields of the pod's status, from its allocated view and what was actuated. `running`: phase Running.
#[must_use]
pub fn pod(pod: &Pod, actuated: &Actuated, running: bool) -> Reported {
    let _ = (pod, actuated, running);
    Reported::default()
}
