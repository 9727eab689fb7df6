//! Reads one's own writes: an owner is not planned for again before the view has come to what its last plan wrote, so
//! that a view that lags behind never makes anything twice.
//!
//! A revision that was answered is awaited in the cache of its kind (revisions are comparable, as Kubernetes promises
//! since v1.35), the end of an object as its absence. What never comes (a watch that lost it) is not waited for longer
//! than [`PATIENCE`], as in the reference.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::row::Id;
use super::view::{Key, Kind, View};

/// How long a write may stay unseen (reference: `controller.ExpectationsTimeout`).
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Something the view must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The cache of the kind has come to this revision.
    Revision { kind: Kind, revision: u64 },
    /// The object is gone, or going.
    Gone { kind: Kind, key: Key, uid: String },
}

#[derive(Clone, Debug)]
struct Entry {
    awaited: Awaited,
    /// How many lists the cache had had.
    lists: u64,
    since: Timestamp,
}

/// What is awaited for each owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Expectations(BTreeMap<Id, Vec<Entry>>);

impl Expectations {
    /// The owner's plan has written this.
    pub(super) fn await_all(&mut self, id: &Id, awaited: Vec<Awaited>, view: &View, now: Timestamp) {
        let entries = awaited.into_iter().map(|awaited| {
            let (Awaited::Revision { kind, .. } | Awaited::Gone { kind, .. }) = awaited;
            Entry { lists: view.progress(kind).lists, awaited, since: now }
        });
        self.0.entry(id.clone()).or_default().extend(entries);
    }

    /// Whether everything the owner's plans have written is seen.
    pub(super) fn are_met(&mut self, id: &Id, view: &View, now: Timestamp) -> bool {
        let Some(entries) = self.0.get_mut(id) else { return true };
        entries.retain(|entry| !entry.is_met(view, now));
        if entries.is_empty() {
            self.0.remove(id);
            return true;
        }
        false
    }
}

impl Entry {
    fn is_met(&self, view: &View, now: Timestamp) -> bool {
        let met = match &self.awaited {
            Awaited::Revision { kind, revision } => {
                let progress = view.progress(*kind);
                // Two lists later at least one was begun after the write, and has it or knows better.
                progress.seen >= *revision || progress.lists >= self.lists + 2
            }
            Awaited::Gone { kind, key, uid } => !view.is_alive(*kind, key, uid),
        };
        met || now.duration_since(self.since) > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;
    use serde_json::json;

    use super::super::view::Change;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id() -> Id {
        Id { kind: Kind::ReplicaSet, key: Key::new("n", "r") }
    }

    fn see(view: &mut View, name: &str, version: u64) {
        let pod =
            json!({"metadata": {"namespace": "n", "name": name, "uid": name, "resourceVersion": version.to_string()}});
        view.take(Change::of(Kind::Pod, pod, true));
    }

    fn list(view: &mut View) {
        for event in [watcher::Event::Init, watcher::Event::InitDone] {
            view.take(Change::Pod(event));
        }
    }

    #[test]
    fn a_creation_is_awaited_by_its_revision() {
        let (mut view, mut expectations) = (View::default(), Expectations::default());
        expectations.await_all(&id(), vec![Awaited::Revision { kind: Kind::Pod, revision: 7 }], &view, at(0));
        assert!(!expectations.are_met(&id(), &view, at(1)));
        see(&mut view, "other", 6);
        assert!(!expectations.are_met(&id(), &view, at(1)));
        see(&mut view, "a", 7);
        assert!(expectations.are_met(&id(), &view, at(1)));
    }

    #[test]
    fn a_removal_is_awaited_by_absence() {
        let (mut view, mut expectations) = (View::default(), Expectations::default());
        see(&mut view, "a", 1);
        let gone = Awaited::Gone { kind: Kind::Pod, key: Key::new("n", "a"), uid: "a".to_owned() };
        expectations.await_all(&id(), vec![gone], &view, at(0));
        assert!(!expectations.are_met(&id(), &view, at(1)));
        view.pods.remove(&Key::new("n", "a"));
        assert!(expectations.are_met(&id(), &view, at(1)));
    }

    #[test]
    fn nothing_is_awaited_for_ever() {
        let (mut view, mut expectations) = (View::default(), Expectations::default());
        let never = vec![Awaited::Revision { kind: Kind::Pod, revision: 7 }];
        expectations.await_all(&id(), never.clone(), &view, at(0));
        list(&mut view);
        assert!(!expectations.are_met(&id(), &view, at(1)), "the list may have been begun before the write");
        list(&mut view);
        assert!(expectations.are_met(&id(), &view, at(1)));
        expectations.await_all(&id(), never, &view, at(0));
        assert!(expectations.are_met(&id(), &view, at(301)));
    }
}
