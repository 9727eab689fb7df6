//! The ReplicaSets of a Deployment: the one of its present template, and those of earlier ones.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::super::plan::{Effect, Plan};
use super::super::template;
use super::revision::DESIRED;
use super::scaled;

/// Copies, so that a step can be made on them in thought before it is made.
#[derive(Clone)]
pub(super) struct Fleet {
    /// Of the present template.
    pub new: Option<ReplicaSet>,
    /// All others, oldest first.
    pub old: Vec<ReplicaSet>,
}

/// Which one of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    New,
    Old(usize),
}

/// How many pods a set is to have.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1)
}

/// How many of its pods are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|it| it.available_replicas).unwrap_or_default()
}

/// How many pods it has.
pub(super) fn running(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |it| it.replicas)
}

/// Whether its status is of its present spec.
pub(super) fn is_observed(set: &ReplicaSet) -> bool {
    set.status.as_ref().and_then(|it| it.observed_generation) >= set.metadata.generation
}

/// The name.
pub(super) fn name(set: &ReplicaSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

impl Fleet {
    /// Sorts the sets of a Deployment. If several are of its template, the oldest is the new one, always the same.
    pub(super) fn of(sets: &[&Arc<ReplicaSet>], present: &PodTemplateSpec) -> Self {
        let mut old: Vec<ReplicaSet> = sets.iter().map(|it| ReplicaSet::clone(it)).collect();
        old.sort_by_key(|it| (it.metadata.creation_timestamp.clone(), it.metadata.name.clone()));
        let present = template::canonical(present);
        let is_new = |set: &ReplicaSet| {
            set.spec.as_ref().and_then(|it| it.template.as_ref()).is_some_and(|it| template::canonical(it) == present)
        };
        let new = old.iter().position(is_new).map(|at| old.remove(at));
        Self { new, old }
    }

    /// What differs from the fleet as it was seen, as one write a set.
    pub(super) fn write_out(&self, seen: &Self, plan: &mut Plan) {
        let pairs = seen.old.iter().zip(&self.old).chain(seen.new.iter().zip(&self.new));
        for (before, after) in pairs.filter(|(before, after)| before != after) {
            let (from, to) = (replicas(before), replicas(after));
            let effect = Effect::update(after);
            plan.push(if from == to { effect } else { effect.done(scaled(name(after), from, to)) });
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    /// Those that are to have pods.
    pub(super) fn active(&self) -> Vec<Which> {
        let old = self.old.iter().enumerate().filter(|(_, it)| replicas(it) > 0).map(|(at, _)| Which::Old(at));
        old.chain(self.new.iter().filter(|it| replicas(it) > 0).map(|_| Which::New)).collect()
    }

    /// Whether every status is of its present spec. Until then it says nothing reliable of what a set has: its pods may
    /// be on their way up or down.
    pub(super) fn is_observed(&self) -> bool {
        self.all().all(is_observed)
    }

    /// One of them.
    pub(super) fn get(&self, which: Which) -> Option<&ReplicaSet> {
        match which {
            Which::New => self.new.as_ref(),
            Which::Old(at) => self.old.get(at),
        }
    }

    /// One of them, to be changed in thought.
    pub(super) fn get_mut(&mut self, which: Which) -> Option<&mut ReplicaSet> {
        match which {
            Which::New => self.new.as_mut(),
            Which::Old(at) => self.old.get_mut(at),
        }
    }

    /// How many pods they are to have together.
    pub(super) fn replicas(&self) -> i32 {
        self.all().map(replicas).sum()
    }

    /// Whether the number of replicas has changed since the sets were last given a size.
    pub(super) fn is_being_scaled(&self, wanted: i32) -> bool {
        let active = self.all().filter(|it| replicas(it) > 0);
        active
            .filter_map(|it| template::annotation(&it.metadata, DESIRED)?.parse::<i32>().ok())
            .any(|desired| desired != wanted)
    }
}
