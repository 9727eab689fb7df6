//! What a Deployment's status says: counts, and whether the rollout goes forward (reference: `progress.go`,
//! `sync.go` calculateStatus).

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::plan::{Plan, Scene};
use super::Wanted;
use super::fleet::{Fleet, available, replicas, running};

const PROGRESSING: &str = "Progressing";
const DONE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|it| it.type_ == type_)
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|it| it.type_ != type_);
    }
    if status.conditions.as_ref().is_some_and(Vec::is_empty) {
        status.conditions = None;
    }
}

/// Puts a condition in, at the end. One with the same status and reason stays as it is; the time of transition changes
/// with the status alone.
fn set(status: &mut DeploymentStatus, type_: &str, is: &str, reason: &str, message: String, now: Time) {
    let old = find(status, type_).filter(|it| it.status == is).cloned();
    if old.as_ref().is_some_and(|it| it.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = old.and_then(|it| it.last_transition_time).unwrap_or_else(|| now.clone());
    remove(status, type_);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: type_.to_owned(),
        status: is.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(now),
        last_transition_time: Some(since),
    });
}

/// Notes that a rollout was paused or goes on, so that the time in between does not count as lack of progress; whether
/// that is news.
pub(super) fn note_pause(status: &mut DeploymentStatus, paused: bool, now: Time) -> bool {
    let reason = find(status, PROGRESSING).and_then(|it| it.reason.as_deref());
    let was_paused = reason == Some(PAUSED);
    if reason == Some(TIMED_OUT) || paused == was_paused {
        return false;
    }
    let (reason, message) =
        if paused { (PAUSED, "Deployment is paused") } else { ("DeploymentResumed", "Deployment is resumed") };
    set(status, PROGRESSING, "Unknown", reason, message.to_owned(), now);
    true
}

/// Notes the set of the present template, if nothing is known of progress yet.
pub(super) fn note_found(status: &mut DeploymentStatus, name: &str, now: Time) {
    if find(status, PROGRESSING).is_none() {
        set(status, PROGRESSING, "True", "FoundNewReplicaSet", format!("Found new replica set \"{name}\""), now);
    }
}

/// Notes that the set of the present template has been made.
pub(super) fn note_created(status: &mut DeploymentStatus, name: &str, now: Time) {
    set(status, PROGRESSING, "True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""), now);
}

/// Notes that it could not be made.
pub(super) fn note_not_created(status: &mut DeploymentStatus, name: &str, why: &str, now: Time) {
    let message = format!("Failed to create new replica set \"{name}\": {why}");
    set(status, PROGRESSING, "False", "ReplicaSetCreateError", message, now);
}

/// The counts, and whether enough is available.
pub(super) fn counts(
    scene: &Scene<'_, Deployment>,
    wanted: &Wanted<'_>,
    fleet: &Fleet,
    before: &DeploymentStatus,
) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| fleet.all().map(of).sum::<i32>();
    let some = |count: i32| (count > 0).then_some(count);
    let ripe = sum(available);
    let mut status = DeploymentStatus {
        observed_generation: scene.meta().generation,
        replicas: some(sum(running)),
        updated_replicas: some(fleet.new.as_ref().map_or(0, running)),
        ready_replicas: some(sum(|it| it.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or_default())),
        available_replicas: some(ripe),
        unavailable_replicas: some(sum(replicas) - ripe),
        terminating_replicas: Some(sum(|it| {
            it.status.as_ref().and_then(|it| it.terminating_replicas).unwrap_or_default()
        })),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let (is, reason, message) = if ripe >= wanted.floor() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, "Available", is, reason, message.to_owned(), scene.stamp());
    status
}

fn or_none(count: Option<i32>) -> i32 {
    count.unwrap_or_default()
}

/// Whether every pod is of the present template and available, and no other is left.
pub(super) fn is_complete(wanted: &Wanted<'_>, status: &DeploymentStatus) -> bool {
    [status.updated_replicas, status.replicas, status.available_replicas]
        .into_iter()
        .all(|count| or_none(count) == wanted.replicas)
}

