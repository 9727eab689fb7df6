//! What a cgroup has used and suffered, at one moment.

use std::path::Path;

use super::file::{self, File};
use super::parse;
use super::{CgroupError, Group, Hierarchies, V1};

/// Counters and gauges of one cgroup, in the same units on both versions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stat {
    /// CPU time, nanoseconds (counter).
    pub cpu_usage_nanos: u64,
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
    /// Kills by the OOM killer (counter).
    pub oom_kills: u64,
    /// Percent of the last 10 s in which some task waited for CPU.
    pub cpu_some_avg10: Option<f64>,
    /// Percent of the last 10 s in which some task waited for memory.
    pub memory_some_avg10: Option<f64>,
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
        let (mut stat, pressure) = match &self.at {
            Hierarchies::V1(dirs) => (stat_v1(dirs)?, dirs.unified.as_deref()),
            Hierarchies::V2(dir) => (stat_v2(dir)?, Some(dir.as_path())),
        };
        if let Some(dir) = pressure {
            stat.cpu_some_avg10 = some_avg10(dir, File::CPU_PRESSURE)?;
            stat.memory_some_avg10 = some_avg10(dir, File::MEMORY_PRESSURE)?;
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
        let (dir, name) = self.oom_file();
        Ok(parse::flat(&file::read(dir, name)?, "oom_kill").unwrap_or(0))
    }

    /// Where the OOM killer's work is counted, and where the kernel tells of it.
    pub(crate) fn oom_file(&self) -> (&Path, File) {
        match &self.at {
            Hierarchies::V1(V1 { memory, .. }) => (memory, File::OOM_CONTROL),
            Hierarchies::V2(dir) => (dir, File::MEMORY_EVENTS),
        }
    }
}

fn number(dir: &Path, name: File) -> Result<u64, CgroupError> {
    file::read_as(dir, name, "a number", parse::number)
}

fn some_avg10(dir: &Path, name: File) -> Result<Option<f64>, CgroupError> {
    let line = file::read_optional(dir, name, "a pressure file", |text| parse::pressure(text, "some"))?;
    Ok(line.map(|it| it.avg10))
}

fn stat_v1(V1 { cpu, cpuacct, memory, .. }: &V1) -> Result<Stat, CgroupError> {
    let throttling = file::read(cpu, File::CPU_STAT)?;
    let counter = |key| parse::flat(&throttling, key).unwrap_or(0);
    let memory_stat = file::read(memory, File::MEMORY_STAT)?;
    Ok(Stat {
        cpu_usage_nanos: number(cpuacct, File::CPUACCT_USAGE)?,
        throttled_periods: counter("nr_throttled"),
        throttled_nanos: counter("throttled_time"),
        memory_usage: number(memory, File::MEMORY_USAGE)?,
        // With `total_`: descendants too, as `usage` has them.
        memory_inactive_file: parse::flat(&memory_stat, "total_inactive_file").unwrap_or(0),
        memory_peak: number(memory, File::MEMORY_MAX_USAGE)?,
        oom_kills: parse::flat(&file::read(memory, File::OOM_CONTROL)?, "oom_kill").unwrap_or(0),
        cpu_some_avg10: None,
        memory_some_avg10: None,
    })
}

fn stat_v2(dir: &Path) -> Result<Stat, CgroupError> {
    let cpu = file::read(dir, File::CPU_STAT)?;
    let nanos = |key| parse::flat(&cpu, key).unwrap_or(0).saturating_mul(1000);
    let memory_stat = file::read(dir, File::MEMORY_STAT)?;
    Ok(Stat {
        cpu_usage_nanos: nanos("usage_usec"),
        throttled_periods: parse::flat(&cpu, "nr_throttled").unwrap_or(0),
        throttled_nanos: nanos("throttled_usec"),
        memory_usage: number(dir, File::MEMORY_CURRENT)?,
        memory_inactive_file: parse::flat(&memory_stat, "inactive_file").unwrap_or(0),
        memory_peak: file::read_optional(dir, File::MEMORY_PEAK, "a number", parse::number)?.unwrap_or(0),
        oom_kills: parse::flat(&file::read(dir, File::MEMORY_EVENTS)?, "oom_kill").unwrap_or(0),
        cpu_some_avg10: None,
        memory_some_avg10: None,
    })
}
