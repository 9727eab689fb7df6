//! The embedded Kubernetes API server: one generic set of handlers over a table of resources, a store with one
//! revision counter, watches, and the admission a pod meets.
//!
//! ```text
//! server (TLS, token) ─▶ router ─▶ request (which resource, which verb) ─▶ handlers ─▶ store ─▶ watch
//!                                                                          │   ▲
//!                              kinds (the table) · patch · selector ◀──────┘   └── admission · validation
//! ```
//!
//! It is a library first: [`ApiServer::client`] gives a `kube::Client` on the router with no socket between, and
//! [`ApiServer::serve`] gives the same router to stock kubectl. The reference for every answer is Kubernetes v1.36.2.

pub mod clock;
pub mod crash;
pub mod discovery;
pub mod fields;
pub mod kinds;
pub mod kubelet;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod selector;
mod server;
pub mod table;
pub mod tls;
mod tree;
pub mod validate;

use std::path::PathBuf;
use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use crash::CrashPoints;
pub use kubelet::{Kubelet, LogQuery, NoKubelet, PodMetricsSample};
pub use server::ServeError;
use tokio_util::sync::CancellationToken;

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory; gone with the process.
    Memory,
    /// In this one file, flushed before a write is acknowledged. It is created if it does not exist.
    Durable(PathBuf),
}

/// What an [`ApiServer`] is made of.
#[derive(Clone)]
pub struct Options {
    /// Where objects are kept.
    pub storage: Storage,
    /// Where timestamps come from.
    pub clock: Arc<dyn Clock>,
    /// The node, for `pods/log` and metrics.k8s.io. [`NoKubelet`] where there is none.
    pub kubelet: Arc<dyn Kubelet>,
    /// The bearer token [`ApiServer::serve`] asks for; `None` lets everybody on the listener in.
    pub token: Option<String>,
    /// Called at each durable step of the store; [`CrashPoints::none`] outside of crash tests.
    pub crash_points: CrashPoints,
}

impl Options {
    /// An in-memory server on the system clock, without a node and without a token: what most tests want.
    pub fn in_memory() -> Self {
        Self {
            storage: Storage::Memory,
            clock: Arc::new(SystemClock),
            kubelet: Arc::new(NoKubelet),
            token: None,
            crash_points: CrashPoints::none(),
        }
    }
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store's file could not be opened, or what it holds could not be read.
    #[error("open the store {path}: {message}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What was found and what to do about it.
        message: String,
    },
}

/// The server. A clone is the same server.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
}

impl ApiServer {
    /// Opens the store and makes the server; nothing listens yet.
    ///
    /// # Errors
    /// [`OpenError`] when the store's file cannot be opened or read.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Ok(Self { inner: Arc::new(Inner { options }) })
    }

    /// The whole API as a service, without authentication: for callers inside this process.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }

    /// A client on [`ApiServer::router`] with no socket between. Must be called inside a tokio runtime.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        use tower::ServiceExt;
        let service =
            self.router().map_request(|request: http::Request<kube::client::Body>| request.map(axum::body::Body::new));
        kube::Client::new(service, default_namespace)
    }

    /// Serves the router over TLS on `listener` until `shutdown`; requests must carry the token of [`Options`].
    ///
    /// # Errors
    /// [`ServeError`] when the identity cannot be used.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        identity: &tls::Identity,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        server::serve(listener, identity, self.router(), shutdown).await
    }
}
