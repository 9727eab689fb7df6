//! Brings statuses to the API: the newest one wins, whatever came in between while a request was under way is never
//! sent, and only what differs from the last one written is. Each pod's by itself, so that a slow answer for one pod holds
//! up no other and never a worker; a task only while there is something to write, for there are thousands of pods.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::Value;
use supple_resize::status::fields;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::api::{ApiError, PodApi};
use crate::backoff::{Backoff, Schedule};
use crate::options::Clock;
use crate::runtime::PodRef;

/// What is to be told of a pod's status.
pub(crate) struct Said<'a> {
    /// The one before; `None` where nothing is known of it.
    before: Option<&'a PodStatus>,
    /// The status.
    pub(crate) now: &'a PodStatus,
}

impl Said<'_> {
    /// The merge patch that makes the one of the other.
    pub(crate) fn patch(&self) -> Value {
        let tree = |status: &PodStatus, name| fields::member(name, status).expect("a status is written to memory");
        let changed = self.fields().into_iter().map(|name| {
            let before = self.before.and_then(|it| tree(it, name)).unwrap_or_default();
            (name.to_owned(), difference(&before, &tree(self.now, name).unwrap_or_default()))
        });
        changed.collect()
    }

    /// The names of the fields that are another, or are gone.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        fields::differing(self.before, self.now)
    }
}

/// How many statuses may be on their way back. All that counts is the newest: those before it come by before it.
const SENT: usize = 8;

/// Where a worker publishes its pod's status.
pub(crate) struct StatusWriter(Arc<Errand>);

/// What is to be written, and what it takes to write it.
struct Errand {
    api: Arc<dyn PodApi>,
    pod: Arc<PodRef>,
    clock: Clock,
    slot: Mutex<Slot>,
    /// Told when all is written.
    written: Notify,
}

#[derive(Default)]
struct Slot {
    /// What is published and what is written; `None` while both are what the API is known to have.
    statuses: Option<(Arc<PodStatus>, Written)>,
    /// The pod as the API had it: whoever writes its status looks at it once more, and need not read it for as long as it is
    /// held here.
    held: Option<Arc<Pod>>,
    /// What was sent and has not come back.
    sent: Vec<Arc<PodStatus>>,
    /// Who writes.
    task: Option<AbortHandle>,
}

/// What is written.
#[derive(Clone)]
enum Written {
    /// What the API had of this pod.
    Known(Arc<Pod>),
    /// What was sent.
    Sent(Arc<PodStatus>),
    /// That is not known.
    Anything,
}

impl Written {
    fn status(&self) -> Option<&PodStatus> {
        match self {
            Self::Known(pod) => pod.status.as_ref(),
            Self::Sent(status) => Some(status),
            Self::Anything => None,
        }
    }
}

impl Slot {
    /// What is to be written, and what is.
    fn next(&mut self) -> Option<(Arc<PodStatus>, Written)> {
        self.sent.extend(self.statuses.as_ref().map(|(newest, _)| Arc::clone(newest)));
        // One that never comes by as it was sent (somebody else writes statuses, too) must not stay for ever.
        if self.sent.len() > SENT {
            self.sent.remove(0);
        }
        self.statuses.clone()
    }

    /// What everybody can have from the API need not be kept here, too.
    fn let_go(&mut self) {
        let is_written = self.statuses.as_ref().is_some_and(|(newest, written)| written.status() == Some(newest));
        if self.task.is_none() && self.sent.is_empty() && is_written {
            self.statuses = None;
            self.sent = Vec::new();
        }
    }
}

impl Errand {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Every change is one assignment: a panic elsewhere cannot leave it half done.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever wrote has panicked. Nobody waits for it any more, and nothing is taken to be written: what is published next is
    /// held against what the API has.
    fn lost(&self) {
        *self.slot() = Slot::default();
        self.written.notify_waiters();
    }

    /// Write until what is written is what is published.
    async fn write(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        loop {
            let Some((now, base)) = self.slot().next() else { return };
            let base = match self.api.patch_status(&self.pod, &Said { before: base.status(), now: &now }).await {
                Err(ApiError::Unavailable(error)) => {
                    // Whether it was written is not known, so the next one says everything.
                    if let Some((_, written)) = &mut self.slot().statuses {
                        *written = Written::Anything;
                    }
                    let wait = backoff.failed(Schedule::API, (self.clock)());
                    tracing::warn!(pod = self.pod.name, namespace = self.pod.namespace, %error, "a pod's status \
                     could not be written; will retry");
                    tokio::time::sleep(wait.unsigned_abs()).await;
                    continue;
                }
                Err(ApiError::Refused(error)) => {
                    tracing::error!(pod = self.pod.name, namespace = self.pod.namespace, %error, "the API server refuses a pod's status");
                    self.slot().sent.pop();
                    base
                }
                // The pod has left the API: nobody is there to be told.
                Err(ApiError::Gone(_)) | Ok(()) => {
                    backoff.reset();
                    Written::Sent(Arc::clone(&now))
                }
            };
            let mut slot = self.slot();
            let Some((newest, written)) = &mut slot.statuses else { return };
            *written = base;
            if Arc::ptr_eq(newest, &now) {
                (slot.task, slot.held) = (None, None);
                slot.let_go();
                self.written.notify_waiters();
                return;
            }
        }
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        if let Some(task) = self.0.slot().task.take() {
            task.abort();
        }
    }
}

