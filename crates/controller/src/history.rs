//! What containers used, remembered: one recommender for each container of each workload, fed by all of its pods, and what
//! each of them says the container needs. The moments come with the samples; nothing here reads a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::facts::{ContainerFacts, PodFacts};
use supple_decide::few::Few;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::{Need, Use, Wanted};
use supple_decide::numbers::Numbers;
use supple_decide::policy::Policy;
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::advise::Part;
use supple_recommend::explain::{Doubt, Explanation, Rule};
use supple_recommend::policy::{Policy as Terms, Risk};
use supple_recommend::resource::Resource;
use supple_recommend::sample::{OutOfMemory, Sample, Size};
use supple_recommend::state::{State, Taken};
use supple_recommend::supple::Supple;

use crate::history_file::Page;
use crate::source::prometheus::past::Extent;

/// Length of the two spans over which the highest use of a pod is remembered: together between half a day and a day.
const SPAN_SECONDS: i64 = 12 * 3600;

/// What is learned is saved so soon after the newest sample in it, at most.
const SAVED_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// A kill that nobody saw is answered in haste for so long; what has lived for longer since may wait its turn.
const IN_HASTE: SignedDuration = SignedDuration::from_hours(1);

/// The number of no pod in a recommender.
const NOBODY: u32 = u32::MAX;

/// All recommenders.
#[derive(Debug, Default)]
pub struct History {
    kept: BTreeMap<WorkloadKey, Few<Arc<str>, Box<Kept>>>,
}

/// What is kept of one container of one workload.
#[derive(Debug)]
struct Kept {
    front: Supple,
    pods: Few<PodKey, Known>,
    next: u32,
    fresh: Option<Timestamp>,
    /// The highest use of any of its pods before this process, which does not know any more whose it was.
    recalled: Peak,
    /// The newest sample before this process.
    recalled_to: Option<Timestamp>,
    /// The hour of the newest kill before this process.
    recalled_kill: Option<i64>,
    /// The highest use of those that were evicted since.
    evicted: Peak,
    /// It goes on from more than an hour that was learned before this process.
    resumed: bool,
    /// Something has been learned since it was last saved.
    unsaved: bool,
}

/// The highest use of memory, over two spans of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Peak {
    /// The span of the newest sample.
    span: i32,
    /// In that span, and in the one before.
    high: (Bytes, Bytes),
}

/// What is kept of one pod.
#[derive(Debug, Default)]
struct Known {
    /// Its number in the recommender.
    number: u32,
    /// Its highest use lately.
    peak: Peak,
    /// What the fast path wants at once; boxed, because hardly any pod is in haste.
    urgent: Option<Box<Urgent>>,
}

/// What the fast path wants at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Urgent {
    cpu: Option<MilliCpu>,
    memory: Option<Bytes>,
}

/// What was learned from one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The use, with the peak that is known of the pod.
    pub used: Use,
    /// It demands more at once, and more than the readings before it did.
    pub is_pressing: bool,
}

impl Known {
    fn urgent(&self) -> Urgent {
        self.urgent.as_deref().copied().unwrap_or_default()
    }

    fn set_urgent(&mut self, urgent: Urgent) {
        self.urgent = (urgent != Urgent::default()).then(|| Box::new(urgent));
    }
}

impl Peak {
    /// As it stands in the span of this moment, if that is not before its own.
    fn at(self, second: i64) -> Self {
        let span = second.div_euclid(SPAN_SECONDS);
        let span = i32::try_from(span).unwrap_or(if span < 0 { i32::MIN } else { i32::MAX });
        if span <= self.span {
            return self;
        }
        let before = if span == self.span.saturating_add(1) { self.high.0 } else { Bytes(0) };
        Self { span, high: (Bytes(0), before) }
    }

    fn see(&mut self, second: i64, memory: Bytes) {
        *self = self.at(second);
        self.high.0 = self.high.0.max(memory);
    }

    fn highest(self) -> Option<Bytes> {
        Some(self.high.0.max(self.high.1)).filter(|it| it.0 > 0)
    }

