//! Create, update and patch: read the newest state, compute the next one, write it on condition that nobody was faster;
//! else again.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::ownership::{Author, managed, put_managed, take_managed};
use super::stations::{Asked, admitted};
use super::typed::Sizes;
use super::usual::Usual;
use super::{Api, Call, hooks, store_error};
use crate::admission::webhook::{Operation, Options, Request, Warnings};
use crate::body;
use crate::errors::ApiError;
use crate::kinds::Backing;
use crate::metadata::{self, subject};
use crate::options::WriteOptions;
use crate::patch::{self, PatchError, PatchType};
use crate::respond::{json, warned};
use crate::route::Target;
use crate::store::{CommitError, Draft, Expect, Object, Write};
use crate::strategy::{self, Admitted, Part, Passage, Stored};

/// How often a generated name that is taken is generated anew, as in the reference.
const NAME_ATTEMPTS: usize = 8;

impl Api {
    /// POST to a collection.
    pub(super) async fn create(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let resource = call.target.resource;
        let options = WriteOptions::parse("CreateOptions", &call.query)?;
        let bytes = body::read(&call.headers, body).await?;
        let decoded = body::decode_object(&call.headers, &bytes, resource, options.field_validation)?;
        let created = self
            .create_object(&call.target, decoded.value, &options, Owners::From(&Author::of(call, &options)))
            .await?;
        let response = json(StatusCode::CREATED, call.wanted.object(resource, &created.object));
        Ok(warned(response, &[decoded.warnings, created.warnings].concat()))
    }

    /// Creates an object that has been decoded; it is owned by its author, or as an apply has found.
    pub(super) async fn create_object(
        &self,
        target: &Target,
        given: Value,
        options: &WriteOptions,
        owners: Owners<'_>,
    ) -> Result<Written, ApiError> {
        let mut warnings = Warnings::default();
        self.try_create(target, given, options, owners, &mut warnings).await.map_err(|error| error.warning(&warnings))
    }

