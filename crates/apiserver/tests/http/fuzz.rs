//! Requests nobody should send: whatever comes, the answer is a 2xx or a 4xx with a Status, never a failure of ours.

use axum::body::Body;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::harness::{APPLY, Harness, JSON, JSON_PATCH, MERGE, STRATEGIC, small};

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("cpu".to_owned()),
        Just("memory".to_owned()),
        Just("100m".to_owned()),
        Just("1Gi".to_owned()),
        Just("c1".to_owned()),
        Just("a".to_owned()),
        Just("$patch".to_owned()),
        Just("delete".to_owned()),
        Just("-1e9999999".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("Guaranteed".to_owned()),
        Just(String::new()),
        "\\PC{0,12}",
    ]
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "metadata", "spec", "status", "containers", "initContainers", "resources", "requests", "limits", "cpu",
            "memory", "name", "namespace", "uid", "resourceVersion", "generation", "labels", "finalizers", "deletionTimestamp",
            "deletionGracePeriodSeconds", "resizePolicy", "conditions", "phase", "qosClass", "$patch", "$retainKeys",
            "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "op", "path", "value", "from", "kind", "apiVersion",
            "hard", "used", "data", "generateName", "overhead", "nodeName", "tolerations", "gracePeriodSeconds", "preconditions",
        ]).prop_map(str::to_owned),
        1 => words(),
    ]
}

fn bodies() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|it| json!(it)),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys(), inner), 0..6).prop_map(|pairs| pairs.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// A request like one somebody would send, with something of it replaced by `noise`.
fn distorted(at: usize, noise: Value) -> Value {
    let mut body = small("a");
    let places = [
        "/spec/containers/0/resources/requests/cpu",
        "/spec/containers/0/resources/limits",
        "/spec/containers/0/resources",
        "/spec/containers/0/name",
        "/spec/containers/0",
        "/spec/containers",
        "/spec",
        "/metadata",
        "/metadata/labels",
        "/metadata/name",
    ];
    if let Some(place) = body.pointer_mut(places[at % places.len()]) {
        *place = noise;
    }
    body
}

#[test]
fn nothing_makes_the_server_fail() {
    const PATHS: &[&str] = &[
        "/api/v1/namespaces/n/pods",
        "/api/v1/namespaces/n/pods/a",
        "/api/v1/namespaces/n/pods/a/resize",
        "/api/v1/namespaces/n/pods/a/status",
        "/api/v1/namespaces/n/pods/a/binding",
        "/api/v1/namespaces/n/pods/a/eviction",
        "/api/v1/namespaces/n/pods/a/log",
        "/api/v1/namespaces",
        "/api/v1/namespaces/x",
        "/api/v1/namespaces/x/finalize",
        "/api/v1/nodes",
        "/api/v1/nodes/lab/status",
        "/api/v1/namespaces/n/limitranges",
        "/api/v1/namespaces/n/resourcequotas",
        "/api/v1/namespaces/n/resourcequotas/a/status",
        "/api/v1/namespaces/n/events",
        "/apis/events.k8s.io/v1/namespaces/n/events",
        "/apis/events.k8s.io/v1/namespaces/n/events/a",
        "/apis/coordination.k8s.io/v1/namespaces/n/leases/a",
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/api/v1/namespaces/n/secrets",
        "/api/v1/namespaces/n/configmaps/a",
        "/openapi/v3/api/v1",
        "/api/%zz",
        "/apis/apps/v1/deployments",
    ];
    const QUERIES: &[&str] = &[
        "",
        "dryRun=All",
        "dryRun=x",
        "fieldValidation=Strict",
        "fieldValidation=Ignore",
        "limit=-5",
        "limit=3&continue=x",
        "resourceVersion=5",
        "resourceVersion=-1",
        "labelSelector=a%20in%20(",
        "fieldSelector=%3D",
        "gracePeriodSeconds=-9223372036854775808",
        "gracePeriodSeconds=9223372036854775807",
        "watch=1&timeoutSeconds=1",
        "sinceSeconds=9223372036854775807",
        "a=%",
        "fieldManager=x",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let it = runtime.block_on(async {
        let it = Harness::new().await;
        it.post("/api/v1/namespaces/n/pods", small("a")).await.expect(201);
        it
    });
    let requests = (
        prop::sample::select(PATHS),
        prop::sample::select(QUERIES),
        prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE", "HEAD"]),
        prop::sample::select(vec![JSON, STRATEGIC, MERGE, JSON_PATCH, APPLY, "application/yaml", "text/plain", ""]),
        prop_oneof![
            3 => bodies().prop_map(|body| body.to_string()),
            3 => (any::<usize>(), bodies()).prop_map(|(at, noise)| distorted(at, noise).to_string()),
            1 => vec(bodies(), 0..3).prop_map(|operations| Value::from(operations).to_string()),
            1 => "\\PC{0,40}",
        ],
    );
    // The same requests in every run: what fails here fails for everybody.
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&requests, |(path, query, method, content_type, body)| {
            let uri = format!("{path}?{query}");
            let shown = format!("{method} {uri} {content_type}\n{body}");
            let reply = runtime.block_on(it.call(method, &uri, &[("content-type", content_type)], Body::from(body)));
            // 504 is the answer to a revision of the future.
            let fine = reply.code < 500 || reply.body["reason"] == "Timeout";
            prop_assert!(fine, "{} for {shown}\n{}", reply.code, reply.text);
            if reply.code >= 400 && method != "HEAD" {
                prop_assert_eq!(&reply.body["kind"], "Status", "{}", shown);
                prop_assert!(!reply.message().is_empty(), "{}", shown);
            }
            // Whatever happened to it, there is a pod to work on again.
            if method == "DELETE" || method == "POST" {
                runtime.block_on(it.post("/api/v1/namespaces/n/pods", small("a")));
            }
            Ok(())
        })
        .unwrap();
}
