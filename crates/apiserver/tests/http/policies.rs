//! Validating admission policies: the recorded conversation (end of transcript-admission), and what policies are made of.

use serde_json::{Value, json};

use crate::harness::{Harness, MERGE, Reply, STRATEGIC, conformance, cpu, small};

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";
const PODS: &str = "/api/v1/namespaces/n/pods";

/// Rules about these resources of the core group.
fn about(resources: &[&str]) -> Value {
    json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}]})
}

/// A server with the policy `v`, bound as `v`; `spec` and `binding` are put over what they usually are.
async fn with(spec: Value, binding: Value) -> Harness {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    configure(&it, spec, binding).await;
    it
}

async fn configure(it: &Harness, spec: Value, binding: Value) {
    let over = |mut usual: Value, given: Value| {
        usual.as_object_mut().unwrap().extend(given.as_object().cloned().unwrap_or_default());
        usual
    };
    let spec = over(json!({"matchConstraints": about(&["pods/resize"])}), spec);
    let binding = over(json!({"policyName": "v", "validationActions": ["Deny"]}), binding);
    let object = |spec: Value| json!({"metadata": {"name": "v"}, "spec": spec});
    it.post(&format!("{REGISTRATION}/validatingadmissionpolicies"), object(spec)).await.expect(201);
    it.post(&format!("{REGISTRATION}/validatingadmissionpolicybindings"), object(binding)).await.expect(201);
}

async fn resize(it: &Harness, ask: &str) -> Reply {
    it.patch(&format!("{PODS}/a/resize"), STRATEGIC, cpu(ask)).await
}

/// One rule.
fn rule(expression: &str) -> Value {
    json!({"validations": [{"expression": expression}]})
}

#[tokio::test]
async fn a_policy_sees_what_the_reference_shows_it() {
    let Some(recorded) = conformance("transcript-admission.txt") else { return };
    let said: Vec<&str> =
        recorded.lines().skip_while(|it| !it.starts_with("### VAP")).filter(|it| it.starts_with("422")).collect();
    assert_eq!(said.len(), 4);
    let says = "'gen=' + string(object.metadata.generation) + ' old=' + string(oldObject.metadata.generation) + ' kind=' + request.kind.kind + ' opts=' + request.operation";
    let it = Harness::new().await;
    it.post(PODS, small("b")).await.expect(201);
    for (index, ask) in ["110m", "120m", "130m", "140m"].into_iter().enumerate() {
        let reply = it.patch(&format!("{PODS}/b/resize"), STRATEGIC, cpu(ask)).await.expect(200);
        assert_eq!(reply["metadata"]["generation"], index + 2);
    }
    configure(&it, json!({"validations": [{"expression": "false", "messageExpression": says}]}), Value::Null).await;
    for line in said {
        let reply = it.patch(&format!("{PODS}/b/resize"), STRATEGIC, cpu("150m")).await;
        let found = format!("{} reason={} msg={}", reply.code, reply.body["reason"].as_str().unwrap(), reply.message());
        assert_eq!(found, line);
        let (_, why) = reply.message().split_once(" is forbidden: ").unwrap();
        assert_eq!(reply.body["details"], json!({"name": "b", "kind": "pods", "causes": [{"message": why}]}));
    }
}

