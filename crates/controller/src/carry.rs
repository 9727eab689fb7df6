//! One action from a decision to the cluster's answer. What comes of it afterwards the watches tell.
//!
//! ```text
//!   Resize    ─▶ dryRun=All ─┬─▶ Refused                        (nothing stored, nothing noted)
//!                            ├─▶ Overtaken                      (the pod is not what was decided on)
//!                            └─▶ note ─▶ PATCH /resize ─┬─▶ Refused   (note put back)
//!                                                       ├─▶ Failed    (note stays: it may have been done)
//!                                                       └─▶ Accepted
//!   RollBack  ─▶ note ─▶ PATCH /resize                          (no dry run: harm is being done)
//!   Evict     ─▶ POST /eviction, this very pod ─▶ Blocked       (its disruption budget allows it later)
//!   RollOut   ─▶ PATCH the template's annotation
//!   AdjustScaler ─▶ dryRun=All ─▶ PUT the autoscaler: target and anchor, unless a sibling has ─▶ note ─▶ PATCH /resize
//!   SettleScaler ─▶ PUT the autoscaler
//! ```
//!
//! An autoscaler is changed before its pods are. Whatever then comes to nothing, a kill included, a later round finds the anchor,
//! and gives it the target that goes with what the pods ask for: [`supple_decide::scaler`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use serde_json::json;
use supple_api::names;
use supple_decide::facts::Noted;
use supple_decide::hand::MANAGER;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::note::{Author, LastResize, Lowered};
use supple_decide::numbers::Numbers;
use supple_decide::recreated::Recreated;
use supple_decide::round::{Action, What};
use supple_decide::scaler::Target;
use supple_resize::predict::Change;

use crate::lease::mandate::{LOST, Mandate};
use crate::slim::SlimPod;

/// What the cluster answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken; the pod now has this generation. Of an eviction and a rollout there is none.
    Accepted {
        /// `metadata.generation` of the pod after it.
        generation: Option<i64>,
    },
    /// The server said no, in these words.
    Refused(String),
    /// The pod, or what goes with it, is not what was decided on: gone, replaced, or changed by somebody.
    Overtaken(String),
    /// A disruption budget allows it only later. Nothing was done.
    Blocked(String),
    /// The server has too much to do to look at it. Nothing was done: to be tried again.
    Busy(String),
    /// There was no answer, or it was about the server and not about the request: it may have been done, and is to be tried again.
    Failed(String),
}

/// What is needed to carry an action out.
#[derive(Clone, Debug)]
pub struct Order {
    /// The action.
    pub action: Action,
    /// The pod as it was when that was decided ([`supple_decide::facts::PodFacts::to_pod`]).
    pub pod: Pod,
    /// The note that stands on it, to be put back where a resize is refused.
    pub note: Option<Box<Noted>>,
    /// VPA's updater had resized it before us: the pod does not tell what it had at first.
    pub inherited: bool,
    /// The recreation of the workload before this one, to be remembered again where this one is refused.
    pub recreated: Option<Recreated>,
    /// Since when the workload had no room before this action, to be remembered again where this one is refused.
    pub no_room_since: Option<Timestamp>,
}

impl Order {
    /// Whether it raises what cannot wait. What is taken back cannot wait either, but raises nothing.
    pub const fn is_urgent(&self) -> bool {
        self.action.cannot_wait && self.action.what.new_change().is_some()
    }
}

/// Carry it out, as long as we lead.
pub async fn carry(client: &Client, order: &Order, mandate: &Mandate, now: Timestamp) -> Answer {
    if !mandate.holds() {
        return lost();
    }
    let work = async {
        let Order { action, .. } = order;
        match &action.what {
            What::Resize(change) => resize(client, order, change, None, mandate, now).await,
            What::AdjustScaler { target, change } => resize(client, order, change, Some(target), mandate, now).await,
            What::RollBack(change) => roll_back(client, order, change, mandate, now).await,
            What::Evict => evict(client, &action.pod).await,
            What::RollOut => roll_out(client, &action.workload, now).await,
            What::SettleScaler(target) => aim_at(client, &action.pod.namespace, target, mandate).await,
        }
    };
    let answer = mandate.during(work).await;
    answer.unwrap_or_else(|| Answer::Failed(format!("{LOST} meanwhile: what was sent may have been done")))
}

