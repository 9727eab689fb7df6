//! Strategic merge: one case a rule. Expected values follow from the documented semantics of the directives and of the
//! merge keys, not from our code.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use supple_apiserver::kinds::{self, Resource};
use supple_apiserver::patch::{self, PatchError};

fn resource(kind: &str) -> &'static Resource {
    kinds::TABLE.iter().find(|it| it.kind == kind).expect("the kind is served")
}

#[track_caller]
fn check(kind: &str, stored: Value, patch: Value, expected: Value) {
    let merged = patch::strategic_merge(&stored, &patch, resource(kind)).expect("the patch is good");
    assert_eq!(merged, expected, "\nstored {stored}\npatch {patch}");
}

#[track_caller]
fn check_error(kind: &str, stored: Value, patch: Value, expected: PatchError) {
    let error = patch::strategic_merge(&stored, &patch, resource(kind)).expect_err("the patch is bad");
    assert_eq!(error, expected, "\nstored {stored}\npatch {patch}");
}

#[track_caller]
fn check_pod(containers: Value, patch: Value, expected: Value) {
    check(
        "Pod",
        json!({"spec": {"containers": containers}}),
        json!({"spec": {"containers": patch}}),
        json!({"spec": {"containers": expected}}),
    );
}

fn names(list: &[&str]) -> Value {
    list.iter().map(|name| json!({"name": name})).collect()
}

#[test]
fn objects_are_merged_field_by_field() {
    check(
        "ConfigMap",
        json!({"data": {"a": "1", "b": "2"}}),
        json!({"data": {"b": "3", "c": "4"}}),
        json!({"data": {"a": "1", "b": "3", "c": "4"}}),
    );
    check("ConfigMap", json!({}), json!({"data": {"a": "1"}}), json!({"data": {"a": "1"}}));
    check("ConfigMap", json!({"data": {"a": "1"}}), json!({}), json!({"data": {"a": "1"}}));
}

#[test]
fn null_deletes_and_is_not_kept_where_nothing_was() {
    check(
        "ConfigMap",
        json!({"data": {"a": "1", "b": "2"}}),
        json!({"data": {"a": null}}),
        json!({"data": {"b": "2"}}),
    );
    check("ConfigMap", json!({"data": {"a": "1"}}), json!({"data": null}), json!({}));
    check("ConfigMap", json!({}), json!({"data": {"a": null, "b": "2"}}), json!({"data": {"b": "2"}}));
    check("ConfigMap", json!({}), json!({"data": {"a": null}, "immutable": null}), json!({"data": {}}));
    check_pod(
        json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]),
        json!([{"name": "a", "resources": {"limits": {"cpu": null}}}]),
        json!([{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}]),
    );
}

#[test]
fn an_object_can_be_replaced_or_emptied() {
    check(
        "ConfigMap",
        json!({"data": {"a": "1"}}),
        json!({"data": {"$patch": "replace", "b": "2"}}),
        json!({"data": {"b": "2"}}),
    );
    check("ConfigMap", json!({"data": {"a": "1"}}), json!({"data": {"$patch": "delete"}}), json!({"data": {}}));
    check(
        "ConfigMap",
        json!({"data": {"a": "1"}}),
        json!({"$patch": "replace", "data": {"b": "2"}}),
        json!({"data": {"b": "2"}}),
    );
    check("ConfigMap", json!({"data": {"a": "1"}, "immutable": true}), json!({"$patch": "delete"}), json!({}));
}

#[test]
fn a_value_of_another_type_takes_the_place_of_the_stored_one() {
    check("ConfigMap", json!({"data": "text"}), json!({"data": {"a": "1"}}), json!({"data": {"a": "1"}}));
    check("ConfigMap", json!({"data": {"a": "1"}}), json!({"data": [1]}), json!({"data": [1]}));
}

