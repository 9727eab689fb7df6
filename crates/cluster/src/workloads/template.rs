//! Pod templates: whether two are the same, a short hash of one, and the pod made from one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::ObjectMeta;
use serde_json::Value;

use super::claim::control;
use super::view::Watched;

/// The label by which the pods of one ReplicaSet are told from those of the next.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The template without what says nothing: empty maps, lists and nulls, and the hash label itself. Two templates make
/// the same pods if these are equal. Nothing but templates is compared: a pod that was resized in place is still of its
/// template.
pub(super) fn canonical(template: &PodTemplateSpec) -> Value {
    let mut tree = serde_json::to_value(template).expect("types of the API serialise");
    if let Some(labels) = tree.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    prune(&mut tree);
    tree
}

fn prune(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| {
                !(value.is_null()
                    || value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty))
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// A short name for a piece of data, from letters that make no words (`rand.SafeEncodeString` of a 32-bit FNV hash).
/// `collisions` makes another name for the same data. The data is ours, not the reference's Go dump of it, so the names
/// differ from those it would give; they need only be stable.
pub(super) fn hash(data: &Value, collisions: Option<i32>) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = data.to_string();
    let salt = collisions.map(i32::to_le_bytes);
    let bytes = text.bytes().chain(salt.into_iter().flatten());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// A pod of a template, controlled by `owner`; its name is made by the server from the owner's.
pub(super) fn pod<K: Watched>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    let meta = owner.meta();
    Pod {
        metadata: ObjectMeta {
            namespace: meta.namespace.clone(),
            generate_name: Some(format!("{}-", meta.name.as_deref().unwrap_or_default())),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![control(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The labels, to be added to.
pub(super) fn labels(meta: &mut ObjectMeta) -> &mut BTreeMap<String, String> {
    meta.labels.get_or_insert_default()
}

/// One label.
pub(super) fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

/// One annotation.
pub(super) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, cpu: &str, extra: &Value) -> PodTemplateSpec {
        let mut tree = json!({
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}]},
        });
        for (path, value) in extra.as_object().unwrap() {
            let (parent, field) = path.rsplit_once('/').unwrap();
            tree.pointer_mut(parent).unwrap()[field] = value.clone();
        }
        serde_json::from_value(tree).unwrap()
    }

    #[track_caller]
    fn check(other: &PodTemplateSpec, expect: bool) {
        let one = template("i:1", "100m", &json!({}));
        assert_eq!(canonical(&one) == canonical(other), expect);
        assert_eq!(hash(&canonical(&one), None) == hash(&canonical(other), None), expect);
    }

    #[test]
    fn templates_differ_by_what_they_say() {
        check(&template("i:1", "100m", &json!({"/metadata/labels/pod-template-hash": "x"})), true);
        check(&template("i:1", "100m", &json!({"/spec/volumes": [], "/metadata/annotations": {}})), true);
        check(&template("i:2", "100m", &json!({})), false);
        check(&template("i:1", "200m", &json!({})), false);
        check(
            &template("i:1", "100m", &json!({"/metadata/annotations": {"kubectl.kubernetes.io/restartedAt": "t"}})),
            false,
        );
    }

    #[test]
    fn a_hash_is_a_label_and_a_collision_gives_another() {
        let data = canonical(&template("i:1", "100m", &json!({})));
        let (one, other) = (hash(&data, None), hash(&data, Some(1)));
        assert_ne!(one, other);
        assert!((1..=10).contains(&one.len()) && one.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()));
        assert_eq!(one, hash(&data, None));
    }
}
