//! One watch of all pods for everybody in this process who follows pods. Ten watches would each be woken by every change of
//! any pod, have it written as text and read it again; here each change is read once and shared. A node hears of its own
//! pods only.
//!
//! ```text
//!   watch of all pods ──▶ Feed ──spec.nodeName──▶ Fed of node-1
//!                          │ └──────────────────▶ Fed of node-2 …
//!                          └── everything ──────▶ Fed of the scheduler …
//! ```

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

/// The watch, and who hears what of it.
#[derive(Debug, Default)]
pub struct Feed {
    nodes: HashMap<String, mpsc::UnboundedSender<Told>>,
    others: Vec<mpsc::UnboundedSender<Told>>,
}

/// What a watch says of pods.
pub type Told = watcher::Event<Followed>;

/// A pod in one revision, as somebody follows it: shared, and never changed. It comes without `managedFields`: nobody here
/// asks who wrote what, and that is half of a small pod.
#[derive(Clone)]
pub struct Followed {
    source: Arc<dyn Source>,
    /// While it is told: everybody looks at it then.
    decoded: Option<Arc<Pod>>,
}

/// Where a pod is had from again.
pub trait Source: Send + Sync + 'static {
    /// The pod, each time the same.
    fn pod(&self) -> Arc<Pod>;
}

impl Source for Arc<Pod> {
    fn pod(&self) -> Arc<Pod> {
        Arc::clone(self)
    }
}

impl Followed {
    /// The pod that this source has.
    pub fn from(source: impl Source) -> Self {
        let decoded = Some(source.pod());
        Self { source: Arc::new(source), decoded }
    }

    /// The pod.
    pub fn pod(&self) -> Arc<Pod> {
        self.decoded.clone().unwrap_or_else(|| self.source.pod())
    }

    /// What to keep of it: decoded, a pod is ten times as large as its text, and nearly all of them rest.
    #[must_use]
    pub fn at_rest(&self) -> Self {
        Self { source: Arc::clone(&self.source), decoded: None }
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Followed").field(&self.pod().metadata.name).finish()
    }
}

/// What one of them hears: lists and changes of pods, as a watch would bring them; of a node, only those bound to it.
#[derive(Debug)]
pub struct Fed(mpsc::UnboundedReceiver<Told>);

impl Stream for Fed {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// An event of a watch, as a feed tells it.
pub(crate) fn told(event: watcher::Event<Pod>) -> Told {
    map(event, |mut pod| {
        pod.metadata.managed_fields = None;
        Followed::from(Arc::new(pod))
    })
}

/// The same event about something else.
pub fn map<K, T>(event: watcher::Event<K>, of: impl FnOnce(K) -> T) -> watcher::Event<T> {
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(of(object)),
        watcher::Event::Apply(object) => watcher::Event::Apply(of(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(of(object)),
    }
}

impl Feed {
    /// What is for the node of this name. To be asked for before the feed runs: nothing is told twice.
    pub fn subscribe(&mut self, node: &str) -> Fed {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.nodes.insert(node.to_owned(), sender);
        Fed(receiver)
    }

    /// Likewise all there is, whatever node it is bound to.
    pub fn everything(&mut self) -> Fed {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.others.push(sender);
        Fed(receiver)
    }

    /// Watch until dropped. What interrupts the watch is logged and the watch resumed; who is fed notices nothing but a new
    /// list.
    pub async fn run(self, client: Client) {
        let changes = watcher(Api::<Pod>::all(client), watcher::Config::default()).default_backoff();
        let events = changes.filter_map(|change| {
            let change = change
                .inspect_err(|error| tracing::warn!(%error, "the pods of the cluster cannot be watched; will retry"));
            std::future::ready(change.ok().map(told))
        });
        self.run_on(events).await;
    }

    /// Pass on what somebody else watches, until that ends.
    pub async fn run_on(self, events: impl Stream<Item = Told>) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            self.tell(&event);
        }
    }

    fn tell(&self, event: &Told) {
        let pod = match event {
            watcher::Event::Init | watcher::Event::InitDone => None,
            watcher::Event::InitApply(pod) | watcher::Event::Apply(pod) | watcher::Event::Delete(pod) => {
                Some(pod.pod())
            }
        };
        let node = pod.as_ref().map(|it| it.spec.as_ref().and_then(|it| it.node_name.as_deref()).unwrap_or_default());
        match node {
            None => self.nodes.values().for_each(|it| send(it, event)),
            Some(node) => self.nodes.get(node).into_iter().for_each(|it| send(it, event)),
        }
        self.others.iter().for_each(|it| send(it, event));
    }
}

fn send(to: &mpsc::UnboundedSender<Told>, event: &Told) {
    let _ = to.send(event.clone()); // who has stopped hears nothing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: Option<&str>) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": []},
        }))
        .unwrap()
    }

    /// What a node has heard, in short.
    fn heard(fed: &mut Fed) -> String {
        let mut words = Vec::new();
        while let Ok(event) = fed.0.try_recv() {
            words.push(match event {
                watcher::Event::Init => "init".to_owned(),
                watcher::Event::InitDone => "done".to_owned(),
                watcher::Event::InitApply(pod) => format!("has {}", pod.pod().metadata.name.as_ref().unwrap()),
                watcher::Event::Apply(pod) => format!("gets {}", pod.pod().metadata.name.as_ref().unwrap()),
                watcher::Event::Delete(pod) => format!("loses {}", pod.pod().metadata.name.as_ref().unwrap()),
            });
        }
        words.join(", ")
    }

    #[test]
    fn each_node_hears_of_its_own_pods_and_others_of_all() {
        let mut feed = Feed::default();
        let (mut one, mut two, mut all) = (feed.subscribe("one"), feed.subscribe("two"), feed.everything());
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(pod("a", Some("one"))),
            watcher::Event::InitApply(pod("nobody's", None)),
            watcher::Event::InitDone,
            watcher::Event::Apply(pod("b", Some("two"))),
            watcher::Event::Apply(pod("stranger's", Some("three"))),
            watcher::Event::Delete(pod("a", Some("one"))),
        ] {
            feed.tell(&told(event));
        }
        assert_eq!(heard(&mut one), "init, has a, done, loses a");
        assert_eq!(heard(&mut two), "init, done, gets b");
        assert_eq!(heard(&mut all), "init, has a, has nobody's, done, gets b, gets stranger's, loses a");
    }
}
