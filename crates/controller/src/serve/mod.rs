//! What the controller answers over HTTP: probes, metrics and, with TLS, the webhook, each on an address of its own.
//!
//! Whoever asks is bounded in everything: connections at once, time for a handshake, for headers and for a request, size of a
//! body. An end is graceful: answers under way are finished, for a moment.

pub mod endpoints;
pub mod health;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What whoever asks is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once; more wait until one is closed.
    pub connections: usize,
    /// How long a client may take over its TLS handshake.
    pub handshake: Duration,
    /// How long a client may say nothing, or be in the middle of a request's headers.
    pub silence: Duration,
    /// How long a request may take altogether.
    pub request: Duration,
    /// Most bytes of a request's body.
    pub body: usize,
    /// How long an end waits for answers under way.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 128,
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            request: Duration::from_secs(10),
            body: 64 << 10,
            drain: Duration::from_secs(5),
        }
    }
}

/// Pause after a failed accept (out of file descriptors): without it the loop would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How often a connection of HTTP/2 is asked whether anybody is there.
const PING: Duration = Duration::from_secs(30);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Where the newest TLS configuration is found, as soon as there is one.
pub type Tls = watch::Receiver<Option<Arc<ServerConfig>>>;

/// Serve `router` until `stop`; with TLS where it is asked for: until there is a configuration, callers are hung up on.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, bounds: Bounds, stop: CancellationToken) {
    let hasty = move |request: Request, next: Next| async move { in_time(bounds.request, request, next).await };
    let router = router.layer(DefaultBodyLimit::max(bounds.body)).layer(middleware::from_fn(hasty));
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            },
        };
        let config = match tls.as_ref().map(|it| it.borrow().clone()) {
            None => None,
            Some(Some(config)) => Some(config),
            Some(None) => continue,
        };
        let (router, watcher) = (router.clone(), graceful.watcher());
        connections.spawn(async move {
            if let Err(error) = connection(stream, config, router, bounds, watcher).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.drain, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections still open after {:?} are dropped", bounds.drain);
    }
    connections.shutdown().await;
}

async fn in_time(patience: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "it took too long\n").into_response(),
    }
}

async fn connection(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    router: Router,
    bounds: Bounds,
    watcher: Watcher,
) -> Result<(), AnyError> {
    stream.set_nodelay(true)?;
    match config {
        Some(config) => {
            let stream = tokio::time::timeout(bounds.handshake, TlsAcceptor::from(config).accept(stream)).await??;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(stream, is_http2, router, bounds, watcher).await
        }
        None => speak(stream, false, router, bounds, watcher).await,
    }
}

/// What is spoken is settled by the handshake. To find it out from the first bytes, as the builder would, is to wait for them
/// without end.
async fn speak<S>(stream: S, is_http2: bool, router: Router, bounds: Bounds, watcher: Watcher) -> Result<(), AnyError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Not with upgrades: those connections look at the first bytes all the same.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.silence);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(bounds.silence);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection.into_owned()).await
}
