//! Resource quotas: what a pod uses of them, and whether a namespace still has that much (reference §3.6).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceQuota, ScopedResourceSelectorRequirement};
use supple_quantity::Quantity;

use super::Denial;
use crate::qos::{self, QosClass};
use crate::resources::{
    AggregateOptions, CPU, MEMORY, Requirements, ResourceList, WireList, is_extended, is_hugepages, pod_limits_with,
    pod_requests_with,
};

const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
const PODS: &str = "pods";
const POD_OBJECTS: &str = "count/pods";

/// What a quota's `status.used` becomes by admitting a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// The quota's name.
    pub quota: String,
    /// Its new `status.used`, to be stored together with the pod.
    pub used: WireList,
}

/// What a pod counts for: objects always, compute only while it can still run.
///
/// Requests and limits are the largest of wish, allocation and actual use, so that a shrinking pod is released only once it
/// has shrunk. Pod-level resources count by spec.
#[must_use]
pub fn usage(pod: &Pod) -> ResourceList {
    let mut used = ResourceList::default();
    used.set(POD_OBJECTS, Quantity::units(1));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Failed" | "Succeeded")) {
        return used;
    }
    let options = AggregateOptions { use_status: true, ..Default::default() };
    let whole = Requirements { requests: pod_requests_with(pod, options), limits: pod_limits_with(pod, options) };
    used.set(PODS, Quantity::units(1));
    used.add_all(&counted(&whole));
    used
}

/// What the pods of a namespace use of a quota: every name of its `spec.hard` that is about pods, and only those. This
/// is what the quota controller writes into `status.used`.
#[must_use]
pub fn used<'a>(quota: &ResourceQuota, pods: impl IntoIterator<Item = &'a Pod>) -> ResourceList {
    let mut sum = ResourceList::default();
    for pod in pods.into_iter().filter(|pod| in_scope(quota, pod)) {
        sum.add_all(&usage(pod));
    }
    let hard = ResourceList::read(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()));
    let nothing = Quantity::ZERO;
    hard.iter()
        .map(|(name, _)| name)
        .filter(|name| is_pod_resource(name))
        .map(|name| (name, sum.get(name).unwrap_or(&nothing).clone()))
        .collect()
}

/// Requests and limits under the names quotas give them.
fn counted(stated: &Requirements) -> ResourceList {
    let mut used = ResourceList::default();
    for (name, request) in stated.requests.iter() {
        if [CPU, MEMORY, EPHEMERAL_STORAGE].contains(&name) || is_hugepages(name) {
            used.set(name, request.clone());
            used.set(&format!("requests.{name}"), request.clone());
        } else if is_extended(name) {
            used.set(&format!("requests.{name}"), request.clone());
        }
    }
    for (name, limit) in stated.limits.iter() {
        if [CPU, MEMORY, EPHEMERAL_STORAGE].contains(&name) {
            used.set(&format!("limits.{name}"), limit.clone());
        }
    }
    used
}

/// Whether every quota of the namespace has room for the pod (on creation, `old` is `None`) or for what the resize adds; what to charge.
///
/// Only growth is charged: what a resize gives back is returned when the quota controller counts again. Quotas are
/// enforced by their status; one without counts nothing yet.
///
/// # Errors
/// A quota that needs something the pod does not state, or that would be exceeded.
pub fn check(new: &Pod, old: Option<&Pod>, quotas: &[ResourceQuota]) -> Result<Vec<Charge>, Denial> {
    let mut interesting = Vec::new();
    for quota in quotas.iter().filter(|quota| in_scope(quota, new)) {
        let restricted = restricted(quota, is_pod_resource);
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        constraints(new, &restricted).map_err(|missing| Denial::because(format!("failed quota: {name}: {missing}")))?;
        interesting.extend(known(quota, is_pod_resource)?);
    }
    if interesting.is_empty() {
        return Ok(Vec::new());
    }
    let growth = growth(&usage(new), &old.map(usage).unwrap_or_default());
    if growth.is_empty() {
        return Ok(Vec::new());
    }
    interesting.into_iter().map(|(name, hard, used)| charge(name, &hard, used, &growth)).collect()
}

/// The quotas as they are counted once the pod is gone.
#[must_use]
pub fn released(pod: &Pod, quotas: &[ResourceQuota]) -> Vec<ResourceQuota> {
    let given_back = usage(pod);
    let mut quotas = quotas.to_vec();
    for quota in quotas.iter_mut().filter(|quota| in_scope(quota, pod)) {
        let Some(used) = quota.status.as_mut().and_then(|it| it.used.as_mut()) else { continue };
        let before = ResourceList::read(Some(used));
        let left = before.iter().map(|(name, used)| {
            let left = given_back.get(name).map_or_else(|| used.clone(), |it| used.clone() - it);
            (name, left.max(Quantity::ZERO))
        });
        *used = left.collect::<ResourceList>().to_wire();
    }
    quotas
}

/// The names of a quota's limits that `concerns` holds for, as its status has them.
fn restricted(quota: &ResourceQuota, concerns: impl Fn(&str) -> bool) -> Vec<&str> {
    let hard = quota.status.as_ref().and_then(|it| it.hard.as_ref());
    hard.into_iter().flat_map(|it| it.keys()).map(String::as_str).filter(|name| concerns(name)).collect()
}

