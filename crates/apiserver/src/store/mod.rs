//! The store: every object, one revision counter, transactions, and what watches need. In memory, or over one file with
//! group commit; the two differ only in when a write becomes visible.
//!
//! ```text
//! handler ─ commit(writes) ─▶ state.stage (revisions, conflicts) ─▶ queue ─▶ file (one flush) ─▶ state.publish ─▶ watchers
//!              ▲                                                                                      │
//!              └───────────────────────────── acknowledged ◀──────────────────────────────────────────┘
//! ```

mod commit;
mod file;
mod object;
mod pack;
mod rest;
mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use commit::Pace;
pub use file::{FileError, OpenDatabase};
pub use object::{Draft, Indexer, Key, Object, Pieces, Replaced};
pub use state::{Event, EventType, Expect, HISTORY, History, Raced, Write, write_line};
use tokio::sync::{oneshot, watch};

use crate::crash::CrashPoints;
use commit::{Committer, Disk, Outcome, Paced, Pending, Queue};
use file::{File, Place};
use rest::Rest;
use state::State;

/// Why a transaction did not take place.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer was first; try again on the newest state.
    #[error("{} was changed by another writer", .0.key.as_str())]
    Raced(Raced),
    /// The file did not take it. Nothing has changed; trying again later is safe.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The history does not reach back to the revision asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The newest revision, from which a client can begin again.
    pub newest: u64,
}

/// A list as it was at one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, in key order.
    pub objects: Vec<Arc<Object>>,
    /// The revision all of them are of.
    pub revision: u64,
}

/// The store. A clone is the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    durability: Durability,
    indexer: Indexer,
}

/// How a staged write becomes durable.
#[derive(Clone)]
enum Durability {
    /// It does not: it is in memory.
    None,
    /// At once, by whoever writes.
    Inline(Arc<Mutex<Disk>>),
    /// By a task that takes what waits, at the disk's pace.
    Paced(Arc<Paced>),
    /// By a thread that takes what waits. Dropped with the last clone: finishes what is queued, closes the file.
    Thread { queue: Arc<Queue>, _committer: Arc<Committer> },
}

/// What the store and the commit thread share.
struct Shared {
    state: RwLock<State>,
    published: watch::Sender<u64>,
    /// The same of each collection that somebody watches: who watches one is not woken by all others.
    collections: RwLock<HashMap<Box<str>, watch::Sender<u64>>>,
    /// What objects that rest are told by, and which of them are to be looked at again.
    rest: Mutex<Rest>,
    /// Whether the file may have more than anybody was told: see [`Store::settled`].
    in_doubt: AtomicBool,
}

/// A panic while the lock was held left the state whole: every mutation is a single map operation after its checks.
fn read_poisoned<T>(poisoned: PoisonError<T>) -> T {
    poisoned.into_inner()
}

impl Shared {
    fn publish(&self, events: &[Arc<Event>]) {
        let mut state = self.state.write().unwrap_or_else(read_poisoned);
        state.publish(events);
        let revision = state.revision();
        drop(state);
        self.tell(revision, events);
    }

    /// Wakes whoever waits for these, and whoever waits for any.
    fn tell(&self, revision: u64, events: &[Arc<Event>]) {
        self.published.send_replace(revision);
        let collections = self.collections.read().unwrap_or_else(read_poisoned);
        let mut told: Vec<&str> = Vec::new();
        for event in events {
            let collection = event.object.key.resource();
            if !told.contains(&collection) {
                told.push(collection);
                collections.get(collection).into_iter().for_each(|it| _ = it.send_replace(revision));
            }
        }
    }

    /// Makes small what nobody has written for a while: when nobody waits for it.
    fn rest(&self) {
        let tired = self.state.write().unwrap_or_else(read_poisoned).tired();
        self.rest.lock().unwrap_or_else(read_poisoned).take(tired);
    }
}

/// Where pods stand in the store.
pub const PODS: &str = "pods";

impl Store {
    /// A store that is gone with the process.
    pub fn in_memory(indexer: Indexer, history: History) -> Self {
        Self { shared: shared(Vec::new(), 0, history), durability: Durability::None, indexer }
    }