/// We do not lead any more. Nothing more is sent; what stands half done is seen by whoever does.
fn lost() -> Answer {
    Answer::Overtaken(LOST.to_owned())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The cause that a 429 names where it is a disruption budget's, and not about the server's load.
const BUDGET: &str = "DisruptionBudget";

/// An error as an answer. 404, 409 and 410 say that the world is another than was thought; 429 and 5xx are about the server.
fn answer_of(error: kube::Error) -> Answer {
    match error {
        kube::Error::Api(status) => match status.code {
            404 | 409 | 410 => Answer::Overtaken(status.message),
            429 => match status.details.iter().flat_map(|it| &it.causes).find(|it| it.reason == BUDGET) {
                Some(cause) => Answer::Blocked(cause.message.clone()),
                None => Answer::Busy(status.message),
            },
            500..=599 => Answer::Failed(status.message),
            _ => Answer::Refused(status.message),
        },
        error => Answer::Failed(error.to_string()),
    }
}

/// Whether the server said that it has not done what it was asked for. Where an answer was lost, or the server failed in the middle,
/// it may have been done, and what was before must not be forgotten.
pub fn was_not_made(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code))
}

async fn resize(
    client: &Client,
    order: &Order,
    change: &Change,
    target: Option<&Target>,
    mandate: &Mandate,
    now: Timestamp,
) -> Answer {
    let Order { action, pod: known, note: before, .. } = order;
    let api = Api::<SlimPod>::namespaced(client.clone(), &action.pod.namespace);
    let patch = match change.to_patch(known) {
        Ok(patch) => Patch::Strategic(patch),
        Err(error) => return Answer::Overtaken(error.to_string()),
    };
    let would = match api.patch_resize(&action.pod.name, &params().dry_run(), &patch).await {
        Ok(would) => would,
        Err(error) => return answer_of(error),
    };
    if let Some(why) = is_another(&action.pod, known, before.as_deref(), &would.0) {
        return Answer::Overtaken(why);
    }
    if let Some(target) = target {
        match aim_at(client, &action.pod.namespace, target, mandate).await {
            Answer::Accepted { .. } => {}
            otherwise => return otherwise,
        }
    }
    make(&api, order, (change, &patch), Author::Controller, mandate, now).await
}

async fn roll_back(client: &Client, order: &Order, change: &Change, mandate: &Mandate, now: Timestamp) -> Answer {
    let api = Api::<SlimPod>::namespaced(client.clone(), &order.action.pod.namespace);
    match change.to_patch(&order.pod) {
        Ok(patch) => make(&api, order, (change, &Patch::Strategic(patch)), Author::RollBack, mandate, now).await,
        Err(error) => Answer::Overtaken(error.to_string()),
    }
}

/// The note, then the resize.
async fn make(
    api: &Api<SlimPod>,
    order: &Order,
    (change, patch): (&Change, &Patch<serde_json::Value>),
    by: Author,
    mandate: &Mandate,
    now: Timestamp,
) -> Answer {
    let key = &order.action.pod;
    let earlier = order.note.as_deref().map(note_of);
    let mut note = note_for(order, change, by, now).following(earlier.as_ref(), &order.pod);
    if order.inherited {
        note.first = None;
    }
    if !mandate.holds() {
        return lost();
    }
    if let Err(error) = annotate(api, key, Some(&note)).await {
        return answer_of(error);
    }
    if !mandate.holds() {
        return lost(); // the note's generation says that nothing was made
    }
    match api.patch_resize(&key.name, &params(), patch).await {
        Ok(pod) => Answer::Accepted { generation: pod.0.metadata.generation },
        Err(error) => {
            if was_not_made(&error) && mandate.holds() {
                // The note speaks of a resize that was not made: put the one before it back. If that fails too, the note's
                // generation says that nothing was made.
                let _ = annotate(api, key, earlier.as_ref()).await;
            }
            answer_of(error)
        }
    }
}

/// The note of what an order changes.
fn note_for(order: &Order, change: &Change, by: Author, now: Timestamp) -> LastResize {
    let urgent = by == Author::Controller && order.action.cannot_wait;
    LastResize { urgent, ..LastResize::of(&order.pod, change, by, now) }
}

/// A note as it is written on a pod.
fn note_of(noted: &Noted) -> LastResize {
    let nothing = Numbers::default();
    let sizes = |it: &Numbers| it.beyond(&nothing);
    LastResize {
        by: noted.by,
        at: noted.at,
        generation: noted.generation,
        before: noted.containers.iter().map(|(name, before, _)| (name.to_string(), sizes(before))).collect(),
        after: noted.containers.iter().map(|(name, _, after)| (name.to_string(), sizes(after))).collect(),
        urgent: noted.urgent,
        lowered: noted.lowered.as_ref().map(|it| Lowered {
            at: it.at,
            from: it.from.iter().map(|(name, from)| (name.to_string(), sizes(from))).collect(),
        }),
        first: noted.first.as_ref().map(|it| it.iter().map(|(name, it)| (name.to_string(), sizes(it))).collect()),
    }
}

