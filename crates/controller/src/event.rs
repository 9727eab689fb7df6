//! Everything that can wake the loop, and everything the loop can want done: two closed lists.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::predict::Change;

use crate::reason::Reason;
use crate::usage::PodUse;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A pod is there, or is otherwise than it was.
    Pod(Box<Pod>),
    /// A pod is gone.
    PodGone(PodKey),
    /// The list of pods begins anew: what it does not name is gone.
    PodsListed(Vec<PodKey>),
    /// A namespace is there; whether it opts its pods in.
    Namespace {
        /// Its name.
        name: String,
        /// Whether it carries the label.
        enabled: bool,
    },
    /// A namespace is gone.
    NamespaceGone(String),
    /// It is time to measure.
    Tick,
    /// Usage has come, or the sentence that says why not.
    Usage(Result<Vec<PodUse>, String>),
    /// A resize has come to its end.
    Ended(Ended),
}

/// How a resize the loop asked for ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which pod.
    pub pod: PodKey,
    /// How.
    pub reason: Reason,
    /// The sentence for people.
    pub message: String,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask for the usage of all pods; answered by [`Event::Usage`].
    Measure,
    /// Resize a pod; answered by [`Event::Ended`].
    Resize(Request),
    /// Tell people: an event on the pod and a line in the log.
    Tell(Told),
}

/// A resize to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Which pod.
    pub pod: PodKey,
    /// What is to change.
    pub change: Change,
    /// Why, in words: "app uses 31m CPU and 70Mi".
    pub why: String,
}

/// Something to tell about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which pod.
    pub pod: PodKey,
    /// The code.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// Identity of a pod: the UID decides, the names are for requests and for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl PodKey {
    /// The key of a pod.
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }
}
