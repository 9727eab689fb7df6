//! Which requests a webhook is asked about: rules, selectors, conditions.

use serde_json::{Value, json};

use super::{allow, change, configure, rule, scripted, webhook};
use crate::harness::{Harness, JSON, MERGE, STRATEGIC, cpu, small};

const PODS: &str = "/api/v1/namespaces/n/pods";

/// One write of each sort; the answers do not matter here.
async fn write(it: &Harness, what: &str) {
    let reply = match what {
        "create" => it.post(PODS, small("b")).await,
        "update" => it.patch(&format!("{PODS}/a"), MERGE, json!({"metadata": {"labels": {"x": "y"}}})).await,
        "resize" => it.patch(&format!("{PODS}/a/resize"), STRATEGIC, cpu("110m")).await,
        "status" => it.patch(&format!("{PODS}/a/status"), MERGE, json!({"status": {"phase": "Running"}})).await,
        "binding" => it.post(&format!("{PODS}/a/binding"), json!({"target": {"kind": "Node", "name": "lab"}})).await,
        "eviction" => it.post(&format!("{PODS}/a/eviction"), json!({"metadata": {"name": "a"}})).await,
        "delete" => it.delete(&format!("{PODS}/a")).await,
        "namespace" => it.post("/api/v1/namespaces", json!({"metadata": {"name": "m", "labels": {"team": "a"}}})).await,
        "event" => {
            let event = json!({
                "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "n", "name": "a"},
                "reason": "R", "message": "m", "type": "Normal",
            });
            it.post("/api/v1/namespaces/n/events", event).await
        }
        "node" => it.post("/api/v1/nodes", json!({"metadata": {"name": "lab"}})).await,
        other => panic!("{other} is no write of this test"),
    };
    assert!(reply.code < 300, "{what}: {}", reply.text);
}

const WRITES: [&str; 10] =
    ["create", "update", "resize", "status", "binding", "namespace", "event", "node", "eviction", "delete"];

/// Which of all writes a webhook with this rule and these other fields is asked about.
#[track_caller]
fn check(rules: &Value, more: &Value, expected: &[&str]) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    let (rules, more, expected) = (rules.clone(), more.clone(), expected.to_vec());
    async move {
        let mut found = Vec::new();
        for what in WRITES {
            let (it, script) = scripted(|_, _| allow()).await;
            it.post(PODS, small("a")).await.expect(201);
            configure(&it, "validating", "v", json!([webhook("v", rules.clone(), more.clone())])).await;
            write(&it, what).await;
            if !script.paths().is_empty() {
                found.push(what);
            }
        }
        assert_eq!(found, expected, "{rules} {more} ({place})");
    }
}

