//! Bodies of requests: how much is read, in which formats, and how they become objects of a known type.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::errors::ApiError;
use crate::fields::{self, Decoder, FieldValidation, Parsed};
use crate::kinds::Resource;
use crate::protobuf;
use crate::schema::{ShapeId, types};

/// Most bytes of a body that are read: the reference's limit.
pub const LIMIT: usize = 3 << 20;

/// How long a body may take to come, from its head on: the reference gives a whole request a minute.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// Reads a whole body.
///
/// # Errors
/// 413 beyond [`LIMIT`]; 400 if the client breaks off, 408 if it is not through after [`PATIENCE`].
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > LIMIT as u64) {
        return Err(ApiError::too_large(LIMIT));
    }
    let Ok(read) = tokio::time::timeout(PATIENCE, Limited::new(body, LIMIT).collect()).await else {
        return Err(ApiError::body_too_slow(PATIENCE));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body of the request could not be read: {error}"))),
    }
}

/// The media type of a body, without parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn format(headers: &HeaderMap) -> Result<Format, ApiError> {
    match content_type(headers) {
        "" | "*/*" | "application/json" => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Format::Yaml),
        protobuf::CONTENT_TYPE => Ok(Format::Protobuf),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

fn parse(format: Format, bytes: &[u8], shape: Option<ShapeId>) -> Result<Parsed, String> {
    match (format, shape) {
        (Format::Json, _) => fields::parse_json(bytes).map_err(|error| format!("json parse error: {error}")),
        (Format::Yaml, _) => fields::parse_yaml(bytes).map_err(|error| format!("json parse error: {error}")),
        (Format::Protobuf, Some(shape)) => protobuf::decode(bytes, shape)
            .map(|value| Parsed { value, duplicates: Vec::new() })
            .map_err(|error| error.to_string()),
        (Format::Protobuf, None) => Err("only JSON is read here".to_owned()),
    }
}

/// An object read from a body, and what the client is to be warned of.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The object, normalised.
    pub value: Value,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}

/// What a body is expected to hold.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `apiVersion`.
    pub api_version: &'a str,
    /// `kind`.
    pub kind: &'a str,
    /// The type's fields; `None`: taken as it is.
    pub shape: Option<ShapeId>,
    /// The row whose type it is, where that is more than its fields.
    pub resource: Option<&'a Resource>,
}

/// Reads an object of a known type from a body.
///
/// # Errors
/// 400 with the reference's sentence for what is no such object, 415 for an unknown format.
pub fn decode(
    headers: &HeaderMap,
    bytes: &[u8],
    expected: Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let Expected { api_version, kind, shape, resource } = expected;
    let unrecognized = |why: &str| {
        let summary: String = bytes.iter().take(30).map(|byte| format!("{byte:02x}")).collect();
        let more = if bytes.len() > 30 { " ..." } else { "" };
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({summary}{more})"
        ))
    };
    let Parsed { value, duplicates } = parse(format(headers)?, bytes, shape)
        .map_err(|error| unrecognized(&format!("couldn't get version/kind; {error}")))?;
    if !value.is_object() {
        return Err(unrecognized("couldn't get version/kind; json parse error: the body is not an object"));
    }
    let given = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(given) = given("apiVersion").filter(|given| *given != api_version) {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({api_version})"
        )));
    }
    let cannot = |why: &str| {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    };
    if let Some(given) = given("kind").filter(|given| *given != kind) {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{given} in version {version:?} cannot be handled as a {kind}: the kind of the object does not match the \
             path it was sent to"
        )));
    }
    let mut findings = duplicates;
    let normalised = match (resource, shape) {
        (Some(resource), _) => resource.normalise(value, Decoder::Text),
        (None, Some(shape)) => fields::normalise(value, shape, Decoder::Text),
        (None, None) => Ok(fields::Normalised { value, unknown: Vec::new() }),
    };
    let normalised = normalised.map_err(|error| cannot(&error.to_string()))?;
    findings.extend(normalised.unknown);
    let mut value = normalised.value;
    let warnings = match validation {
        FieldValidation::Strict if !findings.is_empty() => return Err(cannot(&fields::strict_error(&findings))),
        FieldValidation::Warn => findings,
        FieldValidation::Strict | FieldValidation::Ignore => Vec::new(),
    };
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Ok(Decoded { value, warnings })
}

/// [`decode`] for an object of a resource.
///
/// # Errors
/// As [`decode`].
pub fn decode_object(
    headers: &HeaderMap,
    bytes: &[u8],
    resource: &Resource,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    let api_version = resource.api_version();
    let (kind, shape) = (resource.kind, resource.shape());
    let expected = Expected { api_version: &api_version, kind, shape, resource: Some(resource) };
    decode(headers, bytes, expected, validation)
}

/// Reads the options of a removal, which may be absent.
///
/// # Errors
/// 400 for what cannot be read, 415 for an unknown format.
pub fn decode_options(headers: &HeaderMap, bytes: &[u8]) -> Result<Option<Value>, ApiError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let shape = types().named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    let parsed = parse(format(headers)?, bytes, shape).map_err(ApiError::bad_request)?;
    Ok(Some(parsed.value))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures::StreamExt as _;
    use http::StatusCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_to_its_end_is_not_waited_for() {
        let began = tokio::time::Instant::now();
        let parts = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let error =
            read(&HeaderMap::new(), Body::from_stream(parts.chain(futures::stream::pending()))).await.unwrap_err();
        assert_eq!((error.into_response().status(), began.elapsed()), (StatusCode::REQUEST_TIMEOUT, PATIENCE));
    }
}
