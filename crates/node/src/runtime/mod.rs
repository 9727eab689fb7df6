//! What runs containers: the seam between the node's decisions and the machine. One implementation per `--runtime`.
//!
//! The vocabulary is CRI's: a *sandbox* is a pod's own cgroup (and namespaces), containers live below it. Values are
//! in the kernel's cgroup v1 words (shares, quota, limit), as in CRI; an implementation translates for cgroup v2.
//! Everything here is an effect and nothing here decides: order, guards and retries belong to the worker.

mod bell;
mod choose;
pub mod cri;
mod entries;
mod error;
mod ground;
mod ignored;
mod images;
mod logs;
pub mod process;
mod rate;
pub mod simulated;
mod strain;
mod usage;

pub use choose::{ChooseError, Chosen, Requested, UnknownRuntime, choose};
pub use images::Images;
pub use usage::{ContainerUsage, PodUsage, Psi, Seen, Strain, Strains};

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::kernel::CgroupResources;
use supple_resize::qos::QosClass;

/// Identity of a pod on this node. The UID is the key everywhere; the names are for messages and log paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// One run of one container: a container that is restarted gets a new attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerRef {
    /// The pod it belongs to.
    pub pod: PodRef,
    /// `spec.containers[].name` (or `initContainers[]`).
    pub container: String,
    /// 0 for the first start; equal to the `restartCount` it runs under.
    pub attempt: u32,
}

/// What a pod's own cgroup and sandbox are made of.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// Who it is.
    pub id: PodRef,
    /// Its class, which says where its cgroup is where classes have cgroups of their own.
    pub qos: QosClass,
    /// Values of its cgroup.
    pub resources: CgroupResources,
    /// `metadata.labels`, for a runtime that keeps them.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`, likewise.
    pub annotations: BTreeMap<String, String>,
}

impl PodConfig {
    /// A pod without labels and annotations.
    pub fn new(id: PodRef, qos: QosClass, resources: CgroupResources) -> Self {
        Self { id, qos, resources, labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }
}

/// How a container is to be run: resolved from the pod spec by the worker, so that a runtime need not read a spec.
#[derive(Clone, Debug)]
pub struct ContainerConfig {
    /// Who it is.
    pub id: ContainerRef,
    /// Image name as written in the spec; the process runtime runs none but reports it.
    pub image: String,
    /// `command`, variables expanded. Empty: the image's own entry point, which a runtime without images replaces by
    /// its stand-in, or by `args` where there are some.
    pub command: Vec<String>,
    /// `args`, variables expanded.
    pub args: Vec<String>,
    /// Environment, resolved.
    pub env: Vec<(String, String)>,
    /// `workingDir`.
    pub working_dir: Option<String>,
    /// cgroup values it starts under.
    pub resources: CgroupResources,
    /// `/proc/PID/oom_score_adj`, by the kubelet's formula.
    pub oom_score_adj: i32,
    /// The pod's annotations: a runtime may have its own (the simulated one reads `supple.dev/usage-pattern`).
    pub annotations: BTreeMap<String, String>,
}

/// How a container's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128+n for signal n; 137 for an OOM kill.
    pub code: i32,
    /// Signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel's OOM killer ended it (or a process of its cgroup).
    pub oom_killed: bool,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub finished_at: jiff::Timestamp,
}

/// What a runtime knows of one container run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Running since.
    Running {
        /// When it was started.
        started_at: jiff::Timestamp,
        /// Process id on the machine, where there is one.
        pid: Option<u32>,
    },
    /// Ended.
    Exited(Exit),
}

/// A sandbox found on the machine at start: what a killed predecessor left behind.
#[derive(Clone, Debug)]
pub struct FoundPod {
    /// Which pod it is.
    pub pod: PodRef,
    /// Its newest container runs.
    pub containers: Vec<(ContainerRef, RunState)>,
}

/// Something happened that the worker of a pod must look at.
#[derive(Clone, Debug)]
pub enum RuntimeEvent {
    /// A container run ended.
    Exited(ContainerRef, Exit),
    /// The OOM killer struck in a container without ending its first process.
    OomKill(ContainerRef),
    /// A container, or a pod as a whole, suffers; told when it begins and then now and then, while its usage counts
    /// every time.
    Strained {
        /// Which pod.
        pod: PodRef,
        /// Which of its containers; `None`: it is a limit of the pod.
        container: Option<String>,
        /// What.
        strain: Strain,
    },
}

