//! `CustomResourceDefinition` objects: what is filled in, what is refused, with the words of apiextensions v1.36.

use serde_json::{Value, json};
use supple_resize::field::{FieldError, Path};
use supple_resize::validate::names;

use super::jsonpath::JsonPath;
use super::structural;
use super::validate::Shown;
use crate::tree::{at, items, text};

/// The collection that definitions are stored in.
pub const COLLECTION: &str = "customresourcedefinitions";

/// Holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Fills in names and the conversion.
pub fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").filter(|it| it.is_object()) else { return };
    let kind = text(spec, "names.kind").to_owned();
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut).filter(|_| !kind.is_empty()) {
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
    }
    if at(spec, "conversion.strategy").is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// What a new definition says about itself before anybody has looked at its names.
pub fn prepare_create(object: &mut Value) {
    let stored: Vec<Value> = storage(object).map(|it| it["name"].clone()).into_iter().collect();
    object["status"] =
        json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": stored});
}

/// Keeps the status, in which a new version to store is noted.
pub fn prepare_update(object: &mut Value, old: &Value) {
    object["status"] = old.get("status").cloned().unwrap_or_else(|| json!({}));
    if let Some(storage) = storage(object).map(|it| it["name"].clone()) {
        let mut stored = items(old, "status.storedVersions").to_vec();
        if !stored.contains(&storage) {
            stored.push(storage);
            object["status"]["storedVersions"] = stored.into();
        }
    }
}

fn storage(object: &Value) -> Option<&Value> {
    items(object, "spec.versions").iter().find(|it| it.get("storage").is_some_and(|it| it == true))
}

/// What is wrong with a new definition.
pub fn create(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = at(object, "spec");
    let (group, plural) = (text(spec, "group"), text(spec, "names.plural"));
    let name = text(object, "metadata.name");
    if name != format!("{plural}.{group}") {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Path::root("metadata").child("name").invalid(name, why));
    }
    if spec.get("preserveUnknownFields").is_some_and(|it| it == true) {
        errors.push(Path::root("spec").child("preserveUnknownFields").invalid(true, "must be false"));
    }
    body(object, None, &mut errors);
    errors
}

/// What is wrong with a changed definition.
pub fn update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = Path::root("spec");
    let established = condition(old, "Established").is_some_and(|it| it["status"] == "True");
    let fixed = |field: &str| at(object, field) == at(old, field);
    if !fixed("spec.group") {
        errors.push(spec.child("group").invalid(text(object, "spec.group"), IMMUTABLE));
    }
    if established && !fixed("spec.scope") {
        errors.push(spec.child("scope").invalid(text(object, "spec.scope"), IMMUTABLE));
    }
    if established && !fixed("spec.names.kind") {
        errors.push(spec.child("names").child("kind").invalid(text(object, "spec.names.kind"), IMMUTABLE));
    }
    if !fixed("spec.names.plural") {
        errors.push(spec.child("names").child("plural").invalid(text(object, "spec.names.plural"), IMMUTABLE));
    }
    body(object, Some(old), &mut errors);
    errors
}

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with the status.
pub fn status(object: &Value, _old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    stored_versions(object, &mut errors);
    errors
}

fn stored_versions(object: &Value, errors: &mut Vec<FieldError>) {
    let status = Path::root("status");
    let of_stored = status.child("storedVersions");
    let stored = items(object, "status.storedVersions");
    if stored.is_empty() {
        errors.push(of_stored.invalid(Shown(&json!([])), "must have at least one stored version"));
    }
    let known: Vec<&str> = items(object, "spec.versions").iter().map(|it| text(it, "name")).collect();
    for (index, version) in stored.iter().filter_map(Value::as_str).enumerate() {
        if !known.contains(&version) {
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {version} and removes \
                 {version} from status.storedVersions"
            );
            errors.push(of_stored.index(index).invalid(version, why));
        }
    }
}

