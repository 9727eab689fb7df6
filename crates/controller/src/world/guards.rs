//! The guards of policies: when they are asked, and what is made of their answers and of their silence.

use std::collections::BTreeSet;

use jiff::Timestamp;
use supple_decide::code::Code;
use supple_decide::facts::Noted;
use supple_decide::guard::{GuardReading, guarded_since};
use supple_decide::key::WorkloadKey;
use supple_decide::note::Author;

use super::{TOLD_AGAIN, World};
use crate::event::{Effect, Told};
use crate::source::prometheus::guards::{Asked, Watched};

impl World {
    /// The guards of workloads of which a resize of ours is being watched, but for those that have not answered yet. What guards have
    /// said that no policy names any more is forgotten.
    pub(super) fn guards(&mut self, now: Timestamp) -> Vec<Effect> {
        let scene = &mut self.view.scene;
        let workloads = &scene.workloads;
        scene.guards.retain(|it, _| workloads.get(it).is_some_and(|it| !it.policy.guards.value.is_empty()));
        let mut asked = Vec::new();
        for (workload, subject) in &self.view.scene.workloads {
            let guards = &subject.policy.guards.value;
            if guards.is_empty() || self.asking.contains(workload) {
                continue;
            }
            let settle = subject.policy.settle.value;
            let is_ours = |it: &&Noted| it.by == Author::Controller && now.duration_since(it.at) < settle;
            let watched = self.pods_of(workload).filter(|it| !it.deleting).filter_map(|pod| {
                let note = pod.note.as_deref().filter(is_ours)?;
                let containers = note.containers.iter().map(|it| it.0.clone()).collect();
                Some(Watched { pod: pod.key.name.clone(), containers, since: guarded_since(pod) })
            });
            let watched: Vec<Watched> = watched.collect();
            if !watched.is_empty() {
                asked.push((workload.clone(), watched, guards.clone()));
            }
        }
        self.asking.extend(asked.iter().map(|it| it.0.clone()));
        asked.into_iter().map(|(workload, watched, guards)| Effect::AskGuards(workload, watched, guards)).collect()
    }

    /// The guards of a workload have been asked: harm that they see is taken back at once, and a guard that cannot be read is told of.
    pub(super) fn guarded(&mut self, workload: WorkloadKey, asked: Asked, now: Timestamp) -> Vec<Effect> {
        self.asking.remove(&workload);
        if !self.view.scene.workloads.contains_key(&workload) {
            return Vec::new(); // its last pod has gone meanwhile
        }
        let Asked { mut readings, unread, withheld } = asked;
        let mut effects = Vec::new();
        if !unread.is_empty() {
            let told = Told {
                at: now,
                code: Code::GuardUnread,
                pod: None,
                workload: workload.clone(),
                message: unread.join("; "),
                gist: None,
            };
            let told = self.seldom(told);
            for why in withheld.iter().filter(|_| told.is_some()) {
                tracing::warn!("{why}");
            }
            effects.extend(told);
        }
        if !readings.is_empty() {
            let known = self.view.scene.guards.get(&workload).map(Vec::as_slice).unwrap_or_default();
            for reading in &mut readings {
                reading.well = reading.well.or_else(|| known.iter().find(|it| is_of_the_same(it, reading))?.well);
            }
            self.view.scene.guards.insert(workload.clone(), readings);
            effects.extend(self.round(now, Some(&BTreeSet::from([workload]))));
        }
        effects
    }

    /// Tell it, unless the same was told of the workload within the last hour.
    fn seldom(&mut self, told: Told) -> Option<Effect> {
        let what = (told.workload.clone(), told.code);
        if self.told.get(&what).is_some_and(|at| told.at.duration_since(*at) < TOLD_AGAIN) {
            return None;
        }
        self.told.insert(what, told.at);
        Some(self.tell(told))
    }
}

/// Whether two readings are of the same guard of the same.
fn is_of_the_same(one: &GuardReading, other: &GuardReading) -> bool {
    (&one.name, &one.pod, &one.container) == (&other.name, &other.pod, &other.container)
}
