//! Effects become requests, their answers events.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy, Rightsizing, VerticalPodAutoscaler, names};
use supple_decide::hand::MANAGER;
use tokio::io::AsyncWrite;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Clock;
use super::answers::Answers;
use super::turns::{Errand, Turns};
use crate::audit::Audit;
use crate::carry::{Answer, carry};
use crate::caught::caught;
use crate::event::{Effect, Event, Written};
use crate::history_file::{HistoryFile, Page};
use crate::lease::mandate::{LOST, Mandate};
use crate::metrics::Metrics;
use crate::record::Teller;
use crate::rules::{PolicyWritten, VpaWritten};
use crate::source::prometheus::client::Prometheus;
use crate::source::prometheus::guards::{self, Asked};
use crate::usage::{self, PodUse};

/// Pods of which usage is taken in at once.
const PART: usize = 256;

/// The group of Argo's Rollouts.
const ROLLOUTS: &str = "argoproj.io";

/// What carries effects out.
pub(super) struct Hands {
    client: Client,
    /// Asked before everything that changes the cluster.
    mandate: Mandate,
    teller: Teller,
    audit: Option<Audit>,
    answers: Answers,
    clock: Clock,
    prometheus: Option<Prometheus>,
    metrics: Metrics,
    turns: Turns,
    keeper: Option<Arc<Keeper>>,
    tasks: JoinSet<()>,
}

/// Usage on its way to the loop, which takes it in part by part: of twenty thousand pods it would be several megabytes.
struct Parts {
    part: Vec<PodUse>,
    answers: Answers,
}

impl Extend<PodUse> for Parts {
    /// On a thread that may wait: the loop may be busy.
    fn extend<I: IntoIterator<Item = PodUse>>(&mut self, used: I) {
        for used in used {
            self.part.push(used);
            if self.part.len() >= PART {
                let part = std::mem::take(&mut self.part);
                let _ = self.answers.blocking_send(Event::Measured(part)); // nobody listens any more: the loop has ended
            }
        }
    }
}

/// What writes the history file.
struct Keeper {
    file: HistoryFile,
    metrics: Metrics,
    /// One that writes, and one that waits for it; a third would only be overtaken.
    places: Arc<Semaphore>,
    /// Whether the last one failed: it is said when that changes, not after every round.
    failing: Mutex<bool>,
}

