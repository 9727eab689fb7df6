//! Whole patches: bytes in, an object of its type or a status out; and the recorded resizes as pure patches.

use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::fields::{Decoder, FieldValidation, normalise};
use supple_apiserver::kinds::{self, Resource};
use supple_apiserver::patch::{self, PatchError, PatchType};

use crate::conformance;

fn pods() -> &'static Resource {
    kinds::find("", "v1", "pods").expect("pods are served")
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "app", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}})
}

const STRATEGIC: PatchType = PatchType::Strategic;

#[track_caller]
fn check(patch_type: PatchType, body: &str, pointer: &str, expected: Value) {
    let patched =
        patch::apply(patch_type, pods(), &pod(), body.as_bytes(), FieldValidation::Warn).expect("a good patch");
    assert_eq!(patched.value.pointer(pointer).unwrap_or(&Value::Null), &expected, "{body}");
    assert_eq!(patched.warnings, Vec::<String>::new(), "{body}");
}

#[track_caller]
fn check_error(patch_type: PatchType, body: &str, expected: PatchError) {
    let error =
        patch::apply(patch_type, pods(), &pod(), body.as_bytes(), FieldValidation::Strict).expect_err("a bad patch");
    assert_eq!(error, expected, "{body}");
}

#[test]
fn a_patch_is_applied_and_normalised() {
    let cpu = "/spec/containers/0/resources/requests/cpu";
    check(
        STRATEGIC,
        r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"0.25"}}}]}}"#,
        cpu,
        json!("250m"),
    );
    check(STRATEGIC, r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":2}}}]}}"#, cpu, json!("2"));
    check(
        PatchType::Json,
        r#"[{"op":"replace","path":"/spec/containers/0/resources/requests/cpu","value":"300m"}]"#,
        cpu,
        json!("300m"),
    );
    check(
        PatchType::Json,
        r#"[{"op":"test","path":"/spec/containers/0/name","value":"app"},{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"#,
        "/metadata/labels/a",
        json!("b"),
    );
    check(PatchType::Merge, r#"{"metadata":{"labels":{"a":"b","c":null}}}"#, "/metadata/labels", json!({"a": "b"}));
    check(PatchType::Merge, r#"{"spec":{"containers":[{"name":"x"}]}}"#, "/spec/containers", json!([{"name": "x"}]));
}

#[test]
fn what_is_no_patch_is_a_400() {
    let bad = |text: &str| PatchError::BadRequest(text.to_owned());
    check_error(STRATEGIC, "{\"spec\":", bad("unexpected end of JSON input"));
    check_error(STRATEGIC, "{\"spec\":x}", bad("invalid character 'x' looking for beginning of value"));
    check_error(STRATEGIC, "{x}", bad("invalid character 'x' looking for beginning of object key string"));
    check_error(STRATEGIC, "{\"a\" 1}", bad("invalid character '1' after object key"));
    check_error(STRATEGIC, "{\"a\":1 2}", bad("invalid character '2' after object key:value pair"));
    check_error(STRATEGIC, "{\"a\":[1 2]}", bad("invalid character '2' after array element"));
    check_error(STRATEGIC, "{} {}", bad("invalid character '{' after top-level value"));
    check_error(
        PatchType::Merge,
        "[1]",
        bad("json: cannot unmarshal array into Go value of type map[string]interface {}"),
    );
    check_error(PatchType::Merge, "{", bad("error decoding patch: unexpected end of JSON input"));
    check_error(PatchType::Json, "{}", bad("json: cannot unmarshal object into Go value of type []interface {}"));
    check_error(PatchType::Apply, "{}", PatchError::Unsupported);
}

#[test]
fn a_json_patch_that_cannot_be_applied_is_a_422_without_details() {
    for body in [
        r#"[{"op":"test","path":"/metadata/name","value":"q"}]"#,
        r#"[{"op":"replace","path":"/spec/nothing","value":1}]"#,
        r#"[{"op":"remove","path":"/spec/containers/7"}]"#,
        r#"[{"op":"jump","path":"/spec"}]"#,
        r#"[{"op":"add","path":"no-slash","value":1}]"#,
    ] {
        let error = patch::apply(PatchType::Json, pods(), &pod(), body.as_bytes(), FieldValidation::Warn)
            .expect_err("a bad patch");
        assert!(matches!(error, PatchError::Unprocessable { .. }), "{body}: {error:?}");
        assert_eq!(error.to_string(), "the server rejected our request due to an error in our request");
    }
}

#[test]
fn a_json_patch_has_limits() {
    let operations = |count: usize| {
        let list: Vec<_> = (0..count).map(|_| json!({"op": "test", "path": "/kind", "value": "Pod"})).collect();
        Value::Array(list).to_string()
    };
    assert!(
        patch::apply(PatchType::Json, pods(), &pod(), operations(10_000).as_bytes(), FieldValidation::Warn).is_ok()
    );
    check_error(PatchType::Json, &operations(10_001), PatchError::TooManyOperations(10_001));

    // Each copy doubles the object: forty would be a terabyte.
    let doubling: Vec<_> =
        (0..40).map(|_| json!({"op": "copy", "from": "/metadata", "path": "/metadata/annotations"})).collect();
    let error = patch::apply(
        PatchType::Json,
        pods(),
        &json!({"metadata": {"labels": {"a": "b".repeat(1000)}}}),
        Value::Array(doubling).to_string().as_bytes(),
        FieldValidation::Warn,
    );
    assert!(error.is_err());
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    check_error(STRATEGIC, &format!("{{\"a\":{deep}}}"), PatchError::BadRequest("exceeded max depth".to_owned()));
}

#[test]
fn unknown_and_duplicate_fields_warn_or_refuse() {
    let body =
        r#"{"spec":{"containers":[{"name":"app","resources":{"bogus":1,"requests":{"cpu":"120m","cpu":"130m"}}}]}}"#;
    let apply = |validation| patch::apply(STRATEGIC, pods(), &pod(), body.as_bytes(), validation);
    let warned = apply(FieldValidation::Warn).expect("accepted");
    assert_eq!(
        warned.warnings,
        [
            "duplicate field \"spec.containers[0].resources.requests.cpu\"",
            "unknown field \"spec.containers[0].resources.bogus\""
        ]
    );
    assert_eq!(warned.value["spec"]["containers"][0]["resources"], json!({"requests": {"cpu": "130m"}}));
    let ignored = apply(FieldValidation::Ignore).expect("accepted");
    assert_eq!(ignored, patch::Patched { value: warned.value, warnings: Vec::new() });
    assert_eq!(
        apply(FieldValidation::Strict).expect_err("refused").to_string(),
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[containers:[map[name:app resources:map[bogus:1 requests:map[cpu:130m]]]]]]\": strict decoding error: duplicate field \"spec.containers[0].resources.requests.cpu\", unknown field \"spec.containers[0].resources.bogus\""
    );
}

#[test]
fn a_wrong_type_is_a_422_that_shows_the_patch_or_the_outcome() {
    check_error(
        STRATEGIC,
        r#"{"spec":{"containers":"x"}}"#,
        PatchError::Invalid {
            value: "map[spec:map[containers:x]]".to_owned(),
            detail: "cannot restore slice from string".to_owned(),
        },
    );
    check_error(
        STRATEGIC,
        r#"{"spec":{"nodeName":7}}"#,
        PatchError::Invalid {
            value: "map[spec:map[nodeName:7]]".to_owned(),
            detail: "cannot convert int64 to string".to_owned(),
        },
    );
    let error = patch::apply(
        PatchType::Merge,
        pods(),
        &json!({"kind": "Pod"}),
        br#"{"spec":{"nodeName":7}}"#,
        FieldValidation::Warn,
    )
    .expect_err("refused");
    assert_eq!(
        error,
        PatchError::Invalid {
            value: r#"{"kind":"Pod","spec":{"nodeName":7}}"#.to_owned(),
            detail: "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string"
                .to_owned()
        }
    );
}

/// The recorded resizes: where the reference answered 200 to a strategic, merge or JSON patch, the resources in its answer
/// are those of the pure patch; where it refused the patch itself, we refuse it with the same words.
fn recorded(name: &str) {
    let Some(cases) = conformance::load(name) else { return };
    let mut compared = 0;
    for case in cases.as_array().expect("a list of cases") {
        let request = &case["request"];
        let Some(patch_type) = request["contentType"].as_str().and_then(PatchType::from_content_type) else { continue };
        // A write to `status` changes no spec, whatever the patch says.
        let status = request["path"].as_str().is_some_and(|it| it.ends_with("/status"));
        if patch_type == PatchType::Apply || request["method"] != "PATCH" || status || case["created"].is_null() {
            continue;
        }
        let body = match &request["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let shape = pods().shape().expect("pods have a type");
        let mut stored = case["pod"].clone();
        // The stored pod has the resources of the server's answer to its creation (defaulted), in the order of the spec.
        for list in ["containers", "initContainers"] {
            for (index, container) in case["created"][list].as_array().into_iter().flatten().enumerate() {
                if let Some(resources) = container.get("resources") {
                    stored["spec"][list][index]["resources"] = resources.clone();
                }
            }
        }
        let stored = normalise(stored, shape, Decoder::Text).expect("the pod is well-formed").value;
        let outcome = patch::apply(patch_type, pods(), &stored, body.as_bytes(), FieldValidation::Warn);
        let code = case["response"]["code"].as_u64().expect("a code");
        let message = case["response"]["body"]["message"].as_str().unwrap_or_default();
        match outcome {
            Ok(patched) if code == 200 => {
                for list in ["containers", "initContainers"] {
                    for (index, container) in
                        case["response"]["body"][list].as_array().into_iter().flatten().enumerate()
                    {
                        let ours = &patched.value["spec"][list][index];
                        assert_eq!(ours["name"], container["name"], "{name}: {}", case["name"]);
                        for part in ["limits", "requests"] {
                            for (resource, amount) in ours["resources"][part].as_object().into_iter().flatten() {
                                assert_eq!(
                                    amount, &container["resources"][part][resource],
                                    "{name}: {}: {part}.{resource}",
                                    case["name"]
                                );
                                compared += 1;
                            }
                        }
                    }
                }
            }
            Ok(_) => {
                assert!(!message.contains("patch: Invalid value"), "{name}: {}: accepted, but {message}", case["name"])
            }
            Err(error) => {
                assert_eq!(error.to_string(), message, "{name}: {}", case["name"]);
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "{name}: only {compared} comparisons");
}

#[test]
fn recorded_resizes_patch_as_the_reference_did() {
    recorded("resize-api.json");
}

#[test]
fn recorded_random_resizes_patch_as_the_reference_did() {
    recorded("resize-api-random.json");
}

proptest! {
    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for patch_type in [PatchType::Strategic, PatchType::Merge, PatchType::Json] {
            let _ = patch::apply(patch_type, pods(), &pod(), &body, FieldValidation::Warn);
        }
    }
}
