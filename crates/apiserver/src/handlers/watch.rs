//! Watch: changes of a collection as they come, each a line of JSON.
//!
//! A watcher is a cursor into the history of its resource, not a queue that the store fills: a slow client costs
//! nothing but its place, and when history has moved past it, it is told so (410) and lists again. The line of an event
//! is copied for each watcher, once, into the piece that is sent: that costs less than to keep it for as long as the history
//! goes back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Api, Call};
use crate::clock::Clock;
use crate::errors::ApiError;
use crate::kinds::{Backing, Resource};
use crate::options::{At, ListOptions};
use crate::respond::{self, Wanted, list_metadata};
use crate::selector::FieldSelector;
use crate::store::{Draft, Event, EventType, Object, Store, write_line};
use crate::table::Form;

/// How often a quiet watch that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts that did not say: the reference takes a random 30 to 60 minutes to spread reconnects, which
/// a server for one machine need not.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// Longer than anybody waits, and short enough to be added to any instant.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The last bookmark comes this long before the end, so that the client can go on from it.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Most bytes put into one piece of the answer.
const PIECE: usize = 256 << 10;

impl Api {
    /// A watch on a collection, or on the one object the path names.
    pub(super) fn watch(&self, call: &Call) -> Result<Response, ApiError> {
        let target = &call.target;
        let options = ListOptions::parse(&call.query, target.resource)?;
        let only = (!target.name.is_empty())
            .then(|| FieldSelector::parse(&format!("metadata.name={}", target.name), target.resource))
            .transpose()
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let watcher = Watcher::begin(self, call, options, only);
        let body = Body::from_stream(stream::unfold(watcher, |mut watcher| async move {
            let piece = watcher.next().await?;
            Some((Ok::<_, Infallible>(piece), watcher))
        }));
        Ok(respond::json(StatusCode::OK, body))
    }
}

/// Where a watch is.
struct Watcher {
    store: Store,
    clock: Arc<dyn Clock>,
    resource: &'static Resource,
    collection: &'static str,
    /// `namespace/`, or empty for all.
    namespace: String,
    options: ListOptions,
    only: Option<FieldSelector>,
    wanted: Wanted,
    /// Everything up to this revision has been sent.
    cursor: u64,
    published: tokio::sync::watch::Receiver<u64>,
    /// What was there at the beginning and has not been written yet.
    initial: VecDeque<Arc<Object>>,
    /// The bookmark that says that all of it has been.
    owes_bookmark: bool,
    /// Pieces that are ready; lines are added to the last.
    ready: VecDeque<Vec<u8>>,
    /// A table's columns go out with its first event.
    columns_sent: bool,
    next_bookmark: Instant,
    goodbye: Instant,
    end: Instant,
    closing: CancellationToken,
    /// When its kind is no longer served.
    gone: CancellationToken,
    said_goodbye: bool,
    ended: bool,
}

impl Watcher {
    fn begin(api: &Api, call: &Call, options: ListOptions, only: Option<FieldSelector>) -> Self {
        let now = Instant::now();
        let timeout = options.timeout_seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(LONGEST_TIMEOUT);
        let initial = match options.initial_events {
            Some(initial) => initial,
            None => matches!(options.at, At::Newest | At::Any),
        };
        let cursor = match options.at {
            At::Exact(revision) | At::NotOlderThan(revision) => revision,
            At::Newest | At::Any => api.store.revision(),
        };
        let mut watcher = Self {
            store: api.store.clone(),
            clock: api.clock.clone(),
            resource: call.target.resource,
            collection: call.target.collection(),
            namespace: call.target.namespace.clone(),
            wanted: call.wanted,
            cursor,
            published: api.store.published_in(call.target.collection()),
            initial: VecDeque::new(),
            owes_bookmark: false,
            ready: VecDeque::new(),
            columns_sent: false,
            next_bookmark: now + BOOKMARK_EVERY,
            goodbye: now + timeout.saturating_sub(LAST_BOOKMARK),
            end: now + timeout,
            closing: call.closing.clone(),
            gone: api.registry.gone(call.target.resource),
            said_goodbye: false,
            ended: false,
            options,
            only,
        };
        let newest = api.store.revision();
        if initial {
            watcher.initial();
        } else if watcher.cursor > newest {
            // Every revision a client can know has been published, so this one is of another store: of a server in
            // memory before it was started again. Waiting for it would hide everything that happens until then.
            watcher.expire(newest);
        }
        watcher
    }

    /// What is there now, as if it had just been created.
    fn initial(&mut self) {
        let Ok(listing) = self.store.list(self.collection, &self.namespace, "", None) else { return };
        self.cursor = listing.revision;
        self.initial = listing.objects.into();
        self.owes_bookmark = self.options.initial_events == Some(true);
    }

    /// Writes a piece of what was there: all of it at once would be as large as the store.
    fn replay(&mut self) {
        let mut length = 0;
        while length < PIECE
            && let Some(object) = self.initial.pop_front()
        {
            if self.selects(&object) {
                length += object.length();
                self.render(EventType::Added, &object);
            }
        }
        if self.initial.is_empty() && std::mem::take(&mut self.owes_bookmark) {
            let bookmark = self.bookmark(true);
            self.put(&bookmark);
        }
    }

