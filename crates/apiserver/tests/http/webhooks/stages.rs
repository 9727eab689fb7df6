//! What webhooks are shown at each stage of a write, and what becomes of what they say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use supple_apiserver::Options;
use supple_apiserver::webhook::{Answer, Call, Transport, TransportError};

use super::{allow, answer, change, configure, rule, scripted, webhook};
use crate::harness::{APPLY, Harness, JSON, MERGE, STRATEGIC, cpu, pod, small};

const PODS: &str = "/api/v1/namespaces/n/pods";

/// Rules about everything.
fn everything() -> Value {
    json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}])
}

/// The parts of a review at these pointers, absent ones as null.
fn parts(request: &Value, pointers: &[&str]) -> Value {
    pointers.iter().map(|pointer| request.pointer(pointer).cloned().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_creation_is_shown_before_and_after_the_server_has_completed_it() {
    let (it, script) = scripted(|_, _| allow()).await;
    configure(&it, "mutating", "m", json!([webhook("m", everything(), Value::Null)])).await;
    configure(&it, "validating", "v", json!([webhook("v", everything(), Value::Null)])).await;
    let mut body = small("a");
    body["metadata"] = json!({"generateName": "a-", "uid": "mine", "generation": 7});
    let created = it.post(&format!("{PODS}?fieldManager=me&fieldValidation=Strict"), body).await.expect(201);
    let asked = script.asked();
    let [(m, first), (v, second)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((m.as_str(), v.as_str()), ("/m?timeout=10s", "/v?timeout=10s"));
    let of_interest = [
        "/name",
        "/namespace",
        "/operation",
        "/object/metadata/name",
        "/object/metadata/uid",
        "/object/metadata/generation",
        "/object/status/qosClass",
        "/object/metadata/managedFields/0/manager",
        "/oldObject",
    ];
    assert_eq!(parts(first, &of_interest), json!([null, "n", "CREATE", null, null, null, null, "me", null]));
    let (name, uid) = (&created["metadata"]["name"], &created["metadata"]["uid"]);
    assert_eq!(parts(second, &of_interest), json!([name, "n", "CREATE", name, uid, 1, "Burstable", "me", null]));
    assert_eq!(
        first["options"],
        json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict"})
    );
    assert_eq!(first["userInfo"], json!({"username": "supple", "groups": ["system:masters", "system:authenticated"]}));
    assert_eq!(parts(first, &["/subResource", "/requestSubResource", "/dryRun"]), json!([null, null, false]));
    // What the server's own admission fills in is there when a webhook is asked.
    assert_eq!(first["object"]["spec"]["serviceAccountName"], "default");
    assert_eq!(first["object"]["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn every_operation_has_its_own_form() {
    let (it, script) = scripted(|_, _| allow()).await;
    it.post(PODS, small("a")).await.expect(201);
    it.post(PODS, small("b")).await.expect(201);
    configure(&it, "validating", "v", json!([webhook("v", everything(), Value::Null)])).await;
    let of_interest = [
        "/operation",
        "/kind/kind",
        "/resource/resource",
        "/subResource",
        "/name",
        "/namespace",
        "/object/kind",
        "/oldObject/kind",
        "/options/kind",
    ];
    let check = async |reply: crate::harness::Reply, expected: &[Value]| {
        assert!(reply.code < 300, "{}", reply.text);
        let found: Vec<Value> = script.asked().iter().map(|(_, request)| parts(request, &of_interest)).collect();
        assert_eq!(found, expected);
    };
    let a = format!("{PODS}/a");
    let object = it.get(&a).await.expect(200);
    check(it.put(&a, object).await, &[json!(["UPDATE", "Pod", "pods", null, "a", "n", "Pod", "Pod", "UpdateOptions"])])
        .await;
    check(
        it.patch(&format!("{a}/status"), MERGE, json!({"status": {"phase": "Pending"}})).await,
        &[json!(["UPDATE", "Pod", "pods", "status", "a", "n", "Pod", "Pod", "UpdateOptions"])],
    )
    .await;
    check(
        it.post(&format!("{a}/binding"), json!({"target": {"kind": "Node", "name": "lab"}})).await,
        &[json!(["CREATE", "Binding", "pods", "binding", "a", "n", "Binding", null, "CreateOptions"])],
    )
    .await;
    check(
        it.post(&format!("{a}/eviction"), json!({"metadata": {"name": "a"}})).await,
        &[json!(["CREATE", "Eviction", "pods", "eviction", "a", "n", "Eviction", null, "CreateOptions"])],
    )
    .await;
    check(
        it.delete(&format!("{PODS}/b")).await,
        &[json!(["DELETE", "Pod", "pods", null, "b", "n", null, "Pod", "DeleteOptions"])],
    )
    .await;
    for name in ["x", "y"] {
        it.post("/api/v1/namespaces/n/configmaps", json!({"metadata": {"name": name}})).await.expect(201);
    }
    script.asked();
    let removed = json!(["DELETE", "ConfigMap", "configmaps", null, null, "n", null, "ConfigMap", "DeleteOptions"]);
    check(it.delete("/api/v1/namespaces/n/configmaps").await, &[removed.clone(), removed]).await;
    check(
        it.post("/api/v1/namespaces", json!({"metadata": {"name": "m"}})).await,
        &[json!(["CREATE", "Namespace", "namespaces", null, "m", "m", "Namespace", null, "CreateOptions"])],
    )
    .await;
    check(
        it.call(
            "PATCH",
            "/api/v1/namespaces/n/configmaps/c?fieldManager=me",
            &[("content-type", APPLY)],
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}).to_string(),
        )
        .await,
        &[json!(["CREATE", "ConfigMap", "configmaps", null, "c", "n", "ConfigMap", null, "CreateOptions"])],
    )
    .await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/n/leases/l";
    check(
        it.put(lease, json!({"metadata": {"name": "l"}})).await,
        &[json!(["CREATE", "Lease", "leases", null, "l", "n", "Lease", null, "CreateOptions"])],
    )
    .await;
}

#[tokio::test]
async fn a_removal_tells_its_options() {
    let (it, script) = scripted(|_, _| allow()).await;
    it.post(PODS, small("a")).await.expect(201);
    it.post(&format!("{PODS}/a/binding"), json!({"target": {"kind": "Node", "name": "lab"}})).await.expect(201);
    configure(&it, "validating", "v", json!([webhook("v", everything(), Value::Null)])).await;
    let uid = it.get(&format!("{PODS}/a")).await.expect(200)["metadata"]["uid"].clone();
    let mut options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}, "dryRun": ["All"]});
    let path = format!("{PODS}/a");
    let headers = [("content-type", JSON)];
    it.call("DELETE", &path, &headers, options.to_string()).await.expect(200);
    options["dryRun"] = json!([]);
    options["gracePeriodSeconds"] = 5.into();
    it.call("DELETE", &path, &headers, options.to_string()).await.expect(200);
    let asked = script.asked();
    let told = |seconds: u32| json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": seconds, "preconditions": {"uid": uid}});
    let mut dry = told(30);
    dry["dryRun"] = json!(["All"]);
    assert_eq!(asked.iter().map(|(_, request)| request["options"].clone()).collect::<Vec<_>>(), [dry, told(5)]);
    assert_eq!(asked[0].1["dryRun"], true);
    // It is being deleted already: nothing changes, and nobody is asked.
    it.delete(&path).await.expect(200);
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn an_equivalent_version_is_what_the_rule_names() {
    let (it, script) = scripted(|_, _| change(json!([{"op": "add", "path": "/note", "value": "seen"}]))).await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["events.k8s.io"], "apiVersions": ["v1"], "resources": ["events"]}]);
    configure(&it, "mutating", "m", json!([webhook("m", rules, Value::Null)])).await;
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "n", "name": "a"}, "reason": "R",
        "message": "before", "type": "Normal",
    });
    let created = it.post("/api/v1/namespaces/n/events", event).await.expect(201);
    assert_eq!(created["message"], "seen");
    let (_, request) = &script.asked()[0];
    assert_eq!(
        parts(
            request,
            &[
                "/kind/group",
                "/requestKind/group",
                "/resource/group",
                "/requestResource/group",
                "/object/note",
                "/object/regarding/name"
            ]
        ),
        json!(["events.k8s.io", "", "events.k8s.io", "", "before", "a"])
    );
}

