//! The quality-of-service class of a pod, computed from its resources.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;

use crate::resources::{CPU, MEMORY, Requirements, ResourceList, containers};

/// Who is evicted and OOM-killed first. A resize never changes it (reference §2.1 V4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosClass {
    /// Every container has CPU and memory limits, and requests equal to them.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl QosClass {
    /// The word in `status.qosClass`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The class the spec amounts to, whatever `status.qosClass` says. Pod-level resources, where set, decide alone.
#[must_use]
pub fn compute(pod: &Pod) -> QosClass {
    let mut sum = Requirements::default();
    let mut all_limited = true;
    let pod_level = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    if let Some(resources) = pod_level {
        all_limited = add(&mut sum, &Requirements::read(Some(resources)));
        // The reference asks at pod level only where there are limits; without them the counts below differ anyway.
        all_limited |= resources.limits.as_ref().is_none_or(|limits| limits.is_empty());
    } else {
        for it in containers(pod) {
            all_limited &= add(&mut sum, &Requirements::read(it.container.resources.as_ref()));
        }
    }
    if sum.requests.is_empty() && sum.limits.is_empty() {
        return QosClass::BestEffort;
    }
    let equal = sum.requests.iter().all(|(name, request)| sum.limits.get(name) == Some(request));
    if all_limited && equal && sum.requests.len() == sum.limits.len() {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

/// The class as recorded in `status.qosClass`, where it is: what the node goes by. Computed where it is not.
#[must_use]
pub fn recorded(pod: &Pod) -> QosClass {
    match pod.status.as_ref().and_then(|it| it.qos_class.as_deref()) {
        Some("Guaranteed") => QosClass::Guaranteed,
        Some("Burstable") => QosClass::Burstable,
        Some("BestEffort") => QosClass::BestEffort,
        _ => compute(pod),
    }
}

/// Adds what counts (CPU and memory above zero); whether both are limited.
fn add(sum: &mut Requirements, own: &Requirements) -> bool {
    let positive = |list: &ResourceList, into: &mut ResourceList| {
        for name in [CPU, MEMORY] {
            if let Some(quantity) = list.get(name).filter(|it| it.sign() > 0) {
                into.add(name, quantity);
            }
        }
    };
    positive(&own.requests, &mut sum.requests);
    positive(&own.limits, &mut sum.limits);
    [CPU, MEMORY].iter().all(|name| own.limits.get(name).is_some_and(|it| it.sign() > 0))
}
