//! The plain newsvendor: the size that would have cost least over what was lately seen, and a tenth more.
//!
//! Samples go into one histogram in which they halve with six hours of age. The size is the level with the least expected
//! slack plus price of an incident (a kill a day of mean use, a CPU sample over an hour), times 1.1; a change of less than
//! a tenth is left alone. No peaks, no phases, no plan: the yardstick for everything that has them.

use crate::baseline::{off, sized};
use crate::resource::{Resource, TOP};
use crate::sample::{OutOfMemory, Sample, Size, amount, believable};
use crate::strategy::{Pod, Strategy};

const HALF_LIFE: f64 = 6.0 * 3600.0;
const MARGIN: f64 = 1.1;
const DEAD_BAND: f64 = 0.1;

/// One resource.
#[derive(Debug)]
struct Side {
    resource: Resource,
    /// Price of a sample over, in hours of mean use.
    incident: f64,
    weights: Vec<f64>,
    range: (u16, u16),
    /// Sums of weights, and of weights times amounts.
    total: f64,
    used: f64,
    /// Time to which the weights refer, and of the last sample.
    reference: i64,
    last: Option<i64>,
    /// Seconds between samples.
    interval: f64,
}

impl Side {
    fn new(resource: Resource, incident: f64) -> Self {
        let weights = vec![0.0; usize::from(TOP) + 1];
        Self {
            resource,
            incident,
            weights,
            range: (TOP, 0),
            total: 0.0,
            used: 0.0,
            reference: 0,
            last: None,
            interval: 300.0,
        }
    }

    fn put(&mut self, time: i64, used: f64) {
        if let Some(step) = self.last.map(|last| amount(time - last)).filter(|it| *it > 0.0) {
            self.interval = (0.9 * self.interval + 0.1 * step).min(3600.0);
        }
        if self.total == 0.0 {
            self.reference = time;
        }
        self.last = Some(time);
        let mut weight = (amount(time - self.reference) / HALF_LIFE).exp2();
        if weight > 1e12 {
            self.weights.iter_mut().for_each(|it| *it /= weight);
            (self.total, self.used) = (self.total / weight, self.used / weight);
            self.reference = time;
            weight = 1.0;
        }
        let level = self.resource.level(used);
        self.range = (self.range.0.min(level), self.range.1.max(level));
        self.weights[usize::from(level)] += weight;
        self.total += weight;
        self.used += weight * used;
    }

    fn value(&self) -> Option<f64> {
        if self.total <= 0.0 {
            return None;
        }
        let mean = (self.used / self.total).max(self.resource.unit());
        let price = self.incident * mean * 3600.0 / self.interval;
        let (mut under, mut sum) = (0.0, 0.0);
        let mut best = (f64::INFINITY, 0.0);
        for level in self.range.0..=self.range.1 {
            let (size, weight) = (self.resource.amount(level), self.weights[usize::from(level)]);
            if weight == 0.0 {
                continue;
            }
            under += weight;
            sum += weight * size;
            let cost = size * under - sum + price * (self.total - under).max(0.0);
            if cost < best.0 {
                best = (cost, size);
            }
        }
        Some(best.1 * MARGIN)
    }
}

/// The newsvendor of both resources.
#[derive(Debug)]
pub struct Newsvendor {
    cpu: Side,
    memory: Side,
}

impl Default for Newsvendor {
    fn default() -> Self {
        Self { cpu: Side::new(Resource::Cpu, 1.0), memory: Side::new(Resource::Memory, 24.0) }
    }
}

impl Strategy for Newsvendor {
    fn observe(&mut self, _: Pod, sample: &Sample) {
        if let Some(cpu) = sample.cpu.filter(|it| believable(*it)) {
            self.cpu.put(sample.time, cpu);
        }
        if let Some(memory) = sample.memory.filter(|it| believable(*it)) {
            self.memory.put(sample.time, memory);
        }
    }

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

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
