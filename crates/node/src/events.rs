//! Events about pods: what happened, told to people through the API as the kubelet tells it.
//!
//! Recording never waits and never fails the caller: events go through a bounded queue to one task. A message that
//! repeats raises the count of its event; more than [`BURST`] events about one pod are dropped until its bucket has
//! filled again, as client-go's correlator does, so that a busy pod cannot fill the store.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::{ApiError, PodApi};
use crate::options::Clock;
use crate::runtime::PodRef;

/// How many events about one pod may come at once, and how long it takes for one more to be allowed
/// (client-go's `defaultSpamBurst` and `defaultSpamQPS`).
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;

/// Events waiting to be written. Twenty a pod for a full node; beyond that new ones are dropped, because blocking a
/// worker on the API would be worse.
const QUEUE: usize = 4096;

/// How long a repeated event raises the count of the first instead of becoming a new one (client-go: an LRU cache;
/// an hour is what the reference keeps events for).
const SAME_EVENT_SECONDS: i64 = 3600;

/// Normal or Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Things went as meant.
    Normal,
    /// Somebody may want to look.
    Warning,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    /// About which pod.
    pub(crate) pod: PodRef,
    /// About which part of it: `spec.containers{app}`.
    pub(crate) field_path: Option<String>,
    /// Normal or Warning.
    pub(crate) kind: Kind,
    /// `Killing`, `ResizeStarted`, ….
    pub(crate) reason: String,
    /// The sentence.
    pub(crate) message: String,
}

enum Job {
    Note(Note, Timestamp),
    Forget(String),
}

/// Where events are recorded. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Job>,
    clock: Clock,
}

impl Recorder {
    /// A recorder and the task that writes; the task ends when the last handle is dropped and everything is written.
    pub(crate) fn start(api: Arc<dyn PodApi>, node: String, clock: Clock) -> (Self, JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            let mut correlator = Correlator::new(node);
            while let Some(job) = receiver.recv().await {
                match job {
                    Job::Note(note, at) => match correlator.take(note, at) {
                        Some(Write::Create(event)) => report(api.create_event(&event).await, &event),
                        Some(Write::Again(event)) => {
                            let (namespace, name) = key(&event);
                            let patch = json!({ "count": event.count, "lastTimestamp": event.last_timestamp });
                            match api.patch_event(namespace, name, &patch).await {
                                // It has expired: write it anew with its count.
                                Err(ApiError::Gone(_)) => report(api.create_event(&event).await, &event),
                                result => report(result, &event),
                            }
                        }
                        None => {}
                    },
                    Job::Forget(uid) => correlator.forget(&uid),
                }
            }
        });
        (Self { sender, clock }, task)
    }

    /// Tell it. Dropped when the queue is full.
    pub(crate) fn note(&self, note: Note) {
        let at = (self.clock)();
        if let Err(error) = self.sender.try_send(Job::Note(note, at)) {
            tracing::debug!(%error, "an event was dropped: the queue to the API server is full");
        }
    }

    /// The pod is gone: forget what was told about it.
    pub(crate) fn forget(&self, uid: &str) {
        let _ = self.sender.try_send(Job::Forget(uid.to_owned()));
    }
}

fn key(event: &Event) -> (&str, &str) {
    (event.metadata.namespace.as_deref().unwrap_or_default(), event.metadata.name.as_deref().unwrap_or_default())
}

fn report(result: Result<(), ApiError>, event: &Event) {
    if let Err(error) = result {
        // A namespace that is being deleted takes no new events; nobody would read them either.
        tracing::debug!(%error, reason = event.reason, "an event could not be written");
    }
}

/// What to send for a note.
#[derive(Debug, PartialEq)]
enum Write {
    Create(Box<Event>),
    Again(Box<Event>),
}

/// Of how many pods it is remembered what was told of them (client-go: LRU caches of so many). Half of them are forgotten at
/// once, those of which nothing was told for longest.
const REMEMBERED: usize = 4096;

/// Everything told about one pod, and how many more events it may have.
struct Told {
    /// A few.
    events: Vec<(Same, Seen)>,
    tokens: f64,
    filled: Timestamp,
}

/// What makes two notes about a pod the same: kind, reason, and place with message.
type Same = (Kind, Box<str>, Box<str>);

/// What is kept of an event: the rest comes with the next note of it.
#[derive(Clone, Debug)]
struct Seen {
    name: Box<str>,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

/// Decides, without IO, what becomes of a note.
struct Correlator {
    node: String,
    pods: HashMap<String, Told>,
    /// The last number used in a name: two events must differ even where the clock stands still.
    last: i128,
}

impl Correlator {
    fn new(node: String) -> Self {
        Self { node, pods: HashMap::new(), last: i128::MIN }
    }

    fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    fn take(&mut self, note: Note, at: Timestamp) -> Option<Write> {
        let Note { pod, field_path, kind, reason, message } = note;
        self.make_room();
        let new = || Told { events: Vec::new(), tokens: BURST, filled: at };
        let told = self.pods.entry(pod.uid.clone()).or_insert_with(new);
        let elapsed = at.duration_since(told.filled).as_secs_f64().max(0.0);
        told.tokens = (told.tokens + elapsed / REFILL_SECONDS).min(BURST);
        told.filled = at;
        if told.tokens < 1.0 {
            return None;
        }
        told.tokens -= 1.0;
        told.events.retain(|(_, seen)| at.duration_since(seen.last).as_secs() < SAME_EVENT_SECONDS);
        let place = format!("{}{message}", field_path.as_deref().unwrap_or_default());
        let same: Same = (kind, reason.as_str().into(), place.into());
        let again = told.events.iter_mut().find(|(it, _)| *it == same).map(|(_, seen)| {
            seen.count = seen.count.saturating_add(1);
            seen.last = at;
            seen.clone()
        });
        let is_new = again.is_none();
        let seen = again.unwrap_or_else(|| {
            self.last = at.as_nanosecond().max(self.last.saturating_add(1));
            // The kubelet's own scheme: unique per pod and nanosecond, and sorted by time.
            let name = format!("{}.{:x}", pod.name, self.last).into();
            Seen { name, count: 1, first: at, last: at }
        });
        let event = Box::new(Event {
            metadata: ObjectMeta {
                name: Some(seen.name.to_string()),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name),
                namespace: Some(pod.namespace),
                uid: Some(pod.uid),
                field_path,
                resource_version: None,
            },
            reason: Some(reason),
            message: Some(message),
            type_: Some(kind.as_str().into()),
            source: Some(EventSource { component: Some("kubelet".into()), host: Some(self.node.clone()) }),
            reporting_component: Some("kubelet".into()),
            reporting_instance: Some(self.node.clone()),
            first_timestamp: Some(Time(seen.first)),
            last_timestamp: Some(Time(seen.last)),
            count: Some(seen.count),
            ..Event::default()
        });
        if !is_new {
            return Some(Write::Again(event));
        }
        told.events.reserve_exact(1);
        told.events.push((same, seen));
        Some(Write::Create(event))
    }

    fn make_room(&mut self) {
        if self.pods.len() >= REMEMBERED {
            let mut told: Vec<Timestamp> = self.pods.values().map(|it| it.filled).collect();
            let (_, oldest, _) = told.select_nth_unstable(REMEMBERED / 2);
            self.pods.retain(|_, it| it.filled > *oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        Note {
            pod: PodRef { uid: "u".into(), namespace: "ns".into(), name: "p".into() },
            field_path: None,
            kind: Kind::Normal,
            reason: "Killing".into(),
            message: message.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_repeated_message_raises_the_count() {
        let mut correlator = Correlator::new("lab".into());
        let Some(Write::Create(first)) = correlator.take(note("a"), at(1)) else { panic!("a new event") };
        assert_eq!((first.count, first.metadata.namespace.as_deref()), (Some(1), Some("ns")));
        let Some(Write::Again(second)) = correlator.take(note("a"), at(5)) else { panic!("the same event") };
        assert_eq!((second.count, second.metadata.name), (Some(2), first.metadata.name));
        assert_eq!(second.last_timestamp, Some(Time(at(5))));
        assert!(matches!(correlator.take(note("b"), at(6)), Some(Write::Create(_))));
    }

    #[test]
    fn names_differ_though_the_clock_stands_still() {
        let mut correlator = Correlator::new("lab".into());
        let name = |write| match write {
            Some(Write::Create(event)) => event.metadata.name,
            _ => None,
        };
        let first = name(correlator.take(note("a"), at(5)));
        let second = name(correlator.take(note("b"), at(5)));
        assert!(first.is_some() && second.is_some());
        assert_ne!(first, second);
    }

    #[test]
    fn of_many_pods_the_latest_are_remembered() {
        let mut correlator = Correlator::new("lab".into());
        for number in 0..10 * REMEMBERED {
            let mut note = note("a");
            note.pod.uid = number.to_string();
            correlator.take(note, at(i64::try_from(number).unwrap()));
        }
        assert!(correlator.pods.len() <= REMEMBERED);
        let last = 10 * REMEMBERED - 1;
        assert!((last - 100..=last).all(|number| correlator.pods.contains_key(&number.to_string())));
    }

    #[test]
    fn a_noisy_pod_is_cut_off_and_let_in_again() {
        let mut correlator = Correlator::new("lab".into());
        let taken = (0..40).filter(|n| correlator.take(note(&n.to_string()), at(1)).is_some()).count();
        assert_eq!(taken, 25);
        assert!(correlator.take(note("later"), at(200)).is_none());
        assert!(correlator.take(note("later"), at(301)).is_some());
    }
}