    /// The higher of two, in each span.
    fn and(self, other: Self) -> Self {
        let newest = i64::from(self.span.max(other.span)).saturating_mul(SPAN_SECONDS);
        let (one, other) = (self.at(newest), other.at(newest));
        Self { span: one.span, high: (one.high.0.max(other.high.0), one.high.1.max(other.high.1)) }
    }

    /// As it is saved behind the state of a recommender: nothing where there is none.
    fn save(self, out: &mut Vec<u8>) {
        if self.highest().is_some() {
            out.extend(self.span.to_be_bytes());
            out.extend(self.high.0.0.to_be_bytes());
            out.extend(self.high.1.0.to_be_bytes());
        }
    }

    /// Of what stands behind the state of a recommender; nothing there, or nothing we know, is none.
    fn load(bytes: &[u8]) -> Self {
        let parts = bytes.split_first_chunk().and_then(|(span, rest)| Some((span, rest.split_first_chunk()?)));
        let Some((span, (now, before))) = parts else { return Self::default() };
        let Ok(before) = <[u8; 8]>::try_from(before) else { return Self::default() };
        let high = (Bytes(i64::from_be_bytes(*now)), Bytes(i64::from_be_bytes(before)));
        Self { span: i32::from_be_bytes(*span), high }
    }
}

/// What a policy says to a recommender. A risk that cannot be read is as good as none: whoever checks policies has said so.
fn terms(policy: &Policy) -> Terms {
    let mut terms = Terms::default();
    let risk = |resource, text: &Option<Arc<str>>| text.as_deref().and_then(|it| Risk::of(resource, it).ok());
    terms.cpu.risk = risk(Resource::Cpu, &policy.cpu_risk.value);
    terms.memory.risk = risk(Resource::Memory, &policy.memory_risk.value);
    terms
}

impl Kept {
    fn new(front: Supple) -> Self {
        Self {
            front,
            pods: Few::new(),
            next: 0,
            fresh: None,
            recalled: Peak::default(),
            recalled_to: None,
            recalled_kill: None,
            evicted: Peak::default(),
            resumed: false,
            unsaved: false,
        }
    }

    fn boxed(front: Supple) -> Box<Self> {
        Box::new(Self::new(front))
    }

    /// The recommender's state, and behind it the highest use of any pod.
    fn save(&self) -> Vec<u8> {
        let mut bytes = self.front.save();
        self.pods.values().fold(self.gone(), |peak, it| peak.and(it.peak)).save(&mut bytes);
        bytes
    }

    /// The highest use of pods that are not there any more.
    fn gone(&self) -> Peak {
        self.recalled.and(self.evicted)
    }

    fn known(&mut self, pod: &PodKey) -> &mut Known {
        let Self { pods, next, .. } = self;
        pods.get_or_insert_with(
            pod,
            || pod.clone(),
            || {
                let number = *next;
                *next = next.wrapping_add(1);
                Known { number, ..Known::default() }
            },
        )
    }
}

fn size(numbers: &Numbers) -> Size {
    Size {
        cpu_request: numbers.cpu_request,
        cpu_limit: numbers.cpu_limit,
        memory_request: numbers.memory_request,
        memory_limit: numbers.memory_limit,
    }
}

fn share(permille: Option<u16>) -> Option<f64> {
    permille.map(|it| f64::from(it) / 1000.0)
}

