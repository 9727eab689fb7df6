//! Ownership without a server: the tables of structured merge, and what always holds of it.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use supple_apiserver::apply::{self, Applied, ApplyError, Edit, Element, FieldSet, Scope, Writer};
use supple_apiserver::kinds;

/// An object that several managers write, one after another.
struct Shared {
    object: Value,
    managed: Value,
}

fn edit<T>(kind: &str, manager: &str, act: impl FnOnce(Edit<'_>) -> T) -> T {
    let shape = kinds::by_kind("v1", kind).and_then(kinds::Resource::shape);
    let by = Writer { manager, api_version: "v1", subresource: "" };
    act(Edit { shape, by, scope: Scope::All, now: "2030-01-01T00:00:00Z" })
}

impl Shared {
    fn new(kind: &str, spec: Value) -> Self {
        let object = object(kind, spec);
        let managed =
            edit(kind, "creator", |edit| apply::record(edit, &apply::changes(edit, None, &object), Value::Null));
        Self { object, managed }
    }

    fn kind(&self) -> String {
        self.object["kind"].as_str().unwrap().to_owned()
    }

    fn try_apply(&mut self, manager: &str, config: &Value, force: bool) -> Result<(), ApplyError> {
        let Applied { object, managed } =
            edit(&self.kind(), manager, |edit| apply::apply(edit, Some(&self.object), config, &self.managed, force))?;
        (self.object, self.managed) = (tidy(object), managed);
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: Value, force: bool) {
        self.try_apply(manager, &object(&self.kind(), config), force).unwrap();
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut new = self.object.clone();
        change(&mut new);
        self.managed = edit(&self.kind(), manager, |edit| {
            apply::record(edit, &apply::changes(edit, Some(&self.object), &new), self.managed.take())
        });
        self.object = new;
    }

    /// `manager: paths…` for each entry, without the creator's.
    fn owners(&self) -> Vec<String> {
        let entries = self.managed.as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let others = entries.filter(|it| it["manager"] != "creator");
        others
            .map(|it| {
                let paths = apply::decode(&it["fieldsV1"]).unwrap().paths();
                format!(
                    "{} {}: {}",
                    it["manager"].as_str().unwrap(),
                    it["operation"].as_str().unwrap(),
                    paths.join(" ")
                )
            })
            .collect()
    }
}

/// An object of a kind with these members beside its identity.
fn object(kind: &str, members: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "o"}});
    for (name, value) in members.as_object().unwrap() {
        if name == "metadata" {
            for (name, value) in value.as_object().unwrap() {
                object["metadata"][name] = value.clone();
            }
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// Without nulls: what decoding makes of an object.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, it)| !it.is_null()).map(|(name, it)| (name, tidy(it))).collect()
        }
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        other => other,
    }
}

fn map(data: Value) -> Value {
    json!({ "data": data })
}

fn labels(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

fn containers(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn a_creation_owns_what_it_names() {
    #[track_caller]
    fn check(kind: &str, members: Value, expected: Value) {
        assert_eq!(Shared::new(kind, members).managed[0]["fieldsV1"], expected);
    }
    check("ConfigMap", map(json!({"a": "1"})), json!({"f:data": {".": {}, "f:a": {}}}));
    check("Pod", labels(json!({"a": "b"})), json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}));
    check(
        "Pod",
        containers(json!([{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}], "command": ["a", "b"],
            "ports": [{"containerPort": 80}], "resources": {}}])),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
            ".": {}, "f:name": {}, "f:image": {}, "f:command": {}, "f:resources": {},
            "f:env": {".": {}, "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
        }}}}),
    );
    check(
        "Pod",
        json!({"metadata": {"finalizers": ["x/y"], "ownerReferences": [{"uid": "u", "name": "n", "kind": "K", "apiVersion": "v1"}]},
            "spec": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}}),
        json!({"f:metadata": {
            "f:finalizers": {".": {}, "v:\"x/y\"": {}},
            "f:ownerReferences": {".": {}, "k:{\"uid\":\"u\"}": {}},
        }, "f:spec": {"f:nodeSelector": {}, "f:tolerations": {}}}),
    );
}

