//! A layer around a client that lets go of a connection once it has carried a list: what a long answer was read with stays with
//! its connection, four hundred thousand bytes as a rule, and a pool of such connections was the tenth part of all memory.

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request};
use tower::{Layer, Service};

/// The layer; put around a client with `kube::client::ClientBuilder::with_layer`.
#[derive(Clone, Copy, Debug)]
pub struct LetGo;

impl<S> Layer<S> for LetGo {
    type Service = LettingGo<S>;

    fn layer(&self, inner: S) -> LettingGo<S> {
        LettingGo(inner)
    }
}

/// A service whose lists are the last that their connections carry.
#[derive(Clone, Debug)]
pub struct LettingGo<S>(S);

impl<S: Service<Request<B>>, B> Service<Request<B>> for LettingGo<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if is_list(request.method(), request.uri().path(), request.uri().query().unwrap_or_default()) {
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.0.call(request)
    }
}

/// Whether the objects of a whole cluster are asked for. Those of one namespace are few, and nothing here asks for them.
fn is_list(method: &Method, path: &str, query: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    // `api/v1/RESOURCE` or `apis/GROUP/VERSION/RESOURCE`, and nothing after it
    let before = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return false,
    };
    let is_watch = query.split('&').any(|it| it == "watch=true" || it == "watch=1");
    *method == Method::GET && !is_watch && parts.count() == before + 1
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt as _;

    use super::*;

    #[track_caller]
    fn check(method: Method, target: &str, expect: bool) {
        let mut service = LetGo.layer(tower::service_fn(async |it: Request<()>| {
            Ok::<_, Infallible>(it.headers().get(CONNECTION).is_some_and(|it| it == "close"))
        }));
        let request = Request::builder().method(method).uri(target).body(()).unwrap();
        assert_eq!(service.call(request).now_or_never(), Some(Ok(expect)), "{target}");
    }

    #[test]
    fn only_long_answers_cost_a_connection() {
        check(Method::GET, "/api/v1/pods?limit=500", true);
        check(Method::GET, "/apis/apps/v1/deployments?limit=500&continue=x", true);
        check(Method::GET, "/apis/metrics.k8s.io/v1beta1/pods", true);
        check(Method::GET, "/api/v1/pods?watch=true&resourceVersion=1", false);
        check(Method::GET, "/api/v1", false);
        check(Method::GET, "/apis/supple.dev/v1alpha1", false);
        check(Method::GET, "/api/v1/namespaces/shop/pods/web", false);
        check(Method::GET, "/api/v1/nodes/n/proxy/stats/summary", false);
        check(Method::PATCH, "/apis/supple.dev/v1alpha1/namespaces/d/rightsizings/x/status", false);
        check(Method::GET, "/version", false);
    }
}
