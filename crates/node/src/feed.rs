//! One watch of all pods for many nodes of one process. A node alone watches its own pods; five hundred watches would
//! each be woken by every change of any pod, and look at it. Here each change is read once and goes to the one node that
//! it concerns.
//!
//! ```text
//!   watch of all pods ──▶ Feed ──spec.nodeName──▶ Fed of node-1
//!                                           └───▶ Fed of node-2 …
//! ```

use std::collections::HashMap;
use std::pin::Pin;
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
}

/// Boxed: a channel keeps room for 32, and a pod is two kilobytes before its first word.
type Told = Box<watcher::Event<Pod>>;

/// What one node hears: lists and changes of its own pods, as a watch with a selector on `spec.nodeName` would bring them.
#[derive(Debug)]
pub struct Fed(mpsc::UnboundedReceiver<Told>);

impl Stream for Fed {
    type Item = watcher::Result<watcher::Event<Pod>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(|it| Ok(*it)))
    }
}

impl Feed {
    /// What is for the node of this name. To be asked for before the feed runs: nothing is told twice.
    pub fn subscribe(&mut self, node: &str) -> Fed {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.nodes.insert(node.to_owned(), sender);
        Fed(receiver)
    }

    /// Watch until dropped. What interrupts the watch is logged and the watch resumed; nodes notice nothing but a new list.
    pub async fn run(self, client: Client) {
        let changes = watcher(Api::<Pod>::all(client), watcher::Config::default()).default_backoff();
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            match change {
                Ok(event) => self.tell(event),
                Err(error) => tracing::warn!(%error, "the pods of the nodes cannot be watched; it is tried again"),
            }
        }
    }

    fn tell(&self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.tell_all(|| watcher::Event::Init),
            watcher::Event::InitDone => self.tell_all(|| watcher::Event::InitDone),
            watcher::Event::InitApply(pod) => self.tell_one(pod, watcher::Event::InitApply),
            watcher::Event::Apply(pod) => self.tell_one(pod, watcher::Event::Apply),
            watcher::Event::Delete(pod) => self.tell_one(pod, watcher::Event::Delete),
        }
    }

    fn tell_all(&self, event: impl Fn() -> watcher::Event<Pod>) {
        for node in self.nodes.values() {
            let _ = node.send(Box::new(event())); // a node that has stopped hears nothing
        }
    }

    fn tell_one(&self, pod: Pod, event: impl FnOnce(Pod) -> watcher::Event<Pod>) {
        let node = pod.spec.as_ref().and_then(|it| it.node_name.as_deref());
        let Some(node) = node.and_then(|it| self.nodes.get(it)) else { return };
        let _ = node.send(Box::new(event(pod)));
    }
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
            words.push(match *event {
                watcher::Event::Init => "init".to_owned(),
                watcher::Event::InitDone => "done".to_owned(),
                watcher::Event::InitApply(pod) => format!("has {}", pod.metadata.name.unwrap()),
                watcher::Event::Apply(pod) => format!("gets {}", pod.metadata.name.unwrap()),
                watcher::Event::Delete(pod) => format!("loses {}", pod.metadata.name.unwrap()),
            });
        }
        words.join(", ")
    }

    #[test]
    fn each_node_hears_of_its_own_pods() {
        let mut feed = Feed::default();
        let (mut one, mut two) = (feed.subscribe("one"), feed.subscribe("two"));
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(pod("a", Some("one"))),
            watcher::Event::InitApply(pod("nobody's", None)),
            watcher::Event::InitDone,
            watcher::Event::Apply(pod("b", Some("two"))),
            watcher::Event::Apply(pod("stranger's", Some("three"))),
            watcher::Event::Delete(pod("a", Some("one"))),
        ] {
            feed.tell(event);
        }
        assert_eq!(heard(&mut one), "init, has a, done, loses a");
        assert_eq!(heard(&mut two), "init, done, gets b");
    }
}
