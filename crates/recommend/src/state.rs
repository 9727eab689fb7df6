//! Everything that is remembered of one (workload, container): both pasts, and what happened.

use crate::cpu::CpuPast;
use crate::memory::MemoryPast;
use crate::past::{Past, UNKNOWN};
use crate::policy::Policy;
use crate::resource::Resource;
use crate::sample::{OutOfMemory, Sample, amount, believable};
use crate::small::Whole;
use crate::ways::{CPU, CPU_WAYS, MEMORY, MEMORY_WAYS, Rehearsal};

/// Seconds of an hour.
pub const HOUR: i64 = 3600;

/// CPU use at this share of a limit is not demand but the limit.
const AT_LIMIT: f64 = 0.98;

/// What demand at a limit is taken for at least, where nothing says by how much it was cut.
const BEYOND_LIMIT: f64 = 1.2;

/// Throttling says at most that four times as much was wanted.
const MOST_THROTTLED: f64 = 0.75;

/// What a kill says about the need where the use that led to it was not seen: a tenth more than the limit.
pub const BEYOND_KILL: f64 = 1.1;

/// Hours after which a kill or a change of ways is forgotten: a year and more.
pub const REMEMBERED: i64 = 1 << 14;

/// Samples of which those cut by a limit are counted: see [`State::cut`].
pub const MOST_CUT: u16 = 2000;

/// Counts that are few enough.
const fn halved((all, some): (u16, u16)) -> (u16, u16) {
    if all < MOST_CUT { (all, some) } else { (all / 2, some / 2) }
}

/// Where one pod's samples stand. Kept by whoever feeds the state; a state that kept them would grow with the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    last: Whole,
    started: Whole,
    restarts: Option<u32>,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It counts.
    Counted,
    /// Not after the pod's last one, or of an hour long closed.
    Late,
    /// Nothing in it can be believed: not finite, or negative.
    Unbelievable,
}

/// The state of one (workload, container).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// CPU, in steady state.
    pub cpu: CpuPast,
    /// Memory.
    pub memory: MemoryPast,
    /// Ways to read the CPU's past, and what they cost.
    pub ways: Rehearsal<CPU_WAYS>,
    /// Ways to read that of memory.
    pub memory_ways: Rehearsal<MEMORY_WAYS>,
    /// The running hour, counted from time 0.
    pub hour: Option<i64>,
    /// Highest CPU level seen while starting.
    pub start_peak: u16,
    /// The last kill: its hour and the level it was killed at.
    pub kill: Option<(i64, u16)>,
    /// How many kills there were.
    pub kills: u16,
    /// Hour of the last change of the program's ways.
    pub shift: Option<i64>,
    /// CPU samples, and those cut by a limit: both are halved when the samples are [`MOST_CUT`].
    pub cut: (u16, u16),
}

impl State {
    /// Counts a sample of a pod.
    pub fn observe(&mut self, cursor: &mut Cursor, sample: &Sample, policy: &Policy) -> Taken {
        if cursor.last.get().is_some_and(|last| sample.time <= last) {
            return Taken::Late;
        }
        let cpu = sample.cpu.filter(|it| believable(*it));
        let memory = sample.memory.filter(|it| believable(*it));
        if cpu.is_none() && memory.is_none() {
            return Taken::Unbelievable;
        }
        let hour = sample.time.div_euclid(HOUR);
        if self.hour.is_some_and(|open| hour < open - 1) {
            return Taken::Late;
        }
        if self.hour != Some(hour) {
            self.advance(hour);
        }
        cursor.last = Some(sample.time).into();
        if sample.restarts > cursor.restarts && cursor.restarts.is_some() {
            cursor.started = Some(sample.time).into();
        }
        cursor.restarts = sample.restarts.or(cursor.restarts);
        let starting = cursor.started.get().is_some_and(|started| sample.time - started < policy.startup);
        if let Some(cpu) = cpu {
            let demand = self.demand(cpu, sample);
            if starting {
                self.start_peak = self.start_peak.max(Resource::Cpu.level(demand));
            } else {
                self.cpu.put(demand);
            }
        }
        if let Some(memory) = memory {
            // More than the limit allows cannot be one container: two are summed during a rollout.
            let most = sample.memory_limit.map_or(f64::INFINITY, |it| amount(it.0));
            self.memory.put(memory.min(most));
        }
        Taken::Counted
    }

