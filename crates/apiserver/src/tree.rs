//! Reading JSON trees by a path of field names, without allocating: printers, selectors and validation do so for every
//! object of a list.

use serde_json::Value;

static ABSENT: Value = Value::Null;

/// The value at `path` (`status.phase`; field names with dots in them cannot be reached this way), or null.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(value, |value, field| value.get(field)).unwrap_or(&ABSENT)
}

/// The text at `path`, or the empty text.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The items of the list at `path`, or none.
pub(crate) fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The whole number at `path`, or zero.
pub(crate) fn number(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}
