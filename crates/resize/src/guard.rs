//! No memory limit goes to or below what is used now (reference §5.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use supple_quantity::Bytes;

use crate::actuate::{Decrease, Plan, Step, Target};

/// Memory charged to a pod's cgroups now: the total, page cache included, as the kernel compares it with the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUsage {
    /// The pod's own cgroup; `None`: not known.
    pub pod: Option<Bytes>,
    /// Per running container.
    pub containers: BTreeMap<String, Bytes>,
}

/// One reason why memory limits cannot go down now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// The pod uses as much or more.
    #[error("attempting to set pod memory limit ({}) below current usage ({})", limit.0, usage.0)]
    PodUsage {
        /// The limit to be set.
        limit: Bytes,
        /// What the pod uses.
        usage: Bytes,
    },
    /// The container uses as much or more.
    #[error("attempting to set container {container:?} memory limit ({}) below current usage ({})", limit.0, usage.0)]
    ContainerUsage {
        /// Which container.
        container: String,
        /// The limit to be set.
        limit: Bytes,
        /// What the container uses (the reference prints the pod's usage here).
        usage: Bytes,
    },
    /// The pod's usage is not known.
    #[error("missing pod memory usage")]
    PodUnknown,
    /// The container's usage is not known.
    #[error("missing container {container:?} memory usage")]
    ContainerUnknown {
        /// Which container.
        container: String,
    },
}

impl Reason {
    /// The container it is about; `None`: the pod as a whole.
    #[must_use]
    pub const fn container(&self) -> Option<&String> {
        match self {
            Self::ContainerUsage { container, .. } | Self::ContainerUnknown { container } => Some(container),
            Self::PodUsage { .. } | Self::PodUnknown => None,
        }
    }
}

/// The plan's memory limits cannot go down now. Retryable: usage may fall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelowUsage {
    /// Every reason, the pod's first.
    pub reasons: Vec<Reason>,
}

impl std::fmt::Display for BelowUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot decrease memory limits: ")?;
        match self.reasons.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                let many: Vec<String> = many.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", many.join(", "))
            }
        }
    }
}

impl std::error::Error for BelowUsage {}

/// Check a whole plan before anything of it is done: before containers are stopped, so that nothing is killed for a
/// resize that is then refused. What the containers that will restart use does not count, they give it back.
///
/// # Errors
/// Every memory limit that would go to or below current usage, and every usage that is not known.
pub fn check(plan: &Plan, usage: &MemoryUsage) -> Result<(), BelowUsage> {
    let restarting = plan.restart.iter().filter_map(|it| usage.containers.get(it));
    let given_back = restarting.fold(0, |sum: i64, it| sum.saturating_add(it.0));
    let pod = usage.pod.map(|it| Bytes(it.0.saturating_sub(given_back)));
    refuse(plan.decreases.iter().filter_map(|it| reason(it, pod, usage)))
}

/// Check one step right before it is written, which narrows the time in which usage can rise unseen.
///
/// # Errors
/// As [`check`], for this step alone; steps that lower no memory limit always pass.
pub fn check_step(plan: &Plan, step: &Step, usage: &MemoryUsage) -> Result<(), BelowUsage> {
    if step.write.memory_limit_bytes.is_none() {
        return Ok(());
    }
    let lowered = plan.decreases.iter().filter(|it| it.target == step.target);
    refuse(lowered.filter_map(|it| reason(it, usage.pod, usage)))
}

fn reason(decrease: &Decrease, pod: Option<Bytes>, usage: &MemoryUsage) -> Option<Reason> {
    let limit = decrease.to;
    match &decrease.target {
        Target::Pod => match pod {
            None => Some(Reason::PodUnknown),
            Some(usage) => (usage >= limit).then_some(Reason::PodUsage { limit, usage }),
        },
        Target::Container(container) => {
            let container = container.clone();
            match usage.containers.get(&container).copied() {
                None => Some(Reason::ContainerUnknown { container }),
                Some(usage) => (usage >= limit).then_some(Reason::ContainerUsage { container, limit, usage }),
            }
        }
    }
}

fn refuse(reasons: impl Iterator<Item = Reason>) -> Result<(), BelowUsage> {
    let reasons: Vec<Reason> = reasons.collect();
    if reasons.is_empty() { Ok(()) } else { Err(BelowUsage { reasons }) }
}
