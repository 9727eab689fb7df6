//! What the cluster says no to, over hours: asked for again less and less often, told of once, and no reason to leave alone what else can
//! be done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;
use supple_controller::lease::elect::alone;
use supple_decide::code::Code;
use tower::{BoxError, service_fn};

use super::lab::Lab;
use super::looped::is;

/// A client, and how many requests that change a pod it has sent, dry runs included.
fn counting(inner: &Client) -> (Client, Arc<AtomicU32>) {
    let (inner, sent) = (inner.clone(), Arc::<AtomicU32>::default());
    let count = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        if *request.method() != Method::GET && request.uri().path().contains("/pods/") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let inner = inner.clone();
        async move { Ok::<Response<Answer>, BoxError>(inner.send(request).await?.map(Answer::new)) }
    });
    (Client::new(service, "default"), sent)
}

/// Nobody's memory limit may be another than this, as a policy engine says it.
async fn fixed_memory(lab: &Lab, limit: &str) {
    let policy = json!({"metadata": {"name": "cap"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["pods/resize"]}]},
        "validations": [{"expression": format!("object.spec.containers.all(it, it.resources.limits['memory'] == '{limit}')"),
            "message": "memory limits are fixed here"}]}});
    let binding = json!({"metadata": {"name": "cap"}, "spec": {"policyName": "cap", "validationActions": ["Deny"]}});
    let policies = Api::<ValidatingAdmissionPolicy>::all(lab.client.clone());
    policies.create(&Default::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(lab.client.clone());
    bindings.create(&Default::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_urgent_raise_that_is_refused_is_asked_for_less_and_less_often() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    fixed_memory(&lab, "256Mi").await;
    lab.pod("grows", "100m/256Mi", "200m/256Mi", "cpu=50m memory=ramp(100Mi,250Mi,20m)").await;
    let (client, sent) = counting(&lab.client);
    let mut work = lab.begin_with(client, alone());
    work.until("it is refused", is("grows", Code::Refused)).await;
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    let (sent, told) = (sent.load(Ordering::Relaxed), lab.told("grows").await);
    let refusals = told.iter().filter(|it| *it == "Refused").count();
    let record = lab.rightsizing("pod-grows").await.record.unwrap();
    work.end().await;
    assert!((5..20).contains(&sent), "{sent} requests");
    assert!(refusals < 12, "{told:?}");
    // What can wait is tried when a pause is over: after 10 minutes, and twice as long each time.
    assert!((1..=5).contains(&record.setbacks), "{} times", record.setbacks);
    lab.cluster.stop().await;
}
