//! The node as the API shows it.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::lab::{cluster, pod, until};

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
