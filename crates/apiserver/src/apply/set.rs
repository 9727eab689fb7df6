//! Sets of fields, as tries: which fields of an object somebody owns. A path is a row of [`Element`]s; the names of
//! elements are those of the wire (`f:name`, `k:{"name":"c1"}`, `v:"x"`), so that a set and its `FieldsV1` have the
//! same form.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path: a field of an object, an item of a list by its keys, an item of a set by its value, or an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element(Box<str>);

/// A step that is written as none of the four kinds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path element: write f:<field>, k:<keys as JSON>, v:<value as JSON> or i:<index>")]
pub struct ElementError(pub String);

impl Element {
    /// A field of an object or a key of a map.
    pub fn field(name: &str) -> Self {
        Self(["f:", name].concat().into_boxed_str())
    }

    /// The item of a list with these keys.
    pub fn keys(keys: &Map<String, Value>) -> Self {
        let text = serde_json::to_string(keys).expect("a JSON object is written to memory");
        Self(["k:", &text].concat().into_boxed_str())
    }

    /// The item of a set that is this value.
    pub fn value(value: &Value) -> Self {
        Self(format!("v:{value}").into_boxed_str())
    }

    /// The element as `FieldsV1` writes it.
    pub fn wire(&self) -> &str {
        &self.0
    }

    /// Reads an element, which may have been written by somebody else: JSON in it is brought into our own form.
    ///
    /// # Errors
    /// [`ElementError`] for what is of none of the four kinds.
    pub fn parse(wire: &str) -> Result<Self, ElementError> {
        let wrong = || ElementError(wire.to_owned());
        let (kind, rest) = wire.split_once(':').ok_or_else(wrong)?;
        match kind {
            "f" => Ok(Self(wire.into())),
            "k" => match serde_json::from_str(rest) {
                Ok(Value::Object(keys)) if !keys.is_empty() => Ok(Self::keys(&keys)),
                _ => Err(wrong()),
            },
            "v" => serde_json::from_str(rest).map(|value| Self::value(&value)).map_err(|_| wrong()),
            "i" => rest.parse::<i64>().map(|index| Self(format!("i:{index}").into_boxed_str())).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// The name, if this is a field of an object or a key of a map.
    pub fn as_field(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }
}

impl std::borrow::Borrow<str> for Element {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// As the reference's messages write it: `.spec`, `[name="c1"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, rest) = self.0.split_once(':').unwrap_or(("f", &self.0));
        match kind {
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
            "v" => write!(f, "[={rest}]"),
            "i" => write!(f, "[{rest}]"),
            _ => write!(f, ".{rest}"),
        }
    }
}

/// A set of paths. No part of it is empty: a subtree exists only if something in it is a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSet {
    /// Whether the path that leads here is a member.
    pub here: bool,
    below: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    /// The set of the path that leads to it, alone.
    pub fn leaf() -> Self {
        Self { here: true, below: BTreeMap::new() }
    }

    /// Whether nothing is a member.
    pub fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// The elements that lead on, in order, with what is below each.
    pub fn below(&self) -> impl Iterator<Item = (&Element, &Self)> {
        self.below.iter()
    }

    /// What is below one element.
    pub fn at(&self, element: &Element) -> Option<&Self> {
        self.below.get(element)
    }

    /// What is below the element of this name on the wire.
    pub fn named(&self, wire: &str) -> Option<&Self> {
        self.below.get(wire)
    }

