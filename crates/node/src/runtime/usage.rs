//! What pods use and suffer, at one moment: counters and gauges of their cgroups, and what the kernel told of meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use supple_quantity::Bytes;

use super::PodRef;
pub use crate::cgroup::Psi;

/// Usage of one container, from its cgroup. Counters are since the container started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerUsage {
    /// `spec.containers[].name`.
    pub container: String,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// CPU time used, nanoseconds (counter).
    pub cpu_usage_nanos: u64,
    /// CPU in use over the last window, in nano-cores; absent before the second reading.
    pub cpu_nano_cores: Option<u64>,
    /// Memory charged to the cgroup, page cache included.
    pub memory_usage: Bytes,
    /// Memory charged minus inactive file cache: what `kubectl top` and the OOM killer care about.
    pub memory_working_set: Bytes,
    /// Highest memory charge seen.
    pub memory_peak: Bytes,
    /// Memory that belongs to no file.
    pub memory_rss: Bytes,
    /// File cache.
    pub memory_cache: Bytes,
    /// Page faults (counter).
    pub page_faults: u64,
    /// Page faults that had to read from a disk (counter).
    pub major_page_faults: u64,
    /// CFS periods in which the container was runnable under a limit (counter).
    pub cpu_periods: u64,
    /// CFS periods in which the container was throttled (counter) and time lost to it (counter, nanoseconds).
    pub throttled_periods: u64,
    /// See `throttled_periods`.
    pub throttled_nanos: u64,
    /// How often it was slowed down for going over `memory.high` (counter; cgroup v2 only).
    pub memory_high_hits: u64,
    /// How often it met its memory limit and something had to be reclaimed (counter).
    pub memory_max_hits: u64,
    /// Kills by the OOM killer (counter).
    pub oom_kills: u64,
    /// How long its tasks waited for CPU, where the kernel says (PSI).
    pub cpu_pressure: Option<Psi>,
    /// The same for memory.
    pub memory_pressure: Option<Psi>,
    /// The same for disks.
    pub io_pressure: Option<Psi>,
    /// What the kernel told of, the moment it happened, since this program began to listen.
    pub strains: Strains,
}

/// Usage of one pod at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PodUsage {
    /// Which pod.
    pub pod: PodRef,
    /// When it was read.
    pub at: Timestamp,
    /// Over how long `cpu_nano_cores` was measured.
    pub window: Duration,
    /// Memory charged to the pod's cgroup as a whole.
    pub memory_usage: Bytes,
    /// What the kernel told of the pod's own limits, since this program began to listen.
    pub strains: Strains,
    /// Per container.
    pub containers: Vec<ContainerUsage>,
}

/// What a container can suffer that the kernel tells of by itself. An OOM kill is told as an event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strain {
    /// It went over `memory.high` and was slowed down.
    MemoryHigh,
    /// It met its memory limit, or its pod's, and something had to be reclaimed.
    MemoryMax,
    /// Its tasks wait for memory for too great a part of the time.
    MemoryStall,
    /// Its tasks wait for CPU for too great a part of the time: throttled, or crowded out.
    CpuStall,
}

impl Strain {
    /// Every strain.
    pub const ALL: [Self; 4] = [Self::MemoryHigh, Self::MemoryMax, Self::MemoryStall, Self::CpuStall];

    /// Stable name, a reason of events: `MemoryHigh`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MemoryHigh => "MemoryHigh",
            Self::MemoryMax => "MemoryMax",
            Self::MemoryStall => "MemoryStall",
            Self::CpuStall => "CpuStall",
        }
    }
}

/// How often something was told of, and when last. The kernel joins what comes in quick succession.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How often, since this program began to listen.
    pub times: u64,
    /// When last.
    pub last: Timestamp,
}

/// What was told of one container; absent is never.
pub type Strains = BTreeMap<Strain, Seen>;
