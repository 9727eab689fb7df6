//! What the reference refuses: metadata of every kind, and the rules of every kind but pods (those are in
//! `supple-resize`, from which the forms of names and the look of errors come too).

pub mod rules;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use supple_resize::field::Path;
use supple_resize::validate::{meta, names};

pub use supple_resize::field::FieldError;

use crate::kinds::Resource;
use crate::tree::{at, items, text};

/// What `metadata.name` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 subdomain.
    Subdomain,
    /// A DNS-1123 label.
    Label,
}

/// Checks the metadata of an object that is created (after the name was generated).
pub fn metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = match typed(object) {
        Ok(meta) => meta::object(&meta),
        Err(error) => return vec![error],
    };
    if resource.name_rule == NameRule::Label {
        let metadata = Path::root("metadata");
        let name = text(object, "metadata.name");
        // The reference says what is missing before it looks at the form.
        if !name.is_empty() {
            errors.retain(|it| it.field != "metadata.name");
            errors.extend(names::dns_label(name).into_iter().map(|it| metadata.child("name").invalid(name, it)));
        }
    }
    errors.extend(finalizers(object));
    errors
}

/// Checks the metadata of an object that is updated.
pub fn metadata_update(_: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = match (typed(new), typed(old)) {
        (Ok(new), Ok(old)) => meta::update(&new, &old),
        (Err(error), _) | (_, Err(error)) => return vec![error],
    };
    errors.extend(finalizers(new));
    if !at(old, "metadata.deletionTimestamp").is_null() {
        let before = items(old, "metadata.finalizers");
        let added: Vec<&str> = items(new, "metadata.finalizers")
            .iter()
            .filter(|it| !before.contains(it))
            .filter_map(Value::as_str)
            .collect();
        if !added.is_empty() {
            let quoted: Vec<String> = added.iter().map(|it| format!("{it:?}")).collect();
            errors.push(Path::root("metadata").child("finalizers").forbidden(format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            )));
        }
    }
    errors
}

/// The typed metadata. A normalised object always has it; what is not normalised is refused rather than trusted.
fn typed(object: &Value) -> Result<ObjectMeta, FieldError> {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    serde_json::from_value(metadata).map_err(|error| Path::root("metadata").invalid("", error.to_string()))
}

fn finalizers(object: &Value) -> Vec<FieldError> {
    let metadata = Path::root("metadata");
    let path = metadata.child("finalizers");
    let names_of = items(object, "metadata.finalizers").iter().filter_map(Value::as_str);
    let mut errors: Vec<FieldError> = names_of
        .clone()
        .flat_map(|name| names::qualified(name).into_iter().map(move |it| (name, it)))
        .map(|(name, it)| path.invalid(name, it))
        .collect();
    let has = |name: &str| names_of.clone().any(|it| it == name);
    if has("orphan") && has("foregroundDeletion") {
        let all: Vec<&str> = names_of.clone().collect();
        errors.push(
            path.invalid(&format!("[{}]", all.join(" ")), "finalizer orphan and foregroundDeletion cannot be both set"),
        );
    }
    errors
}
