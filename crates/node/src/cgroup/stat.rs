//! What a cgroup has used and suffered, at one moment.

use std::path::Path;

use super::file::{self, File};
use super::parse::{self, Psi};
use super::{CgroupError, Group, Hierarchies, V1};

/// Counters and gauges of one cgroup, in the same units on both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stat {
    /// CPU time, nanoseconds (counter).
    pub cpu_usage_nanos: u64,
    /// Periods in which it was runnable under a limit (counter).
    pub cpu_periods: u64,
    /// Periods in which it was throttled (counter).
    pub throttled_periods: u64,
    /// Time lost to it, nanoseconds (counter).
    pub throttled_nanos: u64,
    /// Memory charged, bytes.
    pub memory_usage: u64,
    /// Of that, file cache not used lately, bytes.
    pub memory_inactive_file: u64,
    /// Highest memory charge, bytes; 0 where the kernel does not keep it.
    pub memory_peak: u64,
    /// Of the charge, memory that belongs to no file, bytes.
    pub memory_rss: u64,
    /// Of the charge, file cache, bytes.
    pub memory_cache: u64,
    /// Page faults (counter).
    pub page_faults: u64,
    /// Page faults that read from a disk (counter).
    pub major_page_faults: u64,
    /// What happened at the memory limits.
    pub memory_events: MemoryEvents,
    /// Waiting for CPU.
    pub cpu_pressure: Option<Psi>,
    /// Waiting for memory.
    pub memory_pressure: Option<Psi>,
    /// Waiting for disks.
    pub io_pressure: Option<Psi>,
}

/// How often something happened at a memory limit of a cgroup or one inside (counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// It was slowed down for being over `memory.high`; v2 only.
    pub high: u64,
    /// It was about to go over its limit, and something was reclaimed.
    pub max: u64,
    /// Processes killed by the OOM killer.
    pub oom_kill: u64,
}

impl MemoryEvents {
    /// From the text of v2's `memory.events`; what it does not say is zero.
    pub fn parse(text: &str) -> Self {
        let count = |key| parse::flat(text, key).unwrap_or(0);
        Self { high: count("high"), max: count("max"), oom_kill: count("oom_kill") }
    }
}

impl Stat {
    /// What cannot be given back for the asking: what the OOM killer looks at and `kubectl top` shows.
    pub fn memory_working_set(&self) -> u64 {
        self.memory_usage.saturating_sub(self.memory_inactive_file)
    }
}

impl Group {
    /// Read everything.
    ///
    /// # Errors
    /// [`CgroupError::Read`] or [`CgroupError::Malformed`]; what not every kernel has is zero or `None`.
    pub fn stat(&self) -> Result<Stat, CgroupError> {
        let mut stat = match &self.at {
            Hierarchies::V1(dirs) => stat_v1(dirs)?,
            Hierarchies::V2(dir) => stat_v2(dir)?,
        };
        if let Some(dir) = self.pressure_directory() {
            let psi = |name| file::read_optional(dir, name, "a pressure file", parse::psi);
            stat.cpu_pressure = psi(File::CPU_PRESSURE)?;
            stat.memory_pressure = psi(File::MEMORY_PRESSURE)?;
            stat.io_pressure = psi(File::IO_PRESSURE)?;
        }
        Ok(stat)
    }

