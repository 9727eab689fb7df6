//! The front of this crate, and our own strategy: the slow path every quarter of an hour where there is news, sooner when a
//! sample says so, and the fast path at every sample.
//!
//! Whoever sizes real pods holds one [`Supple`] for each (workload, container) and calls
//!
//! * [`Supple::observe`] with every sample of every pod, and [`Supple::out_of_memory`] with every kill,
//! * [`Supple::react`] right after a sample, or whenever pressure or `memory.events` say something: what cannot wait,
//! * [`Supple::advise`] when it judges: request, limit, bounds, confidence and the account of both resources,
//! * [`Supple::forget`] when a pod is gone, and [`Supple::save`] and [`Supple::load`] around its own restarts.
//!
//! What else has to happen now and again (hours that end, ways that are rehearsed) happens within these calls.

use std::num::NonZero;

use supple_quantity::{Bytes, MilliCpu};

use crate::advise::{Advice, Part};
use crate::codec::LoadError;
use crate::explain::{Account, Climb, Explanation, Rule};
use crate::fast::{Latest, Reflex, has_waited, is_met_by_use, react};
use crate::past::UNKNOWN;
use crate::pods::Pods;
use crate::policy::Policy;
use crate::resource::Resource;
use crate::sample::{OutOfMemory, Sample, Size, amount, whole};
use crate::small::{Float, Whole};
use crate::state::{BEYOND_KILL, Cursor, State, Taken};
use crate::strategy::{Pod, Strategy};

/// Use at this share of the size in force is worth a look before its time. What fits a size of CPU harms nobody, so there it is use
/// over the size: at nine tenths of it noise alone would have the plan made anew every few minutes, and to no gain.
const WORTH_A_LOOK: [f64; 2] = [1.0, 0.9];

/// Seconds after a look within which CPU use no higher than then is not worth another one.
const SEEN: i64 = 240;

/// CPU samples in a row over the size in force that are a new level and no spike.
const SUSTAINED: u32 = 5;

/// Seconds after a raise within which pressure and `memory.events` raise no further: the reading that told of them is there for a
/// while after what was done about it, and a fifth more with every sample would have no end.
const ANSWERED: i64 = 300;

/// A pod that is first seen within so many seconds after a sample of one that is past its start is starting beside it.
const BESIDE: i64 = 600;

/// What is known of one pod.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    cursor: Cursor,
    next: i64,
    cpu: Cpu,
    memory: Memory,
    /// Until when no memory is lowered below what was raised in haste, and the level that was.
    until: i64,
    raised: u16,
    /// Some task waited for a CPU in the latest measurement, for long enough.
    waited: bool,
    /// In the latest measurement the memory limit was met by what is used.
    breached: bool,
    /// The lowest of the CPU samples in a row over the size in force, and how many they are.
    lowest: f64,
    run: u32,
    /// Until when CPU use up to such an amount was looked at.
    seen: (i64, f64),
    /// What was looked at: of CPU, of memory.
    looked_at: [Looked; 2],
}

/// The hour, its highest level and the size in force: while they are the same, a look comes to what the last one came to, or
/// so nearly that it can wait for the next hour. No hour: nothing was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Looked {
    in_force: Whole,
    hour: Option<NonZero<i32>>,
    highest: Option<u16>,
}

/// What there is to look at.
fn to_look_at(state: &State, resource: Resource, in_force: Option<i64>) -> Looked {
    let Some(hour) = state.hour else { return Looked::default() };
    let highest = match resource {
        Resource::Cpu => state.cpu.open.top(),
        Resource::Memory => Some(state.memory.open),
    };
    // With its sign turned over: the hour that would then be none is a quarter of a million years ago.
    let hour = NonZero::new(i32::try_from(hour).unwrap_or(i32::MAX) ^ i32::MIN);
    Looked { in_force: in_force.into(), hour, highest }
}

