//! What the webhook has to know, as it was after the last round: a value that is exchanged as a whole, so that an answer never
//! waits for the loop.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::Pod;
use supple_api::names;
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
        let scene = world.scene();
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
            let approved = subject.facts.words.get(names::APPROVE_MEMORY_DECREASE).is_some_and(|it| it == "true");
            (key.clone(), Of { policy: subject.policy.clone(), approved, targets: targets.collect() })
        });
        let known = Arc::new(Known { uses: uses.collect(), workloads: workloads.collect() });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Arc<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The workload of a pod that may not have a name yet. Whose a job is does not matter here: it is asked for by its own name.
fn workload(namespace: &str, pod: &Pod) -> WorkloadKey {
    WorkloadKey { namespace: Arc::from(namespace), ..workload_of(pod, |_, _| None) }
}

impl Knowledge for Shared {
    fn used(&self, namespace: &str, pod: &str) -> Uses {
        self.known().uses.get(&(Arc::from(namespace), Arc::from(pod))).cloned().unwrap_or_default()
    }

    fn approval(&self, namespace: &str, pod: &Pod) -> Approval {
        let known = self.known();
        match known.workloads.get(&workload(namespace, pod)) {
            Some(of) if of.policy.approve_memory_decrease.value && of.approved => Approval::Given,
            Some(of) if of.policy.approve_memory_decrease.value => {
                Approval::Needed { by: of.policy.approve_memory_decrease.origin.to_string() }
            }
            _ => Approval::NotNeeded,
        }
    }

    fn sizes(&self, namespace: &str, pod: &Pod) -> Option<Sizing> {
        let known = self.known();
        let key = workload(namespace, pod);
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
