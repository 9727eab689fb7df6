//! What the controller answers over HTTP: probes, metrics and, with TLS, the webhook, each on an address of its own.
//!
//! Whoever asks is bounded in everything: what a connection may, by the listener; what a request may, here.

pub mod endpoints;
pub mod health;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use supple_listener::Tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What whoever asks is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What a connection is held to.
    pub listener: supple_listener::Bounds,
    /// How long a request may take altogether.
    pub request: Duration,
    /// Most bytes of a request's body.
    pub body: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let listener = supple_listener::Bounds {
            connections: Some(128),
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            drain: Duration::from_secs(5),
        };
        Self { listener, request: Duration::from_secs(10), body: 64 << 10 }
    }
}

/// Serve `router` until `stop`; with TLS where it is asked for: until there is a configuration, callers are hung up on.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, bounds: Bounds, stop: CancellationToken) {
    let hasty = move |request: Request, next: Next| async move { in_time(bounds.request, request, next).await };
    let router = router.layer(DefaultBodyLimit::max(bounds.body)).layer(middleware::from_fn(hasty));
    supple_listener::serve(listener, tls, router, bounds.listener, stop).await;
}

async fn in_time(patience: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it took too long\n").into_response(),
    }
}
