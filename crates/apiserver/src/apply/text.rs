//! The record of a plain write on `managedFields` as they are stored: they are half of a small object, and the usual write
//! changes little of them. Entries that a write leaves alone go over as they are, and nothing is made into a tree.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::codec::Cover;
use super::compare::Comparison;
use super::managers::{MOST_UPDATERS, Writer};
use super::recall::{self, Left, Since, Stored};
use super::set::{Element, FieldSet};
use super::updater::{Edit, record};

/// [`record`] on JSON; `None`: nobody owns anything any more.
pub fn record_text(edit: Edit<'_>, changes: &Comparison, managed: &[u8]) -> serde_json::Result<Option<Vec<u8>>> {
    if changes.is_empty() {
        return Ok(Some(managed.to_vec()));
    }
    if let Some(stored) = std::str::from_utf8(managed).ok().and_then(recall::split)
        && let Some(list) = recall::lately(edit.by, changes, &stored, || recorded(edit.by, changes, &stored))
    {
        return Ok((!list.is_empty()).then(|| recall::join(&list, &stored, edit.now)));
    }
    let list = record(edit, changes, serde_json::from_slice::<Value>(managed)?);
    if list.is_null() { Ok(None) } else { serde_json::to_vec(&list).map(Some) }
}

/// An entry, its fields as they stand.
#[derive(Clone, Deserialize)]
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
    #[serde(borrow)]
    fields_type: Cow<'a, str>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: &'a RawValue,
}

impl Entry<'_> {
    fn is_of(&self, by: Writer<'_>) -> bool {
        self.manager == by.manager
            && self.operation == "Update"
            && self.api_version == by.api_version
            && self.subresource == by.subresource
    }

    /// What it is to become: with this text and from then on.
    fn left(self, text: String, since: Since) -> Left {
        let order = [self.operation, self.manager, self.api_version, self.subresource].map(|it| Box::from(&*it));
        Left { text: text.into(), order, since }
    }

    /// The entry with these fields, as it is stored, up to its time: members in the order of their names, empty ones left out.
    fn text(&self, fields: &str) -> String {
        let mut text = String::with_capacity(fields.len() + 160);
        let members = [
            ("apiVersion", &self.api_version, true),
            ("fieldsType", &self.fields_type, true),
            ("fieldsV1", &Cow::Borrowed(fields), false),
            ("manager", &self.manager, true),
            ("operation", &self.operation, true),
            ("subresource", &self.subresource, true),
        ];
        for (name, value, is_text) in members.into_iter().filter(|(_, value, _)| !value.is_empty()) {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&format!("\"{name}\":"));
            match is_text {
                true => text.push_str(&Value::from(&**value).to_string()),
                false => text.push_str(value),
            }
        }
        text
    }
}

/// The entries after a write that changed this, whatever their times are; `None` where the list is not as this server writes
/// it, or becomes too long.
fn recorded(by: Writer<'_>, changes: &Comparison, stored: &[Stored<'_>]) -> Option<Vec<Left>> {
    let written = changes.written();
    let mut list = Vec::with_capacity(stored.len() + 1);
    let mut is_own_there = false;
    for (at, Stored { whole, text, time }) in stored.iter().enumerate() {
        let entry: Entry<'_> = serde_json::from_str(whole).ok()?;
        if entry.fields_type != "FieldsV1" || !matches!(&*entry.operation, "Apply" | "Update") || entry.time != *time {
            return None;
        }
        let is_own = entry.is_of(by);
        is_own_there |= is_own;
        let keeps = covers(entry.fields, &changes.removed, Cover::None)
            && covers(entry.fields, &written, if is_own { Cover::All } else { Cover::None });
        let since = if is_own && !written.is_empty() { Since::Now } else { Since::Before(at) };
        if keeps {
            list.push(entry.left((*text).to_owned(), since));
            continue;
        }
        let mut fields = read(entry.fields)?.difference(&written).difference(&changes.removed);
        if is_own {
            fields.add(written.clone());
        }
        if !fields.is_empty() {
            let text = entry.text(&write(&fields));
            list.push(entry.left(text, since));
        }
    }
    if !is_own_there && !written.is_empty() {
        let Writer { manager, api_version, subresource } = by;
        let entry = Entry {
            manager: manager.into(),
            operation: "Update".into(),
            api_version: api_version.into(),
            subresource: subresource.into(),
            time: Cow::default(),
            fields_type: "FieldsV1".into(),
            fields: RawValue::NULL,
        };
        let text = entry.text(&write(&written));
        list.push(entry.left(text, Since::Now));
    }
    let updaters = list.iter().filter(|it| &*it.order[0] == "Update").count();
    (updaters <= MOST_UPDATERS).then_some(list)
}

/// `FieldsV1` of a set, as JSON.
fn write(set: &FieldSet) -> String {
    fn below(out: &mut String, set: &FieldSet, mark: bool) {
        out.push('{');
        if mark {
            out.push_str("\".\":{}");
        }
        for (element, inner) in set.below() {
            if !out.ends_with('{') {
                out.push(',');
            }
            out.push_str(&Value::from(element.wire()).to_string());
            out.push(':');
            // A leaf says by being there that it is a member.
            below(out, inner, inner.here && inner.below().next().is_some());
        }
        out.push('}');
    }
    let mut out = String::with_capacity(256);
    below(&mut out, set, false);
    out
}

