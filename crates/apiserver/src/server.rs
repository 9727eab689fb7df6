//! What of the API is served on a port: with TLS, for whoever has the bearer token, until an end at which watches do not wait.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::header;
use supple_listener::Bounds;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::errors::ApiError;
use crate::tls::Identity;

/// What whoever connects is held to. As many as come: only who is on this machine and has the token is answered, and a watch is a
/// connection.
const BOUNDS: Bounds = Bounds {
    connections: None,
    handshake: Duration::from_secs(10),
    // Long, because clients keep connections for their next request; not without end, because nobody may hold a task for ever.
    silence: Duration::from_secs(90),
    // For answers such as a log that is followed; watches end at once.
    drain: Duration::from_secs(1),
};

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The identity does not make a TLS configuration.
    #[error("use the server's certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// Cancelled when the listener that a request came through shuts down: watches end then, so that nobody waits for them.
/// Requests inside the process carry none.
#[derive(Clone, Debug)]
pub(crate) struct Closing(pub(crate) CancellationToken);

/// Serves `router` until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    identity: &Identity,
    router: Router,
    token: Option<&str>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let router = router.layer(Extension(Closing(shutdown.clone())));
    let router = match token {
        Some(token) => router.layer(middleware::from_fn_with_state(Arc::from(token), authenticate)),
        None => router,
    };
    let tls = supple_listener::always(identity.server_config()?);
    supple_listener::serve(listener, Some(tls), router, BOUNDS, shutdown).await;
    Ok(())
}

/// Lets a request pass that carries the token.
async fn authenticate(State(token): State<Arc<str>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The scheme's name is written in any case (RFC 9110 §11.1).
    let given = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match given {
        Some((_, given)) if equal(given.trim().as_bytes(), token.as_bytes()) => next.run(request).await,
        _ => ApiError::unauthorized().into_response(),
    }
}

/// Whether two secrets are equal, in a time that does not tell how much of them is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(a.len() ^ b.len(), |differing, (a, b)| differing | usize::from(a ^ b));
    std::hint::black_box(differing) == 0
}
