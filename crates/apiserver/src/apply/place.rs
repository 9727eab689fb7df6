//! How ownership looks at a value: which parts of it are owned apart and which only as a whole. Driven by the
//! [schema](crate::schema); what has no schema is looked at as JSON is (objects part by part, lists as a whole).

use serde_json::{Map, Value};

use super::set::Element;
use crate::schema::ownership::{Ownership, key_default};
use crate::schema::{Shape, ShapeId, Struct, types};

/// A value's place in the schema.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    shape: Option<ShapeId>,
    ownership: Ownership,
}

/// What the parts of a value at a place are.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Owned as a whole: a scalar, or marked so.
    Whole,
    /// Fields known by name.
    Fields(&'static Struct),
    /// Any keys, all values at the same place.
    Keys(Place),
    /// Items told apart by these fields.
    Items(&'static [&'static str], Place),
    /// Plain values, each owned apart.
    Set,
}

impl Place {
    /// An object of this type; `None` if there is no schema.
    pub const fn root(shape: Option<ShapeId>) -> Self {
        Self { shape, ownership: Ownership::Default }
    }

    /// What the parts of `value` are here.
    pub fn form(self, value: &Value) -> Form {
        let Some(shape) = self.shape else {
            return if value.is_object() { Form::Keys(self) } else { Form::Whole };
        };
        if self.ownership == Ownership::Whole {
            return Form::Whole;
        }
        match types().get(shape) {
            Shape::Struct(of) if crate::schema::ownership::is_whole(&of.name) => Form::Whole,
            Shape::Struct(of) => Form::Fields(of),
            Shape::Map(of) => Form::Keys(Self::root(Some(*of))),
            Shape::List(of) => match self.ownership {
                Ownership::Items(keys) => Form::Items(keys, Self::root(Some(*of))),
                Ownership::Set => Form::Set,
                Ownership::Default | Ownership::Whole => Form::Whole,
            },
            Shape::Scalar(_) => Form::Whole,
        }
    }

    /// The shape here, for texts about wrong types.
    pub fn shape(self) -> Option<&'static Shape> {
        self.shape.map(|id| types().get(id))
    }
}

impl Form {
    /// The place of a field or key of an object of this form; `None` for a field its type does not have.
    pub fn of(self, name: &str) -> Option<Place> {
        match self {
            Self::Fields(of) => match of.fields.get(name) {
                Some(field) => Some(Place { shape: Some(field.shape), ownership: field.ownership }),
                None => of.open.then(|| Place::root(None)),
            },
            Self::Keys(place) => Some(place),
            Self::Whole | Self::Items(..) | Self::Set => None,
        }
    }

    /// Whether `name` is a field by its type rather than the key of a map: then an object that has it owns only what
    /// is below it.
    pub fn is_named(self, name: &str) -> bool {
        matches!(self, Self::Fields(of) if of.fields.contains_key(name))
    }
}

/// What tells an item of a list apart from the others; the missing field otherwise.
///
/// # Errors
/// The name of a key that the item lacks.
pub fn item_element(item: &Value, keys: &'static [&'static str]) -> Result<Element, &'static str> {
    let mut found = Map::new();
    for key in keys {
        let value = match item.get(*key).filter(|it| !it.is_null()) {
            Some(value) => value.clone(),
            None => key_default(key).ok_or(*key)?.into(),
        };
        found.insert((*key).to_owned(), value);
    }
    Ok(Element::keys(&found))
}

/// The elements of a list's items, in order; `None` where an item cannot be told apart (it lacks a key, or another item
/// has the same ones), so that the list is owned as a whole.
pub fn elements(items: &[Value], form: Form) -> Option<Vec<Element>> {
    let elements: Vec<Element> = match form {
        Form::Items(keys, _) => items.iter().map(|item| item_element(item, keys).ok()).collect::<Option<_>>()?,
        Form::Set => items.iter().map(Element::value).collect(),
        Form::Whole | Form::Fields(_) | Form::Keys(_) => return None,
    };
    let mut seen = std::collections::HashSet::with_capacity(elements.len());
    elements.iter().all(|element| seen.insert(element)).then_some(elements)
}