#[tokio::test]
async fn rules_are_about_what_the_policy_names() {
    for (resources, refused) in [("pods/resize", true), ("pods/*", true), ("*/*", true), ("pods", false), ("*", false)]
    {
        let it = with(
            json!({"matchConstraints": about(&[resources]), "validations": [{"expression": "false"}]}),
            Value::Null,
        )
        .await;
        assert_eq!(resize(&it, "110m").await.code == 422, refused, "{resources}");
    }
    let mut except = about(&["*/*"]);
    except["excludeResourceRules"] = about(&["pods/resize"])["resourceRules"].clone();
    let it = with(json!({"matchConstraints": except, "validations": [{"expression": "false"}]}), Value::Null).await;
    resize(&it, "110m").await.expect(200);
    it.post(PODS, small("b")).await.expect(422);
    let mut named = about(&["pods/resize"]);
    named["resourceRules"][0]["resourceNames"] = json!(["other"]);
    let it = with(json!({"matchConstraints": named, "validations": [{"expression": "false"}]}), Value::Null).await;
    resize(&it, "110m").await.expect(200);
    // A binding narrows what the policy is about.
    let elsewhere =
        json!({"matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}});
    let it = with(rule("false"), elsewhere).await;
    resize(&it, "110m").await.expect(200);
}

/// What a resize from 100m to 110m is answered under this policy.
#[track_caller]
fn check(spec: Value, code: u16, expected: &str) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let expected = expected.to_owned();
    async move {
        let it = with(spec, Value::Null).await;
        let reply = resize(&it, "110m").await;
        let message = reply.message();
        let start = "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'v' with binding 'v' denied request: ";
        let message = message.strip_prefix(start).unwrap_or(message);
        assert!(reply.code == code && message.starts_with(&expected), "{} ({place})", reply.text);
    }
}

#[tokio::test]
async fn rules_and_their_messages() {
    check(rule("object.metadata.name == 'a'"), 200, "").await;
    check(rule(" object.metadata.name == 'b' "), 422, "failed expression: object.metadata.name == 'b'").await;
    let one = |more: Value| {
        let mut rule = rule("false");
        rule["validations"][0].as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        rule
    };
    check(one(json!({"message": "fixed"})), 422, "fixed").await;
    check(one(json!({"message": "fixed", "messageExpression": "'made of ' + object.metadata.name"})), 422, "made of a")
        .await;
    check(one(json!({"message": "fixed", "messageExpression": "object.metadata.absent"})), 422, "fixed").await;
    check(one(json!({"reason": "Forbidden"})), 403, "failed expression").await;
    check(one(json!({"reason": "RequestEntityTooLarge"})), 413, "failed expression").await;
    // The first broken rule is the one that is told.
    let two = json!({"validations": [{"expression": "true"}, {"expression": "false", "message": "two"}, {"expression": "false", "message": "three"}]});
    check(two, 422, "two").await;
    let absent = "object.metadata.annotations.absent == 'x'";
    check(rule(absent), 422, &format!("expression '{absent}' resulted in error: no such key")).await;
    let mut open = rule(absent);
    open["failurePolicy"] = "Ignore".into();
    check(open, 200, "").await;
}

#[tokio::test]
async fn variables_namespaces_and_conditions() {
    let variables = json!([
        {"name": "cpu", "expression": "object.spec.containers[0].resources.requests.cpu"},
        {"name": "grown", "expression": "variables.cpu != oldObject.spec.containers[0].resources.requests.cpu"},
        {"name": "broken", "expression": "object.metadata.absent"},
    ]);
    let using = |expression: &str| json!({"variables": variables, "validations": [{"expression": expression}]});
    check(using("variables.grown && variables.cpu == '110m'"), 200, "").await;
    check(using("!variables.grown"), 422, "failed expression").await;
    check(using("variables.broken == 'x'"), 422, "expression 'variables.broken == 'x'' resulted in error").await;
    check(rule("namespaceObject.metadata.name == 'n'"), 200, "").await;
    let condition = |expression: &str| {
        let mut rule = rule("false");
        rule["matchConditions"] = json!([{"name": "c", "expression": expression}]);
        rule
    };
    check(condition("request.name == 'a'"), 422, "failed expression").await;
    check(condition("request.name == 'b'"), 200, "").await;
}

#[tokio::test]
async fn a_binding_says_what_becomes_of_a_broken_rule() {
    let it = with(rule("false"), json!({"validationActions": ["Warn", "Audit"]})).await;
    let reply = resize(&it, "110m").await;
    let warning =
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'v' with binding 'v': failed expression: false\"";
    assert_eq!((reply.code, reply.warnings()), (200, vec![warning.to_owned()]));
    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings/v");
    it.patch(&path, MERGE, json!({"spec": {"validationActions": ["Deny"]}})).await.expect(200);
    resize(&it, "120m").await.expect(422);
    it.delete(&path).await.expect(200);
    resize(&it, "120m").await.expect(200);
}

#[tokio::test]
async fn parameters_come_from_objects() {
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "params.data.allowed == object.spec.containers[0].resources.requests.cpu"}],
    });
    let named = |action: &str| json!({"paramRef": {"name": "limits", "parameterNotFoundAction": action}});
    let it = with(spec.clone(), named("Allow")).await;
    resize(&it, "110m").await.expect(200);
    let map = |name: &str, allowed: &str| json!({"metadata": {"name": name, "labels": {"is": "limit"}}, "data": {"allowed": allowed}});
    let maps = "/api/v1/namespaces/n/configmaps";
    it.post(maps, map("limits", "120m")).await.expect(201);
    resize(&it, "130m").await.expect(422);
    resize(&it, "120m").await.expect(200);

    let it = with(spec.clone(), named("Deny")).await;
    let reply = resize(&it, "110m").await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(reply.code == 422 && reply.message().ends_with(why), "{}", reply.text);

    // Of several, all must be content.
    let chosen = json!({"paramRef": {"selector": {"matchLabels": {"is": "limit"}}, "parameterNotFoundAction": "Deny"}});
    let it = with(spec, chosen).await;
    it.post(maps, map("one", "110m")).await.expect(201);
    resize(&it, "110m").await.expect(200);
    it.post(maps, map("two", "120m")).await.expect(201);
    resize(&it, "120m").await.expect(422);
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let it = Harness::new().await;
    let causes = async |kind: &str, spec: Value| {
        let path = format!("{REGISTRATION}/{kind}");
        let reply = it.post(&path, json!({"metadata": {"name": "v"}, "spec": spec})).await;
        assert_eq!(reply.code, 422, "{}", reply.text);
        let causes = reply.body["details"]["causes"].as_array().cloned().unwrap();
        let text = |it: &Value| format!("{}: {}", it["field"].as_str().unwrap(), it["message"].as_str().unwrap());
        causes.iter().map(text).collect::<Vec<_>>()
    };
    let found = causes("validatingadmissionpolicies", json!({})).await;
    let none = "Required value: validations or auditAnnotations must contain at least one item";
    assert_eq!(
        found,
        [
            "spec.matchConstraints: Required value".to_owned(),
            format!("spec.validations: {none}"),
            format!("spec.auditAnnotations: {none}")
        ]
    );
    let wrong = json!({
        "matchConstraints": about(&["pods"]),
        "variables": [{"name": "a-b", "expression": "true"}],
        "validations": [{"expression": "params.x"}, {"expression": "'text'"}, {"expression": " ", "reason": "NotFound"}],
    });
    let found = causes("validatingadmissionpolicies", wrong).await;
    assert_eq!(found[0], "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier");
    assert!(
        found[1].starts_with("spec.validations[0].expression: Invalid value: \"params.x\": compilation failed: "),
        "{found:?}"
    );
    assert_eq!(
        found[2..],
        [
            "spec.validations[1].expression: Invalid value: \"'text'\": cel expression must evaluate to a bool",
            "spec.validations[2].expression: Required value: expression is not specified",
            "spec.validations[2].reason: Unsupported value: \"NotFound\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ]
    );
    let found = causes("validatingadmissionpolicybindings", json!({"validationActions": ["Deny", "Warn"]})).await;
    assert_eq!(found[0], "spec.policyName: Required value");
    assert!(found[1].starts_with(
        "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn"
    ));
    let found = causes("validatingadmissionpolicybindings", json!({"policyName": "v", "paramRef": {}})).await;
    assert_eq!(
        found,
        [
            "spec.paramRef: Required value: one of name or selector must be specified",
            "spec.paramRef.parameterNotFoundAction: Required value: parameterNotFoundAction is required",
            "spec.validationActions: Required value: at least one validation action is required",
        ]
    );
}

#[tokio::test]
async fn a_policy_and_its_binding_have_their_own_columns() {
    let it = with(
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "true"}]}),
        Value::Null,
    )
    .await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (kind, expected) in [
        ("validatingadmissionpolicies", json!(["v", 1, "v1/ConfigMap"])),
        ("validatingadmissionpolicybindings", json!(["v", "v", "<unset>"])),
    ] {
        let reply = it.call("GET", &format!("{REGISTRATION}/{kind}"), &[("accept", table)], "").await.expect(200);
        let cells = reply["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(json!(cells[..3]), expected);
    }
    let policy = it.get(&format!("{REGISTRATION}/validatingadmissionpolicies/v")).await.expect(200);
    assert_eq!(policy["metadata"]["generation"], 1);
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    assert_eq!(policy["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
    assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
}
