//! The record of a plain write on `managedFields` as they are stored: they are half of a small object, and the usual write
//! changes one time in them. Nothing is made into a tree that need not be.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::codec::Cover;
use super::compare::Comparison;
use super::set::FieldSet;
use super::updater::{Edit, record};

/// [`record`] on JSON.
pub fn record_text(edit: Edit<'_>, changes: &Comparison, managed: &[u8]) -> serde_json::Result<Vec<u8>> {
    if changes.is_empty() {
        return Ok(managed.to_vec());
    }
    if let Some(steady) = steady(edit, changes, managed) {
        return Ok(steady);
    }
    let managed: Value = serde_json::from_slice(managed)?;
    serde_json::to_vec(&record(edit, changes, managed))
}

/// An entry, its fields as they stand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    manager: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: &'a RawValue,
}

impl Entry<'_> {
    fn order(&self) -> [&str; 5] {
        [&self.operation, &self.time, &self.manager, &self.api_version, &self.subresource]
    }
}

/// The list after a write of what its writer owns already, and nobody else: only the time is another.
fn steady(edit: Edit<'_>, changes: &Comparison, managed: &[u8]) -> Option<Vec<u8>> {
    let texts: Vec<&RawValue> = serde_json::from_slice(managed).ok()?;
    let entries: Vec<Entry<'_>> =
        texts.iter().map(|it| serde_json::from_str(it.get())).collect::<Result<_, _>>().ok()?;
    let by = edit.by;
    let is_own = |it: &Entry<'_>| {
        it.manager == by.manager
            && it.operation == "Update"
            && it.api_version == by.api_version
            && it.subresource == by.subresource
    };
    let own = entries.iter().position(is_own)?;
    let written = [&changes.added, &changes.modified];
    if written.iter().all(|it| it.is_empty()) {
        return None;
    }
    let fits = entries.iter().enumerate().all(|(at, entry)| {
        let wanted = if at == own { Cover::All } else { Cover::None };
        covers(entry.fields, &changes.removed, Cover::None)
            && written.iter().all(|set| covers(entry.fields, set, wanted))
    });
    if !fits {
        return None;
    }
    let mut list: Vec<([&str; 5], Cow<'_, str>)> =
        entries.iter().zip(&texts).map(|(entry, text)| (entry.order(), Cow::Borrowed(text.get()))).collect();
    let (order, text) = &mut list[own];
    if order[1] != edit.now {
        // The time stands last: members are stored in the order of their names.
        let before = text.strip_suffix(&format!("\"time\":\"{}\"}}", order[1]))?;
        *text = Cow::Owned(format!("{before}\"time\":\"{}\"}}", edit.now));
        order[1] = edit.now;
        list.sort_by_key(|(order, _)| *order);
    }
    let texts: Vec<&str> = list.iter().map(|(_, text)| &**text).collect();
    Some(format!("[{}]", texts.join(",")).into_bytes())
}

/// [`super::codec::covers`] on JSON; what cannot be read does not cover anything.
fn covers(fields: &RawValue, set: &FieldSet, wanted: Cover) -> bool {
    if set.is_empty() {
        return true;
    }
    let mut reader = serde_json::Deserializer::from_str(fields.get());
    Members { set, wanted }.deserialize(&mut reader).is_ok_and(|it| it.covers)
}

/// What is read off the members below a path.
struct Members<'a> {
    set: &'a FieldSet,
    wanted: Cover,
}

struct Read {
    /// What is below the path is covered as it should be.
    covers: bool,
    /// The path itself is a member.
    is_member: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Read, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the members of a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let Self { set, wanted } = self;
        let (mut covers, mut found, mut is_empty, mut is_marked) = (true, 0, true, false);
        while let Some(name) = map.next_key_seed(Name(set))? {
            is_empty = false;
            match name {
                Found::Mark => is_marked = true,
                Found::Below(below) => {
                    found += 1;
                    let inner = map.next_value_seed(Members { set: below, wanted })?;
                    let here = !below.here || inner.is_member == (wanted == Cover::All);
                    covers &= here && inner.covers;
                    continue;
                }
                Found::Other => {}
            }
            map.next_value::<IgnoredAny>()?;
        }
        covers &= wanted == Cover::None || found == set.below().count();
        Ok(Read { covers, is_member: is_empty || is_marked })
    }
}

