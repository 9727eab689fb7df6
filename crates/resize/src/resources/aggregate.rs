//! What a pod needs as a whole: containers, init order, sidecars, pod level, overhead, and what its status holds.
//!
//! Reference: §3.2, §3.6, §3.7. While the i-th init container runs, the pod needs that container and every sidecar before
//! it; afterwards all regular containers and all sidecars. The pod's need is the largest of these, resource by resource.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus, ResourceRequirements};

use super::container::ContainerKind;
use super::list::{ResourceList, WireList, is_hugepages};
use super::{CPU, MEMORY};

/// What counts, beside the containers' specs.
#[derive(Clone, Copy, Debug, Default)]
pub struct AggregateOptions {
    /// Count for each container the largest of what it asks for, what it was allocated and what it actually has; where the
    /// wish was found infeasible, only the latter two (§3.6, §3.7).
    pub use_status: bool,
    /// The same for the pod-level resources. The scheduler does; quota does not (§3.6).
    pub use_pod_status: bool,
    /// Leave out `spec.overhead`.
    pub without_overhead: bool,
    /// Leave out `spec.resources`, which otherwise replaces the containers' sum.
    pub without_pod_level: bool,
}

/// Whether a resource can be stated for the pod as a whole.
#[must_use]
pub fn is_pod_level_resource(name: &str) -> bool {
    name == CPU || name == MEMORY || is_hugepages(name)
}

/// What the pod asks for, by its spec alone, with overhead: what is compared with a node.
#[must_use]
pub fn pod_requests(pod: &Pod) -> ResourceList {
    pod_requests_with(pod, AggregateOptions::default())
}

/// What the pod may use at most, by its spec alone, with overhead where there is a limit.
#[must_use]
pub fn pod_limits(pod: &Pod) -> ResourceList {
    pod_limits_with(pod, AggregateOptions::default())
}

/// What the pod asks for or still holds: the scheduler's view, pod level included.
#[must_use]
pub fn pod_requests_with_status(pod: &Pod) -> ResourceList {
    pod_requests_with(pod, AggregateOptions { use_status: true, use_pod_status: true, ..Default::default() })
}

/// What the pod asks for.
#[must_use]
pub fn pod_requests_with(pod: &Pod, options: AggregateOptions) -> ResourceList {
    let mut sum = aggregate_container_requests(pod, options.use_status);
    let Some(spec) = &pod.spec else { return sum };
    if !options.without_pod_level && has_pod_level(spec.resources.as_ref(), |it| it.requests.as_ref()) {
        let mut own = ResourceList::read(spec.resources.as_ref().and_then(|it| it.requests.as_ref()));
        if options.use_pod_status {
            own = held(pod, own, pod.status.as_ref().and_then(PodHolding::of), Side::Requests);
        }
        replace_pod_level(&mut sum, &own);
    }
    if !options.without_overhead {
        sum.add_all(&ResourceList::read(spec.overhead.as_ref()));
    }
    sum
}

/// What the pod may use at most.
#[must_use]
pub fn pod_limits_with(pod: &Pod, options: AggregateOptions) -> ResourceList {
    let mut sum = aggregate_container_limits(pod, options.use_status);
    let Some(spec) = &pod.spec else { return sum };
    if !options.without_pod_level && has_pod_level(spec.resources.as_ref(), |it| it.limits.as_ref()) {
        let mut own = ResourceList::read(spec.resources.as_ref().and_then(|it| it.limits.as_ref()));
        if options.use_pod_status {
            own = held(pod, own, pod.status.as_ref().and_then(PodHolding::of), Side::Limits);
        }
        replace_pod_level(&mut sum, &own);
    }
    if !options.without_overhead {
        // Overhead is no limit of its own: it widens those there are.
        for (name, quantity) in ResourceList::read(spec.overhead.as_ref()).iter() {
            if sum.get(name).is_some() {
                sum.add(name, quantity);
            }
        }
    }
    sum
}

/// The containers' requests together, without pod level and overhead.
#[must_use]
pub fn aggregate_container_requests(pod: &Pod, use_status: bool) -> ResourceList {
    aggregate(pod, use_status, Side::Requests)
}

