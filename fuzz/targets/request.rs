//! Requests: patches, selectors, options and bodies of every form, against a whole API server. None may end it, and none
//! is answered with a 500.

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

thread_local! {
    static SERVER: RefCell<Option<(ApiServer, tokio::runtime::Runtime)>> = const { RefCell::new(None) };
}

/// A byte each for path, method and form, the query up to a line break, the body.
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
    SERVER.with_borrow_mut(|server| {
        let (server, runtime) = server.get_or_insert_with(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let server = ApiServer::open(Options::in_memory()).expect("memory can be opened");
            (server, runtime.expect("a runtime can be made"))
        });
        runtime.block_on(async {
            let pod = Request::post(PATHS[0]).header("content-type", FORMS[0]).body(Body::from(POD));
            // It is there already unless the last request removed it.
            let _ = server.router().oneshot(pod.expect("a request")).await;
            let Ok(response) = server.router().oneshot(request).await;
            assert_ne!(response.status(), 500, "{uri}");
            let _ = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        });
    });
});
