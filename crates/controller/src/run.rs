//! The loop's thin edge: watches become events, effects become requests. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::act::{Order, Wish, carry_out};
use crate::event::{Effect, Ended, Event, PodKey, Request};
use crate::judge::Policy;
use crate::reason::Reason;
use crate::snapshot::Snapshot;
use crate::world::{ENABLED, World};
use crate::{record, usage};
use supple_decide::note::Author;

/// Where time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the loop is run with.
#[derive(Clone)]
pub struct Options {
    /// How often to measure and decide.
    pub interval: Duration,
    /// How to judge.
    pub policy: Policy,
    /// How long a resize is watched; one that is still deferred then is left to the node and looked at again later.
    pub settle: Duration,
    /// Where time comes from.
    pub clock: Clock,
}

/// Ends of resizes and answers on usage that wait to be taken in: one a pod under way and one measurement, and the
/// embedded cluster's node takes 110 pods.
const QUEUE: usize = 256;

/// How often a snapshot is made at most. Every status of every pod is an event, and nobody reads faster than this.
const REDRAW: Duration = Duration::from_millis(250);

/// How long the end of the loop waits for events that are being written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Run until told to stop. Snapshots are published to `rows`; nobody needs to look at them.
pub async fn run(client: Client, options: Options, rows: watch::Sender<Snapshot>, stop: CancellationToken) {
    let Options { interval, policy, settle, clock } = options;
    let mut world = World::new(policy);
    let (answers, mut answered) = mpsc::channel(QUEUE);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut redraws = tokio::time::interval(REDRAW);
    redraws.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stale = false;
    let mut watched = futures::stream::select(pods(&client), namespaces(&client));
    let (mut tasks, mut telling) = (JoinSet::new(), JoinSet::new());
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => Event::Tick,
            _ = redraws.tick(), if stale => {
                stale = false;
                let now = world.snapshot(clock());
                rows.send_if_modified(|shown| {
                    let changed = *shown != now;
                    *shown = now;
                    changed
                });
                continue;
            }
            Some(event) = watched.next() => event,
            Some(event) = answered.recv() => event,
            Some(_) = tasks.join_next() => continue,
            Some(_) = telling.join_next() => continue,
        };
        let now = clock();
        for effect in world.apply(event, now) {
            let (client, answers, clock) = (client.clone(), answers.clone(), clock.clone());
            match effect {
                Effect::Measure => drop(tasks.spawn(async move {
                    let usage = usage::of_all(&client).await.map_err(|error| blindness(&error));
                    let _ = answers.send(Event::Usage(usage)).await; // nobody listens any more: the loop has ended
                })),
                Effect::Resize(request) => drop(tasks.spawn(async move {
                    let ended = resize(&client, request, settle, &clock).await;
                    let _ = answers.send(Event::Ended(ended)).await;
                })),
                Effect::Tell(told) => drop(telling.spawn(async move { record::tell(&client, &told).await })),
            }
        }
        stale = true;
    }
    // Resizes under way are let go: the node carries them on, and their notes are on the pods. What has happened is
    // still told, if that does not take long.
    let _ = tokio::time::timeout(LAST_WORDS, telling.join_all()).await;
}

/// Why there is no usage, in a sentence.
fn blindness(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.is_not_found() => {
            "the cluster has no metrics.k8s.io (is metrics-server installed?)".to_owned()
        }
        kube::Error::Api(status) => format!("usage may not be read: {}", status.message),
        error => format!("usage cannot be read: {error}"),
    }
}

async fn resize(client: &Client, request: Request, settle: Duration, clock: &Clock) -> Ended {
    let Request { pod, change, why } = request;
    let order = Order {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: Some(pod.uid.clone()),
        wish: Wish::Change(change),
        by: Author::Controller,
        wait: Some(settle),
        dry_run: false,
    };
    match carry_out(client, &order, clock.as_ref(), &mut |_| {}).await {
        Ok(outcome) => {
            let message = format!("{}: {why}", outcome.message);
            Ended { pod, reason: outcome.reason, message }
        }
        Err(error) => Ended { pod, reason: Reason::Failed, message: format!("the cluster cannot be reached: {error}") },
    }
}

fn pods(client: &Client) -> BoxStream<'static, Event> {
    let mut listed: Vec<PodKey> = Vec::new();
    events(Api::<Pod>::all(client.clone()), "pods")
        .filter_map(move |event| {
            let event = match event.modify(slim) {
                watcher::Event::Init => {
                    listed.clear();
                    None
                }
                watcher::Event::InitApply(pod) => {
                    listed.push(PodKey::of(&pod));
                    Some(Event::Pod(Box::new(pod)))
                }
                watcher::Event::InitDone => Some(Event::PodsListed(std::mem::take(&mut listed))),
                watcher::Event::Apply(pod) => Some(Event::Pod(Box::new(pod))),
                watcher::Event::Delete(pod) => Some(Event::PodGone(PodKey::of(&pod))),
            };
            std::future::ready(event)
        })
        .boxed()
}

/// Without what the loop never reads. Managed fields are half of a pod; of them only who resized it matters.
fn slim(pod: &mut Pod) {
    pod.managed_fields_mut().retain(|it| it.subresource.as_deref() == Some("resize"));
    for entry in pod.managed_fields_mut() {
        entry.fields_v1 = None;
    }
}

fn namespaces(client: &Client) -> BoxStream<'static, Event> {
    events(Api::<Namespace>::all(client.clone()), "namespaces")
        .filter_map(|event| {
            std::future::ready(match event {
                watcher::Event::Apply(namespace) | watcher::Event::InitApply(namespace) => Some(Event::Namespace {
                    name: namespace.name_any(),
                    enabled: namespace.labels().get(ENABLED).is_some_and(|it| it == "true"),
                }),
                watcher::Event::Delete(namespace) => Some(Event::NamespaceGone(namespace.name_any())),
                watcher::Event::Init | watcher::Event::InitDone => None,
            })
        })
        .boxed()
}

/// A watch that goes on for ever; what interrupts it is logged, a refusal so that it is seen.
fn events<K>(api: Api<K>, what: &'static str) -> impl Stream<Item = watcher::Event<K>>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).default_backoff().filter_map(move |event| {
        std::future::ready(match event {
            Ok(event) => Some(event),
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) => {
                tracing::warn!(message = status.message, "{what} cannot be listed; tried again");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "the watch of {what} is being resumed");
                None
            }
        })
    })
}
