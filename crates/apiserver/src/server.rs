//! The listener: TLS, the bearer token, HTTP/1.1 and HTTP/2 on one port, and an end that waits for answers under way.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::header;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::errors::ApiError;
use crate::tls::Identity;

/// How long a shutdown waits for answers under way, such as a log that is followed; watches end at once.
const DRAIN: Duration = Duration::from_secs(1);

/// How long a client may take over its TLS handshake, so that a port scanner does not hold a task for ever.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after a failed accept (out of file descriptors): without it the loop would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

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
    let acceptor = TlsAcceptor::from(Arc::new(identity.server_config()?));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            },
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
        connections.spawn(async move {
            if let Err(error) = connection(stream, acceptor, router, watcher).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections still open after {DRAIN:?} are dropped");
    }
    // Whoever waits for us may open the store's file again: no connection may hold on to it.
    connections.shutdown().await;
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

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A watch event is one small write that somebody waits for.
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection.into_owned()).await
}
