//! Carries the effects of a plan out, in order, and says what came of it. It decides nothing.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::expect::Awaited;
use super::plan::{Act, Effect, Told, Trouble};
use super::view::{Key, Kind};
use crate::ClusterClock;
use crate::events::{Note, Series, note};

/// Who writes, as `managedFields` has it.
const MANAGER: &str = "kube-controller-manager";

/// With what, and for whom.
#[derive(Clone)]
pub(super) struct Hands {
    pub client: Client,
    pub clock: ClusterClock,
    /// Who tells the events.
    pub component: &'static str,
    /// The owner.
    pub owner: (Kind, Key, String),
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the view has to show before the owner is looked at again.
    pub awaited: Vec<Awaited>,
    /// Why it ended early.
    pub stopped: Option<Stop>,
}

/// Why a plan was not carried out to its end.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    /// Something changed in between: what the watch brings decides anew.
    Raced,
    /// The server refused, for a reason people should see.
    Refused(Trouble),
}

/// Carry out all of it, or up to the first failure. Pods are made in groups of growing size, so that a quota that
/// refuses the first is not asked five hundred times.
pub(super) async fn carry_out(hands: &Hands, effects: Vec<Effect>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = effects.into_iter().peekable();
    let mut group = 1;
    while let Some(first) = rest.next() {
        let of_many = first.act.is_pod_of_many();
        let mut side_by_side = vec![first];
        while of_many && side_by_side.len() < group && rest.peek().is_some_and(|it| it.act.is_pod_of_many()) {
            side_by_side.extend(rest.next());
        }
        group = if of_many { group * 2 } else { 1 };
        let mut results: FuturesUnordered<_> = side_by_side.into_iter().map(|it| one(hands, it)).collect();
        while let Some(result) = results.next().await {
            match result {
                Ok(awaited) => outcome.awaited.extend(awaited),
                Err(stop) if matches!(outcome.stopped, None | Some(Stop::Raced)) => outcome.stopped = Some(stop),
                Err(_) => {}
            }
        }
        if outcome.stopped.is_some() {
            break;
        }
    }
    outcome
}

async fn one(hands: &Hands, effect: Effect) -> Result<Option<Awaited>, Stop> {
    let Effect { act, done, failed } = effect;
    match write(hands, act).await {
        Ok((name, awaited)) => {
            if let Some(told) = done {
                tell(hands, &told, &name, "").await;
            }
            Ok(awaited)
        }
        Err(error) => {
            let Some(told) = failed.filter(|_| !is_race(&error)) else {
                if !is_race(&error) {
                    let (kind, key, _) = &hands.owner;
                    tracing::warn!(%error, ?kind, %key, "carry out what its controller decided; will retry");
                }
                return Err(Stop::Raced);
            };
            let message = reason(&error);
            tell(hands, &told, "", &message).await;
            Err(Stop::Refused(Trouble { reason: told.reason, message }))
        }
    }
}

/// Whether the write came too late for what it was about, which nobody need be told.
fn is_race(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let terminating = || status.message.contains("because it is being terminated");
    (status.is_conflict() && !status.is_already_exists()) || status.is_not_found() || terminating()
}

fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

async fn tell(hands: &Hands, told: &Told, name: &str, error: &str) {
    let (kind, key, uid) = &hands.owner;
    let resource = kind.resource();
    let regarding = ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        namespace: Some(key.namespace.clone()).filter(|it| !it.is_empty()),
        name: Some(key.name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    };
    // The same thing refused again is the same event, whatever name the server made up in its answer.
    let series = told.text.replace("{name}", name);
    let text = series.replace("{error}", error);
    let Told { kind, reason, .. } = told;
    let series = Series::Counted(&series);
    note(
        &hands.client,
        &hands.clock,
        Note { component: hands.component, regarding, kind, reason, text: &text, series },
    )
    .await;
}

/// The name of what was written, and what the view has to show of it.
async fn write(hands: &Hands, act: Act) -> Result<(String, Option<Awaited>), kube::Error> {
    let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let patch = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let (kind, written) = match act {
        Act::Tell => return Ok((String::new(), None)),
        Act::Create { kind, object } => {
            let object = dynamic(object)?;
            (kind, api(hands, kind, &object.namespace().unwrap_or_default()).create(&post, &object).await?)
        }
        Act::Update { kind, object } => {
            let object = dynamic(object)?;
            let api = api(hands, kind, &object.namespace().unwrap_or_default());
            (kind, api.replace(&object.name_any(), &post, &object).await?)
        }
        Act::Status { kind, object } => {
            let object = dynamic(object)?;
            let api = api(hands, kind, &object.namespace().unwrap_or_default());
            (kind, api.replace_status(&object.name_any(), &post, &object).await?)
        }
        Act::Patch { kind, key, body, adopts } => {
            if adopts {
                owner_is_alive(hands).await?;
            }
            let api = api(hands, kind, &key.namespace);
            (kind, api.patch(&key.name, &patch, &Patch::Merge(&body)).await?)
        }
        Act::Delete { kind, key, uid, dependents_first } => {
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            let policy = dependents_first.then_some(PropagationPolicy::Foreground);
            let params = DeleteParams { preconditions, propagation_policy: policy, ..DeleteParams::default() };
            match api(hands, kind, &key.namespace).delete(&key.name, &params).await {
                Ok(_) => {}
                // It is gone, which is what was wanted.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
            return Ok((key.name.clone(), Some(Awaited::Gone { kind, key, uid })));
        }
    };
    let revision = written.resource_version().and_then(|it| it.parse().ok());
    Ok((written.name_any(), revision.map(|revision| Awaited::Revision { kind, revision })))
}

fn api(hands: &Hands, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    if namespace.is_empty() {
        return Api::all_with(hands.client.clone(), &kind.resource());
    }
    Api::namespaced_with(hands.client.clone(), namespace, &kind.resource())
}

fn dynamic(object: Value) -> Result<DynamicObject, kube::Error> {
    serde_json::from_value(object).map_err(kube::Error::SerdeError)
}

/// Asked of the server, because an owner that is being deleted must not adopt what it has just let go.
async fn owner_is_alive(hands: &Hands) -> Result<(), kube::Error> {
    let (kind, key, uid) = &hands.owner;
    let owner = api(hands, *kind, &key.namespace).get_metadata(&key.name).await?;
    if owner.metadata.uid.as_ref() == Some(uid) && owner.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let message = "the owner has been deleted or replaced in the meantime";
    Err(kube::Error::Api(Box::new(kube::core::Status::failure(message, "Conflict").with_code(409))))
}
