//! Usage from `metrics.k8s.io`: the type as it comes, and the plain use it becomes.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::pin::Pin;

use futures::{AsyncRead, AsyncReadExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use supple_quantity::{Bytes, MilliCpu};

use supple_decide::need::{Use, Uses};
use supple_decide::numbers::parse;

/// More than a cluster of 150,000 pods tells; what is longer is not read to its end.
const LONGEST_ANSWER: u64 = 256 << 20;

/// What one pod used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUse {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// Per container.
    pub containers: Uses,
}

/// A list of `metrics.k8s.io/v1beta1` PodMetrics, as far as it is read: twenty thousand of them come in one answer, which has
/// no pages, and what nobody reads of it (labels, windows) would be most of the memory. Each item becomes what is kept of it,
/// and goes where it is wanted, before the next one is read.
struct List<'a, E>(&'a mut E);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Items,
    #[serde(other)]
    Other,
}

impl<'de, E: Extend<PodUse>> DeserializeSeed<'de> for List<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<(), D::Error> {
        list.deserialize_map(self)
    }
}

impl<'de, E: Extend<PodUse>> Visitor<'de> for List<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of PodMetrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(field) = list.next_key()? {
            match field {
                Field::Items => list.next_value_seed(Items(&mut *self.0))?,
                Field::Other => drop(list.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Its items.
struct Items<'a, E>(&'a mut E);

impl<'de, E: Extend<PodUse>> DeserializeSeed<'de> for Items<'_, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, items: D) -> Result<(), D::Error> {
        items.deserialize_any(self)
    }
}

impl<'de, E: Extend<PodUse>> Visitor<'de> for Items<'_, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of PodMetrics")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Item>()? {
            self.0.extend(item.used());
        }
        Ok(())
    }

    /// `null`: a list of nothing, as Go writes it.
    fn visit_unit<Error>(self) -> Result<(), Error> {
        Ok(())
    }
}

/// An item; one of another shape is passed over.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Item {
    Read(PodMetrics),
    Other(IgnoredAny),
}

/// One of them.
#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: Identity,
    timestamp: Option<Time>,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct Identity {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: Amounts,
}

#[derive(Debug, Deserialize)]
struct Amounts {
    cpu: Option<ApiQuantity>,
    memory: Option<ApiQuantity>,
}

impl From<PodMetrics> for PodUse {
    fn from(metrics: PodMetrics) -> Self {
        let at = metrics.timestamp.map_or(Timestamp::UNIX_EPOCH, |it| it.0);
        let sample = |usage: &Amounts| Use {
            cpu: usage.cpu.as_ref().and_then(parse).as_ref().map(MilliCpu::from),
            memory: usage.memory.as_ref().and_then(parse).as_ref().map(Bytes::from),
            ..Use::at(at)
        };
        let Identity { namespace, name } = metrics.metadata;
        Self {
            namespace,
            name,
            containers: metrics.containers.into_iter().map(|it| (it.name.into(), sample(&it.usage))).collect(),
        }
    }
}

impl Item {
    fn used(self) -> Option<PodUse> {
        match self {
            Self::Read(metrics) => Some(metrics.into()),
            Self::Other(IgnoredAny) => None,
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
    into(client, Vec::new()).await
}

/// What every pod uses, one after the other, as the answer comes in.
///
/// # Errors
/// As [`of_all`]; an answer that breaks off has told of some pods by then.
pub async fn into<E: Extend<PodUse> + Send + 'static>(client: &Client, all: E) -> Result<E, kube::Error> {
    let request = http::Request::get("/apis/metrics.k8s.io/v1beta1/pods").body(Vec::new());
    let answer = client.request_stream(request.map_err(kube::Error::HttpError)?).await?;
    // Read as it comes, on a thread that may wait for it: at no time is the whole text there.
    let answer = Waiting { answer: Box::pin(answer), runtime: tokio::runtime::Handle::current() };
    let text = BufReader::new(answer.take(LONGEST_ANSWER));
    let read = tokio::task::spawn_blocking(move || {
        let mut all = all;
        let mut text = serde_json::Deserializer::from_reader(text);
        List(&mut all).deserialize(&mut text)?;
        text.end().map(|()| all)
    });
    match read.await {
        Ok(all) => all.map_err(kube::Error::SerdeError),
        Err(error) => Err(kube::Error::Service(error.into())),
    }
}

/// An answer that is still coming in, for a reader that waits.
struct Waiting<A> {
    answer: Pin<Box<A>>,
    runtime: tokio::runtime::Handle,
}

impl<A: AsyncRead> Read for Waiting<A> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.answer.read(buffer))
    }
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
        // By its code: what nobody serves is answered with a page, which has no reason.
        kube::Error::Api(status) if status.code == 404 => {
            "the cluster has no metrics.k8s.io (is metrics-server installed?)".to_owned()
        }
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            format!("no permission to read usage: {}", status.message)
        }
        // As the API server answers for whoever should: here, and nowhere else.
        kube::Error::Api(status) if status.code == 503 => {
            format!("metrics.k8s.io is not available (is metrics-server running?): {}", status.message.trim_end())
        }
        kube::Error::Api(status) => format!("cannot read usage: {}", status.message.trim_end()),
        error => format!("cannot read usage: {error}"),
    }
}