impl StatusWriter {
    /// A writer for one pod.
    pub(crate) fn new(api: Arc<dyn PodApi>, pod: Arc<PodRef>, clock: Clock) -> Self {
        Self(Arc::new(Errand { api, pod, clock, slot: Mutex::default(), written: Notify::new() }))
    }

    /// Have this status written, unless it is the one published last. `known` is the pod that the API has, as far as is known
    /// here.
    pub(crate) fn publish(&self, mut status: PodStatus, known: &Arc<Pod>) {
        // Held against what is read.
        fields::as_written(&mut status);
        let mut slot = self.0.slot();
        let published = slot.statuses.as_ref().map_or(known.status.as_ref(), |(newest, _)| Some(newest));
        if published == Some(&status) {
            return;
        }
        let written = slot.statuses.take().map_or_else(|| Written::Known(Arc::clone(known)), |(_, written)| written);
        slot.statuses = Some((Arc::new(status), written));
        slot.held = Some(Arc::clone(known));
        if slot.task.is_none() {
            let errand = Arc::clone(&self.0);
            let task = tokio::spawn(async move {
                if AssertUnwindSafe(Arc::clone(&errand).write()).catch_unwind().await.is_err() {
                    errand.lost();
                }
            });
            slot.task = Some(task.abort_handle());
        }
    }

    /// Whether it is to be told what the API has.
    pub(crate) fn waits(&self) -> bool {
        self.0.slot().statuses.is_some()
    }

    /// The API has this status now. Each that was sent comes by, in the order in which they were.
    pub(crate) fn settle(&self, known: Option<&PodStatus>) {
        let mut slot = self.0.slot();
        if slot.statuses.is_none() {
            return;
        }
        if let Some(at) = slot.sent.iter().position(|it| Some(&**it) == known) {
            slot.sent.drain(..=at);
            slot.let_go();
        }
    }

    /// Wait until the status published last has been written (or refused, or has nobody to go to).
    pub(crate) async fn flush(&mut self) {
        loop {
            // Made before looking, so that what is told meanwhile wakes it.
            let written = self.0.written.notified();
            if self.0.slot().task.is_none() {
                return;
            }
            written.await;
        }
    }
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
    use futures::future::BoxFuture;
    use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
    use serde_json::json;

    use super::*;

    /// An API server that notes the patches it is sent, and does not answer the first so many.
    #[derive(Default)]
    struct Server {
        patches: Mutex<Vec<Value>>,
        silent: Mutex<usize>,
        broken: Mutex<bool>,
    }

    type Answer<'a, T> = BoxFuture<'a, Result<T, ApiError>>;

    impl PodApi for Server {
        fn patch_status<'a>(&'a self, _: &'a PodRef, said: &'a Said<'a>) -> Answer<'a, ()> {
            Box::pin(async move {
                assert!(!std::mem::take(&mut *self.broken.lock().unwrap()), "on purpose");
                self.patches.lock().unwrap().push(said.patch());
                let mut silent = self.silent.lock().unwrap();
                let answers = *silent == 0;
                *silent = silent.saturating_sub(1);
                answers.then_some(()).ok_or_else(|| ApiError::Unavailable("no answer".to_owned()))
            })
        }

        fn delete<'a>(&'a self, _: &'a PodRef) -> Answer<'a, ()> {
            unreachable!("a writer writes statuses")
        }

        fn create_event<'a>(&'a self, _: &'a Event) -> Answer<'a, ()> {
            unreachable!("a writer writes statuses")
        }

        fn patch_event<'a>(&'a self, _: &'a str, _: &'a str, _: &'a Value) -> Answer<'a, ()> {
            unreachable!("a writer writes statuses")
        }

        fn config_map<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ConfigMap> {
            unreachable!("a writer writes statuses")
        }

        fn secret<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Secret> {
            unreachable!("a writer writes statuses")
        }
    }

    impl Server {
        fn writer(self: &Arc<Self>) -> StatusWriter {
            let pod = PodRef { uid: "u".into(), namespace: "n".into(), name: "p".into() };
            let clock: Clock = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
            StatusWriter::new(Arc::clone(self) as Arc<dyn PodApi>, Arc::new(pod), clock)
        }