    /// Adds a line.
    fn put(&mut self, line: &[u8]) {
        self.room(line.len()).extend_from_slice(line);
    }

    /// Where a line of about this length goes.
    fn room(&mut self, length: usize) -> &mut Vec<u8> {
        if self.ready.back().is_none_or(|piece| piece.len() + length > PIECE) {
            self.ready.push_back(Vec::with_capacity(length));
        }
        self.ready.back_mut().expect("there is one, or one has been added")
    }

    /// The next piece of the answer; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.ready.is_empty() {
                self.replay();
            }
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece.into());
            }
            if self.ended {
                return None;
            }
            // Marked as seen before looking, so that what comes while we look wakes us again.
            self.published.borrow_and_update();
            self.collect();
            if !self.ready.is_empty() || self.ended {
                continue;
            }
            let bookmark_at = self.next_bookmark.min(self.goodbye);
            tokio::select! {
                biased;
                () = self.closing.cancelled() => self.ended = true,
                () = self.gone.cancelled() => {
                    // The objects went before their kind did.
                    self.collect();
                    self.ended = true;
                }
                () = tokio::time::sleep_until(self.end) => self.ended = true,
                () = tokio::time::sleep_until(bookmark_at), if self.options.bookmarks && !self.said_goodbye => {
                    self.said_goodbye = Instant::now() >= self.goodbye;
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                    // Other collections may have moved on since: nothing of this one has been left out until now.
                    self.collect();
                    if !self.ended {
                        let bookmark = self.bookmark(false);
                        self.put(&bookmark);
                    }
                }
                changed = self.published.changed() => self.ended |= changed.is_err(),
            }
        }
    }

    /// Moves what has happened since the cursor to what is ready.
    fn collect(&mut self) {
        match self.store.events_since(self.collection, self.cursor) {
            Ok((events, newest)) => {
                events.iter().for_each(|event| self.see(event));
                self.cursor = newest;
            }
            Err(expired) => self.expire(expired.newest),
        }
    }

    /// Ends the watch with the error after which clients list again.
    fn expire(&mut self, newest: u64) {
        let message = format!("too old resource version: {} ({newest})", self.cursor);
        let status = ApiError::expired(message).status();
        self.put(&error_line(&status));
        self.ended = true;
    }

    /// An event as this watcher sees it: an object that begins to match a selector is added, one that ceases is deleted.
    fn see(&mut self, event: &Event) {
        let object = &event.object;
        if !self.namespace.is_empty() && object.key.namespace() != self.namespace {
            return;
        }
        if self.options.everything() && self.only.is_none() {
            return self.render(event.kind, object);
        }
        let matches = event.kind != EventType::Deleted && self.selects(object);
        let matched = event.previous.as_ref().is_some_and(|previous| self.selects(previous));
        match (matched, matches) {
            (false, false) => {}
            (false, true) => self.render(EventType::Added, object),
            (true, true) => self.render(EventType::Modified, object),
            (true, false) if event.kind == EventType::Deleted => self.render(EventType::Deleted, object),
            (true, false) => {
                if let Some(previous) = &event.previous {
                    // As it was when it still matched, at the revision at which it ceased to.
                    let last = Draft::new(self.collection, &previous.value(), self.store.indexer());
                    let last = last.seal(object.key.clone(), object.revision);
                    self.render(EventType::Deleted, &last);
                }
            }
        }
    }

    fn selects(&self, object: &Object) -> bool {
        if self.options.everything() && self.only.is_none() {
            return true;
        }
        let outline = object.outline();
        self.options.matches(&outline) && self.only.as_ref().is_none_or(|only| only.matches(&outline))
    }
}

/// How events are written.
impl Watcher {
    fn render(&mut self, kind: EventType, object: &Object) {
        match self.wanted.form {
            Form::Plain if !matches!(self.resource.backing, Backing::View { .. }) => {
                write_line(self.room(object.length() + 40), kind, object);
            }
            _ => {
                let line = self.wrapped(kind, object);
                self.put(&line);
            }
        }
    }

    fn wrapped(&mut self, kind: EventType, object: &Object) -> Bytes {
        let wanted = Wanted { now: self.clock.now(), ..self.wanted };
        let body = match self.wanted.form {
            Form::Table => {
                let metadata = list_metadata(object.revision, "", None);
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                wanted.table(self.resource, &[respond::shown(self.resource, object)], metadata, columns)
            }
            _ => wanted.object(self.resource, object),
        };
        let head = format!("{{\"type\":\"{}\",\"object\":", kind.as_str());
        [head.as_bytes(), &body, b"}\n"].concat().into()
    }

    /// Nothing up to the cursor has been left out. `initial`: and everything that was there has been sent.
    fn bookmark(&self, initial: bool) -> Bytes {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), self.cursor.to_string().into());
        metadata.insert("creationTimestamp".to_owned(), Value::Null);
        if initial {
            metadata.insert("annotations".to_owned(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let (kind, api_version) = match self.wanted.form {
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
            Form::PartialMetadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Plain | Form::AggregatedDiscovery => (self.resource.kind, self.resource.api_version()),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into()
    }
}

fn error_line(status: &Value) -> Bytes {
    format!("{}\n", json!({"type": "ERROR", "object": status})).into()
}
