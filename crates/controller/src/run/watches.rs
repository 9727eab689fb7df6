//! The watches: each kind that is read, told as events that never end.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::event::Event;
use crate::rules::{Available, RuleNews};
use crate::view::News;

/// How often a cluster that lacks some kinds is asked again whether it has them now.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How many objects are listed at once. Whole pods take some twenty thousand bytes each while a page of them is read.
const PAGE: u32 = 100;

/// How soon a cluster that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// The minor version of the cluster, once it has said it: what its nodes can do is not decided without it.
async fn version(client: Client, out: mpsc::Sender<Event>) {
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                let minor = version.minor.trim_end_matches('+').parse().ok();
                let _ = out.send(Event::Version(minor)).await; // nobody listens any more: the loop has ended
                return;
            }
            Err(error) => tracing::debug!(%error, "the cluster does not say its version; asked again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Begin all of them.
pub fn begin(client: &Client, out: &mpsc::Sender<Event>, tasks: &mut JoinSet<()>) {
    watch(client, out, tasks, "pods", slim, |it| news(News::Pod(it)));
    watch(client, out, tasks, "nodes", bare, |it| news(News::Node(it)));
    watch(client, out, tasks, "namespaces", bare, |it| news(News::Namespace(it)));
    watch(client, out, tasks, "limit ranges", bare, |it| news(News::LimitRange(it)));
    watch(client, out, tasks, "resource quotas", bare, |it| news(News::ResourceQuota(it)));
    watch(client, out, tasks, "deployments", bare, |it| news(News::Deployment(it)));
    watch(client, out, tasks, "stateful sets", bare, |it| news(News::StatefulSet(it)));
    watch(client, out, tasks, "daemon sets", bare, |it| news(News::DaemonSet(it)));
    watch(client, out, tasks, "jobs", bare, |it| news(News::Job(it)));
    watch(client, out, tasks, "cron jobs", bare, |it| news(News::CronJob(it)));
    watch(client, out, tasks, "horizontal pod autoscalers", bare, |it| news(News::Scaler(it)));
    watch(client, out, tasks, "pod disruption budgets", bare, |it| news(News::Budget(it)));
    tasks.spawn(version(client.clone(), out.clone()));
    tasks.spawn(optional(client.clone(), out.clone()));
}

fn news(news: News) -> Event {
    Event::News(Box::new(news))
}

fn rules(news: RuleNews) -> Event {
    Event::Rules(Box::new(news))
}

/// Without what is never read. Managed fields are half of a pod; of them only who resized it matters.
fn slim(pod: &mut Pod) {
    pod.managed_fields_mut().retain(|it| it.subresource.as_deref() == Some("resize"));
    for entry in pod.managed_fields_mut() {
        entry.fields_v1 = None;
    }
}

fn bare<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// The kinds that a cluster may lack: they are watched as soon as it has them.
async fn optional(client: Client, out: mpsc::Sender<Event>) {
    let mut tasks = JoinSet::new();
    let mut watched = Available::default();
    let mut told = false;
    loop {
        let ours = has(&client, "supple.dev", "v1alpha1", "Rightsizing").await;
        let autoscalers = has(&client, "autoscaling.k8s.io", "v1", "VerticalPodAutoscalerCheckpoint").await;
        // What has been there is not taken to be gone: its watch says what is.
        let (Some(ours), Some(autoscalers)) = (ours, autoscalers) else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let now = Available { ours: ours || watched.ours, autoscalers: autoscalers || watched.autoscalers };
        if (now != watched || !told) && out.send(rules(RuleNews::Available(now))).await.is_err() {
            return;
        }
        told = true;
        if now.ours && !watched.ours {
            watch(&client, &out, &mut tasks, "rightsizing policies", bare, |it| rules(RuleNews::Policy(it)));
            watch(&client, &out, &mut tasks, "cluster policies", bare, |it| rules(RuleNews::ClusterPolicy(it)));
            watch(&client, &out, &mut tasks, "rightsizings", bare, |it| rules(RuleNews::Rightsizing(it)));
        }
        if now.autoscalers && !watched.autoscalers {
            watch(&client, &out, &mut tasks, "vertical pod autoscalers", bare, |it| rules(RuleNews::Autoscaler(it)));
            watch(&client, &out, &mut tasks, "their checkpoints", bare, |it| rules(RuleNews::Checkpoint(it)));
        }
        watched = now;
        if watched.ours && watched.autoscalers {
            while tasks.join_next().await.is_some() {}
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Whether the cluster serves the kind; `None`: it did not say. To take that for a no would be to decide without what we wrote
/// down ourselves, and to write over it.
async fn has(client: &Client, group: &str, version: &str, kind: &str) -> Option<bool> {
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk(&kind);
    match client.list_api_group_resources(&resource.api_version).await {
        Ok(listed) => Some(listed.resources.iter().any(|it| it.kind == kind.kind)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Some(false),
        Err(error) => {
            tracing::debug!(%error, group, "the cluster does not say what it serves; asked again");
            None
        }
    }
}

/// A watch that goes on for ever; what interrupts it is logged, a refusal so that it is seen.
fn watch<K>(
    client: &Client,
    out: &mpsc::Sender<Event>,
    tasks: &mut JoinSet<()>,
    what: &'static str,
    slim: fn(&mut K),
    event: fn(watcher::Event<K>) -> Event,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api = Api::<K>::all(client.clone());
    let out = out.clone();
    tasks.spawn(async move {
        let mut events = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff().boxed();
        while let Some(next) = events.next().await {
            match next {
                Ok(next) => {
                    if out.send(event(next.modify(slim))).await.is_err() {
                        return;
                    }
                }
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) => {
                    tracing::warn!(message = status.message, "{what} cannot be listed; tried again");
                }
                Err(error) => tracing::debug!(%error, "the watch of {what} is being resumed"),
            }
        }
    });
}
