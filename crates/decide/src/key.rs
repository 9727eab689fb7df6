//! Names of things: pods, workloads, and what a pod's container is called among all of them.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

/// Identity of a pod: the UID decides, the names are for requests and for people. One pointer, because a pod is named in half a
/// dozen maps at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodKey(Arc<PodName>);

/// What a [`PodKey`] points to; its fields are read as the key's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodName {
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
    /// `metadata.uid`
    pub uid: Arc<str>,
}

impl PodKey {
    /// Of these names.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, uid: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(PodName { namespace: namespace.into(), name: name.into(), uid: uid.into() }))
    }

    /// The key of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self::within(pod, pod.metadata.namespace.as_deref().unwrap_or_default())
    }

    /// The key of a pod of this namespace, of which there need be only one copy.
    pub(crate) fn within(pod: &Pod, namespace: impl Into<Arc<str>>) -> Self {
        let text = |it: &Option<String>| Arc::<str>::from(it.as_deref().unwrap_or_default());
        Self::new(namespace, text(&pod.metadata.name), text(&pod.metadata.uid))
    }
}

/// The order of two texts, most of which are one and the same copy: a round looks some hundred thousand times for a key among those of
/// its namespace.
fn order(one: &Arc<str>, other: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(one, other) { Ordering::Equal } else { one.cmp(other) }
}

impl Ord for PodKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        let by_name = order(&self.namespace, &other.namespace).then_with(|| order(&self.name, &other.name));
        by_name.then_with(|| order(&self.uid, &other.uid))
    }
}

impl PartialOrd for PodKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WorkloadKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let of_kind = order(&self.namespace, &other.namespace).then_with(|| order(&self.kind, &other.kind));
        of_kind.then_with(|| order(&self.name, &other.name))
    }
}

impl PartialOrd for WorkloadKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Deref for PodKey {
    type Target = PodName;

    fn deref(&self) -> &PodName {
        &self.0
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The topmost controller of a pod, or the pod itself: what a person calls the workload, and what sizes are learned for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkloadKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// `Deployment`, `StatefulSet`, `Pod`, …: the kind as written in manifests.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.to_lowercase(), self.name)
    }
}
