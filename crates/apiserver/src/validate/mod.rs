//! What the reference refuses: names, metadata, and the rules of every kind but pods (those are in `supple-resize`).

pub mod names;
pub mod rules;

use serde_json::Value;

use crate::kinds::Resource;

/// What `metadata.name` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 subdomain.
    Subdomain,
    /// A DNS-1123 label.
    Label,
}

pub use supple_resize::field::FieldError;

/// Checks the metadata of an object that is created (after the name was generated).
pub fn metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let _ = (resource, object);
    Vec::new()
}

/// Checks the metadata of an object that is updated.
pub fn metadata_update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let _ = (resource, new, old);
    Vec::new()
}
