//! Numbers as the kernel takes them: shares, quota, weight and limit, and the formulas between them and quantities.

/// Values of one cgroup in the kernel's v1 words, which CRI uses too. `None` means "leave as it is" in a write and
/// "not known" in a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupResources {
    /// `cpu.shares`, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// `cpu.cfs_quota_us`; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// `cpu.cfs_period_us`.
    pub cpu_period_us: Option<u64>,
    /// `memory.limit_in_bytes`; -1 is unlimited.
    pub memory_limit_bytes: Option<i64>,
}
