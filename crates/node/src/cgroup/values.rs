//! Resources of a cgroup, written in the order the kernel accepts and read back in the same words.
//!
//! The order *between* cgroups (a parent grows before its children and shrinks after them) is the worker's; here it is
//! the order between the files of one cgroup.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::memory_qos::MemoryTiers;

use super::file::{self, File};
use super::parse::{self, Limit};
use super::{CgroupError, Group, Hierarchies, Role, V1};

impl Group {
    /// Write those values that are `Some`.
    ///
    /// # Errors
    /// [`CgroupError::Write`] with the first value the kernel refused; those before it are written. EBUSY for a memory
    /// limit means that more than that is in use and could not be reclaimed.
    pub fn apply(&self, values: &CgroupResources) -> Result<(), CgroupError> {
        match &self.at {
            Hierarchies::V1(dirs) => apply_v1(dirs, values),
            Hierarchies::V2(dir) => apply_v2(dir, self.role, values),
        }
    }

    /// Before somebody else lowers its memory limit to this many bytes: on version 2, whose kernel would rather kill than
    /// refuse, reclaim what is above it. Version 1 does that itself. Blocking.
    ///
    /// # Errors
    /// [`CgroupError::Write`] with EBUSY where more than that is in use and could not be reclaimed.
    pub fn make_room(&self, limit: i64) -> Result<(), CgroupError> {
        match (&self.at, u64::try_from(limit)) {
            (Hierarchies::V2(dir), Ok(wanted)) => make_room_v2(dir, wanted),
            (Hierarchies::V1(_), _) | (_, Err(_)) => Ok(()),
        }
    }

    /// Whether it keeps CPU shares as a weight (version 2), from which they cannot be had back exactly.
    pub fn keeps_weight(&self) -> bool {
        matches!(self.at, Hierarchies::V2(_))
    }

    /// Read them back. On v2 shares are what the weight stands for, which is coarser.
    ///
    /// # Errors
    /// [`CgroupError::Read`] or [`CgroupError::Malformed`].
    pub fn read(&self) -> Result<CgroupResources, CgroupError> {
        match &self.at {
            Hierarchies::V1(dirs) => read_v1(dirs),
            Hierarchies::V2(dir) => read_v2(dir, self.role),
        }
    }
}

fn apply_v1(V1 { cpu, memory, .. }: &V1, values: &CgroupResources) -> Result<(), CgroupError> {
    // There is nothing on version 1 that tiers could be written to.
    let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, tiers: _ } = *values;
    if let Some(limit) = memory_limit_bytes {
        memory_v1(memory, limit)?;
    }
    if let Some(shares) = cpu_shares {
        file::write(cpu, File::CPU_SHARES, shares)?;
    }
    match (cpu_quota_us, cpu_period_us) {
        (None, None) => Ok(()),
        (Some(quota), None) => file::write(cpu, File::CPU_QUOTA, quota),
        (None, Some(period)) => file::write(cpu, File::CPU_PERIOD, period),
        (Some(quota), Some(period)) => bandwidth_v1(cpu, quota, period),
    }
}

/// Two files make one ratio, and the kernel checks it against the parent's at each write. Almost always the period
/// stays what it is and the quota alone is written; where both change and the old quota is too much for the new period,
/// the quota goes first.
fn bandwidth_v1(cpu: &Path, quota: i64, period: u64) -> Result<(), CgroupError> {
    let current = file::read_as(cpu, File::CPU_PERIOD, "a number", parse::number::<u64>)?;
    if current == period {
        return file::write(cpu, File::CPU_QUOTA, quota);
    }
    match file::write(cpu, File::CPU_PERIOD, period) {
        Ok(()) => file::write(cpu, File::CPU_QUOTA, quota),
        Err(error) if error.errno() == Some(Errno::INVAL.raw_os_error()) => {
            file::write(cpu, File::CPU_QUOTA, quota)?;
            file::write(cpu, File::CPU_PERIOD, period)
        }
        Err(error) => Err(error),
    }
}

/// The limit and, where swap is accounted, the limit of memory and swap together, which is kept equal: a container
/// never swaps. The kernel holds memory ≤ memory+swap at each write, so the outer one goes up first and down last.
fn memory_v1(memory: &Path, limit: i64) -> Result<(), CgroupError> {
    let with_swap = file::read_optional(memory, File::MEMSW_LIMIT, "a number", parse::number::<i64>)?;
    let Some(current) = with_swap else { return file::write(memory, File::MEMORY_LIMIT, limit) };
    let grows = limit < 0 || limit > current;
    let files = if grows { [File::MEMSW_LIMIT, File::MEMORY_LIMIT] } else { [File::MEMORY_LIMIT, File::MEMSW_LIMIT] };
    files.into_iter().try_for_each(|name| file::write(memory, name, limit))
}

fn read_v1(V1 { cpu, memory, .. }: &V1) -> Result<CgroupResources, CgroupError> {
    let limit = file::read_as(memory, File::MEMORY_LIMIT, "a number", parse::number::<i64>)?;
    Ok(CgroupResources {
        cpu_shares: Some(file::read_as(cpu, File::CPU_SHARES, "a number", parse::number)?),
        cpu_quota_us: Some(file::read_as(cpu, File::CPU_QUOTA, "a number", parse::number)?),
        cpu_period_us: Some(file::read_as(cpu, File::CPU_PERIOD, "a number", parse::number)?),
        // "No limit" is the greatest multiple of a page, whatever the page's size.
        memory_limit_bytes: Some(if limit >= i64::MAX - (1 << 20) { kernel::UNLIMITED } else { limit }),
        tiers: MemoryTiers::default(),
    })
}