#[tokio::test]
async fn a_write_to_scale_is_shown_as_a_scale() {
    let (it, script) = scripted(|path, _| {
        if path.starts_with("/m") {
            change(json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]))
        } else {
            allow()
        }
    })
    .await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    let path = "/apis/apps/v1/namespaces/n/deployments";
    it.post(path, deployment).await.expect(201);
    let rules = json!([{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}]);
    configure(&it, "mutating", "m", json!([webhook("m", rules.clone(), Value::Null)])).await;
    configure(&it, "validating", "v", json!([webhook("v", rules, Value::Null)])).await;
    let patched = it.patch(&format!("{path}/d/scale"), MERGE, json!({"spec": {"replicas": 2}})).await.expect(200);
    assert_eq!((&patched["kind"], &patched["spec"]["replicas"]), (&json!("Scale"), &json!(4)));
    assert_eq!(it.get(&format!("{path}/d")).await.expect(200)["spec"]["replicas"], 4);
    let of_interest = [
        "/kind/group",
        "/kind/kind",
        "/resource/resource",
        "/subResource",
        "/object/kind",
        "/object/spec/replicas",
        "/oldObject/kind",
        "/oldObject/spec/replicas",
    ];
    let seen: Vec<Value> = script.asked().iter().map(|(_, request)| parts(request, &of_interest)).collect();
    let told = |replicas: u32| json!(["autoscaling", "Scale", "deployments", "scale", "Scale", replicas, "Scale", 1]);
    assert_eq!(seen, [told(2), told(4)]);
}

