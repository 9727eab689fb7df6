//! Tidying up before a node starts. What every cluster begins with (namespaces, priority classes) is the API server's.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Remove the Node objects of earlier starts under other names: a pod bound to one that will never come back must
/// not wait for it.
pub(crate) async fn forget_other_nodes(client: &Client, keep: &BTreeSet<&str>) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    for node in nodes.list(&ListParams::default()).await? {
        let name = node.name_any();
        if !keep.contains(name.as_str()) {
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
