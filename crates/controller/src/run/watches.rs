//! The watches: each kind that is read, told as events that never end.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use supple_api::names;
use tokio::task::{JoinError, JoinSet};

use super::answers::Answers;
use crate::event::Event;
use crate::rules::{Available, RuleNews};
use crate::slim::SlimPod;
use crate::source::eviction::{EvictionEvent, SELECTED};
use crate::view::News;

/// How often a cluster that lacks some kinds is asked again whether it has them now.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How often the API server is asked whether it has become another version. An upgrade takes longer than that, and nothing that is
/// new in it is missed for so long.
const VERSION_AGAIN: Duration = Duration::from_secs(600);

/// How many objects are listed at once. A page is read as a whole, and what of it waits takes room.
const PAGE: u32 = 100;

/// How soon a cluster that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// The minor version of the API server, as often as it says another: what it takes is not decided without it, and it may be upgraded
/// while the loop runs.
async fn version(client: Client, out: Answers) {
    let mut told = None;
    loop {
        let again = match client.apiserver_version().await {
            Ok(version) => {
                let minor = version.minor.trim_end_matches('+').parse().ok();
                if told != Some(minor) && out.send(Event::Version(minor)).await.is_err() {
                    return; // nobody listens any more: the loop has ended
                }
                told = Some(minor);
                VERSION_AGAIN
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read the version of the cluster; will retry");
                if told.is_some() { VERSION_AGAIN } else { RETRY }
            }
        };
        tokio::time::sleep(again).await;
    }
}

/// Begin all of them.
pub fn begin(client: &Client, out: &Answers, tasks: &mut JoinSet<()>) {
    let mut watches = Watches { client, out, tasks };
    watches.streamed("pods", |it: watcher::Event<SlimPod>| news(News::Pod(whole(it))));
    watches.paged("nodes", |it| news(News::Node(it)));
    watches.paged("namespaces", |it| news(News::Namespace(it)));
    watches.paged("limit ranges", |it| news(News::LimitRange(it)));
    watches.paged("resource quotas", |it| news(News::ResourceQuota(it)));
    watches.paged("deployments", |it| news(News::Deployment(it)));
    watches.paged("stateful sets", |it| news(News::StatefulSet(it)));
    watches.paged("daemon sets", |it| news(News::DaemonSet(it)));
    watches.paged("jobs", |it| news(News::Job(it)));
    watches.paged("cron jobs", |it| news(News::CronJob(it)));
    watches.paged("horizontal pod autoscalers", |it| news(News::Scaler(it)));
    watches.paged("pod disruption budgets", |it| news(News::Budget(it)));
    tasks.spawn(version(client.clone(), out.clone()));
    tasks.spawn(optional(client.clone(), out.clone()));
}

/// Begin to watch what kubelets tell of pods that they evict. Nothing waits for it: who may not read events learns of evictions from
/// the status of pods alone.
pub fn evictions(client: &Client, out: &Answers, tasks: &mut JoinSet<()>) {
    let (api, out) = (Api::<EvictionEvent>::all(client.clone()), out.clone());
    tasks.spawn(async move {
        let event = |it| match it {
            watcher::Event::Apply(it) | watcher::Event::InitApply(it) => {
                EvictionEvent::eviction(&it).map(|it| Event::Evicted(Box::new(it)))
            }
            watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_) => None,
        };
        follow(&api, &out, pages().fields(SELECTED), "events of evictions", event).await;
    });
}

fn news(news: News) -> Option<Event> {
    Some(Event::News(Box::new(news)))
}

fn rules(news: RuleNews) -> Option<Event> {
    Some(Event::Rules(Box::new(news)))
}

