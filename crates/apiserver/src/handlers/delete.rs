//! Delete, of an object and of a collection.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};

use super::{Api, Call, store_error};
use crate::admission::webhook::{Operation, Options, Request, Warnings};
use crate::body;
use crate::deletion::{self, Removal};
use crate::errors::ApiError;
use crate::kinds::Strategy;
use crate::metadata::{self, subject};
use crate::options::{DeleteOptions, ListOptions};
use crate::respond::{json, list_metadata, success, warned};
use crate::route::Target;
use crate::store::{CommitError, Draft, Expect, Key, Object, Write};

/// Kinds whose removal is answered with the object rather than with a Status, as in the reference.
const ANSWERED_WITH_OBJECT: [&str; 3] = ["Pod", "ServiceAccount", "ResourceQuota"];

/// Said where somebody might have meant otherwise.
const DEPENDENTS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background \
                               to remove them or set propagationPolicy=Orphan to suppress this warning";

impl Api {
    /// DELETE of an object.
    pub(super) async fn delete(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let bytes = body::read(&call.headers, body).await?;
        let options = DeleteOptions::parse(&call.query, body::decode_options(&call.headers, &bytes)?.as_ref())?;
        let mut removed = self.remove(target, &target.key(&target.name), &options, Some(&target.name)).await?;
        if options.propagation.is_none() && deletion::leaves_dependents(resource) {
            removed.warnings.push(DEPENDENTS_STAY.to_owned());
        }
        if !removed.gone || ANSWERED_WITH_OBJECT.contains(&resource.kind) {
            let response = json(StatusCode::OK, call.wanted.object(resource, &removed.object));
            return Ok(warned(response, &removed.warnings));
        }
        let mut details = Map::new();
        details.insert("name".to_owned(), target.name.as_str().into());
        if !resource.group.is_empty() {
            details.insert("group".to_owned(), resource.group.into());
        }
        details.insert("kind".to_owned(), resource.plural.into());
        details.insert("uid".to_owned(), metadata::text(&removed.object.value(), "uid").into());
        let response = json(StatusCode::OK, success(Some(Value::Object(details))).to_string());
        Ok(warned(response, &removed.warnings))
    }

    /// DELETE of a collection: each object as if it had been deleted by itself.
    pub(super) async fn delete_collection(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let list = ListOptions::parse(&call.query, resource)?;
        let bytes = body::read(&call.headers, body).await?;
        let options = DeleteOptions::parse(&call.query, body::decode_options(&call.headers, &bytes)?.as_ref())?;
        let all = self
            .store
            .list(target.collection(), &target.namespace, "", None)
            .map_err(|_| ApiError::internal("today's state is always there"))?;
        let matching = all.objects.into_iter().filter(|object| list.matches(&object.outline()));
        let options = &options;
        let removals = matching.map(|object| async move {
            // Webhooks are asked about each, and told no name, as in the reference: none was named.
            match self.remove(target, &object.key, options, Some("")).await {
                Ok(removed) => Ok(Some(removed)),
                // Gone in the meantime, which is what was wanted.
                Err(error) if error.code == StatusCode::NOT_FOUND => Ok(None),
                Err(error) => Err(error),
            }
        });
        // Side by side, so that they share flushes.
        let removed: Vec<Option<Removed>> = futures::future::try_join_all(removals).await?;
        let objects = removed.iter().flatten().map(|removed| removed.object.as_ref());
        let metadata = list_metadata(self.store.revision(), "", None);
        let mut said = Warnings::default();
        said.extend(removed.iter().flatten().flat_map(|removed| removed.warnings.iter().cloned()));
        Ok(warned(json(StatusCode::OK, call.wanted.list(resource, objects, metadata)), &said.shown()))
    }

    /// Deletes one object of the target's resource as `options` say; `asked_as` is the name under which webhooks are
    /// asked about it, if they are.
    pub(super) async fn remove(
        &self,
        target: &Target,
        key: &Key,
        options: &DeleteOptions,
        asked_as: Option<&str>,
    ) -> Result<Removed, ApiError> {
        let mut said = Warnings::default();
        self.try_remove(target, key, options, asked_as, &mut said).await.map_err(|error| error.warning(&said))
    }

    async fn try_remove(
        &self,
        target: &Target,
        key: &Key,
        options: &DeleteOptions,
        asked_as: Option<&str>,
        said: &mut Warnings,
    ) -> Result<Removed, ApiError> {
        let resource = target.resource;
        loop {
            let old = self.store.latest(key).ok_or_else(|| ApiError::not_found(subject(resource, key.name())))?;
            let (object, gone) = match deletion::decide(resource, &old, options, self.clock.now())? {
                Removal::Now(object) => (object, true),
                Removal::Marked(object) => (object, false),
                Removal::Pending => {
                    if self.store.settled(&old).await.map_err(|error| store_error(&error))? {
                        return Ok(Removed { object: old, gone: false, warnings: said.shown() });
                    }
                    continue;
                }
            };
            if let Some(name) = asked_as.filter(|_| self.webhooks.any()) {
                let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
                let grace = grace.filter(|_| matches!(resource.strategy, Strategy::Pod));
                let options = Options::Delete(options, grace);
                let old = Some(&old.value());
                let request = Request { target, operation: Operation::Delete, name, options, old };
                self.ask_about_removal(request, said).await?;
            }
            let draft = Draft::new(target.collection(), &object, self.store.indexer());
            if options.dry_run {
                let object = Arc::new(draft.seal(key.clone(), old.revision));
                return Ok(Removed { object, gone, warnings: said.shown() });
            }
            let write = Write { key: key.clone(), expect: Expect::Revision(old.revision), draft, remove: gone };
            match self.store.commit(write, Vec::new()).await {
                Ok(event) => return Ok(Removed { object: event.object.clone(), gone, warnings: said.shown() }),
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(store_error(&error)),
            }
        }
    }
}

/// An object that was deleted.
pub(super) struct Removed {
    /// Its last state, or the state it waits in.
    pub(super) object: Arc<Object>,
    /// Whether it is gone.
    pub(super) gone: bool,
    /// For `Warning` headers.
    pub(super) warnings: Vec<String>,
}
