//! Pods in one line each, and the amounts and readings that tests compare.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerResizePolicy, Pod, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::amounts::Amounts;

/// A pod from its line: parts separated by `;`, each `name: R{cpu=1,mem=1Gi} L{…} rp[cpu Restart]`. The name is `pod`
/// for pod-level resources, `init NAME` or `side NAME` for init containers, else a regular container's. A part's `R` and
/// `L` may be missing. `mem` is memory, `eph` ephemeral storage, `over` a part with the overhead as `R`.
#[track_caller]
pub fn pod(line: &str) -> Pod {
    let mut pod = Pod::default();
    let spec = pod.spec.get_or_insert_default();
    for part in line.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        let (name, rest) = part.split_once(':').unwrap_or_else(|| panic!("`{part}` has no name"));
        let resources = requirements(rest);
        match name.split_once(' ') {
            None if name == "pod" => spec.resources = resources,
            None if name == "over" => spec.overhead = resources.and_then(|it| it.requests),
            None => spec.containers.push(container(name, rest, resources)),
            Some((kind, name)) => {
                let mut container = container(name, rest, resources);
                container.restart_policy = (kind == "side").then(|| "Always".to_owned());
                spec.init_containers.get_or_insert_default().push(container);
            }
        }
    }
    pod
}

/// The same with a QoS class in its status.
#[track_caller]
pub fn classed(class: &str, line: &str) -> Pod {
    let mut pod = pod(line);
    pod.status = Some(PodStatus { qos_class: Some(class.to_owned()), ..PodStatus::default() });
    pod
}

fn container(name: &str, rest: &str, resources: Option<ResourceRequirements>) -> Container {
    let policies = within(rest, "rp[", ']').map(|policies| {
        let policies = policies.split(',').filter_map(|it| it.trim().split_once(' '));
        policies
            .map(|(resource, policy)| ContainerResizePolicy {
                resource_name: if resource == "mem" { "memory" } else { resource }.to_owned(),
                restart_policy: if policy == "Restart" { "RestartContainer" } else { "NotRequired" }.to_owned(),
            })
            .collect()
    });
    Container { name: name.to_owned(), resources, resize_policy: policies, ..Container::default() }
}

/// `R{cpu=1,mem=1Gi} L{…}`; `None` where there is neither.
pub fn requirements(text: &str) -> Option<ResourceRequirements> {
    let list = |open| within(text, open, '}').map(resource_list);
    let (requests, limits) = (list("R{"), list("L{"));
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements { requests, limits, claims: None })
}

fn resource_list(text: &str) -> BTreeMap<String, Quantity> {
    let entries = text.split(',').filter_map(|it| it.trim().split_once('='));
    let long = |name| match name {
        "mem" => "memory",
        "eph" => "ephemeral-storage",
        other => other,
    };
    entries.map(|(name, amount)| (long(name).to_owned(), Quantity(amount.to_owned()))).collect()
}

fn within<'a>(text: &'a str, open: &str, close: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inside, _)| inside)
}

/// Amounts from `R{…} L{…}`.
pub fn amounts(text: &str) -> Amounts {
    Amounts::of(requirements(text).as_ref())
}

pub const fn milli(amount: i64) -> MilliCpu {
    MilliCpu(amount)
}

pub const fn mi(amount: i64) -> Bytes {
    Bytes(amount << 20)
}

/// Seconds after an arbitrary beginning.
pub fn at(second: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + second, 0).expect("within the years jiff knows")
}
