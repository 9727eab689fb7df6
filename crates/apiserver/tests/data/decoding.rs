//! Bodies into objects: findings, texts, the normal form, and that the normal form always has a typed form.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use supple_apiserver::fields::{self, Decoder, normalise, parse_json, parse_yaml};
use supple_apiserver::kinds;

#[track_caller]
fn check(plural: &str, body: Value, expected: Value, unknown: &[&str]) {
    let shape = kinds::find("", "v1", plural).and_then(|it| it.shape()).expect("served");
    let normalised = normalise(body, shape, Decoder::Text).expect("well-formed");
    assert_eq!(normalised.value, expected);
    assert_eq!(normalised.unknown, unknown);
}

#[track_caller]
fn check_error(plural: &str, body: Value, expected: &str) {
    let resource = kinds::find("", "v1", plural).expect("served");
    let error = normalise(body, resource.shape().expect("typed"), Decoder::Text).expect_err("ill-formed");
    assert_eq!(fields::cannot_be_handled(resource, &error.to_string()), expected);
}

#[test]
fn quantities_take_their_canonical_form() {
    let pod = |cpu: Value, memory: Value| json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": cpu, "memory": memory}}}]}});
    check("pods", pod(json!(0.5), json!("1024Ki")), pod(json!("500m"), json!("1Mi")), &[]);
    check("pods", pod(json!(2), json!(" 1Gi ")), pod(json!("2"), json!("1Gi")), &[]);
    check("pods", pod(json!("100u"), json!(null)), pod(json!("1m"), json!("0")), &[]);
}

#[test]
fn unknown_fields_go_and_are_named() {
    check(
        "pods",
        json!({"specc": 1, "spec": {"containers": [{"name": "a", "Image": "x"}, {"name": "b", "resources": {"limit": {}}}]}}),
        json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {}}]}}),
        &[
            "unknown field \"spec.containers[0].Image\"",
            "unknown field \"spec.containers[1].resources.limit\"",
            "unknown field \"specc\"",
        ],
    );
}

#[test]
fn empty_and_null_fields_go_but_empty_objects_stay() {
    check(
        "pods",
        json!({"metadata": {"name": "a", "labels": {}, "creationTimestamp": null, "generateName": ""}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [], "nodeSelector": {}, "containers": []}, "status": {}}),
        json!({"metadata": {"name": "a"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": []}, "status": {}}),
        &[],
    );
    check("configmaps", json!({"data": {"a": null}}), json!({"data": {"a": ""}}), &[]);
}

#[test]
fn times_take_their_canonical_form() {
    check(
        "pods",
        json!({"status": {"startTime": "2026-01-02T03:04:05.678+01:00"}}),
        json!({"status": {"startTime": "2026-01-02T02:04:05Z"}}),
        &[],
    );
    check(
        "events",
        json!({"eventTime": "2026-01-02T03:04:05Z"}),
        json!({"eventTime": "2026-01-02T03:04:05.000000Z"}),
        &[],
    );
}

#[test]
fn wrong_types_have_the_reference_text() {
    check_error(
        "pods",
        json!({"spec": {"containers": [{"image": 1}]}}),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
    );
    check_error(
        "pods",
        json!({"spec": []}),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
    );
    check_error(
        "pods",
        json!({"spec": {"containers": {}}}),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    );
    check_error(
        "pods",
        json!({"metadata": {"labels": {"a": 1}}}),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string",
    );
    check_error(
        "pods",
        json!({"spec": {"priority": 3_000_000_000_u64}}),
        "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32",
    );
    check_error(
        "pods",
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "100mm"}}}]}}),
        "Pod in version \"v1\" cannot be handled as a Pod: unable to parse quantity's suffix",
    );
    check_error(
        "secrets",
        json!({"data": {"a": "%%"}}),
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
    );
}

