//! VPA's model of one (workload, container): which samples count, when, and what they come to.
//!
//! Reference: `pkg/recommender/model/{container,aggregate_container_state}.go`, `pkg/recommender/logic/{estimator,
//! recommender}.go`. Described version: what 1.7.1 and the development head have in common, with the head's rule
//! for kills that come late (it drops fewer).

use super::histogram::Histogram;
use crate::pods::Pods;
use crate::strategy::Pod;

const DAY: i64 = 86_400;
const MEBI: f64 = 1_048_576.0;

/// What lower bound, target and upper bound are percentiles of.
const SHARES: [f64; 3] = [0.5, 0.9, 0.95];

/// No amount passes this.
pub const MAX_AMOUNT: i64 = 100_000_000_000_000;

/// Target with its bounds: thousandths of a core, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// What to request.
    pub target: i64,
    /// A request under this is worth a change.
    pub lower: i64,
    /// A request over this is worth a change.
    pub upper: i64,
}

/// One container instance's open memory window.
#[derive(Clone, Copy, Debug, Default)]
struct Instance {
    last_cpu: Option<i64>,
    last_memory: Option<i64>,
    window_end: Option<i64>,
    peak: f64,
    oom_peak: f64,
}

/// The aggregate over the instances.
#[derive(Clone, Debug)]
pub struct Model {
    cpu: Histogram,
    memory: Histogram,
    /// What [`bases`] makes of the percentiles at [`SHARES`]: they seldom change, and are asked for with every sample.
    cpu_bases: [i64; 3],
    /// See `cpu_bases`.
    memory_bases: [i64; 3],
    first: Option<i64>,
    last: Option<i64>,
    samples: u64,
    instances: Pods<Instance>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            cpu: Histogram::new(0.01, DAY),
            memory: Histogram::new(1e7, DAY),
            cpu_bases: [0; 3],
            memory_bases: [0; 3],
            first: None,
            last: None,
            samples: 0,
            instances: Pods::new(),
        }
    }
}

impl Model {
    /// How many CPU samples were counted.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// A CPU sample in thousandths of a core. Not after the instance's last one: dropped.
    pub fn cpu(&mut self, pod: Pod, time: i64, milli: f64) {
        let instance = self.instances.of(pod);
        if instance.last_cpu.is_some_and(|last| time <= last) || milli < 0.0 {
            return;
        }
        instance.last_cpu = Some(time);
        self.cpu.add(truncated(milli) / 1000.0, 0.1, time);
        if let Some(shares) = self.cpu.percentiles(SHARES) {
            self.cpu_bases = bases(shares.map(|it| integer(it * 1000.0)));
        }
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        self.samples += 1;
    }

    /// A memory sample in bytes: one peak a window of a day counts, dated at the window's end.
    pub fn memory(&mut self, pod: Pod, time: i64, bytes: f64) {
        self.memory_sample(pod, time, truncated(bytes), false);
    }

    /// A kill: counts as the need of 20 % or 100 MiB more than the request or the window's peak.
    pub fn out_of_memory(&mut self, pod: Pod, time: i64, request: f64) {
        let instance = self.instances.of(pod);
        if instance.last_memory.is_some_and(|last| time < last - DAY) {
            return;
        }
        let used = request.max(instance.peak);
        let needed = (used + 100.0 * MEBI).max((used * 1.2).trunc());
        self.memory_sample(pod, time, needed, true);
    }

    fn memory_sample(&mut self, pod: Pod, time: i64, bytes: f64, killed: bool) {
        let instance = self.instances.of(pod);
        if !killed && instance.last_memory.is_some_and(|last| time < last) {
            return;
        }
        instance.last_memory = Some(time);
        let end = *instance.window_end.get_or_insert(time);
        let mut add = false;
        if time < end {
            let old = instance.peak.max(instance.oom_peak);
            // The reference's quirk: a window that begins with 0 bytes stays deaf, for there is nothing to replace.
            if old != 0.0 && bytes > old {
                self.memory.subtract(old, 1.0, end);
                add = true;
            }
        } else {
            instance.window_end = Some(end + (time - end) / DAY * DAY + DAY);
            instance.peak = 0.0;
            instance.oom_peak = 0.0;
            add = true;
        }
        if add {
            self.memory.add(bytes, 1.0, instance.window_end.unwrap_or(end));
            if let Some(shares) = self.memory.percentiles(SHARES) {
                self.memory_bases = bases(shares.map(integer));
            }
            if killed {
                instance.oom_peak = bytes;
            } else {
                instance.peak = bytes;
            }
        }
    }

    /// CPU in thousandths of a core and memory in bytes, for one container of a pod of `containers`.
    pub fn estimate(&self, containers: i64) -> (Estimate, Estimate) {
        let confidence = self.confidence();
        let [cpu, memory] = least(containers);
        (estimate(self.cpu_bases, confidence, cpu), estimate(self.memory_bases, confidence, memory))
    }

    /// The targets of [`Model::estimate`], and whether a pod that has other requests is out of its bounds.
    pub fn targets(&self, containers: i64, has: (i64, i64)) -> ((i64, i64), bool) {
        let confidence = self.confidence();
        let [cpu, memory] = least(containers);
        let outside =
            |has, bases, floor| may_be_outside(has, bases, floor) && estimate(bases, confidence, floor).excludes(has);
        let outside = outside(has.0, self.cpu_bases, cpu) || outside(has.1, self.memory_bases, memory);
        ((self.cpu_bases[1].max(cpu), self.memory_bases[1].max(memory)), outside)
    }

    /// The lesser of days observed and days' worth of samples; both resources use the CPU's.
    fn confidence(&self) -> f64 {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return 0.0;
        };
        let days = crate::sample::amount(last - first) / crate::sample::amount(DAY);
        let samples = crate::sample::amount(i64::try_from(self.samples).unwrap_or(i64::MAX));
        days.min(samples / 1440.0)
    }
}

impl Estimate {
    /// Whether a request is worth a change.
    pub const fn excludes(&self, has: i64) -> bool {
        has < self.lower || has > self.upper
    }
}

/// The least that is recommended for one of so many containers: CPU, memory.
fn least(containers: i64) -> [i64; 2] {
    let containers = containers.max(1);
    [25 / containers, 250 * 1024 * 1024 / containers]
}

/// Percentiles with their margin.
fn bases(shares: [i64; 3]) -> [i64; 3] {
    shares.map(|base| base.saturating_add(scaled(base, 0.15)).min(MAX_AMOUNT))
}

/// An estimate from what [`bases`] made.
fn estimate([lower, target, upper]: [i64; 3], confidence: f64, floor: i64) -> Estimate {
    Estimate {
        target: target.max(floor),
        lower: scaled(lower, (1.0 + 0.001 / confidence).powi(-2)).max(floor),
        upper: scaled(upper, 1.0 + 1.0 / confidence).max(floor),
    }
}

/// False where no confidence leaves a request out of bounds: both lie at these bases or beyond.
fn may_be_outside(has: i64, [lower, _, upper]: [i64; 3], floor: i64) -> bool {
    has < lower.max(floor) || has > upper.max(floor)
}

/// Without what is behind the point, which a large number does not have.
fn truncated(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "bounded")]
    if value.abs() < 9e15 { crate::sample::amount(value as i64) } else { value.trunc() }
}

/// An amount times a factor, truncated, within what an amount may be. Nothing times infinity is nothing.
fn scaled(value: i64, factor: f64) -> i64 {
    integer(crate::sample::amount(value) * factor)
}

fn integer(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates and makes NaN 0; then bounded")]
    let value = value as i64;
    value.clamp(0, MAX_AMOUNT)
}