#[test]
fn items_are_merged_by_their_key_in_place() {
    check_pod(
        json!([{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:1"}]),
        json!([{"name": "b", "image": "i:2"}]),
        json!([{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:2"}]),
    );
    check_pod(
        json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]),
        json!([{"name": "a", "env": [{"name": "Y", "value": "3"}]}]),
        json!([{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]}]),
    );
    check(
        "Node",
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "False"}]}}),
    );
}

#[test]
fn a_key_may_be_a_number() {
    check_pod(
        json!([{"name": "a", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 443}]}]),
        json!([{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]),
        json!([{"name": "a", "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 443}]}]),
    );
}

#[test]
fn added_items_come_first_unless_an_order_is_given() {
    check_pod(names(&["a", "b"]), names(&["c"]), names(&["c", "a", "b"]));
    check_pod(names(&["a", "b"]), names(&["d", "c"]), names(&["d", "c", "a", "b"]));
    check_pod(json!([]), names(&["b", "a"]), names(&["b", "a"]));
    check_pod(names(&["a"]), json!([]), names(&["a"]));
    check(
        "Pod",
        json!({"spec": {}}),
        json!({"spec": {"containers": [{"name": "a"}]}}),
        json!({"spec": {"containers": [{"name": "a"}]}}),
    );
}

#[test]
fn items_named_by_the_patch_take_its_order() {
    check_pod(names(&["a", "b", "c"]), names(&["c", "a"]), names(&["b", "c", "a"]));
    check_pod(names(&["a", "b", "c"]), names(&["b", "c"]), names(&["a", "b", "c"]));
    check_pod(names(&["a", "b", "c", "d"]), names(&["d", "b"]), names(&["a", "c", "d", "b"]));
}

#[test]
fn items_can_be_deleted_and_lists_replaced() {
    check_pod(names(&["a", "b"]), json!([{"$patch": "delete", "name": "a"}]), names(&["b"]));
    check_pod(names(&["a", "b"]), json!([{"$patch": "delete", "name": "z"}]), names(&["a", "b"]));
    check_pod(
        names(&["a", "b"]),
        json!([{"$patch": "delete", "name": "a"}, {"name": "b", "image": "i"}]),
        json!([{"name": "b", "image": "i"}]),
    );
    check_pod(names(&["a", "b"]), json!([{"$patch": "replace"}, {"name": "c"}]), names(&["c"]));
    check_pod(names(&["a", "b"]), json!([{"name": "c"}, {"$patch": "replace"}]), names(&["c"]));
    check_pod(names(&["a", "b"]), json!([{"$patch": "replace"}]), json!([]));
}

#[test]
fn directives_do_not_outlive_the_patch_where_nothing_was_stored() {
    check(
        "Pod",
        json!({}),
        json!({"spec": {"containers": [{"name": "a", "$setElementOrder/env": [{"name": "X"}], "env": [{"name": "X", "value": null}, {"$patch": "delete", "name": "Y"}]}]}}),
        json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X"}]}]}}),
    );
    check(
        "Pod",
        json!({}),
        json!({"spec": {"$retainKeys": ["nodeName"], "nodeName": "n", "$deleteFromPrimitiveList/x": ["y"]}}),
        json!({"spec": {"nodeName": "n"}}),
    );
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    check_pod(
        json!([{"name": "a", "command": ["x", "y"], "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}]),
        json!([{"name": "a", "command": ["z"], "resizePolicy": []}]),
        json!([{"name": "a", "command": ["z"], "resizePolicy": []}]),
    );
    check(
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Pod"}]}}),
        json!({"spec": {"limits": [{"type": "Container"}]}}),
        json!({"spec": {"limits": [{"type": "Container"}]}}),
    );
    check(
        "Node",
        json!({"spec": {"taints": [{"key": "a"}]}}),
        json!({"spec": {"taints": [{"key": "b"}]}}),
        json!({"spec": {"taints": [{"key": "b"}]}}),
    );
}

#[test]
fn sets_of_plain_values_are_united_and_reduced() {
    let meta = |list: Value| json!({"metadata": {"finalizers": list}});
    check("Pod", meta(json!(["a", "b"])), meta(json!(["c"])), meta(json!(["c", "a", "b"])));
    check("Pod", meta(json!(["a", "b"])), meta(json!(["b"])), meta(json!(["a", "b"])));
    check(
        "Pod",
        meta(json!(["a", "b", "c"])),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
        meta(json!(["a", "c"])),
    );
    check(
        "Pod",
        meta(json!(["a", "b", "c"])),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["a", "d", "c"], "finalizers": ["d"]}}),
        meta(json!(["a", "d", "c"])),
    );
    check(
        "Pod",
        json!({"metadata": {}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}),
        json!({"metadata": {}}),
    );
}

#[test]
fn set_element_order_decides_the_order() {
    let ordered = |order: &[&str], patch: Option<Value>| {
        let mut spec = json!({"$setElementOrder/containers": names(order)});
        if let Some(patch) = patch {
            spec["containers"] = patch;
        }
        json!({"spec": spec})
    };
    let pod = |list: &[&str]| json!({"spec": {"containers": names(list)}});
    check("Pod", pod(&["a", "b", "c"]), ordered(&["c", "b", "a"], None), pod(&["c", "b", "a"]));
    // What only the server has stays between its stored neighbours.
    check("Pod", pod(&["a", "s", "b"]), ordered(&["a", "b"], None), pod(&["a", "s", "b"]));
    check("Pod", pod(&["s", "a", "b"]), ordered(&["b", "a"], None), pod(&["s", "b", "a"]));
    check("Pod", pod(&["a", "b"]), ordered(&["a", "c", "b"], Some(names(&["c"]))), pod(&["a", "c", "b"]));
    check("Pod", json!({"spec": {}}), ordered(&["a", "b"], Some(names(&["a", "b"]))), pod(&["a", "b"]));
    check("Pod", json!({"spec": {}}), ordered(&["a", "b"], None), json!({"spec": {}}));
    check(
        "Pod",
        pod(&["a", "b", "c"]),
        ordered(&["c", "a"], Some(json!([{"$patch": "delete", "name": "b"}]))),
        pod(&["c", "a"]),
    );
}

#[test]
fn what_kubectl_sends_for_a_resize_changes_only_resources() {
    check(
        "Pod",
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "app", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}},
            {"name": "log", "image": "l", "resources": {"requests": {"cpu": "10m"}}}]}}),
        json!({"spec": {"$setElementOrder/containers": [{"name": "app"}, {"name": "log"}],
            "containers": [{"name": "app", "resources": {"requests": {"cpu": "200m"}}}]}}),
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "app", "image": "i", "resources": {"requests": {"cpu": "200m", "memory": "128Mi"}}},
            {"name": "log", "image": "l", "resources": {"requests": {"cpu": "10m"}}}]}}),
    );
}

