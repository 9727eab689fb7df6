//! Limit ranges: defaults for containers that state nothing, and bounds for what they state (reference §3.4).
//!
//! Both run on creation and on resizes, not on plain updates.

use std::cmp::Ordering;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, Pod, ResourceRequirements};
use supple_quantity::Quantity;

use super::Denial;
use crate::field;
use crate::resources::{
    AggregateOptions, Requirements, ResourceList, WireList, pod_limits_with, pod_requests_with, wire_quantity,
};

/// The annotation that says what was filled in; a resize drops it, as any metadata.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// What a limit range itself leaves out, filled in when it is stored: a default limit is the maximum, a default request the
/// default limit or else the minimum (containers only).
pub fn apply_defaults(range: &mut LimitRange) {
    fn fill(into: &mut Option<WireList>, from: Option<&WireList>) {
        for (name, quantity) in from.into_iter().flatten() {
            into.get_or_insert_default().entry(name.clone()).or_insert_with(|| quantity.clone());
        }
    }
    let items = range.spec.iter_mut().flat_map(|spec| &mut spec.limits);
    for item in items.filter(|item| item.type_ == "Container") {
        fill(&mut item.default, item.max.as_ref());
        fill(&mut item.default_request, item.default.as_ref());
        fill(&mut item.default_request, item.min.as_ref());
    }
}

/// Gives containers and init containers the default requests and limits they lack.
pub fn default_pod(pod: &mut Pod, ranges: &[LimitRange]) {
    for range in ranges {
        let (mut requests, mut limits) = (WireList::new(), WireList::new());
        for item in items(range).filter(|item| item.type_ == "Container") {
            requests.extend(item.default_request.clone().unwrap_or_default());
            limits.extend(item.default.clone().unwrap_or_default());
        }
        let Some(spec) = &mut pod.spec else { return };
        let mut filled = Vec::new();
        for container in &mut spec.containers {
            fill_container(container, "container", &requests, &limits, &mut filled);
        }
        for container in spec.init_containers.iter_mut().flatten() {
            fill_container(container, "init container", &requests, &limits, &mut filled);
        }
        if !filled.is_empty() {
            let text = format!("LimitRanger plugin set: {}", filled.join("; "));
            pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
        }
    }
}

fn items(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

fn fill_container(
    container: &mut Container,
    kind: &str,
    requests: &WireList,
    limits: &WireList,
    filled: &mut Vec<String>,
) {
    let own: &mut ResourceRequirements = container.resources.get_or_insert_default();
    for (list, defaults, word) in [(&mut own.requests, requests, "request"), (&mut own.limits, limits, "limit")] {
        let missing: Vec<&str> = defaults
            .keys()
            .filter(|name| list.as_ref().is_none_or(|list| !list.contains_key(*name)))
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            continue;
        }
        filled.push(format!("{} {word} for {kind} {}", missing.join(", "), container.name));
        let list = list.get_or_insert_default();
        for (name, quantity) in defaults {
            list.entry(name.clone()).or_insert_with(|| quantity.clone());
        }
    }
}

/// Whether the pod is within every bound.
///
/// # Errors
/// All that are broken, in one denial per limit range: the first range that is broken decides.
pub fn validate_pod(pod: &Pod, ranges: &[LimitRange]) -> Result<(), Denial> {
    for range in ranges {
        let mut broken = Vec::new();
        for item in items(range) {
            match item.type_.as_str() {
                "Container" => {
                    let spec = pod.spec.iter();
                    let containers =
                        spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
                    for container in containers {
                        check(item, &Requirements::read(container.resources.as_ref()), &mut broken);
                    }
                }
                "Pod" => {
                    // The pod's spec, never its status; overhead is the node's business.
                    let options = AggregateOptions { without_overhead: true, ..Default::default() };
                    let whole = Requirements {
                        requests: pod_requests_with(pod, options),
                        limits: pod_limits_with(pod, options),
                    };
                    check(item, &whole, &mut broken);
                }
                _ => {}
            }
        }
        if !broken.is_empty() {
            return Err(Denial::because(field::join(&broken)));
        }
    }
    Ok(())
}

fn check(item: &LimitRangeItem, stated: &Requirements, broken: &mut Vec<String>) {
    let bounds = |list: &Option<WireList>| ResourceList::read(list.as_ref());
    for (name, bound) in bounds(&item.min).iter() {
        let (request, limit) = (stated.requests.get(name), stated.limits.get(name));
        let head = format!("minimum {name} usage per {} is {bound}", item.type_);
        match (request, limit) {
            (None, _) => broken.push(format!("{head}.  No request is specified")),
            (Some(request), _) if request < bound => broken.push(format!("{head}, but request is {request}")),
            (_, Some(limit)) if limit < bound => broken.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, bound) in bounds(&item.max).iter() {
        let (request, limit) = (stated.requests.get(name), stated.limits.get(name));
        let head = format!("maximum {name} usage per {} is {bound}", item.type_);
        match (limit, request) {
            (None, _) => broken.push(format!("{head}.  No limit is specified")),
            (Some(limit), _) if limit > bound => broken.push(format!("{head}, but limit is {limit}")),
            (_, Some(request)) if request > bound => broken.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }
    for (name, bound) in item.max_limit_request_ratio.iter().flatten() {
        let bound = wire_quantity(bound);
        let head = format!("{name} max limit to request ratio per {} is {bound}", item.type_);
        let positive = |list: &ResourceList| list.get(name).filter(|it| !it.is_zero()).map(milli);
        match (positive(&stated.requests), positive(&stated.limits)) {
            (None, _) => broken.push(format!("{head}, but no request is specified or request is 0")),
            (_, None) => broken.push(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) if exceeds(limit, request, milli(&bound)) => {
                let mut text = format!("{head}, but provided ratio is ");
                write_ratio(&mut text, limit, request);
                broken.push(text);
            }
            _ => {}
        }
    }
}

/// Thousandths, exact and wide: ratios are of amounts of one resource, and their product is taken below.
fn milli(quantity: &Quantity) -> i128 {
    let supple_quantity::MilliCpu(milli) = quantity.into();
    i128::from(milli)
}

/// Whether limit / request > bound, the bound in thousandths. Both products stay below 2^127: 63 bits and 63, or 63 and 10.
fn exceeds(limit: i128, request: i128, bound: i128) -> bool {
    (limit * 1000).cmp(&(bound * request)) == Ordering::Greater
}

/// Six digits after the point, rounded to the nearest, without a binary fraction in between.
fn write_ratio(text: &mut String, limit: i128, request: i128) {
    const SCALE: i128 = 1_000_000;
    let scaled = (limit * SCALE * 2 + request) / (request * 2);
    // Writing to a String cannot fail.
    let _ = write!(text, "{}.{:06}", scaled / SCALE, (scaled % SCALE).abs());
}