#[tokio::test]
async fn rules_name_operations_resources_and_scopes() {
    let none = Value::Null;
    let any = |resources: &[&str]| json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources}]);
    let scoped = |scope: &str| {
        let mut rules = any(&["*"]);
        rules[0]["scope"] = scope.into();
        rules
    };
    let objects = ["create", "update", "namespace", "event", "node", "delete"];
    let below = ["resize", "status", "binding", "eviction"];
    check(&any(&["*"]), &none, &objects).await;
    check(&any(&["*/*"]), &none, &WRITES).await;
    check(&any(&["pods"]), &none, &["create", "update", "delete"]).await;
    check(&any(&["pods/*"]), &none, &["create", "update", "resize", "status", "binding", "eviction", "delete"]).await;
    check(&any(&["pods/resize"]), &none, &below[..1]).await;
    check(&any(&["pods/resize", "pods/binding"]), &none, &["resize", "binding"]).await;
    check(&any(&["*/resize"]), &none, &["resize"]).await;
    check(
        &json!([rule(&["CREATE"], &["*/*"])]),
        &none,
        &["create", "binding", "namespace", "event", "node", "eviction"],
    )
    .await;
    check(&json!([rule(&["UPDATE"], &["*/*"])]), &none, &["update", "resize", "status"]).await;
    check(&json!([rule(&["DELETE"], &["*/*"])]), &none, &["delete"]).await;
    check(&scoped("Cluster"), &none, &["namespace", "node"]).await;
    check(&scoped("Namespaced"), &none, &["create", "update", "event", "delete"]).await;
    // The same events are served in two groups: an equivalent rule catches both, an exact one does not.
    let events =
        json!([{"operations": ["*"], "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "resources": ["events"]}]);
    check(&events, &none, &["event"]).await;
    check(&events, &json!({"matchPolicy": "Exact"}), &[]).await;
}

#[tokio::test]
async fn selectors_and_conditions_narrow_a_rule() {
    let all = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]);
    let name = |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    check(&all, &name("n"), &["create", "update", "event", "node", "delete"]).await;
    check(&all, &name("other"), &["node"]).await;
    let team = json!({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}});
    check(&all, &team, &["namespace", "node"]).await;
    // The new object's labels or the old one's.
    check(&all, &json!({"objectSelector": {"matchLabels": {"x": "y"}}}), &["update"]).await;
    check(&all, &json!({"objectSelector": {"matchLabels": {"app": "a"}}}), &["update", "delete"]).await;
    check(
        &all,
        &json!({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
        &["create", "update", "delete"],
    )
    .await;
    let condition = |source: &str| json!({"matchConditions": [{"name": "c", "expression": source}]});
    check(&all, &condition("request.operation == 'DELETE' && object == null"), &["delete"]).await;
    check(&all, &condition("request.resource.resource == 'pods' && oldObject != null"), &["update", "delete"]).await;
    check(&all, &condition("request.kind.kind == 'Pod' && object != null && object.metadata.name == 'b'"), &["create"])
        .await;
}

#[tokio::test]
async fn a_condition_that_cannot_be_told_follows_the_failure_policy() {
    for (policy, code) in [("Fail", 403), ("Ignore", 200)] {
        let (it, script) = scripted(|_, _| allow()).await;
        it.post(PODS, small("a")).await.expect(201);
        let more = json!({
            "failurePolicy": policy,
            "matchConditions": [{"name": "c", "expression": "object.metadata.annotations.absent == 'x'"}],
        });
        configure(&it, "validating", "v", json!([webhook("v", json!([rule(&["*"], &["*/*"])]), more)])).await;
        let reply = it.patch(&format!("{PODS}/a/resize"), STRATEGIC, cpu("110m")).await;
        assert_eq!(reply.code, code, "{}", reply.text);
        if code == 403 {
            let start = "pods \"a\" is forbidden: expression 'object.metadata.annotations.absent == 'x'' resulted in error: no such key";
            assert!(reply.message().starts_with(start), "{}", reply.text);
        }
        assert!(script.paths().is_empty());
    }
}

#[tokio::test]
async fn configurations_are_read_when_they_change_and_never_asked_about() {
    let (it, script) = scripted(|_, _| json!({"allowed": false})).await;
    let every = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    configure(&it, "validating", "v", json!([webhook("v", every.clone(), Value::Null)])).await;
    configure(&it, "mutating", "m", json!([webhook("m", every, Value::Null)])).await;
    assert!(script.paths().is_empty(), "whoever breaks everything can still be removed");
    it.post(PODS, small("a")).await.expect(400);
    assert_eq!(script.paths(), ["/m?timeout=10s"]);
    it.delete(&format!("{}/mutatingwebhookconfigurations/m", super::REGISTRATION)).await.expect(200);
    it.post(PODS, small("a")).await.expect(400);
    assert_eq!(script.paths(), ["/v?timeout=10s"]);
    let path = format!("{}/validatingwebhookconfigurations/v", super::REGISTRATION);
    let narrow = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["DELETE"]}]);
    let changed = it.patch(&path, crate::harness::JSON_PATCH, narrow).await.expect(200);
    assert_eq!(changed["metadata"]["generation"], 2);
    it.post(PODS, small("a")).await.expect(201);
    it.delete(&path).await.expect(200);
    it.call("DELETE", &format!("{PODS}/a"), &[("content-type", JSON)], "").await.expect(200);
    assert!(script.paths().is_empty());
}

#[tokio::test]
async fn a_custom_kind_is_shown_in_the_version_that_a_rule_names() {
    let patch = json!([{"op": "add", "path": "/spec/seen", "value": true}]);
    let (it, script) = scripted(move |_, _| change(patch.clone())).await;
    let version = |name: &str, storage: bool| {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
    };
    let definition = json!({
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version("v1", true), version("v1beta1", false)],
        },
    });
    it.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await.expect(201);
    let rules = json!([{"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1beta1"], "resources": ["gadgets"]}]);
    configure(&it, "mutating", "m", json!([webhook("m", rules, Value::Null)])).await;
    let gadget = json!({"metadata": {"name": "g"}, "spec": {}});
    let created = it.post("/apis/example.com/v1/namespaces/n/gadgets", gadget).await.expect(201);
    assert_eq!((&created["apiVersion"], &created["spec"]), (&json!("example.com/v1"), &json!({"seen": true})));
    let asked = script.asked();
    let request = &asked[0].1;
    assert_eq!(request["object"]["apiVersion"], "example.com/v1beta1");
    assert_eq!((&request["kind"]["version"], &request["requestKind"]["version"]), (&json!("v1beta1"), &json!("v1")));
}
