//! What policies come to, for their status and their events: how many workloads each speaks of, what of it could not be read,
//! and which other has the last word. Counted anew only where something has changed, and written only where that is not what stands there.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use supple_api::condition::{CONTESTED, VALID, own_policy_status, policy_status};
use supple_api::layer::{object_of_cluster_policy, object_of_policy};
use supple_api::policy::{Paused, PolicyStatus};
use supple_api::resolve::{Resolved, Tally};
use supple_decide::code::Code;
use supple_decide::key::WorkloadKey;

use super::{TOLD_AGAIN, World};
use crate::event::{Effect, PolicyTold};
use crate::rules::PolicyWritten;
use crate::view::shelf::{Name, name_of};

/// What has been said about each workload, and by which policies.
#[derive(Debug, Default)]
pub(super) struct Heard {
    of: BTreeMap<WorkloadKey, Voices>,
    /// Something is otherwise than when statuses were last compared with what stands in the cluster.
    due: bool,
}

/// Who spoke of one workload.
#[derive(Debug, PartialEq)]
struct Voices {
    layers: Vec<Arc<str>>,
    ties: Vec<(Arc<str>, Arc<str>)>,
}

impl Heard {
    /// This is what holds for a workload now.
    pub(super) fn take(&mut self, workload: &WorkloadKey, resolved: &Resolved) {
        let known = self.of.get(workload);
        if known.is_some_and(|it| it.layers == resolved.layers && it.ties == resolved.ties) {
            return;
        }
        let voices = Voices { layers: resolved.layers.clone(), ties: resolved.ties.clone() };
        self.of.insert(workload.clone(), voices);
        self.due = true;
    }

    /// A workload is gone.
    pub(super) fn forget(&mut self, workload: &WorkloadKey) {
        self.due |= self.of.remove(workload).is_some();
    }

    /// Policies are to be compared with what stands in the cluster at the next opportunity.
    pub(super) const fn again(&mut self) {
        self.due = true;
    }
}

impl World {
    /// The statuses of policies that are not what they should be, at most so many.
    pub(super) fn policy_writes(&mut self, now: Timestamp, most: usize) -> Vec<Effect> {
        if self.rules.take_policies_moved() {
            self.heard.again();
        }
        if !self.heard.due || most == 0 || self.rules.is_behind() {
            return Vec::new();
        }
        let Some(mut tally) = self.rules.tally() else { return Vec::new() };
        for Voices { layers, ties } in self.heard.of.values() {
            tally.add(layers, ties);
        }
        let said: Vec<Said<'_>> = self.said().collect();
        let mut wanted = said.iter().filter_map(|it| Some((it, it.wanted(&tally, now)?)));
        let mut effects = Vec::new();
        for (policy, status) in wanted.by_ref().take(most) {
            effects.extend(news(policy, &status, now).into_iter().map(|it| Effect::TellPolicy(Box::new(it))));
            let written = PolicyWritten { name: policy.name.clone(), uid: policy.uid.clone(), status };
            effects.push(Effect::WritePolicy(Box::new(written)));
        }
        self.heard.due = wanted.next().is_some();
        effects
    }

    /// What of the layers that speak of a workload could not be read, or is refused.
    pub(crate) fn problems_about(&self, workload: &WorkloadKey) -> Vec<String> {
        let layers = self.heard.of.get(workload).into_iter().flat_map(|it| &it.layers);
        layers.flat_map(|it| self.rules.problems_of(it)).map(ToString::to_string).collect()
    }

