//! The one place where the API server and the node meet directly: metrics and logs, which are not objects of the API.

use std::sync::Arc;

use futures::future::BoxFuture;
use supple_apiserver::kubelet::{ContainerMetricsSample, LogStream, NoAnswer, NodeAnswer, NodeMetricsSample};
use supple_apiserver::{Kubelet, LogQuery, PodMetricsSample};
use supple_node::runtime::{LogOptions, PodUsage};
use supple_node::{Node, StopMode};
use tokio::sync::RwLock;

/// The node as the API server sees it: absent before it has started and after it has stopped.
#[derive(Clone)]
pub(crate) struct NodeSlot {
    name: Option<Arc<str>>,
    node: Arc<RwLock<Option<Node>>>,
}

impl NodeSlot {
    /// Empty; `name` is the node that will come, if one will.
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self { name: name.map(Arc::from), node: Arc::default() }
    }

    pub(crate) async fn put(&self, node: Node) {
        *self.node.write().await = Some(node);
    }

    /// Take the node out and stop it; whoever is asking it something is waited for first.
    pub(crate) async fn stop(&self, mode: StopMode) {
        let node = self.node.write().await.take();
        if let Some(node) = node {
            node.stop(mode).await;
        }
    }

    async fn usage(&self) -> Vec<PodUsage> {
        match self.node.read().await.as_ref() {
            Some(node) => node.usage().await,
            None => Vec::new(),
        }
    }
}

impl Kubelet for NodeSlot {
    fn pod_metrics(&self) -> BoxFuture<'_, Vec<PodMetricsSample>> {
        Box::pin(async { self.usage().await.into_iter().filter_map(pod_sample).collect() })
    }

    fn node_metrics(&self) -> BoxFuture<'_, Vec<NodeMetricsSample>> {
        Box::pin(async {
            let pods: Vec<PodMetricsSample> = self.usage().await.into_iter().filter_map(pod_sample).collect();
            let (Some(name), Some(newest)) = (&self.name, pods.iter().max_by_key(|it| it.timestamp)) else {
                return Vec::new();
            };
            let containers = || pods.iter().flat_map(|it| &it.containers);
            vec![NodeMetricsSample {
                name: name.to_string(),
                timestamp: newest.timestamp,
                window: newest.window,
                cpu_nano_cores: containers().map(|it| it.cpu_nano_cores).sum(),
                memory_working_set: containers().map(|it| it.memory_working_set).sum(),
            }]
        })
    }

    fn ask<'a>(&'a self, node: &'a str, path: &'a str) -> BoxFuture<'a, Result<NodeAnswer, NoAnswer>> {
        Box::pin(async move {
            let running = self.node.read().await;
            let running = running.as_ref().filter(|_| self.name.as_deref() == Some(node));
            let answer = running.ok_or(NoAnswer::Unreachable)?.answer(path).await.ok_or(NoAnswer::NotFound)?;
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
            let node = self.node.read().await;
            let node = node.as_ref().ok_or("the node is not running")?;
            node.logs(pod_uid, container, previous, options).await.map_err(|error| error.to_string())
        })
    }
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