#[test]
fn an_apply_merges_by_what_the_schema_says() {
    #[track_caller]
    fn check(kind: &str, live: Value, config: Value, expected: Value, owned: &str) {
        let mut shared = Shared::new(kind, live);
        shared.apply("me", config, true);
        assert_eq!(shared.object, object(kind, expected));
        assert_eq!(shared.owners(), [format!("me Apply: {owned}")]);
    }
    // Maps, nested.
    check(
        "ConfigMap",
        map(json!({"a": "1", "b": "2"})),
        map(json!({"b": "3", "c": "4"})),
        map(json!({"a": "1", "b": "3", "c": "4"})),
        ".data.b .data.c",
    );
    check("ConfigMap", json!({}), map(json!({})), json!({"data": {}}), ".data");
    // Items by their key: merged where they stand, new ones in the configuration's order.
    check(
        "Pod",
        containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
        containers(json!([{"name": "b", "image": "2"}, {"name": "c", "image": "1"}])),
        containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "1"}])),
        ".spec.containers[name=\"b\"] .spec.containers[name=\"c\"] .spec.containers[name=\"b\"].image .spec.containers[name=\"b\"].name .spec.containers[name=\"c\"].image .spec.containers[name=\"c\"].name",
    );
    // Items that both have come in the order of the configuration; the others stay beside their neighbours.
    check(
        "Pod",
        containers(json!([{"name": "a"}, {"name": "x"}, {"name": "b"}])),
        containers(json!([{"name": "b"}, {"name": "n"}, {"name": "a"}])),
        containers(json!([{"name": "x"}, {"name": "b"}, {"name": "n"}, {"name": "a"}])),
        ".spec.containers[name=\"a\"] .spec.containers[name=\"b\"] .spec.containers[name=\"n\"] .spec.containers[name=\"a\"].name .spec.containers[name=\"b\"].name .spec.containers[name=\"n\"].name",
    );
    // Two keys, one with a default.
    check(
        "Pod",
        containers(
            json!([{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "UDP"}]}]),
        ),
        containers(json!([{"name": "a", "ports": [{"containerPort": 1, "name": "t"}]}])),
        containers(
            json!([{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP", "name": "t"}, {"containerPort": 1, "protocol": "UDP"}]}]),
        ),
        ".spec.containers[name=\"a\"] .spec.containers[name=\"a\"].name .spec.containers[name=\"a\"].ports[containerPort=1,protocol=\"TCP\"] .spec.containers[name=\"a\"].ports[containerPort=1,protocol=\"TCP\"].containerPort .spec.containers[name=\"a\"].ports[containerPort=1,protocol=\"TCP\"].name",
    );
    // Sets.
    check(
        "Pod",
        json!({"metadata": {"finalizers": ["a/a", "b/b"]}}),
        json!({"metadata": {"finalizers": ["c/c", "b/b"]}}),
        json!({"metadata": {"finalizers": ["a/a", "c/c", "b/b"]}}),
        ".metadata.finalizers[=\"b/b\"] .metadata.finalizers[=\"c/c\"]",
    );
    // Lists and maps that are one thing.
    check(
        "Pod",
        json!({"spec": {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "a"}]}}),
        json!({"spec": {"nodeSelector": {"b": "1"}, "tolerations": [{"key": "b"}]}}),
        json!({"spec": {"nodeSelector": {"b": "1"}, "tolerations": [{"key": "b"}]}}),
        ".spec.nodeSelector .spec.tolerations",
    );
    // A null takes a value; where parts are owned apart it says nothing about them.
    check(
        "Pod",
        json!({"spec": {"hostname": "h"}}),
        json!({"spec": {"hostname": null}}),
        json!({"spec": {}}),
        ".spec.hostname",
    );
    check("Pod", labels(json!({"a": "b"})), labels(Value::Null), labels(json!({"a": "b"})), ".metadata.labels");
}