/// What a creation of [`small`] becomes after these operations.
#[track_caller]
fn check_patch(operations: Value, pointer: &'static str, expected: Value) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let (it, _) = scripted(move |_, _| change(operations.clone())).await;
        configure(&it, "mutating", "m", json!([webhook("m", json!([rule(&["CREATE"], &["pods"])]), Value::Null)]))
            .await;
        let reply = it.post(PODS, small("a")).await;
        let found =
            if reply.code == 201 { &reply.body } else { &json!({"code": reply.code, "message": reply.message()}) };
        assert_eq!(found.pointer(pointer).unwrap_or(&Value::Null), &expected, "{} ({place})", reply.text);
    }
}

#[tokio::test]
async fn a_patch_is_applied_defaulted_and_validated() {
    let resources = "/spec/containers/0/resources";
    check_patch(json!([]), "/spec/containers/0/resources/requests/cpu", json!("100m")).await;
    check_patch(json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}]), "/metadata/labels/x", json!("y"))
        .await;
    // A limit without a request becomes the request.
    check_patch(
        json!([{"op": "replace", "path": resources, "value": {"limits": {"cpu": "1"}}}]),
        "/spec/containers/0/resources/requests/cpu",
        json!("1"),
    )
    .await;
    check_patch(json!([{"op": "add", "path": "/spec/unknown", "value": 1}]), "/spec/unknown", Value::Null).await;
    check_patch(
        json!([{"op": "replace", "path": resources, "value": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]),
        "/message",
        json!("Pod \"a\" is invalid: spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"),
    )
    .await;
    check_patch(json!([{"op": "add", "path": "/metadata/name", "value": "other"}]), "/metadata/name", json!("other"))
        .await;
    check_patch(
        json!([{"op": "add", "path": "/metadata/namespace", "value": "other"}]),
        "/message",
        json!("the namespace of the provided object does not match the namespace sent on the request"),
    )
    .await;
    check_patch(json!([{"op": "add", "path": "/metadata/uid", "value": "other"}, {"op": "add", "path": "/metadata/managedFields", "value": []}]), "/metadata/managedFields/0/operation", json!("Update")).await;
    check_patch(json!([{"op": "replace", "path": "/spec/containers", "value": 5}]), "/code", json!(500)).await;
    check_patch(json!([{"op": "replace", "path": "/kind", "value": "Node"}]), "/kind", json!("Pod")).await;
}

#[tokio::test]
async fn webhooks_see_what_those_before_them_did_and_once_more_what_those_after_did() {
    // Three webhooks, of which the first and the third want to see later changes; the second changes once.
    let changed = AtomicUsize::new(0);
    let (it, script) = scripted(move |path, _| {
        if path.starts_with("/two") && changed.fetch_add(1, Ordering::Relaxed) == 0 {
            change(json!([{"op": "add", "path": "/metadata/labels/two", "value": "yes"}]))
        } else {
            allow()
        }
    })
    .await;
    let (again, rules) = (json!({"reinvocationPolicy": "IfNeeded"}), json!([rule(&["CREATE"], &["pods"])]));
    let webhooks = json!([
        webhook("one", rules.clone(), again.clone()),
        webhook("two", rules.clone(), again.clone()),
        webhook("three", rules.clone(), again),
        webhook("four", rules, Value::Null),
    ]);
    configure(&it, "mutating", "m", webhooks).await;
    it.post(PODS, small("a")).await.expect(201);
    let asked = script.asked();
    let told: Vec<String> = asked
        .iter()
        .map(|(path, request)| {
            format!(
                "{} {}",
                path.split('?').next().unwrap(),
                request["object"]["metadata"]["labels"].get("two").is_some()
            )
        })
        .collect();
    assert_eq!(told, ["/one false", "/two false", "/three true", "/four true", "/one true"]);
    // Nobody changes anything: nobody is asked twice.
    it.post(PODS, small("b")).await.expect(201);
    assert_eq!(script.asked().len(), 4);
}

