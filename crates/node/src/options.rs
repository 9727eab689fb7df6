//! What a node is started with and how it is stopped: plain data, and the two errors of starting and stopping.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use supple_quantity::{Bytes, MilliCpu};
use supple_resize::memory_qos::MemoryQos;

use crate::runtime::{Runtime, RuntimeError};
use crate::speed::Speed;

/// What the node has to give. It is published as both capacity and allocatable: this node keeps nothing back for the
/// system, because the machine's other work lives outside the cgroups it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// CPU, in thousandths of a core.
    pub cpu: MilliCpu,
    /// Memory, in bytes.
    pub memory: Bytes,
    /// How many pods.
    pub pods: u32,
}

impl From<Capacity> for supple_resize::allocate::NodeView {
    fn from(capacity: Capacity) -> Self {
        let Capacity { cpu, memory, pods } = capacity;
        // No CPU or memory manager and no swap: this node pins nothing.
        Self { allocatable: supple_resize::allocate::Capacity { cpu, memory, pods }, ..Self::default() }
    }
}

/// Where time comes from. Everything the node writes into a status, an event or a lease asks this clock.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Called with a stable name right before and right after each durable step, so that a test can kill the process there.
/// In production it does nothing.
///
/// The names are in [`CrashPoints::NAMES`].
#[derive(Clone)]
pub struct CrashPoints(Arc<dyn Fn(&'static str) + Send + Sync>);

impl CrashPoints {
    /// Every point the node passes, in the order in which a resize passes them.
    pub const NAMES: &[&'static str] = &[
        "node.allocated.before",
        "node.allocated.after",
        "node.actuated.before",
        "node.actuated.after",
        "node.forgotten.before",
        "node.forgotten.after",
    ];

    /// No crash points: nothing happens at any step.
    pub fn none() -> Self {
        Self(Arc::new(|_| {}))
    }

    /// Call `hit` with the point's name at each durable step. `hit` runs on the thread that writes the checkpoint.
    pub fn new(hit: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hit))
    }

    /// The step called `name` is about to be, or has been, made durable.
    pub(crate) fn hit(&self, name: &'static str) {
        (self.0)(name);
    }
}

impl Default for CrashPoints {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CrashPoints")
    }
}

/// Opens the database beneath the checkpoints: in a fault test, on a disk that fails and forgets.
pub type OpenDatabase = Arc<dyn Fn(&redb::Builder) -> Result<redb::Database, redb::DatabaseError> + Send + Sync>;

/// How long the disk takes until it begins with the next flush: in a fault test, as long as it hangs.
pub type Pace = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Where a node keeps its checkpoints.
#[derive(Clone)]
pub enum Keep {
    /// Nowhere: nothing outlives the process.
    Nowhere,
    /// In a file in this directory, which is created if absent; a thread writes.
    Directory(PathBuf),
    /// In the database that this opens; whoever has something to keep writes.
    Given(OpenDatabase),
    /// Likewise, where a task writes what waits, each time when [`Pace`] has passed.
    Paced(OpenDatabase, Pace),
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("Nowhere"),
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Self::Given(_) => f.write_str("Given"),
            Self::Paced(..) => f.write_str("Paced"),
        }
    }
}

/// When the node says that it lives, on the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How often its lease is renewed.
    pub every: Duration,
    /// How long after its start it does so for the first time: many nodes of one process do not do it all at once.
    pub first: Duration,
}

impl Default for Beat {
    /// The kubelet's.
    fn default() -> Self {
        Self { every: Duration::from_secs(10), first: Duration::ZERO }
    }
}

