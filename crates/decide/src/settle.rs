//! After a resize: is there harm, and has it settled? What is remembered of either.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::resources::ContainerKind;

use crate::check::draft::Pair;
use crate::check::sight::{after, is_within};
use crate::code::Code;
use crate::facts::{ContainerFacts, Noted, PodFacts};
use crate::guard::{Guard, GuardReading, LEAST_DELAY, baseline};
use crate::innocent;
use crate::need::Use;
use crate::note::Author;
use crate::numbers::Numbers;
use crate::progress::Progress;
use crate::record::{Done, Record, TOO_SMALL_KEPT, TooSmall};
use crate::scene::{Scene, Subject};

/// The most guards that are looked at, as documented.
const GUARDS: usize = 10;

/// Throttled in this share of periods, in thousandths: three times what is tolerated.
const THROTTLED_PERMILLE: u16 = 150;

/// What a resize did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    /// The kind of it.
    pub code: Code,
    /// When.
    pub at: Timestamp,
    /// In which container; `None`: the pod.
    pub container: Option<Arc<str>>,
    /// The sentence.
    pub message: String,
}

/// Whether the numbers of the pod are those that the note says were set.
pub fn stands(pod: &PodFacts, note: &Noted) -> bool {
    note.containers.iter().all(|(name, _, after)| {
        pod.containers.iter().find(|it| it.name == *name).is_some_and(|it| {
            RESOURCES.iter().all(|resource| {
                let (set, has) = (Pair::of(after, *resource), Pair::of(&it.asked, *resource));
                set.request.is_none_or(|it| has.request == Some(it)) && set.limit.is_none_or(|it| has.limit == Some(it))
            })
        })
    })
}

const RESOURCES: [Resource; 2] = [Resource::Cpu, Resource::Memory];

fn lowered(note: &Noted, container: &str, resource: Resource) -> bool {
    let said = note.container(container);
    said.is_some_and(|(before, after)| Pair::of(after, resource).lowers(Pair::of(before, resource)))
}

/// What a pod's last resize is judged by: its note, and where that is one of raises after a decrease, the numbers that are still
/// below what they were before that, as if they had been lowered from there to what the pod has now.
pub fn judged<'a>(pod: &PodFacts, note: &'a Noted) -> Cow<'a, Noted> {
    let Some(lowered) = note.lowered.as_deref() else { return Cow::Borrowed(note) };
    let mut containers = note.containers.to_vec();
    for (name, from) in &lowered.from {
        let Some(has) = pod.containers.iter().find(|it| it.name == *name).map(|it| it.asked) else { continue };
        let place = containers.iter().position(|it| it.0 == *name).unwrap_or_else(|| {
            containers.push((Arc::clone(name), Numbers::default(), Numbers::default()));
            containers.len() - 1
        });
        let (_, before, set) = &mut containers[place];
        for resource in RESOURCES {
            for requirement in [Requirement::Request, Requirement::Limit] {
                let (was, is) = (from.get(resource, requirement), has.get(resource, requirement));
                if was.zip(is).is_some_and(|(was, is)| is < was) {
                    before.set(resource, requirement, was);
                    set.set(resource, requirement, is);
                }
            }
        }
    }
    containers.sort_by(|a, b| a.0.cmp(&b.0));
    Cow::Owned(Noted { containers: containers.into(), ..note.clone() })
}

/// When the pod was last lowered: by the resize, or before it.
fn lowered_at(note: &Noted) -> Timestamp {
    note.lowered.as_ref().map_or(note.at, |it| it.at.min(note.at))
}

