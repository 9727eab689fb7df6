//! Admission webhooks: who is asked, what they are told, and what their answers do.

mod configurations;
mod conversation;
mod failures;
mod matching;
mod server;
mod stages;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use supple_apiserver::Options;
use supple_apiserver::webhook::{Answer, Call, Transport, TransportError};

use crate::harness::Harness;

const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

/// What a webhook says to a review: `response` without its `uid`.
type Say = dyn Fn(&str, &Value) -> Value + Send + Sync;

/// Webhooks without a network: they answer at once and keep what they were asked.
pub struct Script {
    say: Box<Say>,
    asked: Mutex<Vec<(String, Value)>>,
}

impl Script {
    /// The reviews since the last look: path and `request`.
    pub fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The paths since the last look.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }
}

impl Transport for Script {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let review: Value = serde_json::from_slice(&call.body).unwrap();
        let path = call.url().split_once("webhook.example").map(|(_, path)| path.to_owned()).unwrap();
        let said = (self.say)(&path, &review["request"]);
        self.asked.lock().unwrap().push((path, review["request"].clone()));
        let body = Bytes::from(answer(&review, said).to_string());
        Box::pin(async move { Ok(Answer { status: 200, body }) })
    }
}

/// A whole answer to a review.
fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
}

/// The answer that lets a request pass.
fn allow() -> Value {
    json!({"allowed": true})
}

/// The answer that changes the object.
fn change(operations: Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

/// A server whose webhooks say this.
async fn scripted(say: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> (Harness, Arc<Script>) {
    let script = Arc::new(Script { say: Box::new(say), asked: Mutex::default() });
    let it = Harness::with(Options { webhooks: script.clone(), ..Options::in_memory() }).await;
    (it, script)
}

/// A rule about these resources of the core group.
fn rule(operations: &[&str], resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": [""], "apiVersions": ["v1"], "resources": resources})
}

/// A webhook at `/{name}`, with the fields of `more`.
fn webhook(name: &str, rules: Value, more: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.webhook.example"), "rules": rules, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": {"url": format!("https://webhook.example/{name}")},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        webhook[field] = value.clone();
    }
    webhook
}

/// Configures webhooks of this kind (`mutating`, `validating`).
async fn configure(it: &Harness, kind: &str, name: &str, webhooks: Value) {
    let path = format!("{REGISTRATION}/{kind}webhookconfigurations");
    it.post(&path, json!({"metadata": {"name": name}, "webhooks": webhooks})).await.expect(201);
}