#[tokio::test]
async fn the_servers_own_admission_runs_again_after_a_change() {
    let (it, _) = scripted(|_, _| {
        change(json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "i", "image": "registry.example/app:1"}]}]))
    })
    .await;
    let limits = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}}]}});
    it.post("/api/v1/namespaces/n/limitranges", limits).await.expect(201);
    configure(&it, "mutating", "m", json!([webhook("m", json!([rule(&["CREATE"], &["pods"])]), Value::Null)])).await;
    let created = it.post(PODS, small("a")).await.expect(201);
    assert_eq!(created["spec"]["initContainers"][0]["resources"]["requests"]["cpu"], "500m");
}

#[tokio::test]
async fn a_refusal_is_passed_on_as_the_webhook_gave_it() {
    let said = Arc::new(Mutex::new(Value::Null));
    let say = said.clone();
    let (it, _) = scripted(
        move |_, _| json!({"allowed": false, "status": say.lock().unwrap().clone(), "warnings": ["mind the gap"]}),
    )
    .await;
    it.post(PODS, small("a")).await.expect(201);
    configure(&it, "validating", "v", json!([webhook("v", json!([rule(&["*"], &["*/*"])]), Value::Null)])).await;
    let denied = "admission webhook \"v.webhook.example\" denied the request";
    for (status, code, reason, message) in [
        (Value::Null, 400, Value::Null, format!("{denied} without explanation")),
        (json!({"message": "no"}), 400, Value::Null, format!("{denied}: no")),
        (
            json!({"code": 403, "message": "no", "reason": "Forbidden"}),
            403,
            json!("Forbidden"),
            format!("{denied}: no"),
        ),
        (json!({"code": 200, "reason": "Because"}), 400, json!("Because"), format!("{denied}: Because")),
        (
            json!({"code": 429, "message": "later", "details": {"retryAfterSeconds": 3}}),
            429,
            Value::Null,
            format!("{denied}: later"),
        ),
        (json!({"code": 99999}), 400, Value::Null, format!("{denied} without explanation")),
    ] {
        *said.lock().unwrap() = status.clone();
        let replies = [
            it.patch(&format!("{PODS}/a/resize"), STRATEGIC, cpu("110m")).await,
            it.post(PODS, small("b")).await,
            it.delete(&format!("{PODS}/a")).await,
        ];
        for reply in replies {
            assert_eq!((reply.code, reply.message()), (code, message.as_str()), "{status}");
            assert_eq!(reply.body.get("reason").cloned().unwrap_or_default(), reason);
            assert_eq!(reply.body.get("details"), status.get("details"));
            assert_eq!(reply.warnings(), ["299 - \"mind the gap\""]);
        }
    }
    assert_eq!(it.get(&format!("{PODS}/a")).await.expect(200)["metadata"]["generation"], 1);
}

#[tokio::test]
async fn the_first_refusal_in_order_counts_and_warnings_are_passed_on_once() {
    let (it, _) = scripted(|path, _| {
        let mut said = json!({"allowed": !path.starts_with("/no"), "warnings": ["same", path]});
        if path.starts_with("/no") {
            said["status"] = json!({"message": path});
        }
        said
    })
    .await;
    let rules = json!([rule(&["CREATE"], &["pods"])]);
    let hooks = |names: &[&str]| names.iter().map(|name| webhook(name, rules.clone(), Value::Null)).collect::<Value>();
    configure(&it, "validating", "a", hooks(&["yes", "no-1", "no-2"])).await;
    let reply = it.post(PODS, small("a")).await;
    assert_eq!(reply.message(), "admission webhook \"no-1.webhook.example\" denied the request: /no-1?timeout=10s");
    assert_eq!(reply.warnings().len(), 4);
    it.delete(&format!("{}/validatingwebhookconfigurations/a", super::REGISTRATION)).await.expect(200);
    configure(&it, "validating", "a", hooks(&["yes"])).await;
    let reply = it.post(PODS, small("a")).await;
    assert_eq!(
        (reply.code, reply.warnings()),
        (201, vec!["299 - \"same\"".to_owned(), "299 - \"/yes?timeout=10s\"".to_owned()])
    );
}

