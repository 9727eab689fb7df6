//! What the API says of pods, workloads, nodes and namespaces, cut down to what a decision needs: twenty thousand pods
//! fit in a few dozen megabytes.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, Node, ResourceQuota, ResourceRequirements};
use supple_quantity::Bytes;
use supple_resize::allocate::Capacity;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::disruption::Health;
use supple_resize::qos::QosClass;
use supple_resize::resources::ContainerKind;

use crate::at::At;
use crate::few::Few;
use crate::hand::Hand;
use crate::key::{PodKey, WorkloadKey};
use crate::names::MODE;
use crate::note::Author;
use crate::numbers::{Numbers, pair};
use crate::policy::{Mode, Origin, Policy, Setting};
use crate::progress::Progress;
use crate::scaler::Anchor;

/// A pod: what is its own. What it has in common with the others of its workload is read as if it were its own too.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Which.
    pub key: PodKey,
    /// What pods of one template have in common.
    pub shape: Arc<PodShape>,
    /// `metadata.generation`
    pub generation: i64,
    /// Where it runs; `None` while it is not bound.
    pub node: Option<Arc<str>>,
    /// `status.phase`
    pub phase: Phase,
    /// It is on its way out.
    pub deleting: bool,
    /// Since when somebody takes it away, where that shows: it was asked to go, is to be disrupted (`DisruptionTarget`), or was ended
    /// by its node. What befalls it from then on tells nothing of its sizes.
    pub leaving: Option<At>,
    /// Its node threw it out: `status.reason` is `Evicted`. With what its containers used of the memory that the node was short
    /// of; of none where it was short of something else.
    pub evicted: Option<Box<Few<Arc<str>, Bytes>>>,
    /// `status.startTime`, or when it was created.
    pub started: Option<At>,
    /// When it was created: it may have waited for room since.
    pub made: Option<At>,
    /// Its `Ready` condition is true, and since when.
    pub ready: Option<At>,
    /// Its `Ready` condition is false, and since when; `None` where the condition is true or not there.
    pub unready: Option<At>,
    /// How far its newest resize has come.
    pub progress: Progress,
    /// Since when that has been so, where a condition tells; of a resize whose node says nothing of it, since it was asked for.
    pub progress_since: Option<At>,
    /// Whose hand it is in.
    pub hand: Hand,
    /// What our last resize left on it.
    pub note: Option<Box<Noted>>,
    /// Its containers, init containers first, in the order of the spec: all of them, so that the pod can be made again for a
    /// prediction.
    pub containers: Vec<ContainerFacts>,
}

/// What pods of one template have in common, as a rule: kept once for all that have.
#[derive(Clone, Debug, PartialEq)]
pub struct PodShape {
    /// Whose it is.
    pub workload: WorkloadKey,
    /// Its class, as recorded: a resize never changes it.
    pub qos: QosClass,
    /// `pod-template-hash`, `controller-revision-hash` or `rollouts-pod-template-hash`: pods of two revisions at once are a rollout.
    pub revision: Option<Arc<str>>,
    /// Pod-level `spec.resources`.
    pub pod_level: Numbers,
    /// What the status says the pod as a whole was promised and has; there where the spec has pod-level resources, be they empty.
    pub pod_level_held: Option<Box<PodLevelHeld>>,
    /// `spec.overhead`
    pub overhead: Numbers,
    /// `spec.priority`
    pub priority: i32,
    /// Annotations that speak to us: those under `supple.dev/`, the note left out.
    pub words: BTreeMap<String, String>,
    /// What its creator asked for in containers that our webhook sized, of the numbers that it changed; `None`: it did not size it.
    pub sized: Option<Box<Few<Arc<str>, Numbers>>>,
    /// Somebody asked for it to be left in peace: `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"` or
    /// `karpenter.sh/do-not-disrupt: "true"`. It may be resized, never evicted.
    pub do_not_evict: bool,
    /// No resize of it will ever be taken, whatever the sizes.
    pub fixed: Option<Fixed>,
    /// `spec.restartPolicy` is `Never`.
    pub never_restarts: bool,
    /// `spec.priorityClassName`: quotas may count by it.
    pub priority_class: Option<Arc<str>>,
    /// `spec.activeDeadlineSeconds` is set: quotas may count by it.
    pub has_deadline: bool,
}

