//! Defaults of resources: requests from limits, at container and at pod level, and the precision that is kept.

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use crate::resources::{
    self, ResourceList, aggregate_container_limits, aggregate_container_requests, is_hugepages, is_pod_level_resource,
};

/// Rounds every amount up to a thousandth: what the API keeps.
pub(super) fn round(pod: &mut Pod) {
    for list in resources::lists_mut(pod).flatten() {
        // An unreadable one has been refused at decoding; here it stays as it is for validation to name.
        let _ = resources::rewrite(list, supple_quantity::Quantity::round_up_to_milli);
    }
}

/// A resource that is limited and not requested is requested as far as it is limited.
pub(super) fn request_from_limit(requirements: &mut ResourceRequirements) {
    let Some(limits) = &requirements.limits else { return };
    for (name, limit) in limits {
        let requests = requirements.requests.get_or_insert_default();
        if !requests.contains_key(name) {
            requests.insert(name.clone(), limit.clone());
        }
    }
}

/// Pod-level requests, where there are pod-level limits and they are missing: what the containers ask for together, else the
/// pod-level limit. Huge pages are limited together before that, as their request must equal their limit.
pub(super) fn pod_level(pod: &mut Pod) {
    let Some(own) = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref()) else { return };
    let stated = |list: &Option<resources::WireList>| list.as_ref().is_some_and(|list| !list.is_empty());
    if !stated(&own.limits) && !stated(&own.requests) {
        return;
    }
    let hugepages: Vec<_> = aggregate_container_limits(pod, false)
        .iter()
        .filter(|(name, _)| is_hugepages(name))
        .map(|(name, quantity)| (name.to_owned(), quantity.clone()))
        .collect();
    let asked = aggregate_container_requests(pod, false);
    let Some(own) = pod.spec.as_mut().and_then(|spec| spec.resources.as_mut()) else { return };
    let mut limits = ResourceList::read(own.limits.as_ref());
    let missing: Vec<_> = hugepages.into_iter().filter(|(name, _)| limits.get(name).is_none()).collect();
    if !missing.is_empty() {
        for (name, quantity) in missing {
            limits.set(&name, quantity);
        }
        own.limits = Some(limits.to_wire());
    }
    if limits.is_empty() {
        return;
    }
    let mut requests = ResourceList::read(own.requests.as_ref());
    let stated = requests.len();
    let from_containers = asked.iter().filter(|(name, _)| !is_hugepages(name));
    for (name, quantity) in from_containers.chain(limits.iter()) {
        if is_pod_level_resource(name) && requests.get(name).is_none() {
            requests.set(name, quantity.clone());
        }
    }
    if requests.len() > stated {
        own.requests = Some(requests.to_wire());
    }
}
