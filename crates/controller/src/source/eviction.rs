//! Evictions by nodes that were short of memory, as kubelets tell of them in events: which containers used more than they had asked
//! for, and how much. Pure. The status of the pod says the same while the pod is there; an event outlives it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::Deserialize;
use supple_decide::few::Few;
use supple_quantity::{Bytes, Quantity};

/// Which events are watched: those of this reason alone.
pub const SELECTED: &str = "reason=Evicted";

/// Annotations of such an event: the containers that used more than they asked for, what each used, and of what.
const CONTAINERS: &str = "offending_containers";
const USAGE: &str = "offending_containers_usage";
const STARVED: &str = "starved_resource";

/// A pod was evicted by its node, which was short of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub pod: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What its containers used, of those that used more than they asked for.
    pub used: Few<Arc<str>, Bytes>,
}

/// An event of which only what an eviction says has been read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionEvent {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    involved_object: ObjectReference,
    last_timestamp: Option<Time>,
}

impl Resource for EvictionEvent {
    type DynamicType = ();
    type Scope = <Event as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Event::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Event::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Event::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Event::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl EvictionEvent {
    /// What it says; `None` where it is not about the memory of a pod, or cannot be read. A kubelet writes the resource once, however
    /// many containers it names.
    #[must_use]
    pub fn eviction(&self) -> Option<Eviction> {
        let ObjectReference { kind, namespace, name, uid, .. } = &self.involved_object;
        let said: &BTreeMap<String, String> = self.metadata.annotations.as_ref()?;
        if kind.as_deref() != Some("Pod") || said.get(STARVED)? != "memory" {
            return None;
        }
        let used = said.get(USAGE)?.split(',').map(|it| it.parse::<Quantity>().ok());
        let used = said.get(CONTAINERS)?.split(',').zip(used);
        let text = |it: &Option<String>| it.as_deref().filter(|it| !it.is_empty()).map(Arc::<str>::from);
        let at = self.last_timestamp.as_ref().or(self.metadata.creation_timestamp.as_ref())?;
        Some(Eviction {
            namespace: text(namespace)?,
            pod: text(name)?,
            uid: text(uid)?,
            at: at.0,
            used: used.filter_map(|(name, used)| Some((Arc::from(name), Bytes::from(&used?)))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is read of an event with these annotations, as `container=MiB`.
    #[track_caller]
    fn check(annotations: Value, expect: Option<&str>) {
        let event = json!({
            "metadata": {"name": "web-1.18a", "namespace": "shop", "annotations": annotations, "managedFields": []},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u"},
            "reason": "Evicted", "type": "Warning", "lastTimestamp": "2026-01-01T00:00:00Z", "eventTime": null,
        });
        let event: EvictionEvent = serde_json::from_value(event).unwrap();
        let one = |(name, used): (&Arc<str>, &Bytes)| format!("{name}={}", used.0 >> 20);
        let read = event.eviction().map(|it| it.used.iter().map(one).collect::<Vec<_>>().join(" "));
        assert_eq!(read.as_deref(), expect);
    }

    #[test]
    fn what_each_container_used_of_memory() {
        let said = |containers: &str, used: &str, starved: &str| json!({"offending_containers": containers, "offending_containers_usage": used, "starved_resource": starved});
        check(said("app", "700Mi", "memory"), Some("app=700"));
        check(said("app,proxy", "700Mi,92160Ki", "memory"), Some("app=700 proxy=90"));
        check(said("app", "700Mi", "ephemeral-storage"), None);
        check(said("", "", "memory"), Some(""));
        check(said("app,proxy", "much,90Mi", "memory"), Some("proxy=90"));
        check(json!({"starved_resource": "memory"}), None);
        check(Value::Null, None);
    }

    #[test]
    fn an_event_of_something_else_says_nothing() {
        for event in [
            json!({}),
            json!({"metadata": {"annotations": {"starved_resource": "memory"}}, "involvedObject": {"kind": "Node", "name": "n"}}),
            json!({"metadata": {"annotations": {"starved_resource": "memory", "offending_containers": "a",
                "offending_containers_usage": "1Mi"}}, "involvedObject": {"kind": "Pod", "name": "p"}}),
        ] {
            assert_eq!(serde_json::from_value::<EvictionEvent>(event).unwrap().eviction(), None);
        }
    }
}