/// Pods as all the others know them.
fn whole(event: watcher::Event<SlimPod>) -> watcher::Event<k8s_openapi::api::core::v1::Pod> {
    match event {
        watcher::Event::Apply(pod) => watcher::Event::Apply(pod.0),
        watcher::Event::Delete(pod) => watcher::Event::Delete(pod.0),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(pod) => watcher::Event::InitApply(pod.0),
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

/// The kinds that a cluster may lack: they are watched as soon as it has them.
async fn optional(client: Client, out: Answers) {
    let mut tasks = JoinSet::new();
    let mut watched = Available::default();
    let mut told = false;
    loop {
        let ours = has(&client, names::GROUP, names::VERSION, "Rightsizing").await;
        let autoscalers = has(&client, "autoscaling.k8s.io", "v1", "VerticalPodAutoscalerCheckpoint").await;
        // What has been there is not taken to be gone: its watch says what is.
        let (Some(ours), Some(autoscalers)) = (ours, autoscalers) else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let now = Available { ours: ours || watched.ours, autoscalers: autoscalers || watched.autoscalers };
        if (now != watched || !told) && out.send(Event::Rules(Box::new(RuleNews::Available(now)))).await.is_err() {
            return;
        }
        told = true;
        let mut watches = Watches { client: &client, out: &out, tasks: &mut tasks };
        if now.ours && !watched.ours {
            watches.paged("rightsizing policies", |it| rules(RuleNews::Policy(it)));
            watches.paged("cluster policies", |it| rules(RuleNews::ClusterPolicy(it)));
            watches.streamed("rightsizings", |it| rules(RuleNews::Rightsizing(bare(it))));
        }
        if now.autoscalers && !watched.autoscalers {
            watches.paged("vertical pod autoscalers", |it| rules(RuleNews::Autoscaler(it)));
            watches.paged("their checkpoints", |it| rules(RuleNews::Checkpoint(it)));
        }
        watched = now;
        if watched.ours && watched.autoscalers {
            while let Some(ended) = tasks.join_next().await {
                with_it(ended);
            }
            return;
        }
        let again = tokio::time::sleep(ASK_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                Some(ended) = tasks.join_next() => with_it(ended),
            }
        }
    }
}

/// Whoever began a watch that panics ends with it, so that the loop does.
fn with_it(ended: Result<(), JoinError>) {
    if let Some(panic) = ended.err().and_then(|it| it.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}

/// Whether the cluster serves the kind; `None`: it did not say. To take that for a no would be to decide without what we wrote
/// down ourselves, and to write over it.
async fn has(client: &Client, group: &str, version: &str, kind: &str) -> Option<bool> {
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk(&kind);
    match client.list_api_group_resources(&resource.api_version).await {
        Ok(listed) => Some(listed.resources.iter().any(|it| it.kind == kind.kind)),
        // By its code: a group that nobody serves is answered with a page (`404 page not found`), not with a status, and
        // what is no status has no reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Some(false),
        Err(error) => {
            tracing::debug!(%error, group, "cannot read which APIs the cluster serves; will retry");
            None
        }
    }
}

/// Without what is never read.
fn bare<K: Resource>(event: watcher::Event<K>) -> watcher::Event<K> {
    event.modify(|it| it.meta_mut().managed_fields = None)
}

/// What is watched.
trait Watched: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static {}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static> Watched for K {}

/// Where watches are begun; each goes on for ever.
struct Watches<'a> {
    client: &'a Client,
    out: &'a Answers,
    tasks: &'a mut JoinSet<()>,
}

impl Watches<'_> {
    /// One of what is listed in pages.
    fn paged<K: Watched>(&mut self, what: &'static str, event: fn(watcher::Event<K>) -> Option<Event>) {
        let (api, out) = (Api::<K>::all(self.client.clone()), self.out.clone());
        self.tasks.spawn(async move {
            follow(&api, &out, pages(), what, event).await;
        });
    }

    /// One that begins with what is there, one after the other (`sendInitialEvents`): thousands of objects are then read as they
    /// come, on one connection, and never a page of them is there at once. A cluster that does not stream lists is listed in pages.
    fn streamed<K: Watched>(&mut self, what: &'static str, event: fn(watcher::Event<K>) -> Option<Event>) {
        let (api, out) = (Api::<K>::all(self.client.clone()), self.out.clone());
        self.tasks.spawn(async move {
            let streams = watcher::Config::default().streaming_lists();
            if follow(&api, &out, streams, what, event).await == Followed::NotStreamed {
                tracing::debug!("the cluster does not stream {what}; they are listed in pages");
                follow(&api, &out, pages(), what, event).await;
            }
        });
    }
}

fn pages() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// Why a watch was left.
#[derive(PartialEq, Eq)]
enum Followed {
    /// Nobody listens any more.
    Unheard,
    /// The cluster does not know how to begin a watch with what is there.
    NotStreamed,
}

/// Follow a watch; what interrupts it is logged, a refusal so that it is seen.
async fn follow<K: Watched>(
    api: &Api<K>,
    out: &Answers,
    config: watcher::Config,
    what: &'static str,
    event: fn(watcher::Event<K>) -> Option<Event>,
) -> Followed {
    let is_streamed = config.initial_list_strategy == watcher::InitialListStrategy::StreamingList;
    let mut events = watcher(api.clone(), config).default_backoff().boxed();
    let mut refused = false;
    while let Some(next) = events.next().await {
        match next {
            Ok(next) => {
                refused = false;
                if let Some(event) = event(next)
                    && out.send(event).await.is_err()
                {
                    return Followed::Unheard;
                }
            }
            // Without the feature gate `WatchList` the option itself is refused.
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(status)))
                if is_streamed && matches!(status.code, 400 | 422) =>
            {
                return Followed::NotStreamed;
            }
            // With the gate, but on an etcd that cannot tell how far it is (before 3.4.25 and 3.5.8), the watch begins, and ends at
            // once with this event, every time.
            Err(watcher::Error::WatchError(status)) if is_streamed && status.code == 500 => {
                return Followed::NotStreamed;
            }
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if !std::mem::replace(&mut refused, true) => {
                tracing::warn!(message = status.message, "cannot list {what}; will retry");
            }
            Err(error) => tracing::debug!(%error, "resuming the watch of {what}"),
        }
    }
    Followed::Unheard
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Response, StatusCode};
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upgrade_of_the_api_server_is_told_and_what_it_was_before_is_told_once() {
        // What it answers, one after the other; nothing: it does not answer.
        const SAYS: [&str; 6] = ["", "35", "35", "", "36+", "37"];
        let asked = Arc::new(AtomicUsize::new(0));
        let service = service_fn(move |_: http::Request<Body>| {
            let minor = SAYS[asked.fetch_add(1, Ordering::Relaxed).min(SAYS.len() - 1)];
            let status = if minor.is_empty() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            let info = serde_json::json!({"major": "1", "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
            let answer = Response::builder().status(status).body(Body::from(info.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.expect("it is one")) }
        });
        let (answers, mut told) = Answers::new(8);
        let asking = tokio::spawn(version(Client::new(service, "default"), answers));
        let mut versions = Vec::new();
        while versions.last() != Some(&Some(37)) {
            let Some((_, Event::Version(minor))) = told.recv().await else { panic!("only versions are told") };
            versions.push(minor);
        }
        assert_eq!(versions, [Some(35), Some(36), Some(37)]);
        asking.abort();
    }
}
