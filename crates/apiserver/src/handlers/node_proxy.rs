//! Paths below a node that the node answers itself: its usage and its metrics. Only to be read.

use axum::response::Response;
use http::{HeaderValue, Method, StatusCode};

use super::Api;
use crate::errors::{ApiError, Subject};
use crate::kubelet::NoAnswer;
use crate::respond::typed;
use crate::store::Key;

impl Api {
    /// GET of `nodes/{node}/proxy/{path}`.
    pub(super) async fn node_proxy(&self, method: &Method, node: &str, path: &str) -> Result<Response, ApiError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        if self.store.get(&Key::new("nodes", "", node)).is_none() {
            return Err(ApiError::not_found(Subject { name: node, group: "", kind: "nodes" }));
        }
        match self.kubelet.ask(node, path).await {
            Ok(answer) => Ok(typed(StatusCode::OK, answer.body, HeaderValue::from_static(answer.content_type))),
            Err(NoAnswer::NotFound) => Ok(typed(
                StatusCode::NOT_FOUND,
                "404 page not found\n",
                HeaderValue::from_static("text/plain; charset=utf-8"),
            )),
            Err(NoAnswer::Unreachable) => Err(ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                format!("error trying to reach service: node {node:?} is not running"),
            )),
        }
    }
}