    /// Every policy, those of the cluster first.
    fn said(&self) -> impl Iterator<Item = Said<'_>> {
        let cluster = self.rules.cluster_policies().map(|it| Said {
            kind: "ClusterRightsizePolicy",
            object: object_of_cluster_policy(it),
            name: name_of(it),
            uid: it.uid(),
            generation: it.metadata.generation,
            before: it.status.as_ref(),
            pause: it.spec.policy.paused.as_ref(),
        });
        let namespaced = self.rules.policies().map(|it| Said {
            kind: "RightsizePolicy",
            object: object_of_policy(it),
            name: name_of(it),
            uid: it.uid(),
            generation: it.metadata.generation,
            before: it.status.as_ref(),
            pause: it.spec.paused.as_ref(),
        });
        cluster.chain(namespaced)
    }

    /// The policy that has the last word about a workload is told that one of its pods was rolled back, once an hour.
    pub(super) fn tell_rolled_back(&mut self, workload: &WorkloadKey, why: &str, now: Timestamp) -> Option<Effect> {
        let what = (workload.clone(), Code::RollBack);
        if self.told.get(&what).is_some_and(|at| now.duration_since(*at) < TOLD_AGAIN) {
            return None;
        }
        let layers = &self.heard.of.get(workload)?.layers;
        let policy = layers.iter().rev().find_map(|layer| self.said().find(|it| *it.object == **layer))?;
        let message = format!("a resize of {workload} under this policy caused harm and was rolled back: {why}");
        let told = policy.tell(Code::RollBack.as_str(), true, message, now);
        self.told.insert(what, now);
        Some(Effect::TellPolicy(Box::new(told)))
    }
}

/// One policy, of either kind.
struct Said<'a> {
    kind: &'static str,
    object: String,
    name: Name,
    uid: Option<String>,
    generation: Option<i64>,
    before: Option<&'a PolicyStatus>,
    pause: Option<&'a Paused>,
}

impl Said<'_> {
    /// What is to stand in its status; `None`: it does.
    fn wanted(&self, tally: &Tally, now: Timestamp) -> Option<PolicyStatus> {
        let status = policy_status(&tally.of(&self.object), self.generation, self.before, now);
        (self.before.map(own_policy_status).as_ref() != Some(&status)).then_some(status)
    }

    fn tell(&self, reason: &'static str, is_warning: bool, message: String, at: Timestamp) -> PolicyTold {
        let (name, uid) = (self.name.clone(), self.uid.clone());
        PolicyTold { at, kind: self.kind, name, uid, reason, is_warning, message }
    }
}

/// What its author has to know: only what is otherwise than the status said before, so that nothing is told twice, and nothing
/// anew by whoever leads next.
fn news(policy: &Said<'_>, status: &PolicyStatus, now: Timestamp) -> Vec<PolicyTold> {
    let mut news = Vec::new();
    let is_new = policy.before.is_none_or(|it| it.observed_generation != status.observed_generation);
    let condition = |status: &PolicyStatus, kind: &str| {
        status.conditions.iter().find(|it| it.type_ == kind).map(|it| (it.status == "True", it.message.clone()))
    };
    let of = |kind: &str| (policy.before.and_then(|it| condition(it, kind)), condition(status, kind));
    match of(VALID) {
        (before, Some((false, why))) if before.as_ref().is_none_or(|it| it.0 || it.1 != why) => {
            news.push(policy.tell("NotRead", true, format!("a part of it is ignored: {why}"), now));
        }
        (Some((false, _)), Some((true, _))) => {
            news.push(policy.tell("Read", false, "all of it is valid again".to_owned(), now));
        }
        _ => {}
    }
    if let (before, Some((true, why))) = of(CONTESTED)
        && before.as_ref().is_none_or(|it| !it.0 || it.1 != why)
    {
        news.push(policy.tell("SameWeight", true, why, now));
    }
    let had_some = policy.before.is_some_and(|it| it.matched_workloads > 0);
    if status.matched_workloads == 0 && (is_new || had_some) {
        let message = "it matches no workload with pods: check its targetRef, selectors and namespace";
        news.push(policy.tell("SelectsNothing", true, message.to_owned(), now));
    }
    if let Some(pause) = policy.pause.filter(|_| is_new) {
        let until = match &pause.until {
            Some(until) if until.parse::<Timestamp>().is_ok_and(|it| it <= now) => return news,
            Some(until) => format!("it is paused until {until}"),
            None => "it is paused until the pause is removed".to_owned(),
        };
        let why = if pause.reason.is_empty() { "no reason given" } else { &pause.reason };
        news.push(policy.tell(Code::Paused.as_str(), false, format!("{until}: {why}"), now));
    }
    news
}
