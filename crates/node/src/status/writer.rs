//! Brings statuses to the API: the newest one wins, whatever came in between while a request was under way is never
//! sent, and only what differs from the last one written is. One task per pod, so that a slow answer for one pod holds
//! up no other and never a worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{ApiError, PodApi};
use crate::backoff::{Backoff, Schedule};
use crate::options::Clock;
use crate::runtime::PodRef;

/// The status as text: a node keeps one for each pod, and parsed it is as large as the pod itself.
#[derive(Clone)]
struct Slot {
    number: u64,
    status: Arc<[u8]>,
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
        let (slot, mut newest) = watch::channel(Slot { number: 0, status: Arc::clone(&known) });
        let (done, written) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut backoff = Backoff::default();
            let mut base = known;
            while newest.changed().await.is_ok() {
                loop {
                    let Slot { number, status } = newest.borrow_and_update().clone();
                    match api.patch_status(&pod, &change(&base, &status)).await {
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
                            base = status;
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
    pub(crate) fn publish(&self, status: &PodStatus) {
        let status = text(status);
        self.slot.send_if_modified(|slot| {
            let changed = slot.status != status;
            if changed {
                *slot = Slot { number: slot.number + 1, status };
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

/// [`difference`] of two statuses as text: only those of their fields are looked into that are another.
fn change(old: &[u8], new: &[u8]) -> Value {
    type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;
    let value = |text: &str| serde_json::from_str(text).expect("it was written from a status");
    let new: Fields<'_> = serde_json::from_slice(new).expect("it was written from a status");
    let Ok(old) = serde_json::from_slice::<Fields<'_>>(old) else {
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
        assert_eq!(change(&text(&old), &text(&new)), patch);
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
