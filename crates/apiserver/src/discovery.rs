//! What the server serves, in the two forms clients ask for: the plain lists of each group and the aggregated documents
//! (`apidiscovery.k8s.io/v2`) that kubectl asks for first. Both are made from the table of resources, and both must be
//! whole: a client that gets an aggregated `/apis` but a plain `/api` drops what it found.

use serde_json::{Map, Value, json};

use crate::kinds::{Resource, Rows, Subresource, Verb};

/// Content type of the aggregated documents; clients look at it to know that they were understood.
pub const AGGREGATED_CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The version of Kubernetes whose behaviour is the reference.
const REFERENCE: (&str, &str, &str) = ("1", "36", "v1.36.2");

/// `GET /api`. `address` is where the server listens, `HOST:PORT`.
pub fn api_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions(Rows::built_in(), "").collect::<Vec<_>>(),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `GET /apis`.
pub fn group_list(rows: &Rows) -> Value {
    json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": groups(rows).map(|it| group_entry(rows, it)).collect::<Vec<_>>(),
    })
}

/// `GET /apis/{group}`.
pub fn group(rows: &Rows, name: &str) -> Option<Value> {
    let name = groups(rows).find(|it| *it == name)?;
    let mut entry = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(to), Value::Object(fields)) = (entry.as_object_mut(), group_entry(rows, name)) {
        to.extend(fields);
    }
    Some(entry)
}

/// `GET /api/{version}` (`group` empty) and `GET /apis/{group}/{version}`.
pub fn resource_list(rows: &Rows, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for resource in resources_of(rows, group, version) {
        resources.push(entry(resource));
        resources.extend(resource.subresources.iter().map(|it| subresource_entry(resource, it)));
    }
    if resources.is_empty() {
        return None;
    }
    let mut list = Map::new();
    list.insert("kind".to_owned(), "APIResourceList".into());
    // The core group is older than the field, and the reference leaves it out there.
    if !group.is_empty() {
        list.insert("apiVersion".to_owned(), "v1".into());
    }
    list.insert("groupVersion".to_owned(), group_version(group, version).into());
    list.insert("resources".to_owned(), resources.into());
    Some(Value::Object(list))
}

/// `GET /api`, aggregated.
pub fn aggregated_core(rows: &Rows) -> Value {
    aggregated(rows, std::iter::once(""))
}

/// `GET /apis`, aggregated.
pub fn aggregated_groups(rows: &Rows) -> Value {
    aggregated(rows, groups(rows))
}

/// `GET /version`.
pub fn version() -> Value {
    let (major, minor, git_version) = REFERENCE;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("{git_version}+supple"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform_architecture()),
    })
}

/// Kubernetes' names for architectures are Go's.
fn platform_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The named groups, in the order of the table.
fn groups(rows: &Rows) -> impl Iterator<Item = &'static str> {
    distinct(rows.iter().map(|it| it.group).filter(|it| !it.is_empty()))
}

/// The versions of a group, in the order of the table; the first is the preferred one.
fn versions(rows: &Rows, group: &str) -> impl Iterator<Item = &'static str> {
    distinct(rows.iter().filter(move |it| it.group == group).map(|it| it.version))
}

fn distinct(names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = &'static str> {
    let mut seen: Vec<&str> = Vec::new();
    names.filter(move |name| {
        let new = !seen.contains(name);
        seen.push(name);
        new
    })
}

fn resources_of(rows: &Rows, group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    rows.iter().filter(move |it| it.group == group && it.version == version)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_entry(rows: &Rows, name: &str) -> Value {
    let versions: Vec<Value> = versions(rows, name)
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn verbs(verbs: &[Verb]) -> Value {
    verbs.iter().map(|it| Value::from(it.as_str())).collect()
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced(),
        "kind": resource.kind,
        "verbs": verbs(resource.verbs),
    });
    put_names(&mut entry, resource);
    if !resource.storage_version_hash.is_empty() {
        entry["storageVersionHash"] = resource.storage_version_hash.into();
    }
    entry
}

fn subresource_entry(resource: &Resource, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, subresource.name),
        "singularName": "",
        "namespaced": resource.namespaced(),
        "kind": subresource.body.map_or(resource.kind, |it| it.kind),
        "verbs": verbs(subresource.verbs),
    });
    if let Some((group, version)) = foreign(resource, subresource) {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

/// Group and version of a subresource's body, where they are not the parent's.
fn foreign(resource: &Resource, subresource: &Subresource) -> Option<(&'static str, &'static str)> {
    let body = subresource.body?;
    ((body.group, body.version) != (resource.group, resource.version)).then_some((body.group, body.version))
}

fn put_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.into();
    }
}

fn aggregated(rows: &Rows, groups: impl Iterator<Item = &'static str>) -> Value {
    let items: Vec<Value> = groups
        .map(|group| {
            let versions: Vec<Value> = versions(rows, group)
                .map(|version| {
                    let resources: Vec<Value> = resources_of(rows, group, version).map(aggregated_entry).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_entry(resource: &Resource) -> Value {
    let response = |kind: &str, of: Option<(&str, &str)>| {
        let (group, version) = of.unwrap_or_default();
        json!({"group": group, "version": version, "kind": kind})
    };
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": response(resource.kind, None),
        "scope": if resource.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource.verbs),
    });
    put_names(&mut entry, resource);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|it| {
            let kind = it.body.map_or(resource.kind, |body| body.kind);
            json!({
                "subresource": it.name,
                "responseKind": response(kind, foreign(resource, it)),
                "verbs": verbs(it.verbs),
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
