//! `AdmissionReview` in and out. What is in it is read as far as it is needed, and nothing in it is trusted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};
use supple_decide::code::Code;

/// Of a review's body so much is read: two pods, each of which may be as large as the store takes, and their wrapping.
pub const LONGEST: usize = 8 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// To be given back.
    pub uid: String,
    /// The namespace.
    pub namespace: String,
    /// The pod's name; empty where it is still to be made up.
    pub name: String,
    /// `CREATE`, `UPDATE`, …
    pub operation: String,
    /// `resize`, or empty.
    pub subresource: String,
    /// The pod as it would be; `None` where there is none, or it cannot be read.
    pub pod: Option<Pod>,
    /// The same in JSON, which patches are about.
    pub object: Value,
    /// The pod as it is.
    pub old: Option<Pod>,
}

#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
}

/// Read a review.
///
/// # Errors
/// A sentence where there is nothing in it that could be answered.
pub fn read(body: &[u8]) -> Result<Question, String> {
    let Review { request } =
        serde_json::from_slice(body).map_err(|error| format!("it is not an AdmissionReview: {error}"))?;
    let Request { uid, namespace, name, operation, sub_resource, object, old_object } = request;
    if uid.is_empty() {
        return Err("it is not an AdmissionReview: request.uid is empty".to_owned());
    }
    Ok(Question {
        uid,
        namespace: namespace.unwrap_or_default(),
        name: name.unwrap_or_default(),
        operation: operation.unwrap_or_default(),
        subresource: sub_resource.unwrap_or_default(),
        pod: Pod::deserialize(&object).ok(),
        old: Pod::deserialize(&old_object).ok(),
        object,
    })
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The refusal; `None`: it passes.
    pub refused: Option<(Code, String)>,
    /// Operations of a JSON patch.
    pub patch: Vec<Value>,
    /// What whoever asked is shown.
    pub warnings: Vec<String>,
    /// For the audit log of the API server: key and value.
    pub audit: Vec<(&'static str, String)>,
}

impl Verdict {
    /// It passes.
    #[must_use]
    pub fn passes() -> Self {
        Self::default()
    }

    /// It passes, with a word to whoever asked.
    #[must_use]
    pub fn warns(text: String) -> Self {
        Self { warnings: vec![text], ..Self::default() }
    }

    /// It is refused.
    #[must_use]
    pub fn refuses(code: Code, message: String) -> Self {
        Self { refused: Some((code, message)), ..Self::default() }
    }

    /// In one word, for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (&self.refused, self.patch.is_empty()) {
            (Some(_), _) => "refused",
            (None, false) => "sized",
            (None, true) => "allowed",
        }
    }

    /// The review that is sent back.
    #[must_use]
    pub fn answer(&self, uid: &str) -> Value {
        let mut response = json!({"uid": uid, "allowed": self.refused.is_none()});
        if let Some((code, message)) = &self.refused {
            let message = format!("{message} ({code})");
            response["status"] = json!({"status": "Failure", "code": 403, "reason": code.as_str(), "message": message});
        }
        if !self.patch.is_empty() && self.refused.is_none() {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = STANDARD.encode(Value::from(self.patch.clone()).to_string()).into();
        }
        if !self.warnings.is_empty() {
            response["warnings"] = self.warnings.clone().into();
        }
        for (key, value) in &self.audit {
            response["auditAnnotations"][*key] = value.as_str().into();
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let body = json!({"apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u", "operation": "UPDATE", "subResource": "resize", "unknown": [1],
            "object": {"spec": {"containers": "none"}}, "oldObject": null}});
        let question = read(body.to_string().as_bytes()).unwrap();
        assert_eq!((question.uid.as_str(), question.subresource.as_str()), ("u", "resize"));
        assert!(question.pod.is_none() && question.old.is_none());
        for wrong in ["", "{}", "[]", r#"{"request":{}}"#, r#"{"request":{"uid":""}}"#, r#"{"request":{"uid":1}}"#] {
            assert!(read(wrong.as_bytes()).unwrap_err().starts_with("it is not an AdmissionReview"), "{wrong}");
        }
    }

    #[test]
    fn answers_have_the_form_that_is_asked_for() {
        let refused = Verdict::refuses(Code::BelowUse, "no".to_owned()).answer("u");
        assert_eq!(refused["response"]["status"]["message"], "no (BelowUse)");
        assert_eq!(refused["response"]["allowed"], false);
        let passed = Verdict::passes().answer("u");
        assert_eq!(passed["response"], json!({"uid": "u", "allowed": true}));
        let sized = Verdict { patch: vec![json!({"op": "add"})], ..Verdict::passes() }.answer("u");
        assert_eq!(sized["response"]["patch"], STANDARD.encode(r#"[{"op":"add"}]"#));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200), headed in any::<bool>()) {
            let mut text = if headed { br#"{"request":{"uid":"u","object":"#.to_vec() } else { Vec::new() };
            text.extend(body);
            let _ = read(&text);
        }
    }
}