#[tokio::test]
async fn rules_of_the_object_come_before_those_that_judge_and_quotas_after() {
    let (it, script) = scripted(|_, _| allow()).await;
    it.post(PODS, small("a")).await.expect(201);
    let limits =
        json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "400m"}}]}});
    it.post("/api/v1/namespaces/n/limitranges", limits).await.expect(201);
    let quotas = "/api/v1/namespaces/n/resourcequotas";
    let hard = json!({"requests.cpu": "150m"});
    it.post(quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.expect(201);
    it.set_status(&format!("{quotas}/q"), json!({"hard": hard, "used": {"requests.cpu": "100m"}})).await;
    configure(&it, "validating", "v", json!([webhook("v", json!([rule(&["*"], &["pods/*"])]), Value::Null)])).await;
    for (requests, limits, code, asked) in
        [("300m", "200m", 422, 0), ("450m", "450m", 403, 0), ("180m", "200m", 403, 1), ("140m", "200m", 200, 1)]
    {
        let patch = json!({"spec": {"containers": [{"name": "c1", "resources": {"requests": {"cpu": requests}, "limits": {"cpu": limits}}}]}});
        let reply = it.patch(&format!("{PODS}/a/resize"), STRATEGIC, patch).await;
        assert_eq!((reply.code, script.asked().len()), (code, asked), "{}", reply.text);
    }
}

/// A webhook that is slow: while it is asked for the first time, somebody else changes the object.
#[derive(Default)]
struct Overtaken {
    by: std::sync::OnceLock<Harness>,
    versions: Mutex<Vec<Value>>,
}

impl Transport for Overtaken {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let review: Value = serde_json::from_slice(&call.body).unwrap();
            let first = {
                let mut versions = self.versions.lock().unwrap();
                versions.push(review["request"]["oldObject"]["metadata"]["resourceVersion"].clone());
                versions.len() == 1
            };
            if let Some(it) = self.by.get().filter(|_| first) {
                it.patch(&format!("{PODS}/a"), MERGE, json!({"metadata": {"labels": {"late": "yes"}}}))
                    .await
                    .expect(200);
            }
            Ok(Answer { status: 200, body: answer(&review, allow()).to_string().into() })
        })
    }
}

#[tokio::test]
async fn who_was_overtaken_while_webhooks_were_asked_is_asked_about_the_newest() {
    let slow = Arc::new(Overtaken::default());
    let it = Harness::with(Options { webhooks: slow.clone(), ..Options::in_memory() }).await;
    it.post(PODS, small("a")).await.expect(201);
    configure(&it, "mutating", "m", json!([webhook("m", json!([rule(&["UPDATE"], &["pods/resize"])]), Value::Null)]))
        .await;
    assert!(slow.by.set(it.clone()).is_ok());
    let resized = it.patch(&format!("{PODS}/a/resize"), STRATEGIC, cpu("110m")).await.expect(200);
    assert_eq!(resized["metadata"]["generation"], 2);
    assert_eq!(resized["metadata"]["labels"]["late"], "yes");
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "110m");
    let versions = slow.versions.lock().unwrap();
    assert!(versions.len() == 2 && versions[0] != versions[1], "{versions:?}");
}

#[tokio::test]
async fn a_dry_run_is_not_told_to_webhooks_with_side_effects() {
    let (it, script) = scripted(|_, _| allow()).await;
    let rules = || json!([rule(&["*"], &["*"])]);
    for (side_effects, asked) in [("None", 1), ("NoneOnDryRun", 1)] {
        configure(&it, "validating", "v", json!([webhook("v", rules(), json!({"sideEffects": side_effects}))])).await;
        it.post(&format!("{PODS}?dryRun=All"), pod("a", json!({"cpu": "1"}), Value::Null)).await.expect(201);
        let reviews = script.asked();
        assert_eq!(reviews.len(), asked);
        assert_eq!(parts(&reviews[0].1, &["/dryRun", "/options/dryRun/0"]), json!([true, "All"]));
        it.delete(&format!("{}/validatingwebhookconfigurations/v", super::REGISTRATION)).await.expect(200);
    }
    let hook = webhook("v", rules(), json!({"sideEffects": "Some"}));
    let reply = it
        .post(
            &format!("{}/validatingwebhookconfigurations", super::REGISTRATION),
            json!({"metadata": {"name": "v"}, "webhooks": [hook]}),
        )
        .await;
    assert_eq!(
        (reply.code, reply.message()),
        (
            422,
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"v\" is invalid: webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""
        )
    );
}
