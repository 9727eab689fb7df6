//! What a pod that is about to be created is to ask for: what the loop would give a running pod of the same sizes, by the same
//! numbers (`size.rs`) and the same checks. A check is left out where what it asks about is not there before a pod runs:
//! its start, its node, a resize of it, the disruption of one.
//!
//! What is asked of a pod's own use is asked of its siblings'. A step is counted from where its siblings are and not from its
//! template alone: were it the template, a pod that is recreated for its second step would come back at the first.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::admission::{limit_range, quota};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::Change;
use supple_resize::qos;

use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, Team};
use crate::check::{Check, TABLE, When, put};
use crate::code::Code;
use crate::engine::describe;
use crate::facts::{Phase, PodFacts};
use crate::few::Few;
use crate::hand::Hand;
use crate::ledger::Ledger;
use crate::need::Use;
use crate::numbers::Numbers;
use crate::progress::Progress;
use crate::round::{Verdict, What};
use crate::scene::{Scene, Subject};
use crate::{check, size};

/// The checks that have a meaning before a pod runs. The others are about one that does.
pub(crate) const ASKED: [Check; 11] = [
    Check::Permission,
    Check::Owner,
    Check::Data,
    Check::Worth,
    Check::Qos,
    Check::Valid,
    Check::LimitRange,
    Check::Quota,
    Check::MemoryDecrease,
    Check::Step,
    Check::CoolDown,
];

/// What a new pod is to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Creation {
    /// By container, all four numbers; a container that is not named keeps its own.
    pub sizes: Few<Arc<str>, Numbers>,
    /// What was found, in the words of a decision: of what it is created with, why, and why not.
    pub verdict: Verdict,
}

/// What the pods of a workload have and use by now, container by container: what stands for the use of one that is not there yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Siblings(Few<Arc<str>, Lived>);

/// What is known of one container of all pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lived {
    /// The most any of them uses, measured when the newest was.
    used: Option<Use>,
    /// Some pod of the workload is there in which it could be measured.
    lives: bool,
    /// The least and the most of each number that one of them asks for.
    least: Numbers,
    most: Numbers,
}

impl Siblings {
    /// Of the pods of a workload.
    pub fn of<'a>(scene: &Scene, subject: &Subject, pods: impl IntoIterator<Item = &'a PodFacts>) -> Self {
        let mut all: Few<Arc<str>, Lived> = Few::new();
        for pod in pods {
            let uses = scene.uses.get(&pod.key);
            for container in &pod.containers {
                let lived = all.get_or_insert_with(&container.name, || container.name.clone(), Lived::default);
                if let Some(used) = uses.and_then(|it| it.get(&container.name)) {
                    lived.used = Some(lived.used.map_or_else(|| for_another(used), |it| most_of(&it, used)));
                }
                lived.lives |= container.running_since.is_some();
                if !pod.deleting && pod.phase != Phase::Ended && !matches!(pod.hand, Hand::Theirs(_)) {
                    lived.has(&container.asked);
                }
            }
        }
        // A pod that was recreated for a step takes this step, whatever the others are at.
        for (name, (next, _)) in
            subject.record.recreated.iter().filter(|it| it.otherwise.is_none()).flat_map(|it| it.sizes.iter())
        {
            if let Some(lived) = all.get_mut(name) {
                lived.has(next);
            }
        }
        Self(all)
    }

    /// None of them is there any more: what they had and used stands, and nothing can be measured.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        for lived in self.0.values_mut() {
            lived.lives = false;
        }
        self
    }

    /// What a container uses, as far as that says something of another pod's.
    pub(crate) fn used(&self, container: &str) -> Option<&Use> {
        self.0.get(container)?.used.as_ref()
    }

    /// Whether there is one that could be measured.
    pub(crate) fn lives(&self, container: &str) -> bool {
        self.0.get(container).is_some_and(|it| it.lives)
    }

    /// From where to where a number of a container goes among the pods there are, and the one with this.
    pub(crate) fn span(&self, container: &str, resource: Resource, requirement: Requirement, own: i64) -> (i64, i64) {
        let Some(lived) = self.0.get(container) else { return (own, own) };
        let get = |it: &Numbers| it.get(resource, requirement).unwrap_or(own);
        (get(&lived.least).min(own), get(&lived.most).max(own))
    }
}

impl Lived {
    fn has(&mut self, asked: &Numbers) {
        for resource in [Resource::Cpu, Resource::Memory] {
            for requirement in [Requirement::Request, Requirement::Limit] {
                let Some(it) = asked.get(resource, requirement) else { continue };
                let least = self.least.get(resource, requirement).map_or(it, |least| least.min(it));
                self.least.set(resource, requirement, Some(least));
                self.most.set(resource, requirement, self.most.get(resource, requirement).max(Some(it)));
            }
        }
    }
}

/// What is said of another pod's container by what one uses. Page cache that is charged and swap that would have to come back are in
/// the way of a running one alone.
fn for_another(used: &Use) -> Use {
    Use { memory_charged: None, swap: None, ..*used }
}