#[test]
fn duplicates_are_found_once_and_the_last_counts() {
    let parsed = parse_json(br#"{"a":[{"b":1,"b":2,"b":3}],"a":[]}"#).expect("JSON");
    assert_eq!(parsed.duplicates, ["duplicate field \"a[0].b\"", "duplicate field \"a\""]);
    assert_eq!(parsed.value, json!({"a": []}));
}

#[test]
fn yaml_is_read() {
    let parsed = parse_yaml(b"spec:\n  containers:\n  - name: a\n    resources: {limits: {cpu: 1}}\n").expect("YAML");
    assert_eq!(parsed.value, json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": 1}}}]}}));
    assert!(parse_yaml(b"a: [1").is_err());
    assert!(parse_yaml(&[0xff]).is_err());
}

#[test]
fn warnings_are_quoted() {
    assert_eq!(fields::warning_header("unknown field \"a\""), "299 - \"unknown field \\\"a\\\"\"");
    assert_eq!(fields::warning_header("a\nb\\"), "299 - \"a b\\\\\"");
}

/// Values that fit or nearly fit the types.
pub fn value() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "name",
        "labels",
        "containers",
        "resources",
        "limits",
        "requests",
        "cpu",
        "env",
        "ports",
        "containerPort",
        "data",
        "stringData",
        "conditions",
        "type",
        "startTime",
        "creationTimestamp",
        "limits",
        "hard",
        "default",
        "priority",
        "volumes",
        "emptyDir",
        "livenessProbe",
        "httpGet",
        "port",
        "allocatable",
        "finalizers",
        "ownerReferences",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|it| json!(it)),
        any::<f64>().prop_map(|it| json!(it)),
        "[a-z0-9:+T=Z-]{0,12}".prop_map(Value::String),
        Just(json!("2026-01-02T03:04:05Z")),
        Just(json!("100m")),
    ];
    leaf.prop_recursive(7, 96, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|entries| Value::Object(
                entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

/// So many, the same ones each time: what a change breaks shows with that change. With `SUPPLE_CASES`, as many times more, and others each time.
fn times(usual: u32) -> ProptestConfig {
    let more = std::env::var("SUPPLE_CASES").ok().map(|it| it.parse().expect("SUPPLE_CASES is a whole number"));
    match more {
        Some(more) => ProptestConfig::with_cases(usual.saturating_mul(more)),
        None => ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(usual) },
    }
}

proptest! {
    #![proptest_config(times(1000))]

    #[test]
    fn the_normal_form_is_stable_and_has_a_typed_form(value in value()) {
        use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, ResourceQuota, Secret};
        fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<(), String> {
            serde_json::from_value::<T>(value.clone()).map(|_| ()).map_err(|error| format!("{error}: {value}"))
        }
        type Check = fn(&Value) -> Result<(), String>;
        let kinds: [(&str, Check); 5] = [
            ("pods", typed::<Pod>), ("nodes", typed::<Node>), ("configmaps", typed::<ConfigMap>),
            ("secrets", typed::<Secret>), ("resourcequotas", typed::<ResourceQuota>),
        ];
        for (plural, check) in kinds {
            let resource = kinds::find("", "v1", plural).expect("served");
            let mut value = value.clone();
            if let Some(fields) = value.as_object_mut() {
                fields.insert("apiVersion".to_owned(), "v1".into());
                fields.insert("kind".to_owned(), resource.kind.into());
            }
            let Ok(once) = normalise(value, resource.shape().expect("typed"), Decoder::Text) else { continue };
            if once.value.is_object() {
                prop_assert_eq!(check(&once.value), Ok(()));
            }
            let twice = normalise(once.value.clone(), resource.shape().expect("typed"), Decoder::Text).expect("still well-formed");
            prop_assert_eq!(once.value, twice.value);
            prop_assert_eq!(twice.unknown, Vec::<String>::new());
        }
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = parse_json(&body);
        let _ = parse_yaml(&body);
    }
}
