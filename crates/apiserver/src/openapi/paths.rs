//! The operations of a document: what can be done at which path, with which parameters and bodies.

use serde_json::{Map, Value, json};

use super::schemas::{list_name, reference};
use super::{gvk, prefix};
use crate::kinds::{Resource, Subresource, SubresourceKind, Verb};

const JSON: &str = "application/json";

const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Lists of custom resources have no merge keys.
const CUSTOM_PATCHES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

/// Which parameters an operation takes: those that a verb knows, by name and JSON type.
const OF_LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const OF_WRITE: &[(&str, &str)] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const OF_PATCH: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const OF_DELETE: &[(&str, &str)] =
    &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")];
const OF_LOG: &[(&str, &str)] = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];

/// Adds the paths of a resource.
pub(super) fn add(paths: &mut Map<String, Value>, resource: &Resource) {
    let root = format!("/{}", prefix(resource));
    let collection = if resource.namespaced() {
        // Of all namespaces: to be listed only.
        let everywhere = only(&[Verb::List], resource.verbs);
        paths.insert(format!("{root}/{}", resource.plural), item(resource, &[], &everywhere, None));
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{root}/{}", resource.plural)
    };
    let of_collection = only(&[Verb::List, Verb::Create, Verb::DeleteCollection], resource.verbs);
    let of_object = only(&[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete], resource.verbs);
    let namespace: &[&str] = if resource.namespaced() { &["namespace"] } else { &[] };
    let object = [namespace, &["name"]].concat();
    paths.insert(collection.clone(), item(resource, namespace, &of_collection, None));
    paths.insert(format!("{collection}/{{name}}"), item(resource, &object, &of_object, None));
    for subresource in resource.subresources {
        let path = format!("{collection}/{{name}}/{}", subresource.name);
        paths.insert(path, item(resource, &object, subresource.verbs, Some(subresource)));
    }
}

fn only(wanted: &[Verb], has: &[Verb]) -> Vec<Verb> {
    wanted.iter().copied().filter(|it| has.contains(it)).collect()
}

/// One path: its operations, and the parameters that are part of it.
fn item(resource: &Resource, in_path: &[&str], verbs: &[Verb], subresource: Option<&Subresource>) -> Value {
    let mut item = Map::new();
    for verb in verbs {
        item.insert(method(*verb).to_owned(), operation(resource, *verb, subresource));
    }
    if !in_path.is_empty() {
        let parameters: Vec<Value> = in_path
            .iter()
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        item.insert("parameters".to_owned(), parameters.into());
    }
    Value::Object(item)
}

fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "post",
        Verb::Delete | Verb::DeleteCollection => "delete",
        Verb::Get | Verb::List | Verb::Watch => "get",
        Verb::Patch => "patch",
        Verb::Update => "put",
    }
}

/// The reference's word for what an operation does.
fn action(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "post",
        Verb::Update => "put",
        other => other.as_str(),
    }
}

fn operation(resource: &Resource, verb: Verb, subresource: Option<&Subresource>) -> Value {
    let body = subresource.and_then(|it| it.body);
    let (group, version, kind) =
        body.map_or((resource.group, resource.version, resource.kind), |it| (it.group, it.version, it.kind));
    let log = subresource.is_some_and(|it| it.what == SubresourceKind::Log);
    let parameters = match verb {
        Verb::Get if log => OF_LOG,
        Verb::List | Verb::Watch | Verb::DeleteCollection => OF_LIST,
        Verb::Create | Verb::Update => OF_WRITE,
        Verb::Patch => OF_PATCH,
        Verb::Delete => OF_DELETE,
        Verb::Get => &[],
    };
    let type_of = body.map(|it| (it.type_of.name)()).or_else(|| resource.type_name());
    let schema = match (&type_of, verb) {
        (_, Verb::Get) if log => json!({"type": "string"}),
        (Some(name), Verb::List) => reference(&list_name(name)),
        (Some(name), _) => reference(name),
        (None, _) => json!({"type": "object"}),
    };
    let media = if log { "text/plain" } else { JSON };
    let mut operation = json!({
        "operationId": operation_id(resource, verb, subresource),
        "parameters": parameters.iter().map(|(name, kind)| query(name, kind)).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK", "content": {media: {"schema": schema}}}},
        "x-kubernetes-action": action(verb),
        "x-kubernetes-group-version-kind": gvk(group, version, kind),
    });
    if verb == Verb::Patch {
        let patches = if resource.custom().is_some() { CUSTOM_PATCHES } else { PATCHES };
        let content: Map<String, Value> =
            patches.iter().map(|it| ((*it).to_owned(), json!({"schema": {"type": "object"}}))).collect();
        operation["requestBody"] = json!({"content": content, "required": true});
    } else if matches!(verb, Verb::Create | Verb::Update) {
        operation["requestBody"] = json!({"content": {JSON: {"schema": schema}}, "required": true});
    }
    operation
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation_id(resource: &Resource, verb: Verb, subresource: Option<&Subresource>) -> String {
    let scope = if resource.namespaced() { "Namespaced" } else { "" };
    let below = subresource.map(|it| it.name).unwrap_or_default();
    format!("{}{scope}{}{below}", verb.as_str(), resource.kind)
}
