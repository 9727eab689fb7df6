//! A cluster in memory for a test, and waiting for what it will show.

use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supple_cluster::{Cluster, ClusterOptions, NodeRuntime, NodeSettings};
use supple_node::Capacity;
use supple_node::runtime::Requested;
use supple_quantity::{Bytes, MilliCpu};

/// A cluster whose node `node` has 2 CPU, 4Gi and room for 20 pods, all of them computed.
pub async fn cluster() -> Cluster {
    let node = NodeSettings {
        name: "node".to_owned(),
        capacity: Capacity { cpu: MilliCpu(2000), memory: Bytes(4 << 30), pods: 20 },
        memory_qos: supple_cluster::MemoryQos::default(),
        runtime: NodeRuntime::Requested(Requested::Simulated),
        stand_in: Vec::new(),
    };
    start(vec![node]).await
}

/// A cluster with these nodes.
pub async fn start(nodes: Vec<NodeSettings>) -> Cluster {
    Cluster::start(ClusterOptions::in_memory(nodes, Arc::new(jiff::Timestamp::now))).await.unwrap()
}

/// A pod with one container and these requests; `spec` is merged into its spec.
pub fn pod(name: &str, cpu: &str, memory: &str, spec: Value) -> Pod {
    let mut all = json!({"containers": [{
        "name": "app", "image": "registry.example/app:1",
        "resources": {"requests": {"cpu": cpu, "memory": memory}},
    }]});
    all.as_object_mut().unwrap().extend(spec.as_object().cloned().unwrap_or_default());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": all})).unwrap()
}

/// Create a pod in `default`.
pub async fn create(client: &Client, pod: &Pod) {
    Api::<Pod>::default_namespaced(client.clone()).create(&PostParams::default(), pod).await.unwrap();
}

/// Wait until the object of that name is as `wanted` says, and return what that found; `None` is an absent object.
/// Driven by a watch: it costs no time but what the cluster takes.
pub async fn until<K, T>(api: Api<K>, name: &str, wanted: impl Fn(Option<&K>) -> Option<T>) -> T
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(api.clone(), config).default_backoff().boxed();
    if let Some(found) = wanted(api.get_opt(name).await.unwrap().as_ref()) {
        return found;
    }
    let patience = tokio::time::sleep(std::time::Duration::from_secs(30));
    tokio::pin!(patience);
    let mut listed = false;
    loop {
        let change = tokio::select! {
            () = &mut patience => panic!("{name} never came to be what was wanted: {:?}", api.get_opt(name).await.unwrap()),
            Some(change) = changes.next() => change.unwrap(),
        };
        let found = match change {
            watcher::Event::Apply(it) | watcher::Event::InitApply(it) => {
                listed = true;
                wanted(Some(&it))
            }
            watcher::Event::InitDone if listed => None,
            watcher::Event::InitDone | watcher::Event::Delete(_) => wanted(None),
            watcher::Event::Init => {
                listed = false;
                None
            }
        };
        if let Some(found) = found {
            return found;
        }
    }
}

/// Pods of `default`.
pub fn pods(client: &Client) -> Api<Pod> {
    Api::default_namespaced(client.clone())
}

/// `reason: message` of the events about an object.
pub async fn events(client: &Client, name: &str) -> Vec<String> {
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events =
        Api::<k8s_openapi::api::core::v1::Event>::default_namespaced(client.clone()).list(&about).await.unwrap();
    let line = |it: k8s_openapi::api::core::v1::Event| {
        format!("{}: {}", it.reason.unwrap_or_default(), it.message.unwrap_or_default())
    };
    events.into_iter().map(line).collect()
}

/// The node a pod is bound to.
pub fn bound(pod: Option<&Pod>) -> Option<String> {
    pod?.spec.as_ref()?.node_name.clone()
}

/// Whether the pod runs and is ready.
pub fn ready(pod: Option<&Pod>) -> Option<()> {
    let conditions = pod?.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True").then_some(())
}

/// Why the pod is not scheduled.
pub fn unscheduled(pod: Option<&Pod>) -> Option<String> {
    let conditions = pod?.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
    condition.message.clone()
}
