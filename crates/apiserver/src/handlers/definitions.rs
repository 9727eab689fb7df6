//! What follows from a write to a custom resource definition or to one of its objects: names are accepted, kinds come
//! and go, and a definition that is being deleted goes when its objects have gone. It is done before the write is
//! answered, and again when the server starts, so that a crash in between leaves nothing undone.

use jiff::Timestamp;
use serde_json::Value;

use super::Api;
use crate::custom::definition::{COLLECTION, FINALIZER};
use crate::custom::naming::{self, Taken};
use crate::custom::rows;
use crate::deletion::{self, Removal};
use crate::metadata;
use crate::options::DeleteOptions;
use crate::route::Target;
use crate::store::{CommitError, Draft, Expect, Object, Store, Write};
use crate::tree::{at, text};

impl Api {
    /// Catches up with what a write to this target may have changed.
    pub(super) async fn follow_definitions(&self, target: &Target) {
        let ends = target.resource.custom().is_some_and(|it| it.terminating);
        if target.collection() != COLLECTION && !ends {
            return;
        }
        // Once more after names became free, which another definition may wait for; those that it gives up in turn are
        // at most as many as there are definitions.
        let names = names(&self.store);
        for _ in &names {
            let mut changed = false;
            for name in &names {
                match self.settle(name).await {
                    Ok(this) => changed |= this,
                    Err(error) => {
                        tracing::warn!(%error, definition = name, "catch up with a custom resource definition");
                    }
                }
            }
            if !changed {
                break;
            }
        }
        self.registry.refresh(&self.store);
    }

    /// Brings one definition to where it should be; whether anything changed.
    async fn settle(&self, name: &str) -> Result<bool, CommitError> {
        let mut changed = false;
        while let Some(write) = next(&self.store, name, &metadata::moment(self.clock.now())) {
            match self.store.commit(write, Vec::new()).await {
                Ok(_) => changed = true,
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(error),
            }
        }
        let Some(definition) = latest(&self.store, name).map(|it| it.value()) else { return Ok(changed) };
        if metadata::is_deleting(&definition) && is_held(&definition) {
            self.registry.refresh(&self.store);
            changed |= self.empty(&definition).await?;
        }
        Ok(changed)
    }

    /// Deletes the objects of a definition, and lets the definition go when there are none left; whether it did.
    async fn empty(&self, definition: &Value) -> Result<bool, CommitError> {
        if let Some(row) = rows::of(definition).first() {
            let target = Target { resource: row, namespace: String::new(), name: String::new(), subresource: None };
            for object in self.store.latest_of(target.collection(), "") {
                if !metadata::is_deleting(&object.value())
                    && let Err(error) = self.remove(&target, &object.key, &DeleteOptions::default(), None).await
                {
                    tracing::debug!(error = error.message, key = object.key.as_str(), "delete a custom resource");
                }
            }
        }
        let name = text(definition, "metadata.name").to_owned();
        while let Some(write) = release(&self.store, &name) {
            match self.store.commit(write, Vec::new()).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Raced(_)) => {}
                Err(error @ CommitError::File(_)) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Brings every definition to where it should be when the server starts; also what was being deleted when it ended.
///
/// # Errors
/// [`CommitError`] when the store's file does not take it.
pub(crate) fn settle_all(store: &Store, now: Timestamp) -> Result<(), CommitError> {
    for name in names(store) {
        while let Some(write) = next(store, &name, &metadata::moment(now)) {
            store.commit_blocking(vec![write])?;
        }
        for write in removals(store, &name, now) {
            store.commit_blocking(vec![write])?;
        }
        if let Some(write) = release(store, &name) {
            store.commit_blocking(vec![write])?;
        }
    }
    Ok(())
}

/// The writes that delete the objects of a definition that is being deleted.
fn removals(store: &Store, name: &str, now: Timestamp) -> Vec<Write> {
    let definition = latest(store, name).map(|it| it.value()).filter(metadata::is_deleting);
    let row = definition.as_ref().and_then(|it| rows::of(it).first());
    let Some((row, collection)) = row.and_then(|row| Some((*row, row.backing.collection()?))) else {
        return Vec::new();
    };
    let objects = store.latest_of(collection, "");
    let removal = |object: &std::sync::Arc<Object>| {
        let (last, remove) = match deletion::decide(row, object, &DeleteOptions::default(), now).ok()? {
            Removal::Now(last) => (last, true),
            Removal::Marked(last) => (last, false),
            Removal::Pending => return None,
        };
        let draft = Draft::new(collection, &last, store.indexer());
        Some(Write { key: object.key.clone(), expect: Expect::Revision(object.revision), draft, remove })
    };
    objects.iter().filter_map(removal).collect()
}

fn names(store: &Store) -> Vec<String> {
    store.latest_of(COLLECTION, "").iter().map(|it| it.key.name().to_owned()).collect()
}

fn latest(store: &Store, name: &str) -> Option<std::sync::Arc<Object>> {
    store.latest(&crate::store::Key::new(COLLECTION, "", name))
}

fn is_held(definition: &Value) -> bool {
    crate::tree::items(definition, "metadata.finalizers").iter().any(|it| it == FINALIZER)
}

/// The write that sets the status a definition should have; none if it has it.
fn next(store: &Store, name: &str, now: &str) -> Option<Write> {
    let old = latest(store, name)?;
    let mut definition = old.value();
    let all: Vec<Value> = store.latest_of(COLLECTION, "").iter().map(|it| it.value()).collect();
    let status = naming::status(&definition, &Taken::beside(&definition, all.iter()), now);
    if *at(&definition, "status") == status {
        return None;
    }
    definition["status"] = status;
    Some(write(store, &old, &definition, false))
}

/// The write that lets a definition go that is being deleted and has no objects.
fn release(store: &Store, name: &str) -> Option<Write> {
    let old = latest(store, name)?;
    let mut definition = old.value();
    if !metadata::is_deleting(&definition) || !is_held(&definition) {
        return None;
    }
    let collection = format!("{}.{}", text(&definition, "spec.names.plural"), text(&definition, "spec.group"));
    // A definition whose names were never accepted has no objects of its own.
    if naming::is_served(&definition) && !store.latest_of(&collection, "").is_empty() {
        return None;
    }
    if let Some(finalizers) = definition["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|it| it != FINALIZER);
    }
    let remove = metadata::is_finished(&definition);
    Some(write(store, &old, &definition, remove))
}

fn write(store: &Store, old: &Object, definition: &Value, remove: bool) -> Write {
    let draft = Draft::new(COLLECTION, definition, store.indexer());
    Write { key: old.key.clone(), expect: Expect::Revision(old.revision), draft, remove }
}
