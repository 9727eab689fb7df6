//! Refusals: `metav1.Status` with the codes, reasons and sentences of the reference, so that clients which look for
//! them find them.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::admission::webhook::Warnings;
use crate::kinds;
use crate::respond::{typed, warned};

/// An answer other than success. It is a value until the edge makes a response of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status, also the `code` of the body.
    pub code: StatusCode,
    /// `reason`: a word that programs look at.
    pub reason: Cow<'static, str>,
    /// `message`: a sentence that people look at.
    pub message: String,
    /// `details`; `None` leaves them out.
    pub details: Option<Value>,
    /// `metadata.continue`, with which an expired list can be gone on with.
    pub continue_token: Option<String>,
    /// What webhooks had to say before the request was refused; boxed, since refusals are passed on often and rarely have
    /// any.
    pub warnings: Option<Box<Warnings>>,
}

/// What a refused request was about, as `details` name it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the object.
    pub name: &'a str,
    /// API group of the resource; empty for the core group.
    pub group: &'a str,
    /// Plural of the resource (or, where the reference does so, the kind).
    pub kind: &'a str,
}

impl Subject<'_> {
    fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        for (key, value) in [("name", self.name), ("group", self.group), ("kind", self.kind)] {
            if !value.is_empty() {
                details.insert(key.to_owned(), value.into());
            }
        }
        details
    }

    /// `pods`, `leases.coordination.k8s.io`.
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }
}

impl ApiError {
    /// An error without details.
    pub fn new(code: StatusCode, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (reason, message) = (reason.into(), message.into());
        Self { code, reason, message, details: None, continue_token: None, warnings: None }
    }

    fn about(code: StatusCode, reason: &'static str, message: String, subject: Subject<'_>) -> Self {
        Self { details: Some(Value::Object(subject.details())), ..Self::new(code, reason, message) }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: no token, or another one.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 for a request on an object.
    pub fn forbidden(subject: Subject<'_>, why: &str) -> Self {
        let message = if subject.name.is_empty() {
            format!("{} is forbidden: {why}", subject.qualified())
        } else {
            format!("{} {:?} is forbidden: {why}", subject.qualified(), subject.name)
        };
        Self::about(StatusCode::FORBIDDEN, "Forbidden", message, subject)
    }

    /// 404 for an object that is not there.
    pub fn not_found(subject: Subject<'_>) -> Self {
        let message = format!("{} {:?} not found", subject.qualified(), subject.name);
        Self::about(StatusCode::NOT_FOUND, "NotFound", message, subject)
    }

    /// 404 for a path that leads nowhere. Below what is built in it is a status; anywhere else, also below a group that
    /// nobody has defined, there is no API that could answer with one: it is a page, and clients have to live with that.
    pub fn no_such_path(path: &str) -> Self {
        let mut segments = path.split('/').filter(|it| !it.is_empty());
        let built_in = match (segments.next(), segments.next()) {
            (Some("api"), _) => true,
            (Some("apis"), Some(group)) => kinds::is_built_in(group),
            _ => false,
        };
        if !built_in {
            return Self::new(StatusCode::NOT_FOUND, "", "404 page not found\n");
        }
        let message = "the server could not find the requested resource";
        Self { details: Some(json!({})), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(json!({})), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message) }
    }

    /// 406: the client accepts nothing that can be given.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 409 for an object that is there already.
    pub fn already_exists(subject: Subject<'_>) -> Self {
        let message = format!("{} {:?} already exists", subject.qualified(), subject.name);
        Self::about(StatusCode::CONFLICT, "AlreadyExists", message, subject)
    }

    /// 409 for any other clash.
    pub fn conflict(subject: Subject<'_>, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {:?}: {why}", subject.qualified(), subject.name);
        Self::about(StatusCode::CONFLICT, "Conflict", message, subject)
    }

    /// 409 for a write that builds on an old revision.
    pub fn modified(subject: Subject<'_>) -> Self {
        Self::conflict(
            subject,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 410 for a revision that the history no longer reaches.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 408 for a body that does not come to its end.
    pub fn body_too_slow(patience: std::time::Duration) -> Self {
        let message = format!("the body of the request did not come within {} s", patience.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415 for a body of a type that is not read.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422 with one cause for each wrong field, given as (reason, message, field). `kind` is the object's kind and may
    /// be empty.
    pub fn invalid(subject: Subject<'_>, message: String, causes: Vec<Value>) -> Self {
        let mut details = subject.details();
        details.insert("causes".to_owned(), causes.into());
        Self {
            details: Some(Value::Object(details)),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        }
    }

    /// 422 for one wrong field of a request's options or patch, which belong to no object.
    pub fn invalid_option(kind: &str, field: &str, reason: &str, detail: &str) -> Self {
        let causes = vec![json!({"reason": reason, "message": detail, "field": field})];
        Self::invalid(
            Subject { name: "", group: "", kind: "" },
            format!("{kind} \"\" is invalid: {field}: {detail}"),
            causes,
        )
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            details: Some(json!({"causes": [{"message": message}]})),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                format!("Internal error occurred: {message}"),
            )
        }
    }

    /// 504: the revision asked for is not there yet.
    pub fn too_large_resource_version(asked: u64, newest: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {newest}");
        Self {
            details: Some(json!({
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            })),
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
        }
    }

    /// Adds what webhooks had to say before the request was refused.
    #[must_use]
    pub fn warning(mut self, warnings: &Warnings) -> Self {
        self.warnings = Some(Box::new(warnings.clone()));
        self
    }

    /// Adds causes to the details.
    #[must_use]
    pub fn with_causes(mut self, causes: impl IntoIterator<Item = Value>) -> Self {
        let mut causes = causes.into_iter().peekable();
        if causes.peek().is_some() {
            let details = self.details.get_or_insert_with(|| json!({}));
            details["causes"] = causes.collect();
        }
        self
    }

    /// The body: a `metav1.Status`.
    pub fn status(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), token.as_str().into());
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.as_ref().into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.code == StatusCode::NOT_FOUND && self.reason.is_empty() {
            return typed(self.code, self.message, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        let mut response = Response::new(Body::from(self.status().to_string()));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"supple\""));
        }
        let wait = self.details.as_ref().and_then(|it| it.get("retryAfterSeconds")).and_then(Value::as_u64);
        if let Some(seconds) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.warnings {
            Some(warnings) => warned(response, &warnings.shown()),
            None => response,
        }
    }
}
