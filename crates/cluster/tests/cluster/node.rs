//! The node as the API shows it.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::lab::{cluster, create, pod, until};

#[tokio::test]
async fn it_is_ready_with_its_capacity() {
    let cluster = cluster().await;
    let node = until(Api::<Node>::all(cluster.client()), "node", |node| {
        let status = node?.status.clone()?;
        let ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
        ready.then_some(status)
    })
    .await;
    let allocatable = node.allocatable.unwrap_or_default();
    let of = |name: &str| allocatable.get(name).map(|it| it.0.clone());
    assert_eq!((of("cpu"), of("memory"), of("pods")), (Some("2".into()), Some("4Gi".into()), Some("20".into())));
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_of_a_node_that_never_was_is_collected() {
    let cluster = cluster().await;
    let pods = Api::<Pod>::default_namespaced(cluster.client());
    let lost = pod("lost", "1m", "1Mi", json!({"nodeName": "gone"}));
    pods.create(&PostParams::default(), &lost).await.unwrap();
    until(pods, "lost", |it| it.is_none().then_some(())).await;
    cluster.stop().await;
}

/// What the node answers at a path of its own, asked through the API server.
async fn ask(client: &Client, node: &str, path: &str) -> Result<String, u16> {
    let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/{path}")).body(Vec::new()).unwrap();
    client.request_text(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.code,
        error => panic!("{path} of {node}: {error}"),
    })
}

#[tokio::test]
async fn it_answers_as_a_kubelet_does() {
    let cluster = cluster().await;
    let client = cluster.client();
    create(&client, &pod("told", "100m", "64Mi", json!({"nodeName": "node"}))).await;
    until(Api::<Pod>::default_namespaced(client.clone()), "told", |pod| {
        (pod?.status.as_ref()?.phase.as_deref() == Some("Running")).then_some(())
    })
    .await;

    let summary: Value = serde_json::from_str(&ask(&client, "node", "stats/summary").await.unwrap()).unwrap();
    assert_eq!(summary["node"]["nodeName"], "node");
    assert_eq!(summary["pods"][0]["podRef"]["name"], "told");
    assert_eq!(summary["pods"][0]["containers"][0]["name"], "app");
    let metrics = ask(&client, "node", "metrics/cadvisor").await.unwrap();
    let usage = metrics.lines().find(|it| it.starts_with("container_cpu_usage_seconds_total{")).unwrap();
    assert!(usage.contains("container=\"app\"") && usage.contains("image=\"registry.example/app:1\""), "{usage}");
    assert!(ask(&client, "node", "metrics/resource").await.unwrap().contains("pod_memory_working_set_bytes{"));
    assert!(ask(&client, "node", "metrics").await.unwrap().contains("kubelet_pod_pending_resizes"));
    assert_eq!(ask(&client, "node", "healthz").await.as_deref(), Ok("ok"));

    assert_eq!(ask(&client, "node", "exec").await, Err(404));
    assert_eq!(ask(&client, "other", "stats/summary").await, Err(404));
    cluster.stop().await;
}
