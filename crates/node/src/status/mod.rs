//! What a pod's status says, built from what its worker knows: phase, conditions, and a status per container.
//!
//! Pure: the same state gives the same status. What is reported about resources comes from `supple_resize::status`.

pub(crate) mod writer;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use supple_resize::actuate::Actuated;
use supple_resize::allocate::Allocation;
use supple_resize::condition::{POD_RESIZE_IN_PROGRESS, POD_RESIZE_PENDING, ResizeConditions};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::status::{Observed, Reported};

use crate::runtime::{ContainerRef, PodRef, Runtime};
use crate::worker::lifecycle::{Outcome, is_sidecar};
use crate::worker::runs::{Container, Containers, Ended, Run, Waiting};

/// Pods have no network of their own here: they are reached where the node is.
const HOST_IP: &str = "127.0.0.1";

/// Conditions this node owns; all others in a status belong to somebody else and are kept.
const OWNED: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    POD_RESIZE_PENDING,
    POD_RESIZE_IN_PROGRESS,
];

/// The condition of a pod that has to go for another.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Why a pod failed or is failing, beyond its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `OutOfcpu`, `DeadlineExceeded`, `Preempting`, ….
    pub(crate) reason: String,
    /// In words.
    pub(crate) message: String,
}

/// Everything a status is built from.
pub(crate) struct Facts<'a> {
    /// The pod as the API has it.
    pub(crate) api: &'a Pod,
    /// The same with its allocated resources.
    pub(crate) view: &'a Pod,
    /// What it was promised.
    pub(crate) allocation: &'a Allocation,
    /// What its cgroups were given.
    pub(crate) actuated: &'a Actuated,
    /// Its resize conditions.
    pub(crate) resize: &'a ResizeConditions,
    /// Its containers.
    pub(crate) containers: &'a Containers,
    /// Whether its own cgroup stands.
    pub(crate) sandbox: bool,
    /// Whether its init containers are done.
    pub(crate) initialized: bool,
    /// How it has ended by itself.
    pub(crate) outcome: Option<Outcome>,
    /// Why it was made to fail.
    pub(crate) failure: Option<&'a Failure>,
    /// When the node first saw it; `None` for a pod it rejected.
    pub(crate) started_at: Option<Timestamp>,
    /// Who it is to the runtime.
    pub(crate) id: &'a PodRef,
    /// What runs it: knows the names of containers and the pod's address.
    pub(crate) runtime: &'a dyn Runtime,
    /// The conditions of the status published before, for their times.
    pub(crate) previous: &'a [Since],
    /// Now.
    pub(crate) now: Timestamp,
}

/// The status of a pod.
pub(crate) fn build(facts: &Facts<'_>) -> PodStatus {
    let spec = facts.api.spec.as_ref();
    let inits = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let mains = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let old = facts.api.status.as_ref();
    let mut status = PodStatus {
        qos_class: old.and_then(|old| old.qos_class.clone()),
        nominated_node_name: old.and_then(|old| old.nominated_node_name.clone()),
        observed_generation: facts.api.metadata.generation,
        start_time: facts.started_at.map(Time),
        ..PodStatus::default()
    };
    if let Some(Failure { reason, message }) = facts.failure {
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
    }
    let rejected = facts.started_at.is_none();
    if !rejected {
        status.host_ip = Some(HOST_IP.into());
        status.host_ips = Some(vec![HostIP { ip: HOST_IP.into() }]);
        status.init_container_statuses =
            (!inits.is_empty()).then(|| inits.iter().map(|spec| container_status(facts, spec, true)).collect());
        status.container_statuses = Some(mains.iter().map(|spec| container_status(facts, spec, false)).collect());
    }
    let phase = phase(facts, mains);
    if facts.sandbox {
        let ip = facts.runtime.pod_ip(facts.id).unwrap_or_else(|| HOST_IP.to_owned());
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
    }
    if !rejected {
        let reported = supple_resize::status::pod(facts.view, facts.actuated, phase == "Running");
        status.resources = Some(reported.resources);
        status.allocated_resources = reported.allocated_resources;
    }
    status.conditions = Some(conditions(facts, &status, phase));
    status.phase = Some(phase.into());
    status
}

