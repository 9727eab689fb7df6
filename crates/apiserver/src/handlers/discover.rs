//! Answers that depend on no object: health, version, discovery, OpenAPI.

use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use crate::discovery;
use crate::errors::ApiError;
use crate::kinds::Rows;
use crate::openapi;
use crate::respond::{json, typed};
use crate::route::Route;
use crate::table::{Form, negotiate};

/// Answers a request for anything but objects.
pub(super) fn answer(rows: &Rows, route: &Route, parts: &Parts) -> Result<Response, ApiError> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let aggregated = negotiate(header(header::ACCEPT)) == Some(Form::AggregatedDiscovery);
    let absent = || ApiError::no_such_path(parts.uri.path());
    let found = |document: Option<serde_json::Value>| {
        document.map(|document| json(StatusCode::OK, document.to_string())).ok_or_else(absent)
    };
    match route {
        Route::Health => Ok(typed(StatusCode::OK, "ok", HeaderValue::from_static("text/plain; charset=utf-8"))),
        Route::Version => found(Some(discovery::version())),
        Route::CoreVersions if aggregated => Ok(aggregate(&discovery::aggregated_core(rows))),
        Route::Groups if aggregated => Ok(aggregate(&discovery::aggregated_groups(rows))),
        // The address clients reached us under: what they should keep using.
        Route::CoreVersions => found(Some(discovery::api_versions(header(header::HOST)))),
        Route::Groups => found(Some(discovery::group_list(rows))),
        Route::Group(name) => found(discovery::group(rows, name)),
        Route::Resources { group, version } => found(discovery::resource_list(rows, group, version)),
        Route::OpenApiV2 if header(header::ACCEPT).contains(openapi::v2::REQUESTED) => {
            let content_type = HeaderValue::from_static(openapi::v2::CONTENT_TYPE);
            Ok(typed(StatusCode::OK, openapi::v2::protobuf(), content_type))
        }
        Route::OpenApiV2 => found(Some(openapi::v2::json())),
        Route::OpenApiIndex => found(Some(rows.documents().index())),
        Route::OpenApiDocument(path) => {
            let document = rows.documents().get(path).ok_or_else(absent)?;
            let tag = format!("\"{}\"", document.hash);
            let mut response = if header(header::IF_NONE_MATCH) == tag {
                typed(StatusCode::NOT_MODIFIED, axum::body::Body::empty(), HeaderValue::from_static("application/json"))
            } else {
                json(StatusCode::OK, document.body.clone())
            };
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                response.headers_mut().insert(header::ETAG, tag);
            }
            Ok(response)
        }
        Route::Resource(_) | Route::NodeProxy { .. } => Err(absent()),
    }
}

fn aggregate(document: &serde_json::Value) -> Response {
    let content_type = HeaderValue::from_static(discovery::AGGREGATED_CONTENT_TYPE);
    typed(StatusCode::OK, document.to_string(), content_type)
}
