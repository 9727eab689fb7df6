//! What the webhook has to know, as it was after the last round: a value that is exchanged as a whole, so that an answer never
//! waits for the loop. It decides nothing here: resizes are judged by the model, and new pods are sized by the rules of the loop.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use supple_api::names;
use supple_decide::create::{Creation, Siblings, create};
use supple_decide::facts::{PodFacts, WorkloadFacts};
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::Uses;
use supple_decide::policy::{Mode, Policy};
use supple_decide::scene::{Scene, Subject};

use super::World;
use crate::view::owner::workload_of;
use crate::view::shelf::Name;
use crate::webhook::{Approval, Knowledge, Sizing};

/// The newest of what is known; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<RwLock<Arc<Known>>>);

/// What is known.
#[derive(Debug, Default)]
struct Known {
    uses: BTreeMap<Name, Uses>,
    workloads: BTreeMap<WorkloadKey, Of>,
    /// What is not of one workload: the namespaces of those that act, and the cluster.
    place: RwLock<Scene>,
}

/// What is known of a workload.
#[derive(Debug)]
struct Of {
    policy: Arc<Policy>,
    approved: bool,
    /// What its new pods are sized by; `None` where they never are.
    sizes: Option<Box<(Subject, Siblings)>>,
    /// Its siblings are pods that it has, or had when this process had begun.
    had_pods: bool,
}

