//! Numbers as the kernel takes them: shares, quota, weight and limit, and the formulas between them and quantities.
//!
//! Everything the node writes is computed here, in the words of cgroup v1, which CRI uses too; the v2 words (weight,
//! `cpu.max`) follow from them. Source of every formula: reference §5.5.

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

use crate::amounts::{self, Amounts, containers};
use crate::memory_qos::MemoryTiers;
use crate::qos::{self, QosClass};
use crate::resources::ContainerKind;

/// Least `cpu.shares` the kernel takes; what a container without a CPU request gets.
pub const MIN_SHARES: u64 = 2;
/// Greatest `cpu.shares` the kernel takes.
pub const MAX_SHARES: u64 = 262_144;
/// Least `cpu.cfs_quota_us` the kernel takes.
pub const MIN_QUOTA_US: i64 = 1000;
/// `cpu.cfs_period_us` unless the node is configured otherwise.
pub const DEFAULT_PERIOD_US: u64 = 100_000;
/// Size of a page: memory limits are kept in whole ones (4 KiB also where pages are larger: then an adopted limit is the
/// real one, and is written again).
const PAGE: i64 = 4096;
/// "No limit" in `cpu.cfs_quota_us` and `memory.limit_in_bytes`.
pub const UNLIMITED: i64 = -1;
/// What a cgroup v1 kernel answers for "no memory limit": the largest multiple of a page in 63 bits.
pub const V1_MEMORY_UNLIMITED: i64 = i64::MAX & !4095;
/// A CPU request at or below this many milli-CPU cannot be told from "none" in `cpu.shares`.
pub const MIN_MILLI_CPU_REQUEST: MilliCpu = MilliCpu(2);
/// A CPU limit at or below this many milli-CPU cannot be told from the least quota.
pub const MIN_MILLI_CPU_LIMIT: MilliCpu = MilliCpu(10);

/// Values of one cgroup in the kernel's v1 words, which CRI uses too. `None` means "leave as it is" in a write and
/// "not known" in a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CgroupResources {
    /// `cpu.shares`, 2 to 262144.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// `cpu.cfs_quota_us`; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota_us: Option<i64>,
    /// `cpu.cfs_period_us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period_us: Option<u64>,
    /// `memory.limit_in_bytes`; -1 is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<i64>,
    /// What memory QoS adds; cgroup v2 only.
    #[serde(skip_serializing_if = "MemoryTiers::is_empty")]
    pub tiers: MemoryTiers,
}

impl CgroupResources {
    /// The same with these tiers.
    #[must_use]
    pub const fn tiered(self, tiers: MemoryTiers) -> Self {
        Self { tiers, ..self }
    }

    /// What a cgroup with these amounts is to have: every value stated, "not set" as unlimited.
    #[must_use]
    pub fn of(amounts: &Amounts, period_us: u64) -> Self {
        Self {
            cpu_shares: Some(shares(amounts.cpu_request)),
            cpu_quota_us: Some(quota_us(amounts.cpu_limit, period_us)),
            cpu_period_us: Some(period_us),
            memory_limit_bytes: Some(memory_limit(amounts.memory_limit)),
            tiers: MemoryTiers::default(),
        }
    }

    /// What a container *starts* under. Differs from [`CgroupResources::of`] in one thing the reference does only at a
    /// start: without a CPU request, the shares follow the limit (its own, or the one inherited from the pod). The
    /// first update afterwards brings them down to [`MIN_SHARES`], as the recorded pod-level case shows.
    #[must_use]
    pub fn at_start(amounts: &Amounts, period_us: u64) -> Self {
        let mut amounts = *amounts;
        if amounts.cpu_request.0 == 0 {
            amounts.cpu_request = amounts.cpu_limit;
        }
        Self::of(&amounts, period_us)
    }

    /// Whether nothing would be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `self` after `write` has been written over it.
    #[must_use]
    pub fn with(&self, write: &Self) -> Self {
        Self {
            cpu_shares: write.cpu_shares.or(self.cpu_shares),
            cpu_quota_us: write.cpu_quota_us.or(self.cpu_quota_us),
            cpu_period_us: write.cpu_period_us.or(self.cpu_period_us),
            memory_limit_bytes: write.memory_limit_bytes.or(self.memory_limit_bytes),
            tiers: self.tiers.with(&write.tiers),
        }
    }

