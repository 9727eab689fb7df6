//! One resize from the wish to its outcome: predict, note on the pod what was before, PATCH `/resize`, watch it to the
//! end. The loop, `supple resize` and `supple undo` all take this way.
//!
//! ```text
//!   pod ─▶ change ─▶ forecast ─┬─▶ PredictedRefusal                    (nothing sent)
//!                              ├─▶ dryRun=All ─▶ WouldResize · Refused (nothing stored)
//!                              └─▶ note ─▶ PATCH ─┬─▶ Refused          (note put back)
//!                                                 └─▶ watch ─▶ Resized · Deferred · Infeasible · Failed · …
//! ```

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use supple_resize::amounts::containers;
use supple_resize::predict::{Change, NoSuchContainer, Sizes};

use crate::carry::was_not_made;
use crate::forecast::{self, Forecast};
use crate::outcome::{Outcome, compare, in_words, restarts_in_words};
use crate::reason::Reason;
use crate::surroundings::Surroundings;
use supple_api::names;
use supple_decide::hand::MANAGER;
use supple_decide::note::{Author, LastResize};
use supple_decide::numbers::sizes_of;
use supple_decide::progress::{Progress, is_unbound, progress};

/// What is wanted of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Only this very pod, not another of the same name; `None`: whoever has the name.
    pub uid: Option<String>,
    /// What to do.
    pub wish: Wish,
    /// In whose name.
    pub by: Author,
    /// How long to wait for the outcome; `None`: not at all.
    pub wait: Option<Duration>,
    /// Predict and let the server validate, but change nothing.
    pub dry_run: bool,
}

/// What to do with a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Give it these numbers.
    Change(Change),
    /// Give one container these numbers; `None` is its only one.
    One {
        /// Name of the container.
        container: Option<String>,
        /// The numbers that are to change.
        sizes: Sizes,
    },
    /// Put back what its last resize changed.
    Undo,
}

