//! A layer around a client that counts what is asked of the API server.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::Metrics;

/// The layer; put around a client with `kube::client::ClientBuilder::with_layer`.
#[derive(Clone, Debug)]
pub struct CountCalls(pub Metrics);

impl<S> Layer<S> for CountCalls {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, metrics: self.0.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct Counting<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B, R> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, resource) = what(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let (answer, metrics) = (self.inner.call(request), self.metrics.clone());
        Box::pin(async move {
            let answer = answer.await;
            metrics.api_request(verb, &resource, answer.as_ref().map_or(0, |it| it.status().as_u16()));
            answer
        })
    }
}

/// What a request asks: `list` of `pods`, `patch` of `pods/resize`.
fn what(method: &Method, path: &str, query: &str) -> (&'static str, String) {
    let mut parts = path.trim_matches('/').split('/');
    match parts.next() {
        Some("api") => drop(parts.next()),
        Some("apis") => drop((parts.next(), parts.next())),
        _ => return (verb(method, false, query), "other".to_owned()),
    }
    let rest: Vec<&str> = parts.collect();
    // `namespaces/NAME/RESOURCE/…` is about the resource; `namespaces/NAME` is about the namespace.
    let of = match rest.as_slice() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    match of {
        [] => (verb(method, true, query), "discovery".to_owned()),
        [resource] => (verb(method, false, query), (*resource).to_owned()),
        [resource, _] => (verb(method, true, query), (*resource).to_owned()),
        [resource, _, subresource, ..] => (verb(method, true, query), format!("{resource}/{subresource}")),
    }
}

fn verb(method: &Method, named: bool, query: &str) -> &'static str {
    match *method {
        Method::GET if query.split('&').any(|it| it == "watch=true" || it == "watch=1") => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, query: &str, expect: (&str, &str)) {
        let (verb, resource) = what(&method, path, query);
        assert_eq!((verb, resource.as_str()), expect, "{method} {path}");
    }

    #[test]
    fn requests() {
        check(Method::GET, "/api/v1/pods", "watch=true&x=y", ("watch", "pods"));
        check(Method::GET, "/api/v1/pods", "limit=500", ("list", "pods"));
        check(Method::GET, "/api/v1/namespaces/shop", "", ("get", "namespaces"));
        check(Method::PATCH, "/api/v1/namespaces/shop/pods/a/resize", "dryRun=All", ("patch", "pods/resize"));
        check(Method::GET, "/api/v1/nodes/n/proxy/stats/summary", "", ("get", "nodes/proxy"));
        check(
            Method::PATCH,
            "/apis/supple.dev/v1alpha1/namespaces/d/rightsizings/x/status",
            "",
            ("patch", "rightsizings/status"),
        );
        check(Method::POST, "/apis/events.k8s.io/v1/namespaces/d/events", "", ("create", "events"));
        check(Method::GET, "/version", "", ("list", "other"));
    }
}