impl Hands {
    pub(super) fn new(
        client: Client,
        mandate: Mandate,
        teller: Teller,
        answers: Answers,
        clock: Clock,
        prometheus: Option<Prometheus>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            mandate,
            teller,
            audit: None,
            answers,
            clock,
            prometheus,
            metrics,
            turns: Turns::default(),
            keeper: None,
            tasks: JoinSet::new(),
        }
    }

    /// Keep in this file what is to be kept.
    pub(super) fn keep_in(&mut self, file: HistoryFile) {
        let metrics = self.metrics.clone();
        let (places, failing) = (Arc::new(Semaphore::new(2)), Mutex::new(false));
        self.keeper = Some(Arc::new(Keeper { file, metrics, places, failing }));
    }

    /// Write the audit into this file, until `stop`.
    pub(super) fn audit_in(&mut self, file: impl AsyncWrite + Send + Unpin + 'static, stop: CancellationToken) {
        self.audit = Some(Audit::start(file, &mut self.tasks, stop));
    }

    /// Begin with one. What it came of was told at `since`. Waits for nothing but a place for a line of the audit, which stand in the
    /// order in which they come here; hardly any longer once the loop is to end.
    ///
    /// Whatever waits for its turn puts its request in a box when that has come: a request on its way is some forty thousand bytes, a few
    /// are under way at once, and hundreds may wait.
    pub(super) async fn perform(&mut self, effect: Effect, since: Instant) {
        if let (Some(audit), Effect::Tell(told, _) | Effect::Audit(told)) = (&self.audit, &effect) {
            audit.tell(told).await;
        }
        let (client, answers, turns) = (self.client.clone(), self.answers.clone(), self.turns.clone());
        let mandate = self.mandate.clone();
        match effect {
            Effect::Measure => drop(self.tasks.spawn(async move {
                let parts = Parts { part: Vec::new(), answers: answers.clone() };
                let usage = async { usage::into(&client, parts).await.map_err(|error| usage::blindness(&error)) };
                let usage = caught("measuring", usage).await.flatten().map(|rest| rest.part);
                let _ = answers.send(Event::Usage(usage)).await; // nobody listens any more: the loop has ended
            })),
            Effect::Carry(order) => {
                let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
                let hurry = order.action.cannot_wait.then(|| turns.hurry()); // known to all others from now on
                self.tasks.spawn(async move {
                    let place = match &hurry {
                        Some(hurry) => hurry.turn().await,
                        None => turns.turn(Errand::Carry).await,
                    };
                    let answer = caught("carrying it out", Box::pin(carry(&client, &order, &mandate, clock()))).await;
                    let answer = answer.unwrap_or_else(Answer::Failed);
                    if order.is_urgent() && matches!(answer, Answer::Accepted { .. }) {
                        metrics.raised(since.elapsed());
                    }
                    drop((place, hurry));
                    let _ = answers.send(Event::Answered(order, answer)).await;
                });
            }
            Effect::AskGuards(workload, watched, guards) => {
                let (prometheus, now) = (self.prometheus.clone(), (self.clock)());
                self.tasks.spawn(async move {
                    let asked = guards::ask(prometheus.as_ref(), &workload, &watched, &guards, now);
                    let asked = caught("asking guards", asked).await;
                    let asked = asked.unwrap_or_else(|why| Asked { unread: vec![why], ..Asked::default() });
                    let _ = answers.send(Event::Guards(workload, asked)).await;
                });
            }
            Effect::TellPolicy(told) => {
                let teller = self.teller.clone();
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Tell).await;
                    Box::pin(teller.tell_policy(&told)).await;
                });
            }
            Effect::Tell(told, workload) => {
                let teller = self.teller.clone();
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Tell).await;
                    Box::pin(teller.tell(&told, workload)).await;
                });
            }
            Effect::Write(written) => {
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Write).await;
                    let result = writing(&mandate, Box::pin(write(&client, &written))).await;
                    let _ = answers.send(Event::Wrote(written.workload, result)).await;
                });
            }
            Effect::WriteVpa(written) => {
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Write).await;
                    if let Err(why) = writing(&mandate, Box::pin(write_autoscaler(&client, &written))).await {
                        tracing::debug!(why, "cannot write the status of a VerticalPodAutoscaler; will retry");
                    }
                });
            }
            Effect::Count(_) | Effect::Audit(_) => {} // counted where effects pass by, and told above
            Effect::Keep(pages) => {
                let Some(keeper) = self.keeper.clone() else { return };
                let Ok(place) = keeper.places.clone().try_acquire_owned() else {
                    tracing::debug!("the history file is still being written; new history goes into the next write");
                    return;
                };
                let now = (self.clock)();
                self.tasks.spawn(async move {
                    let written = tokio::task::spawn_blocking(move || keeper.keep(&pages, now));
                    let _ = written.await; // it says itself what went wrong
                    drop(place);
                });
            }
            Effect::WritePolicy(written) => {
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Write).await;
                    let result = writing(&mandate, Box::pin(write_policy(&client, &written))).await;
                    let _ = answers.send(Event::WrotePolicy(result)).await;
                });
            }
        }
    }

    /// One that has ended; `None` while there is none.
    pub(super) async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        if self.tasks.is_empty() { std::future::pending().await } else { self.tasks.join_next().await }
    }

    /// Wait until all that was told for the audit file is in it.
    pub(super) async fn audited(&mut self) {
        if let Some(audit) = &self.audit {
            audit.written().await;
        }
    }

    /// Say how much of the audit is not in its file, where nothing is waited for any more.
    pub(super) fn close_audit(&mut self) {
        let Some(audit) = self.audit.take() else { return }; // its task ends with the last line
        let lines = audit.open();
        if lines > 0 {
            tracing::error!(lines, "the audit file did not take this many of the last lines in time");
        }
    }

    /// Wait for all that is under way.
    pub(super) async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Keeper {
    fn keep(&self, pages: &[Page], now: Timestamp) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.file.save(pages, now) {
            Ok(()) => {
                self.metrics.history_kept(now);
                if std::mem::replace(&mut *failing, false) {
                    tracing::info!("the history file is written again");
                }
            }
            Err(error) if std::mem::replace(&mut *failing, true) => tracing::debug!(%error, "it still fails"),
            Err(error) => {
                tracing::error!(%error, "cannot store the learned history; will retry at the next write, within five \
                                         minutes")
            }
        }
    }
}

/// Write something down, as long as we lead; or the sentence that says why not.
async fn writing(mandate: &Mandate, write: impl Future<Output = Result<(), kube::Error>>) -> Result<(), String> {
    let written = async { write.await.map_err(|error| error.to_string()) };
    mandate.during(caught("writing it", written)).await.ok_or_else(|| LOST.to_owned()).flatten().flatten()
}

