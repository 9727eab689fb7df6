//! What is written into the status of `VerticalPodAutoscaler` objects that are ours: with the workload that they speak of, and
//! by itself where there is none, or where another of ours has the last word about it.

use std::sync::Arc;

use jiff::Timestamp;
use supple_api::resolve::Above;
use supple_api::vpa::CrossVersionObjectReference;
use supple_api::vpa_status::{self, Known};
use supple_api::{Problem, VerticalPodAutoscaler, autoscaler};
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::need::Need;
use supple_decide::policy::Policy;
use supple_decide::scene::Subject;

use super::World;
use crate::event::Effect;
use crate::rules::VpaWritten;
use crate::view::shelf::Name;

impl World {
    /// The status of the VPA object that speaks of the workload, where it is ours and something in it changes. Where it speaks of
    /// several, through what they are made by, it is of all of them.
    pub(super) fn write_autoscaler(&self, workload: &WorkloadKey, now: Timestamp) -> Option<Effect> {
        let name = self.autoscalers.get(workload)?;
        let object = self.rules.autoscaler(&workload.namespace, name)?;
        let spoken_of: Vec<&WorkloadKey> =
            if self.view.is_watched(workload) && target(&workload.namespace, object).as_ref() == Some(workload) {
                vec![workload]
            } else {
                let all = self.spoken_of(&workload.namespace, object);
                all.filter(|it| self.autoscalers.get(*it) == Some(name)).collect()
            };
        let subjects: Vec<&Subject> =
            spoken_of.iter().filter_map(|it| self.view.scene.workloads.get(*it)).map(|it| &**it).collect();
        let (first, others) = subjects.split_first()?;
        let all = (!others.is_empty()).then(|| others.iter().fold(first.needs.clone(), |all, it| with(all, &it.needs)));
        let known = Known {
            needs: all.as_ref().unwrap_or(&first.needs),
            policy: &first.policy,
            pods: spoken_of.iter().map(|it| self.view.members(it).count()).sum(),
            problems: &self.problems_of(object),
            overruled_by: None,
            moved: self.rules.is_moved(&(workload.namespace.clone(), name.clone())),
        };
        said(object, (&workload.namespace, name), &known, now)
    }

    /// The statuses of VPA objects of ours that have no workload to be written with, where they are not what they should be: at
    /// most so many. What could not be written is otherwise at the next call too, which begins behind the last one of this: whatever
    /// becomes of some, all have their turn.
    pub(super) fn unheard_autoscalers(&mut self, now: Timestamp, most: usize) -> Vec<Effect> {
        if self.rules.is_behind() || !self.rules.is_read() {
            return Vec::new();
        }
        let last = self.unheard.take();
        let is_behind = |name: &Name| last.as_ref().is_none_or(|it| name > it);
        let behind = self.rules.own_autoscalers().filter(|(name, _)| is_behind(name));
        let in_turn = behind.chain(self.rules.own_autoscalers().filter(|(name, _)| !is_behind(name)));
        let unheard = in_turn.filter_map(|(full_name @ (namespace, name), object)| {
            // As a rule it is, and then not all of the namespace is looked through.
            if target(namespace, object).is_some_and(|it| self.autoscalers.get(&it) == Some(name)) {
                return None;
            }
            let (mut members, mut followed) = (0, None);
            for workload in self.spoken_of(namespace, object) {
                let pods = self.view.members(workload).count();
                if pods > 0 && !self.view.scene.workloads.contains_key(workload) {
                    return None; // its pods have only just come
                }
                match self.autoscalers.get(workload) {
                    Some(it) if it == name => return None,
                    it => followed = followed.or(it),
                }
                members += pods;
            }
            let known = Known {
                needs: &Few::new(),
                // Nothing else speaks of what is not there.
                policy: &Policy::default().under(autoscaler::layer(object).0),
                // Pods of another group's workload of the name are not its.
                pods: if followed.is_some() { members } else { 0 },
                problems: &self.problems_of(object),
                overruled_by: followed.map(|it| &**it),
                moved: self.rules.is_moved(full_name),
            };
            said(object, (namespace, name), &known, now)
        });
        let unheard: Vec<Effect> = unheard.take(most).collect();
        self.unheard = match unheard.last() {
            Some(Effect::WriteVpa(it)) => Some(it.name.clone()),
            _ => last,
        };
        unheard
    }

