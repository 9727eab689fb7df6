//! Patches of all four kinds on objects as they are stored: whatever is taken leaves an object of its type, and one that
//! is applied a second time changes nothing.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use supple_apiserver::apply::{self, Applied, Edit, Scope, Writer};
use supple_apiserver::fields::{Decoder, FieldValidation, parse_json, parse_yaml};
use supple_apiserver::kinds::{self, Resource};
use supple_apiserver::patch::{self, PatchType};

static OBJECTS: LazyLock<Vec<(&'static Resource, Value)>> = LazyLock::new(|| {
    let container = json!({
        "name": "app", "image": "i", "command": ["sh"], "env": [{"name": "A", "value": "1"}],
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    });
    let metadata = json!({"name": "x", "namespace": "default", "labels": {"a": "b"}, "finalizers": ["one", "two"]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"], "status": {
            "conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": "127.0.0.1"}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"cpu": "4"}}}),
    ]
    .into_iter()
    .map(|object| {
        let text = |name: &str| object[name].as_str().expect("it is there");
        let resource = kinds::by_kind(text("apiVersion"), text("kind")).expect("it is served");
        (resource, resource.normalise(object, Decoder::Text).expect("it is well formed").value)
    })
    .collect()
});

// A byte each for the kind of patch and the object, and the patch.
fuzz_target!(|data: &[u8]| {
    let [kind, object, body @ ..] = data else { return };
    let (resource, current) = &OBJECTS[usize::from(*object) % OBJECTS.len()];
    let validation =
        [FieldValidation::Strict, FieldValidation::Warn, FieldValidation::Ignore][usize::from(*kind / 4) % 3];
    match kind % 4 {
        0 => patched(PatchType::Json, resource, current, body, validation),
        1 => patched(PatchType::Merge, resource, current, body, validation),
        2 => patched(PatchType::Strategic, resource, current, body, validation),
        _ => applied(resource, current, body),
    }
});

fn patched(of: PatchType, resource: &Resource, current: &Value, body: &[u8], validation: FieldValidation) {
    let Ok(patched) = patch::apply(of, resource, current, body, validation) else { return };
    assert!(patched.value.is_object());
    let again = patch::apply(PatchType::Merge, resource, &patched.value, b"{}", FieldValidation::Ignore);
    assert_eq!(again.map(|it| it.value), Ok(patched.value), "it is not in the form in which objects are stored");
}

fn applied(resource: &Resource, current: &Value, body: &[u8]) {
    let Some(config) = parse_json(body).ok().or_else(|| parse_yaml(body).ok()).map(|it| it.value) else { return };
    let api_version = resource.api_version();
    let by = Writer { manager: "fuzz", api_version: &api_version, subresource: "" };
    let edit = Edit { shape: resource.shape(), by, scope: Scope::All, now: "2030-01-01T00:00:00Z" };
    let Ok(first) = apply::apply(edit, Some(current), &config, &Value::Null, true) else { return };
    let Ok(stored) = resource.normalise(first.object, Decoder::Text) else { return };
    let Applied { object, managed } = apply::apply(edit, Some(&stored.value), &config, &first.managed, false)
        .expect("what was applied by somebody is theirs to apply again");
    let again = resource.normalise(object, Decoder::Text).expect("it was one before").value;
    assert_eq!((again, managed), (stored.value, first.managed), "the same again is another");
}
