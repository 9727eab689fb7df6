//! A server without a socket, and what most tests put in it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use supple_apiserver::{ApiServer, Clock, Options};
use tower::ServiceExt;

/// The content types of patches.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const MERGE: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const JSON: &str = "application/json";

/// A clock that a test moves.
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2030-01-01T00:00:00Z".parse().unwrap())))
    }

    pub fn advance(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(seconds.seconds()).unwrap();
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    /// The answer, which must have this code.
    #[track_caller]
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.body
    }

    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// A server and its router.
#[derive(Clone)]
pub struct Harness {
    pub server: ApiServer,
    pub router: Router,
}

impl Harness {
    /// A server in memory with the namespace `n`, where time stands still: nothing depends on how fast the test is.
    pub async fn new() -> Self {
        Self::with(Options { clock: TestClock::new(), ..Options::in_memory() }).await
    }

    pub async fn with(options: Options) -> Self {
        let server = ApiServer::open(options).unwrap();
        let harness = Self { router: server.router(), server };
        harness.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await;
        harness
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { code: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, &[("content-type", JSON)], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.call("PUT", path, &[("content-type", JSON)], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, content_type: &str, body: Value) -> Reply {
        self.call("PATCH", path, &[("content-type", content_type)], body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, &[], Body::empty()).await
    }

    /// Sets part of an object's status.
    pub async fn set_status(&self, path: &str, status: Value) -> Value {
        self.patch(&format!("{path}/status"), MERGE, json!({"status": status})).await.expect(200)
    }
}

/// A watch that is being read.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    /// Begins one; the answer must be 200.
    pub async fn begin(it: &Harness, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = it.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.buffer.extend_from_slice(&self.body.frame().await?.unwrap().into_data().unwrap());
        }
    }

    /// The next event as `TYPE name` (`BOOKMARK` and `ERROR` alone).
    pub async fn word(&mut self) -> String {
        let Some(event) = self.next().await else { return "end".to_owned() };
        let kind = event["type"].as_str().unwrap();
        match event["object"]["metadata"]["name"].as_str() {
            Some(name) => format!("{kind} {name}"),
            None => kind.to_owned(),
        }
    }

    /// The next events as words.
    pub async fn words(&mut self, count: usize) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(self.word().await);
        }
        words
    }

    /// Whether nothing comes for a while (of virtual time).
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(std::time::Duration::from_secs(1), self.next()).await.is_err()
    }
}

/// A pod of one container `c1` with these requests and limits.
pub fn pod(name: &str, requests: Value, limits: Value) -> Value {
    let mut resources = json!({});
    for (key, value) in [("requests", requests), ("limits", limits)] {
        if !value.is_null() {
            resources[key] = value;
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c1", "image": "registry.example/app:1", "resources": resources}]},
    })
}

/// A burstable pod.
pub fn small(name: &str) -> Value {
    pod(name, json!({"cpu": "100m", "memory": "100Mi"}), json!({"cpu": "200m", "memory": "200Mi"}))
}

/// A patch that asks for this much CPU.
pub fn cpu(request: &str) -> Value {
    json!({"spec": {"containers": [{"name": "c1", "resources": {"requests": {"cpu": request}}}]}})
}

/// A file of recorded answers; `None` (and a line that says so) where the folder is absent, unless it must be there.
pub fn conformance(name: &str) -> Option<String> {
    let folder = std::env::var_os("SUPPLE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    match std::fs::read_to_string(folder.join(name)) {
        Ok(text) => Some(text),
        Err(error) if std::env::var_os("SUPPLE_REQUIRE_ALL").is_some() => {
            panic!("{name} in {} is required: {error}", folder.display())
        }
        Err(error) => {
            println!("skipped: {name} in {}: {error}", folder.display());
            None
        }
    }
}
