//! Effects become requests, their answers events.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy, Rightsizing, VerticalPodAutoscaler, names};
use supple_decide::hand::MANAGER;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Clock;
use super::answers::Answers;
use super::turns::{Errand, Turns};
use crate::carry::{Answer, carry};
use crate::caught::caught;
use crate::event::{Effect, Event, Written};
use crate::history_file::{HistoryFile, Page};
use crate::metrics::Metrics;
use crate::record::Teller;
use crate::rules::{PolicyWritten, VpaWritten};
use crate::source::prometheus::client::Prometheus;
use crate::source::prometheus::guards::{self, Asked};
use crate::usage::{self, PodUse};

/// Pods of which usage is taken in at once.
const PART: usize = 256;

/// What carries effects out.
pub(super) struct Hands {
    client: Client,
    teller: Teller,
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
        teller: Teller,
        answers: Answers,
        clock: Clock,
        prometheus: Option<Prometheus>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            teller,
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

    /// Begin with one. What it came of was told at `since`.
    pub(super) fn perform(&mut self, effect: Effect, since: Instant) {
        let (client, answers, turns) = (self.client.clone(), self.answers.clone(), self.turns.clone());
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
                    let answer = caught("carrying it out", carry(&client, &order, clock())).await;
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
                    teller.tell_policy(&told).await;
                });
            }
            Effect::Tell(told, workload) => {
                let teller = self.teller.clone();
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Tell).await;
                    teller.tell(&told, workload).await;
                });
            }
            Effect::Audit(told) => {
                let teller = self.teller.clone();
                self.tasks.spawn(async move { teller.audit(&told).await });
            }
            Effect::Write(written) => {
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Write).await;
                    let result = async { write(&client, &written).await.map_err(|error| error.to_string()) };
                    let result = caught("writing it", result).await.flatten();
                    let _ = answers.send(Event::Wrote(written.workload, result)).await;
                });
            }
            Effect::WriteVpa(written) => {
                self.tasks.spawn(async move {
                    let _place = turns.turn(Errand::Write).await;
                    if let Err(error) = write_autoscaler(&client, &written).await {
                        tracing::debug!(%error, "the status of a VerticalPodAutoscaler could not be written; tried again");
                    }
                });
            }
            Effect::Count(_) => {} // counted where effects pass by
            Effect::Keep(pages) => {
                let Some(keeper) = self.keeper.clone() else { return };
                let Ok(place) = keeper.places.clone().try_acquire_owned() else {
                    tracing::debug!("the history file is still being written; what was learned goes into the next one");
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
                    let result = async { write_policy(&client, &written).await.map_err(|error| error.to_string()) };
                    let result = caught("writing it", result).await.flatten();
                    let _ = answers.send(Event::WrotePolicy(result)).await;
                });
            }
        }
    }

    /// One that has ended; `None` while there is none.
    pub(super) async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        if self.tasks.is_empty() { std::future::pending().await } else { self.tasks.join_next().await }
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
                tracing::error!(%error, "what was learned is not kept; tried again when it is next written, within five minutes")
            }
        }
    }
}

async fn write(client: &Client, written: &Written) -> Result<(), kube::Error> {
    let Written { workload, object, status, create } = written;
    let name = names::rightsizing(&workload.kind, &workload.name);
    let api = Api::<Rightsizing>::namespaced(client.clone(), &workload.namespace);
    let params = PatchParams::apply(MANAGER).force();
    if *create {
        // It goes with its workload; where the workload's UID is not known, `supple uninstall` finds it by its kind.
        api.patch(&name, &params, &Patch::Apply(object)).await?;
    }
    let status = json!({
        "apiVersion": "supple.dev/v1alpha1", "kind": "Rightsizing", "metadata": {"name": name}, "status": status,
    });
    api.patch_status(&name, &params, &Patch::Apply(status)).await.map(drop)
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
            "apiVersion": "supple.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "uid": uid}, "status": status,
        }))
    };
    if namespace.is_empty() {
        let api = Api::<ClusterRightsizePolicy>::all(client.clone());
        return api.patch_status(name, &params, &patch("ClusterRightsizePolicy")).await.map(drop);
    }
    let api = Api::<RightsizePolicy>::namespaced(client.clone(), namespace);
    api.patch_status(name, &params, &patch("RightsizePolicy")).await.map(drop)
}
