//! What nobody deletes by hand: old events, pods of a node that is gone, and finished pods beyond count.
//!
//! It looks at everything every few seconds, so it keeps what it looks at: of each object the few fields that decide. A list
//! of twenty thousand pods each time would be most of what an idle cluster does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::ClusterClock;

/// How often the garbage is looked for. The first round comes at once, for what an earlier start left behind.
const EVERY: Duration = Duration::from_secs(10);

/// How long an event is kept, as in the reference (`--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// How many finished pods are kept, as in the reference (`--terminated-pod-gc-threshold`).
const FINISHED_PODS: usize = 12_500;

/// A pod, as far as it matters here.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "Pod")]
struct Held {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: HeldSpec,
    #[serde(default)]
    status: HeldStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldSpec {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct HeldStatus {
    phase: Option<String>,
}

/// An event likewise.
#[derive(Clone, Debug, Deserialize, Resource)]
#[serde(rename_all = "camelCase")]
#[resource(inherit = "Event")]
struct Noted {
    metadata: ObjectMeta,
    last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
    series: Option<EventSeries>,
}

/// Everything it looks at.
struct Sights {
    pods: Store<Held>,
    events: Store<Noted>,
    nodes: Store<PartialObjectMeta<Node>>,
}

/// Collect until told to stop.
pub(crate) async fn run(client: Client, clock: ClusterClock, stop: CancellationToken) {
    let (pods, of_pods) = reflected(&client);
    let (events, of_events) = reflected(&client);
    let (nodes, of_nodes) = reflected(&client);
    let sights = Sights { pods, events, nodes };
    let sources = [of_pods, of_events, of_nodes];
    let mut unlisted = sources.len();
    let mut changes = futures::stream::select_all(sources);
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(listed) = changes.next() => unlisted = unlisted.saturating_sub(usize::from(listed)),
            _ = rounds.tick(), if unlisted == 0 => {
                let round = round(&client, &sights, clock());
                match stop.run_until_cancelled(round).await {
                    None => return,
                    Some(Err(error)) => tracing::debug!(%error, "collect garbage; tried again in the next round"),
                    Some(Ok(())) => {}
                }
            }
        }
    }
}

/// All objects of a kind, without what is not looked at; and the stream that keeps them, which says each time whether a
/// list has just been completed.
fn reflected<K>(client: &Client) -> (Store<K>, BoxStream<'static, bool>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes =
        watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().modify(|object| {
            let meta = object.meta_mut();
            (meta.managed_fields, meta.labels, meta.annotations, meta.owner_references) = (None, None, None, None);
        });
    let told = changes.reflect(writer).map(|change| match change {
        Ok(change) => matches!(change, watcher::Event::InitDone),
        Err(error) => {
            tracing::debug!(%error, "a watch of the garbage collector is being resumed");
            false
        }
    });
    (store, told.boxed())
}

async fn round(client: &Client, sights: &Sights, now: Timestamp) -> Result<(), kube::Error> {
    for event in sights.events.state().iter().filter(|it| is_old(it, now)) {
        let api = Api::<Event>::namespaced(client.clone(), &event.namespace().unwrap_or_default());
        gone_is_fine(api.delete(&event.name_any(), &DeleteParams::default()).await)?;
    }
    let pods = sights.pods.state();
    let known: BTreeSet<String> = sights.nodes.state().iter().map(|it| it.name_any()).collect();
    for node in lost(&pods, &known) {
        // The two watches do not run in step: a node may be as new as its first pod.
        let nodes = Api::<Node>::all(client.clone());
        if nodes.get_metadata_opt(&node).await?.is_some() {
            continue;
        }
        for pod in pods.iter().filter(|it| it.spec.node_name.as_deref() == Some(&node)) {
            tracing::info!(pod = pod.name_any(), "delete a pod whose node is gone");
            delete_now(client, pod).await?;
        }
    }
    for pod in excess(pods, FINISHED_PODS) {
        delete_now(client, &pod).await?;
    }
    Ok(())
}

/// Nodes that pods are bound to and that are not there.
fn lost(pods: &[Arc<Held>], known: &BTreeSet<String>) -> BTreeSet<String> {
    let bound = pods.iter().filter_map(|it| it.spec.node_name.as_ref());
    bound.filter(|it| !it.is_empty() && !known.contains(*it)).cloned().collect()
}

fn is_old(event: &Noted, now: Timestamp) -> bool {
    let last = event
        .last_timestamp
        .as_ref()
        .map(|it| it.0)
        .or_else(|| event.series.as_ref()?.last_observed_time.as_ref().map(|it| it.0))
        .or_else(|| event.event_time.as_ref().map(|it| it.0))
        .or_else(|| event.creation_timestamp().map(|it| it.0));
    last.is_some_and(|last| now.duration_since(last).unsigned_abs() > EVENT_TTL && last < now)
}

/// The oldest of the finished pods, as many as there are above `keep`.
fn excess(pods: Vec<Arc<Held>>, keep: usize) -> Vec<Arc<Held>> {
    let finished = |pod: &Arc<Held>| matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let mut pods: Vec<Arc<Held>> = pods.into_iter().filter(finished).collect();
    pods.sort_by_key(|it| it.creation_timestamp());
    let count = pods.len().saturating_sub(keep);
    pods.truncate(count);
    pods
}

/// Delete without waiting for a node, and only this very pod: one of the same name may have come since.
async fn delete_now(client: &Client, pod: &Held) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    gone_is_fine(api.delete(&pod.name_any(), &params).await)
}

fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_old(event: serde_json::Value, expect: bool) {
        let mut event = event;
        event.as_object_mut().unwrap().entry("metadata").or_insert_with(|| json!({}));
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(is_old(&serde_json::from_value(event).unwrap(), now), expect);
    }

    #[test]
    fn events_live_for_an_hour() {
        check_old(json!({"lastTimestamp": "2026-01-01T10:59:59Z"}), true);
        check_old(json!({"lastTimestamp": "2026-01-01T11:00:01Z"}), false);
        check_old(json!({"lastTimestamp": "2026-01-01T14:00:00Z"}), false);
        check_old(json!({"eventTime": "2026-01-01T10:00:00.000000Z"}), true);
        check_old(json!({"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}}), true);
        check_old(json!({}), false);
    }

    #[test]
    fn the_oldest_finished_pods_go() {
        let pod = |name: &str, phase: &str, created: &str| -> Arc<Held> {
            let pod = json!({"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let pods = vec![
            pod("new", "Failed", "2026-01-03T00:00:00Z"),
            pod("running", "Running", "2026-01-01T00:00:00Z"),
            pod("old", "Succeeded", "2026-01-01T00:00:00Z"),
        ];
        let names = |keep| excess(pods.clone(), keep).iter().map(|it| it.name_any()).collect::<Vec<_>>();
        assert_eq!(names(1), ["old"]);
        assert_eq!(names(2), Vec::<String>::new());
    }

    #[test]
    fn pods_of_nodes_that_are_not_there_are_noticed() {
        let pod = |spec: serde_json::Value| -> Arc<Held> {
            Arc::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap())
        };
        let pods = [
            pod(json!({"nodeName": "a"})),
            pod(json!({"nodeName": "gone"})),
            pod(json!({"nodeName": ""})),
            pod(json!({})),
        ];
        assert_eq!(lost(&pods, &["a".to_owned()].into()), ["gone".to_owned()].into());
    }
}