    /// The CPU limit in milli-CPU that quota and period amount to; `None` when unlimited or not known.
    #[must_use]
    pub fn cpu_limit(&self) -> Option<MilliCpu> {
        let quota = self.cpu_quota_us.filter(|&it| it > 0)?;
        Some(milli_from_quota(quota, self.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US)))
    }

    /// The memory limit; `None` when unlimited (also as cgroup v1 spells it) or not known.
    #[must_use]
    pub fn memory_limit(&self) -> Option<Bytes> {
        self.memory_limit_bytes.filter(|&it| it > 0 && it < V1_MEMORY_UNLIMITED).map(Bytes)
    }
}

/// Whether `reading` is what a cgroup gives back after `shares` were written: the same, or what the weight of cgroup v2
/// (linear for a pod, curved for a container) leaves of them.
///
/// On cgroup v1, where readings are exact, this also takes a few other shares for the recorded ones. It is asked only
/// where a record says `shares`, so that costs a rewrite that was not needed or none that was, of a weight, never of a
/// limit.
#[must_use]
pub fn is_reading_of(reading: u64, shares: u64) -> bool {
    reading == shares
        || reading == shares_from_pod_weight(pod_weight(shares))
        || reading == shares_from_container_weight(container_weight(shares))
}

/// What the kernel keeps of a memory limit.
#[must_use]
pub const fn whole_pages(limit: Bytes) -> i64 {
    limit.0 & !(PAGE - 1)
}

/// Bring recorded amounts to what a cgroup really has, as far as the two cannot mean the same. Values that only differ
/// by the kernel's rounding (memory to whole pages, shares to a weight) are the same; a memory request has no file.
pub fn adopt(amounts: &mut Amounts, reading: &CgroupResources) {
    if let Some(limit) = reading.memory_limit_bytes {
        let found = reading.memory_limit().unwrap_or_default();
        if limit != memory_limit(amounts.memory_limit) && whole_pages(amounts.memory_limit) != found.0 {
            amounts.memory_limit = found;
            // Whoever wrote the limit was about to record a request that fits it.
            if found.0 != 0 {
                amounts.memory_request = amounts.memory_request.min(found);
            }
        }
    }
    if let Some(quota) = reading.cpu_quota_us {
        let period = reading.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        if quota != quota_us(amounts.cpu_limit, period) {
            amounts.cpu_limit = milli_from_quota(quota, period);
        }
    }
    if let Some(reading) = reading.cpu_shares {
        // A container that asked for no CPU started with shares that follow its limit.
        let started_so = amounts.cpu_request.0 == 0 && is_reading_of(reading, shares(amounts.cpu_limit));
        if !started_so && !is_reading_of(reading, shares(amounts.cpu_request)) {
            amounts.cpu_request = milli_from_shares(reading);
        }
    }
}

/// `cpu.shares` for a CPU request: 1024 per core, within the kernel's bounds.
#[must_use]
pub fn shares(request: MilliCpu) -> u64 {
    // i128: 1024 times any i64 fits, so no request overflows.
    let shares = i128::from(request.0) * 1024 / 1000;
    u64::try_from(shares).unwrap_or(0).clamp(MIN_SHARES, MAX_SHARES)
}

/// `cpu.cfs_quota_us` for a CPU limit; no limit is [`UNLIMITED`]. At least [`MIN_QUOTA_US`].
#[must_use]
pub fn quota_us(limit: MilliCpu, period_us: u64) -> i64 {
    if limit.0 <= 0 {
        return UNLIMITED;
    }
    let quota = i128::from(limit.0) * i128::from(period_us) / 1000;
    i64::try_from(quota).unwrap_or(i64::MAX).max(MIN_QUOTA_US)
}

/// `memory.limit_in_bytes` for a memory limit; no limit is [`UNLIMITED`].
#[must_use]
pub const fn memory_limit(limit: Bytes) -> i64 {
    if limit.0 <= 0 { UNLIMITED } else { limit.0 }
}

/// The CPU request that shares stand for, rounded up, so that `milli_from_shares(shares(m)) == m` for every request
/// from 3m to 256 cores.
#[must_use]
pub fn milli_from_shares(shares: u64) -> MilliCpu {
    if shares < MIN_SHARES {
        return MilliCpu(0);
    }
    let milli = (u128::from(shares) * 1000).div_ceil(1024);
    MilliCpu(i64::try_from(milli).unwrap_or(i64::MAX))
}

/// The CPU limit that a quota stands for; zero when unlimited.
#[must_use]
pub fn milli_from_quota(quota_us: i64, period_us: u64) -> MilliCpu {
    if quota_us <= 0 || period_us == 0 {
        return MilliCpu(0);
    }
    let milli = i128::from(quota_us) * 1000 / i128::from(period_us);
    MilliCpu(i64::try_from(milli).unwrap_or(i64::MAX))
}

