//! What the reference refuses: metadata of every kind, and the rules of every kind but pods (those are in
//! `supple-resize`, from which the forms of names and the look of errors come too).

pub mod rules;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use supple_resize::field::Path;
use supple_resize::validate::{meta, names};

pub use supple_resize::field::FieldError;

use crate::kinds::Resource;
use crate::tree::{at, text};

/// What `metadata.name` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 subdomain.
    Subdomain,
    /// A DNS-1123 label.
    Label,
    /// Anything that can stand in a path: names of roles have colons.
    Segment,
}

/// Checks the metadata of an object that is created (after the name was generated).
pub fn metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = match typed(object) {
        Ok(meta) => meta::object(&meta),
        Err(error) => return vec![error],
    };
    let form = match resource.name_rule {
        NameRule::Subdomain => return errors,
        NameRule::Label => names::dns_label,
        NameRule::Segment => path_segment,
    };
    let metadata = Path::root("metadata");
    // The reference says what is missing before it looks at the form.
    for field in ["name", "generateName"] {
        let given = text(at(object, "metadata"), field);
        if !given.is_empty() {
            let path = metadata.child(field);
            let name = if field == "name" { given } else { given.trim_end_matches('-') };
            errors.retain(|it| it.field != path.to_string());
            errors.extend(form(name).into_iter().map(|it| path.invalid(given, it)));
        }
    }
    errors
}

/// What keeps a name from being a segment of a path.
pub(crate) fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ['/', '%'].into_iter().filter(|it| name.contains(*it)).map(|it| format!("may not contain '{it}'")).collect()
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
