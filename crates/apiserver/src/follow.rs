//! Pods as they come and change, for those in this process who follow all of them. They see what a watch shows, no earlier
//! and in the same order, but nothing is written as text and read again: a pod is what the write that made it has made. Who
//! needs it later has it read once more, so that a pod at rest need not be kept decoded.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::{Stream, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use tokio::sync::watch;

use crate::store::{EventType, Object, PODS, Store};

/// A pod in one revision, as the store has it.
#[derive(Clone)]
pub struct StoredPod(Arc<Object>);

impl StoredPod {
    /// The pod, without its `managedFields`.
    pub fn pod(&self) -> Arc<Pod> {
        self.0.pod().expect("it has been read before, and never changes")
    }
}

impl fmt::Debug for StoredPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is told of a pod.
type Told = watcher::Event<StoredPod>;

/// Every durable pod and every change of one from then on; ends with the store.
pub(crate) fn pods(store: Store) -> impl Stream<Item = Told> + Send + 'static {
    let published = store.published_in(PODS);
    let follower = Follower { store, published, cursor: None, ready: VecDeque::new() };
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })
}

struct Follower {
    store: Store,
    published: watch::Receiver<u64>,
    /// Everything up to this revision has been told; `None` before a list.
    cursor: Option<u64>,
    /// What is to be told. Only then it is decoded: a list of all at once would be as large as all the rest.
    ready: VecDeque<watcher::Event<Arc<Object>>>,
}

impl Follower {
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Some(told) = told(event) {
                    return Some(told);
                }
            }
            // Marked as seen before looking, so that what comes while we look wakes us again.
            self.published.borrow_and_update();
            self.look();
            if self.ready.is_empty() {
                self.published.changed().await.ok()?;
            }
        }
    }

    /// Takes in what has happened, or where that is no longer known what is there.
    fn look(&mut self) {
        let Some(Ok((events, newest))) = self.cursor.map(|cursor| self.store.events_since(PODS, cursor)) else {
            return self.list();
        };
        self.cursor = Some(newest);
        self.ready.extend(events.iter().map(|event| {
            let object = Arc::clone(&event.object);
            match event.kind {
                EventType::Added | EventType::Modified => watcher::Event::Apply(object),
                EventType::Deleted => watcher::Event::Delete(object),
            }
        }));
    }

    fn list(&mut self) {
        // A list of now is never expired.
        let Ok(listing) = self.store.list(PODS, "", "", None) else { return };
        self.cursor = Some(listing.revision);
        self.ready.push_back(watcher::Event::Init);
        self.ready.extend(listing.objects.into_iter().map(watcher::Event::InitApply));
        self.ready.push_back(watcher::Event::InitDone);
    }
}

/// The event with the pod, if it is one.
fn told(event: watcher::Event<Arc<Object>>) -> Option<Told> {
    Some(match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(pod(object)?),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(object) => watcher::Event::Apply(pod(object)?),
        watcher::Event::Delete(object) => watcher::Event::Delete(pod(object)?),
    })
}

fn pod(object: Arc<Object>) -> Option<StoredPod> {
    let pod = object.pod();
    pod.inspect_err(|error| tracing::error!(%error, key = object.key.as_str(), "a stored pod cannot be read")).ok()?;
    Some(StoredPod(object))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Draft, Expect, HISTORY, History, Key, Write};

    async fn write(store: &Store, name: &str, expect: Expect, remove: bool) -> u64 {
        let value = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "managedFields": [{"manager": "m"}]},
            "spec": {"containers": []},
        });
        let draft = Draft::new(PODS, &value, |_, _| Value::Null);
        let write = Write { key: Key::new(PODS, "n", name), expect, draft, remove };
        store.commit(write, Vec::new()).await.unwrap().object.revision
    }

    fn shown(event: Option<Told>) -> String {
        let of = |word: &str, pod: &StoredPod| {
            let pod = pod.pod();
            assert!(pod.metadata.managed_fields.is_none());
            let version = pod.metadata.resource_version.as_deref().unwrap();
            format!("{word} {} {version}", pod.metadata.name.as_deref().unwrap())
        };
        match event.unwrap() {
            watcher::Event::Init => "init".to_owned(),
            watcher::Event::InitApply(pod) => of("has", &pod),
            watcher::Event::InitDone => "done".to_owned(),
            watcher::Event::Apply(pod) => of("gets", &pod),
            watcher::Event::Delete(pod) => of("loses", &pod),
        }
    }

    #[tokio::test]
    async fn a_list_and_then_every_change() {
        let store = Store::in_memory(|_, _| Value::Null, HISTORY);
        let first = write(&store, "a", Expect::Absent, false).await;
        let mut told = std::pin::pin!(pods(store.clone()));
        for expect in ["init", "has a 1", "done"] {
            assert_eq!(shown(told.next().await), expect);
        }
        write(&store, "b", Expect::Absent, false).await;
        write(&store, "a", Expect::Revision(first), true).await;
        for expect in ["gets b 2", "loses a 3"] {
            assert_eq!(shown(told.next().await), expect);
        }
    }

    #[tokio::test]
    async fn who_is_too_far_behind_is_told_a_list_again() {
        let store = Store::in_memory(|_, _| Value::Null, History { events: 1, bytes: 1 << 20 });
        let mut told = std::pin::pin!(pods(store.clone()));
        for expect in ["init", "done"] {
            assert_eq!(shown(told.next().await), expect);
        }
        write(&store, "a", Expect::Absent, false).await;
        write(&store, "b", Expect::Absent, false).await;
        for expect in ["init", "has a 1", "has b 2", "done"] {
            assert_eq!(shown(told.next().await), expect);
        }
    }
}