/// Kubernetes writes when something ended in whole seconds, rounded down: what ended within the second of a resize is taken for a
/// consequence of it.
pub fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The harm the pod's last resize did, if it was ours, stands, and did. Only what was lowered can have done harm, except that a
/// guard may object to anything that could have waited; and nothing that something else explains ([`innocent`]). `team` are the pods of
/// its workload.
pub fn harm(scene: &Scene, subject: &Subject, team: &[&PodFacts], pod: &PodFacts, now: Timestamp) -> Option<Harm> {
    let note = pod.note.as_deref().filter(|it| it.by == Author::Controller && stands(pod, it))?;
    let settle = subject.policy.settle.value;
    let from = lowered_at(note);
    let within = |at: Timestamp| whole(from) <= at && at <= after(from, settle);
    let measured = |at: Timestamp| from < at && at <= after(from, settle);
    let until = after(note.at, settle);
    // A guard objects to anything, to a raise after the decrease too.
    let guarded = |at: Timestamp| measured(at) || (note.at < at && at <= until);
    let note = &*judged(pod, note);
    let uses = scene.uses.get(&pod.key);
    let mut harms = Vec::new();
    for container in &pod.containers {
        let (cpu, memory) =
            (lowered(note, &container.name, Resource::Cpu), lowered(note, &container.name, Resource::Memory));
        if cpu || memory {
            let counts = |at| within(at) && innocent::end(scene, pod, container, at).is_none();
            harms.extend(ended(note, container, memory, within, counts));
        }
        let used = uses.and_then(|it| it.get(&container.name)).filter(|_| cpu);
        let throttled = used.and_then(|it| throttled(subject, container, note, from, it));
        harms.extend(throttled.filter(|it| measured(it.at) && innocent::anything(scene, pod, it.at).is_none()));
    }
    if let Some(at) = unready(scene, subject, pod, (note, from), now).filter(|it| within(*it)) {
        let message = format!("it was ready before its resize, and has not been since {at:.0}");
        harms.push(Harm { code: Code::NotReady, at, container: None, message });
    }
    let readings = scene
        .guards
        .get(&pod.workload)
        .into_iter()
        .flatten()
        .filter(|it| guarded(it.at) && it.pod.as_ref().is_none_or(|it| *it == pod.key.name))
        .filter(|it| innocent::reading(scene, subject, (team, pod), it, from).is_none());
    // What a query looks back on is not to be a time in which its node was away either.
    let last = innocent::returned(scene, pod).map_or(note.at, |it| it.max(note.at));
    for reading in readings {
        let guards = subject.policy.guards.value.iter().take(GUARDS);
        let guards = guards.filter(|it| it.name == reading.name);
        harms.extend(guards.filter_map(|it| crossed(subject, it, reading, (pod, note), (from, last))));
    }
    // The worst first, then the earliest: what is said does not depend on the order of containers.
    harms.into_iter().min_by(|a, b| {
        (a.code.rank(), a.at, &a.container, &a.message).cmp(&(b.code.rank(), b.at, &b.container, &b.message))
    })
}

impl Code {
    const fn rank(self) -> u8 {
        match self {
            Self::OutOfMemory => 0,
            Self::Restarted => 1,
            Self::NotReady => 2,
            Self::GuardCrossed => 3,
            _ => 4,
        }
    }
}

/// How a container ended after the resize. One killed for want of memory after its limit was lowered was killed by that, however
/// long ago it was, and whatever else befell it; any other end `counts` where nothing else explains it.
fn ended(
    note: &Noted,
    container: &ContainerFacts,
    memory: bool,
    within: impl Fn(Timestamp) -> bool,
    counts: impl Fn(Timestamp) -> bool,
) -> Option<Harm> {
    let end = container.last_end.filter(|it| it.at >= whole(lowered_at(note)))?;
    let harm = |code, message| Harm { code, at: end.at, container: Some(Arc::clone(&container.name)), message };
    let (before, after) = note.container(&container.name)?;
    let limit = after.memory_limit.zip(before.memory_limit).filter(|(after, before)| after < before);
    if end.out_of_memory && memory && (limit.is_some() || within(end.at)) {
        let size = after.memory_limit.or(after.memory_request).unwrap_or_default();
        let message = format!("{} was OOM-killed with {size} at {:.0}", container.name, end.at);
        return Some(harm(Code::OutOfMemory, message));
    }
    let expected = restarts_for(container, note);
    (!expected && !end.out_of_memory && end.exit_code != 0 && counts(end.at)).then(|| {
        let message = format!("{} ended with code {} at {:.0}", container.name, end.exit_code, end.at);
        harm(Code::Restarted, message)
    })
}

