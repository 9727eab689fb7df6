//! The types of a document: every type that its resources use, marked with kinds, merge keys and list types.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{custom, gvk};
use crate::kinds::Resource;
use crate::schema::merge_keys::MERGE_KEYS;
use crate::schema::{ListMerge, Merge, types};

const PREFIX: &str = "#/components/schemas/";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The schemas of the types that these resources use, by name.
pub(super) fn of(resources: &[&Resource]) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut wanted: Vec<String> = Vec::new();
    for resource in resources {
        if let Some(name) = resource.type_name() {
            schemas.insert(list_name(&name), list_schema(resource, &name));
            match resource.custom() {
                Some(custom) => {
                    wanted.push(custom::OBJECT_META.to_owned());
                    schemas.insert(name.into_owned(), custom::schema(&custom.source));
                }
                None => wanted.push(name.into_owned()),
            }
        }
        let bodies = resource.subresources.iter().filter_map(|it| it.body);
        wanted.extend(bodies.map(|it| (it.type_of.name)().into_owned()));
    }
    let mut seen: BTreeSet<String> = wanted.iter().cloned().collect();
    while let Some(name) = wanted.pop() {
        let Some(mut schema) = types().definition(&name) else { continue };
        tidy(&mut schema, &mut |reference| {
            if seen.insert(reference.to_owned()) {
                wanted.push(reference.to_owned());
            }
        });
        mark_lists(&name, &mut schema);
        schemas.insert(name, schema);
    }
    for resource in resources {
        if let Some(name) = resource.type_name() {
            mark_kind(&mut schemas, &name, &gvk(resource.group, resource.version, resource.kind));
        }
        for body in resource.subresources.iter().filter_map(|it| it.body) {
            mark_kind(&mut schemas, &(body.type_of.name)(), &gvk(body.group, body.version, body.kind));
        }
    }
    schemas.insert(LIST_META.to_owned(), list_meta());
    schemas
}

/// `io.k8s.api.core.v1.PodList`.
pub(super) fn list_name(name: &str) -> String {
    format!("{name}List")
}

/// A reference to a type.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}")})
}

fn mark_kind(schemas: &mut Map<String, Value>, name: &str, gvk: &Value) {
    if let Some(schema) = schemas.get_mut(name) {
        schema["x-kubernetes-group-version-kind"] = json!([gvk]);
    }
}

fn list_schema(resource: &Resource, name: &str) -> Value {
    json!({
        "description": format!("{} is a list of {}.", resource.list_kind, resource.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": reference(LIST_META),
            "items": {"type": "array", "items": reference(name)},
        },
        "x-kubernetes-group-version-kind": [gvk(resource.group, resource.version, resource.list_kind)],
    })
}

fn list_meta() -> Value {
    json!({
        "description": "What is said about a list as a whole.",
        "type": "object",
        "properties": {
            "continue": {"type": "string", "description": "Send it with the next request to get the next part."},
            "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": {"type": "string", "description": "The revision of the list; watch from here."},
        },
    })
}

/// Brings a derived schema into the form clients of Kubernetes know: a description stands next to a reference only inside
/// `allOf`, and what is a number or a string says so. `found` is called with every type referred to.
fn tidy(schema: &mut Value, found: &mut impl FnMut(&str)) {
    match schema {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix(PREFIX)) {
                found(name);
                if fields.len() > 1
                    && let Some(reference) = fields.remove("$ref")
                {
                    fields.insert("allOf".to_owned(), json!([{"$ref": reference}]));
                    return;
                }
            }
            // A mark, and not the field of this name that schemas of schemas have.
            if fields.get("x-kubernetes-int-or-string").is_some_and(|it| it == true) {
                fields.insert("format".to_owned(), "int-or-string".into());
                fields.insert("oneOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
                return;
            }
            fields.values_mut().for_each(|it| tidy(it, found));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| tidy(it, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The mark of how a field is merged.
fn strategy(merge: Merge) -> &'static str {
    match merge {
        Merge { whole: true, .. } => "replace",
        Merge { list: ListMerge::Replace, .. } => "retainKeys",
        Merge { retain_keys: true, .. } => "merge,retainKeys",
        Merge { .. } => "merge",
    }
}

/// Marks the merged lists of a type, for clients that merge themselves (`kubectl apply`, `kubectl diff`).
fn mark_lists(name: &str, schema: &mut Value) {
    let short = name.strip_prefix("io.k8s.").unwrap_or(name);
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (field, property) in properties {
        let is_list = property.get("type").is_some_and(|it| it == "array");
        let Some(key) = MERGE_KEYS.iter().find(|it| it.type_name == short && it.field == field) else {
            if is_list {
                property["x-kubernetes-list-type"] = "atomic".into();
            }
            continue;
        };
        property["x-kubernetes-patch-strategy"] = strategy(key.merge).into();
        match key.merge.list {
            ListMerge::ByKey(merge_key) => {
                property["x-kubernetes-patch-merge-key"] = merge_key.into();
                if !key.list_map_keys.is_empty() {
                    property["x-kubernetes-list-type"] = "map".into();
                    property["x-kubernetes-list-map-keys"] = key.list_map_keys.into();
                }
            }
            ListMerge::Set => property["x-kubernetes-list-type"] = "set".into(),
            ListMerge::Replace => {}
        }
    }
}