impl History {
    /// Learn from what one container of one pod used; `None` where it says nothing new. `met_limit`: the kernel counted that its
    /// memory limit was met meanwhile.
    pub fn observe(
        &mut self,
        pod: &PodFacts,
        container: &ContainerFacts,
        used: &Use,
        met_limit: bool,
        policy: &Policy,
    ) -> Option<Learned> {
        let kept = self.kept(pod, container, policy);
        let in_force = container.actual.unwrap_or(container.asked);
        let sample = Sample {
            time: used.at.as_second(),
            cpu: used.cpu.map(|it| supple_recommend::sample::amount(it.0)),
            memory: used.memory.map(|it| supple_recommend::sample::amount(it.0)),
            cpu_limit: in_force.cpu_limit,
            memory_limit: in_force.memory_limit,
            throttled: share(used.throttled_permille),
            restarts: Some(container.restarts),
            cpu_pressure: share(used.cpu_pressure_permille),
            memory_pressure: share(used.memory_pressure_permille),
            memory_breached: met_limit,
        };
        let number = kept.known(&pod.key).number;
        if kept.front.observe(number, &sample) != Taken::Counted {
            return None;
        }
        let raised = kept.front.react(number, sample.time, &size(&container.asked));
        let known = kept.known(&pod.key);
        let more = |raised: Option<i64>, asked: Option<i64>| raised.filter(|it| asked.is_some_and(|asked| *it > asked));
        let (before, asked) = (known.urgent(), &container.asked);
        let urgent = Urgent {
            cpu: more(raised.cpu_request.map(|it| it.0), asked.cpu_request.map(|it| it.0)).map(MilliCpu),
            memory: more(raised.memory_request.map(|it| it.0), asked.memory_request.map(|it| it.0)).map(Bytes),
        };
        known.set_urgent(urgent);
        if let Some(memory) = used.memory {
            known.peak.see(sample.time, memory);
        }
        let is_pressing = urgent.cpu > before.cpu || urgent.memory > before.memory;
        let peak = known.peak.highest();
        let peak = peak.max(kept.gone().at(sample.time).highest());
        kept.fresh = kept.fresh.max(Some(used.at));
        kept.unsaved = true;
        Some(Learned { used: Use { memory_peak: used.memory_peak.max(peak), ..*used }, is_pressing })
    }

    /// Learn from a kill for want of memory.
    pub fn killed(&mut self, pod: &PodFacts, container: &ContainerFacts, at: Timestamp, policy: &Policy) {
        let kept = self.kept(pod, container, policy);
        let known = kept.known(&pod.key);
        let (number, peak) = (known.number, known.peak.highest());
        let in_force = container.actual.unwrap_or(container.asked);
        let kill = OutOfMemory {
            time: at.as_second(),
            limit: in_force.memory_limit,
            request: in_force.memory_request,
            peak: peak.map(|it| supple_recommend::sample::amount(it.0)),
        };
        kept.front.out_of_memory(number, &kill);
        let raised = kept.front.react(number, kill.time, &size(&container.asked));
        let memory = raised.memory_request.filter(|it| container.asked.memory_request.is_some_and(|asked| *it > asked));
        let known = kept.known(&pod.key);
        known.set_urgent(Urgent { memory, ..known.urgent() });
        kept.unsaved = true;
    }

    /// Learn from a kill that nobody was there to see. Where we resized the container since, it was killed at the size before that; then,
    /// and where it has lived for long since, the workload is to remember it, and no pod to be in haste.
    pub fn killed_unseen(
        &mut self,
        pod: &PodFacts,
        container: &ContainerFacts,
        at: Timestamp,
        now: Timestamp,
        policy: &Policy,
    ) {
        // Kubernetes writes when something ended in whole seconds, rounded down.
        let since = pod.note.as_deref().filter(|it| it.at.as_second() > at.as_second());
        let before = since.and_then(|it| it.container(&container.name)).map(|(before, _)| *before);
        if before.is_none() && now.duration_since(at) < IN_HASTE {
            return self.killed(pod, container, at, policy);
        }
        let then = before.unwrap_or_default().or(&container.actual.unwrap_or(container.asked));
        let (limit, request) = (then.memory_limit, then.memory_request);
        let kept = self.kept(pod, container, policy);
        kept.front.out_of_memory(NOBODY, &OutOfMemory { time: at.as_second(), limit, request, peak: None });
        kept.front.forget(NOBODY);
        kept.unsaved = true;
    }