    /// Adds what is below one element; nothing where that is empty.
    pub fn put(&mut self, element: Element, set: Self) {
        if set.is_empty() {
            return;
        }
        match self.below.entry(element) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(set);
            }
            std::collections::btree_map::Entry::Occupied(mut there) => there.get_mut().add(set),
        }
    }

    /// Adds the members of `other`.
    pub fn add(&mut self, other: Self) {
        self.here |= other.here;
        for (element, set) in other.below {
            self.put(element, set);
        }
    }

    /// The members of either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other.clone());
        self
    }

    /// The members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { here: self.here && other.here, below: BTreeMap::new() };
        for (element, set) in &self.below {
            if let Some(theirs) = other.below.get(element) {
                both.put(element.clone(), set.intersection(theirs));
            }
        }
        both
    }

    /// The members that `other` has not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = Self { here: self.here && !other.here, below: BTreeMap::new() };
        for (element, set) in &self.below {
            let left = match other.below.get(element) {
                Some(theirs) => set.difference(theirs),
                None => set.clone(),
            };
            rest.put(element.clone(), left);
        }
        rest
    }

    /// The set with every element of the shape that `keep` names (by its path from here) and without the others.
    #[must_use]
    pub fn filtered(&self, keep: &impl Fn(&[&Element]) -> bool) -> Self {
        fn walk<'a>(set: &'a FieldSet, path: &mut Vec<&'a Element>, keep: &impl Fn(&[&Element]) -> bool) -> FieldSet {
            let mut kept = FieldSet { here: set.here, below: BTreeMap::new() };
            for (element, below) in &set.below {
                path.push(element);
                if keep(path) {
                    kept.put(element.clone(), walk(below, path, keep));
                }
                path.pop();
            }
            kept
        }
        walk(self, &mut Vec::new(), keep)
    }

    /// Every member as the reference's messages write paths: members of one object before what is below them.
    pub fn paths(&self) -> Vec<String> {
        fn walk(set: &FieldSet, path: &str, found: &mut Vec<String>) {
            found.extend(set.below.iter().filter(|(_, it)| it.here).map(|(element, _)| format!("{path}{element}")));
            for (element, below) in &set.below {
                walk(below, &format!("{path}{element}"), found);
            }
        }
        let mut found = Vec::new();
        walk(self, "", &mut found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::codec;

    fn set(fields: &str) -> FieldSet {
        codec::decode(&serde_json::from_str(fields).unwrap()).unwrap()
    }

    #[test]
    fn algebra() {
        #[track_caller]
        fn check(found: &FieldSet, expected: &str) {
            assert_eq!(codec::encode(found).to_string(), expected);
        }
        let a = set(r#"{"f:a":{},"f:b":{".":{},"f:c":{}}}"#);
        let b = set(r#"{"f:b":{"f:c":{},"f:d":{}}}"#);
        check(&a.clone().union(&b), r#"{"f:a":{},"f:b":{".":{},"f:c":{},"f:d":{}}}"#);
        check(&a.intersection(&b), r#"{"f:b":{"f:c":{}}}"#);
        check(&a.difference(&b), r#"{"f:a":{},"f:b":{}}"#);
        check(&b.difference(&a), r#"{"f:b":{"f:d":{}}}"#);
        check(&a.difference(&a), "{}");
        assert!(a.difference(&a).is_empty());
        check(&a.filtered(&|path| path.last().unwrap().wire() != "f:c"), r#"{"f:a":{},"f:b":{}}"#);
    }

    #[test]
    fn paths_read_like_the_reference_writes_them() {
        let set = set(
            r#"{"f:spec":{"f:containers":{"k:{\"name\":\"c1\"}":{".":{},"f:ports":{"k:{\"protocol\":\"TCP\",\"containerPort\":80}":{".":{}}}}},"f:x":{}},
                "f:metadata":{"f:finalizers":{"v:\"a/b\"":{},"i:3":{}}}}"#,
        );
        let expected = [
            ".metadata.finalizers[3]",
            ".metadata.finalizers[=\"a/b\"]",
            ".spec.x",
            ".spec.containers[name=\"c1\"]",
            ".spec.containers[name=\"c1\"].ports[containerPort=80,protocol=\"TCP\"]",
        ];
        assert_eq!(set.paths(), expected);
    }

    #[test]
    fn elements_of_others() {
        for wrong in ["", "x", "x:y", "k:[]", "k:{}", "k:", "v:", "i:a"] {
            assert_eq!(Element::parse(wrong), Err(ElementError(wrong.to_owned())));
        }
        assert_eq!(Element::parse("k:{ \"b\": 1, \"a\": \"x\" }").unwrap().wire(), "k:{\"a\":\"x\",\"b\":1}");
        assert_eq!(Element::parse("f:a:b").unwrap(), Element::field("a:b"));
    }
}
