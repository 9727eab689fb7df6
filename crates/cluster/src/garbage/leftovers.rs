//! What nobody deletes by hand: old events, pods of a node that is gone, and finished pods beyond count.
//!
//! It looks at everything every few seconds, so it keeps what it looks at: of each object the few fields that decide. A list
//! of twenty thousand pods each time would be most of what an idle cluster does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use supple_node::{Fed, Followed, Told};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::ClusterClock;

/// How often the garbage is looked for. The first round comes at once, for what an earlier start left behind.
const EVERY: Duration = Duration::from_secs(10);

/// How long an event is kept, as in the reference (`--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// How many finished pods are kept, as in the reference (`--terminated-pod-gc-threshold`).
const FINISHED_PODS: usize = 12_500;

/// An event, as far as it matters here.
#[derive(Clone, Debug, Deserialize, Resource)]
#[serde(rename_all = "camelCase")]
#[resource(inherit = "Event")]
struct Noted {
    metadata: ObjectMeta,
    last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
    series: Option<EventSeries>,
}

/// The objects of a kind by namespace and name, each with what is kept of it.
struct Kept<T> {
    objects: HashMap<Name, T>,
    /// While they are being listed: those that have been named.
    listing: Option<HashMap<Name, T>>,
    listed: bool,
}

/// Namespace and name.
type Name = (Box<str>, Box<str>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), listing: None, listed: false }
    }
}

impl<T> Kept<T> {
    /// Take a change in; `name` says which object it is about, `keep` what is kept of it.
    fn take<K>(&mut self, event: watcher::Event<K>, name: impl Fn(&K) -> Name, mut keep: impl FnMut(&K) -> T) {
        match event {
            watcher::Event::Init => self.listing = Some(HashMap::new()),
            watcher::Event::InitApply(object) => {
                self.listing.get_or_insert_default().insert(name(&object), keep(&object));
            }
            watcher::Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.listed = true;
            }
            watcher::Event::Apply(object) => drop(self.objects.insert(name(&object), keep(&object))),
            watcher::Event::Delete(object) => drop(self.objects.remove(&name(&object))),
        }
    }
}

fn named(meta: &ObjectMeta) -> Name {
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    (namespace.unwrap_or_default().into(), name.unwrap_or_default().into())
}

/// A pod, as far as it matters here.
#[derive(Clone)]
struct Placed {
    pod: Followed,
    /// Where it is bound to.
    node: Option<Arc<str>>,
    is_finished: bool,
}

impl Placed {
    fn of(followed: &Followed, nodes: &mut BTreeSet<Arc<str>>) -> Self {
        let pod = followed.pod();
        let node = pod.spec.as_ref().and_then(|it| it.node_name.as_deref()).filter(|it| !it.is_empty());
        let node = node.map(|name| match nodes.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::<str>::from(name);
                nodes.insert(Arc::clone(&new));
                new
            }
        });
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        Self { pod: followed.at_rest(), node, is_finished: matches!(phase, Some("Succeeded" | "Failed")) }
    }
}

/// Everything it looks at.
#[derive(Default)]
struct Sights {
    pods: Kept<Placed>,
    /// The names of nodes that pods are bound to: each once, for thousands of pods have the same.
    bound_to: BTreeSet<Arc<str>>,
    /// When each event happened last.
    events: Kept<Option<Timestamp>>,
    nodes: Kept<()>,
}

impl Sights {
    fn take(&mut self, change: Change) {
        match change {
            Change::Pod(event) => {
                let bound_to = &mut self.bound_to;
                self.pods.take(event, |it| named(&it.pod().metadata), |it| Placed::of(it, bound_to));
            }
            Change::Event(event) => self.events.take(event, |it| named(&it.metadata), happened),
            Change::Node(event) => self.nodes.take(event, |it| named(&it.metadata), |_| ()),
        }
    }

    fn are_listed(&self) -> bool {
        self.pods.listed && self.events.listed && self.nodes.listed
    }
}

enum Change {
    Pod(Told),
    Event(watcher::Event<Noted>),
    Node(watcher::Event<PartialObjectMeta<Node>>),
}

/// Collect until told to stop.
pub(crate) async fn run(client: Client, pods: Fed, clock: ClusterClock, stop: CancellationToken) {
    let sources = [pods.map(Change::Pod).boxed(), watched(&client, Change::Event), watched(&client, Change::Node)];
    let mut changes = futures::stream::select_all(sources);
    let mut sights = Sights::default();
    let mut rounds = tokio::time::interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(change) = changes.next() => sights.take(change),
            _ = rounds.tick(), if sights.are_listed() => {
                let round = round(&client, &sights, clock());
                match stop.run_until_cancelled(round).await {
                    None => return,
                    Some(Err(error)) => tracing::debug!(%error, "collect garbage; will retry in the next round"),
                    Some(Ok(())) => {}
                }
            }
        }
    }
}