/// The latest measurement of CPU, as it is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    used: Float,
    sustained: Float,
    throttled: Float,
}

/// The latest measurement of memory, as it is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    used: Float,
    known_peak: Float,
    pressure: Float,
}

impl Held {
    /// The latest measurement of a resource.
    fn latest(&self, resource: Resource) -> Latest {
        let (cpu, memory) = (&self.cpu, &self.memory);
        match resource {
            Resource::Cpu => Latest {
                used: cpu.used.get(),
                sustained: cpu.sustained.get(),
                throttled: cpu.throttled.get(),
                waited: self.waited,
                ..Latest::default()
            },
            Resource::Memory => Latest {
                used: memory.used.get(),
                known_peak: memory.known_peak.get(),
                pressure: memory.pressure.get(),
                breached: self.breached,
                ..Latest::default()
            },
        }
    }

    /// Counts the latest CPU sample, once, into the run of those over the size in force.
    fn count_over(&mut self, in_force: Option<i64>) {
        let Some((used, size)) = self.cpu.used.get().zip(in_force) else {
            return;
        };
        (self.run, self.lowest) = if used <= amount(size) {
            (0, f64::INFINITY)
        } else {
            (self.run.saturating_add(1), if self.run == 0 { used } else { self.lowest.min(used) })
        };
        self.cpu.sustained = (self.run >= SUSTAINED).then_some(self.lowest).into();
    }

    /// What the latest measurement demands, and the size it raises to.
    fn reflex(
        &mut self,
        policy: &Policy,
        resource: Resource,
        now: i64,
        in_force: Option<i64>,
    ) -> (Reflex, Option<i64>) {
        let Some(size) = in_force.filter(|_| policy.reflexes) else {
            return (Reflex::None, None);
        };
        let terms = policy.terms(resource);
        let mut latest = self.latest(resource);
        let mut reflex = react(resource, &latest, amount(size));
        let is_answered = resource == Resource::Memory
            && now < self.until.saturating_sub(policy.hold).saturating_add(ANSWERED)
            && resource.level(amount(size)) >= self.raised;
        if is_answered && matches!(reflex, Reflex::Raise(_)) {
            (latest.pressure, latest.breached) = (None, false);
            reflex = react(resource, &latest, amount(size));
            if reflex == Reflex::None {
                reflex = Reflex::Veto;
            }
        }
        let raised = match reflex {
            Reflex::Raise(to) => {
                Some(whole(to).clamp(terms.least, terms.most.max(terms.least))).filter(|to| *to > size)
            }
            _ => None,
        };
        // Memory is held: a second kill is dearer than hours of slack. CPU the plan may take back when it looks.
        if let Some(raised) = raised.filter(|_| resource == Resource::Memory) {
            self.until = now.saturating_add(policy.hold);
            self.raised = resource.level(amount(raised));
        }
        (reflex, raised)
    }

    /// The size that stays in place of a wish, and why, where a decrease is forbidden just now.
    fn held_back(
        &self,
        wish: i64,
        reflex: Reflex,
        resource: Resource,
        now: i64,
        in_force: Option<i64>,
    ) -> Option<(i64, Rule)> {
        let until = if resource == Resource::Memory { self.until } else { 0 };
        match (in_force.filter(|size| wish < *size)?, reflex) {
            (size, Reflex::Veto | Reflex::Raise(_)) => Some((size, Rule::Veto)),
            (size, Reflex::None) if now < until => Some((size, Rule::Hold)),
            _ => None,
        }
    }

    /// Notes what was looked at.
    fn looked(&mut self, state: &State, resource: Resource, now: i64, in_force: Option<i64>) {
        self.looked_at[usize::from(resource == Resource::Memory)] = to_look_at(state, resource, in_force);
        if resource == Resource::Cpu {
            self.seen = (now.saturating_add(SEEN), self.cpu.used.get().unwrap_or(0.0));
        }
    }

