//! Admission that needs the store: whether the namespace is open, priority and service account of a new pod, limit
//! ranges, quotas. What is decided stands in `supple_resize::admission`; here it is given what it decides on.

pub mod condition;
mod matching;
pub mod policy;
mod priority;
mod request;
pub mod webhook;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota, Toleration};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supple_resize::admission::{Denial, objects, quota};

use crate::errors::{ApiError, Subject};
use crate::kinds::Resource;
use crate::metadata;
use crate::route::Target;
use crate::store::{Draft, Expect, Key, Object, Store, Write};

/// Seconds a pod stays on a node that is not ready or not reachable, as DefaultTolerationSeconds sets it.
const TOLERATION_SECONDS: i64 = 300;

/// Whether objects may be created in the target's namespace (NamespaceLifecycle).
///
/// # Errors
/// 404 for a namespace that is not there; 403 for one that is being deleted.
pub fn namespace_open(store: &Store, target: &Target, name: &str) -> Result<(), ApiError> {
    let (resource, namespace) = (target.resource, target.namespace.as_str());
    if namespace.is_empty() {
        return Ok(());
    }
    let about = Subject { name: namespace, group: "", kind: "namespaces" };
    let object = store.latest(&Key::new("namespaces", "", namespace)).ok_or_else(|| ApiError::not_found(about))?;
    // The phase is what the outline has; it is set in the same write as the deletion timestamp.
    if object.outline().pointer("/status/phase").and_then(|phase| phase.as_str()) != Some("Terminating") {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    Err(ApiError::forbidden(metadata::subject(resource, name), &why).with_causes([cause]))
}

/// What is filled in for a new pod: priority, service account, tolerations.
///
/// # Errors
/// 403 for a priority class that does not exist or contradicts the pod.
pub fn new_pod(store: &Store, resource: &Resource, name: &str, pod: &mut Pod) -> Result<(), ApiError> {
    let classes = decode_all(store, "priorityclasses", "")?;
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name = Some("default".to_owned());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    priority::resolve(spec, &classes).map_err(|why| ApiError::forbidden(metadata::subject(resource, name), &why))?;
    tolerate(spec.tolerations.get_or_insert_default());
    Ok(())
}

/// DefaultTolerationSeconds: unless the pod says otherwise it may stay a while on a node in trouble.
fn tolerate(tolerations: &mut Vec<Toleration>) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let said = tolerations.iter().any(|it| {
            it.key.as_deref().is_none_or(|given| given.is_empty() || given == key)
                && it.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
        });
        if !said {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(TOLERATION_SECONDS),
                ..Toleration::default()
            });
        }
    }
}

/// The limit ranges of a namespace.
///
/// # Errors
/// 500 for a stored object that is none.
pub fn limit_ranges(store: &Store, namespace: &str) -> Result<Vec<LimitRange>, ApiError> {
    decode_all(store, "limitranges", namespace)
}

/// The node a pod is on, if it is on one that exists.
///
/// # Errors
/// 500 for a stored object that is no node.
pub fn node_of(store: &Store, pod: &Pod) -> Result<Option<Arc<Node>>, ApiError> {
    let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    let node = store.latest(&Key::new("nodes", "", name));
    node.map(|object| object.typed().map_err(|error| unreadable(&object, &error))).transpose()
}

/// Quotas: what the pod (or its growth) is charged. The writes expect the quotas as they were read, so that two pods
/// cannot both take what is left: the store refuses the second, and admission runs again.
///
/// # Errors
/// The denial of the first quota that refuses.
pub fn charge(store: &Store, namespace: &str, new: &Pod, old: Option<&Pod>) -> Result<Vec<Write>, Denial> {
    charge_with(store, namespace, |quotas| quota::check(new, old, quotas))
}

/// The same for an object that is no pod: it counts as one of its kind, and by what it asks for.
///
/// # Errors
/// The denial of the first quota that refuses.
pub fn charge_object(store: &Store, target: &Target, new: &Value, old: Option<&Value>) -> Result<Vec<Write>, Denial> {
    charge_with(store, &target.namespace, |quotas| {
        let usage = |object| objects::usage(target.resource.group, target.resource.plural, object);
        objects::check(&usage(new), &old.map(usage).unwrap_or_default(), quotas)
    })
}

fn charge_with(
    store: &Store,
    namespace: &str,
    check: impl FnOnce(&[ResourceQuota]) -> Result<Vec<quota::Charge>, Denial>,
) -> Result<Vec<Write>, Denial> {
    if namespace.is_empty() {
        return Ok(Vec::new());
    }
    let stored = store.latest_of("resourcequotas", namespace);
    if stored.is_empty() {
        return Ok(Vec::new());
    }
    let quotas: Vec<ResourceQuota> = stored.iter().filter_map(|object| object.decode().ok()).collect();
    let charges = check(&quotas)?;
    let writes = charges.into_iter().filter_map(|charge| {
        let object = stored.iter().find(|object| object.key.name() == charge.quota)?;
        let mut value = object.value();
        let used = serde_json::to_value(&charge.used).ok()?;
        if value.pointer("/status/used") == Some(&used) {
            return None;
        }
        value["status"]["used"] = used;
        let draft = Draft::new("resourcequotas", &value, store.indexer());
        Some(Write { key: object.key.clone(), expect: Expect::Revision(object.revision), draft, remove: false })
    });
    Ok(writes.collect())
}

fn decode_all<T: DeserializeOwned>(store: &Store, resource: &str, namespace: &str) -> Result<Vec<T>, ApiError> {
    store.latest_of(resource, namespace).iter().map(|object| decode(object)).collect()
}

fn decode<T: DeserializeOwned>(object: &Object) -> Result<T, ApiError> {
    object.decode().map_err(|error| unreadable(object, &error))
}

fn unreadable(object: &Object, error: &serde_json::Error) -> ApiError {
    ApiError::internal(format!("the stored object {} cannot be read: {error}", object.key.as_str()))
}
