//! Facts out of API objects: what a decision needs of a pod or a node, and nothing else of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Node, NodeStatus, Pod, PodCondition, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use supple_quantity::{Bytes, Quantity};
use supple_resize::allocate::{Capacity, restarts_for};
use supple_resize::amounts::{Resource, requests_of};
use supple_resize::qos;
use supple_resize::resources::{CPU, ContainerKind, MEMORY, ResourceList, WireList, containers};

use crate::at::At;
use crate::facts::{
    ContainerFacts, ContainerShape, Fixed, LastEnd, NodeFacts, Noted, NotedLowered, Phase, PodFacts, PodLevelHeld,
    PodShape,
};
use crate::few::Few;
use crate::hand::hand;
use crate::key::{PodKey, WorkloadKey};
use crate::names::{LAST_RESIZE, PREFIX, SIMULATED, SIZED_AT_CREATION};
use crate::note::{LastResize, SizedAtCreation};
use crate::numbers::Numbers;
use crate::progress::{Progress, asked_at, container_status, progress};

/// What runc says, in the status of a container that cannot be started, if its first process is killed for want of memory.
const KILLED_AT_START: &str = "container init was OOM-killed";

/// The word for "killed for want of memory" in a container's status.
const OUT_OF_MEMORY: &str = "OOMKilled";

impl PodFacts {
    /// Of a pod; whose it is takes look-ups, and is known to the caller.
    #[must_use]
    pub fn of(pod: &Pod, workload: WorkloadKey) -> Self {
        // One copy of the namespace for all pods of a workload.
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let namespace =
            Some(&workload.namespace).filter(|it| ***it == *namespace).map_or_else(|| namespace.into(), Arc::clone);
        let key = PodKey::within(pod, namespace);
        let spec = pod.spec.as_ref();
        let empty = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&empty);
        let condition = |kind: &str| status.conditions.iter().flatten().find(|it| it.type_ == kind);
        let started = time(status.start_time.as_ref()).or(time(pod.metadata.creation_timestamp.as_ref()));
        let since = |it: &PodCondition| time(it.last_transition_time.as_ref()).or(started);
        let ready_is = |value: &str| condition("Ready").filter(|it| it.status == value);
        let pending = condition("PodResizePending").filter(|it| it.status == "True");
        let in_progress = condition("PodResizeInProgress").filter(|it| it.status == "True");
        let generation = pod.metadata.generation.unwrap_or_default();
        let pod_level = Numbers::read(spec.and_then(|it| it.resources.as_ref()));
        let held = spec.is_some_and(|it| it.resources.is_some()).then(|| {
            let allocated = status.allocated_resources.as_ref().map(requested);
            let actual = status.resources.as_ref().map(|it| Numbers::read(Some(it)));
            Box::new(PodLevelHeld { allocated, actual })
        });
        let own: Vec<ContainerFacts> =
            containers(pod).map(|it| ContainerFacts::of(pod, it.container, it.kind)).collect();
        let note = LastResize::read(pod).map(|it| {
            // One copy of the names here too.
            let known = |name: &str| own.iter().find(|it| *it.name == *name).map(|it| Arc::clone(&it.name));
            Box::new(Noted::with(&it, |name| known(name).unwrap_or_else(|| Arc::from(name))))
        });
        let progress = progress(pod, generation);
        let told = pending.or(in_progress).and_then(since);
        let progress_since =
            told.or_else(|| asked_at(pod, note.as_deref()).filter(|_| progress == Progress::Underway)).map(At::from);
        let class = spec.and_then(|it| it.priority_class_name.as_deref()).filter(|it| !it.is_empty());
        let shape = PodShape {
            workload,
            qos: qos::recorded(pod),
            revision: label(&pod.metadata, "pod-template-hash")
                .or_else(|| label(&pod.metadata, "controller-revision-hash"))
                .or_else(|| label(&pod.metadata, "rollouts-pod-template-hash"))
                .map(Arc::from),
            pod_level,
            pod_level_held: held,
            overhead: spec.and_then(|it| it.overhead.as_ref()).map(requested).unwrap_or_default(),
            priority: spec.and_then(|it| it.priority).unwrap_or_default(),
            words: words(&pod.metadata),
            sized: SizedAtCreation::read(&pod.metadata).map(|it| {
                let before = it.before.iter().map(|(name, it)| (Arc::from(name.as_str()), Numbers::of(it)));
                Box::new(before.collect())
            }),
            do_not_evict: annotation(&pod.metadata, "cluster-autoscaler.kubernetes.io/safe-to-evict") == Some("false")
                || annotation(&pod.metadata, "karpenter.sh/do-not-disrupt") == Some("true"),
            fixed: fixed(pod),
            never_restarts: spec.and_then(|it| it.restart_policy.as_deref()) == Some("Never"),
            priority_class: class.map(Arc::from),
            has_deadline: spec.and_then(|it| it.active_deadline_seconds).is_some_and(|it| it >= 0),
        };
        Self {
            key,
            shape: Arc::new(shape),
            generation,
            node: spec.and_then(|it| it.node_name.as_deref()).filter(|it| !it.is_empty()).map(Arc::from),
            phase: match status.phase.as_deref() {
                Some("Running") => Phase::Running,
                Some("Succeeded" | "Failed") => Phase::Ended,
                Some("Unknown") => Phase::Unknown,
                _ => Phase::Pending,
            },
            evicted: (status.reason.as_deref() == Some("Evicted"))
                .then(|| Box::new(used_when_evicted(status.message.as_deref().unwrap_or_default()))),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            leaving: leaving(&pod.metadata, status).map(At::from),
            started: started.map(At::from),
            made: time(pod.metadata.creation_timestamp.as_ref()).map(At::from),
            ready: ready_is("True").map(|it| since(it).unwrap_or(Timestamp::UNIX_EPOCH).into()),
            unready: ready_is("False").map(|it| since(it).unwrap_or(Timestamp::UNIX_EPOCH).into()),
            progress,
            progress_since,
            hand: hand(pod),
            note,
            containers: own,
        }
    }
}

