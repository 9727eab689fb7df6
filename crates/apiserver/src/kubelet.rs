//! What the server asks of the node: usage for metrics.k8s.io and the logs of containers. `cluster` implements it, so
//! that this crate and `node` need not know each other.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Usage of one pod over a window, as metrics.k8s.io reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMetricsSample {
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// End of the window.
    pub timestamp: jiff::Timestamp,
    /// Over how long CPU was measured.
    pub window: Duration,
    /// Per container.
    pub containers: Vec<ContainerMetricsSample>,
}

/// Usage of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMetricsSample {
    /// `spec.containers[].name`.
    pub name: String,
    /// CPU in use, in thousand-millionths of a core.
    pub cpu_nano_cores: u64,
    /// Memory in use that cannot be reclaimed at once, in bytes.
    pub memory_working_set: u64,
}

/// Usage of the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMetricsSample {
    /// `metadata.name` of the node.
    pub name: String,
    /// End of the window.
    pub timestamp: jiff::Timestamp,
    /// Over how long CPU was measured.
    pub window: Duration,
    /// CPU in use, in thousand-millionths of a core.
    pub cpu_nano_cores: u64,
    /// Memory in use that cannot be reclaimed at once, in bytes.
    pub memory_working_set: u64,
}

/// Which log lines are asked for: the query of `pods/log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Keep following.
    pub follow: bool,
    /// The run before the current one.
    pub previous: bool,
    /// Only the last N lines.
    pub tail_lines: Option<u64>,
    /// Only lines at or after this moment (`sinceTime`, or now minus `sinceSeconds`).
    pub since: Option<jiff::Timestamp>,
    /// Prefix each line with its RFC 3339 timestamp.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// What a node answers to a request that is for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// Of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Why a node answers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It is not running, or is unknown to whoever was asked.
    Unreachable,
    /// It has nothing at that path.
    NotFound,
}

/// A log as it is read.
pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;

/// What the server asks of the node.
pub trait Kubelet: Send + Sync + 'static {
    /// Usage of every pod that runs and has been measured.
    fn pod_metrics(&self) -> BoxFuture<'_, Vec<PodMetricsSample>>;

    /// Usage of every node; the sum of its pods where an implementation knows no better.
    fn node_metrics(&self) -> BoxFuture<'_, Vec<NodeMetricsSample>>;

    /// What the node answers at a path of its own (`nodes/NAME/proxy/PATH`): `stats/summary`, `metrics/cadvisor`.
    fn ask<'a>(&'a self, node: &'a str, path: &'a str) -> BoxFuture<'a, Result<NodeAnswer, NoAnswer>> {
        let _ = (node, path);
        Box::pin(std::future::ready(Err(NoAnswer::Unreachable)))
    }

    /// The log of a container of the pod with this UID. The error is a sentence for the person who asked.
    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod_uid: &'a str,
        container: &'a str,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogStream, String>>;
}

/// No node: no metrics, and a log request is refused with a sentence.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKubelet;

impl Kubelet for NoKubelet {
    fn pod_metrics(&self) -> BoxFuture<'_, Vec<PodMetricsSample>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn node_metrics(&self) -> BoxFuture<'_, Vec<NodeMetricsSample>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn logs<'a>(
        &'a self,
        _namespace: &'a str,
        _pod_uid: &'a str,
        _container: &'a str,
        _query: LogQuery,
    ) -> BoxFuture<'a, Result<LogStream, String>> {
        Box::pin(std::future::ready(Err("this API server has no node that keeps logs".to_owned())))
    }
}