    /// Whether a kill of then was learned from before this process. What is older than the newest sample that was saved was; about that
    /// sample it was if a kill of its hour had been learned when it was saved.
    pub fn has_seen_kill(&self, workload: &WorkloadKey, container: &str, at: Timestamp) -> bool {
        let Some(kept) = self.kept.get(workload).and_then(|it| it.get(container)) else { return false };
        let Some(since) = kept.recalled_to.map(|it| at.duration_since(it)) else { return false };
        let of_its_hour = || kept.recalled_kill.is_some_and(|it| it >= at.as_second().div_euclid(3600));
        if since.abs() <= SAVED_WITHIN { of_its_hour() } else { since.is_negative() }
    }

    /// Learn from an eviction by a node that was short of memory: the container used this much, and so little that it stayed
    /// within its request is no reason to ask for more. Returns whether there was something to learn.
    pub fn evicted(
        &mut self,
        pod: &PodFacts,
        container: &ContainerFacts,
        used: Bytes,
        at: Timestamp,
        policy: &Policy,
    ) -> bool {
        let request = container.asked.memory_request;
        if used <= request.unwrap_or_default() {
            return false;
        }
        let kept = self.kept(pod, container, policy);
        let peak = Some(supple_recommend::sample::amount(used.0));
        // The workload is to remember it, and no pod to be in haste: this one is gone, and the one in its place has done nothing yet.
        kept.front.out_of_memory(NOBODY, &OutOfMemory { time: at.as_second(), limit: None, request, peak });
        kept.front.forget(NOBODY);
        // Its pod takes along what is known of it alone; this is to be known after a restart too.
        kept.evicted.see(at.as_second(), used);
        kept.unsaved = true;
        true
    }

    /// Whether a pod of the workload, before this process, is known to have used so much at about that time: an eviction of then has
    /// been learned from. What has been learned since is no such sign, and neither is what was known before an eviction that nobody
    /// was there to see: a second pod may be evicted that used less than the first.
    pub fn has_seen(&self, workload: &WorkloadKey, container: &str, used: Bytes, at: Timestamp) -> bool {
        let Some(kept) = self.kept.get(workload).and_then(|it| it.get(container)) else { return false };
        let was_there = kept.recalled_to.is_none_or(|it| at.duration_since(it) <= SAVED_WITHIN);
        was_there && kept.recalled.at(at.as_second()).highest().is_some_and(|it| used <= it)
    }

    fn kept(&mut self, pod: &PodFacts, container: &ContainerFacts, policy: &Policy) -> &mut Kept {
        let of_workload = self.kept.entry(pod.workload.clone()).or_default();
        of_workload.get_or_insert_with(
            &*container.name,
            || container.name.clone(),
            || Kept::boxed(Supple::new(terms(policy))),
        )
    }

    /// Pods that are gone are forgotten; what they taught stays.
    pub fn retain_pods(&mut self, is_there: impl Fn(&PodKey) -> bool) {
        for kept in self.kept.values_mut().flat_map(Few::values_mut) {
            let Kept { front, pods, .. } = &mut **kept;
            pods.retain(|pod, known| {
                let there = is_there(pod);
                if !there {
                    front.forget(known.number);
                }
                there
            });
        }
    }

    /// Whether anything is known of a workload.
    pub fn knows(&self, workload: &WorkloadKey) -> bool {
        self.kept.contains_key(workload)
    }

    /// Whether anything is known of one of its containers.
    pub fn knows_of(&self, workload: &WorkloadKey, container: &str) -> bool {
        self.kept.get(workload).is_some_and(|it| it.contains_key(container))
    }

    /// Every workload of which anything is known, with the newest sample of each.
    pub fn workloads(&self) -> impl Iterator<Item = (Option<Timestamp>, &WorkloadKey)> {
        self.kept.iter().map(|(workload, kept)| (kept.values().filter_map(|it| it.fresh).max(), workload))
    }

    /// Forget the workloads that are not to be kept, told with the newest sample of each.
    pub fn retain_workloads(&mut self, is_kept: impl Fn(&WorkloadKey, Option<Timestamp>) -> bool) {
        self.kept.retain(|workload, kept| is_kept(workload, kept.values().filter_map(|it| it.fresh).max()));
    }