fn phase(facts: &Facts<'_>, mains: &[Spec]) -> &'static str {
    if facts.failure.is_some() {
        return "Failed";
    }
    match facts.outcome {
        Some(Outcome::Succeeded) => return "Succeeded",
        Some(Outcome::Failed) => return "Failed",
        None => {}
    }
    // A container that has never run holds the whole pod back, one that waits for its restart does not (the kubelet's
    // getPhase).
    let all_have_run = mains.iter().all(|spec| facts.containers.get(&spec.name).is_some_and(|c| c.run.is_some()));
    if facts.initialized && all_have_run { "Running" } else { "Pending" }
}

fn container_status(facts: &Facts<'_>, spec: &Spec, init: bool) -> ContainerStatus {
    let never_ran = Box::<Container>::default();
    let container = facts.containers.get(&spec.name).unwrap_or(&never_ran);
    let id = |attempt: u32| {
        let id = ContainerRef { pod: facts.id.clone(), container: spec.name.clone(), attempt };
        facts.runtime.container_id(&id)
    };
    let running = container.is_running();
    let done = container.ended().is_some_and(|ended| ended.exit.code == 0);
    let (state, last) = states(facts, container, init, &id);
    let reported = container.run.as_ref().map(|run| resources(facts, spec, matches!(run, Run::Running { .. })));
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: container.run.as_ref().map(|_| spec.image.clone().unwrap_or_default()).unwrap_or_default(),
        container_id: container.run.as_ref().map(|run| id(run.attempt())),
        restart_count: i32::try_from(container.restarts()).unwrap_or(i32::MAX),
        // An init container is ready when it has done its part; without probes all others are when they run.
        ready: if init && !is_sidecar(spec) { done } else { running },
        started: Some(running),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        resources: reported.as_ref().map(|it| it.resources.clone()),
        allocated_resources: reported.and_then(|it| it.allocated_resources),
        ..ContainerStatus::default()
    }
}

/// `state` and `lastState`: a container that waits to be restarted shows how it ended as its last state.
fn states(
    facts: &Facts<'_>,
    container: &Container,
    init: bool,
    id: &impl Fn(u32) -> String,
) -> (ContainerState, Option<ContainerState>) {
    let previous = container.previous.as_ref().map(|ended| terminated(ended, id));
    let waits = |waiting: Waiting| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(waiting.reason), message: waiting.message }),
        ..ContainerState::default()
    };
    match (&container.run, &container.waiting) {
        (Some(Run::Running { started_at, .. }), _) => {
            let running = ContainerStateRunning { started_at: Some(Time(*started_at)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, previous)
        }
        (Some(Run::Ended(ended)), Some(waiting)) => (waits(waiting.clone()), Some(terminated(ended, id))),
        (Some(Run::Ended(ended)), None) => (terminated(ended, id), previous),
        (None, Some(waiting)) => (waits(waiting.clone()), previous),
        (None, None) => {
            let spec = facts.api.spec.as_ref();
            let waits_for_init =
                !init && spec.is_some_and(|spec| spec.init_containers.iter().flatten().next().is_some());
            let reason = if waits_for_init || init { "PodInitializing" } else { "ContainerCreating" };
            (waits(Waiting { reason: reason.into(), message: None }), previous)
        }
    }
}

fn terminated(ended: &Ended, id: &impl Fn(u32) -> String) -> ContainerState {
    let exit = &ended.exit;
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(id(ended.attempt)),
            exit_code: exit.code,
            // The API knows no signal 0; the exit code says 128+n already.
            signal: exit.signal.filter(|signal| *signal > 0),
            reason: Some(ended.reason.clone()),
            message: ended.message.clone(),
            started_at: Some(Time(exit.started_at)),
            finished_at: Some(Time(exit.finished_at)),
        }),
        ..ContainerState::default()
    }
}

fn resources(facts: &Facts<'_>, spec: &Spec, running: bool) -> Reported {
    let none = ResourceRequirements::default();
    let allocated = facts.allocation.containers.get(&spec.name).unwrap_or(&none);
    if !running {
        return supple_resize::status::container(allocated, Observed::Stopped);
    }
    let actuated = facts.actuated.containers.get(&spec.name);
    // What was written is what is there: nobody else writes below the node's own cgroup, and drift is not repaired
    // either (reference §5.7). Reading four files per container and status would cost more than the resize.
    let written = actuated.map(|amounts| CgroupResources::of(amounts, DEFAULT_PERIOD_US));
    let previous = None;
    supple_resize::status::container(allocated, Observed::Running { actuated, cgroup: written.as_ref(), previous })
}

