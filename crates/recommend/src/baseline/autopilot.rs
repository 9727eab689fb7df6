//! Google Autopilot's moving-window recommender (EuroSys 2020), as far as it is public.
//!
//! Usage is aggregated over five minutes (CPU: every sample; memory: the peak), put into a histogram in which a sample
//! weighs by its own load and halves with age (CPU 12 h, memory 48 h), read at a percentile (CPU 95, memory 98), given a
//! margin of 15 %, and taken as the maximum of the last hour's values. A change of less than a tenth is left alone.

use std::collections::VecDeque;

use crate::baseline::{off, sized};
use crate::resource::{Resource, TOP};
use crate::sample::{OutOfMemory, Sample, Size, believable};
use crate::strategy::{Pod, Strategy};

const WINDOW: i64 = 300;
const MARGIN: f64 = 1.15;
const DEAD_BAND: f64 = 0.1;

/// The moving window of one resource.
#[derive(Debug)]
struct Side {
    resource: Resource,
    half_life: f64,
    share: f64,
    weights: Vec<f64>,
    total: f64,
    /// Time to which the weights refer: what is newer weighs more than its load.
    reference: i64,
    peak: Option<(i64, f64)>,
    /// Falling maxima of the last hour.
    hour: VecDeque<(i64, f64)>,
}

impl Side {
    fn new(resource: Resource) -> Self {
        let (half_life, share) = match resource {
            Resource::Cpu => (12.0 * 3600.0, 0.95),
            Resource::Memory => (48.0 * 3600.0, 0.98),
        };
        let weights = vec![0.0; usize::from(TOP) + 1];
        Self { resource, half_life, share, weights, total: 0.0, reference: 0, peak: None, hour: VecDeque::new() }
    }

    fn put(&mut self, time: i64, amount: f64) {
        let window = time.div_euclid(WINDOW);
        match (self.resource, self.peak) {
            (Resource::Memory, Some((of, peak))) if of == window => self.peak = Some((of, peak.max(amount))),
            (Resource::Memory, Some((of, peak))) => {
                self.add((of + 1) * WINDOW, peak);
                self.peak = Some((window, amount));
            }
            (Resource::Memory, None) => self.peak = Some((window, amount)),
            (Resource::Cpu, _) => self.add(time, amount),
        }
        let mut value = self.percentile() * MARGIN;
        if let Some((_, open)) = self.peak {
            value = value.max(open); // the running window's peak is known, whatever the histogram says
        }
        while self.hour.back().is_some_and(|(_, older)| *older <= value) {
            self.hour.pop_back();
        }
        self.hour.push_back((time, value));
        while self.hour.front().is_some_and(|(then, _)| *then < time - 3600) {
            self.hour.pop_front();
        }
    }

    fn add(&mut self, time: i64, amount: f64) {
        if self.total == 0.0 {
            self.reference = time;
        }
        let mut growth = (crate::sample::amount(time - self.reference) / self.half_life).exp2();
        if growth > 1e12 {
            self.weights.iter_mut().for_each(|it| *it /= growth);
            self.total /= growth;
            self.reference = time;
            growth = 1.0;
        }
        let level = self.resource.level(amount);
        let weight = self.resource.amount(level) * growth;
        self.weights[usize::from(level)] += weight;
        self.total += weight;
    }

    fn percentile(&self) -> f64 {
        let mut below = 0.0;
        let level = self.weights.iter().position(|weight| {
            below += weight;
            below >= self.share * self.total && below > 0.0
        });
        self.resource.amount(level.and_then(|it| u16::try_from(it).ok()).unwrap_or(0))
    }

    fn value(&self) -> Option<f64> {
        self.hour.front().map(|(_, value)| *value)
    }
}

/// The moving window of both resources.
#[derive(Debug)]
pub struct Autopilot {
    cpu: Side,
    memory: Side,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self { cpu: Side::new(Resource::Cpu), memory: Side::new(Resource::Memory) }
    }
}

impl Strategy for Autopilot {
    fn observe(&mut self, _: Pod, sample: &Sample) {
        if let Some(cpu) = sample.cpu.filter(|it| believable(*it)) {
            self.cpu.put(sample.time, cpu);
        }
        if let Some(memory) = sample.memory.filter(|it| believable(*it)) {
            self.memory.put(sample.time, memory);
        }
    }

    fn out_of_memory(&mut self, _: Pod, kill: &OutOfMemory) {
        self.memory.put(kill.time, kill.wanted(1.0));
    }

    fn size(&mut self, _: Pod, _: i64, in_force: &Size) -> Size {
        let (cpu, memory) = (self.cpu.value(), self.memory.value());
        let new = sized(cpu, memory);
        let mut size = *in_force;
        if off(in_force.cpu_request.map(|it| it.0), cpu, DEAD_BAND) {
            size.cpu_request = new.cpu_request;
        }
        if off(in_force.memory_request.map(|it| it.0), memory, DEAD_BAND) {
            size.memory_request = new.memory_request;
            size.memory_limit = new.memory_limit;
        }
        size
    }
}
