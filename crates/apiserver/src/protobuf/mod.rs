//! Bodies in Kubernetes' protobuf envelope. Since v1.32 the typed clients in Go (`kubectl create namespace`, `kubectl
//! drain`) send them and do not fall back to JSON, so a server that stock kubectl can use must read them. They are made
//! into JSON by the same [types](crate::schema) that everything else goes by; only the field numbers are added. Answers
//! stay JSON, which every client accepts.
//!
//! ```text
//! "k8s\0" · Unknown{ typeMeta{apiVersion, kind}, raw } ─▶ raw, by the type's shape and numbers ─▶ JSON ─▶ normalise
//! ```

mod wire;

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::schema::{Scalar, Shape, ShapeId, Struct, types};
use wire::{Fields, Wire};

/// The content type of a body in the envelope.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Messages in messages beyond this are no object of ours.
const MAX_DEPTH: usize = 64;

/// Where the types stand that are not read in this form: schemas within definitions are unions whose members differ
/// between the two forms, and no client that we know sends them so.
const JSON_ONLY: &str = ".apiextensions.";

/// A body that is no object in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not begin with the envelope's mark.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    NoEnvelope,
    /// The bytes are no message.
    #[error("the protobuf message is damaged at byte {at}: {what}")]
    Damaged {
        /// Where in the innermost message.
        at: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// A field holds another kind of value than its type has.
    #[error("field {field} does not hold {wanted}")]
    WrongKind {
        /// The JSON name of the field.
        field: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The type is not read in this form.
    #[error("custom resource definitions are read as JSON or YAML: send one of these")]
    JsonOnly,
    /// Messages are nested too deeply.
    #[error("the protobuf message is nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// Reads an object of the type `shape` from the envelope.
///
/// # Errors
/// [`ProtobufError`] for what is no such object.
pub fn decode(body: &[u8], shape: ShapeId) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoEnvelope)?;
    let (mut type_meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::of(unknown) {
        match field? {
            (1, Wire::Bytes(bytes)) => type_meta = bytes,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut object = match types().get(shape) {
        Shape::Struct(of) if of.name.contains(JSON_ONLY) => return Err(ProtobufError::JsonOnly),
        Shape::Struct(of) => message(raw, of, 0)?,
        Shape::Map(_) | Shape::List(_) | Shape::Scalar(_) => Map::new(),
    };
    for field in Fields::of(type_meta) {
        match field? {
            (1, wire) => object.insert("apiVersion".to_owned(), text(wire, "apiVersion")?.into()),
            (2, wire) => object.insert("kind".to_owned(), text(wire, "kind")?.into()),
            _ => None,
        };
    }
    Ok(Value::Object(object))
}

/// What a number stands for in a message.
#[derive(Debug)]
enum Entry {
    Field {
        name: &'static str,
        /// Whether zero is a value rather than the absence of one.
        pointer: bool,
    },
    /// A message whose fields stand in this one in JSON.
    Inline(&'static str),
}

/// The numbers of every type, by name without `io.k8s.`.
fn numbers() -> &'static HashMap<&'static str, HashMap<u64, Entry>> {
    static NUMBERS: LazyLock<HashMap<&'static str, HashMap<u64, Entry>>> = LazyLock::new(|| {
        include_str!("numbers.txt").lines().filter(|line| !line.starts_with('#')).filter_map(parse_line).collect()
    });
    &NUMBERS
}

fn parse_line(line: &'static str) -> Option<(&'static str, HashMap<u64, Entry>)> {
    let (name, fields) = line.split_once(": ")?;
    let fields = fields.split(", ").filter_map(|field| {
        let (number, name) = field.split_once(' ')?;
        let entry = match name.strip_prefix('*') {
            Some(inline) => Entry::Inline(inline),
            None => Entry::Field { name: name.trim_end_matches('?'), pointer: name.ends_with('?') },
        };
        Some((number.parse().ok()?, entry))
    });
    Some((name, fields.collect()))
}

/// The JSON names that the table of numbers knows for a type, for a test that it is whole.
pub fn known_fields(type_name: &str) -> Vec<&'static str> {
    let short = type_name.strip_prefix("io.k8s.").unwrap_or(type_name);
    let Some(fields) = numbers().get(short) else { return Vec::new() };
    let names = fields.values().flat_map(|it| match it {
        Entry::Field { name, .. } => vec![*name],
        Entry::Inline(inline) => known_fields(inline),
    });
    names.collect()
}

fn message(bytes: &[u8], of: &Struct, depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    let short = of.name.strip_prefix("io.k8s.").unwrap_or(&of.name);
    fields(bytes, of, short, depth, &mut object)?;
    Ok(object)
}

fn fields(
    bytes: &[u8],
    of: &Struct,
    numbers_of: &str,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    // A type without numbers has fields we cannot know; like unknown fields, they are passed over.
    let Some(known) = numbers().get(numbers_of) else { return Ok(()) };
    for field in Fields::of(bytes) {
        let (number, wire) = field?;
        let (name, pointer) = match known.get(&number) {
            Some(Entry::Field { name, pointer }) => (*name, *pointer),
            Some(Entry::Inline(inline)) => {
                fields(nested(wire, inline)?, of, inline, depth + 1, object)?;
                continue;
            }
            None => continue,
        };
        let Some(field) = of.fields.get(name) else { continue };
        match types().get(field.shape) {
            Shape::List(item) => {
                let item = value(wire, *item, name, depth)?;
                if let Value::Array(items) = object.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                    items.push(item);
                }
            }
            Shape::Map(of) => {
                let (key, entry) = map_entry(nested(wire, name)?, *of, name, depth)?;
                if let Value::Object(entries) = object.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                    entries.insert(key, entry);
                }
            }
            Shape::Struct(_) | Shape::Scalar(_) => {
                let value = value(wire, field.shape, name, depth)?;
                if pointer || field.required || !is_zero(&value) {
                    object.insert(name.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

/// Go writes plain values even where they are zero, which its JSON leaves out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(it) => !it,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn map_entry(bytes: &[u8], of: ShapeId, name: &str, depth: usize) -> Result<(String, Value), ProtobufError> {
    let mut key = String::new();
    let mut entry = empty(of);
    for field in Fields::of(bytes) {
        match field? {
            (1, wire) => text(wire, name)?.clone_into(&mut key),
            (2, wire) => entry = value(wire, of, name, depth)?,
            _ => {}
        }
    }
    Ok((key, entry))
}

/// What an entry of a map is that does not say.
fn empty(of: ShapeId) -> Value {
    match types().get(of) {
        Shape::Struct(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Scalar(Scalar::Quantity) => "0".into(),
        Shape::Scalar(_) => "".into(),
    }
}

fn value(wire: Wire<'_>, shape: ShapeId, name: &str, depth: usize) -> Result<Value, ProtobufError> {
    let scalar = match types().get(shape) {
        Shape::Struct(of) => return Ok(Value::Object(message(nested(wire, name)?, of, depth + 1)?)),
        // A list in a map (what else is known of a user) is a message of its own: `ExtraValue{ items = 1 }`.
        Shape::List(item) => {
            let mut items = Vec::new();
            for field in Fields::of(nested(wire, name)?) {
                if let (1, wire) = field? {
                    items.push(value(wire, *item, name, depth)?);
                }
            }
            return Ok(Value::Array(items));
        }
        // A map in a list or a map does not occur in the API.
        Shape::Map(_) => return Ok(empty(shape)),
        Shape::Scalar(scalar) => *scalar,
    };
    Ok(match scalar {
        Scalar::String => text(wire, name)?.into(),
        Scalar::Bytes => STANDARD.encode(nested(wire, name)?).into(),
        Scalar::Bool => (varint(wire, name)? != 0).into(),
        Scalar::Int32 | Scalar::Int64 => varint(wire, name)?.into(),
        Scalar::Number => match wire {
            Wire::Fixed64(bits) => f64::from_bits(bits).into(),
            _ => return Err(wrong(name, "a number")),
        },
        Scalar::Time | Scalar::MicroTime => time(nested(wire, name)?, name)?,
        Scalar::Quantity => first_text(nested(wire, name)?, name)?.into(),
        Scalar::IntOrString => int_or_string(nested(wire, name)?, name)?,
        // What the server does not look into is JSON in bytes.
        Scalar::Any => crate::fields::parse_json(first_bytes(nested(wire, name)?)?).map_or(Value::Null, |it| it.value),
    })
}

/// Seconds and nanoseconds since 1970; neither is the zero time, which stands for none.
fn time(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos, mut any) = (0_i64, 0_i64, false);
    for field in Fields::of(bytes) {
        any = true;
        match field? {
            (1, wire) => seconds = varint(wire, name)?,
            (2, wire) => nanos = varint(wire, name)?,
            _ => {}
        }
    }
    if !any {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).map_err(|_| wrong(name, "a time"))?;
    let moment = Timestamp::new(seconds, nanos).map_err(|_| wrong(name, "a time"))?;
    Ok(moment.to_string().into())
}

fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut words) = (false, 0_i64, "");
    for field in Fields::of(bytes) {
        match field? {
            (1, wire) => is_text = varint(wire, name)? != 0,
            (2, wire) => number = varint(wire, name)?,
            (3, wire) => words = text(wire, name)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

fn first_bytes(bytes: &[u8]) -> Result<&[u8], ProtobufError> {
    for field in Fields::of(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            return Ok(bytes);
        }
    }
    Ok(&[])
}

fn first_text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, ProtobufError> {
    text(Wire::Bytes(first_bytes(bytes)?), name)
}

fn nested<'a>(wire: Wire<'a>, name: &str) -> Result<&'a [u8], ProtobufError> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        _ => Err(wrong(name, "a message")),
    }
}

fn text<'a>(wire: Wire<'a>, name: &str) -> Result<&'a str, ProtobufError> {
    match wire {
        Wire::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| wrong(name, "text")),
        _ => Err(wrong(name, "text")),
    }
}

fn varint(wire: Wire<'_>, name: &str) -> Result<i64, ProtobufError> {
    match wire {
        // Negative numbers are written as their two's complement in 64 bits.
        Wire::Varint(bits) => Ok(bits.cast_signed()),
        _ => Err(wrong(name, "a number")),
    }
}

fn wrong(name: &str, wanted: &'static str) -> ProtobufError {
    ProtobufError::WrongKind { field: name.to_owned(), wanted }
}