    async fn try_create(
        &self,
        target: &Target,
        given: Value,
        options: &WriteOptions,
        owners: Owners<'_>,
        warnings: &mut Warnings,
    ) -> Result<Written, ApiError> {
        let resource = target.resource;
        if !metadata::text(&given, "resourceVersion").is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let mut given = stored_form(resource, given);
        metadata::place(target, &mut given)?;
        let sent = take_managed(&mut given);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut object = given.clone();
            let mut generated = metadata::generate_name(&mut object, uuid::Uuid::new_v4());
            let (now, uid) = (self.clock.now(), uuid::Uuid::new_v4());
            metadata::create(&mut object, now, uid);
            // What admission fills in afterwards is nobody's.
            let (object, begun) = strategy::begin(resource, object)?;
            let managed = match &owners {
                Owners::From(author) => author.created(&object, sent.clone(), now),
                Owners::Are(applied) => applied.clone(),
            };
            let name = metadata::text(&object, "name").to_owned();
            let passage = Passage::create(&self.store, target, begun)?;
            let request = Request {
                target,
                operation: Operation::Create,
                name: if generated { "" } else { &name },
                options: Options::Write(options),
                old: None,
            };
            let panel = self.webhooks.panel(request);
            let unnamed = generated;
            let asked = panel.as_ref().map(|panel| Asked {
                panel,
                target,
                managed: &managed,
                replaces: None,
                hide: |object: &mut Value| metadata::hide(object, unnamed),
                settle: |object: &mut Value| {
                    generated &= metadata::generate_name(object, uuid::Uuid::new_v4());
                    metadata::create(object, now, uid);
                    metadata::place(target, object)
                },
            });
            let Admitted { mut object, pod, also, .. } = admitted(passage, asked, warnings).await?;
            put_managed(&mut object, managed);
            let name = metadata::text(&object, "name").to_owned();
            let key = target.key(&name);
            let draft = Draft::new(target.collection(), &object, self.store.indexer()).known(pod);
            let taken = || ApiError::already_exists(subject(resource, &name));
            let written = |object: Arc<Object>, warnings: &Warnings| Written { object, warnings: warnings.shown() };
            if options.dry_run {
                if self.store.latest(&key).is_some() {
                    return Err(taken());
                }
                return Ok(written(Arc::new(draft.seal(key, 0)), warnings));
            }
            let write = Write { key: key.clone(), expect: Expect::Absent, draft, remove: false };
            match self.store.commit(write, also).await {
                Ok(event) => return Ok(written(event.object.clone(), warnings)),
                Err(CommitError::Raced(raced)) if raced.key == key => {
                    if !generated || attempts >= NAME_ATTEMPTS {
                        return Err(taken());
                    }
                }
                // A quota that another pod was charged to: admission runs again on its newest state.
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(store_error(&error)),
            }
        }
    }

    /// PUT of an object.
    pub(super) async fn update(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let options = WriteOptions::parse("UpdateOptions", &call.query)?;
        let bytes = body::read(&call.headers, body).await?;
        let decoded = body::decode_object(&call.headers, &bytes, resource, options.field_validation)?;
        let mut given = decoded.value;
        metadata::place(target, &mut given)?;
        let author = Author::of(call, &options);
        let creates = resource.create_on_update && target.subresource.is_none();
        if creates && self.store.latest(&target.key(&target.name)).is_none() {
            let created = self.create_object(target, given, &options, Owners::From(&author)).await?;
            let response = json(StatusCode::CREATED, call.wanted.object(resource, &created.object));
            return Ok(warned(response, &[decoded.warnings, created.warnings].concat()));
        }
        let given = stored_form(resource, given);
        let part = Part::of(target);
        let written =
            self.modify(target, part, &options, &author, |_| Ok(Next::plain(given.clone(), Vec::new()))).await?;
        let response = json(StatusCode::OK, call.wanted.object(resource, &written.object));
        Ok(warned(response, &[decoded.warnings, written.warnings].concat()))
    }

    /// PATCH of an object.
    pub(super) async fn patch(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let options = WriteOptions::parse("PatchOptions", &call.query)?;
        let patch_type = PatchType::from_content_type(body::content_type(&call.headers))
            .ok_or_else(|| ApiError::unsupported_media_type("415: Unsupported Media Type"))?;
        options.check_patch(patch_type == PatchType::Apply)?;
        if patch_type == PatchType::Apply {
            return self.apply(call, options, body).await;
        }
        let author = Author::of(call, &options);
        let bytes = body::read(&call.headers, body).await?;
        let part = Part::of(target);
        let answer = |object: &Object| json(StatusCode::OK, call.wanted.object(resource, object));
        if let Some(sizes) = Sizes::of(part, patch_type, &options, &bytes)
            && let Some(object) = self.attempt(target, |old| self.resized(target, &author, old, &sizes)).await?
        {
            return Ok(answer(&object));
        }
        if let Some(usual) = Usual::of(resource, patch_type, &options, &bytes)
            && let Some(object) =
                self.attempt(target, |old| self.usually(target, &options, &author, old, &usual)).await?
        {
            return Ok(answer(&object));
        }
        let written = self
            .modify(target, part, &options, &author, |stored| {
                let shown = match resource.backing {
                    Backing::View { from_stored, .. } => Cow::Owned(from_stored.of(stored.clone())),
                    Backing::Stored(_) | Backing::Metrics | Backing::Asked => Cow::Borrowed(stored),
                };
                let patched = patch::apply(patch_type, resource, &shown, &bytes, options.field_validation)
                    .map_err(patch_error)?;
                let mut value = patched.value;
                if !value.is_object() {
                    return Err(ApiError::bad_request("the patched object is no JSON object any more"));
                }
                value["apiVersion"] = resource.api_version().into();
                value["kind"] = resource.kind.into();
                metadata::place(target, &mut value)?;
                Ok(Next::plain(stored_form(resource, value), patched.warnings))
            })
            .await?;
        let response = json(StatusCode::OK, call.wanted.object(resource, &written.object));
        Ok(warned(response, &written.warnings))
    }

    /// Writes what `next` makes of an object's newest state, for as long as it makes something of it; `None` if it does not.
    /// What is as it was need not be written, but must be durable.
    pub(super) async fn attempt(
        &self,
        target: &Target,
        next: impl Fn(&Object) -> Option<(Write, Vec<Write>)>,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let key = target.key(&target.name);
        while let Some(old) = self.store.latest(&key)
            && let Some((write, also)) = next(&old)
        {
            if write.draft.is_unchanged_from(&old) {
                if self.store.settled(&old).await.map_err(|error| store_error(&error))? {
                    return Ok(Some(old));
                }
                continue;
            }
            match self.store.commit(write, also).await {
                Ok(event) => return Ok(Some(Arc::clone(&event.object))),
                // Somebody was faster.
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(store_error(&error)),
            }
        }
        Ok(None)
    }

    /// Replaces an object by what `next` makes of its newest state, in the form in which it is stored.
    pub(super) async fn modify(
        &self,
        target: &Target,
        part: Part,
        options: &WriteOptions,
        author: &Author,
        next: impl Fn(&Value) -> Result<Next, ApiError>,
    ) -> Result<Written, ApiError> {
        let mut said = Warnings::default();
        self.try_modify(target, part, options, author, next, &mut said).await.map_err(|error| error.warning(&said))
    }

    async fn try_modify(
        &self,
        target: &Target,
        part: Part,
        options: &WriteOptions,
        author: &Author,
        next: impl Fn(&Value) -> Result<Next, ApiError>,
        said: &mut Warnings,
    ) -> Result<Written, ApiError> {
        let resource = target.resource;
        let key = target.key(&target.name);
        loop {
            let absent = || ApiError::not_found(subject(resource, &target.name));
            let old = self.store.latest(&key).ok_or_else(absent)?;
            let mut tree = old.value();
            let stored = Stored { object: &old, value: &tree };
            let Next { mut object, warnings, managed: applied } = next(stored.value)?;
            let sent = take_managed(&mut object);
            metadata::update(resource, &mut object, stored)?;
            let asked = (part == Part::Resize).then(|| author.changes(stored.value, &object));
            let owners = |old: &Value, object: &Value| match applied {
                Some(applied) if is_same(old, object, &applied) => managed(old).clone(),
                Some(applied) => applied,
                // A binding is the cluster's own doing.
                None if part == Part::Binding => managed(old).clone(),
                None => author.updated(old, object, asked, sent, self.clock.now()),
            };
            let passage = Passage::update(&self.store, target, part, object, stored)?;
            let scale = hooks::as_scale(target, stored.value);
            let request = Request {
                target,
                operation: Operation::Update,
                name: &target.name,
                options: Options::Write(options),
                old: Some(scale.as_ref().unwrap_or(stored.value)),
            };
            // Webhooks have been asked about the binding itself.
            let panel = if part == Part::Binding { None } else { self.webhooks.panel(request) };
            let owned = match &panel {
                None => Err(owners),
                // The author owns what came of its own request.
                Some(_) => {
                    let mut own = passage.clone();
                    own.prepare();
                    Ok(owners(stored.value, &own.object()?))
                }
            };
            let asked = panel.as_ref().zip(owned.as_ref().ok()).map(|(panel, managed)| Asked {
                panel,
                target,
                managed,
                replaces: Some(old.revision),
                hide: |_: &mut Value| {},
                settle: |object: &mut Value| {
                    metadata::place(target, object)?;
                    metadata::update(resource, object, stored)
                },
            });
            let Admitted { mut object, kept, pod, also } = admitted(passage, asked, said).await?;
            // What is as it was is neither compared nor copied.
            let kept: Vec<_> =
                kept.into_iter().filter_map(|part| Some((part, tree.as_object_mut()?.remove(part)?))).collect();
            let owned = match owned {
                Ok(owned) => owned,
                Err(owners) => owners(&tree, &object),
            };
            kept.into_iter().for_each(|(part, value)| object[part] = value);
            put_managed(&mut object, owned);
            let warnings = [warnings, said.shown()].concat();
            let draft = Draft::new(target.collection(), &object, self.store.indexer()).known(pod);
            if options.dry_run {
                return Ok(Written { object: Arc::new(draft.seal(key, old.revision)), warnings });
            }
            let remove = metadata::is_finished(&object);
            if draft.is_unchanged_from(&old) && !remove {
                if self.store.settled(&old).await.map_err(|error| store_error(&error))? {
                    return Ok(Written { object: old, warnings });
                }
                continue;
            }
            let write = Write { key: key.clone(), expect: Expect::Revision(old.revision), draft, remove };
            match self.store.commit(write, also).await {
                Ok(event) => return Ok(Written { object: event.object.clone(), warnings }),
                // Somebody was faster. A client that named the revision it builds on is refused in the next round.
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(store_error(&error)),
            }
        }
    }
}