fn most_of(one: &Use, other: &Use) -> Use {
    Use {
        at: one.at.max(other.at),
        cpu: one.cpu.max(other.cpu),
        memory: one.memory.max(other.memory),
        memory_peak: one.memory_peak.max(other.memory_peak),
        details_at: one.details_at.max(other.details_at),
        memory_charged: None,
        swap: None,
        memory_pressure_permille: one.memory_pressure_permille.max(other.memory_pressure_permille),
        throttled_permille: one.throttled_permille.max(other.throttled_permille),
        cpu_pressure_permille: one.cpu_pressure_permille.max(other.cpu_pressure_permille),
    }
}

/// Size a pod of a workload that is about to be created. Of the scene its namespace and what holds for the cluster are looked at.
#[must_use]
pub fn create(scene: &Scene, subject: &Subject, siblings: &Siblings, pod: &PodFacts, now: Timestamp) -> Creation {
    create_with(scene, subject, siblings, &Ledger::default(), pod, now)
}

/// As [`create`], where that is what its namespace has left.
pub(crate) fn create_with(
    scene: &Scene,
    subject: &Subject,
    siblings: &Siblings,
    ledger: &Ledger<'_>,
    pod: &PodFacts,
    now: Timestamp,
) -> Creation {
    let team = Team::of(vec![pod], subject, scene, now);
    let sight = Sight { scene, subject, team: &team, pod, uses: None, ledger, now, siblings: Some(siblings) };
    let mut draft = size::propose(&sight);
    check::qos::nothing_requested(&sight, &mut draft);
    for (check, when, ask) in TABLE {
        if ASKED.contains(&check) && (when == When::Always || draft.has_change()) {
            put(check, ask, &sight, &mut draft);
        }
    }
    if draft.acts() && draft.deed == Deed::Resize {
        size::keep_class(&sight, &mut draft, Draft::goes);
        foresee(&sight, &mut draft);
    }
    let change: Change = draft.change(pod);
    let mut sizes = Few::new();
    for (index, container) in pod.containers.iter().enumerate() {
        if change.containers.contains_key(&*container.name) {
            sizes.insert(container.name.clone(), draft.next(pod, index, |it| draft.goes(it)));
        }
    }
    let what = (!sizes.is_empty()).then_some(What::Resize(change));
    Creation { sizes, verdict: describe(pod, draft, what.as_ref()) }
}

/// The last look at the whole of it: a pod with its own sizes is better than one of another class, or one that is refused.
fn foresee(sight: &Sight<'_>, draft: &mut Draft) {
    let old = sight.pod.to_pod();
    let Ok(new) = draft.change(sight.pod).applied_to(&old) else { return };
    let place = sight.ledger.namespace(sight.scene, &sight.pod.key.namespace);
    let ranges = |it: &Pod| limit_range::validate_pod(it, &place.limit_ranges).map_err(|it| it.message);
    let quotas = |it: &Pod| quota::check(it, None, &place.quotas).map_err(|it| it.message);
    let (check, code, message) = if qos::compute(&new) != qos::compute(&old) {
        (Check::Qos, Code::QosChange, "the pod would be of another class".to_owned())
    } else if let (Ok(()), Err(message)) = (ranges(&old), ranges(&new)) {
        (Check::LimitRange, Code::LimitRange, message)
    } else if let (Ok(_), Err(message)) = (quotas(&old), quotas(&new)) {
        (Check::Quota, Code::QuotaExceeded, message)
    } else {
        return;
    };
    draft.stop(Saying::refused(check, code, message));
}

/// The pod that shows best how one of its workload is made: that lives, and of which nobody has said anything by itself.
pub fn pattern<'a>(pods: impl IntoIterator<Item = &'a PodFacts>, otherwise: &'a PodFacts) -> &'a PodFacts {
    let shows = |it: &&PodFacts| !it.deleting && it.phase != Phase::Ended && it.words.is_empty();
    pods.into_iter().find(shows).unwrap_or(otherwise)
}

/// The pod that the template of a workload would make, after the pattern of one of its pods: what that one was resized to since, and
/// how it is, is left off it. What is not in the template was put there as it was created, by a limit range, say.
#[must_use]
pub fn newborn(subject: &Subject, pattern: &PodFacts) -> PodFacts {
    let mut pod = PodFacts {
        generation: 0,
        node: None,
        phase: Phase::Pending,
        deleting: false,
        leaving: None,
        evicted: None,
        started: None,
        made: None,
        ready: None,
        unready: None,
        progress: Progress::Settled,
        progress_since: None,
        hand: Hand::Free,
        note: None,
        ..pattern.clone()
    };
    for container in &mut pod.containers {
        let template = subject.facts.template.get(&container.name).copied().unwrap_or_default();
        let before = subject.record.originals.get(&container.name).copied().unwrap_or_default();
        let asked = template.or(&before).or(&container.asked);
        container.asked = asked;
        (container.allocated, container.actual) = (None, None);
        (container.running_since, container.last_end) = (None, None);
        (container.restarts, container.ready) = (0, false);
        (container.killed_and_waiting, container.killed_at_start, container.done) = (false, false, false);
    }
    pod.qos = qos::compute(&pod.to_pod());
    pod
}
