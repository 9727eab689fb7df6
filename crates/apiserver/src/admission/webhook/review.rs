//! What a webhook's answer says: the bytes that came back, judged. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::hook::ReviewVersion;
use super::transport::Answer;
use crate::errors::ApiError;
use crate::fields::parse_json;

/// What a webhook is asked, as bytes.
pub fn question(version: ReviewVersion, request: Value) -> Vec<u8> {
    let review = json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request});
    review.to_string().into_bytes()
}

/// Whose answer is judged.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The webhook.
    pub webhook: &'a str,
    /// In which form it was asked.
    pub version: ReviewVersion,
    /// The review that it must answer.
    pub uid: &'a str,
    /// Whether it may change the object.
    pub mutating: bool,
}

/// A webhook's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The refusal, if it is one.
    pub refusal: Option<ApiError>,
    /// Operations of a JSON patch.
    pub patch: Vec<Value>,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
    /// For an audit log.
    pub audit: Map<String, Value>,
}

/// Judges an answer.
///
/// # Errors
/// Why it is none, in the reference's words: the webhook could not be asked, and its failure policy decides.
pub fn judge(asked: Asked<'_>, answer: &Answer) -> Result<Verdict, String> {
    let review = read(answer).map_err(|why| format!("failed to call webhook: {why}"))?;
    let invalid = |why: String| format!("received invalid webhook response: {why}");
    let response = review
        .get("response")
        .filter(|response| response.is_object())
        .ok_or_else(|| invalid("webhook response was absent".to_owned()))?;
    if asked.version == ReviewVersion::V1 {
        check(asked, &review, response).map_err(invalid)?;
    }
    let texts = |field: &str| {
        let items = response.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let allowed = response.get("allowed").and_then(Value::as_bool).unwrap_or(false);
    Ok(Verdict {
        refusal: (!allowed).then(|| refusal(asked.webhook, response.get("status"))),
        patch: if allowed && asked.mutating { patch(response)? } else { Vec::new() },
        warnings: texts("warnings"),
        audit: response.get("auditAnnotations").and_then(Value::as_object).cloned().unwrap_or_default(),
    })
}

/// The answer as a tree.
fn read(answer: &Answer) -> Result<Value, String> {
    let parsed = parse_json(&answer.body).map(|parsed| parsed.value);
    let status = parsed.as_ref().ok().filter(|body| body.get("kind").and_then(Value::as_str) == Some("Status"));
    let said = |status: &Value| status.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !(200..=206).contains(&answer.status) {
        return Err(match status.map(said).filter(|said| !said.is_empty()) {
            Some(said) => said,
            None => http_failure(answer),
        });
    }
    if let Some(status) = status {
        return Err(said(status));
    }
    match parsed {
        Ok(review) if review.is_object() => Ok(review),
        Ok(_) => Err("couldn't get version/kind; json parse error: the answer is no object".to_owned()),
        Err(error) => Err(format!("couldn't get version/kind; json parse error: {error}")),
    }
}

/// What the reference's client says of an HTTP status (apimachinery, NewGenericServerResponse).
fn http_failure(answer: &Answer) -> String {
    let said = String::from_utf8_lossy(&answer.body);
    let said = said.trim();
    match answer.status {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => said.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        413 => format!("Request entity too large: {said}"),
        406 | 415 | 422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the \
                request"
            .to_owned(),
        status if status >= 500 => {
            let start: String = said.chars().take(SHOWN).collect();
            format!("an error on the server ({start:?}) has prevented the request from succeeding")
        }
        status => format!("the server responded with the status code {status} but did not return more information"),
    }
}

/// Most characters of a failed answer that are shown.
const SHOWN: usize = 2048;

/// That a v1 answer is to this question and of the promised form.
fn check(asked: Asked<'_>, review: &Value, response: &Value) -> Result<(), String> {
    let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let uid = text(response, "uid");
    if uid != asked.uid {
        return Err(format!("expected response.uid={:?}, got {uid:?}", asked.uid));
    }
    let (api_version, kind) = (text(review, "apiVersion"), text(review, "kind"));
    if api_version != asked.version.api_version() || kind != "AdmissionReview" {
        let slash = if api_version.contains('/') { "" } else { "/" };
        return Err(format!(
            "expected webhook response of {}, Kind=AdmissionReview, got {slash}{api_version}, Kind={kind}",
            asked.version.api_version()
        ));
    }
    let given = |field: &str| response.get(field).filter(|value| !value.is_null());
    let patch = given("patch").filter(|patch| *patch != "");
    let patch_type = given("patchType");
    match (asked.mutating, patch, patch_type) {
        (true, Some(_), None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, None, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (true, Some(_), Some(found)) if found == "" => {
            Err("webhook returned invalid response.patchType of \"\"".to_owned())
        }
        (false, Some(_), _) => Err("validating webhook may not return response.patch".to_owned()),
        (false, None, Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
        _ => Ok(()),
    }
}

/// The operations of an answer's patch.
fn patch(response: &Value) -> Result<Vec<Value>, String> {
    let encoded = response.get("patch").and_then(Value::as_str).unwrap_or_default();
    if encoded.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("failed to call webhook: response.patch: {error}"))?;
    let operations = serde_json::from_slice(&bytes)
        .map_err(|error| format!("received undecodable patch in webhook response: {error}"))?;
    match response.get("patchType").and_then(Value::as_str) {
        // The old form did not check the type; there is only one.
        None | Some("JSONPatch") => Ok(operations),
        Some(other) => Err(format!("unsupported patch type {other:?}")),
    }
}

/// The refusal that a webhook has answered, always one of at least 400.
fn refusal(webhook: &str, status: Option<&Value>) -> ApiError {
    let text = |field: &str| {
        let value = status.and_then(|status| status.get(field)).and_then(Value::as_str).unwrap_or_default();
        value.to_owned()
    };
    let (message, reason) = (text("message"), text("reason"));
    let denied = format!("admission webhook {webhook:?} denied the request");
    let message = match (message.as_str(), reason.as_str()) {
        ("", "") => format!("{denied} without explanation"),
        ("", why) | (why, _) => format!("{denied}: {why}"),
    };
    let code = status.and_then(|status| status.get("code")).and_then(Value::as_u64).unwrap_or_default();
    let code = u16::try_from(code).ok().filter(|code| *code >= 400).and_then(|code| StatusCode::from_u16(code).ok());
    let details = status.and_then(|status| status.get("details")).filter(|details| details.is_object()).cloned();
    ApiError { details, ..ApiError::new(code.unwrap_or(StatusCode::BAD_REQUEST), reason, message) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: [&str; 7] = ["uid", "allowed", "status", "patch", "patchType", "warnings", "auditAnnotations"];

    /// Anything that looks like an answer, right and wrong.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-zA-Z/=+0-9]{0,12}".prop_map(Value::from),
            Just(json!(["W10=", 1, null])),
            Just(json!({"code": -1, "message": 5, "details": [], "reason": {}})),
            Just(json!({"code": u64::MAX, "details": {"causes": 1}})),
        ];
        let response = prop::collection::vec((prop::sample::select(&FIELDS[..]), odd), 0..6);
        let shaped = (response, any::<bool>()).prop_map(|(fields, to_the_question)| {
            let mut response = json!({});
            for (field, value) in fields {
                response[field] = value;
            }
            if to_the_question {
                response["uid"] = "u".into();
            }
            let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
            review.to_string().into_bytes()
        });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..200), shaped]
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_to_be_judged(body in answers(), status in 100_u16..1000, mutating: bool, old: bool) {
            let version = if old { ReviewVersion::V1Beta1 } else { ReviewVersion::V1 };
            let asked = Asked { webhook: "w", version, uid: "u", mutating };
            if let Ok(verdict) = judge(asked, &Answer { status, body: body.into() }) {
                prop_assert!(verdict.refusal.is_none_or(|refusal| refusal.code.as_u16() >= 400));
                prop_assert!(mutating || verdict.patch.is_empty());
            }
        }
    }
}
