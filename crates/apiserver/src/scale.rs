//! The Scale of an object: how many replicas it has and is to have, seen the same way whatever the kind. Pure: what stands
//! where is said by [`ScalePaths`], so that kinds that others define are scaled as ours are.

use serde_json::{Map, Value, json};

use crate::kinds::ScalePaths;
use crate::metadata::fields;
use crate::selector::LabelSelector;
use crate::tree::{at, number, text};

/// What a Scale owns of itself, as `FieldsV1`.
const OWN: &str = "/f:spec/f:replicas";

/// The Scale that `object` is seen as.
pub fn of(paths: ScalePaths, object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.get("metadata").and_then(|it| it.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    // Zero is no field: so Go writes it.
    let mut spec = Map::new();
    let replicas = number(object, paths.replicas);
    if replicas != 0 {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    let mut status = json!({"replicas": number(object, paths.status_replicas)});
    let selector = paths.selector.map_or_else(String::new, |path| match at(object, path) {
        Value::String(text) => text.clone(),
        selector => LabelSelector::of(selector).map(|it| it.to_string()).unwrap_or_default(),
    });
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// The object with the replicas and on the revision that `scale` says.
#[must_use]
pub fn put(paths: ScalePaths, mut object: Value, scale: &Value) -> Value {
    let mut place = &mut object;
    for step in paths.replicas.split('.') {
        place = fields(place).entry(step).or_insert(Value::Null);
    }
    *place = number(scale, "spec.replicas").into();
    let revision = text(scale, "metadata.resourceVersion");
    let metadata = fields(fields(&mut object).entry("metadata").or_insert(Value::Null));
    metadata.insert("resourceVersion".to_owned(), revision.into());
    object
}

/// Of the `managedFields` of an object, what is about its scale, in the terms of a Scale.
pub fn owners(paths: ScalePaths, managed: &Value) -> Value {
    let pointer = pointer(paths);
    let entries = managed.as_array().into_iter().flatten().filter(|it| owned(it, &pointer));
    let of_scale = entries.map(|entry| {
        let mut entry = entry.clone();
        entry["apiVersion"] = "autoscaling/v1".into();
        entry["fieldsV1"] = json!({"f:spec": {"f:replicas": {}}});
        entry
    });
    of_scale.collect()
}

/// The `managedFields` of an object after its Scale came to have the owners `of_scale`.
pub fn owned_by(paths: ScalePaths, managed: &Value, of_scale: &Value, api_version: &str) -> Value {
    let pointer = pointer(paths);
    let same = |a: &Value, b: &Value| {
        ["manager", "operation", "subresource"].iter().all(|field| text(a, field) == text(b, field))
    };
    let mut wanted: Vec<&Value> = of_scale.as_array().into_iter().flatten().filter(|it| owned(it, OWN)).collect();
    let mut entries = managed.as_array().cloned().unwrap_or_default();
    for entry in &mut entries {
        match wanted.iter().position(|it| same(it, entry)) {
            Some(index) => {
                let scale = wanted.remove(index);
                entry["time"] = scale.get("time").cloned().unwrap_or_default();
                own(entry, &pointer);
            }
            None => disown(entry, &pointer),
        }
    }
    entries.retain(|it| at(it, "fieldsV1").as_object().is_some_and(|it| !it.is_empty()));
    entries.extend(wanted.into_iter().map(|scale| {
        let mut entry = scale.clone();
        entry["apiVersion"] = api_version.into();
        entry["fieldsV1"] = json!({});
        own(&mut entry, &pointer);
        entry
    }));
    entries.into()
}

/// Where the replicas stand in a `FieldsV1`.
fn pointer(paths: ScalePaths) -> String {
    paths.replicas.split('.').map(|step| format!("/f:{step}")).collect()
}

fn owned(entry: &Value, pointer: &str) -> bool {
    at(entry, "fieldsV1").pointer(pointer).is_some()
}

fn own(entry: &mut Value, pointer: &str) {
    let mut place = &mut entry["fieldsV1"];
    for step in pointer.split('/').skip(1) {
        place = fields(place).entry(step).or_insert(Value::Null);
    }
    fields(place);
}

/// Takes the replicas out of an entry, and what is empty without them.
fn disown(entry: &mut Value, pointer: &str) {
    fn without(set: &mut Value, steps: &[&str]) {
        let (Some((first, rest)), Some(fields)) = (steps.split_first(), set.as_object_mut()) else { return };
        if let Some(inner) = fields.get_mut(*first) {
            without(inner, rest);
            if rest.is_empty() || inner.as_object().is_some_and(Map::is_empty) {
                fields.remove(*first);
            }
        }
    }
    if owned(entry, pointer) {
        let steps: Vec<&str> = pointer.split('/').skip(1).collect();
        without(&mut entry["fieldsV1"], &steps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: ScalePaths =
        ScalePaths { replicas: "spec.size.n", status_replicas: "status.n", selector: Some("status.which") };

    #[test]
    fn any_object_can_be_seen_as_its_scale() {
        let object = json!({"metadata": {"name": "x", "uid": "u", "labels": {"a": "b"}}, "spec": {"size": {"n": 3}, "other": 1}, "status": {"n": 2, "which": "a=b"}});
        let scale = of(PATHS, &object);
        assert_eq!(scale["metadata"], json!({"name": "x", "uid": "u"}));
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
        let put = put(PATHS, json!({"spec": {"other": 1}}), &json!({"spec": {"replicas": 5}}));
        assert_eq!(put["spec"], json!({"size": {"n": 5}, "other": 1}));
        assert_eq!(of(PATHS, &json!({}))["spec"], json!({}));
    }

    #[test]
    fn owners_are_those_of_the_object_and_back() {
        let entry = |manager: &str, set: Value| json!({"manager": manager, "operation": "Update", "apiVersion": "x/v1", "fieldsType": "FieldsV1", "fieldsV1": set});
        let mine = json!({"f:spec": {"f:size": {"f:n": {}}}});
        let managed = json!([entry("a", mine.clone()), entry("b", json!({"f:spec": {"f:other": {}}}))]);
        let scale = owners(PATHS, &managed);
        assert_eq!(scale[0]["manager"], "a");
        assert_eq!(scale[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(scale[0]["apiVersion"], "autoscaling/v1");
        assert_eq!(owned_by(PATHS, &managed, &scale, "x/v1")[0]["fieldsV1"], mine);
        // Another takes it.
        let taken = json!([{"manager": "c", "operation": "Apply", "subresource": "scale", "time": "t", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        let after = owned_by(PATHS, &managed, &taken, "x/v1");
        let managers: Vec<&str> = after.as_array().unwrap().iter().map(|it| text(it, "manager")).collect();
        assert_eq!(managers, ["b", "c"]);
        assert_eq!((&after[1]["fieldsV1"], &after[1]["apiVersion"]), (&mine, &json!("x/v1")));
    }
}