    /// The workloads with pods that the target of a VPA object names, or that are made by what it names.
    fn spoken_of<'a>(
        &'a self,
        namespace: &'a Arc<str>,
        object: &'a VerticalPodAutoscaler,
    ) -> impl Iterator<Item = &'a WorkloadKey> {
        let target = object.spec.target_ref.as_ref();
        self.view.with_pods_in(namespace).filter(move |key| {
            let is_above = |it: &CrossVersionObjectReference| {
                let is = |above: Above<'_>| {
                    above.kind == it.kind
                        && above.name == it.name
                        && autoscaler::is_target(&it.kind, it.api_version.as_deref(), above.api_version)
                };
                self.view.above(key).is_some_and(is)
            };
            target.is_some_and(|it| (*it.kind == *key.kind && *it.name == *key.name) || is_above(it))
        })
    }

    fn problems_of(&self, object: &VerticalPodAutoscaler) -> Vec<Problem> {
        self.rules.problems_of(&autoscaler::object(object)).into_iter().cloned().collect()
    }
}

/// The workload that it names, if that is one.
fn target(namespace: &Arc<str>, object: &VerticalPodAutoscaler) -> Option<WorkloadKey> {
    let it = object.spec.target_ref.as_ref()?;
    Some(WorkloadKey { namespace: namespace.clone(), kind: it.kind.as_str().into(), name: it.name.as_str().into() })
}

/// What these containers need and those: of one of the same name the more.
fn with(mut all: Few<Arc<str>, Need>, others: &Few<Arc<str>, Need>) -> Few<Arc<str>, Need> {
    for (name, other) in others.iter() {
        let need = all.get_or_insert_with(name, || name.clone(), Need::default);
        if need.cpu.as_ref().map(|it| it.target) < other.cpu.as_ref().map(|it| it.target) {
            need.cpu.clone_from(&other.cpu);
        }
        if need.memory.as_ref().map(|it| it.target) < other.memory.as_ref().map(|it| it.target) {
            need.memory.clone_from(&other.memory);
        }
    }
    all
}

/// Its status, where something in it changes.
fn said(
    object: &VerticalPodAutoscaler,
    (namespace, name): (&Arc<str>, &Arc<str>),
    known: &Known<'_>,
    now: Timestamp,
) -> Option<Effect> {
    let status = vpa_status::status(object, known, now);
    let stands = object.status.as_ref().is_some_and(|it| vpa_status::stands(it, &status));
    (!stands).then(|| Effect::WriteVpa(Box::new(VpaWritten { name: (namespace.clone(), name.clone()), status })))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::runtime::watcher;
    use serde_json::json;

    use super::super::tests::Stage;
    use super::*;
    use crate::event::Event;
    use crate::rules::{Available, RuleNews};

    #[test]
    fn however_many_are_never_as_they_should_be_all_have_their_turn() {
        let mut stage = Stage::at_work();
        let objects = (0..200).map(|number| {
            serde_json::from_value(json!({
                "metadata": {"namespace": "shop", "name": format!("vpa-{number:03}")},
                "spec": {"targetRef": {"kind": "Deployment", "name": "gone"}, "recommenders": [{"name": "supple"}]},
            }))
            .unwrap()
        });
        let listed = objects.map(watcher::Event::InitApply);
        let listed = [watcher::Event::Init].into_iter().chain(listed).chain([watcher::Event::InitDone]);
        let mut news = vec![RuleNews::Available(Available { ours: true, autoscalers: true })];
        news.extend(listed.map(RuleNews::Autoscaler));
        news.extend([watcher::Event::Init, watcher::Event::InitDone].map(RuleNews::Checkpoint));
        for news in news {
            stage.tell(Event::Rules(Box::new(news)));
        }
        // Nothing of what is written ever stands there.
        let mut written = BTreeSet::new();
        for _ in 0..8 {
            stage.round();
            written.extend(stage.tell(Event::Tick).into_iter().filter_map(|it| match it {
                Effect::WriteVpa(it) => Some(it.name.1),
                _ => None,
            }));
        }
        assert_eq!(written.len(), 200);
    }
}