/// Name, limits and use of a quota that limits something `concerns` holds for; `None` for one that does not.
pub(super) fn known(
    quota: &ResourceQuota,
    concerns: impl Fn(&str) -> bool,
) -> Result<Option<(&str, ResourceList, ResourceList)>, Denial> {
    let restricted = restricted(quota, concerns);
    if restricted.is_empty() {
        return Ok(None);
    }
    let status = quota.status.as_ref();
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let used = ResourceList::read(status.and_then(|status| status.used.as_ref()));
    if restricted.iter().any(|name| used.get(name).is_none()) {
        let restricted = restricted.join(",");
        return Err(Denial::because(format!("status unknown for quota: {name}, resources: {restricted}")));
    }
    Ok(Some((name, ResourceList::read(status.and_then(|status| status.hard.as_ref())), used)))
}

/// What is used more than before; nothing where it is less.
pub(super) fn growth(now: &ResourceList, before: &ResourceList) -> ResourceList {
    let mut growth: ResourceList = now
        .iter()
        .map(|(name, now)| match before.get(name) {
            Some(before) => (name, now.clone() - before),
            None => (name, now.clone()),
        })
        .collect();
    growth.retain(|_, quantity| quantity.sign() > 0);
    growth
}

pub(super) fn charge(
    name: &str,
    hard: &ResourceList,
    mut used: ResourceList,
    growth: &ResourceList,
) -> Result<Charge, Denial> {
    let mut exceeded: [Vec<String>; 3] = Default::default();
    for (resource, requested) in growth.iter() {
        let Some(limited) = hard.get(resource) else { continue };
        let before = used.get(resource).cloned().unwrap_or_default();
        used.add(resource, requested);
        if used.get(resource).is_some_and(|now| now > limited) {
            for (list, quantity) in exceeded.iter_mut().zip([requested, &before, limited]) {
                list.push(format!("{resource}={quantity}"));
            }
        }
    }
    let [requested, before, limited] = exceeded.map(|list| list.join(","));
    if requested.is_empty() {
        return Ok(Charge { quota: name.to_owned(), used: used.to_wire() });
    }
    Err(Denial::because(format!("exceeded quota: {name}, requested: {requested}, used: {before}, limited: {limited}")))
}

/// Whether quotas of this name are about pods.
fn is_pod_resource(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    name == PODS
        || name == POD_OBJECTS
        || [CPU, MEMORY, EPHEMERAL_STORAGE].contains(&plain)
        || is_hugepages(name)
        || name.strip_prefix("requests.").is_some_and(|it| is_hugepages(it) || is_extended(it))
}

/// Every container must state what the quota limits, unless the pod as a whole does.
fn constraints(pod: &Pod, restricted: &[&str]) -> Result<(), String> {
    const STATED: [&str; 6] = [CPU, MEMORY, "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
    let Some(spec) = &pod.spec else { return Ok(()) };
    let stated = |container: &Container| counted(&Requirements::read(container.resources.as_ref()));
    let whole = counted(&Requirements::read(spec.resources.as_ref()));
    let containers: Vec<(&str, ResourceList)> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|container| (container.name.as_str(), stated(container)))
        .collect();
    let mut missing = Vec::new();
    let required: BTreeSet<&str> = restricted.iter().copied().filter(|name| STATED.contains(name)).collect();
    for name in required.into_iter().filter(|name| whole.get(name).is_none()) {
        let without: BTreeSet<&str> = containers
            .iter()
            .filter(|(_, stated)| stated.get(name).is_none())
            .map(|(container, _)| *container)
            .collect();
        if !without.is_empty() {
            missing.push(format!("{name} for: {}", without.into_iter().collect::<Vec<_>>().join(",")));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("must specify {}", missing.join("; "))) }
}

/// Whether the quota counts such pods.
fn in_scope(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let plain = spec.scopes.iter().flatten().all(|scope| has_scope(pod, scope));
    let selectors = spec.scope_selector.iter().flat_map(|it| it.match_expressions.iter().flatten());
    plain && selectors.into_iter().all(|it| selected(pod, it))
}

fn selected(pod: &Pod, selector: &ScopedResourceSelectorRequirement) -> bool {
    if selector.scope_name != "PriorityClass" {
        return has_scope(pod, &selector.scope_name);
    }
    let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_deref()).filter(|it| !it.is_empty());
    let listed = class.is_some_and(|class| selector.values.iter().flatten().any(|value| value == class));
    match selector.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "DoesNotExist" => class.is_none(),
        _ => class.is_some(),
    }
}

fn has_scope(pod: &Pod, scope: &str) -> bool {
    let spec = pod.spec.as_ref();
    let terminating = spec.and_then(|spec| spec.active_deadline_seconds).is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => qos::compute(pod) == QosClass::BestEffort,
        "NotBestEffort" => qos::compute(pod) != QosClass::BestEffort,
        "PriorityClass" => spec.and_then(|spec| spec.priority_class_name.as_deref()).is_some_and(|it| !it.is_empty()),
        // Scopes of other kinds of objects, and those this server does not know, count no pod.
        _ => false,
    }
}
