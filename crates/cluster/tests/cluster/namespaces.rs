//! A namespace comes with an account and goes with everything in it.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::lab::{cluster, pod, ready, until};

#[tokio::test]
async fn it_has_a_default_account_and_takes_its_contents_along() {
    let cluster = cluster().await;
    let client = cluster.client();
    let namespaces = Api::<Namespace>::all(client.clone());
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "n");
    let pods = Api::<Pod>::namespaced(client.clone(), "n");
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "n");
    let namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    until(accounts.clone(), "default", |it| it.map(drop)).await;
    pods.create(&PostParams::default(), &pod("a", "1m", "1Mi", json!({"terminationGracePeriodSeconds": 0})))
        .await
        .unwrap();
    until(pods.clone(), "a", ready).await;
    maps.create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap())
        .await
        .unwrap();

    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    until(namespaces, "n", |it| it.is_none().then_some(())).await;
    assert_eq!(pods.list(&Default::default()).await.unwrap().items.len(), 0);
    assert_eq!(maps.list(&Default::default()).await.unwrap().items.len(), 0);
    assert_eq!(accounts.list(&Default::default()).await.unwrap().items.len(), 0);
    cluster.stop().await;
}

#[tokio::test]
async fn it_waits_for_a_finalizer() {
    let cluster = cluster().await;
    let client = cluster.client();
    let namespaces = Api::<Namespace>::all(client.clone());
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "n");
    let namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let held = json!({"metadata": {"name": "m", "finalizers": ["example.com/held"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    until(maps.clone(), "m", |it| it?.metadata.deletion_timestamp.as_ref().map(drop)).await;
    assert!(namespaces.get_opt("n").await.unwrap().is_some(), "it waits");
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("m", &Default::default(), &kube::api::Patch::Merge(&release)).await.unwrap();
    until(namespaces, "n", |it| it.is_none().then_some(())).await;
    cluster.stop().await;
}
