//! What nodes, namespaces and budgets have left, as pods are given their places one after the other in a round.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use supple_resize::admission::quota;
use supple_resize::allocate::{Capacity, Used};
use supple_resize::amounts::{Amounts, Requirement, Resource};
use supple_resize::predict::NamespaceSight;

use crate::check::draft::Draft;
use crate::check::sight::{holds_a_place, is_being_recreated, is_under_way, is_watched, is_within, restarts_now};
use crate::facts::{Phase, PodFacts};
use crate::key::WorkloadKey;
use crate::policy::RecreateBy;
use crate::progress::Progress;
use crate::scene::Scene;

/// So long after a pod ceased to be ready the budgets over it may not say so yet.
const BUDGET_LAGS: SignedDuration = SignedDuration::from_secs(10);

/// A disruption budget: its namespace and its name. One may be over pods of several workloads.
type BudgetKey<'a> = (&'a str, &'a str);

/// What is left of everything.
#[derive(Debug, Default)]
pub struct Ledger<'a> {
    nodes: BTreeMap<&'a str, NodeRoom>,
    namespaces: BTreeMap<&'a str, NamespaceSight>,
    teams: BTreeMap<&'a WorkloadKey, TeamPlaces>,
    /// Pods of each namespace that are being resized or watched; counted only where some policy asks.
    in_namespaces: BTreeMap<&'a str, u32>,
    /// Pods that are disrupted under a budget and that its status does not show yet: by what was sent or is under way, and by what was
    /// given in this round.
    budgets: BTreeMap<BudgetKey<'a>, u32>,
    /// Resizes under way in the whole cluster.
    pub under_way: u32,
    /// Places that were given, those taken back included: the order of the actions.
    pub seats: u32,
}

/// One node.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRoom {
    /// What there is.
    pub allocatable: Capacity,
    /// What its pods hold.
    pub used: Used,
    /// What pods wait for beyond what they hold: it is kept for them.
    pub reserved: Amounts,
    /// Resizes under way.
    pub under_way: u32,
}

/// What a workload's pods have been given in this round.
#[derive(Clone, Copy, Debug, Default)]
pub struct TeamPlaces {
    /// Pods that were given a resize.
    pub resized: u32,
    /// Pods that will be disturbed.
    pub disturbed: u32,
    /// The workload is restarted as a whole.
    pub rolled_out: bool,
}

