//! The node's half of a forecast: room, restarts, memory in use, and the values written.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use supple_quantity::{Bytes, MilliCpu};

use super::{Cgroups, Forecast, advice};
use crate::actuate::{self, Actuated, Plan, Situation};
use crate::allocate::{Allocation, Capacity, Decision, NodeView, Used, decide, restate};
use crate::amounts::{Amounts, Requirement, containers};
use crate::condition::ResizeConditions;
use crate::guard::{self, BelowUsage, MemoryUsage, Reason};
use crate::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use crate::resources::ResourceList;

/// The node object of the API, as far as it is known.
#[derive(Clone, Debug, Default)]
pub enum NodeObject {
    /// Not looked for, or not allowed to: nothing is said of it.
    #[default]
    Unknown,
    /// There is none of the name the pod has.
    Missing,
    /// This one.
    Present(Box<Node>),
}

/// What is known of the pod's node.
#[derive(Clone, Debug, Default)]
pub struct NodeSight {
    /// The node as the API has it.
    pub object: NodeObject,
    /// Its capacity and configuration.
    pub view: NodeView,
    /// What the other pods on it hold; `None`: not known.
    pub others: Option<Used>,
}

impl NodeSight {
    /// A node as any API shows it: the object, and all pods on it but the one to be resized. Static CPU and memory
    /// managers and swap do not show in the API and are taken to be off.
    #[must_use]
    pub fn from_api<'a>(node: &Node, others: impl IntoIterator<Item = &'a Pod>) -> Self {
        let allocatable = ResourceList::read(node.status.as_ref().and_then(|it| it.allocatable.as_ref()));
        let pods = allocatable.get("pods").map_or(0, supple_quantity::Quantity::value);
        let allocatable = Capacity {
            cpu: allocatable.cpu(),
            memory: allocatable.memory(),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
        };
        let mut used = Used { cpu: MilliCpu(0), memory: Bytes(0), pods: 0 };
        for pod in others.into_iter().filter(|it| !has_ended(it)) {
            used.add(pod, &Allocation::reported(pod));
        }
        let view = NodeView { allocatable, ..NodeView::default() };
        Self { object: NodeObject::Present(Box::new(node.clone())), view, others: Some(used) }
    }

    /// The same of a node of which all pods were given, with this one among them, for when that one is to be resized.
    #[must_use]
    pub fn without(&self, pod: &Pod) -> Self {
        let mut sight = self.clone();
        if let Some(used) = sight.others.as_mut().filter(|_| !has_ended(pod)) {
            let mut own = Used { cpu: MilliCpu(0), memory: Bytes(0), pods: 0 };
            own.add(pod, &Allocation::reported(pod));
            used.cpu.0 = used.cpu.0.saturating_sub(own.cpu.0);
            used.memory.0 = used.memory.0.saturating_sub(own.memory.0);
            used.pods = used.pods.saturating_sub(own.pods);
        }
        sight
    }
}

/// A pod in a final phase holds nothing on its node.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Carry an accepted resize on to the node: the first obstacle there, and what it writes.
pub(super) fn enact(pod: &Pod, desired: &Pod, sight: &NodeSight, usage: Option<&MemoryUsage>, forecast: &mut Forecast) {
    forecast.cgroups = cgroups(desired);
    let bound = pod.spec.as_ref().and_then(|it| it.node_name.as_deref()).is_some_and(|it| !it.is_empty());
    if !bound || has_ended(pod) {
        return; // stored, and nothing more: there is no node, or nothing runs
    }
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_deref()).unwrap_or_default();
    if ResizeConditions::read(conditions).in_progress.is_some() {
        let why = "what is in force while an earlier resize is in progress: the status does not say all of it";
        forecast.unforeseen.push(why.to_owned());
    }
    let allocated = Allocation::reported(pod);
    match &sight.others {
        None => forecast.unforeseen.push("whether the node has room: what its other pods hold is not known".to_owned()),
        Some(others) => match decide(desired, &allocated, &sight.view, others) {
            Decision::Unchanged | Decision::Allocate(_) => {}
            Decision::Deferred(shortage) => forecast.obstacle = Some(advice::deferred(&shortage)),
            Decision::Infeasible(why) => forecast.obstacle = Some(advice::infeasible(why)),
        },
    }
    let plan = planned(pod, desired, |_| false);
    if let Err(refusal) = guard::check(&plan, usage.unwrap_or(&MemoryUsage::default())) {
        let (unknown, known) = refusal
            .reasons
            .into_iter()
            .partition::<Vec<_>, _>(|it| matches!(it, Reason::PodUnknown | Reason::ContainerUnknown { .. }));
        forecast.unforeseen.extend(unknown.iter().map(|it| format!("whether memory in use leaves room: {it}")));
        if forecast.obstacle.is_none() && !known.is_empty() {
            forecast.obstacle = Some(advice::below_usage(&BelowUsage { reasons: known }));
        }
    }
    forecast.restarts = plan.restart;
    forecast.steps = plan.steps;
}

