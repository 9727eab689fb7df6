//! What can go wrong between the server and a webhook, over real TLS: each a row, under either failure policy.

use std::net::TcpListener;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use supple_apiserver::Options;

use super::server::{HookServer, Reaction};
use super::{allow, answer, change, configure, rule, webhook};
use crate::harness::{Harness, MERGE, small};

const PODS: &str = "/api/v1/namespaces/n/pods";

/// An answer of JSON.
fn says(body: &Value) -> Reaction {
    Reaction::Says(200, body.to_string().into_bytes())
}

/// What a creation is answered by a server with one webhook of this kind and these fields.
async fn create(kind: &str, more: Value) -> (u16, String) {
    let it = Harness::with(Options::in_memory()).await;
    configure(&it, kind, "c", json!([webhook("x", json!([rule(&["CREATE"], &["pods"])]), more)])).await;
    let reply = it.post(PODS, small("a")).await;
    (reply.code, reply.message().to_owned())
}

/// Checks that the creation fails with this text after `failed calling webhook …: `, and passes where the webhook is
/// ignored.
#[track_caller]
fn check(kind: &'static str, more: Value, expected: String) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let mut more = more;
        let (code, message) = create(kind, more.clone()).await;
        let start = "Internal error occurred: failed calling webhook \"x.webhook.example\": ";
        let why = message.strip_prefix(start).unwrap_or(&message);
        assert!(code == 500 && why.starts_with(&expected), "{code} {message}\nwanted {expected} ({place})");
        more["failurePolicy"] = "Ignore".into();
        assert_eq!(create(kind, more).await, (201, String::new()), "{place}");
    }
}

/// [`check`] of a webhook on loopback that answers so.
async fn check_answer(
    kind: &'static str,
    react: impl Fn(Value) -> Reaction + Send + Sync + 'static,
    expected: &'static str,
) {
    let server = HookServer::start(&["127.0.0.1"], react).await;
    let client = server.client("127.0.0.1", "/hook");
    let expected = expected.replace("URL", &format!("Post \"https://{}/hook?timeout=1s\"", server.address));
    check(kind, json!({"clientConfig": client, "timeoutSeconds": 1}), expected).await;
}

#[tokio::test]
async fn no_answer_or_none_that_is_one() {
    check_answer("validating", |_| Reaction::Hangs, "failed to call webhook: URL: context deadline exceeded").await;
    check_answer("mutating", |_| Reaction::Hangs, "failed to call webhook: URL: context deadline exceeded").await;
    check_answer("validating", |_| Reaction::Breaks, "failed to call webhook: URL: EOF").await;
    check_answer(
        "validating",
        |_| Reaction::Says(200, b"no JSON".to_vec()),
        "failed to call webhook: couldn't get version/kind; json parse error: invalid character",
    )
    .await;
    check_answer(
        "validating",
        |_| Reaction::Says(200, vec![b' '; 4 << 20]),
        "failed to call webhook: URL: the answer is larger than 3145728 bytes",
    )
    .await;
    for (status, body, expected) in [
        (
            500,
            "boom",
            "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding",
        ),
        (404, "", "failed to call webhook: the server could not find the requested resource"),
        (503, "", "failed to call webhook: the server is currently unable to handle the request"),
        (
            418,
            "",
            "failed to call webhook: the server responded with the status code 418 but did not return more information",
        ),
        (403, "{\"kind\": \"Status\", \"message\": \"not you\"}", "failed to call webhook: not you"),
    ] {
        check_answer("validating", move |_| Reaction::Says(status, body.as_bytes().to_vec()), expected).await;
    }
}