/// Carry out an order. `now` is asked when the note is written; `seen` is told how far it has come, whenever that
/// changes.
///
/// # Errors
/// Only when the cluster cannot be reached or does not speak Kubernetes: whatever it answers, refusals included, is an
/// [`Outcome`].
pub async fn carry_out(
    client: &Client,
    order: &Order,
    now: &(dyn Fn() -> Timestamp + Send + Sync),
    seen: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Outcome, kube::Error> {
    let api = Api::<Pod>::namespaced(client.clone(), &order.namespace);
    let mut report = Report::new(order);
    let before = match api.get(&order.pod).await {
        Ok(pod) if order.uid.is_some() && pod.uid() != order.uid => {
            return Ok(report.end(Reason::PodGone, REPLACED));
        }
        Ok(pod) => pod,
        Err(kube::Error::Api(status)) if status.is_not_found() && order.uid.is_some() => {
            return Ok(report.end(Reason::PodGone, &status.message));
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            let Order { namespace, pod, .. } = order;
            let none = format!("there is no pod {pod} in namespace {namespace}; `kubectl get pods -A` lists all pods");
            return Ok(report.end(Reason::NoSuchPod, &none));
        }
        Err(error) => return report.refused_or(error),
    };
    let Intent { change, wanted: target, patch } = match intent(&order.wish, &before) {
        Ok(intent) => intent,
        Err((reason, message)) => return Ok(report.end(reason, &message)),
    };
    if change.is_empty() {
        return Ok(report.end(Reason::NothingToChange, "it already has these sizes"));
    }
    report.containers = compare(&change, &before, &target);
    let wanted = in_words(&report.containers);

    let surroundings = Surroundings::of(client, &before).await?;
    let forecast = forecast::forecast(&before, &change, &surroundings);
    report.notes.extend(surroundings.gaps);
    report.notes.extend(forecast.notes());
    if let Some(refusal) = forecast.refusal() {
        return Ok(report.end(Reason::PredictedRefusal, &format!("not sent ({wanted}): {refusal}")));
    }
    let patch = Patch::Strategic(patch);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    if order.dry_run {
        return match api.patch_resize(&order.pod, &params.dry_run(), &patch).await {
            Ok(pod) if is_unbound(&pod) => {
                Ok(report.end(Reason::WouldResize, &format!("would be accepted: {wanted} ({UNBOUND})")))
            }
            Ok(_) => Ok(would(report, &forecast, &wanted)),
            Err(error) => report.refused_or(error),
        };
    }

    let note = LastResize::of(&before, &change, order.by, now()).following(LastResize::read(&before).as_ref(), &before);
    let noted = match annotate(&api, &before, Some(&note), &mut report).await? {
        Note::Replaced => return Ok(report.end(Reason::PodGone, REPLACED)),
        noted => noted == Note::Written,
    };
    let sent = match api.patch_resize(&order.pod, &params, &patch).await {
        Ok(pod) => pod,
        Err(error) => {
            if noted && was_not_made(&error) {
                // The note speaks of a resize that was not made: put the one before it back.
                annotate(&api, &before, LastResize::read(&before).as_ref(), &mut report).await?;
            }
            // The answer was lost, or the server failed in the middle: whether it was made, the pod itself tells.
            match made_all_the_same(&api, &before, &change, &error).await {
                Some(pod) => pod,
                None => return report.refused_or(error),
            }
        }
    };
    let Some(limit) = order.wait else {
        return Ok(report.end(Reason::Accepted, &format!("accepted: {wanted}")));
    };
    let (last, how) = watch_to_the_end(&api, sent, limit, &change, seen).await;
    report.containers = compare(&change, &before, &last);
    let restarts = restarts_in_words(&report.containers);
    Ok(match how {
        End::Progress(Progress::Settled) if is_unbound(&last) => {
            report.end(Reason::Accepted, &format!("accepted: {wanted} ({UNBOUND})"))
        }
        End::Progress(Progress::Settled) => report.end(Reason::Resized, &format!("{wanted} ({restarts})")),
        End::Progress(Progress::Infeasible(why)) => {
            report.end(Reason::Infeasible, &format!("infeasible ({wanted}): {why}"))
        }
        End::Progress(Progress::Deferred(why)) => {
            report.end(Reason::Deferred, &format!("still deferred after {} ({wanted}): {why}", seconds(limit)))
        }
        End::Progress(Progress::Failing(why)) => {
            report.end(Reason::Failed, &format!("still failing after {} ({wanted}): {why}", seconds(limit)))
        }
        End::Progress(Progress::Ended) => report.end(Reason::PodGone, "the pod has ended"),
        End::Progress(Progress::Underway) => {
            report.end(Reason::TimedOut, &format!("accepted, but not applied after {} ({wanted})", seconds(limit)))
        }
        End::Gone => report.end(Reason::PodGone, "the pod was deleted during the resize"),
        End::Overtaken => report.end(Reason::Overtaken, "someone changed the pod's resources during the resize"),
    })
}

/// What becomes of a change of a pod that no node has.
const UNBOUND: &str = "it has no node yet, and starts with these sizes";

/// The outcome as it grows.
struct Report {
    namespace: String,
    pod: String,
    containers: Vec<crate::outcome::ContainerOutcome>,
    notes: Vec<String>,
}

impl Report {
    fn new(order: &Order) -> Self {
        Self { namespace: order.namespace.clone(), pod: order.pod.clone(), containers: Vec::new(), notes: Vec::new() }
    }

    fn end(self, reason: Reason, message: &str) -> Outcome {
        let Self { namespace, pod, containers, notes } = self;
        Outcome { namespace, pod, reason, message: message.to_owned(), containers, notes }
    }

    /// An answer of the server is an outcome; anything else means there was no answer.
    fn refused_or(self, error: kube::Error) -> Result<Outcome, kube::Error> {
        match error {
            kube::Error::Api(status) => Ok(self.end(Reason::Refused, &status.message)),
            error => Err(error),
        }
    }
}

/// A wish, worked out for one pod.
struct Intent {
    /// Only what is different from what the pod has.
    change: Change,
    /// The pod as it is wanted.
    wanted: Pod,
    /// The body of the PATCH.
    patch: serde_json::Value,
}

fn intent(wish: &Wish, pod: &Pod) -> Result<Intent, (Reason, String)> {
    let names = || containers(pod).map(|it| it.name.as_str()).collect::<Vec<_>>();
    let change = match wish {
        Wish::Change(change) => change.clone(),
        Wish::One { container: Some(name), sizes } => Change::of_container(name, sizes.clone()),
        Wish::One { container: None, sizes } => match names().as_slice() {
            [only] => Change::of_container(*only, sizes.clone()),
            several => {
                let several = several.join(", ");
                return Err((Reason::BadRequest, format!("it has several containers ({several}): choose one with -c")));
            }
        },
        Wish::Undo => LastResize::undo(pod).map_err(|error| (Reason::NothingToUndo, error.to_string()))?,
    };
    let unknown = |error: NoSuchContainer| (Reason::BadRequest, error.to_string());
    let wanted = change.applied_to(pod).map_err(unknown)?;
    let change = Change::between(pod, &wanted);
    let patch = change.to_patch(pod).map_err(unknown)?;
    Ok(Intent { change, wanted, patch })
}

/// Whether the pod still asks for what the change set.
fn holds(change: &Change, pod: &Pod) -> bool {
    change.containers.iter().all(|(name, sizes)| sizes.beyond(&sizes_of(pod, name)).is_empty())
}

/// The pod as a resize made it, of which there was no answer.
async fn made_all_the_same(api: &Api<Pod>, before: &Pod, change: &Change, error: &kube::Error) -> Option<Pod> {
    if was_not_made(error) {
        return None;
    }
    let pod = api.get(&before.name_any()).await.ok()?;
    let is_newer = pod.metadata.generation > before.metadata.generation;
    (pod.uid() == before.uid() && is_newer && holds(change, &pod)).then_some(pod)
}

fn would(report: Report, forecast: &Forecast, wanted: &str) -> Outcome {
    match forecast.delay() {
        Some((reason, why)) => {
            report.end(reason, &format!("would be accepted, but not applied at once ({wanted}): {why}"))
        }
        None => {
            report.end(Reason::WouldResize, &format!("would be resized: {wanted} ({})", forecast.restarts_in_words()))
        }
    }
}

/// Said of a pod whose name another one has taken.
const REPLACED: &str = "the pod has been replaced by another of the same name";

/// What came of writing a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    Written,
    /// That is not allowed, which a resize survives.
    Refused,
    /// The pod is another one by now.
    Replaced,
}

