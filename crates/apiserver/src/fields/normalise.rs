//! A value made into an object of its type: fields the type does not have are dropped and named, numbers become
//! quantities, quantities take their canonical form, empty and null fields go. What comes out can always be decoded into
//! the typed form (a property test holds this).

use base64::Engine;
use jiff::Timestamp;
use serde_json::Value;
use supple_quantity::Quantity;

use super::MAX_FINDINGS;
use super::path::Path;
use super::words::{go_kind, json_word};
use crate::schema::{Scalar, Shape, ShapeId, Struct, Types, types};

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
pub fn normalise(mut value: Value, shape: ShapeId, decoder: Decoder) -> Result<Normalised, TypeError> {
    let mut walk = Walk { types: types(), decoder, unknown: Vec::new() };
    walk.value(&mut value, shape, &Path::Root, "")?;
    Ok(Normalised { value, unknown: walk.unknown })
}

struct Walk {
    types: &'static Types,
    decoder: Decoder,
    unknown: Vec<String>,
}

impl Walk {
    /// `owner` is the innermost type with fields, which Go's decoder names in its errors.
    fn value(&mut self, value: &mut Value, shape: ShapeId, path: &Path<'_>, owner: &str) -> Result<(), TypeError> {
        match self.types.get(shape) {
            Shape::Struct(of) => self.fields(value, of, shape, path, owner),
            Shape::Map(of) => {
                if value.is_null() {
                    return Ok(());
                }
                let Value::Object(entries) = value else { return Err(self.wrong(value, shape, path, owner)) };
                for (key, entry) in entries {
                    self.item(entry, *of, &Path::Field(path, key), owner)?;
                    self.round_resource(entry, *of);
                }
                Ok(())
            }
            Shape::List(of) => {
                if value.is_null() {
                    return Ok(());
                }
                let Value::Array(items) = value else { return Err(self.wrong(value, shape, path, owner)) };
                for (index, item) in items.iter_mut().enumerate() {
                    self.item(item, *of, &Path::Index(path, index), owner)?;
                }
                Ok(())
            }
            Shape::Scalar(scalar) => {
                if value.is_null() {
                    Ok(())
                } else {
                    self.scalar(value, *scalar, shape, path, owner)
                }
            }
        }
    }

    fn fields(
        &mut self,
        value: &mut Value,
        of: &'static Struct,
        shape: ShapeId,
        path: &Path<'_>,
        owner: &str,
    ) -> Result<(), TypeError> {
        if value.is_null() {
            return Ok(());
        }
        let Value::Object(entries) = value else { return Err(self.wrong(value, shape, path, owner)) };
        let mut gone = Vec::new();
        for (name, entry) in entries.iter_mut() {
            let here = Path::Field(path, name);
            let Some(field) = of.fields.get(name) else {
                if of.open {
                    continue;
                }
                self.note_unknown(&here);
                gone.push(name.clone());
                continue;
            };
            self.value(entry, field.shape, &here, of.short_name())?;
            if self.is_left_out(entry, field.shape, field.required, of) {
                gone.push(name.clone());
            }
        }
        for name in gone {
            entries.remove(&name);
        }
        Ok(())
    }

