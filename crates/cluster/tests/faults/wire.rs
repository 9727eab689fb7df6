//! The wire between the cluster's own parts and its API server: requests that fail, hang, are answered into the void or
//! sent twice; watches that break off, also within an event, or tell one twice.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use supple_cluster::Wire;
use tower::ServiceExt;

use crate::dice::{Dice, Fault, Layer};
use crate::life::Life;

/// Everything between passes these dice, as long as the process lives.
pub fn wire(dice: Arc<Dice>, life: Arc<Life>) -> Wire {
    Arc::new(move |router| {
        let (dice, life) = (Arc::clone(&dice), Arc::clone(&life));
        Router::new().fallback(move |request: Request| {
            let (router, dice, life) = (router.clone(), Arc::clone(&dice), Arc::clone(&life));
            async move {
                life.alive().await;
                let response = pass(router, request, &dice).await;
                life.alive().await;
                response
            }
        })
    })
}

/// A request that can be sent twice.
#[derive(Clone)]
struct Sent {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

async fn pass(router: Router, request: Request, dice: &Arc<Dice>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else { return status(StatusCode::BAD_REQUEST) };
    let sent = Sent { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let watch = sent.uri.query().is_some_and(|query| query.contains("watch=true"));
    let site = format!("{} {}", if watch { "WATCH" } else { sent.method.as_str() }, kind(sent.uri.path()));
    let fault = dice.fault(Layer::Wire, &site, if watch { "watch" } else { "request" }, Some);
    if watch {
        return watched(send(&router, sent).await, fault, dice, &site);
    }
    match fault {
        None => send(&router, sent).await,
        Some(Fault::Fail) => status(StatusCode::TOO_MANY_REQUESTS),
        Some(Fault::Lost) => {
            send(&router, sent).await;
            status(StatusCode::GATEWAY_TIMEOUT)
        }
        Some(Fault::Torn) => {
            let response = send(&router, sent).await;
            let (parts, body) = response.into_parts();
            let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = whole.slice(..whole.len() / 2);
            let broken = futures::stream::iter([Ok(half), Err(std::io::Error::other("connection reset"))]);
            Response::from_parts(parts, Body::from_stream(broken))
        }
        Some(Fault::Hang(time)) => {
            tokio::time::sleep(time).await;
            send(&router, sent).await
        }
        Some(Fault::Repeat) => {
            send(&router, sent.clone()).await;
            send(&router, sent).await
        }
    }
}

/// A watch that begins late, or ends at some moment: between two events, or within one.
fn watched(response: Response, fault: Option<Fault>, dice: &Arc<Dice>, site: &str) -> Response {
    let Some(fault) = fault else { return response };
    if fault == Fault::Fail {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let (parts, body) = response.into_parts();
    let chunks = usize::try_from(dice.roll(site, 6)).unwrap_or(0);
    let late = match fault {
        Fault::Hang(time) => time,
        _ => Duration::ZERO,
    };
    let all = body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    if fault == Fault::Repeat {
        let again = all.enumerate().flat_map(move |(number, chunk)| {
            let whole = |it: &Bytes| it.starts_with(b"{\"type\"") && it.ends_with(b"\n");
            let twice = chunk.as_ref().ok().filter(|it| number == chunks && whole(it)).cloned();
            futures::stream::iter(std::iter::once(chunk).chain(twice.map(Ok)))
        });
        return Response::from_parts(parts, Body::from_stream(again));
    }
    let begun = all.take(chunks);
    let begun = futures::stream::once(tokio::time::sleep(late)).filter_map(async |()| None).chain(begun);
    let end = match fault {
        Fault::Torn => {
            vec![Ok(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"obj")), Err(std::io::Error::other("reset"))]
        }
        Fault::Lost => vec![Err(std::io::Error::other("connection reset"))],
        _ => Vec::new(),
    };
    Response::from_parts(parts, Body::from_stream(begun.chain(futures::stream::iter(end))))
}

async fn send(router: &Router, sent: Sent) -> Response {
    let Sent { method, uri, headers, body } = sent;
    let mut request = Request::new(Body::from(body));
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn status(code: StatusCode) -> Response {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": "InternalError", "message": "the wire broke",
    });
    (code, axum::Json(body)).into_response()
}

/// The resource a path is about, without names, which differ from run to run.
fn kind(path: &str) -> String {
    let known = ["pods", "nodes", "events", "leases", "resourcequotas", "namespaces", "status", "resize", "binding"];
    path.split('/').filter(|part| known.contains(part)).collect::<Vec<_>>().join("/")
}