/// What a node would do that gives a pod all that is desired of it: which containers it restarts, what it writes, and which memory
/// limits it lowers on the way. A container runs if the status says so, or whoever asks knows better than a status that lags.
#[must_use]
pub fn planned(pod: &Pod, desired: &Pod, runs: impl Fn(&str) -> bool) -> Plan {
    let (actuated, running) = in_force(pod, runs);
    let cgroup = actuated.pod.map(|it| CgroupResources::of(&it, DEFAULT_PERIOD_US)).unwrap_or_default();
    actuate::plan(&Situation {
        pod: desired,
        actuated: &actuated,
        running: &running,
        cgroup,
        period_us: DEFAULT_PERIOD_US,
    })
}

/// What was actuated, as far as the status says: of each container that runs, and of the pod as the sum of them.
fn in_force(pod: &Pod, runs: impl Fn(&str) -> bool) -> (Actuated, BTreeMap<String, CgroupResources>) {
    let mut view = Allocation::reported(pod);
    let mut running = BTreeMap::new();
    for status in statuses(pod) {
        if let (Some(resources), Some(own)) = (&status.resources, view.containers.get_mut(&status.name)) {
            let mut resources = resources.clone();
            // A request that was never made is reported all the same where shares follow a limit (see `kernel`).
            if let Some(requests) = &mut resources.requests {
                requests.retain(|name, _| own.requests.as_ref().is_some_and(|it| it.contains_key(name)));
            }
            *own = resources;
        }
        if status.state.as_ref().is_some_and(|it| it.running.is_some()) {
            running.insert(status.name.clone(), CgroupResources::default());
        }
    }
    for container in containers(pod).filter(|it| runs(&it.name)) {
        running.entry(container.name.clone()).or_default();
    }
    let actual = pod.status.as_ref().and_then(|it| it.resources.as_ref());
    if let (Some(level), Some(actual)) = (view.pod.as_mut(), actual) {
        for requirement in [Requirement::Request, Requirement::Limit] {
            restate(level, &Amounts::of(Some(actual)), requirement, pod);
        }
    }
    let view = view.applied_to(pod);
    let mut actuated = Actuated::default();
    actuated.pod_created(actuate::pod_amounts(&view));
    for name in running.keys() {
        if let Some(amounts) = actuate::container_amounts(&view, name) {
            actuated.container_starting(name, amounts);
        }
    }
    (actuated, running)
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|it| it.init_container_statuses.as_ref()).into_iter().flatten();
    init.chain(status.and_then(|it| it.container_statuses.as_ref()).into_iter().flatten())
}

fn cgroups(pod: &Pod) -> Cgroups {
    let of = |name: &str| {
        let amounts = actuate::container_amounts(pod, name).unwrap_or_default();
        CgroupResources::of(&amounts, DEFAULT_PERIOD_US)
    };
    Cgroups {
        pod: CgroupResources::of(&actuate::pod_amounts(pod), DEFAULT_PERIOD_US),
        containers: containers(pod).map(|it| (it.name.clone(), of(&it.name))).collect(),
    }
}