#[test]
fn who_owns_what_after_whom() {
    // Two share a value; the one that lets go does not take it away, the last one does.
    let mut shared = Shared::new("ConfigMap", json!({}));
    shared.apply("a", map(json!({"x": "1", "y": "1"})), false);
    shared.apply("b", map(json!({"x": "1"})), false);
    assert_eq!(shared.owners(), ["a Apply: .data.x .data.y", "b Apply: .data.x"]);
    shared.apply("a", json!({}), false);
    assert_eq!((&shared.object["data"], shared.owners()), (&json!({"x": "1"}), vec!["b Apply: .data.x".to_owned()]));
    shared.apply("b", json!({}), false);
    assert_eq!((shared.object.get("data"), shared.owners()), (None, vec![]));

    // A plain write takes what it changes, and only that.
    let mut shared = Shared::new("ConfigMap", json!({}));
    shared.apply("a", map(json!({"x": "1", "y": "1"})), false);
    shared.update("u", |it| it["data"]["x"] = "2".into());
    assert_eq!(shared.owners(), ["a Apply: .data.y", "u Update: .data.x"]);
    // Who has lost a field does not remove it.
    shared.apply("a", map(json!({"y": "1"})), false);
    assert_eq!(shared.object["data"], json!({"x": "2", "y": "1"}));
    // What is removed is nobody's.
    shared.update("v", |it| drop(it["data"].as_object_mut().unwrap().remove("x")));
    assert_eq!(shared.owners(), ["a Apply: .data.y"]);
    // A write that changes nothing is nobody's either.
    shared.update("v", |_| {});
    assert_eq!(shared.owners(), ["a Apply: .data.y"]);

    // A conflict names every field of every owner; force takes them.
    let mut shared = Shared::new("ConfigMap", json!({}));
    shared.apply("a", map(json!({"x": "1", "y": "1"})), false);
    shared.apply("b", map(json!({"x": "1", "z": "1"})), false);
    let wanted = object("ConfigMap", map(json!({"x": "2", "y": "2", "z": "1"})));
    let error = shared.try_apply("c", &wanted, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .data.x\n- .data.y\nconflicts with \"b\":\n- .data.x"
    );
    shared.try_apply("c", &wanted, true).unwrap();
    assert_eq!(shared.owners(), ["b Apply: .data.z", "c Apply: .data.x .data.y .data.z"]);

    // An item goes with its last owner, and not while another owns a part of it.
    let mut shared = Shared::new("Pod", containers(json!([{"name": "main"}])));
    shared.apply("a", containers(json!([{"name": "main"}, {"name": "side", "image": "1"}])), false);
    shared.apply("b", containers(json!([{"name": "side", "tty": true}])), false);
    shared.apply("a", containers(json!([{"name": "main"}])), false);
    assert_eq!(shared.object["spec"]["containers"], json!([{"name": "main"}, {"name": "side", "tty": true}]));
    shared.apply("b", json!({}), false);
    assert_eq!(shared.object["spec"]["containers"], json!([{"name": "main"}]));

    // An item that somebody else has put things into goes with them: only the item was ever named.
    let mut shared = Shared::new("Pod", containers(json!([{"name": "main"}])));
    shared.apply("a", containers(json!([{"name": "side"}])), false);
    shared.apply("a", json!({}), false);
    assert_eq!(shared.object["spec"]["containers"], json!([{"name": "main"}]));

    // The last label takes the map along, and nothing else of the metadata.
    let mut shared = Shared::new("Pod", containers(json!([{"name": "main"}])));
    shared.apply("a", labels(json!({"x": "y"})), false);
    shared.apply("a", json!({}), false);
    assert_eq!(shared.object["metadata"], json!({"name": "o"}));
}

#[test]
fn what_cannot_be_applied() {
    #[track_caller]
    fn check(members: Value, expected: &str) {
        let mut shared = Shared::new("Pod", containers(json!([{"name": "a"}])));
        let error = shared.try_apply("me", &object("Pod", members), false).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    check(json!({"spec": {"bogus": 1}}), ".spec.bogus: field not declared in schema");
    check(
        containers(json!([{"image": "x"}])),
        ".spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
    );
    check(
        containers(json!([{"name": "a"}, {"name": "a"}])),
        ".spec.containers: duplicate entries for key [name=\"a\"]",
    );
    check(containers(json!({})), ".spec.containers: expected list, got &value.valueUnstructured{Value:{}}");
    check(json!({"spec": 1}), ".spec: expected map, got &value.valueUnstructured{Value:1}");
    check(
        json!({"spec": {"hostname": 1, "hostNetwork": "x"}}),
        "errors:\n  .spec.hostNetwork: expected boolean, got &value.valueUnstructured{Value:\"x\"}\n  .spec.hostname: expected string, got &value.valueUnstructured{Value:1}",
    );
}

fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        "[a-z.]{0,3}".prop_map(|name| Element::field(&name)),
        ("[a-b]", -2i64..3).prop_map(|(name, value)| {
            let keys: Map<String, Value> = [(name, value.into())].into_iter().collect();
            Element::keys(&keys)
        }),
        "\\PC{0,3}".prop_map(|text| Element::value(&text.into())),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    let leaf = Just(FieldSet::leaf());
    leaf.prop_recursive(4, 24, 4, |inner| {
        (any::<bool>(), prop::collection::vec((element(), inner), 0..4)).prop_map(|(here, below)| {
            let mut set = if here || below.is_empty() { FieldSet::leaf() } else { FieldSet::default() };
            below.into_iter().for_each(|(element, below)| set.put(element, below));
            set
        })
    })
    .prop_map(|mut set| {
        set.here = false;
        set
    })
}

