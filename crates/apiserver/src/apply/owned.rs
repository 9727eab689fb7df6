//! The fields that a configuration names, and what is wrong with it: a configuration is only applied if every field of it
//! is one that the type has, with a value that the type can hold.

use serde_json::Value;

use super::place::{Form, Place, item_element};
use super::set::{Element, FieldSet};
use crate::schema::{Scalar, Shape};

/// The fields of `value`, an object at `place`, without looking for mistakes: fields that the type does not have are
/// left out.
pub fn fields(place: Place, value: &Value) -> FieldSet {
    Walk { mistakes: None }.all(place, value, "")
}

/// The fields of a configuration.
///
/// # Errors
/// A sentence on what cannot be applied, in the reference's words.
pub fn configured(place: Place, value: &Value) -> Result<FieldSet, String> {
    let mut walk = Walk { mistakes: Some(Vec::new()) };
    let set = walk.all(place, value, "");
    match walk.mistakes.unwrap_or_default() {
        mistakes if mistakes.is_empty() => Ok(set),
        mistakes if mistakes.len() == 1 => Err(mistakes.concat()),
        mistakes => Err(format!("errors:\n  {}", mistakes.join("\n  "))),
    }
}

struct Walk {
    /// `None`: nobody asks for them.
    mistakes: Option<Vec<String>>,
}

impl Walk {
    fn mistake(&mut self, path: &str, what: impl FnOnce() -> String) {
        if let Some(mistakes) = &mut self.mistakes {
            mistakes.push(if path.is_empty() { what() } else { format!("{path}: {}", what()) });
        }
    }

    fn path(&self, path: &str, element: &Element) -> String {
        if self.mistakes.is_some() { format!("{path}{element}") } else { String::new() }
    }

    fn all(&mut self, place: Place, value: &Value, path: &str) -> FieldSet {
        let form = place.form(value);
        match (form, value) {
            (Form::Whole, _) => {
                self.check_whole(place, value, path);
                FieldSet::leaf()
            }
            (_, Value::Null) => FieldSet::default(),
            (Form::Fields(_) | Form::Keys(_), Value::Object(fields)) => {
                let mut set = FieldSet::default();
                for (name, value) in fields {
                    let element = Element::field(name);
                    let here = self.path(path, &element);
                    let Some(place) = form.of(name) else {
                        self.mistake(&here, || "field not declared in schema".to_owned());
                        continue;
                    };
                    let mut below = self.all(place, value, &here);
                    let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                    below.here |= empty || !form.is_named(name);
                    set.put(element, below);
                }
                set
            }
            (Form::Items(..) | Form::Set, Value::Array(items)) => self.items(form, items, path),
            (Form::Fields(_) | Form::Keys(_), other) => {
                self.mistake(path, || format!("expected map, got {}", shown(other)));
                FieldSet::leaf()
            }
            (Form::Items(..) | Form::Set, other) => {
                self.mistake(path, || format!("expected list, got {}", shown(other)));
                FieldSet::leaf()
            }
        }
    }

    fn items(&mut self, form: Form, items: &[Value], path: &str) -> FieldSet {
        let mut set = FieldSet::default();
        for (index, item) in items.iter().enumerate() {
            let element = match form {
                Form::Items(..) if !item.is_object() => {
                    let got = if item.is_null() {
                        "associative list with keys may not have a null element"
                    } else {
                        "associative list with keys may not have non-map elements"
                    };
                    self.mistake(path, || format!("element {index}: {got}"));
                    continue;
                }
                Form::Items(keys, _) => match item_element(item, keys) {
                    Ok(element) => element,
                    Err(key) => {
                        self.mistake(path, || {
                            format!(
                                "element {index}: associative list with keys has an element that omits key field \
                                 {key:?} (and doesn't have default value)"
                            )
                        });
                        continue;
                    }
                },
                _ => Element::value(item),
            };
            if set.at(&element).is_some() {
                self.mistake(path, || format!("duplicate entries for key {element}"));
                // Two items that cannot be told apart are owned as one.
                set.put(element, FieldSet::leaf());
                continue;
            }
            let mut below = match form {
                Form::Items(_, place) => {
                    let here = self.path(path, &element);
                    self.all(place, item, &here)
                }
                _ => FieldSet::default(),
            };
            below.here = true;
            set.put(element, below);
        }
        set
    }

    /// What stands where a scalar should must be one of its kind.
    fn check_whole(&mut self, place: Place, value: &Value, path: &str) {
        let wanted = match (place.shape(), value) {
            (_, Value::Null) => return,
            (Some(Shape::List(_)), Value::Array(_)) => return,
            (Some(Shape::List(_)), _) => "list",
            (Some(Shape::Struct(_) | Shape::Map(_)), Value::Object(_)) => return,
            (Some(Shape::Struct(_) | Shape::Map(_)), _) => "map",
            (Some(Shape::Scalar(Scalar::Any)), _) | (None, _) => return,
            (Some(Shape::Scalar(scalar)), value) => match (scalar, value) {
                (Scalar::String | Scalar::Bytes, Value::String(_)) => return,
                (Scalar::String | Scalar::Bytes, _) => "string",
                (Scalar::Int32 | Scalar::Int64 | Scalar::Number, Value::Number(_)) => return,
                (Scalar::Int32 | Scalar::Int64 | Scalar::Number, _) => "numeric (int or float)",
                (Scalar::Bool, Value::Bool(_)) => return,
                (Scalar::Bool, _) => "boolean",
                (_, Value::Array(_) | Value::Object(_)) => "scalar",
                _ => return,
            },
        };
        self.mistake(path, || format!("expected {wanted}, got {}", shown(value)));
    }
}

fn shown(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{value}}}")
}
