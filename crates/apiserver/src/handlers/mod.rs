//! From a request to an answer: which handler, with which options. The handlers know no kinds; what differs between
//! resources is in the table, in `strategy` and in `admission`.
//!
//! ```text
//! handle ─▶ route ─▶ read    get, list              delete       delete, deletecollection
//!                    watch   changes as they come   subresource  binding, log
//!                    scale   of whatever has one    evict        pods, as their budgets let them
//!                    write   create, update, patch  metrics      metrics.k8s.io, from the node
//!                    access  who may do what
//!                    apply   server-side apply      ownership    who writes
//!                                                   hooks        who else is asked
//!                                                   definitions  what follows from custom resource definitions
//!                    usual   most patches of pods   node_proxy   what a node answers itself
//!                    typed   most of these: resizes, and what nodes of this process say
//!                    differing   what is another in a pod, as its owners are told by it
//! ```

mod access;
mod apply;
mod definitions;
mod delete;
mod differing;
mod discover;
mod evict;
mod hooks;
mod metrics;
mod node_proxy;
mod ownership;
mod read;
mod scale;
mod stations;
mod subresource;
mod typed;
mod usual;
mod watch;
mod write;

pub(crate) use definitions::settle_all as settle_definitions;
pub(crate) use ownership::owned_by_the_server;
pub(crate) use typed::Word;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, Request, header};
use tokio_util::sync::CancellationToken;

use crate::admission::webhook::Webhooks;
use crate::clock::Clock;
use crate::custom::registry::Registry;
use crate::errors::ApiError;
use crate::kinds::{Backing, SubresourceKind};
use crate::kubelet::Kubelet;
use crate::respond::{Wanted, warned};
use crate::route::{Action, Query, Route, Target, route};
use crate::server::Closing;
use crate::skew;
use crate::store::{CommitError, Key, Store};
use crate::table::{Form, Include, negotiate};

/// What handlers work with.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) kubelet: Arc<dyn Kubelet>,
    pub(crate) webhooks: Webhooks,
    /// Which kinds are served.
    pub(crate) registry: Arc<Registry>,
}

/// A request whose path and query have been read.
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) wanted: Wanted,
    /// When the connection it came through is to end.
    pub(crate) closing: CancellationToken,
}

impl Api {
    /// Answers a request; a refusal is an answer too.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        self.dispatch(parts, body).await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn dispatch(self: Arc<Self>, parts: Parts, body: Body) -> Result<Response, ApiError> {
        let rows = self.registry.rows();
        let target = match route(&rows, parts.uri.path())? {
            Route::Resource(target) => target,
            Route::NodeProxy { node, path } => return self.node_proxy(&parts.method, &node, &path).await,
            other => return discover::answer(&rows, &other, &parts),
        };
        let action = target.action(&parts.method)?;
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let wanted = self.wanted(&parts.headers, &query, &target)?;
        let closing = parts.extensions.get::<Closing>().map(|closing| closing.0.clone()).unwrap_or_default();
        let call = Call { target, query, headers: parts.headers, wanted, closing };
        if matches!(call.target.resource.backing, Backing::Metrics) {
            return self.metrics(&call).await;
        }
        if matches!(call.target.resource.backing, Backing::Asked) {
            return self.access(&call, body).await;
        }
        let answer = match (call.target.subresource.map(|it| it.what), action) {
            (Some(SubresourceKind::Log), _) => self.log(&call).await,
            (Some(SubresourceKind::Binding), _) => self.bind(&call, body).await,
            (Some(SubresourceKind::Eviction), _) => self.evict(&call, body).await,
            (Some(SubresourceKind::Scale(paths)), action) => self.scale(&call, paths, action, body).await,
            (_, Action::Get) if call.query.flag("watch") => self.watch(&call),
            (_, Action::Get) => self.get(&call),
            (_, Action::List) if call.query.flag("watch") => self.watch(&call),
            (_, Action::List) => self.list(&call).await,
            (_, Action::Create) => self.create(&call, body).await,
            (_, Action::Update) => self.update(&call, body).await,
            (_, Action::Patch) => self.patch(&call, body).await,
            (_, Action::Delete) => self.delete(&call, body).await,
            (_, Action::DeleteCollection) => self.delete_collection(&call, body).await,
        };
        if !matches!(action, Action::Get | Action::List) {
            self.follow_definitions(&call.target).await;
        }
        match (answer, call.target.resource.custom().and_then(|it| it.warning.as_ref())) {
            (Ok(response), Some(warning)) => Ok(warned(response, std::slice::from_ref(warning))),
            (answer, _) => answer,
        }
    }

    fn wanted(&self, headers: &HeaderMap, query: &Query, target: &Target) -> Result<Wanted, ApiError> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_log = target.subresource.is_some_and(|it| it.what == SubresourceKind::Log);
        let form = if is_log { Form::Plain } else { negotiate(accept).ok_or_else(ApiError::not_acceptable)? };
        let given = query.get("includeObject");
        let include = Include::parse(given).ok_or_else(|| {
            ApiError::bad_request(format!("Invalid value: {given:?}: must be 'Metadata', 'Object', 'None', or empty"))
        })?;
        Ok(Wanted { form, include, now: self.clock.now(), old_editor: skew::old_editor(headers) })
    }
}

impl Target {
    /// Where the target's objects stand in the store. Only called for resources that are stored.
    pub(crate) fn collection(&self) -> &'static str {
        self.resource.backing.collection().unwrap_or(self.resource.plural)
    }

    /// The key of the object of this name.
    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(self.collection(), &self.namespace, name)
    }
}

/// A failure of the store's file, as clients see it.
pub(crate) fn store_error(error: &CommitError) -> ApiError {
    ApiError::internal(format!("the write was not taken: {error}"))
}
