//! The type of a custom resource in a document: the schema of its definition, with the fields that every object has.

use serde_json::{Value, json};

/// The type of `metadata`.
pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The schema of a definition as documents have it.
pub(super) fn schema(source: &Value) -> Value {
    let mut schema = source.clone();
    if !schema.is_object() {
        schema = json!({"type": "object"});
    }
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let metadata = super::schemas::reference(OBJECT_META);
    for (name, described) in [
        ("apiVersion", "APIVersion defines the versioned schema of this representation of an object."),
        ("kind", "Kind is a string value representing the REST resource this object represents."),
    ] {
        schema["properties"][name] = json!({"type": "string", "description": described});
    }
    schema["properties"]["metadata"] = json!({"description": "Standard object's metadata.", "allOf": [metadata]});
    embedded(&mut schema, 0);
    schema
}

/// Objects within the object have metadata too.
fn embedded(schema: &mut Value, depth: usize) {
    if depth > crate::custom::schema::MAX_DEPTH {
        return;
    }
    if schema.get("x-kubernetes-embedded-resource").is_some_and(|it| it == true) {
        schema["properties"]["metadata"] = super::schemas::reference(OBJECT_META);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|it| embedded(it, depth + 1));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner).filter(|it| it.is_object()) {
            embedded(inner, depth + 1);
        }
    }
}