/// A name in a set of fields, and what is looked for below it.
struct Name<'a>(&'a FieldSet);

enum Found<'a> {
    Mark,
    Below(&'a FieldSet),
    Other,
}

impl<'de, 'a> DeserializeSeed<'de> for Name<'a> {
    type Value = Found<'a>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Found<'a>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Name<'a> {
    type Value = Found<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path element")
    }

    fn visit_str<E>(self, name: &str) -> Result<Found<'a>, E> {
        Ok(match (name, self.0.named(name)) {
            (".", _) => Found::Mark,
            (_, Some(below)) => Found::Below(below),
            (_, None) => Found::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::codec::{self, decode};
    use super::super::managers::Writer;
    use super::super::scope::Scope;
    use super::*;

    #[test]
    fn coverage_is_the_same_as_on_the_tree() {
        let sets = [
            r#"{"f:a":{"f:b":{}}}"#,
            r#"{"f:a":{}}"#,
            r#"{"f:a":{".":{},"f:b":{}}}"#,
            r#"{"f:a":{},"f:b":{}}"#,
            r#"{"f:l":{"k:{\"name\":\"x\"}":{"f:c":{}}}}"#,
            r#"{"f:l":{"k:{\"name\":\"x\"}":{}}}"#,
            "{}",
        ];
        for fields in sets {
            let value: Value = serde_json::from_str(fields).unwrap();
            let raw = RawValue::from_string(fields.to_owned()).unwrap();
            for set in sets {
                let set = decode(&serde_json::from_str(set).unwrap()).unwrap();
                for wanted in [Cover::All, Cover::None] {
                    assert_eq!(covers(&raw, &set, wanted), codec::covers(&value, &set, wanted), "{fields} {set:?}");
                }
            }
        }
    }

    /// On the tree and on the text, the same comes out.
    #[track_caller]
    fn check(manager: &str, removed: &str, modified: &str, is_steady: bool) {
        let entry = |manager: &str, time: &str, fields: Value| {
            json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": time,
                   "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        let managed = json!([
            entry("a", "2026-01-01T00:00:00Z", json!({"f:x": {"f:y": {}}})),
            entry("b", "2026-01-02T00:00:00Z", json!({"f:z": {}})),
        ]);
        let by = Writer { manager, api_version: "v1", subresource: "" };
        let edit = Edit { shape: None, by, scope: Scope::All, now: "2026-01-03T00:00:00Z" };
        let set = |text: &str| decode(&serde_json::from_str(text).unwrap()).unwrap();
        let changes = Comparison { removed: set(removed), modified: set(modified), ..Comparison::default() };
        let text = serde_json::to_vec(&managed).unwrap();
        assert_eq!(steady(edit, &changes, &text).is_some(), is_steady);
        let recorded = record_text(edit, &changes, &text).unwrap();
        assert_eq!(recorded, serde_json::to_vec(&record(edit, &changes, managed)).unwrap());
    }

    #[test]
    fn a_record_is_the_same_as_on_the_tree() {
        check("a", "{}", r#"{"f:x":{"f:y":{}}}"#, true);
        check("b", "{}", r#"{"f:z":{}}"#, true);
        check("b", "{}", r#"{"f:x":{"f:y":{}}}"#, false);
        check("b", r#"{"f:x":{"f:y":{}}}"#, r#"{"f:z":{}}"#, false);
        check("c", "{}", r#"{"f:z":{}}"#, false);
        check("a", "{}", "{}", false);
    }
}
