//! What all workers of a node share: the seams to the machine, the API and the disk, and the directory of what runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use supple_resize::memory_qos::MemoryQos;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::api::PodApi;
use crate::checkpoint::Checkpoints;
use crate::endpoint::figures::Figures;
use crate::events::Recorder;
use crate::options::{Capacity, Clock};
use crate::runtime::{PodRef, Runtime};
use crate::speed::Speed;
use crate::worker::Report;

/// Handed to every worker.
pub(crate) struct Shared {
    /// What runs containers.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The API server.
    pub(crate) api: Arc<dyn PodApi>,
    /// The disk.
    pub(crate) checkpoints: Checkpoints,
    /// Where events go.
    pub(crate) recorder: Recorder,
    /// Where time comes from.
    pub(crate) clock: Clock,
    /// How fast that goes by.
    pub(crate) speed: Speed,
    /// Name of the node.
    pub(crate) node: String,
    /// What the node has: a missing limit, as a container's environment sees it.
    pub(crate) capacity: Capacity,
    /// How memory is protected and slowed down beyond limits.
    pub(crate) memory_qos: MemoryQos,
    /// What runs.
    pub(crate) directory: Directory,
    /// What was done.
    pub(crate) figures: Figures,
    /// Every task that may be doing something on the machine: waited for before the machine is cleared.
    pub(crate) workers: TaskTracker,
    /// To the manager.
    pub(crate) reports: mpsc::UnboundedSender<Report>,
}

impl Shared {
    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Which pods stand on the machine and which run of each container is the newest, for those who ask from outside (usage
/// and logs).
#[derive(Default)]
pub(crate) struct Directory(Mutex<HashMap<String, Listed>>);

/// One pod of the directory.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Who it is.
    pub(crate) pod: Arc<PodRef>,
    /// Its containers.
    containers: Vec<Ran>,
    /// Whether its cgroup stands, so that its usage can be read.
    pub(crate) live: bool,
}

/// A container of such a pod.
#[derive(Clone, Debug)]
struct Ran {
    name: Box<str>,
    image: Box<str>,
    /// Its newest attempt, once it has run.
    attempt: Option<u32>,
}

impl Directory {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Listed>) -> T) -> T {
        // Every change is one insertion or removal: a panic elsewhere cannot leave it half done.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which images the pod's containers have.
    pub(crate) fn introduce<'a>(&self, pod: &Arc<PodRef>, images: impl Iterator<Item = (&'a str, &'a str)>) {
        self.with(|pods| {
            let listed = pods.entry(pod.uid.clone()).or_insert_with(|| Listed::of(pod));
            for (name, image) in images {
                listed.container(name).image = image.into();
            }
            listed.containers.shrink_to_fit();
        });
    }

    /// The pod's cgroup stands (or no longer does).
    pub(crate) fn live(&self, pod: &Arc<PodRef>, live: bool) {
        self.with(|pods| pods.entry(pod.uid.clone()).or_insert_with(|| Listed::of(pod)).live = live);
    }

    /// A container has run.
    pub(crate) fn ran(&self, pod: &Arc<PodRef>, container: &str, attempt: u32) {
        self.with(|pods| {
            let listed = pods.entry(pod.uid.clone()).or_insert_with(|| Listed::of(pod));
            listed.container(container).attempt = Some(attempt);
        });
    }

    /// The pod is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.with(|pods| pods.remove(uid));
    }

    /// Pods whose usage can be read.
    pub(crate) fn live_pods(&self) -> Vec<Arc<PodRef>> {
        self.with(|pods| pods.values().filter(|listed| listed.live).map(|listed| Arc::clone(&listed.pod)).collect())
    }

    /// The pod with this UID.
    pub(crate) fn get(&self, uid: &str) -> Option<Listed> {
        self.with(|pods| pods.get(uid).cloned())
    }
}

impl Listed {
    fn of(pod: &Arc<PodRef>) -> Self {
        Self { pod: Arc::clone(pod), containers: Vec::new(), live: false }
    }

    fn container(&mut self, name: &str) -> &mut Ran {
        let at = self.containers.iter().position(|it| *it.name == *name).unwrap_or_else(|| {
            self.containers.push(Ran { name: name.into(), image: Box::default(), attempt: None });
            self.containers.len() - 1
        });
        &mut self.containers[at]
    }

    /// The newest attempt of a container, if it has run.
    pub(crate) fn attempt(&self, container: &str) -> Option<u32> {
        self.containers.iter().find(|it| *it.name == *container)?.attempt
    }

    /// Of each container that has run its image and its newest attempt.
    pub(crate) fn runs(&self) -> BTreeMap<String, (String, u32)> {
        let ran = self.containers.iter().filter_map(|it| Some((it, it.attempt?)));
        ran.map(|(it, attempt)| (it.name.to_string(), (it.image.to_string(), attempt))).collect()
    }
}
