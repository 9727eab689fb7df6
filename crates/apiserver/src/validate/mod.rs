//! What the reference refuses: metadata of every kind, and the rules of every kind but pods (those are in
//! `supple-resize`, from which the forms of names and the look of errors come too).

pub mod rules;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use supple_resize::field::Path;
use supple_resize::validate::{meta, names};

pub use supple_resize::field::FieldError;

use crate::kinds::Resource;
use crate::tree::text;

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
    errors
}

/// Checks the metadata of an object that is updated.
pub fn metadata_update(new: &Value, old: &Value) -> Vec<FieldError> {
    match (typed(new), typed(old)) {
        (Ok(new), Ok(old)) => meta::update(&new, &old),
        (Err(error), _) | (_, Err(error)) => vec![error],
    }
}

/// The typed metadata. A normalised object always has it; what is not normalised is refused rather than trusted.
fn typed(object: &Value) -> Result<ObjectMeta, FieldError> {
    let metadata = object.get("metadata").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    serde_json::from_value(metadata).map_err(|error| Path::root("metadata").invalid("", error.to_string()))
}
