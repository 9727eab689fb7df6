//! What the webhook is asked in benchmarks: the reviews of a large pod, put to its router, which knows every container.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use supple_controller::metrics::Metrics;
use supple_controller::webhook::{Approval, Knowledge, Sizing, server};
use supple_decide::code::Code;
use supple_decide::need::{Use, Uses};
use supple_decide::numbers::Numbers;
use supple_quantity::{Bytes, MilliCpu};
use tower::ServiceExt as _;

const CONTAINERS: usize = 10;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

/// Knows every container of every pod.
struct Known;

impl Knowledge for Known {
    fn used(&self, _: &str, _: &str) -> Uses {
        let used = Use {
            at: now(),
            cpu: Some(MilliCpu(10)),
            memory: Some(Bytes(90 << 20)),
            memory_peak: None,
            details_at: None,
            memory_charged: Some(Bytes(99 << 20)),
            swap: None,
            memory_pressure_permille: None,
            cpu_pressure_permille: None,

            throttled_permille: None,
        };
        (0..CONTAINERS).map(|it| (format!("c{it}").into(), used)).collect()
    }

    fn approval(&self, _: &str, _: &Pod) -> Approval {
        Approval::NotNeeded
    }

    fn sizes(&self, _: &str, _: &Pod, _: Timestamp) -> Option<Sizing> {
        let numbers = Numbers { cpu_request: Some(MilliCpu(250)), ..Numbers::default() };
        let containers = (0..CONTAINERS).map(|it| (format!("c{it}").into(), numbers)).collect();
        let (of, why) = ("deployment/web".to_owned(), String::new());
        Some(Sizing { containers, of, code: Code::Resize, why })
    }
}

/// A pod of many containers with long environments: about 60 KB.
fn pod(memory: &str) -> Value {
    let environment: Vec<Value> =
        (0..100).map(|it| json!({"name": format!("V{it}"), "value": "x".repeat(30)})).collect();
    let container = |it| {
        json!({"name": format!("c{it}"), "image": "registry.example/app:1", "env": environment,
        "resources": {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": memory}}})
    };
    let containers: Vec<Value> = (0..CONTAINERS).map(container).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": containers}})
}

/// A question, and where it is put.
pub struct Review {
    path: &'static str,
    /// As an API server sends it.
    pub body: String,
}

impl Review {
    fn new(path: &'static str, request: &Value) -> Self {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        Self { path, body: review.to_string() }
    }

    /// Of a resize that halves a limit.
    pub fn of_a_resize() -> Self {
        let request = json!({"uid": "u", "namespace": "d", "name": "p", "operation": "UPDATE", "subResource": "resize",
            "object": pod("128Mi"), "oldObject": pod("256Mi")});
        Self::new(server::RESIZE, &request)
    }

    /// Of a pod that is created.
    pub fn of_a_new_pod() -> Self {
        let request = json!({"uid": "u", "namespace": "d", "operation": "CREATE", "object": pod("256Mi")});
        Self::new(server::CREATE, &request)
    }

    /// Put it, and wait for the answer.
    pub async fn put(&self, router: &Router) -> Response {
        let asked = Request::post(self.path).body(Body::from(self.body.clone())).expect("a request");
        let Ok(answer) = router.clone().oneshot(asked).await;
        assert_eq!(answer.status(), 200);
        answer
    }
}

/// Whoever answers.
pub fn router() -> Router {
    server::router(Arc::new(Known), Metrics::default(), Arc::new(now), "supple-system")
}
