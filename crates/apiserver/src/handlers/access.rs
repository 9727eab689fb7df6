//! authorization.k8s.io: whoever asks what he or another may do is told what the server's authoriser says. There is one token, which may
//! do everything; roles are kept and not looked at. So the answers are those of the reference with `AlwaysAllow`.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::ownership::{Author, put_managed, take_managed};
use super::{Api, Call};
use crate::body;
use crate::errors::{ApiError, Subject};
use crate::options::WriteOptions;
use crate::respond::{json as answer, warned};

impl Api {
    /// POST of a question about access.
    pub(super) async fn access(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let resource = call.target.resource;
        let options = WriteOptions::parse("CreateOptions", &call.query)?;
        let bytes = body::read(&call.headers, body).await?;
        let decoded = body::decode_object(&call.headers, &bytes, resource, options.field_validation)?;
        let mut asked = decoded.value;
        let sent = take_managed(&mut asked);
        let said = match resource.kind {
            "SelfSubjectRulesReview" => rules(&asked)?,
            kind => access(kind == "SubjectAccessReview", asked, |asked| {
                Author::of(call, &options).created(asked, sent, self.clock.now())
            })?,
        };
        Ok(warned(answer(StatusCode::CREATED, said.to_string()), &decoded.warnings))
    }
}

/// May it be done: by whoever asks, or by another who is named? `managed` says who owns what of the question, which the
/// reference notes here too.
fn access(of_another: bool, mut asked: Value, managed: impl FnOnce(&Value) -> Value) -> Result<Value, ApiError> {
    let spec = |name: &str| asked.pointer(&format!("/spec/{name}")).filter(|it| !it.is_null());
    let wrong = match (spec("resourceAttributes"), spec("nonResourceAttributes")) {
        (Some(_), Some(path)) => Some((
            "spec.nonResourceAttributes",
            format!("Invalid value: {path}: cannot be specified in combination with resourceAttributes"),
        )),
        (None, None) => Some((
            "spec.resourceAttributes",
            "Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified"
                .to_owned(),
        )),
        _ => None,
    };
    let named = |field: &str| match spec(field) {
        Some(Value::String(name)) => !name.is_empty(),
        Some(Value::Array(names)) => !names.is_empty(),
        _ => false,
    };
    let nobody = (of_another && !named("user") && !named("groups"))
        .then(|| ("spec.user", "Invalid value: \"\": at least one of user or group must be specified".to_owned()));
    let metadata = asked.get("metadata").filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
    let metadata = metadata.map(|it| ("metadata", format!("Invalid value: {it}: must be empty")));
    let wrong: Vec<(&str, String)> = wrong.into_iter().chain(nobody).chain(metadata).collect();
    if !wrong.is_empty() {
        return Err(invalid(&wrong));
    }
    let managed = managed(&asked);
    put_managed(&mut asked, managed);
    asked["status"] = json!({"allowed": true});
    Ok(asked)
}

/// What may be done in a namespace? The reference answers with an object of its own, without the question.
fn rules(asked: &Value) -> Result<Value, ApiError> {
    if asked.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default().is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    Ok(json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        },
    }))
}

/// The reference names no kind here, only the group.
fn invalid(wrong: &[(&str, String)]) -> ApiError {
    let causes =
        wrong.iter().map(|(field, detail)| json!({"reason": "FieldValueInvalid", "message": detail, "field": field}));
    let lines: Vec<String> = wrong.iter().map(|(field, detail)| format!("{field}: {detail}")).collect();
    let said = match lines.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let subject = Subject { name: "", group: "authorization.k8s.io", kind: "" };
    ApiError::invalid(subject, format!(".authorization.k8s.io \"\" is invalid: {said}"), causes.collect())
}
