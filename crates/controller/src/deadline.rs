//! A layer around a client: every request of ours is answered in time, or has failed. A server that accepts and does not answer would
//! else keep whoever waits, and the place it waits in, for ever.
//!
//! What became of a change that was not answered is not known. Whoever sent it looks at the object: [`crate::carry::was_not_made`]
//! is false of it, so that its note stays, and nothing is sent again to a pod that bears a note which was not known.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::unfold;
use http::{Request, Response, Uri};
use http_body_util::{BodyStream, StreamBody};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

/// How long an answer may take to begin, and each part of it to follow the one before.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a watch may say nothing: a server ends each after 290 seconds, which is what they are begun with.
pub const SILENCE: Duration = Duration::from_secs(330);

/// There was no answer.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s: the result of the request is unknown", .0.as_secs())]
pub struct Late(Duration);

/// The layer; put around a client with `kube::client::ClientBuilder::with_layer`.
#[derive(Clone, Copy, Debug)]
pub struct InTime;

impl<S> Layer<S> for InTime {
    type Service = Hurried<S>;

    fn layer(&self, inner: S) -> Hurried<S> {
        Hurried(inner)
    }
}

/// A service that answers in time.
#[derive(Clone, Debug)]
pub struct Hurried<S>(S);

impl<S, B, R> Service<Request<B>> for Hurried<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let between = if is_watch(request.uri()) { SILENCE } else { PATIENCE };
        let answer = self.0.call(request);
        Box::pin(async move {
            match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => Ok(answer.map(|body| in_time(body, between))),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(Late(PATIENCE).into()),
            }
        })
    }
}

/// Whether what is asked for has no end.
pub(crate) fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|it| it == "watch=true")
}

/// A body that fails where its next part does not come. Time counts only while somebody waits for it.
fn in_time<R>(body: R, between: Duration) -> Body
where
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let parts = unfold(Some(Box::pin(BodyStream::new(body))), move |parts| async move {
        let mut parts = parts?;
        match timeout(between, parts.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(part))) => Some((Ok(part), Some(parts))),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Err(_) => Some((Err(BoxError::from(Late(between))), None)),
        }
    });
    Body::new(StreamBody::new(parts))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

    /// What becomes of a request whose answer begins after some seconds, and says one thing after each of these.
    async fn ask(target: &str, begins: u64, parts: &[u64]) -> (Result<usize, String>, u64) {
        let began = Instant::now();
        let parts = parts.to_vec();
        let mut service = InTime.layer(tower::service_fn(move |_: Request<()>| {
            let parts = parts.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(begins)).await;
                let body = stream::iter(parts).then(async |pause| {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                    Ok::<_, BoxError>(Bytes::from_static(b"x"))
                });
                Ok::<_, BoxError>(Response::new(Body::from_stream(body)))
            }
        }));
        let answer = async {
            let answer = service.call(Request::get(target).body(()).unwrap()).await.map_err(|it| it.to_string())?;
            answer.into_body().collect().await.map(|it| it.to_bytes().len()).map_err(|it| it.to_string())
        };
        (answer.await, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_in_time_has_failed() {
        let late = |seconds: u64| {
            Err(format!("the API server did not answer within {seconds} s: the result of the request is unknown"))
        };
        let (pods, watch) = ("/api/v1/pods", "/api/v1/pods?watch=true&timeoutSeconds=290");
        for (target, begins, parts, expect) in [
            (pods, 29, &[0, 0][..], (Ok(2), 29)),
            (pods, 31, &[0], (late(30), 30)),
            (pods, 0, &[29, 29, 29], (Ok(3), 87)),
            (pods, 0, &[0, 31], (late(30), 30)),
            (watch, 31, &[], (late(30), 30)),
            (watch, 0, &[290], (Ok(1), 290)),
            (watch, 0, &[0, 331], (late(330), 330)),
        ] {
            assert_eq!(ask(target, begins, parts).await, expect, "{target} {begins} {parts:?}");
        }
    }
}
