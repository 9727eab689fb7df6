//! What is in the store, in memory: the visible objects, the writes that are not durable yet, and the recent history of
//! each resource. Pure: no IO, no lock, no clock; `mod.rs` puts a lock around it and `commit.rs` a file beneath.
//!
//! Two views of one truth. A *reader* (get, list, watch) sees only what is durable, so that nothing anybody has seen can
//! be lost. A *writer* reads and conflicts against the newest staged state, so that a queue of writes to one object
//! can share a flush instead of waiting for one each.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::object::{Draft, Key, Object};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was removed; the event carries its last state at the revision of the removal.
    Deleted,
}

impl EventType {
    /// The word in a watch event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change, as watchers see it.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// The object after it.
    pub object: Arc<Object>,
    /// The object before it; absent for [`EventType::Added`].
    pub previous: Option<Arc<Object>>,
}

/// Writes a line of a watch answer.
pub fn write_line(out: &mut Vec<u8>, kind: EventType, object: &Object) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    object.json_to(out);
    out.extend_from_slice(b"}\n");
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing under this key.
    Absent,
    /// The object at this revision.
    Revision(u64),
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// What must be there for the transaction to take place.
    pub expect: Expect,
    /// What the object becomes; for a removal, its last state.
    pub draft: Draft,
    /// Whether the object is removed.
    pub remove: bool,
}

/// Somebody else wrote first: the transaction did not take place, and may be tried again on the newest state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raced {
    /// The key that was not as expected.
    pub key: Key,
}

/// How much history is kept for each resource; whichever bound is met first.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Number of events.
    pub events: usize,
    /// Bytes of JSON in them.
    pub bytes: usize,
}

/// Enough for a watcher that is some seconds behind at the highest rate of writes; beyond that it lists again.
pub const HISTORY: History = History { events: 16_384, bytes: 32 << 20 };

/// How many events back those in this process who follow objects may be before one is decoded for them once more. An object
/// that has not been written for as many events [rests](Object::rest).
const FOLLOWED: usize = 256;

/// An object that has not been written for a while.
#[derive(Debug)]
pub(super) struct Tired {
    /// Which.
    pub(super) object: Arc<Object>,
    /// Whether another has taken its place, or none.
    pub(super) is_gone: bool,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Events at or below this revision are gone.
    floor: u64,
}

/// Everything in the store.
#[derive(Debug)]
pub(super) struct State {
    visible: BTreeMap<Key, Arc<Object>>,
    visible_revision: u64,
    /// Newest state of keys with a write under way; `None`: removed.
    staged: HashMap<Key, (u64, Option<Arc<Object>>)>,
    staged_revision: u64,
    rings: HashMap<Box<str>, Ring>,
    /// Objects that are to rest.
    tired: Vec<Tired>,
    /// Rings begin here: nothing before the store was opened can be watched.
    floor: u64,
    history: History,
}

impl State {
    pub(super) fn new(objects: impl IntoIterator<Item = Object>, revision: u64, history: History) -> Self {
        Self {
            visible: objects.into_iter().map(|object| (object.key.clone(), Arc::new(object))).collect(),
            visible_revision: revision,
            staged: HashMap::new(),
            staged_revision: revision,
            rings: HashMap::new(),
            tired: Vec::new(),
            floor: revision,
            history,
        }
    }

    /// The newest durable revision.
    pub(super) fn revision(&self) -> u64 {
        self.visible_revision
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.visible.get(key)
    }

    /// What a writer builds on: the object as the last accepted write left it, durable or not.
    pub(super) fn latest(&self, key: &Key) -> Option<&Arc<Object>> {
        match self.staged.get(key) {
            Some((_, object)) => object.as_ref(),
            None => self.visible.get(key),
        }
    }

    /// All newest objects below a prefix, for admission.
    pub(super) fn latest_below(&self, prefix: &str) -> Vec<Arc<Object>> {
        let mut found: BTreeMap<&Key, &Arc<Object>> = self.range(prefix, "").collect();
        for (key, (_, object)) in &self.staged {
            if key.as_str().starts_with(prefix) {
                match object {
                    Some(object) => found.insert(key, object),
                    None => found.remove(key),
                };
            }
        }
        found.into_values().cloned().collect()
    }

