//! Requests and limits: of a container, of the pod, and of both together (reference §2.2).

use std::cmp::Ordering;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use supple_quantity::Quantity;

use super::names;
use crate::field::{FieldError, Path};
use crate::resources::{
    CPU, MEMORY, Requirements, ResourceList, aggregate_container_requests, is_extended, is_hugepages, is_native,
    is_pod_level_resource,
};

const NEGATIVE: &str = "must be greater than or equal to 0";

/// What is wrong with a container's resources; `claims` are the pod's resource claims.
pub(super) fn container(own: &ResourceRequirements, claims: &[&str], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = lists(own, path, container_name);
    let path = path.child("claims");
    for (index, claim) in own.claims.iter().flatten().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.push(path.required(""));
        } else if !claims.contains(&claim.name.as_str()) {
            errors.push(path.child("name").invalid(&claim.name, "must be one of the names in pod.spec.resourceClaims"));
        }
    }
    errors
}

/// What is wrong with the pod's own resources, alone and against its containers'.
pub(super) fn pod(pod: &Pod) -> Vec<FieldError> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let Some(own) = &spec.resources else { return Vec::new() };
    let root = Path::root("spec");
    let path = root.child("resources");
    let mut errors = Vec::new();
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        errors.push(path.forbidden("may not be set for a windows pod"));
    }
    if own.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        errors.push(path.child("claims").forbidden("claims may not be set for Resources at pod-level"));
    }
    errors.extend(lists(own, &path, pod_name));
    let own = Requirements::read(Some(own));
    let requests = path.child("requests");
    for (name, together) in aggregate_container_requests(pod, false).iter() {
        if let Some(request) = own.requests.get(name).filter(|request| *request < together) {
            let detail = format!("must be greater than or equal to aggregate container requests of {together}");
            errors.push(requests.key(name).invalid(request, detail));
        }
    }
    let containers = path.child("containers");
    for (index, container) in spec.containers.iter().enumerate() {
        let path = containers.index(index);
        let limits = ResourceList::read(container.resources.as_ref().and_then(|it| it.limits.as_ref()));
        for (name, limit) in limits.iter() {
            if let Some(bound) = own.limits.get(name).filter(|bound| limit > *bound) {
                let detail = format!("must be less than or equal to pod limits of {bound}");
                errors.push(path.key(name).child("limits").invalid(limit, detail));
            }
        }
    }
    errors
}

/// The rules both share: names, amounts, and requests against limits.
fn lists(
    own: &ResourceRequirements,
    path: &Path<'_>,
    check_name: fn(&str, &Path<'_>) -> Vec<FieldError>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let parsed = Requirements::read(Some(own));
    let (limits, requests) = (path.child("limits"), path.child("requests"));
    for (name, quantity) in parsed.limits.iter() {
        errors.extend(check_name(name, &limits.key(name)));
        errors.extend(amount(name, quantity, &limits.key(name)));
    }
    for (name, quantity) in parsed.requests.iter() {
        errors.extend(check_name(name, &requests.key(name)));
        errors.extend(amount(name, quantity, &requests.key(name)));
        let Some(limit) = parsed.limits.get(name) else {
            if !is_overcommittable(name) {
                errors.push(limits.required("Limit must be set for non overcommitable resources"));
            }
            continue;
        };
        match quantity.cmp(limit) {
            Ordering::Equal => {}
            _ if !is_overcommittable(name) => {
                errors.push(requests.invalid(quantity, format!("must be equal to {name} limit of {limit}")));
            }
            Ordering::Greater => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(requests.invalid(quantity, detail));
            }
            Ordering::Less => {}
        }
    }
    let states = |name: &str| parsed.limits.get(name).is_some() || parsed.requests.get(name).is_some();
    let hugepages = parsed.limits.iter().chain(parsed.requests.iter()).any(|(name, _)| is_hugepages(name));
    if hugepages && !states(CPU) && !states(MEMORY) {
        errors.push(path.forbidden("HugePages require cpu or memory"));
    }
    errors
}

fn amount(name: &str, quantity: &Quantity, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if quantity.sign() < 0 {
        errors.push(path.invalid(quantity, NEGATIVE));
    }
    if is_extended(name) && !is_whole(quantity) {
        errors.push(path.invalid(quantity, "must be an integer"));
    }
    if is_hugepages(name) && !is_multiple_of_page(name, quantity) {
        errors.push(path.invalid(quantity, format!("{quantity} is not positive integer multiple of {name}")));
    }
    errors
}

fn is_whole(quantity: &Quantity) -> bool {
    quantity.milli() % 1000 == 0
}

fn is_multiple_of_page(name: &str, quantity: &Quantity) -> bool {
    let page: Option<Quantity> = name.strip_prefix("hugepages-").and_then(|size| size.parse().ok());
    match page {
        // `checked_rem` for page sizes beyond 64 bits, whose view may be 0 or -1.
        Some(page) if page.sign() > 0 && is_whole(&page) => quantity.value().checked_rem(page.value()) == Some(0),
        _ => false,
    }
}

/// What a container can state: CPU, memory, ephemeral storage, huge pages, and what vendors define.
fn container_name(name: &str, path: &Path<'_>) -> Vec<FieldError> {
    let wrong = names::qualified(name);
    if !wrong.is_empty() {
        return wrong.into_iter().map(|it| path.invalid(name, it)).collect();
    }
    let mut errors = Vec::new();
    if name.contains('/') {
        // Quotas count it under this longer name, which has to be one too.
        let countable = is_extended(name) && names::qualified(&format!("requests.{name}")).is_empty();
        if !is_native(name) && !countable {
            errors.push(path.invalid(name, "doesn't follow extended resource name standard"));
        }
        return errors;
    }
    if !is_standard(name) {
        errors.push(path.invalid(name, "must be a standard resource type or fully qualified"));
    }
    if ![CPU, MEMORY, "ephemeral-storage"].contains(&name) && !is_hugepages(name) {
        errors.push(path.invalid(name, "must be a standard resource for containers"));
    }
    errors
}

fn pod_name(name: &str, path: &Path<'_>) -> Vec<FieldError> {
    if is_pod_level_resource(name) {
        return Vec::new();
    }
    vec![path.not_supported(name, &["cpu", "hugepages-", "memory"])]
}

/// Names without a domain that mean something somewhere: in containers, in quotas, in claims.
fn is_standard(name: &str) -> bool {
    const PLAIN: [&str; 13] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    let prefixed = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    PLAIN.contains(&name) || PLAIN[..4].contains(&prefixed) || is_hugepages(prefixed)
}

/// Whether more may be limited than is requested.
fn is_overcommittable(name: &str) -> bool {
    is_native(name) && !is_hugepages(name)
}
