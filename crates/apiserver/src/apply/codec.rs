//! `FieldsV1`: a set of fields as JSON. A member without anything below it is `{}`; one with something below it says so
//! with `"."`.

use serde_json::{Map, Value};

use super::set::{Element, ElementError, FieldSet};

/// The set as `FieldsV1`.
pub fn encode(set: &FieldSet) -> Value {
    encode_below(set, false)
}

fn encode_below(set: &FieldSet, mark: bool) -> Value {
    let mut fields = Map::new();
    for (element, below) in set.below() {
        // A leaf says by being there that it is a member.
        let inner = below.below().next().is_some();
        fields.insert(element.wire().to_owned(), encode_below(below, below.here && inner));
    }
    if mark {
        fields.insert(".".to_owned(), Value::Object(Map::new()));
    }
    Value::Object(fields)
}

/// Reads `FieldsV1`. That the object itself is a member says nothing, and is not kept.
///
/// # Errors
/// [`ElementError`] for a name that is no path element.
pub fn decode(fields: &Value) -> Result<FieldSet, ElementError> {
    let mut set = decode_below(fields)?;
    set.here = false;
    Ok(set)
}

fn decode_below(fields: &Value) -> Result<FieldSet, ElementError> {
    let mut set = FieldSet::default();
    let Value::Object(entries) = fields else { return Err(ElementError(fields.to_string())) };
    for (name, below) in entries {
        if name == "." {
            set.here = true;
            continue;
        }
        let mut below = decode_below(below)?;
        if below.is_empty() {
            below.here = true;
        }
        set.put(Element::parse(name)?, below);
    }
    Ok(set)
}

/// Whether the member at `wire` names, read off the JSON itself, covers all of `set` ([`Cover::All`]) or none of it:
/// asked for every entry at every write, so that an entry is only decoded when a write changes it.
pub fn covers(fields: &Value, set: &FieldSet, wanted: Cover) -> bool {
    let Some(entries) = fields.as_object() else { return set.is_empty() || wanted == Cover::None };
    set.below().all(|(element, below)| match entries.get(element.wire()) {
        Some(found) => {
            let member = found.as_object().is_some_and(|it| it.is_empty() || it.contains_key("."));
            let here = match wanted {
                Cover::All => !below.here || member,
                Cover::None => !below.here || !member,
            };
            here && covers(found, below, wanted)
        }
        None => wanted == Cover::None,
    })
}

/// What [`covers`] is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Every member of the set is there.
    All,
    /// No member of the set is there.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for text in [
            "{}",
            r#"{"f:a":{}}"#,
            r#"{"f:a":{".":{},"f:b":{}}}"#,
            r#"{"f:a":{"f:b":{},"k:{\"x\":1}":{".":{},"f:x":{}},"v:true":{}}}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(encode(&decode(&value).unwrap()), value);
        }
        // A number of so many digits becomes the nearest there is, and stays that.
        let long = format!(r#"{{"v:-28{0}.{0}":{{}}}}"#, "5".repeat(31));
        let set = decode(&serde_json::from_str(&long).unwrap()).unwrap();
        assert_eq!(decode(&encode(&set)).unwrap(), set);
        let root: Value = serde_json::from_str(r#"{".":{},"f:a":{}}"#).unwrap();
        assert_eq!(encode(&decode(&root).unwrap()).to_string(), r#"{"f:a":{}}"#);
        for wrong in ["1", r#"{"f:a":1}"#, r#"{"a":{}}"#] {
            assert!(decode(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn coverage_is_read_off_the_json() {
        #[track_caller]
        fn check(fields: &str, set: &str, all: bool, none: bool) {
            let fields: Value = serde_json::from_str(fields).unwrap();
            let set = decode(&serde_json::from_str(set).unwrap()).unwrap();
            assert_eq!((covers(&fields, &set, Cover::All), covers(&fields, &set, Cover::None)), (all, none));
            let there = decode(&fields).unwrap();
            assert_eq!(all, set.difference(&there).is_empty());
            assert_eq!(none, set.intersection(&there).is_empty());
        }
        check(r#"{"f:a":{"f:b":{}}}"#, r#"{"f:a":{"f:b":{}}}"#, true, false);
        check(r#"{"f:a":{"f:b":{}}}"#, r#"{"f:a":{}}"#, false, true);
        check(r#"{"f:a":{".":{},"f:b":{}}}"#, r#"{"f:a":{}}"#, true, false);
        check(r#"{"f:a":{}}"#, r#"{"f:a":{"f:b":{}}}"#, false, true);
        check(r#"{"f:a":{}}"#, r#"{"f:a":{},"f:b":{}}"#, false, false);
        check(r#"{"f:a":{}}"#, "{}", true, true);
    }
}
