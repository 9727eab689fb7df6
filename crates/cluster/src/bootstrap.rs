//! What every cluster has before anybody creates anything: namespaces, system priority classes.

use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Namespaces of a fresh cluster.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Priorities reserved for the cluster's own pods, as the reference defines them (`pkg/apis/scheduling`).
const PRIORITIES: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// Create what is absent.
pub(crate) async fn run(client: &Client) -> Result<(), kube::Error> {
    let namespaces = Api::<Namespace>::all(client.clone());
    for name in NAMESPACES {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        create_if_absent(&namespaces, &namespace).await?;
    }
    let priorities = Api::<PriorityClass>::all(client.clone());
    for (name, value, description) in PRIORITIES {
        let class = PriorityClass {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            value: Some(value),
            description: Some(description.to_owned()),
            ..PriorityClass::default()
        };
        create_if_absent(&priorities, &class).await?;
    }
    Ok(())
}

/// Remove the Node objects of earlier starts under other names: this cluster has one node, and a pod bound to one that
/// will never come back must not wait for it.
pub(crate) async fn forget_other_nodes(client: &Client, keep: &str) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    for node in nodes.list(&ListParams::default()).await? {
        let name = node.name_any();
        if name != keep {
            tracing::info!(node = name, "forget a node of an earlier start");
            nodes.delete(&name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// Create an object unless one of its name exists.
pub(crate) async fn create_if_absent<K>(api: &Api<K>, object: &K) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(error),
    }
}
