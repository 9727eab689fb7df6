//! JSON printed as Go's `%v` prints it: error texts show patches that way.

use std::fmt::Write;

use serde_json::Value;

/// `map[a:1 b:[x y]]`, keys in order.
pub(super) fn go_print(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text
}

fn print(value: &Value, to: &mut String) {
    match value {
        Value::Null => to.push_str("<nil>"),
        Value::String(text) => to.push_str(text),
        Value::Bool(_) | Value::Number(_) => {
            // Writing into a string cannot fail.
            let _ = write!(to, "{value}");
        }
        Value::Array(items) => {
            to.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    to.push(' ');
                }
                print(item, to);
            }
            to.push(']');
        }
        Value::Object(fields) => {
            to.push_str("map[");
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    to.push(' ');
                }
                to.push_str(key);
                to.push(':');
                print(item, to);
            }
            to.push(']');
        }
    }
}