/// cgroup v2 `cpu.weight` of a *pod's* cgroup: linear from shares 2..262144 to weight 1..10000. The reference's node
/// still uses it for the cgroups it writes itself.
#[must_use]
pub fn pod_weight(shares: u64) -> u64 {
    let shares = shares.clamp(MIN_SHARES, MAX_SHARES);
    1 + (shares - MIN_SHARES) * 9999 / 262_142
}

/// The shares that a pod's `cpu.weight` stands for; loses up to 27 shares, because a weight is coarser.
#[must_use]
pub fn shares_from_pod_weight(weight: u64) -> u64 {
    (weight.clamp(1, 10_000) - 1) * 262_142 / 9999 + MIN_SHARES
}

/// cgroup v2 `cpu.weight` of a *container's* cgroup, as OCI runtimes of 2025 and later map it: a curve through
/// (2, 1), (1024, 100) and (262144, 10000), so that one core keeps the kernel's default weight.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "1 to 10000")]
pub fn container_weight(shares: u64) -> u64 {
    if shares <= MIN_SHARES {
        return 1;
    }
    if shares >= MAX_SHARES {
        return 10_000;
    }
    let l = (shares as f64).log2();
    let weight = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
    // Where the curve meets an integer (1024 -> 100) rounding must not push it to the next one; values that are truly
    // above an integer are above it by far more than this.
    (weight - 1e-9).ceil() as u64
}

/// The least shares whose [`container_weight`] is `weight`: what a runtime on cgroup v2 reports for a container whose
/// shares it does not remember.
#[must_use]
pub fn shares_from_container_weight(weight: u64) -> u64 {
    // The curve never falls, so the least argument that reaches `weight` is found by halving.
    let (mut low, mut high) = (MIN_SHARES, MAX_SHARES);
    while low < high {
        let middle = low.midpoint(high);
        if container_weight(middle) >= weight { high = middle } else { low = middle + 1 }
    }
    low
}

/// `oom_score_adj` of the containers of Guaranteed and of node-critical pods: the last to be killed.
const GUARANTEED_OOM_SCORE_ADJ: i64 = -997;
/// `oom_score_adj` of BestEffort containers: the first.
const BEST_EFFORT_OOM_SCORE_ADJ: i64 = 1000;

/// `/proc/PID/oom_score_adj` of a container: the less of the node's memory it asked for, the sooner it is killed.
///
/// Burstable: 1000 minus the thousandths of `capacity` (the node's memory) that it requests, between the two other
/// classes. What pod-level memory exceeds the containers' requests is shared out evenly among them, and a sidecar never
/// ranks above the regular container that asked for least (KEP-753, KEP-2837).
#[must_use]
pub fn oom_score_adj(pod: &Pod, container: &Container, capacity: Bytes) -> i32 {
    let spec = pod.spec.as_ref();
    let critical = spec.and_then(|it| it.priority_class_name.as_deref()) == Some("system-node-critical");
    let class = qos::recorded(pod);
    let score = if critical || class == QosClass::Guaranteed {
        GUARANTEED_OOM_SCORE_ADJ
    } else if class == QosClass::BestEffort || capacity.0 <= 0 {
        BEST_EFFORT_OOM_SCORE_ADJ
    } else {
        burstable_oom_score_adj(pod, container, capacity)
    };
    i32::try_from(score).unwrap_or(1000)
}

fn burstable_oom_score_adj(pod: &Pod, container: &Container, capacity: Bytes) -> i64 {
    let requested = |it: &Container| Amounts::of(it.resources.as_ref()).memory_request.0;
    let regular = pod.spec.iter().flat_map(|it| it.containers.iter());
    let count = i64::try_from(containers(pod).count()).unwrap_or(i64::MAX).max(1);
    let level = amounts::pod_level(pod).memory_request.0;
    let spare = if level == 0 {
        0
    } else {
        // Without the overhead, which no container runs on.
        let sum = amounts::effective(pod, Amounts::default(), |it| Amounts::of(it.resources.as_ref()));
        let sum = sum.memory_request.0.saturating_sub(amounts::overhead(pod).memory_request.0);
        level.saturating_sub(sum) / count
    };
    let score = |request: i64| {
        let thousandths = i128::from(request.saturating_add(spare)) * 1000 / i128::from(capacity.0);
        1000_i64.saturating_sub(i64::try_from(thousandths).unwrap_or(i64::MAX))
    };
    let own = score(requested(container));
    let least = regular.map(requested).min().map_or(own, score);
    let own = if ContainerKind::of_init(container) == ContainerKind::Sidecar { own.min(least) } else { own };
    own.clamp(1000 + GUARANTEED_OOM_SCORE_ADJ, BEST_EFFORT_OOM_SCORE_ADJ - 1)
}
