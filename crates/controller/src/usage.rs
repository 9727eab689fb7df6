//! Usage from `metrics.k8s.io`: the type as it comes, and the plain use it becomes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, ObjectMeta};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde::Deserialize;
use supple_quantity::{Bytes, MilliCpu};

use supple_decide::need::Use;
use supple_decide::numbers::parse;

/// What one pod used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUse {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// Per container.
    pub containers: BTreeMap<String, Use>,
}

/// `metrics.k8s.io/v1beta1` PodMetrics, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    timestamp: Option<Time>,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Clone, Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, ApiQuantity>,
}

impl From<PodMetrics> for PodUse {
    fn from(metrics: PodMetrics) -> Self {
        let at = metrics.timestamp.map_or(Timestamp::UNIX_EPOCH, |it| it.0);
        let sample = |usage: &BTreeMap<String, ApiQuantity>| Use {
            cpu: usage.get("cpu").and_then(parse).as_ref().map(MilliCpu::from),
            memory: usage.get("memory").and_then(parse).as_ref().map(Bytes::from),
            ..Use::at(at)
        };
        Self {
            namespace: metrics.metadata.namespace.unwrap_or_default(),
            name: metrics.metadata.name.unwrap_or_default(),
            containers: metrics.containers.into_iter().map(|it| (it.name, sample(&it.usage))).collect(),
        }
    }
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics"), "pods")
}

/// What every pod uses.
///
/// # Errors
/// 404 where the cluster has no metrics server, 403 where it may not be asked.
pub async fn of_all(client: &Client) -> Result<Vec<PodUse>, kube::Error> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource());
    Ok(api.list(&ListParams::default()).await?.into_iter().filter_map(read).collect())
}

/// What one pod uses; `None` while it has not been measured.
///
/// # Errors
/// As [`of_all`].
pub async fn of_pod(client: &Client, namespace: &str, name: &str) -> Result<Option<PodUse>, kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource());
    Ok(api.get_opt(name).await?.and_then(read))
}

/// Why there is no usage, in a sentence.
pub fn blindness(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_not_found() => {
            "the cluster has no metrics.k8s.io (is metrics-server installed?)".to_owned()
        }
        kube::Error::Api(status) => format!("usage may not be read: {}", status.message),
        error => format!("usage cannot be read: {error}"),
    }
}

fn read(object: DynamicObject) -> Option<PodUse> {
    let mut value = object.data;
    value.as_object_mut()?.insert("metadata".to_owned(), serde_json::to_value(object.metadata).ok()?);
    serde_json::from_value::<PodMetrics>(value).ok().map(PodUse::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_read() {
        let object = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
            "metadata": {"namespace": "d", "name": "p"},
            "timestamp": "2026-01-01T00:00:00Z", "window": "10s",
            "containers": [{"name": "c", "usage": {"cpu": "12345678n", "memory": "1024Ki"}}],
        });
        let used = read(serde_json::from_value(object).unwrap()).unwrap();
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let sample = Use { cpu: Some(MilliCpu(13)), memory: Some(Bytes(1 << 20)), ..Use::at(at) };
        assert_eq!((used.name.as_str(), used.containers["c"]), ("p", sample));
    }

    #[test]
    fn an_object_of_another_shape_is_passed_over() {
        let object = json!({"metadata": {"name": "p"}, "containers": "none"});
        assert_eq!(read(serde_json::from_value(object).unwrap()), None);
    }
}
