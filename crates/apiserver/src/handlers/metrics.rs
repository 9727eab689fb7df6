//! metrics.k8s.io: usage, asked of the node at each request and joined with the labels of the objects it is of.

use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::{Api, Call};
use crate::errors::ApiError;
use crate::kubelet::{NodeMetricsSample, PodMetricsSample};
use crate::metadata::{subject, time};
use crate::options::ListOptions;
use crate::respond::{json as answer, list_metadata};
use crate::store::Key;

impl Api {
    /// GET of metrics: of one object or of a collection.
    pub(super) async fn metrics(&self, call: &Call) -> Result<Response, ApiError> {
        let (target, resource) = (&call.target, call.target.resource);
        let mut all = match resource.kind {
            "NodeMetrics" => self.node_metrics().await,
            _ => self.pod_metrics().await,
        };
        let text = |object: &Value, field| crate::metadata::text(object, field).to_owned();
        if resource.namespaced() && !target.namespace.is_empty() {
            all.retain(|object| text(object, "namespace") == target.namespace);
        }
        if !target.name.is_empty() {
            let found = all.into_iter().find(|object| text(object, "name") == target.name);
            let full = if target.namespace.is_empty() {
                target.name.clone()
            } else {
                format!("{}/{}", target.namespace, target.name)
            };
            let object = found.ok_or_else(|| ApiError::not_found(subject(resource, &full)))?;
            return Ok(answer(StatusCode::OK, self.one_metric(call, object)));
        }
        let options = ListOptions::parse(&call.query, resource)?;
        all.retain(|object| options.matches(object));
        all.sort_by_key(|object| (text(object, "namespace"), text(object, "name")));
        let body = call.wanted.values(resource, &all, list_metadata(self.store.revision(), "", None));
        Ok(answer(StatusCode::OK, body))
    }

    fn one_metric(&self, call: &Call, object: Value) -> bytes::Bytes {
        match call.wanted.form {
            crate::table::Form::Table => call.wanted.table(call.target.resource, &[object], json!({}), true),
            _ => object.to_string().into(),
        }
    }

    async fn pod_metrics(&self) -> Vec<Value> {
        let samples = self.kubelet.pod_metrics().await;
        samples
            .iter()
            .filter_map(|sample| {
                // A sample of a pod that is no longer there is of no use to anybody.
                let pod = self.store.get(&Key::new("pods", &sample.namespace, &sample.name))?;
                Some(pod_metrics(sample, &pod.outline()))
            })
            .collect()
    }

    async fn node_metrics(&self) -> Vec<Value> {
        let samples = self.kubelet.node_metrics().await;
        samples
            .iter()
            .filter_map(|sample| {
                let node = self.store.get(&Key::new("nodes", "", &sample.name))?;
                Some(node_metrics(sample, &node.outline()))
            })
            .collect()
    }
}

fn pod_metrics(sample: &PodMetricsSample, outline: &Value) -> Value {
    let containers = sample.containers.iter().map(|container| {
        json!({"name": container.name, "usage": usage(container.cpu_nano_cores, container.memory_working_set)})
    });
    let mut object = base("PodMetrics", outline, sample.timestamp, sample.window);
    object.insert("containers".to_owned(), containers.collect());
    Value::Object(object)
}

fn node_metrics(sample: &NodeMetricsSample, outline: &Value) -> Value {
    let mut object = base("NodeMetrics", outline, sample.timestamp, sample.window);
    object.insert("usage".to_owned(), usage(sample.cpu_nano_cores, sample.memory_working_set));
    Value::Object(object)
}

/// What both kinds have: the measured object's name and labels, when, and over how long.
fn base(kind: &str, outline: &Value, timestamp: Timestamp, window: Duration) -> Map<String, Value> {
    let mut metadata = outline.get("metadata").cloned().unwrap_or_else(|| json!({}));
    metadata["creationTimestamp"] = time(timestamp);
    let mut object = Map::new();
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), "metrics.k8s.io/v1beta1".into());
    object.insert("metadata".to_owned(), metadata);
    object.insert("timestamp".to_owned(), time(timestamp));
    object.insert("window".to_owned(), duration(window).into());
    object
}

/// CPU in nano-cores and memory in KiB, the units of the reference's metrics server.
fn usage(cpu_nano_cores: u64, memory: u64) -> Value {
    json!({"cpu": format!("{cpu_nano_cores}n"), "memory": format!("{}Ki", memory / 1024)})
}

/// A duration as Go prints it: `15.003s`.
fn duration(window: Duration) -> String {
    let text = format!("{:.3}", window.as_secs_f64());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::ContainerMetricsSample;

    #[test]
    fn a_sample_takes_the_form_of_the_api() {
        let sample = PodMetricsSample {
            namespace: "n".into(),
            name: "p".into(),
            timestamp: "2030-01-01T00:00:00Z".parse().unwrap(),
            window: Duration::from_millis(15_250),
            containers: vec![ContainerMetricsSample {
                name: "c".into(),
                cpu_nano_cores: 1_500_000,
                memory_working_set: 1 << 20,
            }],
        };
        let outline = json!({"metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}}});
        let expected = json!({
            "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "creationTimestamp": "2030-01-01T00:00:00Z"},
            "timestamp": "2030-01-01T00:00:00Z", "window": "15.25s",
            "containers": [{"name": "c", "usage": {"cpu": "1500000n", "memory": "1024Ki"}}],
        });
        assert_eq!(pod_metrics(&sample, &outline), expected);
    }
}