    /// True where it is time for a look, or use is near the size in force (CPU: over it), and there is something new to look at.
    fn is_news(&self, state: &State, resource: Resource, now: i64, in_force: Option<i64>, due: bool) -> bool {
        let new = || self.looked_at[usize::from(resource == Resource::Memory)] != to_look_at(state, resource, in_force);
        match resource {
            // How often the size was passed is news each time, but spikes by the minute are not looked at by the minute.
            Resource::Cpu => (due && new()) || (near(resource, self.cpu.used.get(), in_force) && self.is_unseen(now)),
            Resource::Memory => (due || near(resource, self.memory.used.get(), in_force)) && new(),
        }
    }

    /// True where CPU use as high as this was not looked at so lately.
    fn is_unseen(&self, now: i64) -> bool {
        now > self.seen.0 || self.cpu.used.get().is_some_and(|it| it > self.seen.1)
    }
}

fn near(resource: Resource, used: Option<f64>, in_force: Option<i64>) -> bool {
    let share = WORTH_A_LOOK[usize::from(resource == Resource::Memory)];
    used.zip(in_force).is_some_and(|(used, size)| used > amount(size) * share)
}

/// All that is known of one (workload, container) and what follows from it for each of its pods.
#[derive(Debug)]
pub struct Supple {
    policy: Policy,
    state: State,
    pods: Pods<Held>,
    /// The hour for which the peak of the hours of a day before it was looked up, and that peak.
    peak: (Option<i64>, Option<u16>),
    /// The hour for which a climb was looked for, and that climb.
    climb: (Option<i64>, Option<Climb>),
    /// The newest CPU sample of a pod that is past its start.
    settled: Option<i64>,
    last: Explanation,
}

impl Supple {
    /// Knowing nothing.
    pub fn new(policy: Policy) -> Self {
        Self::resume(policy, State::default())
    }

    /// Going on from a state.
    pub const fn resume(policy: Policy, state: State) -> Self {
        let last = Explanation { cpu: None, memory: None };
        Self { policy, state, pods: Pods::new(), peak: (None, None), climb: (None, None), settled: None, last }
    }

    /// Going on from what [`Supple::save`] wrote.
    ///
    /// # Errors
    ///
    /// The bytes are not a state: cut, damaged, or written by another version.
    pub fn load(policy: Policy, bytes: &[u8]) -> Result<Self, LoadError> {
        Ok(Self::resume(policy, State::load(bytes)?))
    }

    /// What is remembered, as at most [`crate::codec::MOST`] bytes: everything but where each pod's samples stand and what was
    /// raised in haste, which the pods' next samples tell again.
    pub fn save(&self) -> Vec<u8> {
        self.state.save()
    }

    /// What is remembered.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Judges by another policy from now on. What is remembered does not depend on it.
    pub const fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// A pod is gone; its samples stay remembered.
    pub fn forget(&mut self, pod: Pod) {
        self.pods.forget(pod);
    }

    /// Counts a sample of a pod. Samples of one pod come in the order of time; between pods they may interleave.
    pub fn observe(&mut self, pod: Pod, sample: &Sample) -> Taken {
        let known_peak = self.known_peak();
        let held = self.pods.of(pod);
        let startup = self.policy.startup;
        if held.cursor.is_new() {
            // Of the first pods nobody knows when they were started, and pods that live no longer than a start, one after another, are
            // the service. But one that appears beside others that have long been at work was scaled up or rolled out.
            let beside = self.settled.is_some_and(|it| sample.time.saturating_sub(it) <= BESIDE);
            held.cursor.start(if beside { sample.time } else { sample.time.saturating_sub(startup) });
        }
        let taken = self.state.observe(&mut held.cursor, sample, &self.policy);
        if taken == Taken::Counted {
            let age = held.cursor.age(sample.time).unwrap_or(0);
            if sample.cpu.is_some() && age >= startup.saturating_mul(2) {
                self.settled = self.settled.max(Some(sample.time));
            }
            let throttled = sample.throttled.into();
            held.cpu = Cpu { used: sample.cpu.into(), throttled, ..Cpu::default() };
            held.waited = has_waited(sample.cpu_pressure);
            held.memory = Memory {
                used: sample.memory.into(),
                known_peak: known_peak.into(),
                pressure: sample.memory_pressure.into(),
            };
            held.breached = sample.memory_breached && is_met_by_use(sample.memory, sample.memory_limit);
        }
        taken
    }