/// All objects of a kind, as they come and change.
fn watched<K>(client: &Client, change: fn(watcher::Event<K>) -> Change) -> BoxStream<'static, Change>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let changes = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let told = changes.filter_map(move |event| {
        let event = event.inspect_err(|error| tracing::debug!(%error, "resuming a watch of the garbage collector"));
        std::future::ready(event.ok().map(change))
    });
    told.boxed()
}

async fn round(client: &Client, sights: &Sights, now: Timestamp) -> Result<(), kube::Error> {
    for (namespace, name) in sights.events.objects.iter().filter(|(_, last)| is_old(**last, now)).map(|(name, _)| name)
    {
        let api = Api::<Event>::namespaced(client.clone(), namespace);
        gone_is_fine(api.delete(name, &DeleteParams::default()).await)?;
    }
    let pods: Vec<&Placed> = sights.pods.objects.values().collect();
    let known: BTreeSet<&str> = sights.nodes.objects.keys().map(|(_, name)| &**name).collect();
    for node in lost(&pods, &known) {
        // The two watches do not run in step: a node may be as new as its first pod.
        let nodes = Api::<Node>::all(client.clone());
        if nodes.get_metadata_opt(node).await?.is_some() {
            continue;
        }
        for it in pods.iter().filter(|it| it.node.as_deref() == Some(node)) {
            let pod = it.pod.pod();
            tracing::info!(pod = pod.name_any(), "delete a pod whose node is gone");
            delete_now(client, &pod).await?;
        }
    }
    for pod in excess(&pods, FINISHED_PODS) {
        delete_now(client, &pod).await?;
    }
    Ok(())
}

/// Nodes that pods are bound to and that are not there.
fn lost<'a>(pods: &[&'a Placed], known: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    pods.iter().filter_map(|it| it.node.as_deref()).filter(|it| !known.contains(it)).collect()
}

/// When an event happened last.
fn happened(event: &Noted) -> Option<Timestamp> {
    event
        .last_timestamp
        .as_ref()
        .map(|it| it.0)
        .or_else(|| event.series.as_ref()?.last_observed_time.as_ref().map(|it| it.0))
        .or_else(|| event.event_time.as_ref().map(|it| it.0))
        .or_else(|| event.creation_timestamp().map(|it| it.0))
}

fn is_old(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_some_and(|last| now.duration_since(last).unsigned_abs() > EVENT_TTL && last < now)
}

/// The oldest of the finished pods, as many as there are above `keep`.
fn excess(pods: &[&Placed], keep: usize) -> Vec<Arc<Pod>> {
    let finished = || pods.iter().filter(|it| it.is_finished);
    let count = finished().count().saturating_sub(keep);
    if count == 0 {
        return Vec::new(); // nearly always, and nobody need be decoded
    }
    let mut finished: Vec<Arc<Pod>> = finished().map(|it| it.pod.pod()).collect();
    finished.sort_by_key(|it| (it.creation_timestamp(), it.namespace(), it.name_any()));
    finished.truncate(count);
    finished
}

/// Delete without waiting for a node, and only this very pod: one of the same name may have come since.
async fn delete_now(client: &Client, pod: &Pod) -> Result<(), kube::Error> {
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
        assert_eq!(is_old(happened(&serde_json::from_value(event).unwrap()), now), expect);
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

    fn placed(pod: serde_json::Value) -> Placed {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Placed::of(&Followed::from(Arc::new(pod)), &mut BTreeSet::new())
    }

    #[test]
    fn the_oldest_finished_pods_go() {
        let pod = |name: &str, phase: &str, created: &str| {
            placed(json!({"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase}}))
        };
        let pods = [
            pod("new", "Failed", "2026-01-03T00:00:00Z"),
            pod("running", "Running", "2026-01-01T00:00:00Z"),
            pod("old", "Succeeded", "2026-01-01T00:00:00Z"),
        ];
        let pods: Vec<&Placed> = pods.iter().collect();
        let names = |keep| excess(&pods, keep).iter().map(|it| it.name_any()).collect::<Vec<_>>();
        assert_eq!(names(1), ["old"]);
        assert_eq!(names(2), Vec::<String>::new());
    }

    #[test]
    fn pods_of_nodes_that_are_not_there_are_noticed() {
        let pod = |node: serde_json::Value| {
            placed(json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "containers": []}}))
        };
        let pods = [pod(json!("a")), pod(json!("gone")), pod(json!("")), pod(json!(null))];
        assert_eq!(lost(&pods.iter().collect::<Vec<_>>(), &["a"].into()), ["gone"].into());
    }
}