/// The mode that is said for a pod with these words under the policy of its workload: its own word wins, and one that nobody knows is
/// `Off`, because what was meant is not known.
#[must_use]
pub fn mode_under(words: &BTreeMap<String, String>, policy: &Policy) -> Setting<Mode> {
    let own = words.get(MODE).map(|it| Mode::of_word(it).unwrap_or_default());
    own.map_or_else(|| policy.mode.clone(), |value| Setting { value, origin: Origin::Pod })
}

impl Deref for PodFacts {
    type Target = PodShape;

    fn deref(&self) -> &PodShape {
        &self.shape
    }
}

impl DerefMut for PodFacts {
    fn deref_mut(&mut self) -> &mut PodShape {
        Arc::make_mut(&mut self.shape)
    }
}

impl PodFacts {
    /// The mode that is said for it under the policy of its workload.
    #[must_use]
    pub fn mode_under(&self, policy: &Policy) -> Setting<Mode> {
        mode_under(&self.words, policy)
    }

    /// What a container runs with, of the numbers that its spec names, where that is something else and no resize is to blame: on its
    /// node somebody sets its cgroup.
    #[must_use]
    pub fn drift(&self, container: &str) -> Numbers {
        let settled = self.progress == Progress::Settled && self.node.is_some();
        let found = self.containers.iter().find(|it| *it.name == *container && it.running_since.is_some());
        let mut drift = Numbers::default();
        let Some((it, actual)) = found.filter(|_| settled).and_then(|it| Some((it, it.actual?))) else { return drift };
        for (resource, requirement) in [Resource::Cpu, Resource::Memory]
            .into_iter()
            .flat_map(|it| [(it, Requirement::Request), (it, Requirement::Limit)])
        {
            let (asked, runs) = (it.asked.get(resource, requirement), actual.get(resource, requirement));
            drift.set(resource, requirement, runs.filter(|_| asked.is_some() && asked != runs));
        }
        drift
    }

    /// Whether it is not ready for no other reason than that a container is done: all the others are.
    #[must_use]
    pub fn is_ready_but_for_what_is_done(&self) -> bool {
        let mut lasting = self.containers.iter().filter(|it| it.kind != ContainerKind::Init);
        self.containers.iter().any(|it| it.done) && lasting.all(|it| it.done || it.ready)
    }

    /// What its creator asked for in a container, as far as the pod itself says so: of the numbers that have been changed since.
    #[must_use]
    pub fn given(&self, container: &str) -> Numbers {
        let created = self.sized.as_deref().and_then(|it| it.get(container)).copied().unwrap_or_default();
        created.or(&self.note.as_deref().map(|it| it.given(container)).unwrap_or_default())
    }

    /// What it has in common with another, kept once for both. Says the same as before.
    pub fn share(&mut self, other: &Self) {
        if self.shape == other.shape {
            self.shape = Arc::clone(&other.shape);
        }
        if self.node == other.node {
            self.node.clone_from(&other.node);
        }
        for (own, other) in self.containers.iter_mut().zip(&other.containers) {
            if own.shape == other.shape {
                own.shape = Arc::clone(&other.shape);
            } else if own.name == other.name
                && let Some(own) = Arc::get_mut(&mut own.shape)
            {
                own.name = Arc::clone(&other.name);
            }
        }
        if let Some((own, other)) = self.note.as_deref_mut().zip(other.note.as_deref())
            && own.containers == other.containers
        {
            own.containers = Arc::clone(&other.containers);
            if own.first == other.first {
                own.first.clone_from(&other.first);
            }
        }
    }
}