    /// Counts a kill of a pod's container for want of memory. The next look at the pod is due at once.
    pub fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory) {
        self.state.out_of_memory(kill);
        let held = self.pods.of(pod);
        held.next = kill.time;
        // Known to have been wanted, though not measured: the fast path raises to it at once.
        held.memory.used = Some(held.memory.used.get().unwrap_or(0.0).max(kill.wanted(BEYOND_KILL))).into();
    }

    /// The fast path alone, after the latest sample: the sizes that have to be in force at once. Nothing is ever lowered, and
    /// what is not raised is returned as it is.
    pub fn react(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let held = self.pods.of(pod);
        let (cpu, memory) = amounts(in_force);
        held.count_over(cpu);
        let raised = [(Resource::Cpu, cpu), (Resource::Memory, memory)]
            .map(|(resource, size)| held.reflex(&self.policy, resource, now, size).1);
        for (resource, _) in Resource::ALL.into_iter().zip(raised).filter(|(_, raised)| raised.is_some()) {
            raised_in_haste(account(&mut self.last, resource));
        }
        let mut size = *in_force;
        if let Some(cpu) = raised[0] {
            size.cpu_request = Some(MilliCpu(cpu));
            size.cpu_limit = size.cpu_limit.map(|limit| limit.max(MilliCpu(cpu)));
        }
        if let Some(memory) = raised[1] {
            size.memory_request = Some(Bytes(memory));
            size.memory_limit = size.memory_limit.map(|limit| limit.max(Bytes(memory)));
        }
        size
    }

    /// The slow path: what a pod should have from `now` on, where `in_force` is what it has. Decreases that pressure, throttling
    /// or an earlier raise forbid are left out, and said to be.
    pub fn advise(&mut self, pod: Pod, now: i64, in_force: &Size) -> Advice {
        let (cpu, memory) = amounts(in_force);
        let mut parts = [(Resource::Cpu, cpu), (Resource::Memory, memory)].map(|(resource, size)| {
            let held = self.pods.of(pod);
            let (reflex, _) = held.reflex(&self.policy, resource, now, size);
            self.plan(pod, resource, now, size, reflex)
        });
        let climb = self.climb_until(in_force);
        if let Some(memory) = &mut parts[1] {
            memory.account.climb = climb;
        }
        Advice { cpu: parts[0].take(), memory: parts[1].take() }
    }

    /// Why the sizes are what they are, of the pod that was looked at last.
    pub const fn explanation(&self) -> &Explanation {
        &self.last
    }

    fn plan(&mut self, pod: Pod, resource: Resource, now: i64, in_force: Option<i64>, reflex: Reflex) -> Option<Part> {
        let part = match resource {
            Resource::Cpu => self.state.advise_cpu(&self.policy, in_force),
            Resource::Memory => self.state.advise_memory(&self.policy, in_force),
        }?;
        let held = self.pods.of(pod);
        held.looked(&self.state, resource, now, in_force);
        let held_back = held.held_back(part.request, reflex, resource, now, in_force);
        let part = held_back.map_or(part, |(size, rule)| part.staying(size, rule));
        *account(&mut self.last, resource) = Some(part.account);
        Some(part)
    }

    /// The climb of the last account of memory, told with the time left to the limit in force.
    fn climb_until(&mut self, in_force: &Size) -> Option<Climb> {
        let account = self.last.memory.as_mut()?;
        account.climb = account.climb.map(|it| it.until(in_force.memory_limit.map(|it| amount(it.0))));
        account.climb
    }

    /// One resource in the loop: the reflex first, then the plan where it is time to look.
    fn settle(&mut self, pod: Pod, resource: Resource, now: i64, in_force: Option<i64>, due: bool) -> Option<i64> {
        let held = self.pods.of(pod);
        if resource == Resource::Cpu {
            held.count_over(in_force);
        }
        let news = held.is_news(&self.state, resource, now, in_force, due);
        let (reflex, raised) = held.reflex(&self.policy, resource, now, in_force);
        if raised.is_some() {
            raised_in_haste(account(&mut self.last, resource));
            return raised;
        }
        if !news && in_force.is_some() {
            return in_force;
        }
        let choice = match resource {
            Resource::Cpu => self.state.choose_cpu(&self.policy, in_force),
            Resource::Memory => {
                if self.climb.0 != self.state.hour {
                    let hour = self.state.hour;
                    self.climb = (hour, hour.and_then(|hour| self.state.memory.climb(hour)));
                }
                self.state.choose_memory(&self.policy, in_force, self.climb.1)
            }
        }?;
        held.looked(&self.state, resource, now, in_force);
        let held_back = held.held_back(choice.request, reflex, resource, now, in_force);
        let choice = held_back.map_or(choice, |(size, rule)| choice.staying(size, rule));
        *account(&mut self.last, resource) = Some(choice.account);
        Some(choice.request)
    }

    /// The highest level of memory of the last day, as known before a sample.
    fn known_peak(&mut self) -> Option<f64> {
        if self.peak.0 != self.state.hour || self.state.hour.is_none() {
            self.peak = (self.state.hour, self.state.hour.and_then(|hour| self.state.memory.highest(hour, 24)));
        }
        let open = Some(self.state.memory.open).filter(|it| *it != UNKNOWN);
        self.peak.1.max(open).map(|level| Resource::Memory.amount(level))
    }

    /// A size of these requests, with limits where the policy wants them.
    fn sized(&self, cpu: Option<i64>, memory: Option<i64>) -> Size {
        Size {
            cpu_request: cpu.map(MilliCpu),
            cpu_limit: if self.policy.cpu.limit { cpu.map(MilliCpu) } else { None },
            memory_request: memory.map(Bytes),
            memory_limit: if self.policy.memory.limit { memory.map(Bytes) } else { None },
        }
    }
}

