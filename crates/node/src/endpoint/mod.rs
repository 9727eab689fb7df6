//! What a node answers when it is asked itself: the kubelet's own endpoints, in its names and shapes.
//!
//! ```text
//!   /stats/summary       usage of node, pods and containers as JSON, with pressure
//!   /metrics/cadvisor    every counter of every container, for Prometheus
//!   /metrics/resource    the few that matter for autoscaling, for Prometheus
//!   /metrics             what the node itself did: its resizes
//! ```
//!
//! A `Scene` is taken once; what is made of it is pure. Clients reach them as `/api/v1/nodes/NAME/proxy/…`.

mod cadvisor;
pub(crate) mod exposition;
pub(crate) mod figures;
mod resource;
mod summary;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::options::Capacity;
use crate::runtime::{ContainerUsage, PodUsage};

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// The paths that are answered, below the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/stats/summary`.
    Summary,
    /// `/metrics/cadvisor`.
    Cadvisor,
    /// `/metrics/resource`.
    Resource,
    /// `/metrics`.
    Metrics,
    /// `/healthz`.
    Health,
}

impl Path {
    /// From what stands behind the node's address.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        match path.trim_matches('/') {
            "stats/summary" => Some(Self::Summary),
            "metrics/cadvisor" => Some(Self::Cadvisor),
            "metrics/resource" => Some(Self::Resource),
            "metrics" => Some(Self::Metrics),
            "healthz" => Some(Self::Health),
            _ => None,
        }
    }

    /// Whether the answer is made of what pods use now.
    pub(crate) const fn tells_usage(self) -> bool {
        matches!(self, Self::Summary | Self::Cadvisor | Self::Resource)
    }
}

/// The node and its pods at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// Name of the node.
    pub(crate) node: String,
    /// When the node was started.
    pub(crate) started_at: Timestamp,
    /// Now.
    pub(crate) now: Timestamp,
    /// What the node has.
    pub(crate) capacity: Capacity,
    /// Its pods.
    pub(crate) pods: Vec<PodScene>,
}

/// One pod of a scene.
#[derive(Clone, Debug)]
pub(crate) struct PodScene {
    /// What it uses.
    pub(crate) usage: PodUsage,
    /// Of each container its image and its attempt.
    pub(crate) runs: BTreeMap<String, (String, u32)>,
}

/// One container with all that its labels are made of.
#[derive(Clone, Copy)]
struct Measured<'a> {
    pod: &'a PodScene,
    usage: &'a ContainerUsage,
}

impl Scene {
    fn containers(&self) -> impl Iterator<Item = Measured<'_>> {
        self.pods.iter().flat_map(|pod| pod.usage.containers.iter().map(move |usage| Measured { pod, usage }))
    }

    /// The answer; the node's own figures come ready, because they are not of this moment.
    pub(crate) fn answer(&self, path: Path, figures: impl FnOnce() -> String) -> Answer {
        match path {
            Path::Summary => Answer { content_type: "application/json", body: summary::render(self).to_string() },
            Path::Cadvisor => text(cadvisor::render(self)),
            Path::Resource => text(resource::render(self)),
            Path::Metrics => text(figures()),
            Path::Health => Answer { content_type: "text/plain; charset=utf-8", body: "ok".into() },
        }
    }
}

fn text(body: String) -> Answer {
    Answer { content_type: exposition::CONTENT_TYPE, body }
}

/// Bytes that are never negative; what is, is none.
fn unsigned(bytes: supple_quantity::Bytes) -> u64 {
    u64::try_from(bytes.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use supple_quantity::{Bytes, MilliCpu};

    use super::*;
    use crate::cgroup::{Pressure, Psi};
    use crate::runtime::{PodRef, Seen, Strain};

    /// A node with one pod of one container.
    pub(super) fn scene() -> Scene {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let wait = |total| Psi {
            some: Pressure { avg10: 1.5, avg60: 0.5, avg300: 0.25, total },
            full: Pressure { total: total / 2, ..Pressure::default() },
        };
        let container = ContainerUsage {
            container: "app".into(),
            started_at: Some(at(1_000)),
            cpu_usage_nanos: 2_500_000_000,
            cpu_nano_cores: Some(250_000_000),
            memory_usage: Bytes(64 << 20),
            memory_working_set: Bytes(48 << 20),
            memory_peak: Bytes(80 << 20),
            memory_rss: Bytes(40 << 20),
            memory_cache: Bytes(24 << 20),
            page_faults: 70,
            major_page_faults: 7,
            cpu_periods: 100,
            throttled_periods: 30,
            throttled_nanos: 1_500_000_000,
            memory_high_hits: 5,
            memory_max_hits: 4,
            oom_kills: 3,
            cpu_pressure: Some(wait(3_000_000)),
            memory_pressure: Some(wait(1_000_000)),
            io_pressure: None,
            strains: [(Strain::MemoryHigh, Seen { times: 2, last: at(1_500) })].into(),
        };
        let pod = PodRef { uid: "u-1".into(), namespace: "shop".into(), name: "cart".into() };
        let usage = PodUsage {
            pod,
            at: at(2_000),
            window: Duration::from_secs(10),
            memory_usage: Bytes(65 << 20),
            strains: Default::default(),
            containers: vec![container],
        };
        Scene {
            node: "lab".into(),
            started_at: at(500),
            now: at(2_000),
            capacity: Capacity { cpu: MilliCpu(2000), memory: Bytes(1 << 30), pods: 110 },
            pods: vec![PodScene { usage, runs: [("app".to_owned(), ("busybox:1.35".to_owned(), 2))].into() }],
        }
    }

    #[track_caller]
    pub(super) fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn paths() {
        #[track_caller]
        fn check(path: &str, expect: Option<Path>) {
            assert_eq!(Path::parse(path), expect, "{path:?}");
        }
        check("stats/summary", Some(Path::Summary));
        check("/metrics/cadvisor", Some(Path::Cadvisor));
        check("metrics/resource/", Some(Path::Resource));
        check("metrics", Some(Path::Metrics));
        check("healthz", Some(Path::Health));
        check("run/default/p/c", None);
        check("", None);
    }
}
