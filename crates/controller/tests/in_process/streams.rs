//! A cluster that begins no watch with what is there (its feature gate `WatchList` is off, as in Kubernetes 1.33) is listed in
//! pages, and served like any other.

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

/// A client of a cluster without the feature.
#[derive(Clone)]
struct Unstreamed {
    inner: Client,
    refused: Arc<AtomicUsize>,
}

impl Unstreamed {
    /// Refuses what asks for a stream, and passes everything else on.
    async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        if !request.uri().query().is_some_and(|it| it.contains("sendInitialEvents=")) {
            return Ok(self.inner.clone().send(request).await?.map(Answer::new));
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
            "message": "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
        });
        let answer = Response::builder().status(StatusCode::UNPROCESSABLE_ENTITY);
        Ok(answer.header("content-type", "application/json").body(Answer::from(status.to_string()))?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_streams_no_lists_is_listed() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let refused = Arc::new(AtomicUsize::new(0));
    let unstreamed = Unstreamed { inner: lab.client.clone(), refused: Arc::clone(&refused) };
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