impl Shared {
    /// Take over what a world knows now.
    pub fn take(&self, world: &World) {
        let (scene, before) = (world.scene(), self.known());
        let uses = scene.uses.iter().map(|(pod, uses)| ((pod.namespace.clone(), pod.name.clone()), uses.clone()));
        let mut place = Scene { cluster: scene.cluster.clone(), ..Scene::default() };
        let mut workloads = BTreeMap::new();
        for (key, subject) in &scene.workloads {
            // A pod's own word wins over its workload's.
            let acts = subject.policy.mode.value != Mode::Off
                || world.pods_of(key).any(|it| it.words.contains_key(names::MODE));
            let sizes = acts.then(|| {
                let siblings = Siblings::of(scene, subject, world.pods_of(key), world.judged_at);
                Box::new((Subject::clone(subject), siblings))
            });
            workloads.insert(key.clone(), Of::new(&subject.facts, subject.policy.clone(), sizes, true));
        }
        // What is scaled to zero, or between two runs, comes back with what is remembered of it, also from before this process; and with
        // what the pods had and used that this process has seen.
        for (key, (subject, siblings)) in world.resting() {
            let before = before.workloads.get(key).filter(|it| it.had_pods).and_then(|it| it.sizes.as_deref());
            let known = before.map_or_else(|| siblings.clone(), |it| it.1.clone().at_rest());
            let sizes = Some(Box::new((subject.clone(), known)));
            let of = Of::new(&subject.facts, subject.policy.clone(), sizes, before.is_some());
            workloads.insert(key.clone(), of);
        }
        for key in workloads.iter().filter(|it| it.1.sizes.is_some()).map(|it| it.0) {
            if let Some(facts) = scene.namespaces.get(&key.namespace) {
                place.namespaces.entry(key.namespace.clone()).or_insert_with(|| facts.clone());
            }
        }
        let known = Arc::new(Known { uses: uses.collect(), workloads, place: RwLock::new(place) });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Take over what is left of the quotas of a namespace, without waiting for the next round: a pod that is recreated is made again as
    /// soon as there is room for it.
    pub fn take_quotas(&self, world: &World, namespace: &str) {
        let known = self.known();
        let mut place = known.place.write().unwrap_or_else(PoisonError::into_inner);
        let facts = world.scene().namespaces.get(namespace);
        if let Some((known, facts)) = place.namespaces.get_mut(namespace).zip(facts) {
            known.quotas.clone_from(&facts.quotas);
        }
    }

    fn known(&self) -> Arc<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Of {
    fn new(
        facts: &WorkloadFacts,
        policy: Arc<Policy>,
        sizes: Option<Box<(Subject, Siblings)>>,
        had_pods: bool,
    ) -> Self {
        let approved = facts.words.get(names::APPROVE_MEMORY_DECREASE).is_some_and(|it| it == "true");
        Self { policy, approved, sizes, had_pods }
    }
}

impl Known {
    /// The workload of a pod that may not have a name yet, and what is known of it. Whose a job is, is not looked up: a cron job's
    /// is named after it and the minute in which it begins, in minutes since 1970.
    fn of(&self, namespace: &str, pod: &Pod) -> Option<(WorkloadKey, &Of)> {
        const DIGITS: usize = 8;
        let key = WorkloadKey { namespace: Arc::from(namespace), ..workload_of(pod, |_, _| None) };
        if let Some(of) = self.workloads.get(&key) {
            return Some((key, of));
        }
        let (name, minute) = key.name.rsplit_once('-').filter(|_| &*key.kind == "Job")?;
        let is_minute = minute.len() >= DIGITS && minute.bytes().all(|it| it.is_ascii_digit());
        let key = WorkloadKey { kind: Arc::from("CronJob"), name: Arc::from(name), ..key.clone() };
        self.workloads.get(&key).filter(|_| is_minute).map(|of| (key, of))
    }
}

impl Knowledge for Shared {
    fn used(&self, namespace: &str, pod: &str) -> Uses {
        self.known().uses.get(&(Arc::from(namespace), Arc::from(pod))).cloned().unwrap_or_default()
    }

    fn approval(&self, namespace: &str, pod: &Pod) -> Approval {
        let known = self.known();
        match known.of(namespace, pod) {
            Some((_, of)) if of.policy.approve_memory_decrease.value && of.approved => Approval::Given,
            Some((_, of)) if of.policy.approve_memory_decrease.value => {
                Approval::Needed { by: of.policy.approve_memory_decrease.origin.to_string() }
            }
            _ => Approval::NotNeeded,
        }
    }

    fn sizes(&self, namespace: &str, pod: &Pod, now: Timestamp) -> Option<Sizing> {
        let known = self.known();
        let (key, of) = known.of(namespace, pod)?;
        let (subject, siblings) = &**of.sizes.as_ref()?;
        let mut facts = PodFacts::of(pod, key.clone());
        // Before it is stored a pod has no namespace of its own, and perhaps no name.
        facts.key = PodKey::new(namespace, pod.metadata.name.as_deref().unwrap_or_default(), "");
        let place = known.place.read().unwrap_or_else(PoisonError::into_inner);
        let Creation { sizes, verdict } = create(&place, subject, siblings, &facts, now);
        let containers = sizes.iter().map(|(name, it)| (name.clone(), *it)).collect();
        Some(Sizing { containers, of: key.to_string(), code: verdict.code, why: verdict.message })
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event as Seen;
    use serde_json::json;

    use super::super::pressing_tests::{at, world};
    use super::*;
    use crate::event::Event;
    use crate::view::News;

    /// Of which workload a pod is that a job of this name makes, where these are known.
    #[track_caller]
    fn check(known: &[(&str, &str)], job: &str, expect: Option<&str>) {
        let key = |(kind, name): &(&str, &str)| WorkloadKey {
            namespace: "shop".into(),
            kind: Arc::from(*kind),
            name: Arc::from(*name),
        };
        let of = || Of { policy: Arc::default(), approved: false, sizes: None, had_pods: true };
        let known = Known { workloads: known.iter().map(|it| (key(it), of())).collect(), ..Known::default() };
        let pod = json!({"metadata": {"generateName": "p-", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "u", "controller": true}]}});
        let found = known.of("shop", &serde_json::from_value(pod).unwrap()).map(|it| it.0.to_string());
        assert_eq!(found.as_deref(), expect, "{job}");
    }

    #[test]
    fn what_is_left_of_a_quota_is_known_before_the_next_round() {
        let quota = |used: &str| {
            let quota =
                json!({"metadata": {"namespace": "shop", "name": "q"}, "status": {"used": {"requests.cpu": used}}});
            let quota = serde_json::from_value(quota).unwrap();
            Event::News(Box::new(News::ResourceQuota(Seen::Apply(quota))))
        };
        let mut world = world(&[("a", "n1")]);
        world.apply(Event::News(Box::new(News::Namespace(Seen::Apply(namespace())))), at(1));
        world.apply(quota("2"), at(1));
        world.apply(Event::Usage(Ok(Vec::new())), at(2));
        let shared = Shared::default();
        shared.take(&world);
        let used = || {
            let known = shared.known();
            let place = known.place.read().unwrap();
            place.namespaces["shop"].quotas[0].status.clone().unwrap().used.unwrap()["requests.cpu"].0.clone()
        };
        assert_eq!(used(), "2");
        world.apply(quota("1"), at(3));
        for (namespace, expect) in [("elsewhere", "2"), ("shop", "1")] {
            shared.take_quotas(&world, namespace);
            assert_eq!(used(), expect, "{namespace}");
        }
    }

    fn namespace() -> k8s_openapi::api::core::v1::Namespace {
        serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap()
    }

    #[test]
    fn a_cron_job_is_known_by_the_names_of_its_jobs() {
        let both = [("CronJob", "report"), ("Job", "report-1")];
        check(&both, "report-29001234", Some("shop/cronjob/report"));
        check(&both, "report-1", Some("shop/job/report-1"));
        for other in ["report", "report-", "report-60", "report-2900123x", "reports-29001234", "29001234"] {
            check(&both, other, None);
        }
    }
}