/// Whether a container is kept waiting for CPU by the limit that was lowered: no request throttles anybody, nor does a limit that stayed.
/// What was measured while the resize was being done, and how a container starts, tell nothing of how it lives with it.
fn throttled(subject: &Subject, container: &ContainerFacts, note: &Noted, from: Timestamp, used: &Use) -> Option<Harm> {
    let share = used.throttled_permille.filter(|it| *it > THROTTLED_PERMILLE)?;
    let (before, set) = note.container(&container.name)?;
    before.cpu_limit.zip(set.cpu_limit).filter(|(before, set)| set < before)?;
    let at = used.details_at.unwrap_or(used.at);
    let started = container.running_since.map(Timestamp::from).filter(|it| *it >= whole(from));
    let is_settled = started.is_none_or(|it| after(it, subject.policy.startup.value) <= at);
    (is_settled && after(from, LEAST_DELAY) <= at).then(|| {
        let message = format!("{} is throttled in {}.{} % of its periods", container.name, share / 10, share % 10);
        Harm { code: Code::Throttled, at, container: Some(Arc::clone(&container.name)), message }
    })
}

/// Since when the pod has not been ready, where that may be for what was lowered and is to be waited for no longer.
fn unready(
    scene: &Scene,
    subject: &Subject,
    pod: &PodFacts,
    (note, from): (&Noted, Timestamp),
    now: Timestamp,
) -> Option<Timestamp> {
    let since = Timestamp::from(pod.unready?);
    let lowers = |name: &str| RESOURCES.iter().any(|it| lowered(note, name, *it));
    let is_for_it = note.containers.iter().any(|(name, ..)| lowers(name))
        && !pod.is_ready_but_for_what_is_done()
        && innocent::unready(scene, pod, since, now).is_none();
    if !is_for_it {
        return None;
    }
    let from = whole(from);
    let missed = || pod.containers.iter().filter(|it| it.kind != ContainerKind::Init && !it.ready && !it.done);
    // One that was not touched and ended since has trouble of its own. One that still runs may wait for what another was lowered in.
    let has_ended = |it: &ContainerFacts| it.running_since.is_none_or(|it| Timestamp::from(it) >= from);
    let is_of_others = |it: &ContainerFacts| !lowers(&it.name) && !restarts_for(it, note) && has_ended(it);
    if missed().next().is_some() && missed().all(is_of_others) {
        return None;
    }
    // One that ended well is started again, and may be meant to end: that is harm only if it stays so.
    let ended_well = |it: &ContainerFacts| it.last_end.is_some_and(|it| it.at >= from && it.exit_code == 0);
    let returns = missed().any(ended_well) && now < after(note.at, subject.policy.settle.value);
    (!returns && !is_restarting(subject, pod, note, now)).then_some(since)
}

/// Whether the pod is not ready because a container had to restart for its resize, and may take its time.
fn is_restarting(subject: &Subject, pod: &PodFacts, note: &Noted, now: Timestamp) -> bool {
    let policy = &subject.policy;
    let patience = policy.settle.value.max(policy.startup.value);
    let is_since = pod.unready.is_some_and(|it| Timestamp::from(it) >= whole(note.at));
    is_since && expects_restart(pod, note) && now < after(note.at, patience)
}

/// The harm that a guard sees in its reading, if that is harm which the resize did, and of which something can be taken back.
fn crossed(
    subject: &Subject,
    guard: &Guard,
    reading: &GuardReading,
    (pod, note): (&PodFacts, &Noted),
    (since, last): (Timestamp, Timestamp),
) -> Option<Harm> {
    let bound = guard.crossed(reading.value)?;
    let counts = guard.blames(reading, since, last, subject.policy.settle.value) && gives_back(pod, note);
    let message = format!("guard {:?} reads {}, which is {bound}", guard.name, reading.value);
    counts.then_some(Harm { code: Code::GuardCrossed, at: reading.at, container: None, message })
}

