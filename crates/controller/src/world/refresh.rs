//! Before each round: what the watches and the rules have changed is put into the scene, and what the recommenders say now.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::facts::{PodFacts, WorkloadFacts};
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::policy::Policy;
use supple_decide::scene::Subject;
use supple_recommend::state::HOUR;

use super::World;

impl World {
    pub(super) fn refresh(&mut self, now: Timestamp, only: Option<&BTreeSet<WorkloadKey>>) {
        // Between rounds nothing is looked through from end to end: what is gone is forgotten in the next one.
        if only.is_none() {
            self.forget_pods();
            self.forget_workloads(now);
            self.release_those_that_stay(now);
        }
        let there = &self.view.scene.pods;
        self.flights.retain(|it| there.contains_key(it));
        let own = &self.settings.own_namespace;
        let stop = self.view.namespace_words(own).and_then(|it| it.get(supple_api::names::STOP));
        self.view.scene.cluster.stopped = stop.cloned();
        let registration = self.settings.registered.get();
        if !Arc::ptr_eq(&registration, &self.registration) {
            self.registration = registration;
            self.view.all_dirty();
        }
        if self.rules.take_changed(&self.view, now) {
            self.view.all_dirty();
        }
        for workload in self.view.take_dirty() {
            self.refresh_workload(&workload, now);
        }
        self.learn_unseen_kills(now);
        if only.is_none() {
            self.look_at_rest(now);
        }
        let all: Vec<WorkloadKey> = match only {
            Some(only) => only.iter().cloned().collect(),
            None => self.view.scene.workloads.keys().cloned().collect(),
        };
        for workload in all {
            let needs = self.needs_of(&workload, now);
            if let Some(subject) = self.view.scene.workloads.get_mut(&workload) {
                self.outbox.needed(&workload, &subject.needs, &needs);
                subject.needs = needs;
            }
        }
    }

    fn refresh_workload(&mut self, workload: &WorkloadKey, now: Timestamp) {
        if self.view.members(workload).next().is_none() {
            self.scene_forget(workload);
            return;
        }
        // What would be decided, and written down, would stand under a name that is not its own.
        if self.view.is_of_unknown_job(workload) && !self.view.scene.workloads.contains_key(workload) {
            return;
        }
        self.recall(workload);
        let mut facts = self.view.facts_of(workload);
        let Some(resolved) = self.rules.resolve(workload, &facts.api_version, &self.view) else { return };
        self.heard.take(workload, &resolved);
        facts.other_vertical = resolved.other_vertical;
        facts.sized_at_creation = self.view.is_asked_about(workload, &self.registration);
        // A Prometheus tells more of the past than a checkpoint, and no hour is to count twice: it goes first, unless VPA's own hand is
        // over.
        if resolved.autoscaler.is_some() || !self.settings.reads_past {
            self.import(workload, &resolved.autoscalers, &resolved.policy, now);
        }
        match resolved.autoscaler {
            Some(name) => drop(self.autoscalers.insert(workload.clone(), name)),
            None => drop(self.autoscalers.remove(workload)),
        }
        let before = self.view.scene.workloads.get(workload);
        if before.is_none_or(|it| it.policy.cpu_risk != resolved.policy.cpu_risk)
            || before.is_none_or(|it| it.policy.memory_risk != resolved.policy.memory_risk)
        {
            self.history.set_policy(workload, &resolved.policy);
        }
        let subject = Subject {
            facts,
            policy: resolved.policy,
            needs: before.map(|it| it.needs.clone()).unwrap_or_default(),
            record: self.records.get(workload).cloned().unwrap_or_default(),
        };
        self.view.scene.workloads.insert(workload.clone(), Box::new(subject));
    }

    /// The facts of a workload that has no pods now, and what may be done with it.
    pub(super) fn at_rest(&self, workload: &WorkloadKey) -> Option<(WorkloadFacts, Arc<Policy>)> {
        let facts = self.view.facts_of(workload);
        let resolved = self.rules.resolve(workload, &facts.api_version, &self.view)?;
        Some((WorkloadFacts { other_vertical: resolved.other_vertical, ..facts }, resolved.policy))
    }

    /// What VPA's own recommender remembered of a workload, taken over once, be it at first sight or when its object becomes ours:
    /// whoever comes from VPA looks at both for a while before that. A container of which half as much is known already has
    /// lived through the same hours with us, or has been taken over by a process before this one. A checkpoint that nobody has written for a
    /// day says what was used once: that may raise, and is no hour of those that have to be known before anything is lowered.
    fn import(&mut self, workload: &WorkloadKey, autoscalers: &[Arc<str>], policy: &Policy, now: Timestamp) {
        if self.kept.has_imported(workload) {
            return;
        }
        let all = autoscalers.iter().flat_map(|it| self.rules.checkpoints(&workload.namespace, it));
        for checkpoint in all {
            let container = &checkpoint.spec.container_name;
            match checkpoint.status.as_ref().map(supple_api::checkpoint::state) {
                Some(Ok(Some(state))) => {
                    self.kept.imported(workload);
                    let ended = now.as_second().div_euclid(HOUR) - 24;
                    let state = if state.hour.is_none_or(|it| it < ended) { state.of_no_hours() } else { state };
                    if self.history.hours(workload, container) < (state.hours() / 2).max(1) {
                        self.history.adopt(workload, container, state, policy);
                    }
                }
                Some(Err(error)) => tracing::warn!(%workload, container, %error, "it is learned again"),
                Some(Ok(None)) | None => {}
            }
        }
    }

    /// Its last pod is gone. What was learned stays for a while in its `Rightsizing`, which goes with the workload itself.
    fn scene_forget(&mut self, workload: &WorkloadKey) {
        self.view.scene.workloads.remove(workload);
        self.autoscalers.remove(workload);
        self.heard.forget(workload);
        self.view.scene.guards.remove(workload);
        self.told.retain(|(of, _), _| of != workload);
    }

    /// Pods that are gone take along what is only about them.
    pub(super) fn forget_pods(&mut self) {
        let there = &self.view.scene.pods;
        self.view.scene.refused.retain(|it, _| there.contains_key(it));
        self.in_flight.retain(|it, _| there.contains_key(it));
        self.decisions.retain(|it| there.contains_key(it));
        self.last.retain(|it, _| there.contains_key(it));
        self.history.retain_pods(|it| there.contains_key(it));
    }

    fn needs_of(&mut self, workload: &WorkloadKey, now: Timestamp) -> Few<Arc<str>, supple_decide::need::Need> {
        let there = &self.view.scene.pods;
        let members: Vec<&PodFacts> = self.view.members(workload).filter_map(|it| Some(&**there.get(it)?)).collect();
        let measure = measure(&members);
        self.history.needs(workload, now, |container| {
            let pod = measure?;
            let asked = pod.containers.iter().find(|it| &*it.name == container)?.asked;
            Some((pod.key.clone(), asked))
        })
    }
}

/// The pod by whose sizes a plan is weighed: the one we resized last, whose sizes the others are to follow; else the first by
/// name. Were it any other, a plan that says "stay" to a follower would call the leader back.
fn measure<'a>(members: &[&'a PodFacts]) -> Option<&'a PodFacts> {
    let ours = members.iter().filter(|it| it.note.is_some()).max_by_key(|it| it.note.as_ref().map(|it| it.at));
    ours.or_else(|| members.first()).copied()
}
