//! An object without some of its fields, and a set of fields made whole for that purpose.

use serde_json::{Map, Value};

use super::place::{Form, Place, elements};
use super::set::{Element, FieldSet};

/// `value`, at `place`, without the members of `gone` and what is below them. What loses all its parts becomes null.
pub fn without(place: Place, value: &Value, gone: &FieldSet) -> Value {
    if gone.is_empty() {
        return value.clone();
    }
    let form = place.form(value);
    match (form, value) {
        (Form::Fields(_) | Form::Keys(_), Value::Object(fields)) => {
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let left = match (gone.at(&Element::field(name)), form.of(name)) {
                        (Some(below), _) if below.here => return None,
                        (Some(below), Some(place)) => without(place, value, below),
                        _ => value.clone(),
                    };
                    Some((name.clone(), left))
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Form::Items(..) | Form::Set, Value::Array(items)) => {
            let Some(elements) = elements(items, form) else { return value.clone() };
            let kept: Vec<Value> = elements
                .iter()
                .zip(items)
                .filter_map(|(element, item)| match (gone.at(element), form) {
                    (Some(below), _) if below.here => None,
                    (Some(below), Form::Items(_, place)) => Some(without(place, item, below)),
                    _ => Some(item.clone()),
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        // Of what is owned as a whole, no part can go.
        _ => value.clone(),
    }
}

/// The set with every field by name that leads to a member as a member too: such a field is never owned for itself (only
/// what is below it is), but it goes with the last of what is below it.
pub fn with_named(place: Place, set: &FieldSet, value: &Value) -> FieldSet {
    let form = place.form(value);
    let mut whole = if set.here { FieldSet::leaf() } else { FieldSet::default() };
    for (element, below) in set.below() {
        let (mut below, named) = match (element.as_field(), form) {
            (Some(name), Form::Fields(_) | Form::Keys(_)) => {
                let inner = value.get(name).unwrap_or(&Value::Null);
                let below = form.of(name).map_or_else(|| below.clone(), |place| with_named(place, below, inner));
                (below, form.is_named(name))
            }
            (_, Form::Items(_, place)) => (with_named(place, below, &Value::Null), false),
            _ => (below.clone(), false),
        };
        below.here |= named;
        whole.put(element.clone(), below);
    }
    whole
}