    fn range<'a>(&'a self, prefix: &'a str, after: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
        use std::ops::Bound;
        let from = if after.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(after) };
        self.visible
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.as_str().starts_with(prefix))
    }

    /// The durable objects below a prefix in key order, beginning after the key `after` (or at the first).
    pub(super) fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.range(prefix, after).map(|(_, object)| object)
    }

    /// The objects below a prefix as they were at `revision`: today's, with the events since undone.
    /// `None` if the history does not reach back that far.
    pub(super) fn list_at(&self, prefix: &str, after: &str, revision: u64) -> Option<Vec<Arc<Object>>> {
        let events = self.events_since(prefix.split('/').next().unwrap_or_default(), revision)?;
        let mut found: BTreeMap<&str, &Arc<Object>> = self.range(prefix, after).map(|(k, o)| (k.as_str(), o)).collect();
        for event in events.rev() {
            let key = event.object.key.as_str();
            if key.starts_with(prefix) && key > after {
                match &event.previous {
                    Some(previous) => found.insert(key, previous),
                    None => found.remove(key),
                };
            }
        }
        Some(found.into_values().cloned().collect())
    }

    /// Events of a resource after `revision`, oldest first; `None` if some of them are gone.
    pub(super) fn events_since(
        &self,
        resource: &str,
        revision: u64,
    ) -> Option<impl DoubleEndedIterator<Item = &Arc<Event>>> {
        let ring = self.rings.get(resource);
        if revision < ring.map_or(self.floor, |ring| ring.floor) {
            return None;
        }
        let events = ring.map(|ring| &ring.events);
        let first = events.map_or(0, |events| events.partition_point(|event| event.object.revision <= revision));
        Some(events.into_iter().flat_map(move |events| events.range(first..)))
    }

    /// Takes a transaction in: assigns revisions and makes it what later writers see. Readers see it only once
    /// [`State::publish`] is called.
    pub(super) fn stage(&mut self, writes: Vec<Write>) -> Result<Vec<Arc<Event>>, Raced> {
        for write in &writes {
            let found = self.latest(&write.key).map(|object| object.revision);
            let expected = match write.expect {
                Expect::Absent => None,
                Expect::Revision(revision) => Some(revision),
            };
            if found != expected {
                return Err(Raced { key: write.key.clone() });
            }
        }
        let events = writes.into_iter().map(|Write { key, draft, remove, .. }| {
            self.staged_revision += 1;
            let previous = self.latest(&key).cloned();
            let object = Arc::new(draft.seal(key.clone(), self.staged_revision));
            let kind = match (remove, &previous) {
                (true, _) => EventType::Deleted,
                (false, Some(_)) => EventType::Modified,
                (false, None) => EventType::Added,
            };
            self.staged.insert(key, (self.staged_revision, (!remove).then(|| object.clone())));
            Arc::new(Event { kind, object, previous })
        });
        Ok(events.collect())
    }

    /// Makes staged events visible, in the order in which they were staged.
    pub(super) fn publish(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let object = &event.object;
            match event.kind {
                EventType::Deleted => self.visible.remove(&object.key),
                EventType::Added | EventType::Modified => self.visible.insert(object.key.clone(), object.clone()),
            };
            if self.staged.get(&object.key).is_some_and(|(revision, _)| *revision == object.revision) {
                self.staged.remove(&object.key);
            }
            self.visible_revision = object.revision;
            self.remember(event.clone());
        }
    }

    /// The objects that are to rest: to be asked for when nobody waits for the lock.
    pub(super) fn tired(&mut self) -> Vec<Tired> {
        std::mem::take(&mut self.tired)
    }

    /// Forgets every staged write: the file did not take them. Revisions are not used again.
    pub(super) fn abandon(&mut self) {
        self.staged.clear();
    }

    fn remember(&mut self, event: Arc<Event>) {
        let resource = event.object.key.resource();
        if !self.rings.contains_key(resource) {
            self.rings.insert(resource.into(), Ring { floor: self.floor, ..Ring::default() });
        }
        let Some(ring) = self.rings.get_mut(resource) else { return };
        ring.bytes += event.object.length();
        ring.events.push_back(event);
        if let Some(event) = ring.events.len().checked_sub(FOLLOWED).and_then(|at| ring.events.get(at)) {
            // What has been replaced since has its turn when the event that replaced it is as old.
            let gone = |object: &Arc<Object>| Tired { object: Arc::clone(object), is_gone: true };
            self.tired.extend(event.previous.as_ref().map(gone));
            match self.visible.get(&event.object.key) {
                Some(it) if Arc::ptr_eq(it, &event.object) => {
                    self.tired.push(Tired { object: Arc::clone(it), is_gone: false });
                }
                None if event.kind == EventType::Deleted => self.tired.push(gone(&event.object)),
                _ => {}
            }
        }
        while ring.events.len() > self.history.events || (ring.bytes > self.history.bytes && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.object.length();
            ring.floor = oldest.object.revision;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn put(name: &str, expect: Expect) -> Write {
        let key = Key::new("pods", "n", name);
        let draft = Draft::new("pods", &json!({"metadata": {"name": name}}), |_, _| Value::Null);
        Write { key, expect, draft, remove: false }
    }

    fn remove(name: &str, expect: Expect) -> Write {
        Write { remove: true, ..put(name, expect) }
    }

    fn empty(events: usize) -> State {
        State::new([], 10, History { events, bytes: 1 << 20 })
    }

    fn names(objects: &[Arc<Object>]) -> Vec<(&str, u64)> {
        objects.iter().map(|object| (object.key.name(), object.revision)).collect()
    }

    #[test]
    fn readers_see_only_what_is_published_and_writers_what_is_staged() {
        let mut state = empty(9);
        let key = Key::new("pods", "n", "a");
        let staged = state.stage(vec![put("a", Expect::Absent)]).unwrap();
        assert!(state.get(&key).is_none());
        assert_eq!(state.latest(&key).unwrap().revision, 11);
        assert_eq!(state.stage(vec![put("a", Expect::Absent)]).unwrap_err(), Raced { key: key.clone() });
        let again = state.stage(vec![put("a", Expect::Revision(11))]).unwrap();
        state.publish(&staged);
        assert_eq!(state.get(&key).unwrap().revision, 11);
        assert_eq!(state.latest(&key).unwrap().revision, 12);
        state.publish(&again);
        assert_eq!((state.get(&key).unwrap().revision, state.revision()), (12, 12));
    }

    #[test]
    fn an_abandoned_write_never_was_and_its_revision_is_not_reused() {
        let mut state = empty(9);
        state.stage(vec![put("a", Expect::Absent)]).unwrap();
        state.abandon();
        let events = state.stage(vec![put("a", Expect::Absent)]).unwrap();
        assert_eq!((events[0].kind, events[0].object.revision), (EventType::Added, 12));
    }

    #[test]
    fn a_transaction_takes_place_whole_or_not() {
        let mut state = empty(9);
        assert!(state.stage(vec![put("a", Expect::Absent), put("b", Expect::Revision(3))]).is_err());
        assert!(state.latest(&Key::new("pods", "n", "a")).is_none());
    }

    #[test]
    fn a_list_of_the_past_is_what_it_was() {
        let mut state = empty(4);
        for writes in [
            vec![put("a", Expect::Absent)],
            vec![put("b", Expect::Absent)],
            vec![put("a", Expect::Revision(11))],
            vec![remove("b", Expect::Revision(12))],
            vec![put("c", Expect::Absent)],
        ] {
            let events = state.stage(writes).unwrap();
            state.publish(&events);
        }
        let at = |revision| {
            state
                .list_at("pods/n/", "", revision)
                .map(|l| names(&l).iter().map(|(n, r)| format!("{n}{r}")).collect::<Vec<_>>())
        };
        assert_eq!(at(15).unwrap(), ["a13", "c15"]);
        assert_eq!(at(14).unwrap(), ["a13"]);
        assert_eq!(at(13).unwrap(), ["a13", "b12"]);
        assert_eq!(at(12).unwrap(), ["a11", "b12"]);
        assert_eq!(at(11).unwrap(), ["a11"]);
        // The ring holds four events, so the first one is gone and with it the state before it.
        assert_eq!(at(10), None);
        assert_eq!(names(&state.list_at("pods/n/", "pods/n/a", 13).unwrap()), [("b", 12)]);
    }
}
