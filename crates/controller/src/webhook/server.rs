//! The paths of the webhook. Whatever review comes, the answer is one that an API server understands, and soon.

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
            // Without the uid of a review there is no answer that an API server would take: to it this is a webhook that fails.
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

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use jiff::Timestamp;
    use tower::ServiceExt as _;

    use super::*;
    use crate::webhook::knowledge::Nothing;

    /// What is answered to a body, and how it is counted.
    #[track_caller]
    fn check(body: &'static str, status: StatusCode, part: &str, counted: &str) {
        let metrics = Metrics::default();
        let clock: Clock = Arc::new(|| Timestamp::UNIX_EPOCH);
        let router = router(Arc::new(Nothing), metrics.clone(), clock, "supple-system");
        let ask = async {
            let answer = router.oneshot(Request::post(RESIZE).body(Body::from(body)).unwrap()).await.unwrap();
            (answer.status(), to_bytes(answer.into_body(), 1 << 16).await.unwrap())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (answered, text) = runtime.block_on(ask);
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(answered == status && text.contains(part), "{answered} {text}");
        let line = format!(r#"supple_webhook_reviews_total{{review="resize",result="{counted}"}} 1"#);
        let told = metrics.render(Timestamp::UNIX_EPOCH);
        assert!(told.contains(&line), "{told}");
    }

    /// Refused as a request, not as a resize: what becomes of the resize is said by the registration's `failurePolicy`.
    #[test]
    fn what_is_no_review_is_no_answer_of_ours() {
        check(r#"{"request": {"uid": "u"}}"#, StatusCode::OK, r#""allowed":true"#, "allowed");
        for body in ["", "{}", r#"{"request": {"uid": ""}}"#, r#"{"request": {"uid": "u", "namespace": 1}}"#] {
            check(body, StatusCode::BAD_REQUEST, "it is not an AdmissionReview: ", "unread");
        }
    }
}
