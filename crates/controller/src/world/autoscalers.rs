//! What is written into the status of `VerticalPodAutoscaler` objects that are ours: with the workload that they speak of, and
//! by itself where there is none, or where another of ours has the last word about it.

use std::sync::Arc;

use jiff::Timestamp;
use supple_api::vpa_status::{self, Known};
use supple_api::{Problem, VerticalPodAutoscaler, autoscaler};
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;

use super::World;
use crate::event::Effect;
use crate::rules::VpaWritten;

impl World {
    /// The status of the VPA object that speaks of the workload, where it is ours and something in it changes.
    pub(super) fn write_autoscaler(&self, workload: &WorkloadKey, now: Timestamp) -> Option<Effect> {
        let subject = self.view.scene.workloads.get(workload)?;
        let name = self.autoscalers.get(workload)?;
        let object = self.rules.autoscaler(&workload.namespace, name)?;
        let known = Known {
            needs: &subject.needs,
            policy: &subject.policy,
            pods: self.view.members(workload).count(),
            problems: &self.problems_of(object),
            overruled_by: None,
        };
        said(object, (&workload.namespace, name), &known, now)
    }

    /// The statuses of VPA objects of ours that have no workload to be written with, where they are not what they should be: at
    /// most so many. What could not be written is otherwise at the next call too.
    pub(super) fn unheard_autoscalers(&self, now: Timestamp, most: usize) -> Vec<Effect> {
        if self.rules.is_behind() || !self.rules.is_read() {
            return Vec::new();
        }
        let unheard = self.rules.own_autoscalers().filter_map(|((namespace, name), object)| {
            let target = object.spec.target_ref.as_ref();
            let workload = target.map(|it| WorkloadKey {
                namespace: namespace.clone(),
                kind: it.kind.as_str().into(),
                name: it.name.as_str().into(),
            });
            let followed = workload.as_ref().and_then(|it| self.autoscalers.get(it));
            if followed == Some(name) {
                return None;
            }
            let members = workload.as_ref().map_or(0, |it| self.view.members(it).count());
            let is_known = workload.as_ref().is_some_and(|it| self.view.scene.workloads.contains_key(it));
            if members > 0 && !is_known {
                return None; // its pods have only just come
            }
            let known = Known {
                needs: &Few::new(),
                policy: &self.rules.built_in(),
                // Pods of another group's workload of the name are not its.
                pods: if followed.is_some() { members } else { 0 },
                problems: &self.problems_of(object),
                overruled_by: followed.map(|it| &**it),
            };
            said(object, (namespace, name), &known, now)
        });
        unheard.take(most).collect()
    }

    fn problems_of(&self, object: &VerticalPodAutoscaler) -> Vec<Problem> {
        self.rules.problems_of(&autoscaler::object(object)).into_iter().cloned().collect()
    }
}

/// Its status, where something in it changes.
fn said(
    object: &VerticalPodAutoscaler,
    (namespace, name): (&Arc<str>, &Arc<str>),
    known: &Known<'_>,
    now: Timestamp,
) -> Option<Effect> {
    let status = vpa_status::status(object, known, now);
    (object.status.as_ref() != Some(&status))
        .then(|| Effect::WriteVpa(Box::new(VpaWritten { name: (namespace.clone(), name.clone()), status })))
}