#[tokio::test]
async fn answers_that_are_not_to_the_question() {
    let invalid = "received invalid webhook response: ";
    let wrong = move |change: fn(&mut Value), expected: &'static str| {
        let react = move |review: Value| {
            let mut answer = answer(&review, allow());
            change(&mut answer);
            says(&answer)
        };
        let expected: &'static str = Box::leak(format!("{invalid}{expected}").into_boxed_str());
        (react, expected)
    };
    for (change, expected) in [
        ((|it: &mut Value| it["response"]["uid"] = "other".into()) as fn(&mut Value), "expected response.uid=\""),
        (|it| it["response"] = Value::Null, "webhook response was absent"),
        (
            |it| it["kind"] = Value::Null,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1, Kind=",
        ),
        (
            |it| it["apiVersion"] = "admission.k8s.io/v1beta1".into(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview",
        ),
        (|it| it["response"]["patch"] = "W10=".into(), "validating webhook may not return response.patch"),
        (|it| it["response"]["patchType"] = "JSONPatch".into(), "validating webhook may not return response.patchType"),
    ] {
        let (react, expected) = wrong(change, expected);
        check_answer("validating", react, expected).await;
    }
    for (change, expected) in [
        (
            (|it: &mut Value| it["response"]["patch"] = "W10=".into()) as fn(&mut Value),
            "webhook returned response.patch but not response.patchType",
        ),
        (
            |it| it["response"]["patchType"] = "JSONPatch".into(),
            "webhook returned response.patchType but not response.patch",
        ),
    ] {
        let (react, expected) = wrong(change, expected);
        check_answer("mutating", react, expected).await;
    }
    let patch = |patch: &'static [u8], kind: &'static str| {
        move |review: Value| {
            says(&answer(&review, json!({"allowed": true, "patchType": kind, "patch": STANDARD.encode(patch)})))
        }
    };
    check_answer("mutating", patch(b"{}", "JSONPatch"), "received undecodable patch in webhook response: ").await;
    check_answer("mutating", patch(b"[]", "Other"), "unsupported patch type \"Other\"").await;
}

/// What a webhook asks for and cannot have is no failure of the call: the policy does not matter.
#[tokio::test]
async fn a_patch_that_does_not_apply_fails_whatever_the_policy() {
    for policy in ["Fail", "Ignore"] {
        let server = HookServer::start(&["127.0.0.1"], |review| {
            says(&answer(&review, change(json!([{"op": "replace", "path": "/spec/absent/x", "value": 1}]))))
        })
        .await;
        let more = json!({"clientConfig": server.client("127.0.0.1", "/hook"), "failurePolicy": policy});
        let (code, message) = create("mutating", more).await;
        let start = "Internal error occurred: the patch of admission webhook \"x.webhook.example\" does not apply: ";
        assert!(code == 500 && message.starts_with(start), "{code} {message}");
    }
}

