//! What changed between two objects, as sets of fields: the part of a write that ownership depends on. Equal parts cost
//! a look at each leaf and no allocation.

use serde_json::{Map, Value};

use super::place::{Form, Place, elements};
use super::set::{Element, FieldSet};

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// Fields that are there now.
    pub added: FieldSet,
    /// Fields whose value is another.
    pub modified: FieldSet,
    /// Fields that are gone.
    pub removed: FieldSet,
}

impl Comparison {
    /// From `old` to `new`, objects at `place`.
    pub fn of(place: Place, old: &Value, new: &Value) -> Self {
        let mut found = Self::default();
        found.parts(place, Some(old), Some(new));
        found
    }

    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Fields that are there now or have another value.
    pub fn written(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }

    /// What was asked for and then what came of it: a field that came to be there is not gone, whatever was asked.
    #[must_use]
    pub fn then(mut self, outcome: Self) -> Self {
        self.added.add(outcome.added);
        self.modified.add(outcome.modified);
        self.removed.add(outcome.removed);
        self.removed = self.removed.difference(&self.added).difference(&self.modified);
        self
    }

    fn put(&mut self, element: impl Fn() -> Element, inner: Self) {
        for (all, part) in
            [(&mut self.added, inner.added), (&mut self.modified, inner.modified), (&mut self.removed, inner.removed)]
        {
            if !part.is_empty() {
                all.put(element(), part);
            }
        }
    }

    fn whole(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.added.here = true,
            (Some(_), None) => self.removed.here = true,
            (Some(old), Some(new)) if old != new => self.modified.here = true,
            _ => {}
        }
    }

    /// The path to `old` and `new` itself, and what is below it.
    fn parts(&mut self, place: Place, old: Option<&Value>, new: Option<&Value>) {
        // Nearly everything: that it is the same is seen without a look at what its type says of it.
        if old == new {
            return;
        }
        let Some(one) = new.filter(|it| !it.is_null()).or(old) else { return self.whole(old, new) };
        let form = place.form(one);
        let done = match form {
            Form::Whole => false,
            Form::Fields(_) | Form::Keys(_) => self.objects(form, old, new),
            Form::Items(..) | Form::Set => self.lists(form, old, new),
        };
        if !done {
            return self.whole(old, new);
        }
        match (old, new) {
            (None, Some(_)) => self.added.here = true,
            (Some(_), None) => self.removed.here = true,
            _ => {}
        }
    }

    /// `false`: these are to be compared as a whole (both are empty, or one of them is no object).
    fn objects(&mut self, form: Form, old: Option<&Value>, new: Option<&Value>) -> bool {
        let (Some(old), Some(new)) = (fields(old), fields(new)) else { return false };
        if old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
            return false;
        }
        let mut one = |name: &str, old: Option<&Value>, new: Option<&Value>| {
            let mut inner = Self::default();
            match form.of(name) {
                Some(place) => inner.parts(place, old, new),
                None => inner.whole(old, new),
            }
            self.put(|| Element::field(name), inner);
        };
        for (name, value) in new.into_iter().flatten() {
            one(name, old.and_then(|it| it.get(name)), Some(value));
        }
        for (name, value) in old.into_iter().flatten() {
            if !new.is_some_and(|it| it.contains_key(name)) {
                one(name, Some(value), None);
            }
        }
        true
    }

    /// As [`Self::objects`]; also `false` where items cannot be told apart.
    fn lists(&mut self, form: Form, old: Option<&Value>, new: Option<&Value>) -> bool {
        let (Some(old), Some(new)) = (items(old), items(new)) else { return false };
        if old.is_empty() && new.is_empty() {
            return false;
        }
        if old == new {
            return true;
        }
        let (Some(old_elements), Some(new_elements)) = (elements(old, form), elements(new, form)) else { return false };
        let place = match form {
            Form::Items(_, place) => Some(place),
            _ => None,
        };
        let mut one = |element: &Element, old: Option<&Value>, new: Option<&Value>| {
            let mut inner = Self::default();
            match place {
                Some(place) => inner.parts(place, old, new),
                None => inner.whole(old, new),
            }
            self.put(|| element.clone(), inner);
        };
        let old_at: std::collections::HashMap<&Element, &Value> = old_elements.iter().zip(old).collect();
        for (element, value) in new_elements.iter().zip(new) {
            one(element, old_at.get(element).copied(), Some(value));
        }
        let new_has: std::collections::HashSet<&Element> = new_elements.iter().collect();
        for (element, value) in old_elements.iter().zip(old) {
            if !new_has.contains(element) {
                one(element, Some(value), None);
            }
        }
        true
    }
}

/// The fields of an object; absent and null have none. The outer `None`: it is no object.
#[allow(clippy::option_option, reason = "no object and no fields are different answers")]
fn fields(value: Option<&Value>) -> Option<Option<&Map<String, Value>>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(Value::Object(fields)) => Some(Some(fields)),
        Some(_) => None,
    }
}

/// The items of a list; absent and null have none. `None`: it is no list.
fn items(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None | Some(Value::Null) => Some(&[]),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}
