//! Drafts, objects and keys: what is written is what is read, awake and at rest.

use serde_json::json;

use super::*;

fn labels(_: &str, object: &Value) -> Value {
    object["metadata"]["labels"].clone()
}

#[test]
fn a_sealed_draft_is_the_object_with_its_revision() {
    let object = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "a \"b\"", "resourceVersion": "3", "uid": "u", "labels": {"x": "y"}},
        "spec": {"resourceVersion": "\",\"resourceVersion\":\""},
    });
    for revision in [1, 10, 1234, u64::MAX] {
        let sealed = Draft::new("pods", &object, labels).seal(Key::new("pods", "n", "a"), revision);
        let mut expected = object.clone();
        expected["metadata"]["resourceVersion"] = json!(revision.to_string());
        assert_eq!(sealed.value(), expected);
        let metadata: Value = serde_json::from_slice(&sealed.metadata()).unwrap();
        assert_eq!(metadata, expected["metadata"]);
        let mut item = b"{".to_vec();
        sealed.members_to(&mut item);
        assert_eq!(item.len(), 1 + sealed.members_length());
        let item: Value = serde_json::from_slice(&item).unwrap();
        assert_eq!(item["metadata"], expected["metadata"]);
        assert_eq!(item.get("kind"), None);
        assert_eq!(sealed.outline(), json!({"x": "y"}));
    }
}

#[test]
fn parts_that_stay_are_taken_over_as_they_are() {
    let whole = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"annotations": {"a": "b"}, "managedFields": [{"manager": "m"}], "name": "a", "uid": "u"},
        "spec": {"containers": []}, "status": {"phase": "Running"},
    });
    let old = Draft::new("pods", &whole, labels).seal(Key::new("pods", "n", "a"), 7);
    assert_eq!(old.part("spec").unwrap(), br#"{"containers":[]}"#[..]);
    assert_eq!(old.part("status").unwrap(), br#"{"phase":"Running"}"#[..]);
    assert_eq!(old.managed().unwrap(), br#"[{"manager":"m"}]"#[..]);
    let narrowed = old.narrowed(&["spec"]);
    let mut expected = whole.clone();
    expected["metadata"]["resourceVersion"] = json!("7");
    expected["metadata"].as_object_mut().unwrap().remove("managedFields");
    expected.as_object_mut().unwrap().remove("status");
    assert_eq!(narrowed, expected);
    let (status, managed) = (old.part("status").unwrap(), old.managed());
    let members = [("status", &*status)];
    let pieces = Pieces { object: &narrowed, managed: managed.as_deref(), members: &members };
    let again = Draft::of(pieces, &old.outline());
    assert!(again.is_unchanged_from(&old));
    let again = again.seal(Key::new("pods", "n", "a"), 100);
    assert_eq!((again.part("status"), again.managed()), (old.part("status"), old.managed()));
    let bare = Draft::new("pods", &json!({"metadata": {"name": "a"}}), labels).seal(Key::new("pods", "n", "a"), 1);
    assert_eq!((bare.part("spec"), bare.managed()), (None, None));
    assert_eq!(bare.narrowed(&["spec"]), json!({"metadata": {"name": "a", "resourceVersion": "1"}}));
}

#[test]
fn an_object_that_rests_is_what_it_was() {
    let mut bases = Bases::default();
    for name in ["a", "b", "c"] {
        let whole = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}, "managedFields": [{"manager": "kubectl-client-side-apply"}]},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}, {"name": "other"}]},
            "status": {"phase": "Running", "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "qosClass": "Burstable"},
        });
        let seal = || Draft::new("pods", &whole, labels).seal(Key::new("pods", "n", name), 7);
        let (object, awake) = (seal(), seal());
        object.rest(&mut bases);
        assert!(matches!(*object.text.lock().unwrap(), Text::Packed(_)));
        assert_eq!((object.json(), object.outline()), (awake.json(), awake.outline()));
        assert_eq!((object.metadata(), object.managed()), (awake.metadata(), awake.managed()));
        assert_eq!((object.part("spec"), object.part("status")), (awake.part("spec"), awake.part("status")));
        let (mut members, mut expected) = (b"x".to_vec(), b"x".to_vec());
        object.members_to(&mut members);
        awake.members_to(&mut expected);
        assert_eq!(members, expected);
    }
}

#[test]
fn what_was_decoded_is_had_from_who_holds_it() {
    let pod = json!({"metadata": {"name": "a"}});
    let object = Draft::new("pods", &pod, labels).seal(Key::new("pods", "n", "a"), 7);
    let held = object.pod().unwrap();
    assert!(object.forget() && object.is_held());
    assert!(Arc::ptr_eq(&held, &object.pod().unwrap()));
    drop(held);
    assert!(!object.is_held());
    assert!(matches!(*object.known.lock().unwrap(), Known::Held(None)), "not even its room is kept");
    let forgotten = Draft::new("pods", &pod, labels).seal(Key::new("pods", "n", "a"), 7);
    assert!(!forgotten.forget());
    assert_eq!(forgotten.pod().unwrap().metadata.name.as_deref(), Some("a"));
}

#[test]
fn an_object_is_another_in_one_part_only() {
    let mut whole = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "annotations": {"generation": "\"generation\":9", "x": "}{"}, "generation": 7,
            "managedFields": [{"manager": "m"}], "name": "a", "uid": "u",
        },
        "spec": {"containers": []}, "status": {"phase": "Running"}, "z": 1,
    });
    let key = || Key::new("pods", "n", "a");
    let parts = [("spec", r#"{"containers":[{"name":"c"}]}"#), ("status", "{}")];
    let mut last = Draft::new("pods", &whole, labels).seal(key(), 99);
    let members = |object: &Object| {
        let mut members = Vec::new();
        object.members_to(&mut members);
        members
    };
    for (revision, (part, json)) in (100..).zip(parts) {
        let managed = format!(r#"[{{"manager":"{part}"}}]"#);
        let generation = i64::try_from(revision).unwrap();
        let replaced = Replaced { generation, managed: managed.as_bytes(), part, json: json.as_bytes() };
        last = Draft::again(&last, replaced).unwrap().seal(key(), revision);
        whole["metadata"]["generation"] = generation.into();
        whole["metadata"]["managedFields"] = json!([{"manager": part}]);
        whole[part] = serde_json::from_str(json).unwrap();
        let fresh = Draft::new("pods", &whole, labels);
        assert!(fresh.is_unchanged_from(&last), "{}", String::from_utf8_lossy(&last.json()));
        let fresh = fresh.seal(key(), revision);
        assert_eq!((last.part("spec"), last.part("status")), (fresh.part("spec"), fresh.part("status")));
        assert_eq!((last.managed(), last.metadata()), (fresh.managed(), fresh.metadata()));
        assert_eq!((members(&last), last.outline()), (members(&fresh), fresh.outline()));
    }
    let bare = Draft::new("pods", &json!({"metadata": {"name": "a"}, "spec": {}}), labels).seal(key(), 1);
    let replaced = Replaced { generation: 1, managed: b"[]", part: "spec", json: b"{}" };
    assert!(Draft::again(&bare, replaced).is_none());
}

#[test]
fn keys_come_apart() {
    let key = Key::new("leases.coordination.k8s.io", "kube-node-lease", "lab");
    assert_eq!((key.resource(), key.namespace(), key.name()), ("leases.coordination.k8s.io", "kube-node-lease", "lab"));
    let key = Key::new("nodes", "", "lab");
    assert_eq!((key.resource(), key.namespace(), key.name()), ("nodes", "", "lab"));
}