fn body(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let source = at(object, "spec");
    let spec = Path::root("spec");
    group(text(source, "group"), &spec, errors);
    match text(source, "scope") {
        "" => errors.push(spec.child("scope").required("")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(spec.child("scope").not_supported(other, &["Cluster", "Namespaced"])),
    }
    names_of(at(source, "names"), &spec.child("names"), errors);
    let of_conversion = spec.child("conversion");
    match text(source, "conversion.strategy") {
        "" | "None" => {}
        "Webhook" => {
            let why = "conversion by a webhook is not offered: serve versions that differ in nothing but their name";
            errors.push(of_conversion.child("strategy").forbidden(why));
        }
        other => errors.push(of_conversion.child("strategy").not_supported(other, &["None", "Webhook"])),
    }
    let of_versions = spec.child("versions");
    let versions = items(source, "versions");
    if versions.is_empty() {
        errors.push(of_versions.required("must have at least one version"));
    }
    let storing = versions.iter().filter(|it| it.get("storage").is_some_and(|it| it == true)).count();
    if storing != 1 && !versions.is_empty() {
        let shown = Value::Array(versions.to_vec());
        let why = "must have exactly one version marked as storage version";
        errors.push(of_versions.invalid(Shown(&shown), why));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = text(version, "name");
        if seen.contains(&name) {
            let shown = Value::Array(versions.to_vec());
            errors.push(of_versions.invalid(Shown(&shown), "must contain unique version names"));
        }
        seen.push(name);
        // A version that has not changed was accepted by rules that may have been others.
        let before = old.and_then(|it| items(it, "spec.versions").iter().find(|it| text(it, "name") == name));
        if before != Some(version) {
            of_version(version, &of_versions.index(index), errors);
        }
    }
    if old.is_some() {
        stored_versions(object, errors);
    }
}

fn group(group: &str, spec: &Path<'_>, errors: &mut Vec<FieldError>) {
    let here = spec.child("group");
    if group.is_empty() {
        errors.push(here.required(""));
        return;
    }
    errors.extend(names::dns_subdomain(group).into_iter().map(|why| here.invalid(group, why)));
    if !group.contains('.') {
        errors.push(here.invalid(group, "should be a domain with at least one dot"));
    }
}

/// A DNS-1035 label: what the parts of a path can be.
fn label(name: &str) -> Option<String> {
    let fits = name.len() <= 63
        && name.starts_with(|it: char| it.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-');
    (!fits).then(|| {
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
         character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
         is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    })
}

fn names_of(source: &Value, here: &Path<'_>, errors: &mut Vec<FieldError>) {
    let one = |field: &str, must: bool, fold: bool, errors: &mut Vec<FieldError>| {
        let given = text(source, field);
        if given.is_empty() {
            if must {
                errors.push(here.child(field).required(""));
            }
            return;
        }
        let checked = if fold { given.to_lowercase() } else { given.to_owned() };
        if let Some(why) = label(&checked) {
            let why = if fold { format!("may have mixed case, but should otherwise match: {why}") } else { why };
            errors.push(here.child(field).invalid(given, why));
        }
    };
    one("plural", true, false, errors);
    one("singular", false, false, errors);
    one("kind", true, true, errors);
    one("listKind", true, true, errors);
    for list in ["shortNames", "categories"] {
        let of_list = here.child(list);
        for (index, name) in items(source, list).iter().filter_map(Value::as_str).enumerate() {
            if let Some(why) = label(name) {
                errors.push(of_list.index(index).invalid(name, why));
            }
        }
    }
    let list_kind = text(source, "listKind");
    if !list_kind.is_empty() && list_kind == text(source, "kind") {
        errors.push(here.child("listKind").invalid(list_kind, "kind and listKind may not be the same"));
    }
}

fn of_version(version: &Value, here: &Path<'_>, errors: &mut Vec<FieldError>) {
    let name = text(version, "name");
    if name.is_empty() {
        errors.push(here.child("name").required(""));
    } else if let Some(why) = label(name) {
        errors.push(here.child("name").invalid(name, why));
    }
    let of_schema = here.child("schema");
    let of_source = of_schema.child("openAPIV3Schema");
    let source = at(version, "schema.openAPIV3Schema");
    if source.is_null() {
        errors.push(of_source.required("schemas are required"));
    } else {
        errors.extend(structural::check(source, &of_source));
    }
    let subresources = here.child("subresources");
    let scale = at(version, "subresources.scale");
    if !scale.is_null() {
        let of_scale = subresources.child("scale");
        for (field, root, must) in [
            ("specReplicasPath", ".spec.", true),
            ("statusReplicasPath", ".status.", true),
            ("labelSelectorPath", "", false),
        ] {
            let given = text(scale, field);
            let of_field = of_scale.child(field);
            if given.is_empty() {
                if must {
                    errors.push(of_field.required(""));
                }
                continue;
            }
            let fits = if root.is_empty() {
                given.starts_with(".spec.") || given.starts_with(".status.")
            } else {
                given.starts_with(root)
            };
            if !fits {
                let below = if root.is_empty() { "either .spec or .status" } else { root.trim_end_matches('.') };
                errors.push(of_field.invalid(given, format!("should be a json path under {below}")));
            } else if given.contains(['[', ']']) {
                errors.push(of_field.invalid(given, "is an invalid jsonpath: only dot notation is supported"));
            }
        }
    }
    let of_columns = here.child("additionalPrinterColumns");
    for (index, column) in items(version, "additionalPrinterColumns").iter().enumerate() {
        printer_column(column, &of_columns.index(index), errors);
    }
    selectable(version, here, errors);
}

fn printer_column(column: &Value, here: &Path<'_>, errors: &mut Vec<FieldError>) {
    if text(column, "name").is_empty() {
        errors.push(here.child("name").required(""));
    }
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    match text(column, "type") {
        "" => errors.push(here.child("type").required(&*format!("must be one of {}", TYPES.join(",")))),
        kind if TYPES.contains(&kind) => {}
        other => errors.push(here.child("type").invalid(other, format!("must be one of {}", TYPES.join(",")))),
    }
    const FORMATS: [&str; 11] =
        ["binary", "byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password", "string"];
    let format = text(column, "format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        errors.push(here.child("format").invalid(format, format!("must be one of {}", FORMATS.join(","))));
    }
    let path = text(column, "jsonPath");
    if path.is_empty() {
        errors.push(here.child("jsonPath").required(""));
    } else if let Err(error) = JsonPath::parse(path) {
        errors.push(here.child("jsonPath").invalid(path, error));
    }
}

/// Most fields of one version that selectors may name.
const MAX_SELECTABLE: usize = 8;

fn selectable(version: &Value, here: &Path<'_>, errors: &mut Vec<FieldError>) {
    let of_fields = here.child("selectableFields");
    let fields = items(version, "selectableFields");
    if fields.len() > MAX_SELECTABLE {
        errors.push(of_fields.too_many(fields.len(), MAX_SELECTABLE));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let path = text(field, "jsonPath");
        let of_index = of_fields.index(index);
        let of_path = of_index.child("jsonPath");
        if path.is_empty() {
            errors.push(of_path.required(""));
            continue;
        }
        if seen.contains(&path) {
            errors.push(of_path.duplicate(path));
        }
        seen.push(path);
        let steps: Option<Vec<&str>> = path.strip_prefix('.').map(|it| it.split('.').collect());
        let down = |source: Option<Value>, step: &&str| source?.get("properties")?.get(*step).cloned();
        let source = Some(at(version, "schema.openAPIV3Schema").clone());
        let found = steps.and_then(|steps| {
            steps.first().is_none_or(|it| *it != "metadata").then(|| steps.iter().fold(source, down)).flatten()
        });
        match found {
            None => errors.push(of_path.invalid(path, "is an invalid path: does not refer to a valid field")),
            Some(found) if !matches!(text(&found, "type"), "string" | "integer" | "boolean") => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings \
                           with formats are allowed.";
                errors.push(of_path.invalid(path, format!("is an invalid path: {why}")));
            }
            Some(_) => {}
        }
    }
}

/// The condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "status.conditions").iter().find(|it| text(it, "type") == kind)
}
