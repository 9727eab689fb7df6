//! The one place where the API server and the nodes meet directly: metrics and logs, which are not objects of the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use supple_apiserver::kubelet::{ContainerMetricsSample, LogStream, NoAnswer, NodeAnswer, NodeMetricsSample};
use supple_apiserver::{Kubelet, LogQuery, PodMetricsSample};
use supple_node::runtime::{LogOptions, PodUsage};
use supple_node::{Node, StopMode};
use tokio::sync::RwLock;

/// The nodes as the API server sees them, by name: absent before they have started and after they have stopped.
#[derive(Clone, Default)]
pub(crate) struct Nodes(Arc<RwLock<BTreeMap<String, Node>>>);

impl Nodes {
    pub(crate) async fn put(&self, name: String, node: Node) {
        self.0.write().await.insert(name, node);
    }

    /// Take the nodes out and stop them; whoever is asking them something is waited for first.
    pub(crate) async fn stop(&self, mode: StopMode) {
        let nodes = std::mem::take(&mut *self.0.write().await);
        join_all(nodes.into_values().map(|node| node.stop(mode))).await;
    }
}

impl Kubelet for Nodes {
    fn pod_metrics(&self) -> BoxFuture<'_, Vec<PodMetricsSample>> {
        Box::pin(async {
            let mut samples = Vec::new();
            for node in self.0.read().await.values() {
                samples.extend(node.usage().await.into_iter().filter_map(pod_sample));
            }
            samples
        })
    }

    fn node_metrics(&self) -> BoxFuture<'_, Vec<NodeMetricsSample>> {
        Box::pin(async {
            let mut samples = Vec::new();
            for (name, node) in self.0.read().await.iter() {
                samples.extend(node_sample(name, node.usage().await));
            }
            samples
        })
    }

    fn ask<'a>(&'a self, node: &'a str, path: &'a str) -> BoxFuture<'a, Result<NodeAnswer, NoAnswer>> {
        Box::pin(async move {
            let nodes = self.0.read().await;
            let node = nodes.get(node).ok_or(NoAnswer::Unreachable)?;
            let answer = node.answer(path).await.ok_or(NoAnswer::NotFound)?;
            Ok(NodeAnswer { content_type: answer.content_type, body: answer.body })
        })
    }

    fn logs<'a>(
        &'a self,
        _namespace: &'a str,
        pod_uid: &'a str,
        container: &'a str,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogStream, String>> {
        Box::pin(async move {
            let LogQuery { follow, previous, tail_lines, since, timestamps, limit_bytes } = query;
            let options = LogOptions { follow, tail_lines, since, timestamps, limit_bytes };
            let nodes = self.0.read().await;
            // Asked of one that does not know the pod, it says so in its own words.
            let node = nodes.values().find(|it| it.knows(pod_uid)).or_else(|| nodes.values().next());
            let node = node.ok_or("the node is not running")?;
            node.logs(pod_uid, container, previous, options).await.map_err(|error| error.to_string())
        })
    }
}

/// A node as metrics.k8s.io has it: the sum of its pods, as new as the newest of them.
fn node_sample(name: &str, usage: Vec<PodUsage>) -> Option<NodeMetricsSample> {
    let pods: Vec<PodMetricsSample> = usage.into_iter().filter_map(pod_sample).collect();
    let newest = pods.iter().max_by_key(|it| it.timestamp)?;
    let containers = || pods.iter().flat_map(|it| &it.containers);
    Some(NodeMetricsSample {
        name: name.to_owned(),
        timestamp: newest.timestamp,
        window: newest.window,
        cpu_nano_cores: containers().map(|it| it.cpu_nano_cores).sum(),
        memory_working_set: containers().map(|it| it.memory_working_set).sum(),
    })
}

/// A pod as metrics.k8s.io has it. As there, a pod counts only when each of its containers has been measured.
fn pod_sample(usage: PodUsage) -> Option<PodMetricsSample> {
    let containers: Option<Vec<_>> = usage
        .containers
        .iter()
        .map(|it| {
            Some(ContainerMetricsSample {
                name: it.container.clone(),
                cpu_nano_cores: it.cpu_nano_cores?,
                memory_working_set: u64::try_from(it.memory_working_set.0).unwrap_or(0),
            })
        })
        .collect();
    let containers = containers.filter(|it| !it.is_empty())?;
    Some(PodMetricsSample {
        namespace: usage.pod.namespace,
        name: usage.pod.name,
        timestamp: usage.at,
        window: usage.window,
        containers,
    })
}