/// Whether anything has come forward since the last status.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let outdated = |it: &DeploymentStatus| or_none(it.replicas) - or_none(it.updated_replicas);
    or_none(new.updated_replicas) > or_none(old.updated_replicas)
        || outdated(new) < outdated(old)
        || or_none(new.ready_replicas) > or_none(old.ready_replicas)
        || or_none(new.available_replicas) > or_none(old.available_replicas)
}

/// Whether the rollout is complete, goes forward, or has stood still for too long.
pub(super) fn judge(
    scene: &Scene<'_, Deployment>,
    wanted: &Wanted<'_>,
    fleet: &Fleet,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    plan: &mut Plan,
) {
    let Some(deadline) = wanted.deadline() else {
        remove(status, PROGRESSING);
        return copy_failure(fleet, status);
    };
    let current = find(before, PROGRESSING).cloned();
    let reason = current.as_ref().and_then(|it| it.reason.as_deref());
    let was_complete = or_none(status.replicas) == or_none(status.updated_replicas) && reason == Some(DONE);
    let about = match &fleet.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.metadata.name.as_deref().unwrap_or_default()),
        None => format!("Deployment \"{}\"", scene.name()),
    };
    let overdue = current.as_ref().and_then(|it| it.last_update_time.as_ref()).map(|updated| {
        updated.0.saturating_add(SignedDuration::from_secs(deadline.into())).unwrap_or(jiff::Timestamp::MAX)
    });
    let complete = is_complete(wanted, status);
    if !was_complete {
        if complete {
            set(status, PROGRESSING, "True", DONE, format!("{about} has successfully progressed."), scene.stamp());
        } else if has_progressed(before, status) {
            // Every progress renews the time of the last update, also under the same reason.
            let since =
                current.as_ref().filter(|it| it.status == "True").and_then(|it| it.last_transition_time.clone());
            remove(status, PROGRESSING);
            set(status, PROGRESSING, "True", "ReplicaSetUpdated", format!("{about} is progressing."), scene.stamp());
            if let (Some(since), Some(last)) = (since, status.conditions.as_mut().and_then(|it| it.last_mut())) {
                last.last_transition_time = Some(since);
            }
        } else if reason != Some(DONE) && (reason == Some(TIMED_OUT) || overdue.is_some_and(|it| it < scene.now)) {
            set(status, PROGRESSING, "False", TIMED_OUT, format!("{about} has timed out progressing."), scene.stamp());
        }
    }
    copy_failure(fleet, status);
    let reason = find(status, PROGRESSING).and_then(|it| it.reason.as_deref());
    if !complete
        && reason != Some(TIMED_OUT)
        && let Some(updated) = find(status, PROGRESSING).and_then(|it| it.last_update_time.as_ref())
    {
        // A second more, because stamps are whole seconds.
        plan.again_after(updated.0, SignedDuration::from_secs(i64::from(deadline) + 1));
    }
}

/// A set that cannot make its pods makes that the Deployment's condition, the newest set first.
fn copy_failure(fleet: &Fleet, status: &mut DeploymentStatus) {
    const FAILURE: &str = "ReplicaFailure";
    let of =
        |set: &ReplicaSet| set.status.as_ref()?.conditions.iter().flatten().find(|it| it.type_ == FAILURE).cloned();
    match fleet.new.as_ref().and_then(of).or_else(|| fleet.old.iter().find_map(of)) {
        Some(failure) => {
            let at = failure.last_transition_time.unwrap_or(Time(jiff::Timestamp::UNIX_EPOCH));
            let (reason, message) = (failure.reason.unwrap_or_default(), failure.message.unwrap_or_default());
            set(status, FAILURE, &failure.status, &reason, message, at);
        }
        None => remove(status, FAILURE),
    }
}
