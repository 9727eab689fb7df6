//! What selectors look at, cut out of an object once when it is written: its name, its labels and the fields that the
//! table of resources offers to field selectors.

use serde_json::{Map, Value};

use crate::kinds::TABLE;
use crate::tree::at;

/// The outline of an object of the stored collection `collection`; has the object's own shape, so that selectors need
/// not know that it is not the object.
pub fn outline(collection: &str, object: &Value) -> Value {
    let mut outline = Value::Object(Map::new());
    for path in ["metadata.name", "metadata.namespace", "metadata.labels"] {
        copy(object, &mut outline, path);
    }
    for resource in TABLE.iter().filter(|resource| resource.backing.collection() == Some(collection)) {
        for field in resource.selectable {
            copy(object, &mut outline, field.path);
        }
    }
    // Collections of custom resources have their group in their name.
    if collection.contains('.') {
        scalars(object, &mut outline);
    }
    outline
}

/// Copies every scalar outside of lists and metadata: which of them selectors may name can change with the definition,
/// and the outlines of stored objects are not made anew then.
fn scalars(from: &Value, to: &mut Value) {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return };
    for (name, value) in from.iter().filter(|(name, _)| *name != "metadata") {
        match value {
            Value::Object(_) => {
                let mut below = Value::Object(Map::new());
                scalars(value, &mut below);
                if below.as_object().is_some_and(|it| !it.is_empty()) {
                    to.insert(name.clone(), below);
                }
            }
            Value::String(_) | Value::Bool(_) | Value::Number(_) => drop(to.insert(name.clone(), value.clone())),
            Value::Null | Value::Array(_) => {}
        }
    }
}

/// Copies the value at a dotted path, if there is one.
fn copy(from: &Value, to: &mut Value, path: &str) {
    let found = at(from, path);
    if found.is_null() {
        return;
    }
    let mut place = to;
    for step in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else { return };
        place = object.entry(step).or_insert(Value::Null);
    }
    *place = found.clone();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outline_has_what_selectors_may_ask_for_and_nothing_else() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "annotations": {"big": "one"}},
            "spec": {"nodeName": "lab", "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "conditions": []},
        });
        let expected = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}},
            "spec": {"nodeName": "lab"},
            "status": {"phase": "Running"},
        });
        assert_eq!(outline("pods", &pod), expected);
        assert_eq!(outline("configmaps", &json!({"data": {"a": "b"}})), json!({}));
    }
}
