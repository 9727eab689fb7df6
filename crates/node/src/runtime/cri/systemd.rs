//! Telling systemd of our slices, where it makes the cgroups: what it does not know it would set back.
//!
//! The kernel's files are written by the node itself, in the order that keeps every promise; systemd is told the same
//! values after each write, so that its own next write (on a reload) repeats them. `systemctl` speaks to it: a program
//! that is there wherever systemd is.

use std::path::PathBuf;
use std::process::Output;

use supple_resize::kernel::{self, CgroupResources};
use supple_resize::memory_qos::MemoryTiers;
use tokio::process::Command;

/// systemd did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[error("{command}: {message}")]
pub struct SystemdError {
    /// What was run.
    pub command: String,
    /// What came of it.
    pub message: String,
}

/// The way to systemd.
#[derive(Clone, Debug)]
pub struct Systemd {
    program: PathBuf,
}

impl Systemd {
    /// By this `systemctl`.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Make the slice and those above it.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub async fn start(&self, slice: &str) -> Result<(), SystemdError> {
        self.run(&["start".to_owned(), slice.to_owned()]).await
    }

    /// Tell it what the slice's cgroup has been given.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub async fn set(&self, slice: &str, values: &CgroupResources) -> Result<(), SystemdError> {
        let properties = properties(values);
        if properties.is_empty() {
            return Ok(());
        }
        let mut words = vec!["set-property".to_owned(), "--runtime".to_owned(), slice.to_owned()];
        words.extend(properties);
        self.run(&words).await
    }

    /// Forget the slice; everything inside has ended.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub async fn stop(&self, slice: &str) -> Result<(), SystemdError> {
        self.run(&["stop".to_owned(), slice.to_owned()]).await
    }

    async fn run(&self, words: &[String]) -> Result<(), SystemdError> {
        let failed = |message: String| SystemdError {
            command: format!("{} {}", self.program.display(), words.join(" ")),
            message,
        };
        let Output { status, stderr, .. } =
            Command::new(&self.program).args(words).kill_on_drop(true).output().await.map_err(|error| {
                failed(format!(
                    "{error}; the container runtime says that systemd makes its cgroups, and this talks to it"
                ))
            })?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(format!("{status}: {}", String::from_utf8_lossy(&stderr).trim()))),
        }
    }
}

/// Values in systemd's words. It takes what it knows of either cgroup version and uses what fits.
fn properties(values: &CgroupResources) -> Vec<String> {
    let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us, memory_limit_bytes, tiers } = *values;
    let limit = |value: i64| if value < 0 { "infinity".to_owned() } else { value.to_string() };
    let mut out = Vec::new();
    if let Some(shares) = cpu_shares {
        out.push(format!("CPUWeight={}", kernel::pod_weight(shares)));
    }
    if let Some(quota) = cpu_quota_us {
        let period = cpu_period_us.unwrap_or(kernel::DEFAULT_PERIOD_US).max(1);
        // Its quota is CPU time per second, in percent of one core; empty is none.
        let percent = u64::try_from(quota).ok().map(|quota| (quota * 100).div_ceil(period));
        out.push(format!("CPUQuota={}", percent.map(|it| format!("{it}%")).unwrap_or_default()));
    }
    if let Some(memory) = memory_limit_bytes {
        out.push(format!("MemoryMax={}", limit(memory)));
    }
    let MemoryTiers { min_bytes, low_bytes, high_bytes } = tiers;
    for (property, value) in [("MemoryMin", min_bytes), ("MemoryLow", low_bytes), ("MemoryHigh", high_bytes)] {
        out.extend(value.map(|value| format!("{property}={}", limit(value))));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: CgroupResources, expect: &[&str]) {
        assert_eq!(properties(&values), expect, "{values:?}");
    }

    #[test]
    fn values_in_its_words() {
        check(CgroupResources::default(), &[]);
        check(
            CgroupResources {
                cpu_shares: Some(1024),
                cpu_quota_us: Some(25_000),
                cpu_period_us: Some(100_000),
                memory_limit_bytes: Some(64 << 20),
                ..CgroupResources::default()
            },
            &["CPUWeight=39", "CPUQuota=25%", "MemoryMax=67108864"],
        );
        check(
            CgroupResources { cpu_quota_us: Some(-1), memory_limit_bytes: Some(-1), ..Default::default() },
            &["CPUQuota=", "MemoryMax=infinity"],
        );
        let tiers = MemoryTiers { min_bytes: Some(0), low_bytes: Some(4096), high_bytes: Some(-1) };
        check(CgroupResources::default().tiered(tiers), &["MemoryMin=0", "MemoryLow=4096", "MemoryHigh=infinity"]);
    }

    #[tokio::test]
    async fn what_it_says_is_told() {
        let error = Systemd::new("/nonexistent/systemctl".into()).start("a.slice").await.unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/systemctl start a.slice: "), "{error}");
        let error = Systemd::new("/bin/false".into()).stop("a.slice").await.unwrap_err().to_string();
        assert!(error.contains("/bin/false stop a.slice: exit status: 1"), "{error}");
    }
}
