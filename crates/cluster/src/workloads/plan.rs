//! What a controller wants done, as values: the pure side of every controller ends here, the side that writes begins.
//!
//! ```text
//! view ─▶ scene (one owner, what it may see, now) ─▶ plan ─▶ effects, in order ─▶ carried out (`carry`)
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde_json::Value;

use super::view::{Key, Kind, View, Watched};

/// One owner, and all there is to decide about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a, K> {
    /// The owner, as last seen.
    pub owner: &'a Arc<K>,
    /// Everything else, as last seen.
    pub view: &'a View,
    /// The time.
    pub now: Timestamp,
    /// What went wrong when the last plan was carried out.
    pub trouble: Option<&'a Trouble>,
}

impl<'a, K: Watched> Scene<'a, K> {
    /// The owner's metadata.
    pub(super) fn meta(&self) -> &'a ObjectMeta {
        self.owner.meta()
    }

    /// The owner's namespace.
    pub(super) fn namespace(&self) -> &'a str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// The owner's name.
    pub(super) fn name(&self) -> &'a str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// The owner's UID.
    pub(super) fn uid(&self) -> &'a str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// Whether somebody has begun to delete the owner.
    pub(super) fn is_going(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Now, as a status has it.
    pub(super) fn stamp(&self) -> Time {
        stamp(self.now)
    }
}

/// A time as the API keeps it: whole seconds, so that what is read back equals what was written.
pub(super) fn stamp(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// What could not be done, for the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Stable, CamelCase, such as `FailedCreate`.
    pub reason: &'static str,
    /// What the API server said.
    pub message: String,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// POST.
    Create { kind: Kind, object: Value },
    /// PUT, on condition that the object is still of the revision it names.
    Update { kind: Kind, object: Value },
    /// PUT of the status, likewise.
    Status { kind: Kind, object: Value },
    /// PATCH (merge). `adopts`: only while the owner is alive, which is asked of the server and not of the view.
    Patch { kind: Kind, key: Key, body: Value, adopts: bool },
    /// DELETE of the object with this UID. `dependents_first`: it goes after what it owns.
    Delete { kind: Kind, key: Key, uid: String, dependents_first: bool },
    /// Nothing but what is told.
    Tell,
}

/// An event about the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    /// Stable, CamelCase.
    pub reason: &'static str,
    /// The sentence. `{name}` in it is the name the object got, `{error}` what the server said.
    pub text: String,
}

impl Act {
    /// Whether it may be carried out beside others of its sort: pods are made and ended in numbers.
    pub(super) fn is_pod_of_many(&self) -> bool {
        matches!(self, Self::Create { kind: Kind::Pod, .. } | Self::Delete { kind: Kind::Pod, .. })
    }
}

impl Told {
    pub(super) fn normal(reason: &'static str, text: impl Into<String>) -> Self {
        Self { kind: "Normal", reason, text: text.into() }
    }

    pub(super) fn warning(reason: &'static str, text: impl Into<String>) -> Self {
        Self { kind: "Warning", reason, text: text.into() }
    }
}

/// A write, and what is said about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Effect {
    /// The write.
    pub act: Act,
    /// Told when it is done.
    pub done: Option<Told>,
    /// Told, and remembered as [`Trouble`], when it is refused.
    pub failed: Option<Told>,
}

impl From<Act> for Effect {
    fn from(act: Act) -> Self {
        Self { act, done: None, failed: None }
    }
}

impl Effect {
    /// The status of `object`.
    pub(super) fn status<K: Watched>(object: &K) -> Self {
        Act::Status { kind: K::KIND, object: tree(object) }.into()
    }

    /// The object, all but its status.
    pub(super) fn update<K: Watched>(object: &K) -> Self {
        Act::Update { kind: K::KIND, object: tree(object) }.into()
    }

    /// A new object.
    pub(super) fn create<K: Watched>(object: &K) -> Self {
        Act::Create { kind: K::KIND, object: tree(object) }.into()
    }

    /// The end of an object.
    pub(super) fn delete<K: Watched>(object: &K) -> Self {
        let (key, uid) = (Key::of(object.meta()), object.meta().uid.clone().unwrap_or_default());
        Act::Delete { kind: K::KIND, key, uid, dependents_first: false }.into()
    }

    /// Only an event.
    pub(super) fn tell(told: Told) -> Self {
        Self { act: Act::Tell, done: Some(told), failed: None }
    }

    /// With an event for when it is done.
    pub(super) fn done(self, told: Told) -> Self {
        Self { done: Some(told), ..self }
    }

    /// With an event for when it is refused.
    pub(super) fn failed(self, told: Told) -> Self {
        Self { failed: Some(told), ..self }
    }
}

/// An object as the API takes it.
pub(super) fn tree<K: Watched>(object: &K) -> Value {
    serde_json::to_value(object).expect("types of the API have string keys and no failing serialiser")
}

/// What is to be done for one owner now, and when to look again if nothing changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// In this order; if one fails, those behind it are left to the next plan.
    pub effects: Vec<Effect>,
    /// When to plan again.
    pub again: Option<Timestamp>,
}

impl Plan {
    /// Add an effect.
    pub(super) fn push(&mut self, effect: impl Into<Effect>) {
        self.effects.push(effect.into());
    }

    /// Look again at this time, or earlier.
    pub(super) fn again_at(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |it| it.min(at)));
    }

    /// Look again so long after `from`, or earlier.
    pub(super) fn again_after(&mut self, from: Timestamp, wait: SignedDuration) {
        self.again_at(from.checked_add(wait).unwrap_or(Timestamp::MAX));
    }
}