fn read(object: DynamicObject) -> Option<PodUse> {
    let mut value = object.data;
    value.as_object_mut()?.insert("metadata".to_owned(), serde_json::to_value(object.metadata).ok()?);
    serde_json::from_value::<PodMetrics>(value).ok().map(PodUse::from)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_without_metrics_is_told_so() {
        // What a client makes of the page that a real API server has for a group that nobody serves.
        let page = Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        let status = Status::failure("the server could not find the requested resource", "NotFound").with_code(404);
        for answer in [page, status] {
            let said = blindness(&kube::Error::Api(Box::new(answer)));
            assert_eq!(said, "the cluster has no metrics.k8s.io (is metrics-server installed?)");
        }
    }

    #[test]
    fn only_who_may_not_is_told_that() {
        for (code, expect) in [
            (401, "no permission to read usage: m"),
            (403, "no permission to read usage: m"),
            (429, "cannot read usage: m"),
            (500, "cannot read usage: m"),
            (503, "metrics.k8s.io is not available (is metrics-server running?): m"),
        ] {
            let status = Status::failure("m\n", "").with_code(code);
            assert_eq!(blindness(&kube::Error::Api(Box::new(status))).trim_end(), expect, "{code}");
        }
    }

    fn of(text: &str, at: &str) -> Use {
        let (cpu, memory) = text.split_once(' ').unwrap();
        let (cpu, memory) = (cpu.parse().unwrap(), memory.parse().unwrap());
        Use { cpu: Some(MilliCpu(cpu)), memory: Some(Bytes(memory)), ..Use::at(at.parse().unwrap()) }
    }

    #[test]
    fn metrics_are_read_and_items_of_another_shape_passed_over() {
        let list = json!({
            "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {},
            "items": [
                {
                    "metadata": {"namespace": "d", "name": "p", "labels": {"app": "a"}},
                    "timestamp": "2026-01-01T00:00:00Z", "window": "10s",
                    "containers": [{"name": "c", "usage": {"cpu": "12345678n", "memory": "1024Ki"}}],
                },
                {"metadata": {"name": "p"}, "containers": "none"},
                "nothing",
                {"metadata": {"name": "q"}, "containers": [{"name": "c", "usage": {"cpu": "much"}}]},
            ],
        });
        let mut used = Vec::new();
        List(&mut used).deserialize(list).unwrap();
        assert_eq!(used.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["p", "q"]);
        assert_eq!(used[0].containers.get("c"), Some(&of("13 1048576", "2026-01-01T00:00:00Z")));
        assert_eq!(used[1].containers.get("c"), Some(&Use::at(Timestamp::UNIX_EPOCH)));
        for nothing in [json!({"kind": "PodMetricsList"}), json!({"items": null}), json!({"items": []})] {
            let mut used = Vec::new();
            List(&mut used).deserialize(nothing).unwrap();
            assert_eq!(used, []);
        }
        assert!(List(&mut Vec::new()).deserialize(json!({"items": "none"})).is_err());
    }

    #[test]
    fn the_metrics_of_one_pod_are_read() {
        let object = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
            "metadata": {"namespace": "d", "name": "p"},
            "timestamp": "2026-01-01T00:00:00Z", "window": "10s",
            "containers": [{"name": "c", "usage": {"cpu": "12345678n", "memory": "1024Ki"}}],
        });
        let used = read(serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!(used.name, "p");
        assert_eq!(used.containers.get("c"), Some(&of("13 1048576", "2026-01-01T00:00:00Z")));
        assert_eq!(
            read(serde_json::from_value(json!({"metadata": {"name": "p"}, "containers": "none"})).unwrap()),
            None
        );
    }
}