/// The containers' limits together, without pod level and overhead.
#[must_use]
pub fn aggregate_container_limits(pod: &Pod, use_status: bool) -> ResourceList {
    aggregate(pod, use_status, Side::Limits)
}

#[derive(Clone, Copy)]
enum Side {
    Requests,
    Limits,
}

impl Side {
    fn of(self, requirements: Option<&ResourceRequirements>) -> Option<&WireList> {
        requirements.and_then(|it| match self {
            Self::Requests => it.requests.as_ref(),
            Self::Limits => it.limits.as_ref(),
        })
    }
}

fn aggregate(pod: &Pod, use_status: bool, side: Side) -> ResourceList {
    let Some(spec) = &pod.spec else { return ResourceList::default() };
    let status = pod.status.as_ref().filter(|_| use_status);
    let mut running = ResourceList::default();
    for container in &spec.containers {
        let statuses = status.and_then(|it| it.container_statuses.as_deref());
        running.add_all(&needs(pod, container, statuses, side));
    }
    let (mut sidecars, mut starting) = (ResourceList::default(), ResourceList::default());
    for container in spec.init_containers.iter().flatten() {
        match ContainerKind::of_init(container) {
            ContainerKind::Sidecar => {
                let statuses = status.and_then(|it| it.init_container_statuses.as_deref());
                let own = needs(pod, container, statuses, side);
                running.add_all(&own);
                sidecars.add_all(&own);
                starting.raise_to(&sidecars);
            }
            // A plain init container counts by its spec alone: it ends.
            _ => {
                let mut now = ResourceList::read(side.of(container.resources.as_ref()));
                now.add_all(&sidecars);
                starting.raise_to(&now);
            }
        }
    }
    running.raise_to(&starting);
    running
}

/// What one container counts for.
fn needs(pod: &Pod, container: &Container, statuses: Option<&[ContainerStatus]>, side: Side) -> ResourceList {
    let wished = ResourceList::read(side.of(container.resources.as_ref()));
    let status = statuses.into_iter().flatten().find(|it| it.name == container.name);
    let holding = status
        .filter(|it| it.resources.is_some())
        .map(|it| Holding { actual: it.resources.as_ref(), allocated: it.allocated_resources.as_ref() });
    held(pod, wished, holding, side)
}

/// What somebody has besides what they wish for.
struct Holding<'a> {
    actual: Option<&'a ResourceRequirements>,
    allocated: Option<&'a WireList>,
}

/// Pod-level counterpart of a container's status.
struct PodHolding;

impl PodHolding {
    fn of(status: &PodStatus) -> Option<Holding<'_>> {
        status
            .resources
            .as_ref()
            .map(|actual| Holding { actual: Some(actual), allocated: status.allocated_resources.as_ref() })
    }
}

/// The wish, raised to what is held; only what is held where the wish was found infeasible.
fn held(pod: &Pod, wished: ResourceList, holding: Option<Holding<'_>>, side: Side) -> ResourceList {
    let Some(holding) = holding else { return wished };
    let mut sum = if is_infeasible(pod) { ResourceList::default() } else { wished };
    sum.raise_to(&ResourceList::read(side.of(holding.actual)));
    if matches!(side, Side::Requests) {
        sum.raise_to(&ResourceList::read(holding.allocated));
    }
    sum
}

/// Whether the node said that it can never do this resize: the first `PodResizePending` condition's reason, whatever its status
/// (§1.6).
fn is_infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|it| it.conditions.iter().flatten());
    let mut pending = conditions.filter(|it| it.type_ == "PodResizePending");
    pending.next().is_some_and(|it| it.reason.as_deref() == Some("Infeasible"))
}

fn has_pod_level(
    requirements: Option<&ResourceRequirements>,
    side: impl Fn(&ResourceRequirements) -> Option<&WireList>,
) -> bool {
    requirements.and_then(side).is_some_and(|list| list.keys().any(|name| is_pod_level_resource(name)))
}

fn replace_pod_level(sum: &mut ResourceList, own: &ResourceList) {
    for (name, quantity) in own.iter().filter(|(name, _)| is_pod_level_resource(name)) {
        sum.set(name, quantity.clone());
    }
}
