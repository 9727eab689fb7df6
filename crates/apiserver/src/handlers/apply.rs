//! Server-side apply over HTTP: reads the configuration, has [`apply`] merge it into the newest state, and
//! sends the outcome the way of every other write.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::ownership::{Author, take_managed};
use super::write::{Next, Owners, stored_form};
use super::{Api, Call};
use crate::apply::{self, ApplyError, Conflicts};
use crate::body;
use crate::errors::ApiError;
use crate::fields::{self, Decoder, FieldValidation, normalise, parse_json, parse_yaml};
use crate::kinds::Resource;
use crate::metadata::{self, subject};
use crate::options::WriteOptions;
use crate::respond::{json as answer, warned};
use crate::route::Target;
use crate::strategy::Part;

impl Api {
    /// PATCH of a configuration that its author wants to own.
    pub(super) async fn apply(&self, call: &Call, options: WriteOptions, body: Body) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let bytes = body::read(&call.headers, body).await?;
        let author = Author::of(call, &options);
        let (config, warnings) = wanted_config(resource, &bytes, options.field_validation)?;
        let config = stored_form(resource, config);
        let one = |live: Option<Value>| self.applied(&author, target, live, &config, options.force == Some(true));
        loop {
            // A path below an object never creates one.
            let absent = self.store.latest(&target.key(&target.name)).is_none();
            if absent && target.subresource.is_none() {
                let uid = metadata::text(&config, "uid");
                if !uid.is_empty() {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(ApiError::conflict(subject(resource, &target.name), &why));
                }
                let first = one(None)?;
                match self
                    .create_object(target, first.object, &options, Owners::Are(first.managed.unwrap_or_default()))
                    .await
                {
                    // Somebody else has just created it: then it is there to be applied to.
                    Err(error) if error.reason == "AlreadyExists" && !options.dry_run => continue,
                    Err(error) => return Err(error),
                    Ok(created) => {
                        let response = answer(StatusCode::CREATED, call.wanted.object(resource, &created.object));
                        return Ok(warned(response, &[warnings, created.warnings].concat()));
                    }
                }
            }
            let written =
                self.modify(target, Part::of(target), &options, &author, |stored| one(Some(stored.clone()))).await?;
            let response = answer(StatusCode::OK, call.wanted.object(resource, &written.object));
            return Ok(warned(response, &[warnings, written.warnings].concat()));
        }
    }

    /// The configuration merged into the newest state, as an object of its type.
    fn applied(
        &self,
        author: &Author,
        target: &Target,
        live: Option<Value>,
        config: &Value,
        force: bool,
    ) -> Result<Next, ApiError> {
        let mut live = live;
        let managed = live.as_mut().map(take_managed).unwrap_or_default();
        let now = metadata::moment(self.clock.now());
        let applied = author
            .edit(&now, |edit| {
                let outcome = apply::apply(edit, live.as_ref(), config, &managed, force)?;
                Ok((outcome, edit.shape))
            })
            .map_err(|error| refused(target, config, &error))?;
        let (outcome, shape) = applied;
        let mut object = outcome.object;
        let custom = target.resource.custom().is_some();
        if let Some(shape) = shape {
            let normalised = if custom {
                target.resource.normalise(object, Decoder::Text)
            } else {
                normalise(object, shape, Decoder::Text)
            };
            let normalised = normalised.map_err(|error| {
                let what = described(target, config);
                unknown_error(format!(
                    "failed to convert new object ({what}) to proper version ({}): {error}",
                    target.resource.api_version()
                ))
            })?;
            object = normalised.value;
        }
        for (name, value) in [("apiVersion", config.get("apiVersion")), ("kind", config.get("kind"))] {
            if let Some(value) = value {
                object[name] = value.clone();
            }
        }
        metadata::place(target, &mut object)?;
        Ok(Next { object, warnings: Vec::new(), managed: Some(outcome.managed) })
    }
}

/// The configuration of an object of `resource`, and findings for `Warning` headers.
pub(super) fn wanted_config(
    resource: &Resource,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), ApiError> {
    let (config, warnings) = read(bytes, validation)?;
    check(resource, &config)?;
    Ok((config, warnings))
}

fn read(bytes: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), ApiError> {
    let parsed = match parse_json(bytes) {
        Ok(parsed) => parsed,
        Err(_) => parse_yaml(bytes).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?,
    };
    if !parsed.value.is_object() {
        return Err(ApiError::bad_request("error decoding YAML: the configuration is not an object"));
    }
    match validation {
        FieldValidation::Strict if !parsed.duplicates.is_empty() => {
            Err(ApiError::bad_request(format!("error {}", fields::strict_error(&parsed.duplicates))))
        }
        FieldValidation::Warn => Ok((parsed.value, parsed.duplicates)),
        FieldValidation::Strict | FieldValidation::Ignore => Ok((parsed.value, Vec::new())),
    }
}

/// What a configuration must and must not say about itself.
fn check(resource: &Resource, config: &Value) -> Result<(), ApiError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") != resource.api_version() || text("kind") != resource.kind {
        let what = qualified(text("apiVersion"), text("kind"));
        return Err(ApiError::bad_request(format!("invalid object type: {what}")));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|it| !it.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

/// `/v1, Kind=Pod`, `apps/v1, Kind=Deployment`.
fn qualified(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// `namespace/name; /v1, Kind=Pod`: as the reference names what it could not read.
fn described(target: &Target, config: &Value) -> String {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let namespace = metadata::text(config, "namespace");
    let name = metadata::text(config, "name");
    let name = if name.is_empty() { &target.name } else { name };
    format!("{namespace}/{name}; {}", qualified(text("apiVersion"), text("kind")))
}

pub(super) fn refused(target: &Target, config: &Value, error: &ApplyError) -> ApiError {
    match error {
        ApplyError::Conflicts(conflicts) => conflict(conflicts),
        ApplyError::Mistake(mistake) => {
            unknown_error(format!("failed to create typed patch object ({}): {mistake}", described(target, config)))
        }
        ApplyError::Managers(_) => unknown_error(error.to_string()),
    }
}

fn conflict(conflicts: &Conflicts) -> ApiError {
    let causes = conflicts.0.iter().map(|conflict| {
        json!({
            "reason": "FieldManagerConflict",
            "message": format!("conflict with {}", conflict.manager),
            "field": conflict.path,
        })
    });
    ApiError::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string()).with_causes(causes)
}

/// The reference reports a configuration that is no object of its type as a failure without a reason, code 500. Clients
/// look for its sentence and do not try again.
fn unknown_error(message: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
}
