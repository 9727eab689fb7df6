//! A listener: TLS or plain, HTTP/1.1 and HTTP/2 on one port, for the API server as for the controller's webhook, probes and
//! metrics.
//!
//! Whoever connects is bounded: connections at once, time for a handshake, time to say nothing. An end is graceful: answers under
//! way are finished, for a moment. What is answered, and what of it is bounded, is the router's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What whoever connects is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once; more wait until one is closed. `None`: as many as come.
    pub connections: Option<usize>,
    /// How long a client may take over its TLS handshake, so that a port scanner does not hold a task for ever.
    pub handshake: Duration,
    /// How long a client may say nothing before its first request, between two, or in the middle of a request's headers. While it is
    /// being answered, a watch for instance, it may.
    pub silence: Duration,
    /// How long an end waits for answers under way.
    pub drain: Duration,
}

/// Pause after a failed accept (out of file descriptors): without it the loop would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How often a connection of HTTP/2 is asked whether anybody is there: its watches may be silent for as long as they like.
const PING: Duration = Duration::from_secs(30);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Where the newest TLS configuration is found, as soon as there is one.
pub type Tls = watch::Receiver<Option<Arc<ServerConfig>>>;

/// One that stays.
#[must_use]
pub fn always(config: ServerConfig) -> Tls {
    watch::channel(Some(Arc::new(config))).1
}

/// Serve `router` until `stop`; with TLS where it is asked for: until there is a configuration, callers are hung up on.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, bounds: Bounds, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(bounds.connections.unwrap_or(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            // What has ended is let go of also while nobody comes.
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
        let config = match tls.as_ref().map(|it| it.borrow().clone()) {
            None => None,
            Some(Some(config)) => Some(config),
            Some(None) => continue,
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = connection(stream, config, router, bounds, stop).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    // Each ends by itself, in time. Whoever waits for us may open what they held again: none may hold on to it.
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) -> Result<(), AnyError> {
    // A watch event is one small write that somebody waits for.
    stream.set_nodelay(true)?;
    match config {
        Some(config) => {
            let shaken = TlsAcceptor::from(config).accept(stream);
            let Some(shaken) = stop.run_until_cancelled(tokio::time::timeout(bounds.handshake, shaken)).await else {
                return Ok(());
            };
            let stream = shaken??;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(stream, is_http2, router, bounds, stop).await
        }
        None => speak(stream, false, router, bounds, stop).await,
    }
}

/// What is spoken is settled by the handshake. To find it out from the first bytes, as the builder would, is to wait for them
/// without end; so is to look for upgrades, of which none is served.
async fn speak<S>(
    stream: S,
    is_http2: bool,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) -> Result<(), AnyError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.silence);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(bounds.silence);
    let (under_way, asked) = watch::channel(0);
    let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let held = Held::new(&under_way);
        async move { next.run(request).await.map(|answer| held.until_the_end_of(answer)) }
    }));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        // HTTP/2 waits for its preface without end, and lets whoever answers pings say nothing else: no bound of the builder's holds
        // there.
        () = silence(asked, bounds.silence) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Who has not begun to speak HTTP/2 is not told of an end, and an answer may have none.
    tokio::time::timeout(bounds.drain, connection).await?
}

/// A request under way, its answer included.
struct Held(watch::Sender<usize>);

impl Held {
    fn new(under_way: &watch::Sender<usize>) -> Self {
        under_way.send_modify(|it| *it += 1);
        Self(under_way.clone())
    }

    fn until_the_end_of(self, answer: Body) -> Body {
        // It goes where the answer goes, whose length and end stay as they are.
        Body::new(answer.map_err(move |it| {
            let _ = &self;
            it
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|it| *it = it.saturating_sub(1));
    }
}

/// Comes to its end when no request has been under way for so long.
async fn silence(mut under_way: watch::Receiver<usize>, longest: Duration) {
    while under_way.wait_for(|it| *it == 0).await.is_ok() {
        match tokio::time::timeout(longest, under_way.wait_for(|it| *it > 0)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break,
            Err(_) => return,
        }
    }
    std::future::pending().await // nobody will be under way any more: the connection itself has ended
}

#[cfg(test)]
mod tests;
