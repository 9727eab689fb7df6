//! How many pods each generation is to have next, in thought: the fleet is changed, and what differs from the one that was
//! seen is written out at the end (reference: `rolling.go`, `recreate.go`, `sync.go`).

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::super::template::annotation;
use super::Wanted;
use super::fleet::{self, Fleet, Which, available, replicas};
use super::revision::{DESIRED, MAX, note_sizes};

/// Give one of them a size; whether that changes it.
fn resize(wanted: &Wanted<'_>, fleet: &mut Fleet, which: Which, size: i32) -> bool {
    let Some(set) = fleet.get_mut(which) else { return false };
    let before = replicas(set);
    note_sizes(set, wanted);
    if let Some(spec) = &mut set.spec {
        spec.replicas = Some(size);
    }
    before != size
}

/// As [`resize`], but leaves alone what has the size.
fn resize_if_needed(wanted: &Wanted<'_>, fleet: &mut Fleet, which: Which, size: i32) -> bool {
    fleet.get(which).is_some_and(|it| replicas(it) != size) && resize(wanted, fleet, which, size)
}

/// How many pods the new generation may have now: as many as wanted, but never more in all than the surge lets. Pods
/// that are to go count as long as they are there: the reference goes by what is asked for, and for a moment can have
/// more.
pub(super) fn room_for_new(wanted: &Wanted<'_>, fleet: &Fleet) -> i32 {
    let size = fleet.new.as_ref().map_or(0, replicas);
    if !wanted.is_rolling {
        return wanted.replicas;
    }
    if !fleet.is_observed() {
        return size;
    }
    let there = |set: &ReplicaSet| replicas(set).max(fleet::running(set));
    let room = wanted.ceiling().saturating_sub(fleet.all().map(there).sum()).max(0);
    (fleet.new.as_ref().map_or(0, there) + room).min(wanted.replicas).max(size)
}

/// The new generation up (or down, if it is too big); whether it moves.
pub(super) fn new_up(wanted: &Wanted<'_>, fleet: &mut Fleet) -> bool {
    let Some(size) = fleet.new.as_ref().map(replicas) else { return false };
    let next = if size > wanted.replicas { wanted.replicas } else { room_for_new(wanted, fleet) };
    resize_if_needed(wanted, fleet, Which::New, next)
}

/// Old generations down as far as enough stays available; whether any moves. What does not work goes first: it is
/// missed by nobody, and kept it would hold up the rollout for ever.
pub(super) fn old_down(wanted: &Wanted<'_>, fleet: &mut Fleet) -> bool {
    if fleet.old.iter().all(|it| replicas(it) == 0) || !fleet.is_observed() {
        return false;
    }
    let unready_new = fleet.new.as_ref().map_or(0, |it| replicas(it) - available(it));
    let spare = fleet.replicas() - wanted.floor() - unready_new;
    if spare <= 0 {
        return false;
    }
    let mut down = 0;
    for at in 0..fleet.old.len() {
        let unhealthy = replicas(&fleet.old[at]) - available(&fleet.old[at]);
        let step = unhealthy.min(spare - down);
        if step > 0 {
            let size = replicas(&fleet.old[at]) - step;
            resize_if_needed(wanted, fleet, Which::Old(at), size);
            down += step;
        }
    }
    let running: i32 = fleet.all().map(|it| available(it).min(replicas(it))).sum();
    let mut left = running - wanted.floor();
    for at in 0..fleet.old.len() {
        let step = replicas(&fleet.old[at]).min(left);
        if step > 0 {
            let size = replicas(&fleet.old[at]) - step;
            resize_if_needed(wanted, fleet, Which::Old(at), size);
            left -= step;
            down += step;
        }
    }
    down > 0
}

/// Every old generation to nothing; whether any moves.
pub(super) fn old_to_zero(wanted: &Wanted<'_>, fleet: &mut Fleet) -> bool {
    let mut moved = false;
    for at in 0..fleet.old.len() {
        moved |= resize_if_needed(wanted, fleet, Which::Old(at), 0);
    }
    moved
}

/// A new number of replicas: to the one generation that runs, or to several in proportion to what each has.
pub(super) fn proportionally(wanted: &Wanted<'_>, deployment: &Deployment, fleet: &mut Fleet) {
    let active = fleet.active();
    if active.len() <= 1 {
        let newest_old = fleet.old.len().checked_sub(1).map(Which::Old);
        let latest = active.first().copied().or(fleet.new.as_ref().map(|_| Which::New)).or(newest_old);
        if let Some(which) = latest {
            resize(wanted, fleet, which, wanted.replicas);
        }
        return;
    }
    if fleet.new.as_ref().is_some_and(|it| is_saturated(wanted, it)) {
        old_to_zero(wanted, fleet);
        return;
    }
    if !wanted.is_rolling {
        return;
    }
    let allowed = if wanted.replicas > 0 { wanted.ceiling() } else { 0 };
    let to_add = allowed - fleet.replicas();
    let mut sets: Vec<(Which, &ReplicaSet)> =
        active.iter().filter_map(|which| Some((*which, fleet.get(*which)?))).collect();
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|it| it.0);
    // Biggest first; of equal ones the newer grows and the older shrinks.
    if to_add > 0 {
        sets.sort_by_key(|(_, set)| (Reverse(replicas(set)), Reverse(age(set)), set.metadata.name.clone()));
    } else {
        sets.sort_by_key(|(_, set)| (Reverse(replicas(set)), age(set), set.metadata.name.clone()));
    }
    let mut added = 0;
    let mut sizes = Vec::new();
    for (which, set) in sets {
        let share = proportion(wanted, deployment, set, to_add, added);
        added += share;
        sizes.push((which, replicas(set) + share));
    }
    if let Some((_, size)) = sizes.first_mut() {
        *size = (*size + to_add - added).max(0);
    }
    for (which, size) in sizes {
        resize(wanted, fleet, which, size);
    }
}

fn is_saturated(wanted: &Wanted<'_>, new: &ReplicaSet) -> bool {
    annotation(&new.metadata, DESIRED).and_then(|it| it.parse().ok()) == Some(wanted.replicas)
        && replicas(new) == wanted.replicas
        && available(new) == wanted.replicas
}

/// How many of `to_add` pods (below zero: to take away) fall to one generation, if `added` have been given out.
fn proportion(wanted: &Wanted<'_>, deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if replicas(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let share = fraction(wanted, deployment, set);
    let allowed = to_add - added;
    if to_add > 0 { share.min(allowed) } else { share.max(allowed) }
}

/// By how much a generation would grow if it kept its part of the whole.
fn fraction(wanted: &Wanted<'_>, deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if wanted.replicas == 0 {
        return -replicas(set);
    }
    let noted = annotation(&set.metadata, MAX).and_then(|it| it.parse::<i64>().ok()).filter(|it| *it > 0);
    let counted = deployment.status.as_ref().and_then(|it| it.replicas).map(i64::from).filter(|it| *it > 0);
    let Some(before) = noted.or(counted) else { return 0 };
    let size = i64::from(replicas(set));
    let scaled = size * i64::from(wanted.ceiling());
    // Half away from zero; nothing here is below it.
    let rounded = (scaled + before / 2) / before;
    i32::try_from(rounded - size).unwrap_or(i32::MAX)
}