/// What a resize of the loop or of a person left on a pod: the note ([`crate::note::LastResize`]) in integers, because twenty
/// thousand of them have to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Who.
    pub by: Author,
    /// When.
    pub at: Timestamp,
    /// The pod's generation before the change.
    pub generation: i64,
    /// By container, in the order of names: what changed as it was, and as it was set. The same for pods that were resized alike.
    pub containers: Arc<[(Arc<str>, Numbers, Numbers)]>,
    /// What was raised could not wait.
    pub urgent: bool,
    /// What was lowered before and not given back since; nearly no pod has it.
    pub lowered: Option<Box<NotedLowered>>,
    /// [`crate::note::LastResize::first`], by container. The same for pods that were resized alike.
    pub first: Option<Arc<Few<Arc<str>, Numbers>>>,
}

/// [`crate::note::Lowered`] in integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedLowered {
    /// When.
    pub at: Timestamp,
    /// By container: what it had before, of the numbers that are still below it.
    pub from: Box<[(Arc<str>, Numbers)]>,
}

impl Noted {
    /// What it says of a container: before and after.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<(&Numbers, &Numbers)> {
        self.containers.iter().find(|(it, _, _)| &**it == name).map(|(_, before, after)| (before, after))
    }

    /// What a container had before the first resize, of the numbers that were changed; nothing where that is not known. Who put
    /// them back left what it had.
    fn given(&self, name: &str) -> Numbers {
        let (before, after) = self.container(name).map(|(before, after)| (*before, *after)).unwrap_or_default();
        let Some(first) = &self.first else {
            return if self.by == Author::Restore { after } else { Numbers::default() };
        };
        let first = first.get(name).copied().unwrap_or_default();
        first.or(&before)
    }

    /// What it changed: `app: cpu 200m:400m → 50m:100m, memory 256Mi → 64Mi; proxy: …`
    #[must_use]
    pub fn in_words(&self) -> String {
        let one = |(name, before, after): &(Arc<str>, Numbers, Numbers)| {
            let step = |what: &str, then: Option<String>, now: Option<String>| {
                let then = then.unwrap_or_else(|| "none".to_owned());
                now.filter(|now| *now != then).map(|now| format!("{what} {then} → {now}"))
            };
            let cpu = step("cpu", pair(before.cpu_request, before.cpu_limit), pair(after.cpu_request, after.cpu_limit));
            let memory = step(
                "memory",
                pair(before.memory_request, before.memory_limit),
                pair(after.memory_request, after.memory_limit),
            );
            format!("{name}: {}", cpu.into_iter().chain(memory).collect::<Vec<_>>().join(", "))
        };
        self.containers.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// What the status says of a pod with resources of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLevelHeld {
    /// `status.allocatedResources`
    pub allocated: Option<Numbers>,
    /// `status.resources`
    pub actual: Option<Numbers>,
}

/// Why no resize of a pod will ever be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// It comes from a file on its node.
    StaticPod,
    /// It runs on Windows.
    Windows,
    /// It holds resources of its node through resource claims.
    ResourceClaims,
}

/// `status.phase`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all of its containers run yet.
    Pending,
    /// It runs.
    Running,
    /// It has ended, well or not.
    Ended,
    /// Its node does not answer.
    Unknown,
}

/// A container of a pod: what is its own. The rest is read as if it were.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerFacts {
    /// What containers of one template have in common.
    pub shape: Arc<ContainerShape>,
    /// It runs now, and since when.
    pub running_since: Option<At>,
    /// How its last run ended, if one has.
    pub last_end: Option<LastEnd>,
    /// `restartCount`
    pub restarts: u32,
    /// Its readiness, as the status has it.
    pub ready: bool,
    /// The kernel killed it for want of memory and it is waiting to be started again.
    pub killed_and_waiting: bool,
    /// Its first process is killed for want of memory before it is a container: under its own limit it would never be.
    pub killed_at_start: bool,
    /// It has ended, and its restart policy does not start it again: it is done, and no size is anything to it any more.
    pub done: bool,
}