    /// A store over the file at `path`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be opened or does not hold what it should.
    pub fn open(
        path: &std::path::Path,
        indexer: Indexer,
        history: History,
        crash_points: CrashPoints,
    ) -> Result<Self, FileError> {
        let (file, objects, revision) = File::open(Place::file(path), indexer)?;
        let shared = shared(objects, revision, history);
        let queue = Arc::new(Queue::default());
        let committer = Committer::start(shared.clone(), queue.clone(), Disk { file, crash_points });
        let committer = committer.map_err(|error| FileError {
            operation: "start the commit thread of",
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self { shared, durability: Durability::Thread { queue, _committer: Arc::new(committer) }, indexer })
    }

    /// A store over the database that `open` opens; whoever writes flushes, and no thread is started.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn inline(
        open: OpenDatabase,
        indexer: Indexer,
        history: History,
        crash_points: CrashPoints,
    ) -> Result<Self, FileError> {
        let (file, objects, revision) = File::open(Place::given(open), indexer)?;
        let durability = Durability::Inline(Arc::new(Mutex::new(Disk { file, crash_points })));
        Ok(Self { shared: shared(objects, revision, history), durability, indexer })
    }

    /// Likewise, where a task flushes what waits, each time when `pace` has passed.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn paced(
        open: OpenDatabase,
        indexer: Indexer,
        history: History,
        crash_points: CrashPoints,
        pace: Pace,
    ) -> Result<Self, FileError> {
        let (file, objects, revision) = File::open(Place::given(open), indexer)?;
        let shared = shared(objects, revision, history);
        let paced = Paced::start(shared.clone(), Disk { file, crash_points }, pace);
        Ok(Self { shared, durability: Durability::Paced(Arc::new(paced)), indexer })
    }

    /// Reads selectable fields, for drafts.
    pub fn indexer(&self) -> Indexer {
        self.indexer
    }

    /// The newest durable revision.
    pub fn revision(&self) -> u64 {
        self.read().revision()
    }

    /// The durable object under a key.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.read().get(key).cloned()
    }

    /// The object a write must build on: the newest accepted one, durable or not. What is read here must not be shown
    /// to anybody before [`Store::settled`] has waited for it.
    pub fn latest(&self, key: &Key) -> Option<Arc<Object>> {
        self.read().latest(key).cloned()
    }

    /// [`Store::latest`] for all objects of a resource, in one namespace or (empty) in all.
    pub fn latest_of(&self, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        self.read().latest_below(&prefix(resource, namespace))
    }

    /// The durable objects of a resource, in one namespace or (empty) in all, as of now or as of `at`, beginning after
    /// the key `after`.
    ///
    /// # Errors
    /// [`Expired`] when the history does not reach back to `at`.
    pub fn list(&self, resource: &str, namespace: &str, after: &str, at: Option<u64>) -> Result<Listing, Expired> {
        let prefix = prefix(resource, namespace);
        let state = self.read();
        let newest = state.revision();
        match at {
            Some(revision) if revision != newest => {
                let objects = state.list_at(&prefix, after, revision).ok_or(Expired { newest })?;
                Ok(Listing { objects, revision })
            }
            _ => Ok(Listing { objects: state.list(&prefix, after).cloned().collect(), revision: newest }),
        }
    }

    /// Events of a resource after `revision`, oldest first, and the revision up to which this is complete.
    ///
    /// # Errors
    /// [`Expired`] when some of them are gone.
    pub fn events_since(&self, resource: &str, revision: u64) -> Result<(Vec<Arc<Event>>, u64), Expired> {
        let state = self.read();
        let newest = state.revision();
        let events = state.events_since(resource, revision).ok_or(Expired { newest })?.cloned().collect();
        Ok((events, newest))
    }

    /// Whether an object of one of these resources has changed after `revision`, or may have: the history need not reach
    /// back.
    pub fn have_changed_since(&self, resources: &[&str], revision: u64) -> bool {
        let state = self.read();
        let changed =
            |resource: &&str| state.events_since(resource, revision).is_none_or(|mut events| events.next().is_some());
        resources.iter().any(changed)
    }

    /// Tells of every new durable revision.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.shared.published.subscribe()
    }

    /// Tells of every new durable revision of an object of this collection.
    pub fn published_in(&self, collection: &str) -> watch::Receiver<u64> {
        let mut collections = self.shared.collections.write().unwrap_or_else(read_poisoned);
        let sender = collections.entry(collection.into()).or_insert_with(|| watch::Sender::new(0));
        sender.subscribe()
    }

    /// Carries out a write and those that must take place with it, all or none; returns the event of the first once
    /// they are durable and visible.
    ///
    /// # Errors
    /// [`CommitError`]; nothing has changed then.
    pub async fn commit(&self, write: Write, also: Vec<Write>) -> Result<Arc<Event>, CommitError> {
        let writes: Vec<Write> = std::iter::once(write).chain(also).collect();
        let (done, wait) = oneshot::channel();
        // A client that hung up no longer waits; its write takes place all the same.
        let events = self.stage(writes, |outcome| drop(done.send(outcome)))?;
        wait.await.unwrap_or_else(|_| Err(thread_ended()))?;
        Ok(events.into_iter().next().expect("there is an event for each write, and there was one"))
    }

    /// [`Store::commit`] for callers that cannot await. It blocks the thread for the time of a flush.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_blocking(&self, writes: Vec<Write>) -> Result<(), CommitError> {
        let (done, wait) = std::sync::mpsc::channel();
        self.stage(writes, move |outcome| drop(done.send(outcome)))?;
        if let Durability::Paced(paced) = &self.durability {
            // The task would have to run on this very thread.
            paced.flush();
        }
        Ok(wait.recv().unwrap_or_else(|_| Err(thread_ended()))?)
    }

    fn stage(
        &self,
        writes: Vec<Write>,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Result<Vec<Arc<Event>>, CommitError> {
        let mut state = self.shared.state.write().unwrap_or_else(read_poisoned);
        let events = state.stage(writes).map_err(CommitError::Raced)?;
        let outcome = match &self.durability {
            Durability::Thread { queue, .. } => {
                queue.push(Pending { events: events.clone(), done: Box::new(done) });
                return Ok(events);
            }
            Durability::Paced(paced) => {
                paced.queue.push(Pending { events: events.clone(), done: Box::new(done) });
                return Ok(events);
            }
            Durability::None => {
                state.publish(&events);
                Ok(())
            }
            Durability::Inline(disk) => {
                let mut disk = disk.lock().unwrap_or_else(read_poisoned);
                let outcome = disk.commit(&events, || state.publish(&events));
                if outcome.is_err() {
                    state.abandon();
                }
                self.shared.in_doubt.store(disk.file.in_doubt(), Ordering::Release);
                outcome
            }
        };
        let revision = state.revision();
        drop(state);
        self.shared.tell(revision, &events);
        done(outcome);
        self.shared.rest();
        Ok(events)
    }

    /// Waits until the object is durable, and is what the file has. `false`: its write failed; what was built on it must
    /// be done again.
    ///
    /// # Errors
    /// The file may have another, and cannot be asked: a write that changes nothing is then refused as any other is.
    pub async fn settled(&self, object: &Object) -> Result<bool, CommitError> {
        if self.shared.in_doubt.load(Ordering::Acquire) {
            self.resolve().await?;
        }
        let mut published = self.published();
        loop {
            {
                let state = self.read();
                if state.revision() >= object.revision {
                    return Ok(true);
                }
                if state.latest(&object.key).is_none_or(|latest| latest.revision < object.revision) {
                    return Ok(false);
                }
            }
            // The timeout only matters when the write fails and nothing follows it; see `State::abandon`.
            let _ = tokio::time::timeout(SETTLE_CHECK, published.changed()).await;
        }
    }

    /// Takes back what the file may have of writes that failed.
    async fn resolve(&self) -> Outcome {
        let (done, wait) = oneshot::channel();
        match &self.durability {
            Durability::None => return Ok(()),
            Durability::Inline(disk) => {
                let mut disk = disk.lock().unwrap_or_else(read_poisoned);
                let outcome = disk.commit(&[], || {});
                self.shared.in_doubt.store(disk.file.in_doubt(), Ordering::Release);
                return outcome;
            }
            Durability::Thread { queue, .. } => {
                queue.push(Pending { events: Vec::new(), done: Box::new(|outcome| drop(done.send(outcome))) });
            }
            Durability::Paced(paced) => {
                paced.queue.push(Pending { events: Vec::new(), done: Box::new(|outcome| drop(done.send(outcome))) });
            }
        }
        wait.await.unwrap_or_else(|_| Err(thread_ended()))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(read_poisoned)
    }
}

/// How often a reader of an unsettled object looks whether its write failed.
const SETTLE_CHECK: std::time::Duration = std::time::Duration::from_millis(20);

fn shared(objects: Vec<Object>, revision: u64, history: History) -> Arc<Shared> {
    let mut rest = Rest::default();
    objects.iter().for_each(|object| rest.load(object));
    let published = watch::Sender::new(revision);
    let (state, rest) = (RwLock::new(State::new(objects, revision, history)), Mutex::new(rest));
    let collections = RwLock::default();
    Arc::new(Shared { state, published, collections, rest, in_doubt: AtomicBool::new(false) })
}

fn prefix(resource: &str, namespace: &str) -> String {
    if namespace.is_empty() { format!("{resource}/") } else { format!("{resource}/{namespace}/") }
}

fn thread_ended() -> FileError {
    FileError {
        operation: "write",
        path: std::path::PathBuf::new(),
        message: "the commit thread has ended; restart the server".to_owned(),
    }
}