fn conditions(facts: &Facts<'_>, status: &PodStatus, phase: &str) -> Vec<PodCondition> {
    let api = facts.api.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut conditions = Vec::new();
    if facts.started_at.is_some() {
        let names = |statuses: Option<&[ContainerStatus]>| -> Vec<String> {
            statuses.unwrap_or_default().iter().filter(|it| !it.ready).map(|it| it.name.clone()).collect()
        };
        let initialized = if facts.initialized || phase == "Succeeded" {
            Verdict::yes((phase == "Succeeded").then_some("PodCompleted"))
        } else {
            let waiting = names(status.init_container_statuses.as_deref()).join(" ");
            Verdict::no("ContainersNotInitialized", Some(format!("containers with incomplete status: [{waiting}]")))
        };
        let unready = names(status.container_statuses.as_deref());
        let containers_ready = match phase {
            "Succeeded" => Verdict::no("PodCompleted", None),
            "Failed" => Verdict::no("PodFailed", None),
            _ if unready.is_empty() => Verdict::yes(None),
            _ => Verdict::no(
                "ContainersNotReady",
                Some(format!("containers with unready status: [{}]", unready.join(" "))),
            ),
        };
        let ready = gates(facts, api).filter(|_| containers_ready.status).unwrap_or_else(|| containers_ready.clone());
        conditions.push(condition(
            facts,
            "PodReadyToStartContainers",
            Verdict { status: facts.sandbox, ..Verdict::yes(None) },
        ));
        conditions.push(condition(facts, "Initialized", initialized));
        conditions.push(condition(facts, "Ready", ready));
        conditions.push(condition(facts, "ContainersReady", containers_ready));
        conditions.push(condition(facts, "PodScheduled", Verdict::yes(None)));
    }
    conditions.extend(facts.resize.to_conditions());
    conditions.extend(api.iter().filter(|it| is_foreign(it)).cloned());
    if facts.failure.is_some_and(|failure| failure.reason == PREEMPTING) {
        conditions.retain(|it| it.type_ != DISRUPTION_TARGET);
        let verdict = Verdict {
            status: true,
            reason: Some("TerminationByKubelet".into()),
            message: Some("Pod was preempted by Kubelet to accommodate a critical pod.".into()),
        };
        conditions.push(condition(facts, DISRUPTION_TARGET, verdict));
    }
    conditions
}

/// `status.reason` of a pod that had to go for a critical one.
pub(crate) const PREEMPTING: &str = "Preempting";

/// Whether a condition belongs to somebody else.
pub(crate) fn is_foreign(condition: &PodCondition) -> bool {
    !OWNED.contains(&condition.type_.as_str())
}

/// What keeps a pod from being ready although its containers are: a readiness gate whose condition is not true.
fn gates(facts: &Facts<'_>, api: &[PodCondition]) -> Option<Verdict> {
    let gates = facts.api.spec.as_ref()?.readiness_gates.as_ref()?;
    let unmet: Vec<String> = gates
        .iter()
        .map(|gate| &gate.condition_type)
        .filter_map(|type_| match api.iter().find(|it| it.type_ == *type_) {
            None => Some(format!("corresponding condition of pod readiness gate {type_:?} does not exist.")),
            Some(it) if it.status != "True" => {
                Some(format!("the status of pod readiness gate {type_:?} is not \"True\", but {}", it.status))
            }
            Some(_) => None,
        })
        .collect();
    (!unmet.is_empty()).then(|| Verdict::no("ReadinessGatesNotReady", Some(unmet.join(", "))))
}

#[derive(Clone)]
struct Verdict {
    status: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Verdict {
    fn yes(reason: Option<&str>) -> Self {
        Self { status: true, reason: reason.map(Into::into), message: None }
    }

    fn no(reason: &str, message: Option<String>) -> Self {
        Self { status: false, reason: Some(reason.into()), message }
    }
}

/// Since when a condition is as it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Since {
    type_: &'static str,
    status: bool,
    at: Timestamp,
}

/// The same of all that this node says: what the next status looks at.
pub(crate) fn since(conditions: &[PodCondition]) -> Box<[Since]> {
    let own = |it: &PodCondition| {
        let type_ = OWNED.into_iter().chain([DISRUPTION_TARGET]).find(|type_| it.type_ == *type_)?;
        let status = match it.status.as_str() {
            "True" => true,
            "False" => false,
            _ => return None,
        };
        Some(Since { type_, status, at: it.last_transition_time.as_ref()?.0 })
    };
    conditions.iter().filter_map(own).collect()
}

fn condition(facts: &Facts<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let old = facts.previous.iter().find(|it| it.type_ == type_ && it.status == verdict.status);
    PodCondition {
        type_: type_.into(),
        status: status.into(),
        reason: verdict.reason,
        message: verdict.message,
        observed_generation: facts.api.metadata.generation,
        last_probe_time: None,
        // Only a change of status moves the time.
        last_transition_time: Some(Time(old.map_or(facts.now, |it| it.at))),
    }
}