/// What containers of one template have in common, as a rule: kept once for all that have.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerShape {
    /// Its name.
    pub name: Arc<str>,
    /// Regular, sidecar, or an init container that ends: only the first two are judged.
    pub kind: ContainerKind,
    /// What its spec asks for.
    pub asked: Numbers,
    /// What its node has promised it (`status.allocatedResources`); `None` where the status does not say. Limits are not in it.
    pub allocated: Option<Numbers>,
    /// What it runs with (`status.resources`); `None` where the status does not say.
    pub actual: Option<Numbers>,
    /// `resizePolicy` wants a restart when CPU changes.
    pub restarts_for_cpu: bool,
    /// `resizePolicy` wants a restart when memory changes.
    pub restarts_for_memory: bool,
    /// What else it asks for: huge pages, devices, storage, claims. Never changed, but part of what is checked.
    pub others: Option<Box<ResourceRequirements>>,
}

impl Deref for ContainerFacts {
    type Target = ContainerShape;

    fn deref(&self) -> &ContainerShape {
        &self.shape
    }
}

impl DerefMut for ContainerFacts {
    fn deref_mut(&mut self) -> &mut ContainerShape {
        Arc::make_mut(&mut self.shape)
    }
}

/// How a run of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEnd {
    /// When.
    pub at: Timestamp,
    /// For want of memory.
    pub out_of_memory: bool,
    /// Its exit code.
    pub exit_code: i32,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFacts {
    /// Which.
    pub key: WorkloadKey,
    /// Its UID; empty where the object itself could not be read.
    pub uid: Arc<str>,
    /// `apps/v1`, `v1`, …
    pub api_version: Arc<str>,
    /// `spec.replicas`; one for a bare pod.
    pub replicas: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Its newest template is being rolled out, or it is paused in the middle.
    pub rolling: bool,
    /// What its template asks for, by container.
    pub template: Few<Arc<str>, Numbers>,
    /// The disruption budgets over its pods, by name.
    pub budgets: Vec<Budget>,
    /// How it is restarted through its template; `None`: it is not a deployment, stateful set or daemon set, or does not do that by itself.
    pub rollout: Option<Rollout>,
    /// How many of its pods may be missing at once while it is restarted so: none where new ones are always ready first, all of them with
    /// the strategy `Recreate`.
    pub rollout_takes: u32,
    /// Its new pods are sized as they are created: our webhook is registered, and asked about them. Without it, recreating a pod for
    /// its sizes would bring the same ones back.
    pub sized_at_creation: bool,
    /// What scales it sideways.
    pub scalers: Vec<Scaler>,
    /// Vertical autoscalers of others that act on it: `VerticalPodAutoscaler` objects that are not ours to carry out.
    pub other_vertical: Vec<String>,
    /// Annotations that speak to us: those under `supple.dev/`.
    pub words: BTreeMap<String, String>,
}

/// A disruption budget (`PodDisruptionBudget`) over pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: Arc<str>,
    /// `status.disruptionsAllowed`
    pub allowed: u32,
    /// What it says of pods that are not ready.
    pub health: Health,
    /// Pods that it is over are under another budget too: the API server evicts none that has more than one.
    pub is_shared: bool,
}

impl Budget {
    /// Whether it lets this pod go at no cost, because it is not ready.
    #[must_use]
    pub const fn spares(&self, pod: &PodFacts) -> bool {
        pod.ready.is_none() && self.health.lets_unready_go()
    }
}

/// How the pods of a new template take the places of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// New ones are ready before old ones go: `maxSurge`.
    Surge,
    /// Old ones go first, and new ones are made as soon as they are on their way out.
    Replace,
    /// New ones are made once the old ones are gone: stateful and daemon sets, and deployments of the strategy `Recreate`.
    After,
}

