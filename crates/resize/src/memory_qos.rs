//! Memory QoS: how much of a cgroup's memory is protected from reclaim, and from where on it is slowed down (KEP-2570).
//!
//! The reference has it behind a feature gate that is off, and so is this unless a node is asked for it. Both parts need
//! cgroup version 2. They follow the order of a plan without being in it: a pod's protection grows before its
//! containers' ([`MemoryQos::ahead`]) and shrinks after them ([`MemoryQos::complete`]).

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use supple_quantity::Bytes;

use crate::actuate::{self, Step, Target};
use crate::amounts::{Amounts, Resource};
use crate::kernel::{self, CgroupResources, UNLIMITED};
use crate::qos::{self, QosClass};

/// What a node does (`memoryThrottlingFactor` and `memoryReservationPolicy` of the reference's kubelet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryQos {
    /// From which part of the way between request and limit on a container is slowed down, in thousandths; `None`: it
    /// is not. The reference's default, where the feature is on, is 900.
    pub throttling_permille: Option<u16>,
    /// Which requests are protected from reclaim.
    pub reservation: Reservation,
}

/// Which memory requests are protected from reclaim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reservation {
    /// None.
    #[default]
    None,
    /// `TieredReservation`: of Guaranteed pods come what may (`memory.min`), of Burstable pods as long as anything else
    /// can be reclaimed (`memory.low`).
    Tiered,
}

/// The files of one cgroup that memory QoS writes. `None` means "leave as it is" in a write and "not known" in a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryTiers {
    /// `memory.min`, bytes; 0 protects nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<i64>,
    /// `memory.low`, bytes; 0 protects nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_bytes: Option<i64>,
    /// `memory.high`, bytes; -1 is "max".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<i64>,
}

impl MemoryTiers {
    /// What a cgroup has that nobody has given any: nothing protected, nothing slowed down.
    pub const NONE: Self = Self { min_bytes: Some(0), low_bytes: Some(0), high_bytes: Some(UNLIMITED) };

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What has to be written over `self`, a reading, for it to be `wanted`. A reading is in whole pages.
    #[must_use]
    pub fn missing_from(&self, wanted: &Self) -> Self {
        let differs = |reading: Option<i64>, wanted: Option<i64>| {
            let held = |it: i64| if it < 0 { it } else { kernel::whole_pages(Bytes(it)) };
            wanted.filter(|it| reading.is_some_and(|reading| reading != held(*it)))
        };
        Self {
            min_bytes: differs(self.min_bytes, wanted.min_bytes),
            low_bytes: differs(self.low_bytes, wanted.low_bytes),
            high_bytes: differs(self.high_bytes, wanted.high_bytes),
        }
    }

    /// What a cgroup must protect for those inside it, each with its own tiers, to be protected: the kernel shares out what
    /// the cgroup above has, and nothing more. Nobody is slowed down there.
    #[must_use]
    pub fn of_level<'a>(inside: impl IntoIterator<Item = &'a Self>) -> Self {
        let sum = inside.into_iter().fold((0_i64, 0_i64), |(min, low), it| {
            (min.saturating_add(it.min_bytes.unwrap_or(0)), low.saturating_add(it.low_bytes.unwrap_or(0)))
        });
        Self { min_bytes: Some(sum.0), low_bytes: Some(sum.1), high_bytes: None }
    }

    /// Whether anything is said about protection.
    #[must_use]
    pub const fn says_protection(&self) -> bool {
        self.min_bytes.is_some() || self.low_bytes.is_some()
    }

    /// `self` after `write` has been written over it.
    #[must_use]
    pub fn with(&self, write: &Self) -> Self {
        Self {
            min_bytes: write.min_bytes.or(self.min_bytes),
            low_bytes: write.low_bytes.or(self.low_bytes),
            high_bytes: write.high_bytes.or(self.high_bytes),
        }
    }
}

