//! What a pod that is about to be created is to ask for: what the loop would give a running pod of the same sizes, by the same
//! numbers (`size.rs`) and the same checks. A check is left out where what it asks about is not there before a pod runs:
//! its start, its node, a resize of it, the disruption of one.
//!
//! What is asked of a pod's own use is asked of its siblings'. A step is counted from where its siblings are and not from its
//! template alone: were it the template, a pod that is recreated for its second step would come back at the first. But of a sibling that has
//! its sizes so lately that it might take no further step itself, none is taken either: a new pod gets as far as that one is. Were it
//! otherwise, the pods of one rollout would each take a step more than the one before.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use supple_resize::admission::{limit_range, quota};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::Change;
use supple_resize::qos;

use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, Team, after, is_within};
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lived {
    /// The most any of them uses, measured when the newest was.
    used: Option<Use>,
    /// Some pod of the workload is there in which it could be measured.
    lives: bool,
    /// What they ask for, all of them.
    span: Span,
    /// What those ask for from whose sizes a further step may be taken; `None`: all of them are such.
    seen: Option<Box<Span>>,
}

/// The least and the most of each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    least: Numbers,
    most: Numbers,
}

/// From where to where a number goes among pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Of those from whose sizes a further step may be taken, the least and the most.
    pub seen: (i64, i64),
    /// Of all.
    pub all: (i64, i64),
}

impl Siblings {
    /// Of the pods of a workload, at this time.
    pub fn of<'a>(
        scene: &Scene,
        subject: &Subject,
        pods: impl IntoIterator<Item = &'a PodFacts>,
        now: Timestamp,
    ) -> Self {
        let mut all: Few<Arc<str>, Lived> = Few::new();
        let mut asks: Vec<(&PodFacts, [bool; 2])> = Vec::new();
        for pod in pods {
            let uses = scene.uses.get(&pod.key);
            for container in &pod.containers {
                let lived = all.get_or_insert_with(&container.name, || container.name.clone(), Lived::default);
                if let Some(used) = uses.and_then(|it| it.get(&container.name)) {
                    lived.used = Some(lived.used.map_or_else(|| for_another(used), |it| most_of(&it, used)));
                }
                lived.lives |= container.running_since.is_some();
            }
            if !pod.deleting && pod.phase != Phase::Ended && !matches!(pod.hand, Hand::Theirs(_)) {
                asks.push((pod, may_go_on(subject, pod, now)));
            }
        }
        // A pod that was recreated for a step takes this step, whatever the others are at, and none beyond it.
        let recreated = subject.record.recreated.as_ref().filter(|it| it.otherwise.is_none());
        let is_seen = recreated.is_none() && asks.iter().all(|(_, seen)| *seen == [true; 2]);
        for (pod, seen) in asks {
            for container in &pod.containers {
                let Some(lived) = all.get_mut(&container.name) else { continue };
                // What its node can never do was asked for, and is not what it lives with.
                let lives_with = container.actual.filter(|_| is_in_vain(pod)).unwrap_or(container.asked);
                lived.span.has(&lives_with, [true; 2]);
                if !is_seen {
                    lived.seen.get_or_insert_default().has(&lives_with, seen);
                }
            }
        }
        for (name, (next, _)) in recreated.iter().flat_map(|it| it.sizes.iter()) {
            if let Some(lived) = all.get_mut(name) {
                lived.span.has(next, [true; 2]);
                lived.seen.get_or_insert_default();
            }
        }
        Self(all)
    }

    /// None of them is there any more: what they had and used stands, has been seen to its end, and nothing can be measured.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        for lived in self.0.values_mut() {
            (lived.lives, lived.seen) = (false, None);
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
    pub(crate) fn reach(&self, container: &str, resource: Resource, requirement: Requirement, own: i64) -> Reach {
        let Some(lived) = self.0.get(container) else { return Reach { seen: (own, own), all: (own, own) } };
        let get = |it: &Numbers| it.get(resource, requirement).unwrap_or(own);
        let of = |it: &Span| (get(&it.least).min(own), get(&it.most).max(own));
        Reach { seen: of(lived.seen.as_deref().unwrap_or(&lived.span)), all: of(&lived.span) }
    }
}

impl Span {
    /// Goes as far down, and as far up, as this does, where it counts for that.
    fn has(&mut self, asked: &Numbers, [down, up]: [bool; 2]) {
        for resource in [Resource::Cpu, Resource::Memory] {
            for requirement in [Requirement::Request, Requirement::Limit] {
                let Some(it) = asked.get(resource, requirement) else { continue };
                let (least, most) = (self.least.get(resource, requirement), self.most.get(resource, requirement));
                if down {
                    self.least.set(resource, requirement, Some(least.map_or(it, |least| least.min(it))));
                }
                if up {
                    self.most.set(resource, requirement, most.max(Some(it)));
                }
            }
        }
    }
}

/// Whether what it asks for is what its node can never do.
const fn is_in_vain(pod: &PodFacts) -> bool {
    matches!(pod.progress, Progress::Infeasible(_))
}

/// Whether a pod has had its sizes for so long that the next step down, and up, may be taken from there: the same pauses as it would have to
/// wait for itself; down only where it is well with them. What nobody has sized since it was made by its template has been seen.
fn may_go_on(subject: &Subject, pod: &PodFacts, now: Timestamp) -> [bool; 2] {
    let resized = pod.note.as_deref().filter(|it| it.generation < pod.generation && !is_in_vain(pod)).map(|it| it.at);
    let Some(since) = resized.max(pod.sized_at()) else { return [true; 2] };
    let policy = &subject.policy;
    let settle = policy.settle.value;
    let is_well = pod.ready.is_some_and(|it| after(it, settle) <= now) && !is_within(since, settle, now);
    let is_over = |pause| !is_within(since, pause, now);
    [is_well && is_over(policy.cool_down_down.value), is_over(policy.cool_down_up.value)]
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
        container.asked = made_of(&template, &template.or(&before).or(&container.asked));
        (container.allocated, container.actual) = (None, None);
        (container.running_since, container.last_end) = (None, None);
        (container.restarts, container.ready) = (0, false);
        (container.killed_and_waiting, container.killed_at_start, container.done) = (false, false, false);
    }
    pod.qos = qos::compute(&pod.to_pod());
    pod
}

/// What a container asks for whose template says this, where the rest is known from pods that are there: these may be of an older
/// template. A limit that is said without a request is the request too, and what was a limit before is none where the template asks for
/// more now.
fn made_of(template: &Numbers, known: &Numbers) -> Numbers {
    let mut asked = *known;
    for resource in [Resource::Cpu, Resource::Memory] {
        let get = |it: &Numbers, requirement| it.get(resource, requirement);
        let (request, limit) = (get(known, Requirement::Request), get(known, Requirement::Limit));
        if request.zip(limit).is_none_or(|(request, limit)| request <= limit) {
            continue;
        }
        match get(template, Requirement::Limit) {
            Some(_) => asked.set(resource, Requirement::Request, limit),
            None => asked.set(resource, Requirement::Limit, None),
        }
    }
    asked
}