        /// What it was sent since it was asked last.
        fn sent(&self) -> Vec<Value> {
            std::mem::take(&mut *self.patches.lock().unwrap())
        }
    }

    fn pod(status: Option<PodStatus>) -> Arc<Pod> {
        Arc::new(Pod { status, ..Pod::default() })
    }

    fn status(message: &str, reason: &str) -> PodStatus {
        PodStatus { message: Some(message.into()), reason: Some(reason.into()), ..PodStatus::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_another_is_said_and_the_newest_alone() {
        let server = Arc::new(Server::default());
        let mut writer = server.writer();
        writer.publish(status("a", "r"), &pod(Some(status("", "r"))));
        writer.publish(status("b", "r"), &pod(None)); // before anybody has written the first
        writer.flush().await;
        assert_eq!(server.sent(), [json!({"message": "b"})]);
        writer.publish(status("b", "r"), &pod(None));
        writer.flush().await;
        assert_eq!(server.sent(), [] as [Value; 0], "it is what was written");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_back_is_not_kept_and_the_next_is_held_against_the_api() {
        let server = Arc::new(Server::default());
        let mut writer = server.writer();
        let kept = |writer: &StatusWriter| writer.0.slot().statuses.is_some();
        writer.publish(status("a", "r"), &pod(None));
        writer.flush().await;
        assert!(kept(&writer), "the API has not shown it yet");
        writer.settle(Some(&status("z", "r")));
        assert!(kept(&writer), "that is another");
        writer.settle(Some(&status("a", "r")));
        assert!(!kept(&writer));
        server.sent();
        writer.publish(status("a", "s"), &pod(Some(status("a", "r"))));
        writer.flush().await;
        assert_eq!(server.sent(), [json!({"reason": "s"})]);
        // An older one that comes by late lets nothing go.
        writer.publish(status("b", "s"), &pod(None));
        writer.flush().await;
        writer.settle(Some(&status("a", "s")));
        assert!(kept(&writer));
        writer.settle(Some(&status("b", "s")));
        assert!(!kept(&writer));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_lost_answer_everything_is_said() {
        let server = Arc::new(Server { silent: Mutex::new(1), ..Server::default() });
        let mut writer = server.writer();
        writer.publish(status("a", "r"), &pod(Some(status("", "r"))));
        writer.flush().await;
        assert_eq!(server.sent(), [json!({"message": "a"}), json!({"message": "a", "reason": "r"})]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_panics_keeps_nobody_waiting_and_what_comes_next_is_written() {
        let server = Arc::new(Server { broken: Mutex::new(true), ..Server::default() });
        let mut writer = server.writer();
        writer.publish(status("a", "r"), &pod(Some(status("", "r"))));
        writer.flush().await;
        assert_eq!(server.sent(), [] as [Value; 0]);
        writer.publish(status("a", "r"), &pod(Some(status("", "r"))));
        writer.flush().await;
        assert_eq!(server.sent(), [json!({"message": "a"})]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_back_takes_no_room_for_ever() {
        let server = Arc::new(Server::default());
        let mut writer = server.writer();
        for number in 0..5 * SENT {
            writer.publish(status(&number.to_string(), "r"), &pod(None));
            writer.flush().await;
        }
        assert_eq!(writer.0.slot().sent.len(), SENT);
        writer.settle(Some(&status(&(5 * SENT - 1).to_string(), "r")));
        assert!(writer.0.slot().statuses.is_none(), "the newest is what counts");
    }

    #[track_caller]
    fn check(old: Option<Value>, new: Value, patch: Value) {
        let status = |value| serde_json::from_value::<PodStatus>(value).unwrap();
        let (old, new) = (old.map(status), status(new));
        let said = Said { before: old.as_ref(), now: &new };
        assert_eq!(said.patch(), patch);
        assert_eq!(said.fields(), patch.as_object().unwrap().keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_difference_is_what_a_merge_patch_needs() {
        check(
            Some(json!({"message": "a", "reason": "b"})),
            json!({"message": "a", "reason": "c"}),
            json!({"reason": "c"}),
        );
        check(Some(json!({"message": "a", "reason": "b"})), json!({"message": "a"}), json!({"reason": null}));
        check(
            Some(json!({"allocatedResources": {"cpu": "1", "memory": "2"}})),
            json!({"allocatedResources": {"cpu": "2"}}),
            json!({"allocatedResources": {"cpu": "2", "memory": null}}),
        );
        let addresses = |of: &[&str]| json!({"podIPs": of.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()});
        check(Some(addresses(&["10.0.0.1", "10.0.0.2"])), addresses(&["10.0.0.1"]), addresses(&["10.0.0.1"]));
        check(None, json!({"resources": {"limits": {"cpu": "1"}}}), json!({"resources": {"limits": {"cpu": "1"}}}));
    }
}