    /// Memory charged to it, bytes: one file, for the guard before a limit is lowered.
    ///
    /// # Errors
    /// [`CgroupError::Read`] or [`CgroupError::Malformed`].
    pub fn memory_usage(&self) -> Result<u64, CgroupError> {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => number(memory, File::MEMORY_USAGE),
            Hierarchies::V2(dir) => number(dir, File::MEMORY_CURRENT),
        }
    }

    /// Kills by the OOM killer so far. A kernel before 4.13 does not count them on v1: then 0.
    ///
    /// # Errors
    /// [`CgroupError::Read`] or [`CgroupError::Malformed`].
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        self.memory_events().map(|it| it.oom_kill)
    }

    /// What happened at its memory limits and those inside.
    ///
    /// # Errors
    /// [`CgroupError::Read`] or [`CgroupError::Malformed`].
    pub fn memory_events(&self) -> Result<MemoryEvents, CgroupError> {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => memory_events_v1(memory),
            Hierarchies::V2(dir) => Ok(MemoryEvents::parse(&file::read(dir, File::MEMORY_EVENTS)?)),
        }
    }

    /// What happened at its own limits, not at those inside; on v1 nobody knows.
    ///
    /// # Errors
    /// [`CgroupError::Read`].
    pub(crate) fn own_memory_events(&self) -> Result<MemoryEvents, CgroupError> {
        match &self.at {
            Hierarchies::V1(_) => Ok(MemoryEvents::default()),
            Hierarchies::V2(dir) => Ok(MemoryEvents::parse(&file::read(dir, File::MEMORY_EVENTS_LOCAL)?)),
        }
    }

    /// Where the OOM killer's work is counted, and where the kernel tells of it.
    pub(crate) fn oom_file(&self) -> (&Path, File) {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => (memory, File::OOM_CONTROL),
            Hierarchies::V2(dir) => (dir, File::MEMORY_EVENTS),
        }
    }

    /// Where the kernel tells how tasks wait: the v2 directory, if there is one.
    pub(crate) fn pressure_directory(&self) -> Option<&Path> {
        match &self.at {
            Hierarchies::V1(V1 { unified, .. }) => unified.as_deref(),
            Hierarchies::V2(dir) => Some(dir),
        }
    }

    /// The directory where cpu and memory are on version 2.
    pub(crate) fn version_2(&self) -> Option<&Path> {
        match &self.at {
            Hierarchies::V1(_) => None,
            Hierarchies::V2(dir) => Some(dir),
        }
    }

    /// The directory of memory where that is on version 1.
    pub(crate) fn version_1_memory(&self) -> Option<&Path> {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => Some(memory),
            Hierarchies::V2(_) => None,
        }
    }
}

fn memory_events_v1(memory: &Path) -> Result<MemoryEvents, CgroupError> {
    Ok(MemoryEvents {
        high: 0,
        max: file::read_optional(memory, File::MEMORY_FAILCNT, "a number", parse::number)?.unwrap_or(0),
        oom_kill: parse::flat(&file::read(memory, File::OOM_CONTROL)?, "oom_kill").unwrap_or(0),
    })
}

fn number(dir: &Path, name: File) -> Result<u64, CgroupError> {
    file::read_as(dir, name, "a number", parse::number)
}

fn stat_v1(V1 { cpu, cpuacct, memory, .. }: &V1) -> Result<Stat, CgroupError> {
    let throttling = file::read(cpu, File::CPU_STAT)?;
    let counter = |key| parse::flat(&throttling, key).unwrap_or(0);
    let memory_stat = file::read(memory, File::MEMORY_STAT)?;
    // With `total_`: descendants too, as the usage has them.
    let within = |key| parse::flat(&memory_stat, key).unwrap_or(0);
    Ok(Stat {
        cpu_usage_nanos: number(cpuacct, File::CPUACCT_USAGE)?,
        cpu_periods: counter("nr_periods"),
        throttled_periods: counter("nr_throttled"),
        throttled_nanos: counter("throttled_time"),
        memory_usage: number(memory, File::MEMORY_USAGE)?,
        memory_inactive_file: within("total_inactive_file"),
        memory_peak: number(memory, File::MEMORY_MAX_USAGE)?,
        memory_rss: within("total_rss"),
        memory_cache: within("total_cache"),
        page_faults: within("total_pgfault"),
        major_page_faults: within("total_pgmajfault"),
        memory_events: memory_events_v1(memory)?,
        cpu_pressure: None,
        memory_pressure: None,
        io_pressure: None,
    })
}

fn stat_v2(dir: &Path) -> Result<Stat, CgroupError> {
    let cpu = file::read(dir, File::CPU_STAT)?;
    let nanos = |key| parse::flat(&cpu, key).unwrap_or(0).saturating_mul(1000);
    let memory_stat = file::read(dir, File::MEMORY_STAT)?;
    let within = |key| parse::flat(&memory_stat, key).unwrap_or(0);
    Ok(Stat {
        cpu_usage_nanos: nanos("usage_usec"),
        cpu_periods: parse::flat(&cpu, "nr_periods").unwrap_or(0),
        throttled_periods: parse::flat(&cpu, "nr_throttled").unwrap_or(0),
        throttled_nanos: nanos("throttled_usec"),
        memory_usage: number(dir, File::MEMORY_CURRENT)?,
        memory_inactive_file: within("inactive_file"),
        memory_peak: file::read_optional(dir, File::MEMORY_PEAK, "a number", parse::number)?.unwrap_or(0),
        memory_rss: within("anon"),
        memory_cache: within("file"),
        page_faults: within("pgfault"),
        major_page_faults: within("pgmajfault"),
        memory_events: MemoryEvents::parse(&file::read(dir, File::MEMORY_EVENTS)?),
        cpu_pressure: None,
        memory_pressure: None,
        io_pressure: None,
    })
}