/// Everything a node is started with.
#[derive(Clone)]
pub struct NodeOptions {
    /// Name of the Node object; pods bound to it carry it in `spec.nodeName`.
    pub name: String,
    /// What it has.
    pub capacity: Capacity,
    /// Where checkpoints are kept.
    pub checkpoints: Keep,
    /// How memory is protected and slowed down beyond limits; needs a runtime that can
    /// ([`Runtime::has_memory_qos`]).
    pub memory_qos: MemoryQos,
    /// What runs containers.
    pub runtime: Arc<dyn Runtime>,
    /// Where time comes from.
    pub clock: Clock,
    /// How fast that goes by.
    pub speed: Speed,
    /// When it says that it lives.
    pub beat: Beat,
    /// Where a test may kill the process.
    pub crash_points: CrashPoints,
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, capacity, checkpoints, memory_qos, runtime, clock: _, speed, beat, crash_points: _ } = self;
        f.debug_struct("NodeOptions")
            .field("name", name)
            .field("capacity", capacity)
            .field("memory_qos", memory_qos)
            .field("checkpoints", checkpoints)
            .field("runtime", &runtime.name())
            .field("speed", speed)
            .field("beat", beat)
            .finish_non_exhaustive()
    }
}

impl NodeOptions {
    /// Whether the runtime can do what is asked for.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.memory_qos.is_on() && !self.runtime.has_memory_qos() {
            return Err(StartError::MemoryQos { runtime: self.runtime.name() });
        }
        Ok(())
    }
}

/// What happens to the pods when the node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// End every process and remove every cgroup the node made. Pods stay in the API and are started again by the
    /// next node on the same data.
    EndPods,
    /// Leave the processes running, as a kubelet does when it is restarted; the next node adopts them.
    LeavePods,
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Memory QoS was asked for, and cannot be had.
    #[error(
        "memory QoS needs cgroup version 2, and the {runtime} runtime has none here; leave it out, or boot with systemd.unified_cgroup_hierarchy=1"
    )]
    MemoryQos {
        /// Name of the runtime.
        runtime: &'static str,
    },
    /// The checkpoint file could not be opened or read.
    #[error("open the node's checkpoints: {0}")]
    Checkpoint(#[source] crate::checkpoint::CheckpointError),
    /// The runtime could not say what is running on the machine.
    #[error("find what an earlier node left running: {0}")]
    Recover(#[source] RuntimeError),
    /// The Node object could not be written.
    #[error("register node {name:?} with the API server: {source}")]
    Register {
        /// Name of the node.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The node's pods could not be listed.
    #[error("list the pods of node {name:?}: {source}")]
    List {
        /// Name of the node.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use supple_resize::memory_qos::Reservation;

    use super::*;
    use crate::runtime::simulated::{SimulatedOptions, SimulatedRuntime};
    use crate::testing::{Log, Scripted};

    #[track_caller]
    fn check(runtime: Arc<dyn Runtime>, reservation: Reservation, refused: bool) {
        let options = NodeOptions {
            name: "one".to_owned(),
            capacity: Capacity { cpu: MilliCpu(2000), memory: Bytes(1 << 30), pods: 110 },
            checkpoints: Keep::Nowhere,
            memory_qos: MemoryQos { reservation, ..MemoryQos::default() },
            runtime,
            clock: Arc::new(|| Timestamp::UNIX_EPOCH),
            speed: Speed::REAL,
            beat: Beat::default(),
            crash_points: CrashPoints::none(),
        };
        assert_eq!(matches!(options.check(), Err(StartError::MemoryQos { .. })), refused, "{reservation:?}");
    }

    #[test]
    fn memory_qos_is_refused_where_it_would_not_be_written() {
        let clock: Clock = Arc::new(|| Timestamp::UNIX_EPOCH);
        let unable =
            Arc::new(Scripted::new(Log::default(), tokio::sync::mpsc::unbounded_channel(), Arc::clone(&clock)));
        check(unable.clone(), Reservation::Tiered, true);
        check(unable, Reservation::None, false);
        let simulated = SimulatedOptions::new(clock);
        check(Arc::new(SimulatedRuntime::new(simulated)), Reservation::Tiered, false);
    }
}
