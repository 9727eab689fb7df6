//! The configurations themselves: defaults, validation, ownership.

use serde_json::{Value, json};

use super::{REGISTRATION, rule, webhook};
use crate::harness::{APPLY, Harness, JSON_PATCH};

const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

fn configuration() -> Value {
    let hook = webhook("v", json!([rule(&["CREATE"], &["pods"])]), Value::Null);
    json!({"metadata": {"name": "c"}, "webhooks": [hook]})
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let it = Harness::new().await;
    let mut given = configuration();
    given["webhooks"][0]["clientConfig"] = json!({"service": {"namespace": "n", "name": "s"}});
    for kind in ["mutating", "validating"] {
        let created = it.post(&format!("{REGISTRATION}/{kind}webhookconfigurations"), given.clone()).await.expect(201);
        let mut expected = json!({
            "name": "v.webhook.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "n", "name": "s", "port": 443}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*"}],
            "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
            "timeoutSeconds": 10,
        });
        if kind == "mutating" {
            expected["reinvocationPolicy"] = "Never".into();
        }
        assert_eq!(created["webhooks"], json!([expected]));
        assert_eq!(created["metadata"]["generation"], 1);
    }
}

/// What is said of a configuration after these operations on [`configuration`].
#[track_caller]
fn check(operations: Value, expected: &[&str]) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let it = Harness::new().await;
        let mut given = configuration();
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        json_patch::patch(&mut given, &patch).unwrap();
        let reply = it.post(VALIDATING, given).await;
        let causes = reply.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        let found: Vec<String> = causes
            .iter()
            .map(|it| format!("{}: {}", it["field"].as_str().unwrap(), it["message"].as_str().unwrap()))
            .collect();
        assert_eq!(found, expected, "{} ({place})", reply.text);
        assert_eq!(reply.code, if expected.is_empty() { 201 } else { 422 });
    }
}

fn set(path: &str, value: Value) -> Value {
    json!([{"op": "add", "path": format!("/webhooks/0/{path}"), "value": value}])
}