/// Where the `managedFields` of a new object come from.
pub(super) enum Owners<'a> {
    /// All of it is its author's.
    From(&'a Author),
    /// An apply has found them.
    Are(Value),
}

/// What a write makes of the newest state.
pub(super) struct Next {
    /// The object.
    pub(super) object: Value,
    /// For `Warning` headers.
    pub(super) warnings: Vec<String>,
    /// Its `managedFields`, if this is an apply; else they follow from what changed.
    pub(super) managed: Option<Value>,
}

impl Next {
    pub(super) fn plain(object: Value, warnings: Vec<String>) -> Self {
        Self { object, warnings, managed: None }
    }
}

/// An object as it was written (or, in a dry run, would have been).
pub(super) struct Written {
    pub(super) object: Arc<Object>,
    pub(super) warnings: Vec<String>,
}

/// Whether an apply has changed nothing but, at most, the time at which it did not.
fn is_same(old: &Value, new: &Value, applied: &Value) -> bool {
    let part = |object: &Value, name: &str| object.get(name).cloned().unwrap_or_default();
    let rest = |object: &Value| {
        let mut metadata = part(object, "metadata");
        if let Some(fields) = metadata.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "managedFields" | "resourceVersion"));
        }
        let others = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
        (metadata, others.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>())
    };
    let untimed = |managed: &Value| {
        let mut managed = managed.clone();
        for entry in managed.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        managed
    };
    untimed(managed(old)) == untimed(applied) && rest(old) == rest(new)
}

pub(super) fn stored_form(resource: &crate::kinds::Resource, object: Value) -> Value {
    match resource.backing {
        Backing::View { to_stored, .. } => to_stored.of(object),
        Backing::Stored(_) | Backing::Metrics | Backing::Asked => object,
    }
}

pub(super) fn patch_error(error: PatchError) -> ApiError {
    let message = error.to_string();
    match error {
        PatchError::BadRequest(_) => ApiError::bad_request(message),
        PatchError::Unprocessable { why } => {
            tracing::debug!(%why, "patch refused");
            ApiError {
                details: Some(serde_json::json!({})),
                ..ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            }
        }
        PatchError::Invalid { value, detail } => {
            let detail = format!("Invalid value: {value:?}: {detail}");
            ApiError::invalid_option("", "patch", "FieldValueInvalid", &detail)
        }
        PatchError::TooManyOperations(_) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
        }
        PatchError::Unsupported => ApiError::unsupported_media_type(message),
        // The reference answers 500 here. The patch is at fault, so we keep its sentence and say 400: a client that
        // retries failures of the server must not retry this.
        PatchError::Internal(_) => ApiError::bad_request(message),
    }
}
