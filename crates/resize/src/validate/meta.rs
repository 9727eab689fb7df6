//! Object metadata: names, labels, annotations, owners, and what of them never changes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::names;
use crate::field::{FieldError, Path};

/// All annotations of an object together.
const ANNOTATION_BYTES: usize = 256 * 1024;

/// What is wrong with the metadata of a namespaced object whose name is a DNS subdomain. That there is a namespace and that it is the one of the
/// URL is the server's business.
#[must_use]
pub fn object(meta: &ObjectMeta) -> Vec<FieldError> {
    let path = Path::root("metadata");
    let mut errors = Vec::new();
    let generate_name = meta.generate_name.as_deref().unwrap_or_default();
    if !generate_name.is_empty() {
        // A trailing dash is what the generated part follows.
        let wrong = names::dns_subdomain(generate_name.trim_end_matches('-'));
        errors.extend(wrong.into_iter().map(|it| path.child("generateName").invalid(generate_name, it)));
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.push(path.child("name").required("name or generateName is required")),
        name => {
            let wrong = names::dns_subdomain(name);
            errors.extend(wrong.into_iter().map(|it| path.child("name").invalid(name, it)));
        }
    }
    if let Some(namespace) = meta.namespace.as_deref().filter(|it| !it.is_empty()) {
        let wrong = names::dns_label(namespace);
        errors.extend(wrong.into_iter().map(|it| path.child("namespace").invalid(namespace, it)));
    }
    errors.extend(common(meta));
    errors
}

/// What an update may not do to the metadata. Creation time, deletion and managed fields are put back by the server.
#[must_use]
pub fn update(new: &ObjectMeta, old: &ObjectMeta) -> Vec<FieldError> {
    let path = Path::root("metadata");
    let mut errors = Vec::new();
    if old.deletion_timestamp.is_some() {
        errors.extend(added_finalizers(new, old));
    }
    let fields =
        [("name", &new.name, &old.name), ("namespace", &new.namespace, &old.namespace), ("uid", &new.uid, &old.uid)];
    for (field, new, old) in fields {
        if new.as_deref().unwrap_or_default() != old.as_deref().unwrap_or_default() {
            errors.push(path.child(field).invalid(new.as_deref().unwrap_or_default(), "field is immutable"));
        }
    }
    if new.generation.unwrap_or(0) < old.generation.unwrap_or(0) {
        let generation = new.generation.unwrap_or(0);
        errors.push(path.child("generation").invalid(generation, "must not be decremented"));
    }
    errors.extend(common(new));
    errors
}

fn common(meta: &ObjectMeta) -> Vec<FieldError> {
    let path = Path::root("metadata");
    let mut errors = Vec::new();
    if let Some(all) = &meta.labels {
        errors.extend(labels(all, &path.child("labels")));
    }
    if let Some(all) = &meta.annotations {
        errors.extend(annotations(all, &path.child("annotations")));
    }
    let path = path.child("ownerReferences");
    for (index, owner) in meta.owner_references.iter().flatten().enumerate() {
        let path = path.index(index);
        for (field, value) in
            [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)]
        {
            if value.is_empty() {
                errors.push(path.child(field).invalid(value, "must not be empty"));
            }
        }
    }
    errors.extend(finalizers(meta));
    errors
}

fn finalizers(meta: &ObjectMeta) -> Vec<FieldError> {
    let path = Path::root("metadata");
    let path = path.child("finalizers");
    let all = meta.finalizers.as_deref().unwrap_or_default();
    let mut errors = Vec::new();
    for name in all {
        errors.extend(names::qualified(name).into_iter().map(|it| path.invalid(name, it)));
    }
    let has = |name: &str| all.iter().any(|it| it == name);
    if has("orphan") && has("foregroundDeletion") {
        let shown = format!("[{}]", all.join(" "));
        errors.push(path.invalid(&shown, "finalizer orphan and foregroundDeletion cannot be both set"));
    }
    errors
}

/// What waits for an object's end is settled when its end begins.
fn added_finalizers(new: &ObjectMeta, old: &ObjectMeta) -> Option<FieldError> {
    let before = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<String> =
        new.finalizers.iter().flatten().filter(|it| !before.contains(it)).map(|it| format!("{it:?}")).collect();
    (!added.is_empty()).then(|| {
        Path::root("metadata").child("finalizers").forbidden(format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        ))
    })
}

/// What is wrong with a set of annotations.
pub(super) fn annotations(all: &BTreeMap<String, String>, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for key in all.keys() {
        errors.extend(names::qualified(&key.to_lowercase()).into_iter().map(|it| path.invalid(key, it)));
    }
    if all.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > ANNOTATION_BYTES {
        errors.push(path.too_long(ANNOTATION_BYTES));
    }
    errors
}

/// What is wrong with a set of labels or a node selector.
#[must_use]
pub fn labels(labels: &BTreeMap<String, String>, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        errors.extend(names::qualified(key).into_iter().map(|it| path.invalid(key, it)));
        errors.extend(names::label_value(value).into_iter().map(|it| path.invalid(value, it)));
    }
    errors
}