/// What was before a pod was given its place.
#[derive(Debug)]
pub struct Undo<'a> {
    node: Option<(&'a str, NodeRoom)>,
    namespace: Option<(&'a str, NamespaceSight)>,
    team: (&'a WorkloadKey, TeamPlaces),
    in_namespace: Option<(&'a str, u32)>,
    budgets: Vec<(BudgetKey<'a>, u32)>,
    under_way: u32,
}

impl<'a> Ledger<'a> {
    /// As the scene stands: one look at every pod. Where only a few pods are judged, of the room of `these` nodes alone, which are
    /// theirs.
    pub fn of(scene: &'a Scene, now: Timestamp, these: Option<&BTreeSet<&str>>) -> Self {
        let mut ledger = Self::default();
        let counts = scene.workloads.values().any(|it| it.policy.namespace_pods_at_once.value.is_some());
        for (name, node) in scene.nodes.iter().filter(|(name, _)| these.is_none_or(|it| it.contains(&***name))) {
            ledger.nodes.insert(name, NodeRoom { allocatable: node.allocatable, ..NodeRoom::default() });
        }
        for (key, pod) in &scene.pods {
            if pod.phase == Phase::Ended {
                continue;
            }
            let acting = scene.acting.get(key);
            let under_way = holds_a_place(pod, now) || acting.is_some();
            if under_way {
                ledger.under_way = ledger.under_way.saturating_add(1);
                // One that restarts was ready when it was sent, and counts as such until its budget shows that it is not.
                let spares = is_being_recreated(pod, scene);
                ledger.disrupt(scene, pod, disrupts(scene, pod, now), spares);
            }
            if counts && (under_way || is_still_watched(scene, pod, now)) {
                let count = ledger.in_namespaces.entry(&*pod.key.namespace).or_default();
                *count = count.saturating_add(1);
            }
            let Some(room) = pod.node.as_deref().and_then(|it| ledger.nodes.get_mut(it)) else { continue };
            let mut held = takes(pod);
            if let Some(change) = acting {
                // What has been sent and does not show yet will be promised before anything that is sent now.
                held = held.max(pod.effective(pod.pod_level.amounts(), |_, it| {
                    let mut next = it.asked;
                    if let Some(sizes) = change.containers.get(&*it.name) {
                        next.set_all(sizes);
                    }
                    next.amounts()
                }));
            }
            room.under_way = room.under_way.saturating_add(u32::from(under_way));
            room.used.cpu.0 = room.used.cpu.0.saturating_add(held.cpu_request.0);
            room.used.memory.0 = room.used.memory.0.saturating_add(held.memory_request.0);
            room.used.pods = room.used.pods.saturating_add(1);
            if waits(pod) {
                room.reserved = room.reserved.plus(beyond(&pod.desired(), &held));
            }
        }
        ledger
    }

    /// As the scene stands for a pod that is made when this one is gone: its namespace alone, in which quotas do not count it any more.
    pub fn without(scene: &'a Scene, pod: &'a PodFacts) -> Self {
        let mut ledger = Self::default();
        let mut place = ledger.namespace(scene, &pod.key.namespace);
        place.quotas = quota::released(&pod.to_pod(), &place.quotas);
        ledger.namespaces.insert(&*pod.key.namespace, place);
        ledger
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<&NodeRoom> {
        self.nodes.get(name)
    }

    /// What a workload's pods were given.
    pub fn team(&self, key: &WorkloadKey) -> TeamPlaces {
        self.teams.get(key).copied().unwrap_or_default()
    }

    /// Pods that are disrupted under a budget and that its status does not show yet, what was given in this round included.
    pub fn disrupted(&self, namespace: &str, budget: &str) -> u32 {
        self.budgets.get(&(namespace, budget)).copied().unwrap_or_default()
    }

    /// Pods of a namespace that are being resized or watched, what was given in this round included.
    pub fn in_namespace(&self, name: &str) -> u32 {
        self.in_namespaces.get(name).copied().unwrap_or_default()
    }

    /// A namespace's limit ranges and quotas, what was charged in this round included.
    pub fn namespace(&self, scene: &Scene, name: &str) -> NamespaceSight {
        if let Some(known) = self.namespaces.get(name) {
            return known.clone();
        }
        let Some(facts) = scene.namespaces.get(name) else { return NamespaceSight::default() };
        NamespaceSight { limit_ranges: facts.limit_ranges.clone(), quotas: facts.quotas.clone() }
    }

    /// Give a pod its place.
    pub fn place(&mut self, scene: &'a Scene, pod: &'a PodFacts, draft: &Draft, place: Place) -> Undo<'a> {
        self.seats = self.seats.saturating_add(1);
        let node = pod.node.as_deref().and_then(|it| Some((it, *self.nodes.get(it)?)));
        let mut undo = Undo {
            node,
            namespace: None,
            team: (&pod.workload, self.team(&pod.workload)),
            in_namespace: None,
            budgets: Vec::new(),
            under_way: self.under_way,
        };
        let goes = if place.rolls_out { rollout_takes(scene, pod) } else { u32::from(place.disturbs) };
        undo.budgets = self.disrupt(scene, pod, goes, true);
        let team = self.teams.entry(&pod.workload).or_default();
        team.disturbed = team.disturbed.saturating_add(u32::from(place.disturbs));
        team.rolled_out |= place.rolls_out;
        if !place.resizes {
            return undo;
        }
        team.resized = team.resized.saturating_add(1);
        self.under_way = self.under_way.saturating_add(1);
        let count = self.in_namespaces.entry(&*pod.key.namespace).or_default();
        undo.in_namespace = Some((&*pod.key.namespace, *count));
        *count = count.saturating_add(1);
        if let Some(room) = pod.node.as_deref().and_then(|it| self.nodes.get_mut(it)) {
            let held = takes(pod);
            let next = pod
                .effective(pod.pod_level.amounts(), |index, _| draft.next(pod, index, |it| draft.goes(it)).amounts());
            room.under_way = room.under_way.saturating_add(1);
            let replace = |used: &mut i64, held: i64, next: i64| *used = used.saturating_sub(held).saturating_add(next);
            replace(&mut room.used.cpu.0, held.cpu_request.0, next.cpu_request.0);
            replace(&mut room.used.memory.0, held.memory_request.0, next.memory_request.0);
            if waits(pod) {
                let given_up = beyond(&pod.desired(), &held);
                let less = |mine: &mut i64, other: i64| *mine = mine.saturating_sub(other);
                less(&mut room.reserved.cpu_request.0, given_up.cpu_request.0);
                less(&mut room.reserved.memory_request.0, given_up.memory_request.0);
            }
        }
        undo.namespace = self.charge(scene, pod, draft);
        undo
    }

    /// Charge the budgets over a pod for so many pods of its workload; what stood there before.
    fn disrupt(&mut self, scene: &'a Scene, pod: &'a PodFacts, pods: u32, spares: bool) -> Vec<(BudgetKey<'a>, u32)> {
        let subject = scene.workloads.get(&pod.workload).filter(|_| pods > 0);
        let budgets =
            subject.map_or(&[][..], |it| it.facts.budgets.as_slice()).iter().filter(|it| !spares || !it.spares(pod));
        let charge = |key: BudgetKey<'a>| {
            let count = self.budgets.entry(key).or_default();
            let before = *count;
            *count = before.saturating_add(pods);
            (key, before)
        };
        budgets.map(|it| (&*pod.key.namespace, &*it.name)).map(charge).collect()
    }

    /// Charge the namespace's quotas; what they were before, if there are any.
    fn charge(&mut self, scene: &'a Scene, pod: &'a PodFacts, draft: &Draft) -> Option<(&'a str, NamespaceSight)> {
        let name = &*pod.key.namespace;
        if scene.namespaces.get(name).is_none_or(|it| it.quotas.is_empty()) {
            return None;
        }
        let before = self.namespace(scene, name);
        let old = pod.to_pod();
        let new = draft.change(pod).applied_to(&old).ok()?;
        let mut after = before.clone();
        for charge in quota::check(&new, Some(&old), &before.quotas).unwrap_or_default() {
            let charged = after.quotas.iter_mut().find(|it| it.metadata.name.as_deref() == Some(&charge.quota));
            if let Some(status) = charged.and_then(|it| it.status.as_mut()) {
                status.used = Some(charge.used);
            }
        }
        self.namespaces.insert(name, after);
        Some((name, before))
    }

    /// Take a place back, the newest first.
    pub fn undo(&mut self, undo: Undo<'a>) {
        if let Some((name, room)) = undo.node {
            self.nodes.insert(name, room);
        }
        if let Some((name, namespace)) = undo.namespace {
            self.namespaces.insert(name, namespace);
        }
        self.teams.insert(undo.team.0, undo.team.1);
        self.in_namespaces.extend(undo.in_namespace);
        self.budgets.extend(undo.budgets);
        self.under_way = undo.under_way;
    }
}

/// What a place is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// A resize is sent.
    pub resizes: bool,
    /// The pod or one of its containers is restarted.
    pub disturbs: bool,
    /// Its workload is restarted as a whole.
    pub rolls_out: bool,
}

/// What a pod takes of its node: what it holds, or what its node is about to give it.
pub fn takes(pod: &PodFacts) -> Amounts {
    if is_under_way(pod) { pod.held().max(pod.desired()) } else { pod.held() }
}

/// Whether the pod was resized so lately that it is still watched, by the policy of its workload.
fn is_still_watched(scene: &Scene, pod: &PodFacts, now: Timestamp) -> bool {
    let settle = || scene.workloads.get(&pod.workload).map(|it| it.policy.settle.value);
    pod.note.is_some() && !pod.deleting && settle().is_some_and(|it| is_watched(pod, it, now))
}

/// How many pods of its workload are disrupted, or about to be, by what was sent to this one or is under way with it, where no budget
/// shows it yet. A pod that is on its way out does: whoever evicts one charges its budget first.
fn disrupts(scene: &Scene, pod: &PodFacts, now: Timestamp) -> u32 {
    let recreates = || scene.workloads.get(&pod.workload).map(|it| it.policy.recreate_by.value);
    if pod.deleting {
        0
    } else if is_being_recreated(pod, scene) {
        if recreates() == Some(RecreateBy::Rollout) { rollout_takes(scene, pod) } else { 1 }
    } else {
        let shows = pod.unready.is_some_and(|it| !is_within(it, BUDGET_LAGS, now));
        u32::from(restarts_now(pod, scene) && !shows)
    }
}

/// How many pods of its workload a rollout takes away at once.
fn rollout_takes(scene: &Scene, pod: &PodFacts) -> u32 {
    scene.workloads.get(&pod.workload).map_or(0, |it| it.facts.rollout_takes)
}

/// Whether the pod waits for room on its node.
pub fn waits(pod: &PodFacts) -> bool {
    matches!(pod.progress, Progress::Deferred(_)) && !pod.deleting
}

/// The requests of `wanted` that are beyond those of `held`.
fn beyond(wanted: &Amounts, held: &Amounts) -> Amounts {
    let mut beyond = Amounts::default();
    for resource in [Resource::Cpu, Resource::Memory] {
        let get = |it: &Amounts| it.get(resource, Requirement::Request);
        beyond.set(resource, Requirement::Request, get(wanted).saturating_sub(get(held)).max(0));
    }
    beyond
}

/// What one pod waits for beyond what it holds.
pub fn reservation(pod: &PodFacts) -> Amounts {
    if waits(pod) { beyond(&pod.desired(), &pod.held()) } else { Amounts::default() }
}
