//! Everything that is known of a cluster at one moment, as the checks see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use supple_resize::predict::Change;

use crate::check::permission;
use crate::code::Code;
use crate::facts::{NamespaceFacts, NodeFacts, PodFacts, WorkloadFacts};
use crate::few::Few;
use crate::guard::GuardReading;
use crate::key::{PodKey, WorkloadKey};
use crate::need::{Need, Uses};
use crate::policy::Policy;
use crate::record::Record;
use crate::refused::Refused;

/// The cluster at one moment. Ordered collections throughout: no result may depend on the order in which things were learned.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Every pod of the cluster, opted in or not: neighbours count. Boxed, because half of a map's room is empty.
    pub pods: BTreeMap<PodKey, Box<PodFacts>>,
    /// The workloads of those pods, boxed like them.
    pub workloads: BTreeMap<WorkloadKey, Box<Subject>>,
    /// By name.
    pub nodes: BTreeMap<Arc<str>, NodeFacts>,
    /// By name.
    pub namespaces: BTreeMap<Arc<str>, NamespaceFacts>,
    /// What containers use: pod, then container.
    pub uses: BTreeMap<PodKey, Uses>,
    /// Changes that have been sent and do not show on their pods yet: they hold their room, and their pods are left alone. A
    /// pod on which an eviction or a rollout was begun stands here with an empty change.
    pub acting: BTreeMap<PodKey, Change>,
    /// What was refused last, by pod.
    pub refused: BTreeMap<PodKey, Refused>,
    /// What guards read, by workload: the newest reading of each.
    pub guards: BTreeMap<WorkloadKey, Vec<GuardReading>>,
    /// What holds for the whole cluster.
    pub cluster: Cluster,
}

impl Scene {
    /// What forbids to do anything with a workload at all, whatever it needs: its namespace, the switch, a pause, its mode.
    #[must_use]
    pub fn barred(&self, subject: &Subject, now: Timestamp) -> Option<(Code, String)> {
        permission::barred(&self.cluster, subject, now)
    }
}

/// One workload with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What the API says of it.
    pub facts: WorkloadFacts,
    /// What may be done with it, resolved from all layers.
    pub policy: Arc<Policy>,
    /// By container.
    pub needs: Few<Arc<str>, Need>,
    /// What we remember; whoever else remembers it, remembers the same one.
    pub record: Arc<Record>,
}

/// What holds for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Somebody pulled the switch: nothing is done, and why.
    pub stopped: Option<String>,
    /// Resizes that may be under way in the whole cluster at once.
    pub max_in_flight: u32,
    /// The minor version of the API server, `36` for v1.36: what it takes depends on it, and what nodes can do that do not say which
    /// version they have; `None`: not known.
    pub minor_version: Option<u32>,
    /// The controller's own namespace, where it is known.
    pub own_namespace: Option<Arc<str>>,
    /// Samples older than this are stale: they may raise, never lower.
    pub stale_after: jiff::SignedDuration,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            stopped: None,
            max_in_flight: 50,
            minor_version: None,
            own_namespace: None,
            stale_after: jiff::SignedDuration::from_mins(10),
        }
    }
}

impl Cluster {
    /// Whether nothing is ever done in this namespace, whatever anybody says: whoever stops there stops everything, us included.
    #[must_use]
    pub fn is_protected(&self, namespace: &str) -> bool {
        namespace == "kube-system" || self.own_namespace.as_deref() == Some(namespace)
    }
}

/// The moment a scene is judged at, and what of it is to be judged.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// Now.
    pub now: Timestamp,
    /// Only these workloads; `None`: all. What the others have under way counts all the same.
    pub only: Option<&'a std::collections::BTreeSet<WorkloadKey>>,
}
