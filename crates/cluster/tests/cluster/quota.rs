//! What `status.used` of a quota says, from the first pod to the last.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::lab::{cluster, create, pod, pods, ready, until};

fn quotas(client: &Client) -> Api<ResourceQuota> {
    Api::default_namespaced(client.clone())
}

/// Wait until the quota says that so much is used.
async fn used(client: &Client, wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<String, String> = wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    until(quotas(client), "q", |quota| {
        let used = quota?.status.as_ref()?.used.as_ref()?;
        let used: BTreeMap<String, String> = used.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect();
        (used == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_follows_pods_and_their_resizes_up_and_down() {
    let cluster = cluster().await;
    let client = cluster.client();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {
        "pods": "5", "requests.cpu": "1", "configmaps": "10", "services": "1",
    }}});
    let quota = serde_json::from_value(quota).unwrap();
    quotas(&client).create(&PostParams::default(), &quota).await.unwrap();
    let fixed = [("configmaps", "0"), ("services", "0")];
    used(&client, &[&fixed[..], &[("pods", "0"), ("requests.cpu", "0")]].concat()).await;

    create(&client, &pod("a", "300m", "64Mi", json!({"terminationGracePeriodSeconds": 0}))).await;
    used(&client, &[&fixed[..], &[("pods", "1"), ("requests.cpu", "300m")]].concat()).await;
    until(pods(&client), "a", ready).await;
    for cpu in ["900m", "200m"] {
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]}});
        pods(&client).patch_resize("a", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
        used(&client, &[&fixed[..], &[("pods", "1"), ("requests.cpu", cpu)]].concat()).await;
    }
    pods(&client).delete("a", &DeleteParams::default()).await.unwrap();
    used(&client, &[&fixed[..], &[("pods", "0"), ("requests.cpu", "0")]].concat()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn other_objects_are_counted() {
    let cluster = cluster().await;
    let client = cluster.client();
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let quota =
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "10"}}}));
    quotas(&client).create(&PostParams::default(), &quota.unwrap()).await.unwrap();
    used(&client, &[("count/configmaps", "1")]).await;
    cluster.stop().await;
}