fn apply_v2(dir: &Path, role: Role, values: &CgroupResources) -> Result<(), CgroupError> {
    let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, tiers } = *values;
    // A container that grows is given its room before more of it is protected; one that shrinks is slowed down before
    // its limit comes down, so that reclaim has begun.
    let grows = match memory_limit_bytes {
        Some(limit) if !tiers.is_empty() => {
            limit < 0 || {
                let now = file::read_as(dir, File::MEMORY_MAX, "max or a number", parse::limit)?;
                matches!(now, Limit::At(now) if u64::try_from(limit).is_ok_and(|limit| limit > now))
            }
        }
        _ => true,
    };
    if !grows {
        tiers_v2(dir, &tiers)?;
    }
    if let Some(limit) = memory_limit_bytes {
        memory_v2(dir, limit)?;
    }
    if grows {
        tiers_v2(dir, &tiers)?;
    }
    if let Some(shares) = cpu_shares {
        let weight = match role {
            Role::Root | Role::Pod => kernel::pod_weight(shares),
            Role::Container => kernel::container_weight(shares),
        };
        file::write(dir, File::CPU_WEIGHT, weight)?;
    }
    let quota = cpu_quota_us.map(|quota| if quota < 0 { "max".to_owned() } else { quota.to_string() });
    match (quota, cpu_period_us) {
        (None, None) => Ok(()),
        // The kernel takes a quota alone and keeps the period.
        (Some(quota), None) => file::write(dir, File::CPU_MAX, quota),
        (Some(quota), Some(period)) => file::write(dir, File::CPU_MAX, format!("{quota} {period}")),
        (None, Some(period)) => {
            let quota = match file::read_as(dir, File::CPU_MAX, "a quota and a period", parse::cpu_max)?.0 {
                Limit::Max => "max".to_owned(),
                Limit::At(quota) => quota.to_string(),
            };
            file::write(dir, File::CPU_MAX, format!("{quota} {period}"))
        }
    }
}

/// What memory QoS protects and slows down; nothing where nothing is asked for.
fn tiers_v2(dir: &Path, MemoryTiers { min_bytes, low_bytes, high_bytes }: &MemoryTiers) -> Result<(), CgroupError> {
    for (name, value) in [(File::MEMORY_MIN, min_bytes), (File::MEMORY_LOW, low_bytes), (File::MEMORY_HIGH, high_bytes)]
    {
        match value {
            Some(value) if *value < 0 => file::write(dir, name, "max")?,
            Some(value) => file::write(dir, name, value)?,
            None => {}
        }
    }
    Ok(())
}

/// Version 2 never refuses a limit below usage: it reclaims, then kills. A resize must not kill, so what v1's kernel
/// does is done here: reclaim first, and refuse with EBUSY what is still too much.
fn memory_v2(dir: &Path, limit: i64) -> Result<(), CgroupError> {
    let Ok(wanted) = u64::try_from(limit) else {
        return file::write(dir, File::MEMORY_MAX, "max");
    };
    make_room_v2(dir, wanted)?;
    file::write(dir, File::MEMORY_MAX, wanted)?;
    if file::read_optional(dir, File::SWAP_MAX, "max or a number", parse::limit)?.is_some_and(|it| it != Limit::At(0)) {
        file::write(dir, File::SWAP_MAX, 0)?;
    }
    Ok(())
}

fn make_room_v2(dir: &Path, wanted: u64) -> Result<(), CgroupError> {
    let lowered = match file::read_as(dir, File::MEMORY_MAX, "max or a number", parse::limit)? {
        Limit::Max => true,
        Limit::At(current) => wanted < current,
    };
    if !lowered {
        return Ok(());
    }
    let usage = || file::read_optional(dir, File::MEMORY_CURRENT, "a number", parse::number::<u64>);
    let over = usage()?.unwrap_or(0).saturating_sub(wanted);
    if over > 0 {
        // Best effort, and absent before Linux 5.19: what counts is the usage afterwards.
        let _ = file::write(dir, File::MEMORY_RECLAIM, over);
        if usage()?.unwrap_or(0) > wanted {
            let source = io::Error::from_raw_os_error(Errno::BUSY.raw_os_error());
            return Err(CgroupError::Write { path: File::MEMORY_MAX.of(dir), value: wanted.to_string(), source });
        }
    }
    Ok(())
}

fn read_v2(dir: &Path, role: Role) -> Result<CgroupResources, CgroupError> {
    let weight = file::read_as(dir, File::CPU_WEIGHT, "a number", parse::number::<u64>)?;
    let (quota, period) = file::read_as(dir, File::CPU_MAX, "a quota and a period", parse::cpu_max)?;
    let memory = file::read_as(dir, File::MEMORY_MAX, "max or a number", parse::limit)?;
    let signed = |limit| match limit {
        Limit::Max => kernel::UNLIMITED,
        Limit::At(value) => i64::try_from(value).unwrap_or(kernel::UNLIMITED),
    };
    Ok(CgroupResources {
        cpu_shares: Some(match role {
            Role::Root | Role::Pod => kernel::shares_from_pod_weight(weight),
            Role::Container => kernel::shares_from_container_weight(weight),
        }),
        cpu_quota_us: Some(signed(quota)),
        cpu_period_us: Some(period),
        memory_limit_bytes: Some(signed(memory)),
        tiers: MemoryTiers {
            min_bytes: file::read_optional(dir, File::MEMORY_MIN, "max or a number", parse::limit)?.map(signed),
            low_bytes: file::read_optional(dir, File::MEMORY_LOW, "max or a number", parse::limit)?.map(signed),
            high_bytes: file::read_optional(dir, File::MEMORY_HIGH, "max or a number", parse::limit)?.map(signed),
        },
    })
}
