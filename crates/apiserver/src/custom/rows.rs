//! A definition as rows of the table of kinds, one a served version.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::columns::Columns;
use super::schema::Schema;
use super::{Custom, shapes};
use crate::kinds::{
    Backing, Conversion, Resource, SCALE_BODY, ScalePaths, Scope, Selectable, Strategy, Subresource, SubresourceKind,
    Verb,
};
use crate::metadata;
use crate::schema::{interned, name as intern};
use crate::table::printers;
use crate::tree::{at, items, text};
use crate::validate::NameRule;

const ALL: &[Verb] = &[
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Create,
    Verb::Update,
    Verb::Watch,
];

const PART: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

const STATUS: &Subresource = &Subresource { what: SubresourceKind::Status, name: "status", verbs: PART, body: None };

/// The rows of a definition whose names were accepted, the preferred version first. The same definition gives the same
/// rows.
pub fn of(definition: &Value) -> &'static [&'static Resource] {
    static ROWS: Mutex<Option<HashMap<String, &'static [&'static Resource]>>> = Mutex::new(None);
    let stored = at(definition, "status.storedVersions");
    let key = format!("{}\n{stored}\n{}", at(definition, "spec"), metadata::is_deleting(definition));
    // A panic while the lock was held left the map whole: it is only inserted into.
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.get_or_insert_default().entry(key).or_insert_with(|| Box::leak(make(definition).into_boxed_slice()))
}

fn make(definition: &Value) -> Vec<&'static Resource> {
    let spec = at(definition, "spec");
    let mut versions: Vec<&Value> =
        items(spec, "versions").iter().filter(|it| it.get("served").is_some_and(|it| it == true)).collect();
    versions.sort_by_key(|it| std::cmp::Reverse(kube::core::Version::parse(text(it, "name")).priority()));
    versions.into_iter().map(|version| row(definition, spec, version)).collect()
}

fn row(definition: &Value, spec: &Value, version: &Value) -> &'static Resource {
    let (group, name) = (text(spec, "group"), text(version, "name"));
    let names = at(spec, "names");
    let plural = text(names, "plural");
    let kind = text(names, "kind");
    let source = at(version, "schema.openAPIV3Schema").clone();
    let schema = Schema::read(&source);
    let has_status = !at(version, "subresources.status").is_null();
    let strings = |list: &str| {
        let found: Vec<String> = items(names, list).iter().filter_map(|it| Some(it.as_str()?.to_owned())).collect();
        interned(&found)
    };
    let custom: &'static Custom = Box::leak(Box::new(Custom {
        shape: shapes::of(&schema, &type_name(group, name, kind)),
        schema,
        source,
        columns: Columns::read(version),
        has_status,
        terminating: metadata::is_deleting(definition),
        warning: warning(version, &format!("{group}/{name}"), kind),
    }));
    let mut subresources: Vec<Subresource> = Vec::new();
    if has_status {
        subresources.push(*STATUS);
    }
    subresources.extend(scale(version));
    let collection = intern(&format!("{plural}.{group}"));
    Box::leak(Box::new(Resource {
        group: intern(group),
        version: intern(name),
        plural: intern(plural),
        singular: intern(text(names, "singular")),
        kind: intern(kind),
        list_kind: intern(text(names, "listKind")),
        short_names: strings("shortNames"),
        categories: strings("categories"),
        scope: if text(spec, "scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        verbs: ALL,
        subresources: Box::leak(subresources.into_boxed_slice()),
        backing: backing(definition, spec, collection, group, name),
        type_of: None,
        selectable: selectable(version),
        name_rule: NameRule::Subdomain,
        strategy: Strategy::Custom(custom),
        printer: &printers::NAME_AND_AGE,
        create_on_update: false,
        unconditional_update: false,
        storage_version_hash: "",
    }))
}

/// Objects are stored in one version. Where others are or were served too, each answer is put into its own.
fn backing(definition: &Value, spec: &Value, collection: &'static str, group: &str, version: &str) -> Backing {
    let storage = items(spec, "versions").iter().find(|it| it.get("storage").is_some_and(|it| it == true));
    let storage = storage.map_or(version, |it| text(it, "name"));
    let stored = items(definition, "status.storedVersions");
    if storage == version && stored.len() <= 1 {
        return Backing::Stored(collection);
    }
    let version_of = |version: &str| Conversion::ApiVersion(intern(&format!("{group}/{version}")));
    Backing::View { collection, to_stored: version_of(storage), from_stored: version_of(version) }
}

/// Where the definition says that its objects have what a Scale shows.
fn scale(version: &Value) -> Option<Subresource> {
    let source = at(version, "subresources.scale");
    let path = |field: &str| intern(text(source, field).trim_start_matches('.'));
    let selector = path("labelSelectorPath");
    source.is_object().then(|| Subresource {
        what: SubresourceKind::Scale(ScalePaths {
            replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: (!selector.is_empty()).then_some(selector),
        }),
        name: "scale",
        verbs: PART,
        body: Some(SCALE_BODY),
    })
}

fn selectable(version: &Value) -> &'static [Selectable] {
    let fields = items(version, "selectableFields").iter().map(|field| {
        let path = intern(text(field, "jsonPath").trim_start_matches('.'));
        Selectable { label: path, path, absent: "" }
    });
    Box::leak(fields.collect::<Vec<_>>().into_boxed_slice())
}

fn warning(version: &Value, api_version: &str, kind: &str) -> Option<String> {
    if version.get("deprecated").is_none_or(|it| it != true) {
        return None;
    }
    Some(match text(version, "deprecationWarning") {
        "" => format!("{api_version} {kind} is deprecated"),
        given => given.to_owned(),
    })
}

/// The name of the type in OpenAPI documents: `com.example.v1.Widget`.
pub fn type_name(group: &str, version: &str, kind: &str) -> String {
    let group: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", group.join("."))
}