#[tokio::test]
async fn nobody_there_or_somebody_else() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}/hook");
    check(
        "validating",
        json!({"clientConfig": {"url": url}}),
        format!(
            "failed to call webhook: Post \"{url}?timeout=10s\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        ),
    )
    .await;

    let react = |review: Value| says(&answer(&review, allow()));
    let (one, other) = (HookServer::start(&["127.0.0.1"], react).await, HookServer::start(&["127.0.0.1"], react).await);
    let post = |server: &HookServer, host: &str| {
        format!("failed to call webhook: Post \"https://{host}:{}/hook?timeout=10s\": ", server.address.port())
    };
    let mut mixed = one.client("127.0.0.1", "/hook");
    mixed["caBundle"] = STANDARD.encode(&other.ca).into();
    check(
        "validating",
        json!({"clientConfig": mixed}),
        post(&one, "127.0.0.1") + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    )
    .await;
    check(
        "validating",
        json!({"clientConfig": one.client("localhost", "/hook")}),
        post(&one, "localhost") + "tls: failed to verify certificate: x509: certificate is not valid for localhost",
    )
    .await;
    let mut garbage = one.client("127.0.0.1", "/hook");
    garbage["caBundle"] = STANDARD.encode("no certificate").into();
    check(
        "validating",
        json!({"clientConfig": garbage}),
        "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block".to_owned(),
    )
    .await;

    // Somebody listens who does not speak TLS: the API itself, as it is inside a process.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let task = tokio::spawn(async move { axum::serve(plain, axum::Router::new()).await });
    let url = format!("https://127.0.0.1:{port}/hook");
    check(
        "validating",
        json!({"clientConfig": {"url": url, "caBundle": STANDARD.encode(&one.ca)}}),
        format!("failed to call webhook: Post \"{url}?timeout=10s\": tls: "),
    )
    .await;
    task.abort();
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = HookServer::start(&["127.0.0.1"], |review| says(&answer(&review, allow()))).await;
    let to = format!("https://{}/elsewhere", elsewhere.address);
    let server = HookServer::start(&["127.0.0.1"], move |_| Reaction::Redirects(to.clone())).await;
    check(
        "validating",
        json!({"clientConfig": server.client("127.0.0.1", "/hook")}),
        "failed to call webhook: the server responded with the status code 307 but did not return more information"
            .to_owned(),
    )
    .await;
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = HookServer::start(&["127.0.0.1"], |review| says(&answer(&review, allow()))).await;
    let it = Harness::with(Options::in_memory()).await;
    let more = json!({"clientConfig": server.client("127.0.0.1", "/hook"), "timeoutSeconds": 7});
    configure(&it, "validating", "c", json!([webhook("x", json!([rule(&["CREATE"], &["pods"])]), more)])).await;
    for index in 0..5 {
        it.post(PODS, small(&format!("p{index}"))).await.expect(201);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(*server.paths.lock().unwrap(), vec!["/hook?timeout=7s"; 5]);
}

#[tokio::test]
async fn the_old_form_of_review_is_checked_less() {
    let server = HookServer::start(&["127.0.0.1"], |review| {
        assert_eq!(review["apiVersion"], "admission.k8s.io/v1beta1");
        let patch = STANDARD.encode(json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}]).to_string());
        says(&json!({"response": {"allowed": true, "patch": patch}}))
    })
    .await;
    let it = Harness::with(Options::in_memory()).await;
    let more =
        json!({"clientConfig": server.client("127.0.0.1", ""), "admissionReviewVersions": ["v2", "v1beta1", "v1"]});
    configure(&it, "mutating", "c", json!([webhook("x", json!([rule(&["CREATE"], &["pods"])]), more)])).await;
    assert_eq!(it.post(PODS, small("a")).await.expect(201)["metadata"]["labels"]["x"], "y");
}

#[tokio::test]
async fn a_service_is_where_it_says_it_is() {
    let server = HookServer::start(&["hook.tools.svc"], |review| says(&answer(&review, allow()))).await;
    let port = server.address.port();
    let service = json!({"namespace": "tools", "name": "hook", "path": "/ask", "port": port});
    let client = json!({"service": service, "caBundle": STANDARD.encode(&server.ca)});
    let post = format!("failed to call webhook: Post \"https://hook.tools.svc:{port}/ask\": ");
    check(
        "validating",
        json!({"clientConfig": client}),
        format!("{post}service \"hook\" not found in the namespace \"tools\""),
    )
    .await;

    let it = Harness::with(Options::in_memory()).await;
    let more = json!({"clientConfig": client});
    configure(&it, "validating", "c", json!([webhook("x", json!([rule(&["CREATE"], &["pods"])]), more)])).await;
    it.post("/api/v1/namespaces", json!({"metadata": {"name": "tools"}})).await.expect(201);
    let ports = json!([{"port": 443, "targetPort": 8443}]);
    let plain = json!({"metadata": {"name": "hook"}, "spec": {"selector": {"app": "hook"}, "ports": ports}});
    it.post("/api/v1/namespaces/tools/services", plain).await.expect(201);
    let nowhere = it.post(PODS, small("a")).await;
    let advice = "say where it listens with `kubectl -n tools annotate service hook supple.dev/address=HOST:PORT`";
    assert!(nowhere.code == 500 && nowhere.message().contains(advice), "{}", nowhere.text);

    let path = "/api/v1/namespaces/tools/services/hook";
    let told = json!({"metadata": {"annotations": {"supple.dev/address": server.address.to_string()}}});
    it.patch(path, MERGE, told).await.expect(200);
    it.post(PODS, small("a")).await.expect(201);
    let external = json!({
        "metadata": {"annotations": null},
        "spec": {"type": "ExternalName", "externalName": "localhost", "selector": null, "ports": null},
    });
    it.patch(path, MERGE, external).await.expect(200);
    it.post(PODS, small("b")).await.expect(201);
    assert_eq!(*server.paths.lock().unwrap(), vec!["/ask?timeout=10s"; 2]);
}
