//! What a resize would do, said before it is sent: with the same functions by which the API server accepts and the node
//! enacts.
//!
//! ```text
//! change ─▶ request: is there anything to do? ─▶ api: defaults, strategy, validation, admission (refused: nothing is stored)
//!        ─▶ allocation: room on the node (waits, or never) ─▶ actuation: restarts, memory in use, cgroup values
//! ```

mod advice;
mod api;
mod change;
mod node;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota};
use serde::{Deserialize, Serialize};

use crate::actuate::Step;
use crate::guard::MemoryUsage;
use crate::kernel::CgroupResources;
use crate::qos;

pub use change::{Change, NoSuchContainer, Sizes};
pub use node::{NodeObject, NodeSight, planned};

/// What is known of the pod's namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceSight {
    /// Its limit ranges.
    pub limit_ranges: Vec<LimitRange>,
    /// Its quotas, with their status.
    pub quotas: Vec<ResourceQuota>,
}

/// Why a resize would not come to pass, or not now. Stable: shown to people, in events and in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The pod has these sizes already.
    NothingToDo,
    /// The pod has no container of that name.
    NoSuchContainer,
    /// The pod's QoS class would change.
    QosChange,
    /// Validation refuses it (HTTP 422) for another reason.
    Rejected,
    /// A limit range of the namespace forbids it (HTTP 403).
    LimitRange,
    /// A quota of the namespace would be exceeded (HTTP 403).
    QuotaExceeded,
    /// The pod's node is too small even when empty (HTTP 403).
    NodeCapacity,
    /// The pod's node cannot do it: its system, its version, or it is gone (HTTP 403).
    NodeUnsupported,
    /// The node can never do it in its configuration.
    Infeasible,
    /// The node has no room now; it is tried again as room comes free.
    Deferred,
    /// A memory limit would go to or below what is used now; the node does not do that.
    MemoryBelowUsage,
}

impl Reason {
    /// The code, as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingToDo => "NothingToDo",
            Self::NoSuchContainer => "NoSuchContainer",
            Self::QosChange => "QosChange",
            Self::Rejected => "Rejected",
            Self::LimitRange => "LimitRange",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::NodeCapacity => "NodeCapacity",
            Self::NodeUnsupported => "NodeUnsupported",
            Self::Infeasible => "Infeasible",
            Self::Deferred => "Deferred",
            Self::MemoryBelowUsage => "MemoryBelowUsage",
        }
    }

    /// How far the resize would get.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::NothingToDo | Self::NoSuchContainer => Stage::Request,
            Self::QosChange
            | Self::Rejected
            | Self::LimitRange
            | Self::QuotaExceeded
            | Self::NodeCapacity
            | Self::NodeUnsupported => Stage::Api,
            Self::Infeasible | Self::Deferred => Stage::Allocation,
            Self::MemoryBelowUsage => Stage::Actuation,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part that would stop a resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Before anything is sent.
    Request,
    /// The API server: nothing is stored.
    Api,
    /// The node's promise: stored, and shown as `PodResizePending`.
    Allocation,
    /// The node's cgroups: promised, and shown as `PodResizeInProgress` with an error, tried again.
    Actuation,
}

/// What stands in the way of a resize.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}; {advice}")]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// Stable code.
    pub reason: Reason,
    /// The words of who would refuse: the API server's error without its `… is invalid:` or `… is forbidden:`, or the
    /// node's condition.
    pub message: String,
    /// What would have to change.
    pub advice: String,
}

/// Where the sizes come to lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroups {
    /// The pod's own.
    pub pod: CgroupResources,
    /// Per container.
    pub containers: BTreeMap<String, CgroupResources>,
}

/// What a resize would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// What stands in its way first; `None`: it comes to pass at once.
    pub obstacle: Option<Obstacle>,
    /// The pod's QoS class, which a resize never changes.
    pub qos_class: String,
    /// What is different afterwards, defaults of the server and of limit ranges included.
    pub change: Change,
    /// Containers that restart for it.
    pub restarts: Vec<String>,
    /// What the node writes, in order.
    pub steps: Vec<Step>,
    /// Cgroup values afterwards.
    pub cgroups: Cgroups,
    /// What could not be foreseen, and why, one sentence each.
    pub unforeseen: Vec<String>,
}

impl Forecast {
    /// Whether the API server would take it: also where it has nothing to do, or will have to wait on the node.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.obstacle.as_ref().is_none_or(|it| it.reason == Reason::NothingToDo || it.reason.stage() > Stage::Api)
    }
}

/// Foresee a resize of `pod`, as it stands in the API with its status. `usage` is what its memory use is now, where known.
#[must_use]
pub fn predict(
    pod: &Pod,
    change: &Change,
    node: &NodeSight,
    namespace: &NamespaceSight,
    usage: Option<&MemoryUsage>,
) -> Forecast {
    let mut forecast = Forecast {
        obstacle: None,
        qos_class: qos::recorded(pod).as_str().to_owned(),
        change: Change::default(),
        restarts: Vec::new(),
        steps: Vec::new(),
        cgroups: Cgroups::default(),
        unforeseen: Vec::new(),
    };
    match api::accept(pod, change, node, namespace) {
        Err(obstacle) => forecast.obstacle = Some(obstacle),
        Ok(desired) => {
            forecast.change = Change::between(pod, &desired);
            if forecast.change.is_empty() {
                forecast.obstacle = Some(advice::nothing_to_do());
            } else {
                node::enact(pod, &desired, node, usage, &mut forecast);
            }
        }
    }
    forecast
}
