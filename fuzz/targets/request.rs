//! Requests: patches, selectors, options and bodies of every form, against a whole API server. None may end it, and none
//! is answered with a 500, but for what the reference itself calls a failure: a configuration that is no object.

#![no_main]

use std::cell::RefCell;

use axum::body::Body;
use http::{Method, Request};
use libfuzzer_sys::fuzz_target;
use supple_apiserver::{ApiServer, Options};
use tower::ServiceExt;

const PATHS: [&str; 12] = [
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/p",
    "/api/v1/namespaces/default/pods/p/resize",
    "/api/v1/namespaces/default/pods/p/status",
    "/api/v1/namespaces/default/pods/p/eviction",
    "/api/v1/namespaces/default/limitranges/l",
    "/api/v1/namespaces/default/resourcequotas/q",
    "/api/v1/nodes/n",
    "/apis/apps/v1/namespaces/default/deployments/d",
    "/apis/apps/v1/namespaces/default/deployments/d/scale",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
];
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const FORMS: [&str; 7] = [
    "application/json",
    "application/yaml",
    "application/strategic-merge-patch+json",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
];
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"default"},"spec":{"containers":[
    {"name":"app","image":"i","resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"2","memory":"2Gi"}}}]}}"#;

/// After so many requests a server without any history answers, so that what one needs stays few.
const LIFE: u32 = 512;

struct Lab {
    server: ApiServer,
    runtime: tokio::runtime::Runtime,
    requests: u32,
}

thread_local! {
    static LAB: RefCell<Option<Lab>> = const { RefCell::new(None) };
}

// A byte each for path, method and form, the query up to a line break, the body.
fuzz_target!(|data: &[u8]| {
    let [path, method, form, rest @ ..] = data else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let query: String = String::from_utf8_lossy(&rest[..end]).chars().filter(char::is_ascii_graphic).collect();
    // A watch is answered for as long as it lives.
    if query.contains("watch") || query.contains("follow") {
        return;
    }
    let uri = format!("{}?{query}", PATHS[usize::from(*path) % PATHS.len()]);
    let request = Request::builder()
        .method(&METHODS[usize::from(*method) % METHODS.len()])
        .uri(&uri)
        .header("content-type", FORMS[usize::from(*form) % FORMS.len()]);
    let Ok(request) = request.body(Body::from(rest[end..].to_vec())) else { return };
    LAB.with_borrow_mut(|kept| {
        if kept.as_ref().is_some_and(|lab| lab.requests >= LIFE) {
            *kept = None;
        }
        let lab = kept.get_or_insert_with(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let server = ApiServer::open(Options::in_memory()).expect("memory can be opened");
            Lab { server, runtime: runtime.expect("a runtime can be made"), requests: 0 }
        });
        lab.requests += 1;
        lab.runtime.block_on(async {
            let pod = Request::post(PATHS[0]).header("content-type", FORMS[0]).body(Body::from(POD));
            // It is there already unless the last request removed it.
            let _ = lab.server.router().oneshot(pod.expect("a request")).await;
            let Ok(response) = lab.server.router().oneshot(request).await;
            let (status, body) = (response.status(), response.into_body());
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            let is_no_object =
                text.contains("failed to create typed patch object") || text.contains("failed to convert new object");
            assert!(status != 500 || is_no_object, "{uri}: {text}");
        });
    });
});