/// The moment whose readings of guards tell what was so before the pod's last resize, where a guard could take back any of it.
#[must_use]
pub fn guarded_since(pod: &PodFacts) -> Option<Timestamp> {
    let note = pod.note.as_deref()?;
    gives_back(pod, &judged(pod, note)).then(|| baseline(lowered_at(note)))
}

/// Whether there is anything that a guard could take back.
fn gives_back(pod: &PodFacts, note: &Noted) -> bool {
    let parts = || pod.containers.iter().flat_map(|it| RESOURCES.map(|resource| (it, resource)));
    parts().any(|(it, resource)| former(note, it, resource, taken_back(Code::GuardCrossed, note, resource)).is_some())
}

fn restarts_for(container: &ContainerFacts, note: &Noted) -> bool {
    let Some((before, after)) = note.container(&container.name) else { return false };
    let changed = |resource| Pair::of(before, resource) != Pair::of(after, resource);
    (container.restarts_for_cpu && changed(Resource::Cpu))
        || (container.restarts_for_memory && changed(Resource::Memory))
}

/// Whether the resize restarts one of the pod's containers by its resize policy.
pub fn expects_restart(pod: &PodFacts, note: &Noted) -> bool {
    pod.containers.iter().any(|it| restarts_for(it, note))
}

/// What of a resize is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBack {
    /// What was lowered alone: no memory that may be in use is taken away.
    Lowered,
    /// What was raised too.
    All,
}

/// What of a resource is taken back for this harm. Memory that may be in use by now is never taken away in haste. A guard objects to
/// anything but a raise that could not wait: that was the cure of something, and what a guard reads may still be the illness.
pub fn taken_back(harm: Code, note: &Noted, resource: Resource) -> TakenBack {
    match resource {
        Resource::Cpu if harm == Code::GuardCrossed && !note.urgent => TakenBack::All,
        Resource::Cpu | Resource::Memory => TakenBack::Lowered,
    }
}

/// The former numbers of a container.
pub fn former(note: &Noted, container: &ContainerFacts, resource: Resource, what: TakenBack) -> Option<Pair> {
    let (before, set) = note.container(&container.name)?;
    let (before, set) = (Pair::of(before, resource), Pair::of(set, resource));
    let has = Pair::of(&container.asked, resource);
    let back = |before: Option<i64>, set: Option<i64>, has: Option<i64>| match (before, set) {
        (Some(before), Some(set)) if before > set || what == TakenBack::All => Some(before),
        _ => has,
    };
    let former = Pair {
        request: back(before.request, set.request, has.request),
        limit: back(before.limit, set.limit, has.limit),
    };
    (former != has).then_some(former)
}

/// What is remembered of a workload, brought up to now: harm, what settled well, what is forgotten. `None`: as it was.
pub fn remember(
    scene: &Scene,
    subject: &Subject,
    pods: &[&PodFacts],
    harms: &BTreeMap<&str, Harm>,
    given_up: &[(&PodFacts, Code, String)],
    now: Timestamp,
) -> Option<Record> {
    let expired = subject.record.too_small.iter().any(|it| after(it.at, TOO_SMALL_KEPT) <= now);
    let settled = || pods.iter().any(|it| has_settled(scene, subject, &subject.record, it, now));
    if !expired && harms.is_empty() && given_up.is_empty() && !settled() {
        return None; // so for nearly every workload in nearly every round
    }
    let mut record = Record::clone(&subject.record);
    record.too_small.retain(|it| after(it.at, TOO_SMALL_KEPT) > now);
    let mut set_back = false;
    let done = |pod: &PodFacts, note: &Noted, code, message: &str| Done {
        at: note.at,
        pod: pod.key.name.to_string(),
        containers: note.containers.iter().map(|(name, old, new)| (Arc::clone(name), (*old, *new))).collect(),
        code,
        message: message.to_owned(),
    };
    for pod in pods {
        let Some(note) = pod.note.as_deref() else { continue };
        let known = record.knows(&pod.key.name, note.at).map(|it| it.code);
        if let Some(harm) = harms.get(&*pod.key.name) {
            if known.is_some_and(|it| it != Code::Resized) {
                continue; // reckoned with in an earlier round; taking it back has not come about yet
            }
            if record.incidents_until.is_none_or(|it| it < harm.at) {
                set_back = true;
                blame(&mut record, &judged(pod, note), harm);
            }
            record.remember(done(pod, &judged(pod, note), harm.code, &harm.message));
        } else if let Some((_, code, message)) = given_up.iter().find(|it| it.0.key == pod.key) {
            if known.is_none() {
                set_back = true;
                record.remember(done(pod, note, *code, message));
            }
        } else if has_settled(scene, subject, &record, pod, now) {
            let end = ended_while_watched(scene, subject, pod, note);
            let outcome = end.clone().unwrap_or_else(|| "no harm was found".to_owned());
            record.remember(done(pod, note, Code::Resized, &format!("{}: {outcome}", note.in_words())));
            if end.is_some() {
                continue; // nothing of ours is to blame, but it is not well either: what is remembered of setbacks stays
            }
            if record.not_before.is_none_or(|it| it <= now) {
                record.setbacks = 0;
                record.not_before = None;
            }
        }
    }
    if set_back {
        record.set_back(now, &subject.policy);
        let last = harms.values().map(|it| it.at).max();
        record.incidents_until = record.incidents_until.max(last);
    }
    (record != *subject.record).then_some(record)
}

