//! What a new cluster begins with: the system namespaces and the system priority classes, as the reference makes them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::handlers;
use crate::kinds;
use crate::metadata;
use crate::store::{CommitError, Draft, Expect, Key, Store, Write};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

const PRIORITY_CLASSES: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// Creates what is missing.
///
/// # Errors
/// [`CommitError`] when the store's file does not take it.
pub fn ensure(store: &Store, now: Timestamp) -> Result<(), CommitError> {
    let namespaces = NAMESPACES.map(|name| ("namespaces", name, namespace(name), namespace_beginnings()));
    let classes =
        PRIORITY_CLASSES.map(|(name, value, text)| ("priorityclasses", name, priority_class(value, text), Map::new()));
    let missing = namespaces.into_iter().chain(classes).filter_map(|(resource, name, mut object, begun)| {
        let key = Key::new(resource, "", name);
        if store.latest(&key).is_some() {
            return None;
        }
        metadata::of(&mut object).insert("name".to_owned(), name.into());
        let generation = object.pointer("/metadata/generation").cloned();
        metadata::create(&mut object, now, uuid::Uuid::new_v4());
        if let Some(generation) = generation {
            metadata::of(&mut object).insert("generation".to_owned(), generation);
        }
        // What has no owners from its birth on would never have any: later writes would not be recorded.
        let kind = kinds::by_kind(text(&object, "apiVersion"), text(&object, "kind"))?;
        let managed = handlers::owned_by_the_server(kind, &object, now);
        metadata::of(&mut object).insert("managedFields".to_owned(), managed);
        metadata::fields(&mut object).extend(begun);
        let draft = Draft::new(resource, &object, store.indexer());
        Some(Write { key, expect: Expect::Absent, draft, remove: false })
    });
    let writes: Vec<Write> = missing.collect();
    if !writes.is_empty() {
        store.commit_blocking(writes)?;
    }
    Ok(())
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"labels": {"kubernetes.io/metadata.name": name}},
    })
}

/// What the server fills in at the creation of a namespace; it is nobody's.
fn namespace_beginnings() -> Map<String, Value> {
    [("spec", json!({"finalizers": ["kubernetes"]})), ("status", json!({"phase": "Active"}))]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn priority_class(value: i32, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"generation": 1},
        "value": value,
        "preemptionPolicy": "PreemptLowerPriority",
        "description": description,
    })
}
