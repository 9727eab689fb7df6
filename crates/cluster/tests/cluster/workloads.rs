//! Controllers on a whole cluster: what is asked for comes to be, and what it leaves behind goes.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::lab::{cluster, events, until};

/// An object of `default` with a pod template of one container whose labels are `app: NAME`.
fn workload(name: &str, spec: Value) -> Value {
    let labels = json!({"app": name});
    let mut all = json!({
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "registry.example/app:1",
                            "resources": {"requests": {"cpu": "10m", "memory": "1Mi"}}}],
        }},
    });
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": all})
}

fn api<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(client: &Client) -> Api<K> {
    Api::default_namespaced(client.clone())
}

async fn create<K>(client: &Client, object: Value) -> K
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    api::<K>(client).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

/// Wait until the object's status has these values.
async fn status<K>(client: &Client, name: &str, wanted: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    until(api::<K>(client), name, |it| {
        let tree = serde_json::to_value(it?).unwrap();
        let is = |(field, value): (&String, &Value)| match tree["status"][field] {
            Value::Null => *value == json!(0),
            ref there => there == value,
        };
        wanted.as_object().unwrap().iter().all(is).then_some(())
    })
    .await;
}

async fn images(client: &Client, app: &str) -> Vec<String> {
    let pods = api::<Pod>(client).list(&ListParams::default().labels(&format!("app={app}"))).await.unwrap();
    let active = pods.into_iter().filter(|it| it.metadata.deletion_timestamp.is_none());
    active.filter_map(|it| it.spec?.containers[0].image.clone()).collect()
}

fn image(to: &str) -> Patch<Value> {
    Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": to}]}}}}))
}

