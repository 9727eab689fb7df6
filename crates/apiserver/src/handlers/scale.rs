//! The `scale` below an object: read and written as a Scale, whatever the object's kind.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::apply::{refused, wanted_config};
use super::ownership::{Author, take_managed};
use super::write::{Next, patch_error};
use super::{Api, Call};
use crate::apply;
use crate::body;
use crate::errors::{ApiError, Subject};
use crate::fields::{Decoder, normalise};
use crate::kinds::{SCALES, ScalePaths, Strategy};
use crate::metadata;
use crate::options::WriteOptions;
use crate::patch::{self, PatchType};
use crate::respond::{json as answer, shown, warned};
use crate::route::{Action, Target};
use crate::scale;
use crate::strategy::{self, Part};
use crate::validate;

impl Api {
    /// GET, PUT or PATCH of a Scale.
    pub(super) async fn scale(
        &self,
        call: &Call,
        paths: ScalePaths,
        action: Action,
        body: Body,
    ) -> Result<Response, ApiError> {
        match action {
            Action::Update => self.put_scale(call, paths, body).await,
            Action::Patch => self.patch_scale(call, paths, body).await,
            _ => {
                let object = shown(call.target.resource, self.find(call)?.as_ref());
                let seen = call.wanted.value(&SCALES, &scale::of(paths, &object));
                Ok(answer(StatusCode::OK, seen))
            }
        }
    }

    async fn put_scale(&self, call: &Call, paths: ScalePaths, body: Body) -> Result<Response, ApiError> {
        let options = WriteOptions::parse("UpdateOptions", &call.query)?;
        let bytes = body::read(&call.headers, body).await?;
        let decoded = body::decode_object(&call.headers, &bytes, &SCALES, options.field_validation)?;
        let mut given = decoded.value;
        metadata::place(&call.target, &mut given)?;
        let next = |object: Value| {
            check(&call.target, &given, &object)?;
            Ok(Next::plain(scale::put(paths, object, &given), decoded.warnings.clone()))
        };
        self.write_scale(call, paths, &options, next).await
    }

    async fn patch_scale(&self, call: &Call, paths: ScalePaths, body: Body) -> Result<Response, ApiError> {
        let target = &call.target;
        let options = WriteOptions::parse("PatchOptions", &call.query)?;
        let patch_type = PatchType::from_content_type(body::content_type(&call.headers))
            .ok_or_else(|| ApiError::unsupported_media_type("415: Unsupported Media Type"))?;
        options.check_patch(patch_type == PatchType::Apply)?;
        let bytes = body::read(&call.headers, body).await?;
        if patch_type == PatchType::Apply {
            return self.apply_scale(call, paths, &options, &bytes).await;
        }
        let next = |object: Value| {
            let current = scale::of(paths, &object);
            let patched =
                patch::apply(patch_type, &SCALES, &current, &bytes, options.field_validation).map_err(patch_error)?;
            let mut given = patched.value;
            metadata::place(target, &mut given)?;
            check(target, &given, &object)?;
            Ok(Next::plain(scale::put(paths, object, &given), patched.warnings))
        };
        self.write_scale(call, paths, &options, next).await
    }

    /// Who owns the replicas is decided on the Scale, and then said of the object.
    async fn apply_scale(
        &self,
        call: &Call,
        paths: ScalePaths,
        options: &WriteOptions,
        bytes: &[u8],
    ) -> Result<Response, ApiError> {
        let target = &call.target;
        let author = Author::of(call, options).in_form_of(&SCALES);
        let (config, warnings) = wanted_config(&SCALES, bytes, options.field_validation)?;
        let next = |mut object: Value| {
            let managed = take_managed(&mut object);
            let current = scale::of(paths, &object);
            let now = metadata::moment(self.clock.now());
            let owners = scale::owners(paths, &managed);
            let force = options.force == Some(true);
            let outcome = author
                .edit(&now, |edit| apply::apply(edit, Some(&current), &config, &owners, force))
                .map_err(|error| refused(target, &config, &error))?;
            let mut given = outcome.object;
            if let Some(shape) = SCALES.shape() {
                given = normalise(given, shape, Decoder::Text)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?
                    .value;
            }
            metadata::place(target, &mut given)?;
            check(target, &given, &object)?;
            let api_version = target.resource.api_version();
            let managed = scale::owned_by(paths, &managed, &outcome.managed, &api_version);
            let object = scale::put(paths, object, &given);
            Ok(Next { object, warnings: warnings.clone(), managed: Some(managed) })
        };
        self.write_scale(call, paths, options, next).await
    }

    async fn write_scale(
        &self,
        call: &Call,
        paths: ScalePaths,
        options: &WriteOptions,
        next: impl Fn(Value) -> Result<Next, ApiError>,
    ) -> Result<Response, ApiError> {
        let (target, author) = (&call.target, Author::of(call, options));
        let written = self.modify(target, Part::Main, options, &author, |stored| next(stored.clone())).await?;
        let seen = scale::of(paths, &shown(target.resource, &written.object));
        Ok(warned(answer(StatusCode::OK, call.wanted.value(&SCALES, &seen)), &written.warnings))
    }
}

/// Whether a Scale is one, and of this object.
fn check(target: &Target, given: &Value, object: &Value) -> Result<(), ApiError> {
    let mut errors = validate::metadata(&SCALES, given);
    if let Strategy::Rules(rules) = SCALES.strategy {
        errors.extend((rules.validate_create)(given));
    }
    strategy::refuse(&SCALES, &target.name, &errors)?;
    let (asked, found) = (metadata::text(given, "uid"), metadata::text(object, "uid"));
    if asked.is_empty() || asked == found {
        return Ok(());
    }
    let kind = format!("{}/scale", target.resource.plural);
    let subject = Subject { name: &target.name, group: target.resource.group, kind: &kind };
    let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {found}");
    Err(ApiError::conflict(subject, &why))
}
