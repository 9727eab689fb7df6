//! Brings statuses to the API: the newest one wins, whatever came in between while a request was under way is never
//! sent, and only what differs from the last one written is. One task per pod, so that a slow answer for one pod holds
//! up no other and never a worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{ApiError, PodApi};
use crate::backoff::{Backoff, Schedule};
use crate::options::Clock;
use crate::runtime::PodRef;

/// The status as text: a node keeps one for each pod, and parsed it is as large as the pod itself. Until it is written, it is
/// there as it is, too.
struct Slot {
    number: u64,
    text: Arc<[u8]>,
    status: Mutex<Option<Box<PodStatus>>>,
}

impl Slot {
    fn new(number: u64, text: Arc<[u8]>, status: Option<PodStatus>) -> Self {
        Self { number, text, status: Mutex::new(status.map(Box::new)) }
    }

    /// Its number, its text, and itself for the first who asks.
    fn take(&self) -> (u64, Arc<[u8]>, Option<Box<PodStatus>>) {
        // A value in a lock that is only taken out and put in is whole.
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).take();
        (self.number, Arc::clone(&self.text), status)
    }
}

/// What is to be told of a pod's status: the one before as text, or [`NOTHING`], and the one now.
pub(crate) struct Said<'a> {
    before: &'a [u8],
    now: &'a [u8],
    /// The status.
    pub(crate) status: &'a PodStatus,
}

impl Said<'_> {
    /// The merge patch that makes the one of the other.
    pub(crate) fn patch(&self) -> Value {
        change(self.before, self.now)
    }

    /// The names of the fields that are another, or are gone.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let now = fields(self.now).unwrap_or_default();
        let Some(before) = fields(self.before) else { return now.into_keys().collect() };
        let gone = before.keys().filter(|name| !now.contains_key(*name));
        let other = now.iter().filter(|(name, text)| before.get(*name).is_none_or(|it| it.get() != text.get()));
        gone.chain(other.map(|(name, _)| name)).copied().collect()
    }
}

/// A status of which nothing is known.
const NOTHING: &[u8] = b"null";

fn text(status: &PodStatus) -> Arc<[u8]> {
    serde_json::to_vec(status).expect("a status is written to memory").into()
}

/// Where a worker publishes its pod's status.
pub(crate) struct StatusWriter {
    slot: watch::Sender<Slot>,
    written: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StatusWriter {
    /// A writer for one pod. `known` is the status the API has already.
    pub(crate) fn start(api: Arc<dyn PodApi>, pod: PodRef, clock: Clock, known: Option<&PodStatus>) -> Self {
        let known = known.map_or_else(|| NOTHING.into(), text);
        let (slot, mut newest) = watch::channel(Slot::new(0, Arc::clone(&known), None));
        let (done, written) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut backoff = Backoff::default();
            let mut base = known;
            while newest.changed().await.is_ok() {
                let mut last = None;
                loop {
                    let (number, text, status) = newest.borrow_and_update().take();
                    last = status.or(last);
                    let status = last.get_or_insert_with(|| parsed(&text));
                    match api.patch_status(&pod, &Said { before: &base, now: &text, status }).await {
                        Err(ApiError::Unavailable(error)) => {
                            // Whether it was written is not known, so the next one says everything.
                            base = NOTHING.into();
                            let wait = backoff.failed(Schedule::API, clock());
                            tracing::warn!(pod = pod.name, namespace = pod.namespace, %error, "a pod's status could not be written; it is tried again");
                            tokio::time::sleep(wait.unsigned_abs()).await;
                            continue;
                        }
                        Err(ApiError::Refused(error)) => {
                            tracing::error!(pod = pod.name, namespace = pod.namespace, %error, "the API server refuses a pod's status");
                        }
                        // The pod has left the API: nobody is there to be told.
                        Err(ApiError::Gone(_)) | Ok(()) => {
                            backoff.reset();
                            base = text;
                        }
                    }
                    done.send_replace(number);
                    break;
                }
            }
        });
        Self { slot, written, task }
    }

    /// Have this status written, unless it is the one published last.
    pub(crate) fn publish(&self, status: PodStatus) {
        let text = text(&status);
        self.slot.send_if_modified(|slot| {
            let changed = slot.text != text;
            if changed {
                *slot = Slot::new(slot.number + 1, text, Some(status));
            }
            changed
        });
    }

    /// Wait until the status published last has been written (or refused, or has nobody to go to).
    pub(crate) async fn flush(&mut self) {
        let number = self.slot.borrow().number;
        // An error means that the task has ended, and then nothing will be written any more.
        let _ = self.written.wait_for(|written| *written >= number).await;
    }
}

/// The fields of a status; `None` of one of which nothing is known.
fn fields(text: &[u8]) -> Option<BTreeMap<&str, &RawValue>> {
    serde_json::from_slice(text).ok()
}

fn parsed(text: &[u8]) -> Box<PodStatus> {
    Box::new(serde_json::from_slice(text).expect("it was written from a status"))
}

/// [`difference`] of two statuses as text: only those of their fields are looked into that are another.
fn change(old: &[u8], new: &[u8]) -> Value {
    let value = |text: &str| serde_json::from_str(text).expect("it was written from a status");
    let new = fields(new).expect("it was written from a status");
    let Some(old) = fields(old) else {
        return new.iter().map(|(name, text)| ((*name).to_owned(), value(text.get()))).collect();
    };
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| ((*name).to_owned(), Value::Null));
    let changed = new.iter().filter_map(|(name, text)| {
        let before = old.get(name).map(|it| it.get());
        if before == Some(text.get()) {
            return None;
        }
        let now: Value = value(text.get());
        let before = before.filter(|_| now.is_object()).map_or(Value::Null, value);
        Some(((*name).to_owned(), difference(&before, &now)))
    });
    gone.chain(changed).collect()
}

/// The merge patch (RFC 7396) that makes `new` of `old`.
fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| (key.clone(), difference(old.get(key).unwrap_or(&Value::Null), value)));
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(old: Value, new: Value, patch: Value) {
        assert_eq!(difference(&old, &new), patch);
        let text = |value: &Value| serde_json::to_vec(value).unwrap();
        let (old, new) = (text(&old), text(&new));
        assert_eq!(change(&old, &new), patch);
        let said = Said { before: &old, now: &new, status: &PodStatus::default() };
        let mut fields = said.fields();
        fields.sort_unstable();
        assert_eq!(fields, patch.as_object().unwrap().keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_difference_is_what_a_merge_patch_needs() {
        check(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), json!({"b": 3}));
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null}));
        check(
            json!({"r": {"cpu": "1", "memory": "2"}}),
            json!({"r": {"cpu": "2"}}),
            json!({"r": {"cpu": "2", "memory": null}}),
        );
        check(json!({"l": [1, 2]}), json!({"l": [1]}), json!({"l": [1]}));
        check(Value::Null, json!({"r": {"cpu": "1"}}), json!({"r": {"cpu": "1"}}));
    }
}
