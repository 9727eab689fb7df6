//! The listener: TLS, the bearer token, HTTP/1.1 and HTTP/2 on one port, and an end that waits for answers under way.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use http::header;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
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

/// How long a client may say nothing before its first request, between two, or in the middle of a request's headers. Long,
/// because clients keep connections for their next request; not without end, because nobody may hold a task for ever.
const SILENCE: Duration = Duration::from_secs(90);

/// How often a connection of HTTP/2 is asked whether anybody is there: its watches may be silent for as long as they like.
const PING: Duration = Duration::from_secs(30);

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
            if let Err(error) = connection(stream, acceptor, router, watcher, SILENCE).await {
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

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    watcher: Watcher,
    silence: Duration,
) -> Result<(), AnyError> {
    // A watch event is one small write that somebody waits for.
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    // What is spoken is settled by the handshake. To find it out from the first bytes, as the builder would, is to wait for
    // them without end; so is to look for upgrades, of which none is served.
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(silence);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(silence);
    let heard = CancellationToken::new();
    let speaks = heard.clone();
    let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
        speaks.cancel();
        next.run(request)
    }));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(watcher.watch(connection.into_owned()));
    // HTTP/2 waits for its preface without end: no bound of the builder's holds before that.
    tokio::select! {
        ended = &mut serving => return ended,
        heard = tokio::time::timeout(silence, heard.cancelled()) => heard?,
    }
    serving.await
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    /// Connects with these protocols; the server's side is a task that ends with the connection.
    async fn connect(
        protocols: &[&[u8]],
        silence: Duration,
    ) -> (TlsStream<TcpStream>, tokio::task::JoinHandle<Result<(), AnyError>>) {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(directory.path(), &["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(identity.server_config().unwrap()));
        let router = Router::new().route("/livez", axum::routing::get(|| async { "ok" }));
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            connection(stream, acceptor, router, GracefulShutdown::new().watcher(), silence).await
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let stream = TcpStream::connect(address).await.unwrap();
        let stream =
            TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap();
        (stream, task)
    }

    #[tokio::test]
    async fn whoever_shakes_hands_and_says_nothing_is_hung_up_on() {
        let cases: [&[&[u8]]; 3] = [&[], &[b"http/1.1"], &[b"h2"]];
        for protocols in cases {
            let (mut silent, task) = connect(protocols, Duration::from_millis(200)).await;
            let mut said = Vec::new();
            // However it is hung up on: what counts is that it ends, and that nothing is held any more.
            let _ = silent.read_to_end(&mut said).await;
            let _ = task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn whoever_stops_in_the_middle_of_a_request_is_hung_up_on() {
        let (mut slow, task) = connect(&[b"http/1.1"], Duration::from_millis(200)).await;
        slow.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let mut said = Vec::new();
        let _ = slow.read_to_end(&mut said).await;
        let _ = task.await.unwrap();
    }

    #[tokio::test]
    async fn whoever_asks_is_answered() {
        let (mut client, task) = connect(&[b"http/1.1"], Duration::from_secs(60)).await;
        client.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("ok"), "{said}");
        task.await.unwrap().unwrap();
    }
}