#[test]
fn retain_keys_clears_what_is_not_named() {
    let volume = |it: Value| json!({"spec": {"volumes": [it]}});
    check(
        "Pod",
        volume(json!({"name": "v", "emptyDir": {"medium": "Memory"}})),
        volume(json!({"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}})),
        volume(json!({"name": "v", "hostPath": {"path": "/x"}})),
    );
    check(
        "Pod",
        volume(json!({"name": "v", "emptyDir": {}})),
        volume(json!({"$retainKeys": ["name"], "name": "v", "emptyDir": null})),
        volume(json!({"name": "v"})),
    );
}

#[test]
fn bad_patches_have_the_status_and_text_of_the_reference() {
    let pod = json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {"finalizers": ["x"]}});
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"containers": [{"image": "i"}, {"name": "b"}]}}),
        PatchError::Internal("map: map[image:i] does not contain declared merge key: name".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"containers": [{"$patch": "delete"}]}}),
        PatchError::Internal("map: map[$patch:delete] does not contain declared merge key: name".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"$patch": "swap"}}),
        PatchError::Internal("unknown patch type: swap in map: map[$patch:swap]".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"containers": [{"$patch": "merge", "name": "a"}]}}),
        PatchError::Internal("merging lists cannot yet be specified in the patch".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"$retainKeys": "name"}}),
        PatchError::BadRequest("invalid patch format of retainKeys".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"$retainKeys": ["nodeName"], "hostPID": true}}),
        PatchError::BadRequest("invalid patch format of retainKeys".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [{"a": 1}]}}),
        PatchError::BadRequest("invalid patch format of primitive list".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"containers": [["a"]]}}),
        PatchError::Unprocessable { why: "lists of lists are not supported".to_owned() },
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"$setElementOrder/containers": "a"}}),
        PatchError::Internal("expected a slice, but received a string".to_owned()),
    );
    check_error(
        "Pod",
        pod.clone(),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a"}, {"name": "b"}]}}),
        PatchError::Internal(
            "The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n".to_owned(),
        ),
    );
    check_error(
        "Pod",
        pod,
        json!(["no object"]),
        PatchError::BadRequest("json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned()),
    );
}

