//! What is known of workloads at one moment, for metrics: plain data, and which metric shows what of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::code::Code;
use supple_decide::key::WorkloadKey;
use supple_decide::progress::Progress;
use supple_quantity::{Bytes, MilliCpu};

use super::table::Metric;
use super::text::{Family, count};
use crate::world::Most;

/// What is known of workloads now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// One a container of each workload that is watched.
    pub containers: Vec<ContainerPicture>,
    /// Pods of each workload.
    pub pods: BTreeMap<WorkloadKey, u32>,
    /// Pods whose resize the node has not carried out.
    pub pending: Vec<PendingPods>,
    /// Pods with a resize: namespace, name, how far it has come.
    pub resizes: Vec<(Arc<str>, Arc<str>, Resizing)>,
    /// Pods whose resize is in progress or being watched.
    pub in_flight: u64,
    /// The most resizes under way on one node at once.
    pub most_on_a_node: Most,
    /// Pods judged in the last round, by the code that settled it.
    pub decided: BTreeMap<Code, u64>,
    /// By namespace.
    pub savings: BTreeMap<Arc<str>, Savings>,
}

/// One container of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPicture {
    /// Whose.
    pub workload: WorkloadKey,
    /// Its name.
    pub container: Arc<str>,
    /// Recommended requests.
    pub recommended: (Option<MilliCpu>, Option<Bytes>),
    /// Requests in force: the mean over the pods.
    pub requested: (Option<MilliCpu>, Option<Bytes>),
    /// CPU in use, the mean over the pods; working set, that of the pod with the largest.
    pub used: (Option<MilliCpu>, Option<Bytes>),
}

/// Pods of one workload that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPods {
    /// Whose.
    pub workload: WorkloadKey,
    /// What for.
    pub state: Pending,
    /// How many.
    pub pods: u64,
    /// Since when the oldest of them.
    pub since: Timestamp,
}

/// Why a resize waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pending {
    /// The node has no room yet.
    Deferred,
    /// The node cannot do it.
    Infeasible,
}

/// How far a pod's resize has come, in the words of the former `status.resize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resizing {
    /// The node is at it.
    InProgress,
    /// The node has no room yet.
    Deferred,
    /// The node cannot do it.
    Infeasible,
}

impl Resizing {
    /// Of a pod's progress; `None` where there is no resize. Whether the node has looked at it yet does not show in the
    /// progress: it counts as looked at.
    #[must_use]
    pub const fn of(progress: &Progress) -> Option<Self> {
        match progress {
            Progress::Underway | Progress::Failing(_) => Some(Self::InProgress),
            Progress::Deferred(_) => Some(Self::Deferred),
            Progress::Infeasible(_) => Some(Self::Infeasible),
            Progress::Settled | Progress::Ended => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Deferred => "Deferred",
            Self::Infeasible => "Infeasible",
        }
    }
}

/// What is requested less than it would be, and what could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// CPU requested less than without us.
    pub saved_cpu: MilliCpu,
    /// Memory requested less than without us.
    pub saved_memory: Bytes,
    /// CPU requested beyond what is due.
    pub savable_cpu: MilliCpu,
    /// Memory requested beyond what is due.
    pub savable_memory: Bytes,
}