    /// Counts a kill: the container is known to have wanted more than it was killed at.
    pub fn out_of_memory(&mut self, kill: &OutOfMemory) {
        let hour = kill.time.div_euclid(HOUR);
        self.advance(hour);
        let wanted = kill.wanted(BEYOND_KILL);
        let lately = self.hour.is_some_and(|open| open.saturating_sub(hour) < REMEMBERED);
        if believable(wanted) && wanted > 0.0 && lately {
            self.memory.raise(wanted);
            self.kill = Some((hour, Resource::Memory.level(wanted)));
            self.kills = self.kills.saturating_add(1);
        }
    }

    /// Lets time pass up to an hour. Hours are closed here, and here the program is found to have changed its ways.
    pub fn advance(&mut self, hour: i64) {
        let Some(open) = self.hour else {
            self.hour = Some(hour);
            return;
        };
        if hour <= open {
            return;
        }
        let gap = hour - open - 1;
        self.ways.charge(&CPU, Resource::Cpu, self.cpu.open.entries(), self.cpu.tally.average(Resource::Cpu));
        let peak = Some((self.memory.open, 1)).filter(|it| it.0 != UNKNOWN);
        let average = self.memory.tally.average(Resource::Memory);
        self.memory_ways.charge(&MEMORY, Resource::Memory, peak.into_iter(), average);
        let shifted = self.cpu.close(open, gap);
        self.memory.close(open, gap);
        self.hour = Some(hour);
        self.kill = self.kill.filter(|(then, _)| hour.saturating_sub(*then) < REMEMBERED);
        self.shift = self.shift.filter(|then| hour.saturating_sub(*then) < REMEMBERED);
        if gap == 0 && self.memory.shifted(hour) {
            self.memory.forget(hour, crate::memory::SHIFT_HOURS);
            self.shift = Some(hour);
        }
        if shifted {
            self.shift = Some(hour);
        }
    }

    /// What was wanted, where use was cut by a limit.
    fn demand(&mut self, cpu: f64, sample: &Sample) -> f64 {
        let limit = sample.cpu_limit.map_or(f64::INFINITY, |it| amount(it.0));
        let throttled = sample.throttled.filter(|it| believable(*it)).unwrap_or(0.0).min(MOST_THROTTLED);
        let cpu = cpu.min(limit);
        let at_limit = cpu >= limit * AT_LIMIT;
        let cut = at_limit || throttled > 0.05;
        self.cut = halved((self.cut.0 + 1, self.cut.1 + u16::from(cut)));
        match (cut, at_limit) {
            (false, _) => cpu,
            (true, true) => cpu * BEYOND_LIMIT.max(1.0 / (1.0 - throttled)),
            (true, false) => cpu / (1.0 - throttled),
        }
    }

    /// The share of CPU samples that were cut by a limit, lately.
    pub fn cut_share(&self) -> f64 {
        f64::from(self.cut.1) / f64::from(self.cut.0.max(1))
    }

    /// Takes over another state of the same container: that of another pod, or of another time. Hours both know keep the
    /// higher figures; histograms and averages add.
    pub fn merge(&mut self, other: &Self) {
        let (Some(mine), Some(theirs)) = (self.hour, other.hour) else {
            if self.hour.is_none() {
                *self = *other;
            }
            return;
        };
        let mut other = *other;
        let hour = mine.max(theirs);
        self.advance(hour);
        other.advance(hour);
        self.cpu.merge(&other.cpu);
        self.ways.merge(&CPU, &other.ways);
        self.memory_ways.merge(&MEMORY, &other.memory_ways);
        self.memory.merge(&other.memory, hour);
        self.start_peak = self.start_peak.max(other.start_peak);
        self.kill = self.kill.max(other.kill);
        self.kills = self.kills.saturating_add(other.kills);
        self.shift = self.shift.max(other.shift);
        self.cut = halved((self.cut.0 + other.cut.0, self.cut.1 + other.cut.1));
    }

    /// The same memory, counted as no hours: there may be gaps in what it rests on, so that it shows what was used at least, and not
    /// what was used at most.
    #[must_use]
    pub fn of_no_hours(mut self) -> Self {
        (self.cpu.tally.hours, self.memory.tally.hours) = (0, 0);
        self
    }

    /// Hours of history, of the resource known longer.
    pub fn hours(&self) -> u16 {
        self.cpu.tally().hours.max(self.memory.tally().hours)
    }
}
