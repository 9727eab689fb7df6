//! Binding, eviction, logs and metrics.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde_json::json;
use supple_apiserver::kubelet::{ContainerMetricsSample, LogStream, NodeMetricsSample};
use supple_apiserver::{Kubelet, LogQuery, Options, PodMetricsSample};

use crate::harness::{Harness, small};

const PODS: &str = "/api/v1/namespaces/n/pods";

#[tokio::test]
async fn a_binding_places_a_pod_once() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    let path = format!("{PODS}/a/binding");
    let binding = |node: &str| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": node}});
    it.post(&path, json!({"metadata": {"name": "a"}, "target": {"name": ""}})).await.expect(422);
    let bound = it.post(&path, binding("lab")).await.expect(201);
    assert_eq!((&bound["kind"], &bound["status"]), (&json!("Status"), &json!("Success")));
    let pod = it.get(&format!("{PODS}/a")).await.expect(200);
    assert_eq!((&pod["spec"]["nodeName"], &pod["metadata"]["generation"]), (&json!("lab"), &json!(1)));
    assert_eq!(
        (&pod["status"]["conditions"][0]["type"], &pod["status"]["conditions"][0]["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let again = it.post(&path, binding("other")).await;
    assert_eq!(
        (again.code, again.message()),
        (409, "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"lab\"")
    );
    it.post(&format!("{PODS}/absent/binding"), binding("lab")).await.expect(404);
}

#[tokio::test]
async fn an_eviction_deletes() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}});
    let path = format!("{PODS}/a/eviction");
    it.post(&path, eviction.clone()).await.expect(201);
    it.get(&format!("{PODS}/a")).await.expect(200);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    it.post(&path, eviction).await.expect(201);
    it.get(&format!("{PODS}/a")).await.expect(404);
}

/// A node that has measured one pod and keeps one log.
struct Node;

impl Kubelet for Node {
    fn pod_metrics(&self) -> BoxFuture<'_, Vec<PodMetricsSample>> {
        let sample = |name: &str| PodMetricsSample {
            namespace: "n".into(),
            name: name.into(),
            timestamp: "2030-01-01T00:00:00Z".parse().unwrap(),
            window: Duration::from_secs(15),
            containers: vec![ContainerMetricsSample { name: "c1".into(), cpu_nano_cores: 5, memory_working_set: 4096 }],
        };
        std::future::ready(vec![sample("a"), sample("gone")]).boxed()
    }

    fn node_metrics(&self) -> BoxFuture<'_, Vec<NodeMetricsSample>> {
        std::future::ready(Vec::new()).boxed()
    }

    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        _uid: &'a str,
        container: &'a str,
        query: LogQuery,
    ) -> BoxFuture<'a, Result<LogStream, String>> {
        let line = format!("{namespace}/{container} tail={:?} previous={}\n", query.tail_lines, query.previous);
        let log = if query.previous {
            Err("previous terminated container \"c1\" in pod \"a\" not found".to_owned())
        } else {
            Ok(stream::iter([Ok(Bytes::from(line))]).boxed())
        };
        std::future::ready(log).boxed()
    }
}

#[tokio::test]
async fn logs_and_metrics_come_from_the_node() {
    let it = Harness::with(Options { kubelet: Arc::new(Node), ..Options::in_memory() }).await;
    let mut pod = small("a");
    it.post(PODS, pod.clone()).await.expect(201);
    let log = |query: &str| format!("{PODS}/a/log?{query}");
    assert_eq!((it.get(&log("")).await.code, it.get(&log("")).await.text.as_str()), (200, ""), "nothing has run yet");
    it.delete(&format!("{PODS}/a")).await.expect(200);
    pod["spec"]["nodeName"] = "lab".into();
    it.post(PODS, pod).await.expect(201);
    let reply = it.get(&log("tailLines=3")).await;
    assert_eq!((reply.code, reply.text.as_str()), (200, "n/c1 tail=Some(3) previous=false\n"));
    assert_eq!(reply.headers["content-type"], "text/plain");
    let reply = it.get(&log("previous=true")).await;
    assert_eq!((reply.code, reply.message()), (400, "previous terminated container \"c1\" in pod \"a\" not found"));
    assert_eq!(it.get(&log("container=x")).await.message(), "container x is not valid for pod a");
    it.get(&log("tailLines=-1")).await.expect(422);
    it.get(&log("sinceTime=yesterday")).await.expect(400);

    let metrics = "/apis/metrics.k8s.io/v1beta1";
    let all = it.get(&format!("{metrics}/pods")).await.expect(200);
    assert_eq!(all["kind"], "PodMetricsList");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "a sample of a pod that is gone is left out");
    let one = it.get(&format!("{metrics}/namespaces/n/pods/a")).await.expect(200);
    assert_eq!(one["containers"], json!([{"name": "c1", "usage": {"cpu": "5n", "memory": "4Ki"}}]));
    assert_eq!(one["metadata"]["labels"], json!({"app": "a"}));
    let other = it.get(&format!("{metrics}/namespaces/n/pods?labelSelector=app%3Dother")).await.expect(200);
    assert_eq!(other["items"], json!([]));
    it.get(&format!("{metrics}/namespaces/n/pods/gone")).await.expect(404);
}
