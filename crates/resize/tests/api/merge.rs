//! The three patches, as far as the recorded cases need them: the server has its own, complete ones.

use serde_json::{Map, Value};

/// Lists of a pod that a strategic merge patch merges by an entry's name instead of replacing.
const BY_NAME: [&str; 3] = ["containers", "initContainers", "env"];

/// A strategic merge patch, with `$patch: replace` on objects and `$patch: delete` on entries.
pub fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() || patch.get("$patch").is_some_and(|it| it == "replace") {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch.iter().filter(|(key, _)| *key != "$patch") {
        match value {
            Value::Null => {
                fields.remove(key);
            }
            Value::Array(entries) if BY_NAME.contains(&key.as_str()) => {
                by_name(fields.entry(key).or_insert_with(|| Value::Array(Vec::new())), entries);
            }
            value => strategic(fields.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn by_name(target: &mut Value, entries: &[Value]) {
    let Value::Array(list) = target else { return };
    // New entries come first, as the reference puts them.
    let mut new = Vec::new();
    for entry in entries {
        let at = list.iter().position(|it| it["name"] == entry["name"]);
        match at {
            Some(at) if entry["$patch"] == "delete" => {
                list.remove(at);
            }
            Some(at) => strategic(&mut list[at], entry),
            None => new.push(entry.clone()),
        }
    }
    list.splice(0..0, new);
}

/// A JSON merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    json_patch::merge(target, patch);
}

/// A JSON patch; the error where an operation does not apply.
pub fn json(target: &mut Value, patch: &Value) -> Result<(), String> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|error| error.to_string())?;
    json_patch::patch(target, &patch).map_err(|error| error.to_string())
}
