//! A cluster that begins no watch with what is there (its feature gate `WatchList` is off, as in Kubernetes 1.33, or its etcd is
//! too old for it) is listed in pages, and served like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body as Answer;
use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use supple_controller::lease::elect::alone;
use supple_decide::code::Code;
use tower::service_fn;

use super::lab::Lab;

/// How a cluster says that it does not stream lists.
#[derive(Clone, Copy)]
enum Says {
    /// The option is refused: the feature gate is off.
    Refused,
    /// The watch begins, and its only event is an error: the gate is on, but etcd cannot tell how far it is. Recorded from an API
    /// server of 1.36.2 on etcd 3.4.23.
    Broken,
}

/// A client of a cluster without the feature.
#[derive(Clone)]
struct Unstreamed {
    inner: Client,
    says: Says,
    refused: Arc<AtomicUsize>,
}

impl Unstreamed {
    /// Refuses what asks for a stream, and passes everything else on.
    async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        if !request.uri().query().is_some_and(|it| it.contains("sendInitialEvents=")) {
            return Ok(self.inner.clone().send(request).await?.map(Answer::new));
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let status = |reason: &str, code: u16, message: &str| {
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
                "message": message,
            })
        };
        let (code, answer) = match self.says {
            Says::Refused => {
                let why = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
                (StatusCode::UNPROCESSABLE_ENTITY, status("Invalid", 422, why).to_string())
            }
            Says::Broken => {
                let why = "a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled";
                let event = json!({"type": "ERROR", "object": status("InternalError", 500, why)});
                (StatusCode::OK, format!("{event}\n"))
            }
        };
        let response = Response::builder().status(code).header("content-type", "application/json");
        Ok(response.body(Answer::from(answer))?)
    }
}

async fn check(says: Says) {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let refused = Arc::new(AtomicUsize::new(0));
    let unstreamed = Unstreamed { inner: lab.client.clone(), says, refused: Arc::clone(&refused) };
    let client = Client::new(service_fn(move |request| unstreamed.clone().answer(request)), "default");
    let mut work = lab.begin_with(client, alone());
    work.until("the pod is resized", super::looped::is("big", Code::Resized)).await;
    assert_eq!(
        refused.load(Ordering::Relaxed),
        2,
        "pods and rightsizings were asked for once as streams, and never again"
    );
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_streams_no_lists_is_listed() {
    check(Says::Refused).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_streams_break_off_is_listed() {
    check(Says::Broken).await;
}