    /// All that is known, as it is kept in a file: one page a container.
    pub fn pages(&self) -> impl Iterator<Item = Page> {
        self.kept.iter().flat_map(|(workload, containers)| {
            containers.iter().map(|(container, kept)| Page {
                workload: workload.clone(),
                container: container.clone(),
                fresh: kept.fresh,
                state: kept.save(),
            })
        })
    }

    /// Judge by another policy from now on.
    pub fn set_policy(&mut self, workload: &WorkloadKey, policy: &Policy) {
        for kept in self.kept.get_mut(workload).into_iter().flat_map(Few::values_mut) {
            kept.front.set_policy(terms(policy));
        }
    }

    /// What each container of a workload needs at `now`. `in_force` says of a container which pod is the measure of what is in
    /// force and what that asks for: a plan weighs the price of a change against it.
    pub fn needs(
        &mut self,
        workload: &WorkloadKey,
        now: Timestamp,
        in_force: impl Fn(&str) -> Option<(PodKey, Numbers)>,
    ) -> Few<Arc<str>, Need> {
        let mut needs = Few::new();
        for (container, kept) in self.kept.get_mut(workload).into_iter().flat_map(Few::iter_mut) {
            let Some((pod, asked)) = in_force(container) else { continue };
            let number = kept.known(&pod).number;
            let advice = kept.front.advise(number, now.as_second(), &size(&asked));
            let urgent_cpu = kept.pods.values().filter_map(|it| it.urgent().cpu).max();
            let urgent_memory = kept.pods.values().filter_map(|it| it.urgent().memory).max();
            let need = Need {
                cpu: advice
                    .cpu
                    .map(|it| wanted(&it, Resource::Cpu, urgent_cpu.map(|it| it.0)))
                    .map(|it| it.map(MilliCpu)),
                memory: advice
                    .memory
                    .map(|it| wanted(&it, Resource::Memory, urgent_memory.map(|it| it.0)))
                    .map(|it| it.map(|bytes| Bytes(in_mebibytes(bytes)))),
                fresh: kept.fresh,
                hours: u32::from(kept.front.state().hours()),
            };
            needs.insert(container.clone(), need);
        }
        needs
    }

    /// Why the newest needs of a container are what they are.
    pub fn explanation(&self, workload: &WorkloadKey, container: &str) -> Option<&Explanation> {
        Some(self.kept.get(workload)?.get(container)?.front.explanation())
    }

    /// What is to be saved of a workload: the bytes of each container.
    pub fn save(&mut self, workload: &WorkloadKey) -> BTreeMap<Arc<str>, Vec<u8>> {
        let kept = self.kept.get_mut(workload).into_iter().flat_map(Few::iter_mut);
        kept.map(|(name, kept)| {
            kept.unsaved = false;
            (name.clone(), kept.save())
        })
        .collect()
    }

    /// Workloads of which something has been learned since they were last saved.
    pub fn unsaved(&self) -> impl Iterator<Item = &WorkloadKey> {
        self.kept.iter().filter(|(_, it)| it.values().any(|it| it.unsaved)).map(|(key, _)| key)
    }

    /// Go on from what was saved, which rests on samples up to `fresh`. What has been learned meanwhile is kept too.
    ///
    /// # Errors
    /// The sentence that says why the bytes are no state; the container then begins anew.
    pub fn restore(
        &mut self,
        workload: &WorkloadKey,
        container: &str,
        bytes: &[u8],
        fresh: Option<Timestamp>,
        policy: &Policy,
    ) -> Result<(), String> {
        let state = State::load(bytes).map_err(|error| format!("{workload} {container}: {error}"))?;
        // A state says the same however often it is loaded and saved; what is longer was saved behind it.
        let peak = Peak::load(bytes.get(state.save().len()..).unwrap_or_default());
        let kill = state.kill.map(|(hour, _)| hour);
        self.adopt(workload, container, state, policy);
        if let Some(kept) = self.kept.get_mut(workload).and_then(|it| it.get_mut(container)) {
            kept.fresh = kept.fresh.max(fresh);
            kept.recalled_kill = kept.recalled_kill.max(kill);
            kept.recalled = kept.recalled.and(peak);
            kept.recalled_to = kept.recalled_to.max(fresh);
        }
        Ok(())
    }

