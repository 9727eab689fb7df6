//! Who writes, as the record of ownership names it, and what of a request it can own: the seam between the handlers and
//! [`apply`].

use http::header;
use jiff::Timestamp;
use serde_json::Value;

use super::Call;
use crate::apply::{self, Comparison, Edit, Scope, Writer};
use crate::kinds::{Backing, Resource, SubresourceKind, TABLE};
use crate::metadata;
use crate::options::WriteOptions;
use crate::route::Target;
use crate::schema::ShapeId;
use crate::strategy::Part;

/// What the server is called where it writes itself.
pub(super) const SERVER: &str = "kube-apiserver";

/// What a write to the object itself cannot own where the status has a path of its own.
const NO_STATUS: Scope = Scope::Without(&[&["status"]]);

/// What a write to the status cannot own.
const NO_SPEC: Scope =
    Scope::Without(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]);

/// The `managedFields` of an object that the server itself creates before it serves anybody.
pub(crate) fn owned_by_the_server(resource: &'static Resource, object: &Value, now: Timestamp) -> Value {
    let target = Target { resource, namespace: String::new(), name: String::new(), subresource: None };
    Author::named(&target, SERVER).created(object, Value::Null, now)
}

/// The author of a request.
#[derive(Clone, Debug)]
pub(super) struct Author {
    manager: String,
    api_version: String,
    subresource: &'static str,
    shape: Option<ShapeId>,
    scope: Scope,
}

impl Author {
    /// The one that the request names, or the program that sent it.
    pub(super) fn of(call: &Call, options: &WriteOptions) -> Self {
        let agent = call.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let manager = match options.field_manager.as_str() {
            "" => agent.split('/').next().unwrap_or_default(),
            named => named,
        };
        Self::named(&call.target, manager)
    }

    /// A part of the server itself.
    pub(super) fn named(target: &Target, manager: &str) -> Self {
        let stored = stored(target.resource);
        Self {
            manager: manager.to_owned(),
            api_version: stored.api_version(),
            subresource: target.subresource.map_or("", |it| it.name),
            shape: stored.shape(),
            scope: scope(target),
        }
    }

    /// The same author, writing in the form of another kind: a Scale of what it scales.
    pub(super) fn in_form_of(self, resource: &'static Resource) -> Self {
        Self { api_version: resource.api_version(), shape: resource.shape(), scope: Scope::All, ..self }
    }

    /// The `managedFields` after this author created `object`; `given` are those it sent.
    pub(super) fn created(&self, object: &Value, given: Value, now: Timestamp) -> Value {
        let given = if apply::is_list(&given) { given } else { Value::Null };
        self.edit(&metadata::moment(now), |edit| apply::record(edit, &apply::changes(edit, None, object), given))
    }

    /// What this author asked for: the difference between `old` and `sent`.
    pub(super) fn changes(&self, old: &Value, sent: &Value) -> Comparison {
        self.edit("", |edit| apply::changes(edit, Some(old), sent))
    }

    /// The `managedFields` after this author made `new` of `old`, having asked for `asked` (where that counts beside what
    /// came of it); `given` are those it sent, which count unless they came by a subresource.
    pub(super) fn updated(
        &self,
        old: &Value,
        new: &Value,
        asked: Option<Comparison>,
        given: Value,
        now: Timestamp,
    ) -> Value {
        let live = managed(old);
        let managed = match given {
            given if given == *live => given,
            _ if !self.subresource.is_empty() => live.clone(),
            given if apply::is_reset(&given) => return Value::Null,
            given if apply::is_list(&given) => given,
            _ => live.clone(),
        };
        if managed.is_null() {
            // Nobody has applied it, nor was it followed from its creation: there is nothing to keep up.
            return Value::Null;
        }
        let changes = self.changed(old, new, asked);
        self.edit(&metadata::moment(now), |edit| apply::record(edit, &changes, managed))
    }

    /// What this author changed: the difference between `old` and `new`, after what was asked for, where that counts, too.
    pub(super) fn changed(&self, old: &Value, new: &Value, asked: Option<Comparison>) -> Comparison {
        let changes = self.changes(old, new);
        match asked {
            Some(asked) => asked.then(changes),
            None => changes,
        }
    }

    /// The `managedFields` after this author changed this, as JSON like those before, and `None` in it for nobody; `None` where
    /// they cannot be read.
    pub(super) fn recorded(&self, changes: &Comparison, managed: &[u8], now: Timestamp) -> Option<Option<Vec<u8>>> {
        self.edit(&metadata::moment(now), |edit| apply::record_text(edit, changes, managed)).ok()
    }

    /// Carries `act` out as this author.
    pub(super) fn edit<T>(&self, now: &str, act: impl FnOnce(Edit<'_>) -> T) -> T {
        let by = Writer { manager: &self.manager, api_version: &self.api_version, subresource: self.subresource };
        act(Edit { shape: self.shape, by, scope: self.scope, now })
    }
}

/// The `managedFields` of an object; null for none.
pub(super) fn managed(object: &Value) -> &Value {
    const NONE: &Value = &Value::Null;
    object.get("metadata").and_then(|metadata| metadata.get("managedFields")).unwrap_or(NONE)
}

/// Takes the `managedFields` out of an object; null for none.
pub(super) fn take_managed(object: &mut Value) -> Value {
    metadata::of(object).remove("managedFields").unwrap_or_default()
}

/// Puts `managedFields` into an object.
pub(super) fn put_managed(object: &mut Value, managed: Value) {
    if !managed.is_null() {
        metadata::of(object).insert("managedFields".to_owned(), managed);
    }
}

/// The row in whose form the objects of a resource are stored: that is the version that paths are written in.
fn stored(resource: &'static Resource) -> &'static Resource {
    match resource.backing {
        Backing::View { collection, .. } => TABLE
            .iter()
            .find(|it| matches!(it.backing, Backing::Stored(name) if name == collection))
            .unwrap_or(resource),
        Backing::Stored(_) | Backing::Metrics | Backing::Asked => resource,
    }
}

fn scope(target: &Target) -> Scope {
    match Part::of(target) {
        Part::Status => NO_SPEC,
        Part::Main if target.resource.subresources.iter().any(|it| it.what == SubresourceKind::Status) => NO_STATUS,
        // A resize owns all it was sent, also what it may not change: so does the reference.
        Part::Main | Part::Resize | Part::Binding | Part::Finalize => Scope::All,
    }
}
