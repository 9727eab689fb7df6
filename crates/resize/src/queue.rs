//! The order in which waiting resizes are tried again, and what makes the node try (reference §4.1, §4.2).

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use crate::allocate::Allocation;

/// How long after its start the node first tries waiting resizes on its own.
pub const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(30);
/// How long after the last try of any kind it tries again on its own.
pub const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(180);

/// What made the node try its waiting resizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A pod's spec changed.
    PodUpdated,
    /// Pods were added (also: the node started).
    PodsAdded,
    /// Pods were removed.
    PodsRemoved,
    /// A pod ended: its requests no longer count.
    PodTerminated,
    /// A pod shrank, as far as its status says.
    PodResized,
    /// Nothing happened for a while.
    PeriodicRetry,
}

impl Trigger {
    /// The label of the reference's metric: `pod_updated`, `pods_added`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodUpdated => "pod_updated",
            Self::PodsAdded => "pods_added",
            Self::PodsRemoved => "pods_removed",
            Self::PodTerminated => "pod_terminated",
            Self::PodResized => "pod_resized",
            Self::PeriodicRetry => "periodic_retry",
        }
    }
}

/// One waiting resize, with all that its rank depends on.
///
/// The reference's comparator answers "before" whenever its first operand does not increase requests, so the order
/// among those is whatever its sort makes of a contradiction, and equal ages keep the order of arrival. Ours is a total
/// order: the derived comparison of a key, ended by the UID, so that it does not depend on who was pushed first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `metadata.uid`.
    pub uid: String,
    /// Whether it asks for more CPU or memory than it was allocated ([`is_increasing`]).
    pub increasing: bool,
    /// `spec.priority`; 0 where absent.
    pub priority: i32,
    /// QoS class Guaranteed.
    pub guaranteed: bool,
    /// Since when it has been deferred; `None` before the first refusal. Comes from the node's checkpoint, so that age
    /// survives a restart (the reference's does not).
    pub since: Option<Timestamp>,
}

impl Waiting {
    /// Key whose ascending order is the order of tries.
    fn rank(&self) -> impl Ord + '_ {
        (self.increasing, Reverse(self.priority), !self.guaranteed, self.since.is_none(), self.since, self.uid.as_str())
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a desired size raises the pod's requests of CPU or memory above what it was allocated, all containers and
/// pod-level resources taken together.
#[must_use]
pub fn is_increasing(desired: &Pod, allocated: &Allocation) -> bool {
    let old = allocated.requests(desired);
    let new = Allocation::of(desired).requests(desired);
    new.cpu_request > old.cpu_request || new.memory_request > old.memory_request
}
