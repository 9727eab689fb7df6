//! An admission webhook on resizes that allows what it is asked once, if it answers: it fails, hangs, tears and is asked
//! twice like the rest.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use supple_apiserver::webhook::{Answer, Call, Transport, TransportError};

use crate::dice::{Dice, Fault, Layer};
use crate::life::Life;

/// The way to the webhook.
pub struct Hook {
    pub dice: Arc<Dice>,
    pub life: Arc<Life>,
}

/// The configuration; with `closed`, a resize is refused where the webhook does not answer.
pub fn configuration(closed: bool) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "resizes"},
        "webhooks": [{
            "name": "resizes.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
            "failurePolicy": if closed { "Fail" } else { "Ignore" },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/resize"], "operations": ["UPDATE"],
            }],
        }],
    })
}

impl Transport for Hook {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            self.life.alive().await;
            let asked: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            let answer = |allowed: bool| {
                let response = json!({"uid": asked["request"]["uid"], "allowed": allowed});
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
                    .to_string()
            };
            let mut body = answer(true);
            match self.dice.fault(Layer::Hook, "webhook") {
                Some(Fault::Fail) => return Err(TransportError::Broken("connection refused".to_owned())),
                Some(Fault::Lost) => std::future::pending::<()>().await,
                Some(Fault::Torn) => body.truncate(body.len() / 2),
                Some(Fault::Hang(time)) => tokio::time::sleep(time).await,
                // It was asked twice, and whoever asked has the second answer: not always the first one's.
                Some(Fault::Repeat) => body = answer(self.dice.roll("webhook, again", 2) == 0),
                None => {}
            }
            Ok(Answer { status: 200, body: Bytes::from(body) })
        })
    }
}
