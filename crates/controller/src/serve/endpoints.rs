//! The paths of the probes and of the metrics.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use super::health::Health;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::run::Clock;

/// `/livez`, `/readyz`, and `/healthz` for those who know only that.
pub fn probes(health: Health) -> Router {
    let live = async |State(health): State<Health>| match health.live() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    Router::new()
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .with_state(health)
}

/// Every part with what it says, in the words of the API server's own probes; 503 where one is not ready.
async fn ready(State(health): State<Health>) -> Response {
    let (mut ready, mut text) = (true, String::new());
    for (part, state) in health.parts() {
        match state {
            Ok(()) => text.push_str(&format!("[+]{part} ok\n")),
            Err(why) => {
                ready = false;
                text.push_str(&format!("[-]{part} not ready: {why}\n"));
            }
        }
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (status, text).into_response()
}

/// `/metrics`, each metric rendered when the one before has been sent.
pub fn metrics(metrics: Metrics, clock: Clock) -> Router {
    let render = move || {
        let families = futures::stream::iter(metrics.families(clock()).map(Ok::<_, Infallible>));
        async move { ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(families)) }
    };
    Router::new().route("/metrics", get(render))
}
