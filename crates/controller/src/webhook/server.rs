//! The paths of the webhook. Whatever comes, the answer is one that an API server understands, and soon.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{StatusCode, header};
use tokio::time::Instant;

use super::knowledge::Knowledge;
use super::review::{LONGEST, Question, Verdict, read};
use super::{create, resize};
use crate::metrics::Metrics;
use crate::run::Clock;
use crate::serve::Bounds;

/// Where resizes are judged.
pub const RESIZE: &str = "/validate-resize";

/// Where new pods are sized.
pub const CREATE: &str = "/mutate-pods";

/// Whoever asks the webhook is an API server, which opens few connections and keeps them.
#[must_use]
pub fn bounds() -> Bounds {
    // Longer than an API server keeps a connection that it does not use: it is the one to close it.
    let usual = Bounds::default();
    let listener = supple_listener::Bounds { silence: Duration::from_secs(120), ..usual.listener };
    Bounds { body: LONGEST, listener, ..usual }
}

#[derive(Clone)]
struct Hook {
    knowledge: Arc<dyn Knowledge>,
    metrics: Metrics,
    clock: Clock,
    /// The controller's own namespace.
    own: Arc<str>,
}

/// [`RESIZE`] and [`CREATE`]. `own` is the controller's own namespace, which is let alone like `kube-system`.
pub fn router(knowledge: Arc<dyn Knowledge>, metrics: Metrics, clock: Clock, own: &str) -> Router {
    let hook = Hook { knowledge, metrics, clock, own: own.into() };
    Router::new().route(RESIZE, post(asked_to_resize)).route(CREATE, post(asked_to_create)).with_state(hook)
}

async fn asked_to_resize(State(hook): State<Hook>, body: Bytes) -> Response {
    let judge = |question: &Question, hook: &Hook| {
        let about_this = question.subresource == "resize" && question.operation == "UPDATE";
        if about_this { resize::judge(question, hook.knowledge.as_ref(), (hook.clock)()) } else { Verdict::passes() }
    };
    hook.answer("resize", &body, judge)
}

async fn asked_to_create(State(hook): State<Hook>, body: Bytes) -> Response {
    let judge = |question: &Question, hook: &Hook| {
        let about_this = question.subresource.is_empty() && question.operation == "CREATE";
        if about_this { create::judge(question, hook.knowledge.as_ref(), (hook.clock)()) } else { Verdict::passes() }
    };
    hook.answer("create", &body, judge)
}

impl Hook {
    fn answer(&self, review: &str, body: &[u8], judge: impl FnOnce(&Question, &Self) -> Verdict) -> Response {
        let began = Instant::now();
        let question = match read(body) {
            Ok(question) => question,
            Err(why) => {
                self.metrics.reviewed(review, "unread", began.elapsed());
                return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response();
            }
        };
        let let_alone = question.namespace == "kube-system" || question.namespace == *self.own;
        let verdict = if let_alone { Verdict::passes() } else { judge(&question, self) };
        if let Some((code, message)) = &verdict.refused {
            tracing::info!(code = code.as_str(), namespace = question.namespace, pod = question.name, "{message}");
        }
        self.metrics.reviewed(review, verdict.word(), began.elapsed());
        ([(header::CONTENT_TYPE, "application/json")], verdict.answer(&question.uid).to_string()).into_response()
    }
}
