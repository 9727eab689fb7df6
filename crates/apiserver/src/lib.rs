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
//!
//! ```
//! use k8s_openapi::api::core::v1::Pod;
//! use kube::api::{Api, Patch, PatchParams, PostParams};
//! use serde_json::json;
//! use supple_apiserver::{ApiServer, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ApiServer::open(Options::in_memory())?;
//! let pods: Api<Pod> = Api::default_namespaced(server.client("default"));
//! let pod = serde_json::from_value(json!({
//!     "metadata": {"name": "web"},
//!     "spec": {"containers": [{"name": "app", "image": "nginx", "resources": {"requests": {"cpu": "100m"}}}]},
//! }))?;
//! pods.create(&PostParams::default(), &pod).await?;
//! let more = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "150m"}}}]}});
//! let resized = pods.patch_resize("web", &PatchParams::default(), &Patch::Strategic(more)).await?;
//! assert_eq!(resized.metadata.generation, Some(2));
//! # Ok(())
//! # }
//! ```

mod admission;
pub mod apply;
mod body;
mod bootstrap;
pub mod cel;
pub mod clock;
pub mod crash;
pub mod custom;
mod deletion;
pub mod differences;
pub mod discovery;
mod disruption;
mod errors;
pub mod fields;
mod follow;
mod handlers;
pub mod kinds;
pub mod kubelet;
mod metadata;
mod old_kubectl;
pub mod openapi;
mod options;
mod outline;
pub mod patch;
pub mod protobuf;
mod respond;
mod route;
mod scale;
pub mod schema;
pub mod selector;
mod server;
mod skew;
mod store;
mod strategy;
pub mod table;
pub mod tls;
mod tree;
pub mod validate;

/// How admission webhooks are called: the seam where tests and the fault harness stand in for the network.
pub mod webhook {
    pub use crate::admission::webhook::{Answer, Call, Endpoint, Https, Transport, TransportError};
}

use std::path::PathBuf;
use std::sync::Arc;

use admission::webhook::Webhooks;
pub use clock::{Clock, SystemClock};
pub use crash::CrashPoints;
use custom::registry::Registry;
pub use follow::StoredPod;
use futures::Stream;
use handlers::Api;
use k8s_openapi::api::core::v1::PodStatus;
use kube::runtime::watcher;
pub use kubelet::{Kubelet, LogQuery, NoKubelet, PodMetricsSample};
pub use server::ServeError;
use store::{FileError, HISTORY, Store};
pub use store::{OpenDatabase, Pace};
use tokio_util::sync::CancellationToken;

/// How many events of a resource a watch can go back at most; one that is further behind lists again (410).
pub const WATCH_HISTORY: usize = HISTORY.events;

/// Where objects are kept.
#[derive(Clone)]
pub enum Storage {
    /// In memory; gone with the process.
    Memory,
    /// In this one file, flushed before a write is acknowledged. It is created if it does not exist. Flushes are made by
    /// a thread of the store's own, which a runtime with a paused clock does not wait for: such tests want
    /// [`Storage::Memory`] or [`Storage::Given`].
    Durable(PathBuf),
    /// In the database that this opens, flushed by whoever writes: for tests that bring their own disk.
    Given(OpenDatabase),
    /// Likewise, flushed by a task that first lets [`Pace`] pass: a disk that hangs while others write.
    Paced(OpenDatabase, Pace),
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
    /// How admission webhooks are called. [`webhook::Https`] unless a test stands in for the network.
    pub webhooks: Arc<dyn webhook::Transport>,
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
            webhooks: Arc::new(webhook::Https::default()),
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
    /// What every cluster begins with (system namespaces, priority classes) could not be written.
    #[error("write the system's own objects: {0}")]
    Bootstrap(String),
}

fn not_opened(error: FileError) -> OpenError {
    let FileError { path, message, .. } = error;
    OpenError::Store { path, message }
}

/// The server. A clone is the same server.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    api: Arc<Api>,
    token: Option<String>,
}

impl ApiServer {
    /// Opens the store and makes the server; nothing listens yet.
    ///
    /// # Errors
    /// [`OpenError`] when the store's file cannot be opened or read.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options { storage, clock, kubelet, webhooks, token, crash_points } = options;
        let store = match storage {
            Storage::Memory => Store::in_memory(outline::outline, HISTORY),
            Storage::Durable(path) => {
                Store::open(&path, outline::outline, HISTORY, crash_points).map_err(not_opened)?
            }
            Storage::Given(open) => Store::inline(open, outline::outline, HISTORY, crash_points).map_err(not_opened)?,
            Storage::Paced(open, pace) => {
                Store::paced(open, outline::outline, HISTORY, crash_points, pace).map_err(not_opened)?
            }
        };
        bootstrap::ensure(&store, clock.now()).map_err(|error| OpenError::Bootstrap(error.to_string()))?;
        handlers::settle_definitions(&store, clock.now()).map_err(|error| OpenError::Bootstrap(error.to_string()))?;
        let registry = Arc::new(Registry::default());
        registry.refresh(&store);
        let webhooks = Webhooks::new(store.clone(), webhooks, registry.clone());
        let api = Api { store, clock, kubelet, webhooks, registry };
        Ok(Self { inner: Arc::new(Inner { api: Arc::new(api), token }) })
    }

    /// The newest revision (`resourceVersion`) that readers can see.
    pub fn revision(&self) -> u64 {
        self.inner.api.store.revision()
    }

    /// Every pod and its changes, for those in this process who follow all of them: what a watch would bring, without
    /// `managedFields`.
    pub fn pods(&self) -> impl Stream<Item = watcher::Event<StoredPod>> + Send + 'static {
        follow::pods(self.inner.api.store.clone())
    }

    /// Writes down what a node of this process says of the pod of this name and UID: these fields of its status. It is what a
    /// patch of the status by the cluster's own client would do, without a request around it; `false`: this one is not of
    /// the usual kind (its pod is gone or going, webhooks want to be asked, it begins or ends), and must be sent as a patch.
    ///
    /// # Errors
    /// When it cannot be stored, in words; trying again later is safe.
    pub async fn report(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        status: &PodStatus,
        fields: &[&str],
    ) -> Result<bool, String> {
        let word = handlers::Word { namespace, name, uid, status, fields };
        self.inner.api.report(word).await.map_err(|error| error.message)
    }

    /// The whole API as a service, without authentication: for callers inside this process.
    pub fn router(&self) -> axum::Router {
        let api = self.inner.api.clone();
        axum::Router::new().fallback(move |request: axum::extract::Request| api.clone().handle(request))
    }

    /// A client on [`ApiServer::router`] with no socket between. Must be called inside a tokio runtime.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        client_on(self.router(), default_namespace)
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
        server::serve(listener, identity, self.router(), self.inner.token.as_deref(), shutdown).await
    }
}

/// A client on a router: [`ApiServer::router`], or one with something between. Must be called inside a tokio runtime.
pub fn client_on(router: axum::Router, default_namespace: &str) -> kube::Client {
    use tower::ServiceExt;
    let service = router.map_request(|mut request: http::Request<kube::client::Body>| {
        // The field manager of what the cluster's own parts write.
        let own = http::HeaderValue::from_static("supple");
        request.headers_mut().entry(http::header::USER_AGENT).or_insert(own);
        request.map(axum::body::Body::new)
    });
    kube::Client::new(service, default_namespace)
}