/// What scales a workload sideways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaler {
    /// Its name.
    pub name: String,
    /// `HorizontalPodAutoscaler`, or `ScaledObject` where KEDA made it.
    pub kind: String,
    /// Its metrics that read a request, in its order: there may be several of one resource.
    pub metrics: Vec<Metric>,
    /// `spec.minReplicas`
    pub min_replicas: u32,
    /// `spec.maxReplicas`
    pub max_replicas: u32,
    /// `status.currentReplicas`
    pub current_replicas: u32,
    /// Where it stood before we adjusted it, while the target that we set stands.
    pub anchor: Option<Anchor>,
    /// What it scales, where that is not the workload but what the workload is made by: `prometheus/k8s`.
    pub through: Option<String>,
}

/// A metric of a horizontal autoscaler that compares use with what is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Of which resource.
    pub resource: Resource,
    /// The utilisation it aims at, in percent.
    pub percent: u32,
    /// Only this container's use counts (`ContainerResource`); `None`: the whole pod's.
    pub container: Option<String>,
}

impl Metric {
    /// Whether it reads the request of this resource of a container of this name.
    #[must_use]
    pub fn reads(&self, resource: Resource, container: &str) -> bool {
        self.resource == resource && self.container.as_deref().is_none_or(|it| it == container)
    }
}

impl Scaler {
    /// Its metrics of one resource.
    pub fn of(&self, resource: Resource) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().filter(move |it| it.resource == resource)
    }

    /// The metric whose target can change with the requests it reads: its only one of CPU. With two, what one of them reads together
    /// with the other could follow neither.
    #[must_use]
    pub fn adjustable(&self) -> Option<&Metric> {
        let mut all = self.of(Resource::Cpu);
        all.next().filter(|_| all.next().is_none())
    }

    /// Where it stood before we adjusted it, with the metric whose target we set, while that stands: others may have been added since.
    #[must_use]
    pub fn adjusted(&self) -> Option<(Anchor, &Metric)> {
        let anchor = self.anchor?;
        let mut all = self.of(Resource::Cpu).filter(|it| it.percent == anchor.to);
        all.next().filter(|_| all.next().is_none()).map(|it| (anchor, it))
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The object as JSON: prediction alone reads it, a few times a round, and as a tree it takes several times as much.
    written: Box<str>,
    /// `status.allocatable`, in integers.
    pub allocatable: Capacity,
    /// `MemoryPressure`, `DiskPressure` or `PIDPressure` is true: which.
    pub pressure: Vec<String>,
    /// `Ready` is true.
    pub ready: bool,
    /// Since when it has been so, or has not, where its condition tells.
    pub since: Option<At>,
    /// The minor version of its kubelet, `36` for v1.36: during an upgrade an older one than the API server's; `None`: it says none that
    /// is one of Kubernetes.
    pub kubelet: Option<u32>,
}

impl NodeFacts {
    /// Of an object that has been cut down.
    pub(crate) fn new(
        object: &Node,
        allocatable: Capacity,
        pressure: Vec<String>,
        (ready, since): (bool, Option<At>),
    ) -> Self {
        let written =
            serde_json::to_string(object).expect("an object of the API can be written: its maps have names for keys");
        let info = object.status.as_ref().and_then(|it| it.node_info.as_ref());
        let kubelet = info.and_then(|it| minor_version(&it.kubelet_version));
        Self { written: written.into(), allocatable, pressure, ready, since, kubelet }
    }

    /// The object, cut down to what prediction reads: name, labels, allocatable, capacity, declared features, info, and
    /// conditions.
    #[must_use]
    pub fn object(&self) -> Node {
        serde_json::from_str(&self.written).expect("it was written from one")
    }
}

/// The minor version of a version of Kubernetes, whatever its vendor put behind it: of `v1.34.2-gke.100`, 34.
fn minor_version(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("v1.")?;
    rest.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

/// A namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceFacts {
    /// `supple.dev/mode`, where it is labelled.
    pub mode: Option<String>,
    /// It is being deleted.
    pub deleting: bool,
    /// Its limit ranges.
    pub limit_ranges: Vec<LimitRange>,
    /// Its quotas, with their status.
    pub quotas: Vec<ResourceQuota>,
}