#[tokio::test]
async fn a_deployment_rolls_from_one_template_to_the_next() {
    let cluster = cluster().await;
    let client = cluster.client();
    create::<Deployment>(&client, workload("web", json!({"replicas": 3}))).await;
    let done = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "observedGeneration": 1});
    status::<Deployment>(&client, "web", done).await;
    let made = events(&client, "web").await;
    assert!(
        made.iter()
            .any(|it| it.starts_with("ScalingReplicaSet: Scaled up replica set web-") && it.ends_with(" from 0 to 3")),
        "{made:?}"
    );

    api::<Deployment>(&client).patch("web", &PatchParams::default(), &image("registry.example/app:2")).await.unwrap();
    let done = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "observedGeneration": 2, "unavailableReplicas": 0});
    status::<Deployment>(&client, "web", done).await;
    assert_eq!(images(&client, "web").await, ["registry.example/app:2"; 3]);
    let sets = api::<ReplicaSet>(&client).list(&ListParams::default()).await.unwrap();
    let mut revisions: Vec<String> =
        sets.iter().map(|it| it.annotations()["deployment.kubernetes.io/revision"].clone()).collect();
    revisions.sort();
    assert_eq!(revisions, ["1", "2"]);
    for pod in api::<Pod>(&client).list(&ListParams::default()).await.unwrap() {
        let owner = &pod.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.controller), ("ReplicaSet", Some(true)));
        assert_eq!(owner.name, format!("web-{}", pod.labels()["pod-template-hash"]));
    }

    let size = Patch::Merge(json!({"spec": {"replicas": 5}}));
    api::<Deployment>(&client).patch("web", &PatchParams::default(), &size).await.unwrap();
    status::<Deployment>(&client, "web", json!({"availableReplicas": 5, "replicas": 5})).await;
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_or_stays_as_it_is_asked() {
    let cluster = cluster().await;
    let client = cluster.client();
    let ready = json!({"availableReplicas": 2});
    let delete = |policy| DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    let deployments = api::<Deployment>(&client);

    create::<Deployment>(&client, workload("first", json!({"replicas": 2}))).await;
    status::<Deployment>(&client, "first", ready.clone()).await;
    let pods = api::<Pod>(&client).list(&ListParams::default()).await.unwrap();
    deployments.delete("first", &delete(PropagationPolicy::Foreground)).await.unwrap();
    until(deployments.clone(), "first", |it| it.is_none().then_some(())).await;
    assert_eq!(api::<ReplicaSet>(&client).list(&ListParams::default()).await.unwrap().items.len(), 0);
    for pod in pods {
        until(api::<Pod>(&client), &pod.name_any(), |it| it.is_none().then_some(())).await;
    }

    create::<Deployment>(&client, workload("second", json!({"replicas": 2}))).await;
    status::<Deployment>(&client, "second", ready.clone()).await;
    let set = api::<ReplicaSet>(&client).list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
    deployments.delete("second", &delete(PropagationPolicy::Orphan)).await.unwrap();
    until(deployments.clone(), "second", |it| it.is_none().then_some(())).await;
    until(api::<ReplicaSet>(&client), &set, |it| it.filter(|it| it.owner_references().is_empty()).map(drop)).await;
    // A Deployment of the same name finds it again.
    create::<Deployment>(&client, workload("second", json!({"replicas": 2}))).await;
    status::<Deployment>(&client, "second", ready).await;
    assert_eq!(api::<ReplicaSet>(&client).list(&ListParams::default()).await.unwrap().items.len(), 1);

    deployments.delete("second", &delete(PropagationPolicy::Background)).await.unwrap();
    until(api::<ReplicaSet>(&client), &set, |it| it.is_none().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn ownership_is_of_any_kind() {
    let cluster = cluster().await;
    let client = cluster.client();
    let maps = api::<ConfigMap>(&client);
    let owner = create::<ConfigMap>(&client, json!({"metadata": {"name": "owner"}})).await;
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()}]);
    create::<ConfigMap>(&client, json!({"metadata": {"name": "owned", "ownerReferences": reference}})).await;
    let absent = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "of-another-life"}]);
    create::<ConfigMap>(&client, json!({"metadata": {"name": "stray", "ownerReferences": absent}})).await;
    until(maps.clone(), "stray", |it| it.is_none().then_some(())).await;
    assert!(maps.get_opt("owned").await.unwrap().is_some());
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    until(maps, "owned", |it| it.is_none().then_some(())).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_stateful_set_goes_in_order() {
    let cluster = cluster().await;
    let client = cluster.client();
    create::<StatefulSet>(&client, workload("db", json!({"replicas": 2, "serviceName": "db"}))).await;
    status::<StatefulSet>(&client, "db", json!({"readyReplicas": 2, "updatedReplicas": 2})).await;
    api::<StatefulSet>(&client).patch("db", &PatchParams::default(), &image("registry.example/app:2")).await.unwrap();
    status::<StatefulSet>(&client, "db", json!({"observedGeneration": 2, "currentReplicas": 2, "readyReplicas": 2}))
        .await;
    assert_eq!(images(&client, "db").await, ["registry.example/app:2"; 2]);
    // Made twice, and told once with a count.
    let told = events(&client, "db").await;
    let wanted = "SuccessfulCreate: create Pod db-0 in StatefulSet db successful";
    assert_eq!(told.iter().filter(|it| *it == wanted).count(), 1, "{told:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_daemon_set_is_on_the_node_also_when_that_is_cordoned() {
    let cluster = cluster().await;
    let client = cluster.client();
    let nodes = Api::<Node>::all(client.clone());
    let cordon = |on: bool| Patch::Merge(json!({"spec": {"unschedulable": on}}));
    nodes.patch("node", &PatchParams::default(), &cordon(true)).await.unwrap();
    let tainted = |node: Option<&Node>| {
        Some(node?.spec.as_ref()?.taints.iter().flatten().any(|it| it.key == "node.kubernetes.io/unschedulable"))
    };
    until(nodes.clone(), "node", |it| tainted(it).filter(|it| *it)).await;
    create::<DaemonSet>(&client, workload("agent", json!({}))).await;
    status::<DaemonSet>(&client, "agent", json!({"desiredNumberScheduled": 1, "numberAvailable": 1})).await;
    nodes.patch("node", &PatchParams::default(), &cordon(false)).await.unwrap();
    until(nodes, "node", |it| tainted(it).filter(|it| !it)).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_runs_to_its_end_and_its_pods_can_go() {
    let cluster = cluster().await;
    let client = cluster.client();
    let job = |name: &str, command: &str, more: Value| {
        let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "app", "image": "registry.example/app:1", "command": [command]},
        ]}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name}, "spec": spec})
    };
    create::<Job>(&client, job("well", "true", json!({"completions": 3, "parallelism": 2}))).await;
    create::<Job>(&client, job("ill", "false", json!({"backoffLimit": 0}))).await;
    let condition = |it: Option<&Job>, type_: &str| {
        let conditions = it?.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|it| it.type_ == type_ && it.status == "True")?.reason.clone()
    };
    let reason = until(api::<Job>(&client), "well", |it| condition(it, "Complete")).await;
    assert_eq!(reason, "CompletionsReached");
    status::<Job>(&client, "well", json!({"succeeded": 3, "active": 0})).await;
    let reason = until(api::<Job>(&client), "ill", |it| condition(it, "Failed")).await;
    assert_eq!(reason, "BackoffLimitExceeded");
    api::<Job>(&client).delete("well", &DeleteParams::foreground()).await.unwrap();
    until(api::<Job>(&client), "well", |it| it.is_none().then_some(())).await;
    let left = api::<Pod>(&client).list(&ListParams::default().labels("job-name=well")).await.unwrap();
    assert_eq!(left.items.len(), 0);
    cluster.stop().await;
}

#[tokio::test]
async fn a_budget_counts_what_serves() {
    let cluster = cluster().await;
    let client = cluster.client();
    let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    create::<PodDisruptionBudget>(&client, budget).await;
    create::<Deployment>(&client, workload("web", json!({"replicas": 3}))).await;
    let wanted = json!({"expectedPods": 3, "desiredHealthy": 2, "currentHealthy": 3, "disruptionsAllowed": 1});
    status::<PodDisruptionBudget>(&client, "web", wanted).await;
    cluster.stop().await;
}
