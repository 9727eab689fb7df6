//! Answers of admission webhooks: whatever comes back, the request is decided and the server lives.

#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use libfuzzer_sys::fuzz_target;
use supple_apiserver::webhook::{Answer, Call, Transport, TransportError};
use supple_apiserver::{ApiServer, Options};
use tower::ServiceExt;

/// Answers with what it was told.
#[derive(Default)]
struct Told(Mutex<Bytes>);

impl Transport for Told {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let told = self.0.lock().expect("nobody panics with it").clone();
        // The UID that an answer must repeat is not to be guessed.
        let uid = serde_json::from_slice::<serde_json::Value>(&call.body).unwrap_or_default()["request"]["uid"].clone();
        let body = String::from_utf8_lossy(&told).replace("UID", uid.as_str().unwrap_or_default());
        Box::pin(std::future::ready(Ok(Answer { status: 200, body: body.into() })))
    }
}

const HOOK: &str = r#"{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration","metadata":{
    "name":"fuzzed"},"webhooks":[{"name":"fuzzed.example.com","clientConfig":{"url":"https://127.0.0.1:1/"},"rules":[{
    "apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"],"operations":["CREATE"]}],"sideEffects":"None",
    "admissionReviewVersions":["v1"]}]}"#;
const OBJECT: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"b"}}"#;

struct Lab {
    server: ApiServer,
    told: Arc<Told>,
    runtime: tokio::runtime::Runtime,
}

thread_local! {
    static LAB: RefCell<Option<Lab>> = const { RefCell::new(None) };
}

fn post(path: &str, body: &'static str) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(Body::from(body)).expect("a request")
}

fuzz_target!(|data: &[u8]| {
    LAB.with_borrow_mut(|lab| {
        let lab = lab.get_or_insert_with(|| {
            let told = Arc::new(Told::default());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("a runtime can be made");
            let options = Options { webhooks: told.clone(), ..Options::in_memory() };
            let server = ApiServer::open(options).expect("memory can be opened");
            let made = post("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", HOOK);
            let Ok(made) = runtime.block_on(server.router().oneshot(made));
            assert_eq!(made.status(), 201, "the webhook is configured");
            Lab { server, told, runtime }
        });
        *lab.told.0.lock().expect("nobody panics with it") = Bytes::copy_from_slice(data);
        let asked = post("/api/v1/namespaces/default/configmaps?dryRun=All", OBJECT);
        let Ok(answer) = lab.runtime.block_on(lab.server.router().oneshot(asked));
        assert!(answer.status().as_u16() >= 200);
    });
});