    /// For how many hours a container of a workload is known.
    pub fn hours(&self, workload: &WorkloadKey, container: &str) -> u16 {
        let kept = self.kept.get(workload).and_then(|it| it.get(container));
        kept.map_or(0, |it| it.front.state().hours())
    }

    /// Whether it was gone on from what was learned before this process, of whoever's memory.
    pub fn is_resumed(&self, workload: &WorkloadKey) -> bool {
        self.kept.get(workload).is_some_and(|it| it.values().any(|it| it.resumed))
    }

    /// Learn from what somebody else remembers of one container of one pod: samples in the order of time. What may not be all of it is
    /// no hour of watching: nothing is lowered before that has been learned here.
    pub fn observe_past(
        &mut self,
        pod: &PodFacts,
        container: &str,
        samples: impl IntoIterator<Item = Sample>,
        extent: Extent,
        policy: &Policy,
    ) {
        // Into a front of its own, which is laid under what has been learned meanwhile: samples must come in the order of time.
        let mut past = Kept::new(Supple::new(terms(policy)));
        let number = past.known(&pod.key).number;
        for sample in samples {
            past.front.observe(number, &sample);
        }
        let state = match extent {
            Extent::Whole => *past.front.state(),
            Extent::Partial => past.front.state().of_no_hours(),
        };
        // It comes part by part, of one pod after the other: the first is no reason not to learn from the next.
        self.lay_under(&pod.workload, container, state, policy, false);
    }

    /// Go on from a state that was learned elsewhere.
    pub fn adopt(&mut self, workload: &WorkloadKey, container: &str, state: State, policy: &Policy) {
        self.lay_under(workload, container, state, policy, state.hours() > 1);
    }

    fn lay_under(&mut self, workload: &WorkloadKey, container: &str, state: State, policy: &Policy, resumed: bool) {
        let of_workload = self.kept.entry(workload.clone()).or_default();
        match of_workload.get_mut(container) {
            None => {
                let mut kept = Kept::boxed(Supple::resume(terms(policy), state));
                kept.resumed = resumed;
                of_workload.insert(Arc::from(container), kept);
            }
            Some(kept) => {
                let mut state = state;
                state.merge(kept.front.state());
                kept.front = Supple::resume(terms(policy), state);
                (kept.unsaved, kept.resumed) = (true, kept.resumed || resumed);
            }
        }
    }
}

/// A plan as a wish, with what the fast path wants at once laid over it.
fn wanted(part: &Part, resource: Resource, at_once: Option<i64>) -> Wanted<i64> {
    let target = part.request.max(at_once.unwrap_or(0));
    let is_raised = at_once.is_some_and(|it| it >= part.request);
    let urgent = match resource {
        // A shortage that the plan has reckoned with is no news: it slows the container down as it has done before, and can wait its turn.
        Resource::Cpu => is_raised,
        // The next allocation may be the one it is killed for, whoever knew of it.
        Resource::Memory => at_once.is_some(),
    };
    Wanted {
        target,
        lower: part.lower,
        upper: part.upper.max(target),
        confidence_permille: permille(part.confidence.value),
        rule: if is_raised { Rule::Raise } else { part.account.rule }.word().to_owned(),
        doubt: if part.confidence.doubt == Doubt::None { "" } else { part.confidence.doubt.word() }.to_owned(),
        urgent,
        veto: matches!(part.account.rule, Rule::Veto | Rule::Hold),
    }
}

/// Memory is asked for in whole MiB, rounded up: a smaller step is noise to every reader.
const fn in_mebibytes(bytes: i64) -> i64 {
    const MIB: i64 = 1 << 20;
    bytes.saturating_add(MIB - 1) / MIB * MIB
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1000 after the clamp")]
fn permille(share: f64) -> u16 {
    (share.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests;
