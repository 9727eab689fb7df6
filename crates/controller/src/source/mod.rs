//! What containers use, from everybody who can tell: each answer a value that says where it comes from and of what moment
//! it is, so that old news is seen to be old.
//!
//! ```text
//!   metrics.k8s.io ─────────────── crate::usage ─┐
//!   kubelets, through the API ──── kubelet ──────┴─▶ Use, one beside the other, as decisions take it
//!   Prometheus, and its like ───── prometheus ─────▶ samples of the past, as the recommender takes them; numbers for guards
//!   status of pods, old and new ── incident ───────▶ Incident, each once
//!   events of kubelets ─────────── eviction ───────▶ Eviction, as often as it is told
//! ```
//!
//! None of them decides anything; what may be lowered on which data is [`supple_decide`]'s.

pub mod backoff;
pub mod eviction;
pub mod exposition;
pub mod incident;
pub mod kubelet;
pub mod prometheus;

use std::fmt;
use std::sync::Arc;

use supple_decide::need::Use;

/// Who told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `metrics.k8s.io`: a mean of CPU and a working set, and nothing else.
    MetricsApi,
    /// A kubelet, through the API server: also throttling, pressure, swap and kills.
    Kubelet,
    /// A server that speaks Prometheus' query API.
    Prometheus,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MetricsApi, Self::Kubelet, Self::Prometheus];

    /// As metrics and logs name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetricsApi => "metrics-api",
            Self::Kubelet => "kubelet",
            Self::Prometheus => "prometheus",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which container: namespace, pod, container.
pub(crate) type Name = (Arc<str>, Arc<str>, Arc<str>);

/// What one container used, as one source told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `metadata.namespace` of the pod.
    pub namespace: Arc<str>,
    /// `metadata.name` of the pod.
    pub pod: Arc<str>,
    /// Name of the container.
    pub container: Arc<str>,
    /// Who told.
    pub source: Source,
    /// What: its `at` is the moment it was measured, not the one it was asked for.
    pub usage: Use,
    /// Processes of it that the kernel killed for want of memory since the reading before; `None`: the source cannot tell.
    pub oom_kills: Option<u32>,
    /// It met its memory limit since the reading before. The kernel counts that of page cache too, which fills any limit.
    pub met_limit: bool,
}