#[tokio::test]
async fn what_the_reference_refuses() {
    let name = "webhooks[0].name";
    check(json!([]), &[]).await;
    check(set("name", json!("")), &[&format!("{name}: Required value")]).await;
    check(
        set("name", json!("a.b")),
        &[&format!(
            "{name}: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots"
        )],
    )
    .await;
    check(
        json!([{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/1"}]),
        &["webhooks[1].name: Duplicate value: \"v.webhook.example\""],
    )
    .await;
    check(
        set("failurePolicy", json!("Never")),
        &["webhooks[0].failurePolicy: Unsupported value: \"Never\": supported values: \"Fail\", \"Ignore\""],
    )
    .await;
    check(
        set("matchPolicy", json!("Some")),
        &["webhooks[0].matchPolicy: Unsupported value: \"Some\": supported values: \"Equivalent\", \"Exact\""],
    )
    .await;
    check(
        json!([{"op": "remove", "path": "/webhooks/0/sideEffects"}]),
        &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
    )
    .await;
    check(
        set("timeoutSeconds", json!(31)),
        &["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
    )
    .await;
    let versions = "webhooks[0].admissionReviewVersions";
    check(
        set("admissionReviewVersions", json!([])),
        &[&format!("{versions}: Required value: must specify one of v1, v1beta1")],
    )
    .await;
    check(
        set("admissionReviewVersions", json!(["v2"])),
        &[&format!("{versions}: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1")],
    )
    .await;
    check(
        set("admissionReviewVersions", json!(["v1", "v1"])),
        &[&format!("{versions}[1]: Invalid value: \"v1\": duplicate version")],
    )
    .await;
    check(
        set("matchConditions", json!([{"name": "a", "expression": ""}, {"name": "a", "expression": "true"}, {"name": "", "expression": "true"}])),
        &[
            "webhooks[0].matchConditions[0].expression: Required value",
            "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
            "webhooks[0].matchConditions[2].name: Required value",
        ],
    )
    .await;
    check(
        set("objectSelector", json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
        &["webhooks[0].objectSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
    )
    .await;
}

#[tokio::test]
async fn rules_that_contradict_themselves() {
    let at = |field: &str| format!("webhooks[0].rules[0].{field}");
    let one = |field: &str, value: Value| set(&format!("rules/0/{field}"), value);
    check(one("operations", json!([])), &[&format!("{}: Required value", at("operations"))]).await;
    check(
        one("operations", json!(["*", "CREATE"])),
        &[&format!(
            "{}: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            at("operations")
        )],
    )
    .await;
    check(
        one("operations", json!(["PATCH"])),
        &[&format!("{}: Unsupported value: \"PATCH\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"", at("operations[0]"))],
    )
    .await;
    check(one("apiGroups", json!([])), &[&format!("{}: Required value", at("apiGroups"))]).await;
    check(one("apiVersions", json!([""])), &[&format!("{}: Required value", at("apiVersions[0]"))]).await;
    check(one("resources", json!([""])), &[&format!("{}: Required value", at("resources[0]"))]).await;
    check(
        one("resources", json!(["pods/*", "pods/resize"])),
        &[&format!(
            "{}: Invalid value: \"pods/resize\": if 'pods/*' is present, must not specify pods/resize",
            at("resources[1]")
        )],
    )
    .await;
    check(
        one("resources", json!(["*/resize", "pods/resize"])),
        &[&format!(
            "{}: Invalid value: \"pods/resize\": if '*/resize' is present, must not specify pods/resize",
            at("resources[1]")
        )],
    )
    .await;
    check(
        one("resources", json!(["*", "pods"])),
        &[&format!("{}: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources", at("resources"))],
    )
    .await;
    check(
        one("scope", json!("Some")),
        &[&format!(
            "{}: Unsupported value: \"Some\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            at("scope")
        )],
    )
    .await;
}

#[tokio::test]
async fn where_a_webhook_can_be() {
    let url = |url: &str| set("clientConfig", json!({"url": url}));
    let place = "webhooks[0].clientConfig.url: Invalid value: ";
    let form = "desired format: https://host[/path]";
    check(
        set("clientConfig", json!({})),
        &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
    )
    .await;
    check(
        set("clientConfig/service", json!({"namespace": "n", "name": "s"})),
        &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
    )
    .await;
    check(url("https://[::1]:8443/path"), &[]).await;
    check(url("http://host"), &[&format!("{place}\"http\": 'https' is the only allowed URL scheme; {form}")]).await;
    check(url("https:///path"), &[&format!("{place}\"\": host must be provided; {form}")]).await;
    check(
        url("https://me:secret@host/?a=b#c"),
        &[
            &format!("{place}\"me:secret\": user information is not permitted in the URL"),
            &format!("{place}\"c\": fragments are not permitted in the URL"),
            &format!("{place}\"a=b\": query parameters are not permitted in the URL"),
        ],
    )
    .await;
    let service = |more: Value| {
        let mut service = json!({"namespace": "n", "name": "s"});
        for (field, value) in more.as_object().unwrap() {
            service[field] = value.clone();
        }
        set("clientConfig", json!({"service": service}))
    };
    let place = "webhooks[0].clientConfig.service";
    check(service(json!({"path": "/a/b/"})), &[]).await;
    check(service(json!({"name": ""})), &[&format!("{place}.name: Required value: service name is required")]).await;
    check(
        service(json!({"port": 70000})),
        &[&format!("{place}.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive")],
    )
    .await;
    check(
        service(json!({"path": "//"})),
        &[&format!("{place}.path: Invalid value: \"//\": segment[0] may not be empty")],
    )
    .await;
    check(
        service(json!({"path": "/a//b"})),
        &[&format!("{place}.path: Invalid value: \"/a//b\": segment[1] may not be empty")],
    )
    .await;
}

#[tokio::test]
async fn webhooks_of_a_configuration_are_owned_one_by_one() {
    let it = Harness::new().await;
    let apply = async |manager: &str, timeout: u32, name: &str| {
        let hook = webhook(name, json!([rule(&["CREATE"], &["pods"])]), json!({"timeoutSeconds": timeout}));
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "c"}, "webhooks": [hook],
        });
        let path = format!("{VALIDATING}/c?fieldManager={manager}");
        it.call("PATCH", &path, &[("content-type", APPLY)], body.to_string()).await
    };
    apply("one", 5, "a").await.expect(201);
    let both = apply("two", 5, "b").await.expect(200);
    let names: Vec<&str> = both["webhooks"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.webhook.example", "b.webhook.example"]);
    assert_eq!(both["metadata"]["generation"], 2);
    let conflict = apply("two", 6, "a").await;
    assert_eq!(conflict.code, 409);
    assert!(conflict.message().contains(".webhooks[name=\"a.webhook.example\"].timeoutSeconds"), "{}", conflict.text);
}

#[tokio::test]
async fn what_was_stored_before_a_rule_may_stay() {
    let it = Harness::new().await;
    it.post(VALIDATING, configuration()).await.expect(201);
    // A change of something else does not make an update of what is right fail, and generation tells real changes only.
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]);
    let changed = it.patch(&format!("{VALIDATING}/c"), JSON_PATCH, label).await.expect(200);
    assert_eq!(changed["metadata"]["generation"], 1);
    let mut unversioned = configuration();
    unversioned["webhooks"][0]["timeoutSeconds"] = 3.into();
    let refused = it.put(&format!("{VALIDATING}/c"), unversioned).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            422,
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"c\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )
    );
}