impl Picture {
    /// The samples of one metric.
    pub(super) fn render(&self, metric: Metric, now: Timestamp, family: &mut Family<'_>) {
        let container = |it: &ContainerPicture| -> Option<f64> {
            match metric {
                Metric::RecommendedCpu => it.recommended.0.map(cores),
                Metric::RecommendedMemory => it.recommended.1.map(bytes),
                Metric::RequestedCpu => it.requested.0.map(cores),
                Metric::RequestedMemory => it.requested.1.map(bytes),
                Metric::UsedCpu => it.used.0.map(cores),
                Metric::UsedMemory => it.used.1.map(bytes),
                _ => None,
            }
        };
        let saving = |it: &Savings| match metric {
            Metric::SavedCpu => cores(it.saved_cpu),
            Metric::SavedMemory => bytes(it.saved_memory),
            Metric::SavableCpu => cores(it.savable_cpu),
            _ => bytes(it.savable_memory),
        };
        match metric {
            Metric::RecommendedCpu
            | Metric::RecommendedMemory
            | Metric::RequestedCpu
            | Metric::RequestedMemory
            | Metric::UsedCpu
            | Metric::UsedMemory => {
                for it in &self.containers {
                    if let Some(value) = container(it) {
                        let WorkloadKey { namespace, kind, name } = &it.workload;
                        family.sample(&[namespace, kind, name, &it.container], value);
                    }
                }
            }
            Metric::SavedCpu | Metric::SavedMemory | Metric::SavableCpu | Metric::SavableMemory => {
                for (namespace, it) in &self.savings {
                    family.sample(&[namespace], saving(it));
                }
            }
            Metric::Pods => {
                for (WorkloadKey { namespace, kind, name }, pods) in &self.pods {
                    family.sample(&[namespace, kind, name], f64::from(*pods));
                }
            }
            Metric::Pending | Metric::PendingAge => {
                for PendingPods { workload: WorkloadKey { namespace, kind, name }, state, pods, since } in &self.pending
                {
                    let state = match state {
                        Pending::Deferred => "deferred",
                        Pending::Infeasible => "infeasible",
                    };
                    let age = now.duration_since(*since).as_secs_f64().max(0.0);
                    let value = if metric == Metric::Pending { count(*pods) } else { age };
                    family.sample(&[namespace.as_ref(), kind, name, state], value);
                }
            }
            Metric::KubePodStatusResize => {
                for (namespace, pod, resizing) in &self.resizes {
                    family.sample(&[namespace.as_ref(), pod, resizing.as_str()], 1.0);
                }
            }
            Metric::Decided => {
                for (code, pods) in &self.decided {
                    family.sample(&[code.as_str()], count(*pods));
                }
            }
            Metric::InFlight => family.sample::<&str>(&[], count(self.in_flight)),
            Metric::MostOnANode => {
                let Most { can_wait, cannot_wait } = self.most_on_a_node;
                family.sample(&["can-wait"], f64::from(can_wait));
                family.sample(&["cannot-wait"], f64::from(cannot_wait));
            }
            _ => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float; beyond 2^53 it loses units, as every reader does")]
const fn exact(number: i64) -> f64 {
    number as f64
}

fn cores(milli: MilliCpu) -> f64 {
    exact(milli.0) / 1000.0
}

fn bytes(bytes: Bytes) -> f64 {
    exact(bytes.0)
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn a_picture_takes_the_place_of_the_one_before() {
        let workload = WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: "cart".into() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let container = ContainerPicture {
            workload: workload.clone(),
            container: "app".into(),
            recommended: (Some(MilliCpu(250)), Some(Bytes(1 << 28))),
            requested: (Some(MilliCpu(1000)), None),
            used: (Some(MilliCpu(120)), Some(Bytes(100))),
        };
        let savings = Savings { saved_cpu: MilliCpu(-500), savable_memory: Bytes(7), ..Savings::default() };
        let picture = Picture {
            containers: vec![container],
            pods: [(workload.clone(), 3)].into(),
            pending: vec![PendingPods { workload, state: Pending::Deferred, pods: 2, since: at(100) }],
            resizes: vec![("shop".into(), "cart-0".into(), Resizing::Deferred)],
            in_flight: 4,
            most_on_a_node: Most { can_wait: 1, cannot_wait: 3 },
            decided: [(Code::Fits, 9)].into(),
            savings: [("shop".into(), savings)].into(),
        };
        let metrics = Metrics::default();
        metrics.show(picture);
        let text = metrics.render(at(160));
        let labels = r#"namespace="shop",workload_kind="Deployment",workload="cart""#;
        for line in [
            format!(r#"supple_recommended_cpu_cores{{{labels},container="app"}} 0.25"#),
            format!(r#"supple_recommended_memory_bytes{{{labels},container="app"}} 268435456"#),
            format!(r#"supple_used_memory_bytes{{{labels},container="app"}} 100"#),
            format!(r#"supple_workload_pods{{{labels}}} 3"#),
            format!(r#"supple_pending_pods{{{labels},state="deferred"}} 2"#),
            format!(r#"supple_pending_oldest_age_seconds{{{labels},state="deferred"}} 60"#),
            r#"kube_pod_status_resize{namespace="shop",pod="cart-0",resize="Deferred"} 1"#.to_owned(),
            r#"supple_decided_pods{reason="Fits"} 9"#.to_owned(),
            r#"supple_saved_cpu_cores{namespace="shop"} -0.5"#.to_owned(),
            r#"supple_savable_memory_bytes{namespace="shop"} 7"#.to_owned(),
            "supple_in_flight_pods 4".to_owned(),
            r#"supple_node_most_in_flight_pods{haste="can-wait"} 1"#.to_owned(),
            r#"supple_node_most_in_flight_pods{haste="cannot-wait"} 3"#.to_owned(),
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("supple_requested_memory_bytes"), "what is not known is not zero");
        metrics.show(Picture::default());
        assert!(!metrics.render(at(160)).contains("cart"));
    }
}
