//! What policies come to, for their status: how many workloads each speaks of, what of it could not be read, and which other
//! has the last word. Counted anew only where something has changed, and written only where that is not what stands there.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use supple_api::condition::{own_policy_status, policy_status};
use supple_api::layer::{object_of_cluster_policy, object_of_policy};
use supple_api::policy::PolicyStatus;
use supple_api::resolve::{Resolved, Tally};
use supple_decide::key::WorkloadKey;

use super::World;
use crate::event::Effect;
use crate::rules::PolicyWritten;
use crate::view::shelf::name_of;

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
        if !self.heard.due || most == 0 {
            return Vec::new();
        }
        let Some(mut tally) = self.rules.tally() else { return Vec::new() };
        for Voices { layers, ties } in self.heard.of.values() {
            tally.add(layers, ties);
        }
        let namespaced = self.rules.policies().filter_map(|it| {
            let status = wanted(&tally, &object_of_policy(it), it.metadata.generation, it.status.as_ref(), now)?;
            Some(PolicyWritten { name: name_of(it), uid: it.uid(), status })
        });
        let cluster = self.rules.cluster_policies().filter_map(|it| {
            let status =
                wanted(&tally, &object_of_cluster_policy(it), it.metadata.generation, it.status.as_ref(), now)?;
            Some(PolicyWritten { name: name_of(it), uid: it.uid(), status })
        });
        let mut wanted = cluster.chain(namespaced);
        let effects: Vec<Effect> = wanted.by_ref().take(most).map(|it| Effect::WritePolicy(Box::new(it))).collect();
        self.heard.due = wanted.next().is_some();
        effects
    }
}

/// What is to stand in the status of a policy; `None`: it does.
fn wanted(
    tally: &Tally,
    object: &str,
    generation: Option<i64>,
    before: Option<&PolicyStatus>,
    now: Timestamp,
) -> Option<PolicyStatus> {
    let status = policy_status(&tally.of(object), generation, before, now);
    (before.map(own_policy_status).as_ref() != Some(&status)).then_some(status)
}
