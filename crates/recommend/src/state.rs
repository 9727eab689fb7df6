//! Everything that is remembered of one (workload, container): both pasts, and what happened.

use std::num::NonZero;

use crate::cpu::CpuPast;
use crate::memory::MemoryPast;
use crate::past::{MOST_SAMPLES, Past, Tally, UNKNOWN};
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
const fn halved((mut all, mut some): (u16, u16)) -> (u16, u16) {
    while all >= MOST_CUT {
        (all, some) = (all / 2, some / 2);
    }
    (all, some)
}

/// Where one pod's samples stand. Kept by whoever feeds the state; a state that kept them would grow with the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    last: Whole,
    started: Whole,
    /// One more than there were, so that none known takes no room.
    restarts: Option<NonZero<u32>>,
    /// Samples within the running hour: of CPU, of memory.
    within: [u16; 2],
}

impl Cursor {
    /// Nothing of the pod was counted yet.
    pub(crate) fn is_new(&self) -> bool {
        self.last.get().is_none()
    }

    /// It was started at this moment.
    pub(crate) fn start(&mut self, time: i64) {
        self.started = Some(time).into();
    }

    /// Seconds since it was started, where that is known.
    pub(crate) fn age(&self, time: i64) -> Option<i64> {
        self.started.get().map(|started| time.saturating_sub(started))
    }
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
    /// The last kill: its hour and the level it was killed at.
    pub kill: Option<(i64, u16)>,
    /// Hour of the last change of the program's ways.
    pub shift: Option<i64>,
    /// CPU samples of one pod in closed hours, and how many of them were cut by a limit: both are halved when the samples are
    /// [`MOST_CUT`].
    pub cut: (u16, u16),
    /// Those cut within the running hour, of all pods.
    pub cut_now: u32,
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
        if cursor.last.get().is_none_or(|last| last.div_euclid(HOUR) != hour) {
            cursor.within = [0; 2];
        }
        cursor.last = Some(sample.time).into();
        let restarts = sample.restarts.and_then(|it| NonZero::new(it.saturating_add(1)));
        if restarts > cursor.restarts && cursor.restarts.is_some() {
            cursor.start(sample.time);
        }
        cursor.restarts = restarts.or(cursor.restarts);
        let starting = cursor.age(sample.time).is_some_and(|age| age < policy.startup);
        if let Some(cpu) = cpu.filter(|_| !starting) {
            let (demand, is_cut) = demand(cpu, sample);
            if self.cpu.put(demand, &mut cursor.within[0]) {
                self.cut_now /= 2;
            }
            self.cut_now += u32::from(is_cut);
        }
        if let Some(memory) = memory {
            // More than the limit allows cannot be one container: two are summed during a rollout.
            let most = limit(sample.memory_limit.map(|it| it.0));
            self.memory.put(memory.min(most), &mut cursor.within[1]);
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
            // One that nobody saw is told after later ones.
            self.kill = self.kill.max(Some((hour, Resource::Memory.level(wanted))));
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
        let Tally { pod: samples, .. } = self.cpu.tally;
        let average = self.cpu.tally.average(Resource::Cpu);
        self.ways.charge(&CPU, Resource::Cpu, self.cpu.open.entries(), samples, average);
        let peak = Some((self.memory.open, 1)).filter(|it| it.0 != UNKNOWN);
        let average = self.memory.tally.average(Resource::Memory);
        self.memory_ways.charge(&MEMORY, Resource::Memory, peak.into_iter(), 1, average);
        (self.cut, self.cut_now) = (halved(self.cuts()), 0);
        let shifted = self.cpu.close(open, gap);
        // What is counted of the past is what is known of it. Hours that come and go as those of a week before them did take nothing away:
        // a job that runs once a day knows as many hours of its week after each run.
        let known = match self.memory.close(open, gap) {
            (0, _) if gap >= 168 => (1, 0), // nothing but CPU was measured
            known => known,
        };
        self.cpu.tally.lose(known);
        self.memory.tally.lose(known);
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

    /// CPU samples of one pod, and how many of them were cut, those of the running hour among them.
    fn cuts(&self) -> (u16, u16) {
        let Tally { pod, sum: (_, samples), .. } = self.cpu.tally;
        let share = f64::from(self.cut_now.min(samples)) / f64::from(samples.max(1));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
        let cut = (share * f64::from(pod)).round() as u16;
        (self.cut.0.saturating_add(pod), self.cut.1.saturating_add(cut))
    }

    /// The share of CPU samples that were cut by a limit, lately.
    pub fn cut_share(&self) -> f64 {
        let (all, cut) = self.cuts();
        f64::from(cut) / f64::from(all.max(1))
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
        self.kill = self.kill.max(other.kill);
        self.shift = self.shift.max(other.shift);
        self.cut = halved((self.cut.0 + other.cut.0, self.cut.1 + other.cut.1));
        self.cut_now = self.cut_now.saturating_add(other.cut_now).min(MOST_SAMPLES);
    }

    /// The same memory, counted as no hours: there may be gaps in what it rests on, or it is of long ago, so that it shows what was used at
    /// least, and not what was used at most.
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

/// A limit as an amount. One of nothing lets through what it is told to forbid: it is none.
fn limit(recorded: Option<i64>) -> f64 {
    recorded.filter(|it| *it > 0).map_or(f64::INFINITY, amount)
}

/// What was wanted, where use was cut by a limit, and whether it was.
fn demand(cpu: f64, sample: &Sample) -> (f64, bool) {
    let limit = limit(sample.cpu_limit.map(|it| it.0));
    let throttled = sample.throttled.filter(|it| believable(*it)).unwrap_or(0.0).min(MOST_THROTTLED);
    let cpu = cpu.min(limit);
    let at_limit = cpu >= limit * AT_LIMIT;
    match (at_limit || throttled > 0.05, at_limit) {
        (false, _) => (cpu, false),
        (true, true) => (cpu * BEYOND_LIMIT.max(1.0 / (1.0 - throttled)), true),
        (true, false) => (cpu / (1.0 - throttled), true),
    }
}
