//! What the webhook has to know, as it was after the last round: a value that is exchanged as a whole, so that an answer never
//! waits for the loop.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::Pod;
use supple_api::names;
use supple_decide::facts::WorkloadFacts;
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::need::Uses;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Limits, Mode, Policy};
use supple_resize::predict::Sizes;

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
}

/// What is known of a workload.
#[derive(Debug)]
struct Of {
    policy: Arc<Policy>,
    approved: bool,
    targets: Few<Arc<str>, Numbers>,
}

impl Shared {
    /// Take over what a world knows now.
    pub fn take(&self, world: &World) {
        let (scene, before) = (world.scene(), self.known());
        let uses = scene.uses.iter().map(|(pod, uses)| ((pod.namespace.clone(), pod.name.clone()), uses.clone()));
        let workloads = scene.workloads.iter().map(|(key, subject)| {
            let targets = subject.needs.iter().map(|(name, need)| {
                let target = Numbers {
                    cpu_request: need.cpu.as_ref().map(|it| it.target),
                    memory_request: need.memory.as_ref().map(|it| it.target),
                    ..Numbers::default()
                };
                (name.clone(), target)
            });
            let approved = is_approved(&subject.facts);
            (key.clone(), Of { policy: subject.policy.clone(), approved, targets: targets.collect() })
        });
        // What is scaled to zero, or between two runs, is to come back with what was known of it when it had pods.
        let resting = world.view.without_pods().into_iter().filter_map(|key| {
            let targets = before.workloads.get(&key)?.targets.clone();
            let facts = world.view.facts_of(&key);
            let policy = world.rules.resolve(&key, &facts.api_version, &world.view)?.policy;
            Some((key, Of { policy, approved: is_approved(&facts), targets }))
        });
        let known = Arc::new(Known { uses: uses.collect(), workloads: workloads.chain(resting).collect() });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Arc<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_approved(facts: &WorkloadFacts) -> bool {
    facts.words.get(names::APPROVE_MEMORY_DECREASE).is_some_and(|it| it == "true")
}

impl Known {
    /// The workload of a pod that may not have a name yet. A job that its cron job has just made is not known by then; it is called
    /// after the cron job and the minute it was due in.
    fn workload(&self, namespace: &str, pod: &Pod) -> WorkloadKey {
        const MINUTES: usize = 8;
        let key = WorkloadKey { namespace: Arc::from(namespace), ..workload_of(pod, |_, _| None) };
        let is_due = |it: &str| it.len() >= MINUTES && it.bytes().all(|it| it.is_ascii_digit());
        let cron = key.name.rsplit_once('-').filter(|(_, due)| &*key.kind == "Job" && is_due(due)).map(|(name, _)| {
            WorkloadKey { namespace: key.namespace.clone(), kind: Arc::from("CronJob"), name: Arc::from(name) }
        });
        cron.filter(|it| self.workloads.contains_key(it)).unwrap_or(key)
    }
}

impl Knowledge for Shared {
    fn used(&self, namespace: &str, pod: &str) -> Uses {
        self.known().uses.get(&(Arc::from(namespace), Arc::from(pod))).cloned().unwrap_or_default()
    }

    fn approval(&self, namespace: &str, pod: &Pod) -> Approval {
        let known = self.known();
        match known.workloads.get(&known.workload(namespace, pod)) {
            Some(of) if of.policy.approve_memory_decrease.value && of.approved => Approval::Given,
            Some(of) if of.policy.approve_memory_decrease.value => {
                Approval::Needed { by: of.policy.approve_memory_decrease.origin.to_string() }
            }
            _ => Approval::NotNeeded,
        }
    }

    fn sizes(&self, namespace: &str, pod: &Pod) -> Option<Sizing> {
        let known = self.known();
        let key = known.workload(namespace, pod);
        let of = known.workloads.get(&key)?;
        if of.policy.mode.value == Mode::Off || of.policy.pause.value.is_some() {
            return None;
        }
        let spec = pod.spec.as_ref()?;
        let sized = spec.containers.iter().filter_map(|container| {
            let target = of.targets.get(container.name.as_str())?;
            let settings = of.policy.container(&container.name);
            if settings.off.value {
                return None;
            }
            let asked = Numbers::of(&Sizes::of(container.resources.as_ref()));
            Some((Arc::from(container.name.as_str()), sizes(&asked, target, &settings)))
        });
        let containers: BTreeMap<_, _> = sized.collect();
        (!containers.is_empty()).then(|| Sizing { containers, of: key.to_string() })
    }
}

/// The sizes a container is created with: what is recommended, within its bounds, its limits by the strategy. A resource for
/// which it asks nothing stays so: its class of service is its author's choice.
pub(crate) fn sizes(asked: &Numbers, target: &Numbers, settings: &supple_decide::policy::ContainerSettings) -> Numbers {
    let (cpu, memory) = settings.controlled.value;
    let bounded = |target: Option<i64>, least: Option<i64>, most: Option<i64>| {
        target.map(|it| it.max(least.unwrap_or(1)).min(most.unwrap_or(i64::MAX)))
    };
    let one = |mine: bool, asked: (Option<i64>, Option<i64>), target: Option<i64>| -> (Option<i64>, Option<i64>) {
        let (Some(request), true, Some(target)) = (asked.0, mine, target) else { return (None, None) };
        let limit = asked.1.map(|limit| match settings.limits.value {
            Limits::Keep | Limits::None => limit.max(target),
            Limits::Equal => target,
            Limits::Ratio if request <= 0 || limit == request => target,
            Limits::Ratio => {
                let exact = i128::from(limit) * i128::from(target);
                i64::try_from((exact + i128::from(request) - 1) / i128::from(request)).unwrap_or(i64::MAX)
            }
        });
        let request =
            if settings.limits.value == Limits::Keep { limit.map_or(target, |it| it.min(target)) } else { target };
        (Some(request), limit)
    };
    let least = settings.at_least;
    let most = settings.at_most;
    let cpu = one(
        cpu,
        (asked.cpu_request.map(|it| it.0), asked.cpu_limit.map(|it| it.0)),
        bounded(target.cpu_request.map(|it| it.0), least.cpu.map(|it| it.0), most.cpu.map(|it| it.0)),
    );
    let memory = one(
        memory,
        (asked.memory_request.map(|it| it.0), asked.memory_limit.map(|it| it.0)),
        bounded(target.memory_request.map(|it| it.0), least.memory.map(|it| it.0), most.memory.map(|it| it.0)),
    );
    Numbers {
        cpu_request: cpu.0.map(supple_quantity::MilliCpu),
        cpu_limit: cpu.1.map(supple_quantity::MilliCpu),
        memory_request: memory.0.map(supple_quantity::Bytes),
        memory_limit: memory.1.map(supple_quantity::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event as Seen;
    use serde_json::{Value, json};

    use super::super::pressing_tests::{at, pod, told, world};
    use super::*;
    use crate::event::Event;
    use crate::view::News;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn tell(world: &mut World, news: News, second: i64) {
        world.apply(Event::News(Box::new(news)), at(second));
    }

    /// A pod of this job.
    fn run_of(job: &str, name: &str) -> Pod {
        let News::Pod(Seen::Apply(mut it)) = pod(name, "n1") else { panic!("it is one") };
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "j", "controller": true}]);
        it.metadata.owner_references = of(owner);
        it
    }

    #[test]
    fn the_next_run_of_a_cron_job_is_sized_by_those_before_though_none_is_there() {
        let mut world = world(&[("other", "n1")]);
        let cron: k8s_openapi::api::batch::v1::CronJob = of(json!({
            "metadata": {"namespace": "shop", "name": "report", "labels": {"supple.dev/mode": "Initial"}},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "app"}]}}}}}}));
        tell(&mut world, News::CronJob(Seen::Apply(cron.clone())), 0);
        let owner =
            json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": "c", "controller": true}]);
        let job = json!({"metadata": {"namespace": "shop", "name": "report-29000000", "ownerReferences": owner}});
        tell(&mut world, News::Job(Seen::Apply(of(job))), 0);
        let run = run_of("report-29000000", "a");
        tell(&mut world, News::Pod(Seen::Apply(run.clone())), 0);
        for minute in 1..180 {
            world.apply(told("a", 90, minute * 60), at(minute * 60));
        }
        let known = Shared::default();
        let round = |world: &mut World, second| {
            world.apply(Event::Usage(Ok(Vec::new())), at(second));
            known.take(world);
        };
        let sized = |job: &str| known.sizes("shop", &run_of(job, "")).map(|it| it.of);
        round(&mut world, 10_800);
        tell(&mut world, News::Pod(Seen::Delete(run)), 10_801);
        for second in [10_815, 10_830] {
            round(&mut world, second);
            assert_eq!(sized("report-29000060").as_deref(), Some("shop/cronjob/report"));
        }
        assert_eq!(sized("report-60"), None, "a job of somebody's own");
        tell(&mut world, News::CronJob(Seen::Delete(cron)), 10_840);
        round(&mut world, 10_845);
        assert_eq!(sized("report-29000060"), None, "it is gone");
    }
}