/// Since when a pod is on its way out by somebody else's doing. A deletion says when its grace is over, and how long that is. Of a pod
/// that was ended as a whole, by a deadline or its node, the reason is there and no moment: it is not ready from then on.
fn leaving(meta: &ObjectMeta, status: &PodStatus) -> Option<Timestamp> {
    let since = |kind: &str, value: &str| {
        let found = status.conditions.iter().flatten().find(|it| it.type_ == kind && it.status == value);
        found.map(|it| time(it.last_transition_time.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    let asked = time(meta.deletion_timestamp.as_ref()).map(|over| {
        let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or_default().max(0));
        over.checked_sub(grace).unwrap_or(over)
    });
    let ended = (status.phase.as_deref() == Some("Failed") && status.reason.as_ref().is_some_and(|it| !it.is_empty()))
        .then(|| since("Ready", "False").unwrap_or(Timestamp::UNIX_EPOCH));
    [asked, since("DisruptionTarget", "True"), ended].into_iter().flatten().min()
}

/// What containers used of the memory their node was short of, out of the sentence in which a kubelet says so:
/// `… Container app was using 300Mi, request is 100Mi, has larger consumption of memory.`
fn used_when_evicted(message: &str) -> Few<Arc<str>, Bytes> {
    let one = |said: &str| {
        let (name, rest) = said.split_once(" was using ")?;
        let (used, rest) = rest.split_once(", request is ")?;
        let used = rest.contains("consumption of memory").then(|| used.parse::<Quantity>().ok())??;
        Some((Arc::from(name), Bytes::from(&used)))
    };
    message.split("Container ").skip(1).filter_map(one).collect()
}

/// Labels and annotations that speak to us, what we note ourselves left out; a label wins over an annotation of the same name. For
/// pods, workloads and namespaces alike.
#[must_use]
pub fn words(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let ours = |list: &Option<BTreeMap<String, String>>| {
        let is_note = |name: &str| [LAST_RESIZE, SIZED_AT_CREATION].contains(&name);
        let is_word = |name: &str| name.starts_with(PREFIX) && !is_note(name) && !SIMULATED.contains(&name);
        let list = list.iter().flatten().filter(|(name, _)| is_word(name));
        list.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    ours(&meta.annotations).into_iter().chain(ours(&meta.labels)).collect()
}

fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

fn time(it: Option<&Time>) -> Option<Timestamp> {
    it.map(|it| it.0)
}

fn fixed(pod: &Pod) -> Option<Fixed> {
    let status = pod.status.as_ref();
    let claims = status.and_then(|it| it.node_allocatable_resource_claim_statuses.as_ref());
    if annotation(&pod.metadata, "kubernetes.io/config.mirror").is_some() {
        Some(Fixed::StaticPod)
    } else if pod.spec.as_ref().and_then(|it| it.os.as_ref()).is_some_and(|it| it.name == "windows") {
        Some(Fixed::Windows)
    } else {
        claims.is_some_and(|it| !it.is_empty()).then_some(Fixed::ResourceClaims)
    }
}

/// The requests of a list; what is not in it stays absent.
fn requested(list: &WireList) -> Numbers {
    let amounts = requests_of(Some(list));
    Numbers {
        cpu_request: list.contains_key(CPU).then_some(amounts.cpu_request),
        memory_request: list.contains_key(MEMORY).then_some(amounts.memory_request),
        ..Numbers::default()
    }
}

impl Noted {
    /// Of the note itself, rounded up where it is finer than integers.
    #[must_use]
    pub fn of(note: &LastResize) -> Self {
        Self::with(note, |name| Arc::from(name))
    }

    /// As [`Self::of`], with the names as they are kept.
    fn with(note: &LastResize, kept: impl Fn(&str) -> Arc<str>) -> Self {
        let before = |name: &String| note.before.get(name).map(Numbers::of).unwrap_or_default();
        let containers = note.after.iter().map(|(name, it)| (kept(name), before(name), Numbers::of(it)));
        let lowered = note.lowered.as_ref().map(|it| {
            let from = it.from.iter().map(|(name, from)| (kept(name), Numbers::of(from)));
            Box::new(NotedLowered { at: it.at, from: from.collect() })
        });
        let first = note.first.as_ref().map(|it| {
            let first = it.iter().map(|(name, it)| (kept(name), Numbers::of(it)));
            Arc::new(first.collect())
        });
        let LastResize { by, at, generation, urgent, .. } = *note;
        Self { by, at, generation, containers: containers.collect(), urgent, lowered, first }
    }
}

impl ContainerFacts {
    fn of(pod: &Pod, container: &Container, kind: ContainerKind) -> Self {
        let none = ContainerStatus::default();
        let status = container_status(pod, &container.name).unwrap_or(&none);
        let state = status.state.as_ref();
        let running = state.and_then(|it| it.running.as_ref());
        let ended = state.and_then(|it| it.terminated.as_ref());
        let before = status.last_state.as_ref().and_then(|it| it.terminated.as_ref());
        let ends = ended.into_iter().chain(before).filter_map(|it| {
            let out_of_memory = it.reason.as_deref() == Some(OUT_OF_MEMORY);
            Some(LastEnd { at: time(it.finished_at.as_ref())?, out_of_memory, exit_code: it.exit_code })
        });
        let last_end = ends.max_by_key(|it| it.at);
        let waiting = state.and_then(|it| it.waiting.as_ref());
        let done = ended.is_some_and(|it| kind != ContainerKind::Init && !starts_again(pod, container, it.exit_code));
        // In turns: why it waits is the failure itself, or that the next try is put off.
        let told = [waiting.and_then(|it| it.message.as_deref()), before.and_then(|it| it.message.as_deref())];
        let killed = told.into_iter().flatten().any(|it| it.contains(KILLED_AT_START));
        let shape = ContainerShape {
            name: Arc::from(container.name.as_str()),
            kind,
            asked: Numbers::read(container.resources.as_ref()),
            allocated: status.allocated_resources.as_ref().map(requested),
            actual: status.resources.as_ref().map(|it| Numbers::read(Some(it))),
            restarts_for_cpu: restarts_for(container, Resource::Cpu),
            restarts_for_memory: restarts_for(container, Resource::Memory),
            others: container.resources.as_ref().and_then(others),
        };
        Self {
            shape: Arc::new(shape),
            running_since: running.map(|it| time(it.started_at.as_ref()).unwrap_or(Timestamp::UNIX_EPOCH).into()),
            last_end,
            restarts: u32::try_from(status.restart_count).unwrap_or_default(),
            ready: status.ready,
            killed_and_waiting: state.is_some()
                && running.is_none()
                && !done
                && last_end.is_some_and(|it| it.out_of_memory),
            killed_at_start: waiting.is_some() && killed,
            done,
        }
    }
}

/// Whether a container that ended with this code is started again, by its own restart policy where it has one, else by its pod's.
fn starts_again(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    let of_pod = pod.spec.as_ref().and_then(|it| it.restart_policy.as_deref());
    match container.restart_policy.as_deref().or(of_pod) {
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        _ => true,
    }
}

/// What a container states beside CPU and memory; nothing for nearly all of them.
fn others(stated: &ResourceRequirements) -> Option<Box<ResourceRequirements>> {
    let without = |list: &Option<WireList>| {
        let list = list.iter().flatten().filter(|(name, _)| *name != CPU && *name != MEMORY);
        let list: WireList = list.map(|(name, amount)| (name.clone(), amount.clone())).collect();
        (!list.is_empty()).then_some(list)
    };
    let claims = stated.claims.clone().filter(|it| !it.is_empty());
    let others = ResourceRequirements { claims, requests: without(&stated.requests), limits: without(&stated.limits) };
    (others != ResourceRequirements::default()).then(|| Box::new(others))
}

impl NodeFacts {
    /// Of a node: what prediction reads of it, without images, addresses, managed fields and annotations.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let empty = NodeStatus::default();
        let status = node.status.as_ref().unwrap_or(&empty);
        let is_true = |kind: &str| status.conditions.iter().flatten().any(|it| it.type_ == kind && it.status == "True");
        let told = status.conditions.iter().flatten().find(|it| it.type_ == "Ready");
        let since = told.and_then(|it| time(it.last_transition_time.as_ref())).map(At::from);
        let pressure = ["MemoryPressure", "DiskPressure", "PIDPressure"].into_iter().filter(|it| is_true(it));
        let allocatable = ResourceList::read(status.allocatable.as_ref());
        let pods = allocatable.get("pods").map_or(0, supple_quantity::Quantity::value);
        let slim = Node {
            metadata: ObjectMeta {
                name: node.metadata.name.clone(),
                uid: node.metadata.uid.clone(),
                labels: node.metadata.labels.clone(),
                ..ObjectMeta::default()
            },
            spec: None,
            status: Some(NodeStatus {
                allocatable: status.allocatable.clone(),
                capacity: status.capacity.clone(),
                conditions: status.conditions.clone(),
                declared_features: status.declared_features.clone(),
                node_info: status.node_info.clone(),
                ..NodeStatus::default()
            }),
        };
        let room = Capacity {
            cpu: allocatable.cpu(),
            memory: allocatable.memory(),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
        };
        Self::new(&slim, room, pressure.map(str::to_owned).collect(), (is_true("Ready"), since))
    }
}
