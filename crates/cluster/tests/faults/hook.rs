//! Admission webhooks, one on resizes and one that writes into new pods. They allow what they are asked once, if they answer:
//! they fail, hang, tear and are asked twice like the rest.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use supple_apiserver::webhook::{Answer, Call, Transport, TransportError};

use crate::dice::{Dice, Fault, Layer};
use crate::life::Life;

/// The way to the webhook.
pub struct Hook {
    pub dice: Arc<Dice>,
    pub life: Arc<Life>,
}

/// What is written into new pods.
pub const MARK: &str = "example.com/seen";

/// The configuration of the one that judges resizes; with `closed`, what it does not answer is refused.
pub fn judging(closed: bool) -> Value {
    configuration("ValidatingWebhookConfiguration", "resizes", closed, ("pods/resize", "UPDATE"))
}

/// The same of the one that writes into new pods.
pub fn writing(closed: bool) -> Value {
    configuration("MutatingWebhookConfiguration", "pods", closed, ("pods", "CREATE"))
}

fn configuration(kind: &str, name: &str, closed: bool, (resource, operation): (&str, &str)) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": [{
            "name": format!("{name}.example.com"), "clientConfig": {"url": "https://127.0.0.1:1/"},
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
            "failurePolicy": if closed { "Fail" } else { "Ignore" },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource], "operations": [operation],
            }],
        }],
    })
}

/// What is answered: a new pod gets the mark.
fn answer(request: &Value, allowed: bool) -> String {
    let mut response = json!({"uid": request["uid"], "allowed": allowed});
    if request["operation"] == "CREATE" {
        let patch = json!([{"op": "add", "path": "/metadata/annotations/example.com~1seen", "value": "yes"}]);
        response["patchType"] = "JSONPatch".into();
        response["patch"] = json!(ByteString(patch.to_string().into_bytes()));
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).to_string()
}

impl Transport for Hook {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            self.life.alive().await;
            let asked: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            let request = &asked["request"];
            let mut body = answer(request, true);
            match self.dice.fault(Layer::Hook, "webhook", "webhook call", Some) {
                Some(Fault::Fail) => return Err(TransportError::Broken("connection refused".to_owned())),
                Some(Fault::Lost) => std::future::pending::<()>().await,
                Some(Fault::Torn) => body.truncate(body.len() / 2),
                Some(Fault::Hang(time)) => tokio::time::sleep(time).await,
                // It was asked twice, and whoever asked has the second answer: not always the first one's.
                Some(Fault::Repeat) => body = answer(request, self.dice.roll("webhook, again", 2) == 0),
                None => {}
            }
            Ok(Answer { status: 200, body: Bytes::from(body) })
        })
    }
}