    /// An item of a list or a map: a null there is the empty value of its type, as it cannot be left out.
    fn item(&mut self, value: &mut Value, shape: ShapeId, path: &Path<'_>, owner: &str) -> Result<(), TypeError> {
        if value.is_null() {
            *value = match self.types.get(shape) {
                Shape::Struct(_) | Shape::Map(_) => Value::Object(serde_json::Map::new()),
                Shape::List(_) => Value::Array(Vec::new()),
                Shape::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
                Shape::Scalar(Scalar::Quantity) => "0".into(),
                Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString) => 0.into(),
                Shape::Scalar(Scalar::Bool) => false.into(),
                Shape::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Any) => Value::Null,
            };
        }
        self.value(value, shape, path, owner)
    }

    /// Resource lists (the only maps of quantities) are rounded up to a thousandth, as the reference's defaulting does.
    fn round_resource(&self, entry: &mut Value, of: ShapeId) {
        if !matches!(self.types.get(of), Shape::Scalar(Scalar::Quantity)) {
            return;
        }
        if let Some(mut quantity) = entry.as_str().and_then(|text| text.parse::<Quantity>().ok()) {
            quantity.round_up_to_milli();
            put_text(entry, quantity.to_string());
        }
    }

    /// Whether the reference's encoder leaves the field out: null, an empty map or list that is not required, and empty
    /// text in metadata. Other empty text stays: the schema does not tell a pointer to it from the text itself.
    fn is_left_out(&self, value: &Value, shape: ShapeId, required: bool, of: &Struct) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty() && !required,
            Value::Object(entries) => entries.is_empty() && !required && matches!(self.types.get(shape), Shape::Map(_)),
            Value::String(text) => text.is_empty() && of.name.ends_with(".meta.v1.ObjectMeta"),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn scalar(
        &mut self,
        value: &mut Value,
        scalar: Scalar,
        shape: ShapeId,
        path: &Path<'_>,
        owner: &str,
    ) -> Result<(), TypeError> {
        let fits = match (scalar, &mut *value) {
            (Scalar::Any, _)
            | (Scalar::String, Value::String(_))
            | (Scalar::Bool, Value::Bool(_))
            | (Scalar::Number, Value::Number(_))
            | (Scalar::IntOrString, Value::String(_)) => true,
            (Scalar::Int32 | Scalar::IntOrString, Value::Number(number)) => {
                number.as_i64().is_some_and(|it| i32::try_from(it).is_ok())
            }
            (Scalar::Int64, Value::Number(number)) => number.as_i64().is_some(),
            (Scalar::Quantity, _) => return canonical_quantity(value, path),
            (Scalar::Time | Scalar::MicroTime, Value::String(text)) => {
                let Ok(moment) = text.parse::<Timestamp>() else { return Err(not_a_time(text, path)) };
                let format = if scalar == Scalar::Time { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.6fZ" };
                let canonical = moment.strftime(format).to_string();
                put_text(value, canonical);
                true
            }
            (Scalar::Bytes, Value::String(text)) => {
                if let Err(error) = base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
                    return Err(not_base64(&error, path));
                }
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.wrong(value, shape, path, owner)) }
    }

    fn note_unknown(&mut self, path: &Path<'_>) {
        if self.unknown.len() < MAX_FINDINGS {
            self.unknown.push(format!("unknown field \"{path}\""));
        }
    }

    fn wrong(&self, value: &Value, shape: ShapeId, path: &Path<'_>, owner: &str) -> TypeError {
        let message = match self.decoder {
            Decoder::Text => {
                let place = if owner.is_empty() {
                    "Go value".to_owned()
                } else {
                    format!("Go struct field {owner}.{}", path.fields())
                };
                // Go prints the number where the target is numeric too (it is then out of range), else only its kind.
                let numeric = matches!(
                    self.types.get(shape),
                    Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Number)
                );
                let word = match value {
                    Value::Number(number) if numeric => format!("number {number}"),
                    other => json_word(other).to_owned(),
                };
                format!("json: cannot unmarshal {word} into {place} of type {}", self.go_type(shape))
            }
            Decoder::Tree => match self.types.get(shape) {
                Shape::Struct(_) => format!("cannot restore struct from: {}", go_kind(value)),
                Shape::Map(_) => format!("cannot restore map from {}", go_kind(value)),
                Shape::List(_) => format!("cannot restore slice from {}", go_kind(value)),
                Shape::Scalar(_) => {
                    format!("cannot convert {} to {}", go_value_type(value), self.go_type(shape))
                }
            },
        };
        TypeError { path: path.to_string(), message }
    }

    /// The name of a type in Go, as its decoder's errors give it.
    fn go_type(&self, shape: ShapeId) -> String {
        match self.types.get(shape) {
            Shape::Struct(of) => {
                // `io.k8s.api.core.v1.PodSpec` is `v1.PodSpec` there: the package is the last part but one.
                let mut parts = of.name.rsplit('.');
                let name = parts.next().unwrap_or_default();
                parts.next().map_or_else(|| name.to_owned(), |package| format!("{package}.{name}"))
            }
            Shape::Map(of) => match self.types.get(*of) {
                Shape::Scalar(Scalar::Quantity) => "v1.ResourceList".to_owned(),
                _ => format!("map[string]{}", self.go_type(*of)),
            },
            Shape::List(of) => format!("[]{}", self.go_type(*of)),
            Shape::Scalar(scalar) => match scalar {
                Scalar::String | Scalar::Time | Scalar::MicroTime => "string",
                Scalar::Bytes => "[]uint8",
                Scalar::Int32 | Scalar::IntOrString => "int32",
                Scalar::Int64 => "int64",
                Scalar::Number => "float64",
                Scalar::Bool => "bool",
                Scalar::Quantity => "resource.Quantity",
                Scalar::Any => "interface {}",
            }
            .to_owned(),
        }
    }
}

/// Replaces text only where it differs, so that what is canonical already costs no allocation.
fn put_text(value: &mut Value, text: String) {
    if value.as_str() != Some(text.as_str()) {
        *value = Value::String(text);
    }
}

/// A quantity may be a string (white space around it is tolerated) or any other JSON, whose text is then parsed.
fn canonical_quantity(value: &mut Value, path: &Path<'_>) -> Result<(), TypeError> {
    let parsed = match &*value {
        Value::String(text) => text.trim().parse::<Quantity>(),
        other => other.to_string().parse::<Quantity>(),
    };
    match parsed {
        Ok(quantity) => {
            put_text(value, quantity.to_string());
            Ok(())
        }
        Err(error) => Err(TypeError { path: path.to_string(), message: error.to_string() }),
    }
}

fn not_a_time(text: &str, path: &Path<'_>) -> TypeError {
    TypeError {
        path: path.to_string(),
        message: format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""),
    }
}

fn not_base64(error: &base64::DecodeError, path: &Path<'_>) -> TypeError {
    let offset = match error {
        base64::DecodeError::InvalidByte(offset, _) | base64::DecodeError::InvalidLastSymbol(offset, _) => *offset,
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    };
    TypeError { path: path.to_string(), message: format!("illegal base64 data at input byte {offset}") }
}

/// Go's name for the type of a decoded value.
fn go_value_type(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        other => go_kind(other),
    }
}