impl MemoryQos {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self != Self::default()
    }

    /// What a pod's own cgroup has: its protection. It is not slowed down; its containers are.
    #[must_use]
    pub fn of_pod(&self, class: QosClass, amounts: &Amounts) -> MemoryTiers {
        if !self.is_on() {
            return MemoryTiers::default();
        }
        MemoryTiers { high_bytes: None, ..self.protection(class, amounts.memory_request) }
    }

    /// What a container's cgroup has. `allocatable` is the node's memory: what a container without a limit is measured
    /// by.
    #[must_use]
    pub fn of_container(&self, class: QosClass, amounts: &Amounts, allocatable: Bytes) -> MemoryTiers {
        if !self.is_on() {
            return MemoryTiers::default();
        }
        MemoryTiers {
            high_bytes: Some(self.high(amounts, allocatable).map_or(UNLIMITED, |it| it.0)),
            ..self.protection(class, amounts.memory_request)
        }
    }

    /// What a pod's own cgroup is given before the first step of a plan: a protection that grows. It must cover what its
    /// containers are given, which come before the pod's own request in a plan. `recorded` is what was actuated last.
    #[must_use]
    pub fn ahead(&self, pod: &Pod, recorded: Option<Amounts>) -> Option<MemoryTiers> {
        let target = actuate::pod_amounts(pod);
        let grows = recorded.is_some_and(|it| it.memory_request < target.memory_request);
        (self.reservation != Reservation::None && grows).then(|| self.of_pod(qos::recorded(pod), &target))
    }

    /// What `step` writes, with what memory QoS adds to it. `pod` has its allocated resources.
    #[must_use]
    pub fn complete(&self, step: &Step, pod: &Pod, allocatable: Bytes) -> CgroupResources {
        let mut write = step.write;
        if !self.is_on() || step.resource != Resource::Memory {
            return write;
        }
        let class = qos::recorded(pod);
        let amount = |it: Option<i64>| Bytes(it.unwrap_or_default());
        match &step.target {
            // The limit and the request of a pod go in steps of their own.
            Target::Pod => {
                if let Some(request) = step.request {
                    let amounts = Amounts { memory_request: Bytes(request), ..Amounts::default() };
                    write.tiers = self.of_pod(class, &amounts);
                }
            }
            Target::Container(_) => {
                let amounts = Amounts {
                    memory_request: amount(step.request),
                    memory_limit: amount(step.limit),
                    ..Amounts::default()
                };
                write.tiers = self.of_container(class, &amounts, allocatable);
            }
        }
        write
    }

    fn protection(&self, class: QosClass, request: Bytes) -> MemoryTiers {
        let request = Some(request.0.max(0));
        let (min_bytes, low_bytes) = match (self.reservation, class) {
            (Reservation::Tiered, QosClass::Guaranteed) => (request, Some(0)),
            (Reservation::Tiered, QosClass::Burstable) => (Some(0), request),
            (Reservation::None, _) | (_, QosClass::BestEffort) => (Some(0), Some(0)),
        };
        MemoryTiers { min_bytes, low_bytes, high_bytes: None }
    }

    /// `memory.high`: the request and a part of the way from there to the limit, in whole pages. None where request and
    /// limit are the same, which is how a container asks for its memory to be its own, or where it would not be above
    /// the request.
    fn high(&self, amounts: &Amounts, allocatable: Bytes) -> Option<Bytes> {
        let permille = self.throttling_permille?;
        let Amounts { memory_request: request, memory_limit: limit, .. } = *amounts;
        let limit = if limit.0 > 0 { limit } else { allocatable };
        if limit.0 <= 0 || request == amounts.memory_limit {
            return None;
        }
        // i128: a thousand times any i64 fits.
        let (request, limit) = (i128::from(request.0), i128::from(limit.0));
        let high = request + (limit - request) * i128::from(permille) / 1000;
        let high = Bytes(kernel::whole_pages(Bytes(i64::try_from(high).unwrap_or(i64::MAX))));
        (i128::from(high.0) > request && high.0 > 0).then_some(high)
    }
}