/// A pod of a few containers, with what merges differ about.
fn pod() -> impl Strategy<Value = Value> {
    let container = ("[a-d]", prop::option::of(("[0-9]{1,2}", "[0-9]{1,2}")), prop::collection::vec("[X-Z]", 0..3))
        .prop_map(|(name, resources, env)| {
            let mut container = json!({"name": name});
            if let Some((cpu, memory)) = resources {
                container["resources"] = json!({"requests": {"cpu": cpu, "memory": memory}});
            }
            if !env.is_empty() {
                let mut env = env;
                env.dedup();
                container["env"] = env.iter().map(|it| json!({"name": it, "value": it})).collect();
            }
            container
        });
    (prop::collection::vec(container, 1..5), prop::collection::btree_map("[a-c]", "[0-9]", 0..3)).prop_map(
        |(mut containers, labels)| {
            let mut seen = Vec::new();
            containers.retain(|it| {
                let new = !seen.contains(&it["name"]);
                seen.push(it["name"].clone());
                new
            });
            json!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
        },
    )
}

/// Any JSON, rich in what a merge looks at.
fn anything() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "metadata",
        "spec",
        "containers",
        "finalizers",
        "name",
        "env",
        "labels",
        "volumes",
        "$setElementOrder/",
        "$deleteFromPrimitiveList/",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|it| json!(it)),
        prop::sample::select(vec!["replace", "delete", "merge", "a", "b", ""]).prop_map(|it| json!(it)),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(stored in pod(), patch in pod()) {
        let once = patch::strategic_merge(&stored, &patch, resource("Pod")).expect("the patch is good");
        let twice = patch::strategic_merge(&once, &patch, resource("Pod")).expect("the patch is good");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn merging_an_object_into_itself_changes_nothing(stored in pod()) {
        let merged = patch::strategic_merge(&stored, &stored, resource("Pod")).expect("the patch is good");
        prop_assert_eq!(merged, stored);
    }

    #[test]
    fn no_patch_panics(stored in anything(), patch in anything()) {
        for kind in ["Pod", "Node", "ConfigMap", "Event"] {
            let _ = patch::strategic_merge(&stored, &patch, resource(kind));
        }
    }
}

#[test]
fn the_selector_of_a_budget_is_replaced_and_that_of_a_set_merged() {
    let merge = |kind: &str, path: &str| {
        let resource = supple_apiserver::kinds::TABLE.iter().find(|it| it.kind == kind).expect("served");
        let stored = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
        let patch = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
        let merged = supple_apiserver::patch::strategic_merge(&stored, &patch, resource).expect("merged");
        merged.pointer(path).expect("there").clone()
    };
    assert_eq!(merge("PodDisruptionBudget", "/spec/selector/matchLabels"), json!({"b": "2"}));
    assert_eq!(merge("ReplicaSet", "/spec/selector/matchLabels"), json!({"a": "1", "b": "2"}));
}