/// The account of a resource at the last look.
const fn account(last: &mut Explanation, resource: Resource) -> &mut Option<Account> {
    match resource {
        Resource::Cpu => &mut last.cpu,
        Resource::Memory => &mut last.memory,
    }
}

/// The size of the last account was passed over for one that could not wait.
const fn raised_in_haste(account: &mut Option<Account>) {
    if let Some(account) = account {
        account.rule = Rule::Raise;
    }
}

fn amounts(size: &Size) -> (Option<i64>, Option<i64>) {
    (size.cpu_request.map(|it| it.0), size.memory_request.map(|it| it.0))
}

impl Strategy for Supple {
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        let _ = Self::observe(self, pod, sample);
    }

    fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory) {
        Self::out_of_memory(self, pod, kill);
    }

    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let held = self.pods.of(pod);
        let due = now >= held.next;
        if due {
            held.next = now.saturating_add(self.policy.every);
        }
        let (cpu, memory) = amounts(in_force);
        let cpu = self.settle(pod, Resource::Cpu, now, cpu, due);
        let memory = self.settle(pod, Resource::Memory, now, memory, due);
        self.climb_until(in_force);
        self.sized(cpu, memory)
    }

    fn explain(&self) -> Option<&Explanation> {
        Some(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_kept_of_a_pod() {
        // Twenty thousand pods: each byte here is twenty kilobytes.
        assert!(size_of::<(Pod, Held)>() <= 160, "{} bytes", size_of::<(Pod, Held)>());
    }
}