/// Why the pod that would be resized is not the one that was decided on.
fn is_another(key: &PodKey, known: &Pod, note: Option<&Noted>, would: &Pod) -> Option<String> {
    if would.metadata.uid.as_deref() != Some(&*key.uid) {
        return Some("the pod has been replaced by another of the same name".to_owned());
    }
    // A resize of ours that was not known when this was decided: its answer was lost, or what was decided on is old.
    let noted = LastResize::read(would).map(|it| (it.at, it.generation));
    if noted != note.map(|it| (it.at, it.generation)) {
        return Some("it has been resized since this was decided".to_owned());
    }
    let (decided, now) = (known.metadata.generation?, would.metadata.generation?);
    (now > decided + 1).then(|| "someone has changed the pod since this was decided".to_owned())
}

async fn annotate(api: &Api<SlimPod>, key: &PodKey, note: Option<&LastResize>) -> Result<(), kube::Error> {
    let text = note.and_then(|it| serde_json::to_string(it).ok());
    let patch = json!({"metadata": {"uid": &*key.uid, "annotations": {(names::LAST_RESIZE): text}}});
    api.patch(&key.name, &params(), &Patch::Merge(&patch)).await.map(drop)
}

async fn evict(client: &Client, key: &PodKey) -> Answer {
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    let only_this = Preconditions { uid: Some(key.uid.to_string()), ..Preconditions::default() };
    let delete = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
    match api.evict(&key.name, &params).await {
        Ok(_) => Answer::Accepted { generation: None },
        Err(error) => answer_of(error),
    }
}

async fn roll_out(client: &Client, workload: &WorkloadKey, now: Timestamp) -> Answer {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {(names::ROLLOUT): now.to_string()}}}}});
    let result = match &*workload.kind {
        "Deployment" => touch::<Deployment>(client, workload, &patch).await,
        "StatefulSet" => touch::<StatefulSet>(client, workload, &patch).await,
        "DaemonSet" => touch::<DaemonSet>(client, workload, &patch).await,
        kind => return Answer::Refused(format!("a {kind} cannot be restarted through its template")),
    };
    result.map_or_else(answer_of, |()| Answer::Accepted { generation: None })
}

async fn touch<K>(client: &Client, workload: &WorkloadKey, patch: &serde_json::Value) -> Result<(), kube::Error>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(client.clone(), &workload.namespace);
    api.patch(&workload.name, &params(), &Patch::Merge(patch)).await.map(drop)
}

/// How often an autoscaler is read anew where somebody else wrote it first: its own controller does, and so do siblings.
const TRIES: usize = 4;

/// Give an autoscaler its CPU target, and write down with it where it stood: one write, so that neither is ever there alone.
pub async fn aim_at(client: &Client, namespace: &str, target: &Target, mandate: &Mandate) -> Answer {
    let api = Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), namespace);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let mut answer = Answer::Failed("it was not tried".to_owned());
    for _ in 0..TRIES {
        let mut object = match api.get(&target.name).await {
            Ok(object) => object,
            Err(error) => return answer_of(error),
        };
        let (is_noted, is_aimed) = (note(&mut object, target), aim(&mut object, target.to, target.to));
        if is_noted && is_aimed {
            return Answer::Accepted { generation: None };
        }
        if !aim(&mut object, target.from, target.to) {
            let (name, from) = (&target.name, target.from);
            return Answer::Overtaken(format!("horizontalpodautoscaler/{name} no longer targets {from} % of CPU"));
        }
        if !mandate.holds() {
            return lost();
        }
        match api.replace(&target.name, &params, &object).await {
            Ok(_) => return Answer::Accepted { generation: None },
            Err(error) => answer = answer_of(error),
        }
        if !matches!(answer, Answer::Overtaken(_)) {
            break;
        }
    }
    answer
}

/// Write the anchor on an autoscaler, or take it off; whether that was so already.
fn note(object: &mut HorizontalPodAutoscaler, target: &Target) -> bool {
    let annotations = object.metadata.annotations.get_or_insert_default();
    let text = target.anchor.as_ref().and_then(|it| serde_json::to_string(it).ok());
    let was = match text.clone() {
        Some(text) => annotations.insert(names::ADJUSTED_TARGET.to_owned(), text),
        None => annotations.remove(names::ADJUSTED_TARGET),
    };
    was == text
}

/// Change the CPU target in place; `false` where it is not what was expected.
fn aim(object: &mut HorizontalPodAutoscaler, from: u32, to: u32) -> bool {
    let metrics = object.spec.metrics.iter_mut().flatten();
    let targets = metrics.filter_map(|it| match (&mut it.resource, &mut it.container_resource) {
        (Some(it), _) if it.name == "cpu" => Some(&mut it.target),
        (None, Some(it)) if it.name == "cpu" => Some(&mut it.target),
        _ => None,
    });
    let mut found = false;
    for target in targets {
        if target.average_utilization == i32::try_from(from).ok() {
            target.average_utilization = i32::try_from(to).ok();
            found = true;
        }
    }
    found
}