async fn write(client: &Client, written: &Written) -> Result<(), kube::Error> {
    let Written { workload, object, status, create } = written;
    let name = names::rightsizing(&workload.kind, &workload.name);
    let api = Api::<Rightsizing>::namespaced(client.clone(), &workload.namespace);
    let params = PatchParams::apply(MANAGER).force();
    if *create {
        api.patch(&name, &params, &Patch::Apply(&owned(client, object.clone()).await)).await?;
    }
    let status = json!({
        "apiVersion": names::API_VERSION, "kind": "Rightsizing", "metadata": {"name": name}, "status": status,
    });
    api.patch_status(&name, &params, &Patch::Apply(status)).await.map(drop)
}

/// The object with the owner that it goes with. The pods of an Argo Rollout do not tell its UID: it is asked for. Without the right to, the
/// object has no owner, and stays until somebody deletes it.
async fn owned(client: &Client, mut object: Rightsizing) -> Rightsizing {
    let of = &object.spec.workload_ref;
    let Some((group, version)) = of.api_version.split_once('/').filter(|it| it.0 == ROLLOUTS && of.kind == "Rollout")
    else {
        return object;
    };
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &of.kind), "rollouts");
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind);
    match api.get_metadata(&of.name).await {
        Ok(rollout) => {
            object.metadata.owner_references = Some(vec![OwnerReference {
                api_version: of.api_version.clone(),
                kind: of.kind.clone(),
                name: of.name.clone(),
                uid: rollout.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            }])
        }
        Err(error) => tracing::debug!(%error, rollout = of.name, "its Rightsizing has no owner"),
    }
    object
}

async fn write_autoscaler(client: &Client, written: &VpaWritten) -> Result<(), kube::Error> {
    let (namespace, name) = &written.name;
    let api = Api::<VerticalPodAutoscaler>::namespaced(client.clone(), namespace);
    let mut patch = json!({"status": written.status});
    if written.status.recommendation.is_none() {
        patch["status"]["recommendation"] = Value::Null; // what is left out of a merge stays
    }
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(name, &params, &Patch::Merge(&patch)).await.map(drop)
}

async fn write_policy(client: &Client, written: &PolicyWritten) -> Result<(), kube::Error> {
    let PolicyWritten { name: (namespace, name), uid, status } = written;
    let params = PatchParams::apply(MANAGER).force();
    let patch = |kind: &str| {
        Patch::Apply(json!({
            "apiVersion": names::API_VERSION, "kind": kind, "metadata": {"name": name, "uid": uid}, "status": status,
        }))
    };
    if namespace.is_empty() {
        let api = Api::<ClusterRightsizePolicy>::all(client.clone());
        return api.patch_status(name, &params, &patch("ClusterRightsizePolicy")).await.map(drop);
    }
    let api = Api::<RightsizePolicy>::namespaced(client.clone(), namespace);
    api.patch_status(name, &params, &patch("RightsizePolicy")).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use supple_decide::code::Code;
    use supple_decide::key::{PodKey, WorkloadKey};
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;
    use crate::event::Told;

    /// Events wait for the API server, and some for each other; what is told for the audit file waits for neither.
    #[tokio::test]
    async fn the_audit_has_everything_in_the_order_in_which_it_was_told_however_slow_the_cluster_is() {
        let silent = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let client = Client::new(silent, "default");
        let clock: Clock = Arc::new(|| "2026-01-01T00:00:00Z".parse().unwrap());
        let answers = Answers::new(1).0;
        let mut hands = Hands::new(
            client.clone(),
            Mandate::alone(),
            Teller::new(client, "replica-1"),
            answers,
            clock.clone(),
            None,
            Metrics::default(),
        );
        let (file, reader) = tokio::io::duplex(1 << 16);
        hands.audit_in(file, CancellationToken::new());
        let told = |number: usize| Told {
            at: clock(),
            code: Code::Resize,
            pod: Some(PodKey::new("n", "p", "u")),
            workload: WorkloadKey { namespace: "n".into(), kind: "Pod".into(), name: "p".into() },
            message: number.to_string(),
            gist: None,
        };
        for number in 0..40 {
            // More events than are told at once, and between them what is told for the audit alone.
            let effect = if number % 4 == 3 { Effect::Audit(told(number)) } else { Effect::Tell(told(number), None) };
            hands.perform(effect, Instant::now()).await;
        }
        hands.audited().await;
        let mut lines = BufReader::new(reader).lines();
        for number in 0..40 {
            let line = lines.next_line().await.unwrap().unwrap();
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["message"], number.to_string());
        }
    }
}
