//! Our own strategy: the slow path every half hour, sooner when a sample says so, and the fast path at every sample.

use std::collections::BTreeMap;

use supple_quantity::{Bytes, MilliCpu};

use crate::advise::Part;
use crate::explain::{Explanation, Rule};
use crate::fast::{Latest, Reflex, react};
use crate::past::UNKNOWN;
use crate::policy::{Policy, Terms};
use crate::resource::Resource;
use crate::sample::{OutOfMemory, Sample, Size, amount, whole};
use crate::state::{BEYOND_KILL, Cursor, State, Taken};
use crate::strategy::{Pod, Strategy};

/// Use at this share of the size in force is worth a look before its time.
const WORTH_A_LOOK: f64 = 0.9;

/// CPU samples in a row over the size in force that are a new level and no spike.
const SUSTAINED: u32 = 5;

/// What is known of one pod.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    cursor: Cursor,
    next: i64,
    cpu: Latest,
    memory: Latest,
    /// Until when nothing is lowered below what was raised in haste: CPU, memory.
    until: [i64; 2],
    /// CPU samples in a row over the size in force, and their lowest.
    run: (u32, f64),
}

impl Held {
    /// Counts the latest CPU sample, once, into the run of those over the size in force.
    fn count_over(&mut self, in_force: Option<i64>) {
        let Some((used, size)) = self.cpu.used.zip(in_force) else {
            return;
        };
        self.run = if used <= amount(size) {
            (0, f64::INFINITY)
        } else {
            (self.run.0.saturating_add(1), if self.run.0 == 0 { used } else { self.run.1.min(used) })
        };
    }
}

/// Our strategy for one (workload, container).
#[derive(Debug)]
pub struct Supple {
    policy: Policy,
    state: State,
    pods: BTreeMap<Pod, Held>,
    last: Explanation,
}

impl Supple {
    /// Knowing nothing.
    pub fn new(policy: Policy) -> Self {
        Self::resume(policy, State::default())
    }

    /// Going on from a saved state.
    pub const fn resume(policy: Policy, state: State) -> Self {
        Self { policy, state, pods: BTreeMap::new(), last: Explanation { cpu: None, memory: None } }
    }

    /// What is remembered.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// One resource: the reflex first, then the plan, within what is held.
    fn settle(&mut self, resource: Resource, pod: Pod, now: i64, in_force: Option<i64>, look: bool) -> Option<i64> {
        let place = usize::from(resource == Resource::Memory);
        let held = self.pods.entry(pod).or_default();
        let latest = if resource == Resource::Cpu { held.cpu } else { held.memory };
        let terms: &Terms = self.policy.terms(resource);
        if resource == Resource::Cpu {
            held.count_over(in_force);
        }
        let latest = Latest { sustained: (held.run.0 >= SUSTAINED).then_some(held.run.1), ..latest };
        let reflex = match in_force {
            Some(size) if self.policy.reflexes => react(resource, &latest, amount(size)),
            _ => Reflex::None,
        };
        if let (Reflex::Raise(to), Some(size)) = (reflex, in_force) {
            let to = whole(to).clamp(terms.least, terms.most.max(terms.least));
            if to > size {
                // Memory is held: a second kill is dearer than hours of slack. CPU the plan may take back when it looks.
                if resource == Resource::Memory {
                    held.until[place] = now + self.policy.hold;
                }
                self.note(resource, None, Rule::Raise);
                return Some(to);
            }
        }
        if !look && in_force.is_some() {
            return in_force;
        }
        let until = held.until[place];
        let part = match resource {
            Resource::Cpu => self.state.advise_cpu(&self.policy, in_force),
            Resource::Memory => self.state.advise_memory(&self.policy, in_force),
        };
        let part = part?;
        let lowered = in_force.is_some_and(|size| part.request < size);
        let (size, rule) = match (lowered, reflex) {
            (true, Reflex::Veto | Reflex::Raise(_)) => (in_force, Rule::Veto),
            (true, Reflex::None) if now < until => (in_force, Rule::Hold),
            _ => (Some(part.request), part.account.rule),
        };
        self.note(resource, Some(part), rule);
        size
    }

    fn note(&mut self, resource: Resource, part: Option<Part>, rule: Rule) {
        let place = if resource == Resource::Cpu { &mut self.last.cpu } else { &mut self.last.memory };
        if let Some(part) = part {
            *place = Some(part.account);
        }
        if let Some(account) = place {
            account.rule = rule;
        }
    }
}

impl Strategy for Supple {
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        let held = self.pods.entry(pod).or_default();
        let known_peak = self.state.day_peak().map(|level| Resource::Memory.amount(level));
        if self.state.observe(&mut held.cursor, sample, &self.policy) != Taken::Counted {
            return;
        }
        held.cpu = Latest { used: sample.cpu, throttled: sample.throttled, ..Latest::default() };
        held.memory = Latest { used: sample.memory, known_peak, ..Latest::default() };
    }

    fn out_of_memory(&mut self, pod: Pod, kill: &OutOfMemory) {
        self.state.out_of_memory(kill);
        let held = self.pods.entry(pod).or_default();
        held.next = kill.time;
        // Known to have been wanted, though not measured: the fast path raises to it at once.
        held.memory.used = Some(held.memory.used.unwrap_or(0.0).max(kill.wanted(BEYOND_KILL)));
    }

    fn size(&mut self, pod: Pod, now: i64, in_force: &Size) -> Size {
        let held = self.pods.entry(pod).or_default();
        let near = |used: Option<f64>, size: Option<i64>| {
            used.zip(size).is_some_and(|(used, size)| used > amount(size) * WORTH_A_LOOK)
        };
        let due = now >= held.next;
        let cpu = in_force.cpu_request.map(|it| it.0);
        let memory = in_force.memory_request.map(|it| it.0);
        let look_cpu = due || near(held.cpu.used, cpu);
        let look_memory = due || near(held.memory.used, memory);
        if due {
            held.next = now + self.policy.every;
            self.state.rehearse(&self.policy);
        }
        let cpu = self.settle(Resource::Cpu, pod, now, cpu, look_cpu);
        let memory = self.settle(Resource::Memory, pod, now, memory, look_memory);
        Size {
            cpu_request: cpu.map(MilliCpu),
            cpu_limit: if self.policy.cpu.limit { cpu.map(MilliCpu) } else { None },
            memory_request: memory.map(Bytes),
            memory_limit: if self.policy.memory.limit { memory.map(Bytes) } else { None },
        }
    }

    fn explain(&self) -> Option<&Explanation> {
        Some(&self.last)
    }
}

impl State {
    /// The highest memory level of the last day, the running hour included.
    pub fn day_peak(&self) -> Option<u16> {
        let hour = self.hour?;
        let closed = (1..24).map(|age| self.memory.peak(hour - age));
        closed.chain([self.memory.open]).filter(|it| *it != UNKNOWN).max()
    }
}
