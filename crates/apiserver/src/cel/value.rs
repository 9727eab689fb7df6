//! JSON as values of the language, and what a value weighs.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use kube_cel::cel;
use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map, OptionalValue};
use serde_json::Value as Json;

/// A JSON value as the language sees it where no schema says more: numbers are ints where they can be.
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => match (it.as_i64(), it.as_u64()) {
            (Some(it), _) => Value::Int(it),
            (None, Some(it)) => Value::UInt(it),
            (None, None) => Value::Float(it.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(it) => Value::String(Arc::new(it.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(from_json).collect())),
        Json::Object(fields) => map(fields.iter().map(|(name, value)| (key(name), from_json(value)))),
    }
}

/// A map.
pub fn map(entries: impl Iterator<Item = (Key, Value)>) -> Value {
    Value::Map(Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

/// A list.
pub fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(Arc::new(items.collect()))
}

/// Bytes from their base64, if it is that.
pub fn bytes(text: &str) -> Option<Value> {
    base64::engine::general_purpose::STANDARD.decode(text).ok().map(|it| Value::Bytes(Arc::new(it)))
}

/// A field name as a key.
pub fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

/// A text as a moment, if it is one (RFC 3339).
pub fn timestamp(text: &str) -> Option<Value> {
    convert("timestamp", text)
}

/// A text as a span of time (`1h30m`), if it is one.
pub fn duration(text: &str) -> Option<Value> {
    convert("duration", text)
}

fn convert(function: &str, text: &str) -> Option<Value> {
    super::call::library(function, None, vec![Value::String(Arc::new(text.to_owned()))]).ok()
}

/// The text behind an optional value, if the value is one.
pub(super) fn as_optional(value: &Value) -> Option<Option<&Value>> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<OptionalValue>().map(OptionalValue::value),
        _ => None,
    }
}

/// An optional value.
pub fn optional(value: Option<Value>) -> Value {
    Value::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}

/// The name of a value's type, as `type()` writes it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Function(..) => "function",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "google.protobuf.Duration",
        Value::Timestamp(_) => "google.protobuf.Timestamp",
        Value::Opaque(_) => "object",
        Value::Null => "null_type",
    }
}

/// What looking at all of a value costs: a step for each ten characters, one for each item. Counting ends at `cap`.
pub(super) fn weight(value: &Value, cap: u64) -> u64 {
    match value {
        Value::String(text) => (text.len() / 10) as u64,
        Value::Bytes(bytes) => (bytes.len() / 10) as u64,
        Value::List(items) => sum(items.iter(), cap),
        Value::Map(map) => sum(map.map.values(), cap),
        _ => 0,
    }
}

fn sum<'a>(items: impl Iterator<Item = &'a Value>, cap: u64) -> u64 {
    let mut total = 0_u64;
    for item in items {
        total = total.saturating_add(1 + weight(item, cap.saturating_sub(total)));
        if total > cap {
            break;
        }
    }
    total
}

/// The words of a failed library call.
pub(super) fn explain(error: cel::ExecutionError) -> super::EvalError {
    use super::EvalError;
    match error {
        cel::ExecutionError::NoSuchKey(name) => EvalError::NoSuchKey(name.as_str().to_owned()),
        cel::ExecutionError::FunctionError { message, .. } => EvalError::Function(message),
        cel::ExecutionError::DivisionByZero(_) => EvalError::ByZero("division"),
        cel::ExecutionError::RemainderByZero(_) => EvalError::ByZero("modulus"),
        cel::ExecutionError::Overflow(..) => EvalError::Overflow,
        _ => EvalError::NoSuchOverload,
    }
}