/// Write the note, or take it away.
async fn annotate(
    api: &Api<Pod>,
    pod: &Pod,
    note: Option<&LastResize>,
    report: &mut Report,
) -> Result<Note, kube::Error> {
    let text = note.and_then(|it| serde_json::to_string(it).ok());
    let patch = json!({"metadata": {"uid": pod.uid(), "annotations": {(names::LAST_RESIZE): text}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(&pod.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(Note::Written),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Note::Replaced),
        Err(kube::Error::Api(status)) => {
            report.notes.push(format!(
                "cannot record the previous sizes on the pod, so this cannot be undone: {}",
                status.message
            ));
            Ok(Note::Refused)
        }
        Err(error) => Err(error),
    }
}

enum End {
    Progress(Progress),
    Gone,
    Overtaken,
}

/// Watch the pod until the resize that made it `sent` has an end, or for `limit`. Returns the pod as last seen.
async fn watch_to_the_end(
    api: &Api<Pod>,
    sent: Pod,
    limit: Duration,
    change: &Change,
    seen: &mut (dyn FnMut(&Progress) + Send),
) -> (Pod, End) {
    let generation = sent.metadata.generation.unwrap_or_default();
    let fields = watcher::Config::default().fields(&format!("metadata.name={}", sent.name_any()));
    let mut changes = watcher(api.clone(), fields).default_backoff().boxed();
    let deadline = tokio::time::Instant::now() + limit;
    let mut last = sent;
    let mut now = progress(&last, generation);
    let mut listed = false;
    loop {
        if now.is_final() {
            return (last, End::Progress(now));
        }
        let Ok(Some(event)) = tokio::time::timeout_at(deadline, changes.next()).await else {
            return (last, End::Progress(now));
        };
        let pod = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                listed = true;
                pod
            }
            Ok(watcher::Event::Init) => {
                listed = false;
                continue;
            }
            Ok(watcher::Event::InitDone) if listed => continue,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => return (last, End::Gone),
            Err(error) => {
                tracing::debug!(%error, "resuming the watch of the pod");
                continue;
            }
        };
        if pod.uid() != last.uid() {
            return (last, End::Gone);
        }
        last = pod;
        if last.metadata.generation.unwrap_or_default() > generation && !holds(change, &last) {
            return (last, End::Overtaken);
        }
        let next = progress(&last, generation);
        if next != now {
            seen(&next);
            now = next;
        }
    }
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