/// How a container of the pod ended badly while its resize was watched, and why that is not to blame.
fn ended_while_watched(scene: &Scene, subject: &Subject, pod: &PodFacts, note: &Noted) -> Option<String> {
    let until = after(note.at, subject.policy.settle.value);
    pod.containers.iter().find_map(|container| {
        let end = container.last_end.filter(|it| whole(note.at) <= it.at && it.at <= until)?;
        let (name, at) = (&container.name, end.at);
        let explained = innocent::end(scene, pod, container, at).filter(|_| !end.out_of_memory);
        let why = explained.map_or_else(|| "although it has no less than before".to_owned(), |it| format!("when {it}"));
        if end.out_of_memory {
            return Some(format!("{name} was OOM-killed at {at:.0}, {why}"));
        }
        let bad = end.exit_code != 0 && !restarts_for(container, note);
        bad.then(|| format!("{name} ended with code {} at {at:.0}, {why}", end.exit_code))
    })
}

/// Whether the pod's last resize was ours, has been watched for long enough, and that has not been said yet.
fn has_settled(scene: &Scene, subject: &Subject, record: &Record, pod: &PodFacts, now: Timestamp) -> bool {
    pod.note.as_deref().is_some_and(|note| {
        note.by == Author::Controller
            && !is_within(note.at, subject.policy.settle.value, now)
            && pod.progress == Progress::Settled
            && !pod.deleting
            && pod.leaving.is_none()
            && !innocent::is_lost(scene, pod)
            && !is_restarting(subject, pod, note, now)
            && record.knows(&pod.key.name, note.at).is_none()
            && !record.is_forgotten(note.at)
            && stands(pod, note)
    })
}

/// Remember the sizes that are to be blamed.
fn blame(record: &mut Record, note: &Noted, harm: &Harm) {
    for (name, before, set) in note.containers.iter() {
        if harm.container.as_ref().is_some_and(|it| it != name) {
            continue;
        }
        let mut size = Numbers::default();
        let blamed = RESOURCES.iter().filter(|resource| match harm.code {
            Code::OutOfMemory => **resource == Resource::Memory,
            Code::Throttled => **resource == Resource::Cpu,
            _ => true,
        });
        for resource in blamed {
            for requirement in [Requirement::Request, Requirement::Limit] {
                let (was, is) = (before.get(*resource, requirement), set.get(*resource, requirement));
                if let Some((_, is)) = was.zip(is).filter(|(was, is)| is < was) {
                    size.set(*resource, requirement, Some(is));
                }
            }
        }
        if size.is_empty() {
            continue;
        }
        record.too_small.retain(|it| !(it.container == **name && it.size == size));
        record.too_small.push(TooSmall { container: name.to_string(), size, at: harm.at, code: harm.code });
    }
    record.too_small.sort_by(|a, b| (a.at, &a.container).cmp(&(b.at, &b.container)));
}
