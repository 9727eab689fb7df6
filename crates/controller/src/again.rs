//! A layer around a client: a look that a busy server has no time for is tried again a moment later, twice. A change never is: whether
//! it is still wanted by then is known to whoever decided on it, and to nobody in between. Watches have pauses of their own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use kube::client::Body;
use tower::{Layer, Service};

use crate::deadline::is_watch;
use crate::source::backoff::{Backoff, dice};

/// How often it is asked at most.
const TRIES: u32 = 3;

/// Between two tries, where the server does not say how long.
const PAUSES: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(1) };

/// Who is to come back later than this is told so instead.
const LONGEST: Duration = Duration::from_secs(5);

/// The layer; put around a client with `kube::client::ClientBuilder::with_layer`, outside of those to which each try is a request.
#[derive(Clone, Copy, Debug)]
pub struct LookAgain;

impl<S> Layer<S> for LookAgain {
    type Service = Looking<S>;

    fn layer(&self, inner: S) -> Looking<S> {
        Looking(Arc::new(Mutex::new(inner)))
    }
}

/// A service that looks again. It is held in common, because those of a client cannot be cloned; nobody waits while it is held.
#[derive(Debug)]
pub struct Looking<S>(Arc<Mutex<S>>);

impl<S, R> Service<Request<Body>> for Looking<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    R: Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let look = (*request.method() == Method::GET && !is_watch(request.uri())).then(|| copy(&request));
        let service = self.0.clone();
        let first = service.lock().unwrap_or_else(PoisonError::into_inner).call(request);
        let Some(look) = look else { return Box::pin(first) };
        Box::pin(async move {
            let mut answer = first.await;
            for failures in 1..TRIES {
                let pause = answer.as_ref().ok().and_then(|it| pause(it.status(), it.headers(), failures, dice()));
                let Some(pause) = pause else { break };
                drop(answer);
                tokio::time::sleep(pause).await;
                answer = std::future::poll_fn(|context| ask(&service, &look, context)).await?.await;
            }
            answer
        })
    }
}

/// All of a question that has no body.
fn copy(request: &Request<Body>) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method.clone_from(request.method());
    copy.uri.clone_from(request.uri());
    copy.headers.clone_from(request.headers());
    copy.extensions.clone_from(request.extensions());
    copy
}

/// Ask it, once the service is ready for that.
fn ask<S: Service<Request<Body>>>(
    service: &Mutex<S>,
    look: &Parts,
    context: &mut Context<'_>,
) -> Poll<Result<S::Future, S::Error>> {
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    ready!(service.poll_ready(context))?;
    Poll::Ready(Ok(service.call(Request::from_parts(look.clone(), Body::empty()))))
}

/// How long the server is left alone before it is asked again; `None`: it is not.
fn pause(status: StatusCode, headers: &HeaderMap, failures: u32, dice: u32) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let asked = headers.get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let asked = asked.map(Duration::from_secs);
    asked.is_none_or(|it| it <= LONGEST).then(|| PAUSES.pause(failures, asked, dice))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A server answers with these, the last one for ever, and wants to be left alone for so long: the answer, and how often it was
    /// asked.
    #[track_caller]
    fn check(method: &Method, target: &str, says: &[u16], after: Option<&str>, expect: (u16, usize)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, script, after) = (asked.clone(), says.to_vec(), after.map(str::to_owned));
        let mut service = LookAgain.layer(tower::service_fn(move |request: Request<Body>| {
            let mut seen = seen.lock().unwrap();
            let status = script[seen.len().min(script.len() - 1)];
            seen.push((request.method().clone(), request.uri().to_string(), request.headers().len()));
            let mut answer = Response::builder().status(status);
            if let Some(after) = &after {
                answer = answer.header(header::RETRY_AFTER, after);
            }
            std::future::ready(Ok::<_, Infallible>(answer.body(()).unwrap()))
        }));
        let request = Request::builder().method(method).uri(target).header("accept", "x").body(Body::empty()).unwrap();
        let answer = runtime.block_on(service.call(request)).unwrap();
        let asked = asked.lock().unwrap();
        assert_eq!((answer.status().as_u16(), asked.len()), expect, "{method} {target} {says:?}");
        assert!(asked.iter().all(|it| *it == (method.clone(), target.to_owned(), 1)), "{asked:?}");
    }

    #[test]
    fn a_look_is_tried_again_twice_and_a_change_never() {
        let pods = "/api/v1/pods?limit=500";
        check(&Method::GET, pods, &[200], None, (200, 1));
        check(&Method::GET, pods, &[429, 200], None, (200, 2));
        check(&Method::GET, pods, &[429, 503, 200], Some("1"), (200, 3));
        check(&Method::GET, pods, &[503], None, (503, 3));
        check(&Method::GET, pods, &[429, 200], Some("60"), (429, 1));
        for other in [404, 409, 500, 504] {
            check(&Method::GET, pods, &[other, 200], None, (other, 1));
        }
        check(&Method::GET, "/api/v1/pods?watch=true&limit=1", &[429, 200], None, (429, 1));
        for change in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            check(&change, "/api/v1/namespaces/n/pods/p", &[429, 200], Some("1"), (429, 1));
        }
    }

    #[test]
    fn the_pause_is_what_the_server_asks_for_or_short() {
        let headers = |after: &'static str| HeaderMap::from_iter([(header::RETRY_AFTER, after.parse().unwrap())]);
        let (busy, millis) = (StatusCode::TOO_MANY_REQUESTS, |it| Some(Duration::from_millis(it)));
        assert_eq!(pause(busy, &HeaderMap::new(), 1, 0), millis(250));
        assert_eq!(pause(busy, &HeaderMap::new(), 2, u32::MAX), millis(1000));
        assert_eq!(pause(busy, &headers("2"), 1, 0), millis(2000));
        assert_eq!(pause(busy, &headers("Wed, 21 Oct 2026 07:28:00 GMT"), 1, 0), millis(250));
        assert_eq!(pause(busy, &headers("6"), 1, 0), None);
        assert_eq!(pause(StatusCode::OK, &HeaderMap::new(), 1, 0), None);
    }
}
