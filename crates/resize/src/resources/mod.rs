//! Resource lists as numbers: parsing them out of a pod, putting them back in canonical form, and whose they are.

mod aggregate;
mod container;
mod list;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

pub use aggregate::{
    AggregateOptions, aggregate_container_limits, aggregate_container_requests, is_pod_level_resource, pod_limits,
    pod_limits_with, pod_requests, pod_requests_with, pod_requests_with_status,
};
pub(crate) use container::init_containers;
pub use container::{ContainerKind, ContainerRef, containers, resizable_containers};
pub(crate) use list::rewrite;
pub use list::{Requirements, ResourceList, WireList, is_extended, is_hugepages, is_native, wire_quantity};

/// The key of CPU in a resource list.
pub const CPU: &str = "cpu";
/// The key of memory in a resource list.
pub const MEMORY: &str = "memory";

/// A quantity of a pod that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(#[from] pub supple_quantity::ParseError);

/// Every resource list of the pod, spec and status, as decoding leaves it: quantities in canonical form (`0.5Gi` becomes
/// `512Mi`), an empty list absent.
///
/// # Errors
/// The first that cannot be read; the pod is then partly rewritten and to be thrown away.
pub fn canonicalise(pod: &mut Pod) -> Result<(), Unreadable> {
    for list in lists_mut(pod) {
        if let Some(entries) = list {
            rewrite(entries, |_| {})?;
        }
        list.take_if(|entries| entries.is_empty());
    }
    Ok(())
}

/// Every resource list of the pod, spec and status.
pub(crate) fn lists_mut(pod: &mut Pod) -> impl Iterator<Item = &mut Option<WireList>> {
    fn of(requirements: Option<&mut ResourceRequirements>) -> impl Iterator<Item = &mut Option<WireList>> {
        requirements.into_iter().flat_map(|it| [&mut it.limits, &mut it.requests])
    }
    let spec = pod.spec.iter_mut().flat_map(|spec| {
        let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        containers
            .flat_map(|it| of(it.resources.as_mut()))
            .chain(of(spec.resources.as_mut()))
            .chain([&mut spec.overhead])
    });
    let status = pod.status.iter_mut().flat_map(|status| {
        let regular = status.container_statuses.iter_mut().flatten();
        let containers = regular.chain(status.init_container_statuses.iter_mut().flatten());
        containers
            .flat_map(|it| of(it.resources.as_mut()).chain([&mut it.allocated_resources]))
            .chain(of(status.resources.as_mut()))
            .chain([&mut status.allocated_resources])
    });
    spec.chain(status)
}