/// Which log lines are asked for (`kubectl logs`).
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Keep following.
    pub follow: bool,
    /// Only the last N lines.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this moment.
    pub since: Option<jiff::Timestamp>,
    /// Prefix each line with its RFC 3339 timestamp.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// The reason of an error about a container run that the runtime does not know: it never began, or was forgotten.
pub const CONTAINER_NOT_FOUND: &str = "ContainerNotFound";

/// A runtime operation that failed. `reason` is stable and is what a waiting container shows in its status.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {object}: {message}")]
pub struct RuntimeError {
    /// Stable reason, for example `ErrImageNeverPull`, `StartError`, `CgroupWrite`.
    pub reason: &'static str,
    /// What was being done: "write memory.limit_in_bytes of".
    pub operation: String,
    /// On what: a path, a container.
    pub object: String,
    /// What the system said, and what to do about it.
    pub message: String,
}

/// What runs containers. All methods may be called for different pods at the same time; calls for one pod come from
/// one worker, one after another.
pub trait Runtime: Send + Sync + 'static {
    /// `process`, `simulated`, `cri`.
    fn name(&self) -> &'static str;

    /// What runs containers here and in which version, for `containerRuntimeVersion` of the Node.
    fn version(&self) -> String {
        format!("{}://{}", self.name(), env!("CARGO_PKG_VERSION"))
    }

    /// Name of a run for `containerStatuses[].containerID`: the container runtime's own where there is one.
    fn container_id(&self, id: &ContainerRef) -> String {
        format!("{}://{}/{}/{}", self.name(), id.pod.uid, id.container, id.attempt)
    }

    /// Address of a pod that has one of its own; `None`: it shares the machine's.
    fn pod_ip(&self, _pod: &PodRef) -> Option<String> {
        None
    }

    /// Whether it writes [`CgroupResources::tiers`]: on cgroup version 2.
    fn has_memory_qos(&self) -> bool {
        false
    }

    /// What a predecessor left on the machine. Called once, before anything else.
    fn recover(&self) -> BoxFuture<'_, Result<Vec<FoundPod>, RuntimeError>>;

    /// Make sure that the image can be run, by its pull policy, pulling it where there is a registry: `Err` with reason
    /// `ErrImagePull`, `ErrImageNeverPull` and the like. May take as long as a pull does; dropping the future loses
    /// nothing, the pull goes on.
    fn check_image<'a>(
        &'a self,
        image: &'a str,
        pull_policy: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Parts of the spec that this runtime stores but does not act on, in words ("volumes", "liveness probes").
    fn ignored(&self, pod: &Pod) -> Vec<String>;

    /// Create the pod's own cgroup, and its sandbox where the runtime has one; nothing if they exist already.
    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Write those values of the pod's cgroup that are `Some`.
    fn update_pod<'a>(
        &'a self,
        pod: &'a PodRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Read the values of the pod's cgroup.
    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>>;
    /// Remove the pod's cgroup and its namespaces; every container has been stopped before. Logs stay readable: an
    /// ended pod is still in the API and is asked for them. Nothing if it is gone already.
    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// The pod has left the API: forget its logs and every record of it, after `remove_pod`.
    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Start a container; returns when its command has been executed or could not be. After an error it may run all the
    /// same (the answer may have been lost): the worker stops it before it starts another.
    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> BoxFuture<'a, Result<RunState, RuntimeError>>;
    /// Write those values of the container's cgroup that are `Some`.
    fn update_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Read the values of the container's cgroup.
    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>>;
    /// SIGTERM, then SIGKILL after `grace` (at once when it is zero); returns how it ended. A worker whose pod's grace
    /// is shortened drops the future and calls again with what is left, so dropping it must lose nothing.
    /// A container that has ended already returns its `Exit` at once; one that never began is an error with the reason
    /// [`CONTAINER_NOT_FOUND`].
    fn stop_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        grace: std::time::Duration,
    ) -> BoxFuture<'a, Result<Exit, RuntimeError>>;
    /// Forget an ended run (its log stays until the pod goes).
    fn remove_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<(), RuntimeError>>;

    /// Usage of a pod now.
    fn usage<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<PodUsage, RuntimeError>>;
    /// The log of a container's run.
    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<bytes::Bytes>>, RuntimeError>>;
    /// Everything that happens, in order; one subscriber.
    fn events(&self) -> BoxStream<'static, RuntimeEvent>;
    /// End everything this runtime made and leave nothing on the machine.
    fn shutdown(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;
}