/// The set that is written as this `FieldsV1`; `None` for what is none. That the object itself is a member says nothing, and
/// is not kept.
fn read(fields: &RawValue) -> Option<FieldSet> {
    let mut set = Fields.deserialize(&mut serde_json::Deserializer::from_str(fields.get())).ok()?;
    set.here = false;
    Some(set)
}

struct Fields;

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = FieldSet;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<FieldSet, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = FieldSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldSet, A::Error> {
        let mut set = FieldSet::default();
        while let Some(name) = map.next_key::<String>()? {
            let mut below = map.next_value_seed(Fields)?;
            if name == "." {
                set.here = true;
                continue;
            }
            below.here |= below.is_empty();
            set.put(Element::parse(&name).map_err(A::Error::custom)?, below);
        }
        Ok(set)
    }
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

struct Covered {
    /// What is below the path is covered as it should be.
    covers: bool,
    /// The path itself is a member.
    is_member: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Covered;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Covered, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Covered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the members of a set of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Covered, A::Error> {
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
        Ok(Covered { covers, is_member: is_empty || is_marked })
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

    #[test]
    fn fields_are_read_and_written_as_on_the_tree() {
        for text in [
            "{}",
            r#"{"f:a":{}}"#,
            r#"{"f:a":{".":{},"f:b":{}}}"#,
            r#"{"f:a":{"f:b":{},"k:{\"x\":1}":{".":{},"f:x":{}},"v:true":{}}}"#,
        ] {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            let set = read(&raw).unwrap();
            assert_eq!(set, decode(&serde_json::from_str(text).unwrap()).unwrap());
            assert_eq!(write(&set), text);
        }
        for wrong in ["1", r#"{"f:a":1}"#, r#"{"a":{}}"#] {
            assert!(read(&RawValue::from_string(wrong.to_owned()).unwrap()).is_none(), "{wrong}");
        }
    }

    /// On the tree and on the text, the same comes out.
    #[track_caller]
    fn check(manager: &str, removed: &str, modified: &str) {
        let entry = |manager: &str, operation: &str, time: &str, fields: Value| {
            json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
                   "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        let managed = json!([
            entry("z", "Apply", "2026-01-02T00:00:00Z", json!({"f:z": {}, "f:x": {"f:z": {}}})),
            entry("a\"", "Update", "2026-01-01T00:00:00Z", json!({"f:x": {"f:y": {}}})),
            entry(
                "b",
                "Update",
                "2026-01-02T00:00:00Z",
                json!({"f:z": {}, "f:l": {"k:{\"n\":1}": {".": {}, "f:q": {}}}})
            ),
        ]);
        let by = Writer { manager, api_version: "v1", subresource: "" };
        let edit = Edit { shape: None, by, scope: Scope::All, now: "2026-01-03T00:00:00Z" };
        let set = |text: &str| decode(&serde_json::from_str(text).unwrap()).unwrap();
        let changes = Comparison { removed: set(removed), modified: set(modified), ..Comparison::default() };
        let text = serde_json::to_vec(&managed).unwrap();
        let stored = recall::split(std::str::from_utf8(&text).unwrap()).unwrap();
        assert!(recorded(by, &changes, &stored).is_some());
        // Worked out, and then remembered.
        let [on_text, again] = [(); 2].map(|()| record_text(edit, &changes, &text).unwrap());
        assert_eq!(on_text, again);
        let on_tree = record(edit, &changes, managed);
        assert_eq!(on_text, (!on_tree.is_null()).then(|| serde_json::to_vec(&on_tree).unwrap()));
    }

    #[test]
    fn a_record_is_the_same_as_on_the_tree() {
        check("a\"", "{}", r#"{"f:x":{"f:y":{}}}"#);
        check("b", "{}", r#"{"f:z":{}}"#);
        check("b", "{}", r#"{"f:x":{"f:y":{}}}"#);
        check("b", r#"{"f:x":{"f:y":{}}}"#, r#"{"f:z":{}}"#);
        check("b", r#"{"f:l":{"k:{\"n\":1}":{"f:q":{}}}}"#, "{}");
        check("b", r#"{"f:l":{"k:{\"n\":1}":{".":{},"f:q":{}}}}"#, "{}");
        check("c", "{}", r#"{"f:z":{}}"#);
        check("c", r#"{"f:z":{}}"#, "{}");
        check("c", r#"{"f:z":{},"f:x":{"f:y":{},"f:z":{}},"f:l":{"k:{\"n\":1}":{".":{},"f:q":{}}}}"#, "{}");
        check("a\"", "{}", "{}");
    }

    #[test]
    fn where_too_many_write_the_oldest_are_merged_on_the_tree() {
        let entry = |number: usize| {
            json!({"manager": number.to_string(), "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                   "fieldsV1": {format!("f:{number}"): {}}})
        };
        let managed: Value = (0..MOST_UPDATERS).map(entry).collect();
        let by = Writer { manager: "one more", api_version: "v1", subresource: "" };
        let edit = Edit { shape: None, by, scope: Scope::All, now: "2026-01-03T00:00:00Z" };
        let set = decode(&json!({"f:x": {}})).unwrap();
        let changes = Comparison { added: set, ..Comparison::default() };
        let text = serde_json::to_vec(&managed).unwrap();
        let stored = recall::split(std::str::from_utf8(&text).unwrap()).unwrap();
        assert!(recorded(by, &changes, &stored).is_none());
        let on_tree = serde_json::to_vec(&record(edit, &changes, managed)).unwrap();
        assert_eq!(record_text(edit, &changes, &text).unwrap(), Some(on_tree));
    }
}
