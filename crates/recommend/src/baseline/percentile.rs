//! Percentiles of a sliding window of 14 days: `krr` (Robusta KRR's simple strategy) and `p95`.
//!
//! KRR asks for the percentile of each pod by itself and takes the highest; `p95` is of the samples of all pods together.
//!
//! The window is kept as one histogram a day on the scale of [`crate::resource`], so that a percentile is at most
//! 0.7 % above the exact one and the state does not grow with the sampling rate. A day leaves the window as a whole.

use std::collections::{BTreeMap, VecDeque};

use crate::baseline::outside;
use crate::resource::Resource;
use crate::sample::{OutOfMemory, Sample, Size, believable};
use crate::strategy::{Pod, Strategy};

const DAY: i64 = 86_400;

/// Samples of one resource: windows by pod, or one for all.
#[derive(Debug, Default)]
struct Windows {
    pods: BTreeMap<Pod, Window>,
    /// The day of the newest sample of any.
    newest: i64,
}

impl Windows {
    fn put(&mut self, resource: Resource, pod: Pod, time: i64, amount: f64) {
        let day = time.div_euclid(DAY);
        self.newest = if self.pods.is_empty() { day } else { self.newest.max(day) };
        self.pods.entry(pod).or_default().put(resource, day, amount);
    }

    /// Lets the days before the last so many leave, those of pods that are gone too.
    fn expire(&mut self, days: i64) {
        for window in self.pods.values_mut() {
            while window.days.front().is_some_and(|(first, _)| *first <= self.newest - days) {
                window.days.pop_front();
            }
        }
        self.pods.retain(|_, window| !window.days.is_empty());
    }

    fn samples(&self) -> u64 {
        self.pods.values().map(Window::samples).sum()
    }

    /// The highest of the windows' percentiles.
    fn percentile(&self, resource: Resource, share: f64) -> Option<f64> {
        self.pods.values().filter_map(|it| it.percentile(resource, share)).reduce(f64::max)
    }
}

/// Samples of the last days by level.
#[derive(Debug, Default)]
struct Window {
    days: VecDeque<(i64, BTreeMap<u16, u32>)>,
}

impl Window {
    fn put(&mut self, resource: Resource, day: i64, amount: f64) {
        if self.days.back().is_none_or(|(last, _)| *last < day) {
            self.days.push_back((day, BTreeMap::new()));
        }
        if let Some((_, levels)) = self.days.back_mut() {
            *levels.entry(resource.level(amount)).or_default() += 1;
        }
    }

    fn samples(&self) -> u64 {
        self.days.iter().flat_map(|(_, levels)| levels.values()).map(|count| u64::from(*count)).sum()
    }

    fn percentile(&self, resource: Resource, share: f64) -> Option<f64> {
        let mut all = BTreeMap::<u16, u64>::new();
        for (level, count) in self.days.iter().flat_map(|(_, levels)| levels) {
            *all.entry(*level).or_default() += u64::from(*count);
        }
        let total: u64 = all.values().sum();
        let wanted = share * crate::sample::amount(i64::try_from(total).unwrap_or(i64::MAX));
        let mut below = 0;
        all.into_iter().find_map(|(level, count)| {
            below += count;
            let reached = crate::sample::amount(i64::try_from(below).unwrap_or(i64::MAX)) + 1e-9 >= wanted;
            reached.then(|| resource.amount(level))
        })
    }
}

/// Which percentiles, with what headroom, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Length of the window in days.
    pub days: i64,
    /// Whether each pod is looked at by itself, and the highest counts.
    pub by_pod: bool,
    /// Share and factor for CPU.
    pub cpu: (f64, f64),
    /// Share and factor for memory.
    pub memory: (f64, f64),
    /// Least size: thousandths of a core, bytes.
    pub floor: (f64, f64),
    /// Samples needed before anything is said.
    pub points: u64,
    /// Seconds between two runs.
    pub every: i64,
    /// Changes of less than this share are left alone.
    pub dead_band: f64,
}

impl Rule {
    /// KRR's simple strategy with its defaults: p95 of CPU without headroom, the maximum of memory + 15 %, two weeks, of the pod that
    /// has the most; 100 points of all pods, at least 10m and 100Mi; run once a day, as its users do.
    pub const fn krr() -> Self {
        Self {
            days: 14,
            by_pod: true,
            cpu: (0.95, 1.0),
            memory: (1.0, 1.15),
            floor: (10.0, 100.0 * 1_048_576.0),
            points: 100,
            every: DAY,
            dead_band: 0.0,
        }
    }

    /// The 95th percentile + 15 % of both over two weeks, hourly, when more than a tenth off.
    pub const fn p95() -> Self {
        Self {
            days: 14,
            by_pod: false,
            cpu: (0.95, 1.15),
            memory: (0.95, 1.15),
            floor: (1.0, 1_048_576.0),
            points: 1,
            every: 3600,
            dead_band: 0.1,
        }
    }
}

/// A rule at work.
#[derive(Debug)]
pub struct Percentile {
    rule: Rule,
    cpu: Windows,
    memory: Windows,
    next: Option<i64>,
    wanted: (Option<f64>, Option<f64>),
}

impl Percentile {
    /// Starts with an empty window.
    pub fn new(rule: Rule) -> Self {
        Self { rule, cpu: Windows::default(), memory: Windows::default(), next: None, wanted: (None, None) }
    }

    fn run(&mut self) {
        self.cpu.expire(self.rule.days);
        self.memory.expire(self.rule.days);
        let of = |window: &Windows, resource, (share, factor): (f64, f64), floor: f64| {
            let known = window.samples() >= self.rule.points;
            known.then(|| window.percentile(resource, share)).flatten().map(|it| (it * factor).max(floor))
        };
        self.wanted = (
            of(&self.cpu, Resource::Cpu, self.rule.cpu, self.rule.floor.0),
            of(&self.memory, Resource::Memory, self.rule.memory, self.rule.floor.1),
        );
    }
}

impl Strategy for Percentile {
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        let pod = if self.rule.by_pod { pod } else { 0 };
        if let Some(cpu) = sample.cpu.filter(|it| believable(*it)) {
            self.cpu.put(Resource::Cpu, pod, sample.time, cpu);
        }
        if let Some(memory) = sample.memory.filter(|it| believable(*it)) {
            self.memory.put(Resource::Memory, pod, sample.time, memory);
        }
    }

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

    fn size(&mut self, _: Pod, now: i64, in_force: &Size) -> Size {
        if self.next.is_none_or(|next| now >= next) {
            self.run();
            // Until there is enough to say anything, every sample may be the one that completes it.
            let said = self.wanted.0.is_some() || self.wanted.1.is_some();
            self.next = said.then_some(now + self.rule.every);
        }
        outside(in_force, self.wanted.0, self.wanted.1, self.rule.dead_band)
    }
}
