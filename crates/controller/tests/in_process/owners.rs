//! What is written of workloads that are not watched: with whom it goes, and what stays.

use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use kube::runtime::{conditions, wait::await_condition};
use serde_json::json;
use supple_api::Rightsizing;

use super::lab::Lab;

const HOUR: Duration = Duration::from_secs(3600);

/// A replica set that nobody made, whose pods have this label beside their own.
async fn replica_set(lab: &Lab, name: &str, (label, value): (&str, &str)) -> ReplicaSet {
    let labels = json!({"set": name, (label): value});
    let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
    let object = json!({"metadata": {"name": name}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"set": name}}, "template": {
            "metadata": {"labels": labels, "annotations": {"supple.dev/usage-pattern": "cpu=50m memory=100Mi"}},
            "spec": {"containers": [{"name": "app", "image": "i", "resources": resources}]}}}});
    let api = Api::<ReplicaSet>::default_namespaced(lab.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn delete(lab: &Lab, name: &str) {
    let api = Api::<ReplicaSet>::default_namespaced(lab.client.clone());
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_written_of_a_workload_that_is_not_watched_goes_with_its_owner() {
    let lab = Lab::new().await;
    let all = Api::<Rightsizing>::default_namespaced(lab.client.clone());
    let set = replica_set(&lab, "web", ("app", "web")).await;
    // As it was made when owners were not known.
    let orphan = json!({"apiVersion": "supple.dev/v1alpha1", "kind": "Rightsizing", "metadata": {"name": "replicaset-web"},
        "spec": {"workloadRef": {"apiVersion": "v1", "kind": "ReplicaSet", "name": "web"}}});
    all.create(&PostParams::default(), &serde_json::from_value(orphan).unwrap()).await.unwrap();
    replica_set(&lab, "db", ("app", "db")).await;
    let work = lab.begin();
    tokio::time::sleep(HOUR).await;
    for (name, version) in [("replicaset-web", "v1"), ("replicaset-db", "apps/v1")] {
        let written = all.get(name).await.unwrap();
        assert_eq!(written.spec.workload_ref.api_version, version, "it is what it was");
        let owners = written.metadata.owner_references.unwrap();
        assert_eq!((owners.len(), owners[0].kind.as_str()), (1, "ReplicaSet"), "{name}");
        assert!(!written.status.unwrap().recommendation.is_empty());
    }
    let written = all.get("replicaset-web").await.unwrap();
    assert_eq!(Some(&written.metadata.owner_references.unwrap()[0].uid), set.metadata.uid.as_ref());
    delete(&lab, "web").await;
    tokio::time::sleep(HOUR / 60).await;
    assert!(all.get_opt("replicaset-web").await.unwrap().is_none(), "it has gone with it");
    tokio::time::sleep(HOUR).await;
    assert!(all.get_opt("replicaset-web").await.unwrap().is_none(), "and does not come back");
    assert!(all.get_opt("replicaset-db").await.unwrap().is_some());
    work.end().await;
    lab.cluster.stop().await;
}

/// Argo's definition, as much of it as matters here, and a rollout `web`.
async fn rollout(lab: &Lab) -> DynamicObject {
    let names = json!({"kind": "Rollout", "listKind": "RolloutList", "plural": "rollouts", "singular": "rollout"});
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({"metadata": {"name": "rollouts.argoproj.io"}, "spec": {
        "group": "argoproj.io", "names": names, "scope": "Namespaced",
        "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let definitions = Api::<CustomResourceDefinition>::all(lab.client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let is_served = await_condition(definitions, "rollouts.argoproj.io", conditions::is_crd_established());
    is_served.await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    let api = Api::<DynamicObject>::default_namespaced_with(lab.client.clone(), &kind);
    api.create(&PostParams::default(), &DynamicObject::new("web", &kind)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_written_of_an_argo_rollout_goes_with_it_where_it_may_be_read() {
    let lab = Lab::new().await;
    let made = rollout(&lab).await;
    replica_set(&lab, "web-1", ("rollouts-pod-template-hash", "1")).await;
    let work = lab.begin();
    tokio::time::sleep(HOUR).await;
    let all = Api::<Rightsizing>::default_namespaced(lab.client.clone());
    let owners = all.get("rollout-web").await.unwrap().metadata.owner_references.unwrap();
    assert_eq!((owners.len(), owners[0].kind.as_str()), (1, "Rollout"));
    assert_eq!(Some(&owners[0].uid), made.metadata.uid.as_ref());
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_of_an_argo_rollout_survives_a_release() {
    let lab = Lab::new().await;
    let all = Api::<Rightsizing>::default_namespaced(lab.client.clone());
    replica_set(&lab, "web-1", ("rollouts-pod-template-hash", "1")).await;
    let work = lab.begin();
    tokio::time::sleep(3 * HOUR).await;
    replica_set(&lab, "web-2", ("rollouts-pod-template-hash", "2")).await;
    delete(&lab, "web-1").await;
    tokio::time::sleep(HOUR).await;
    let names: Vec<_> = all.list(&Default::default()).await.unwrap().items;
    let names: Vec<_> = names.into_iter().filter_map(|it| it.metadata.name).collect();
    assert_eq!(names, ["rollout-web"]);
    let written = all.get("rollout-web").await.unwrap();
    assert_eq!(written.spec.workload_ref.api_version, "argoproj.io/v1alpha1");
    assert_eq!(written.metadata.owner_references, None, "its pods do not name it, and there is none");
    assert!(written.status.unwrap().recommendation[0].hours >= 3);
    work.end().await;
    lab.cluster.stop().await;
}