/// What somebody might say of a pod.
fn config() -> impl Strategy<Value = Value> {
    let text = || prop::option::of(prop::sample::select(vec!["1", "2"]));
    let container = (text(), text(), text(), prop::option::of(prop::collection::vec("[ab]", 0..2)));
    let containers = prop::collection::btree_map("[a-c]", container, 0..3);
    let labels = prop::collection::btree_map("[a-c]", "[12]", 0..3);
    let finalizers = prop::collection::btree_set("[a-c]/f", 0..3);
    (containers, labels, finalizers, text()).prop_map(|(containers, labels, finalizers, hostname)| {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, cpu, env, command))| {
                let mut container = json!({ "name": name });
                if let Some(image) = image {
                    container["image"] = image.into();
                }
                if let Some(cpu) = cpu {
                    container["resources"] = json!({"requests": {"cpu": cpu}});
                }
                if let Some(value) = env {
                    container["env"] = json!([{"name": "E", "value": value}]);
                }
                if let Some(command) = command {
                    container["command"] = command.into();
                }
                container
            })
            .collect();
        let mut config = object("Pod", json!({}));
        for (name, value) in [("labels", json!(labels)), ("finalizers", json!(finalizers))] {
            if value != json!({}) && value != json!([]) {
                config["metadata"][name] = value;
            }
        }
        if !containers.is_empty() {
            config["spec"]["containers"] = containers.into();
        }
        if let Some(hostname) = hostname {
            config["spec"]["hostname"] = hostname.into();
        }
        config
    })
}

/// Whether `config` is in `object`: every field, every item, wherever it stands.
fn contains(object: &Value, config: &Value) -> bool {
    match (object, config) {
        (Value::Object(object), Value::Object(config)) => {
            config.iter().all(|(name, value)| object.get(name).is_some_and(|it| contains(it, value)))
        }
        (Value::Array(items), Value::Array(wanted)) if wanted.iter().all(|it| it.get("name").is_some()) => {
            wanted.iter().all(|item| items.iter().any(|it| it["name"] == item["name"] && contains(it, item)))
        }
        (Value::Array(items), Value::Array(wanted)) => wanted.iter().all(|item| items.contains(item)),
        (object, config) => object == config,
    }
}

proptest! {
    #[test]
    fn a_set_survives_the_wire(set in set()) {
        let wire = apply::encode(&set);
        prop_assert_eq!(apply::decode(&wire), Ok(set));
    }

    #[test]
    fn set_algebra(a in set(), b in set()) {
        let both = a.intersection(&b);
        prop_assert_eq!(&a.difference(&b).union(&both), &a);
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
        let mut paths = a.clone().union(&b).paths().len();
        paths += both.paths().len();
        prop_assert_eq!(paths, a.paths().len() + b.paths().len());
    }

    #[test]
    fn applying_twice_is_applying_once(live in config(), first in config(), second in config()) {
        let mut shared = Shared { managed: Value::Null, object: live };
        for config in [first, second] {
            shared.try_apply("me", &config, true).unwrap();
            prop_assert!(contains(&shared.object, &config), "{} in {}", config, shared.object);
            let (object, managed) = (shared.object.clone(), shared.managed.clone());
            shared.try_apply("me", &config, false).unwrap();
            prop_assert_eq!((&shared.object, &shared.managed), (&object, &managed));
        }
    }

    #[test]
    fn what_one_applied_is_gone_when_it_applies_nothing(live in config(), config in config()) {
        let mut shared = Shared { managed: Value::Null, object: live.clone() };
        shared.try_apply("me", &config, true).unwrap();
        let owned = shared.owners();
        // Applied on its own, the configuration is all there is; given up, nothing of it is left.
        let mut alone = Shared::new("Pod", json!({}));
        alone.try_apply("me", &config, false).unwrap();
        let alone_owned = alone.owners();
        prop_assert_eq!(owned.iter().find(|it| it.starts_with("me ")), alone_owned.first());
        prop_assert!(contains(&alone.object, &config) && contains(&config, &tidy(alone.object.clone())));
        alone.try_apply("me", &object("Pod", json!({})), false).unwrap();
        prop_assert_eq!(alone.object, object("Pod", json!({})));
    }

    #[test]
    fn any_record_is_survived(sets in prop::collection::vec(set(), 0..4), live in config(), config in config(), force: bool) {
        let managed: Vec<Value> = sets
            .iter()
            .enumerate()
            .map(|(at, set)| json!({
                "manager": if at == 0 { "me".to_owned() } else { format!("m{at}") },
                "operation": if at % 2 == 0 { "Apply" } else { "Update" },
                "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": apply::encode(set),
            }))
            .collect();
        let mut shared = Shared { managed: managed.into(), object: live };
        if shared.try_apply("me", &config, force).is_ok() {
            prop_assert!(contains(&shared.object, &config));
        }
        shared.update("u", |it| it["spec"]["hostname"] = "changed".into());
    }
}