/// What containers get, for the log: `app: cpu 100m:200m → 250m:500m`.
pub fn in_words(pod: &Pod, change: &Change) -> String {
    let Ok(after) = change.applied_to(pod) else { return String::new() };
    let names: BTreeMap<_, _> = change.containers.iter().collect();
    let containers = crate::outcome::compare(change, pod, &after);
    debug_assert_eq!(names.len(), containers.len());
    crate::outcome::in_words(&containers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use supple_decide::code::Code;

    use super::*;

    #[test]
    fn only_the_target_that_was_read_is_changed() {
        let mut object: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
            ]},
        }))
        .unwrap();
        assert!(!aim(&mut object, 60, 35));
        assert!(aim(&mut object, 70, 35));
        let targets: Vec<_> = object.spec.metrics.unwrap().into_iter().filter_map(|it| it.resource).collect();
        assert_eq!(targets.iter().map(|it| it.target.average_utilization).collect::<Vec<_>>(), [Some(35), Some(70)]);
    }

    #[test]
    fn a_pod_that_was_resized_meanwhile_is_another() {
        let pod = |generation: i64, note: Option<&LastResize>| -> Pod {
            let annotations = note.map(|it| json!({(names::LAST_RESIZE): serde_json::to_string(it).unwrap()}));
            let meta = json!({"namespace": "n", "name": "p", "uid": "u", "generation": generation, "annotations": annotations});
            serde_json::from_value(json!({"metadata": meta, "spec": {"containers": []}})).unwrap()
        };
        let known = pod(1, None);
        let key = PodKey::of(&known);
        let note = LastResize::of(&known, &Change::default(), Author::Controller, Timestamp::UNIX_EPOCH);
        let noted = Noted::of(&note);
        assert_eq!(is_another(&key, &known, None, &pod(2, None)), None);
        assert_eq!(is_another(&key, &known, Some(&noted), &pod(2, Some(&note))), None);
        // As after a lost answer: the same change once more changes nothing, and the generation does not tell.
        assert!(is_another(&key, &known, None, &pod(2, Some(&note))).is_some());
        assert!(is_another(&key, &known, Some(&noted), &pod(2, None)).is_some());
        assert!(is_another(&key, &known, None, &pod(3, None)).is_some());
    }

    #[test]
    fn what_could_not_wait_is_noted_as_such_and_stays_so() {
        let meta = json!({"namespace": "n", "name": "p", "uid": "u", "generation": 1});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": {"containers": []}})).unwrap();
        let order = |cannot_wait| Order {
            action: Action {
                pod: PodKey::of(&pod),
                workload: WorkloadKey { namespace: "n".into(), kind: "Pod".into(), name: "p".into() },
                what: What::Resize(Change::default()),
                code: Code::Resize,
                why: String::new(),
                cannot_wait,
            },
            pod: pod.clone(),
            note: None,
            inherited: false,
            recreated: None,
            no_room_since: None,
        };
        for (cannot_wait, by, urgent) in [
            (true, Author::Controller, true),
            (false, Author::Controller, false),
            (true, Author::RollBack, false), // what is taken back is not guarded, and all of it is urgent
        ] {
            let note = note_for(&order(cannot_wait), &Change::default(), by, Timestamp::UNIX_EPOCH);
            assert_eq!(note.urgent, urgent, "{by:?}");
            assert_eq!(note_of(&Noted::of(&note)), note);
            let text = serde_json::to_string(&note).unwrap();
            assert_eq!((text.contains("urgent"), serde_json::from_str(&text).ok()), (urgent, Some(note)));
        }
    }

    fn refusal(code: u16, cause: &str) -> Answer {
        let details = json!({"causes": [{"reason": cause, "message": "m", "field": ""}]});
        let status = json!({"status": "Failure", "message": "m", "reason": "", "code": code, "details": details});
        answer_of(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[track_caller]
    fn check(code: u16, expect: fn(String) -> Answer) {
        assert_eq!(refusal(code, ""), expect("m".to_owned()), "{code}");
    }

    #[test]
    fn what_an_error_says() {
        check(404, Answer::Overtaken);
        check(409, Answer::Overtaken);
        check(422, Answer::Refused);
        check(403, Answer::Refused);
        check(429, Answer::Busy);
        assert_eq!(refusal(429, BUDGET), Answer::Blocked("m".to_owned()));
        check(500, Answer::Failed);
        check(503, Answer::Failed);
    }
}
