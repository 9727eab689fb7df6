//! A webhook server as people run one: HTTPS on loopback, with a certificate of its own authority.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use supple_apiserver::tls::Identity;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// What the server does with a review.
pub type Behaviour = dyn Fn(Value) -> Reaction + Send + Sync;

/// How a webhook answers.
pub enum Reaction {
    /// With this status and body.
    Says(u16, Vec<u8>),
    /// With a redirect to this place.
    Redirects(String),
    /// Not at all.
    Hangs,
    /// It breaks off in the middle.
    Breaks,
}

/// A server, gone when dropped.
pub struct HookServer {
    pub address: SocketAddr,
    /// The authority in PEM form.
    pub ca: String,
    pub connections: Arc<AtomicUsize>,
    /// Paths of requests.
    pub paths: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
    _home: tempfile::TempDir,
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HookServer {
    /// A server whose certificate names `names`.
    pub async fn start(names: &[&str], behaviour: impl Fn(Value) -> Reaction + Send + Sync + 'static) -> Self {
        let home = tempfile::tempdir().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let identity = Identity::load_or_create(home.path(), &names).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(identity.server_config().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, paths) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<String>>>::default());
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let (count, seen) = (connections.clone(), paths.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, behaviour, seen) = (acceptor.clone(), behaviour.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = axum::Router::new().fallback(move |request: Request| {
                        let (behaviour, seen) = (behaviour.clone(), seen.clone());
                        async move { react(request, &*behaviour, &seen).await }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
                });
            }
        })
        .abort_handle();
        Self { address, ca: identity.ca_pem().to_owned(), connections, paths, task, _home: home }
    }

    /// `clientConfig` that trusts the server.
    pub fn client(&self, host: &str, path: &str) -> Value {
        serde_json::json!({
            "url": format!("https://{host}:{}{path}", self.address.port()),
            "caBundle": STANDARD.encode(&self.ca),
        })
    }
}

async fn react(request: Request, behaviour: &Behaviour, seen: &Mutex<Vec<String>>) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    seen.lock().unwrap().push(parts.uri.to_string());
    let answer = Response::builder().header("content-type", "application/json");
    match behaviour(serde_json::from_slice(&bytes).unwrap_or_default()) {
        Reaction::Says(status, body) => answer.status(status).body(Body::from(body)).unwrap(),
        Reaction::Redirects(to) => answer.status(307).header("location", to).body(Body::empty()).unwrap(),
        Reaction::Hangs => std::future::pending().await,
        Reaction::Breaks => {
            let parts = [Ok("{\"half\":"), Err(std::io::Error::other("broken on purpose"))];
            answer.body(Body::from_stream(futures::stream::iter(parts))).unwrap()
        }
    }
}
