//! The plain newsvendor: the size that would have cost least over what was lately seen, and a tenth more.
//!
//! Samples go into one histogram in which they halve with six hours of age. The size is the level with the least expected
//! slack plus price of an incident (a kill a day of mean use, a CPU sample over an hour), times 1.1; a change of less than
//! a tenth is left alone. No peaks, no phases, no plan: the yardstick for everything that has them.

use crate::baseline::halving::Halving;
use crate::baseline::outside;
use crate::pods::Pods;
use crate::resource::Resource;
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
    seen: Halving,
    /// The sum of weights times use.
    used: f64,
    /// Time of the last sample of each pod.
    last: Pods<Option<i64>>,
    /// Seconds between samples of a pod.
    interval: f64,
}

impl Side {
    fn new(resource: Resource, incident: f64) -> Self {
        Self {
            resource,
            incident,
            seen: Halving::new(resource, HALF_LIFE),
            used: 0.0,
            last: Pods::new(),
            interval: 300.0,
        }
    }

    fn put(&mut self, pod: Pod, time: i64, used: f64) {
        let last = self.last.of(pod).replace(time);
        if let Some(step) = last.map(|last| amount(time - last)).filter(|it| *it > 0.0) {
            self.interval = (0.9 * self.interval + 0.1 * step).min(3600.0);
        }
        let (growth, shrunk) = self.seen.put(time, used, |_| 1.0);
        self.used = self.used / shrunk + growth * used;
    }

    fn value(&self) -> Option<f64> {
        let total = self.seen.total();
        if total <= 0.0 {
            return None;
        }
        let mean = (self.used / total).max(self.resource.unit());
        let price = self.incident * mean * 3600.0 / self.interval;
        let (mut under, mut sum) = (0.0, 0.0);
        let mut best = (f64::INFINITY, 0.0);
        for (size, weight) in self.seen.entries() {
            under += weight;
            sum += weight * size;
            let cost = size * under - sum + price * (total - under).max(0.0);
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
    fn observe(&mut self, pod: Pod, sample: &Sample) {
        if let Some(cpu) = sample.cpu.filter(|it| believable(*it)) {
            self.cpu.put(pod, sample.time, cpu);
        }
        if let Some(memory) = sample.memory.filter(|it| believable(*it)) {
            self.memory.put(pod, sample.time, memory);
        }
    }

    fn out_of_memory(&mut self, _: Pod, _: &OutOfMemory) {}

    fn size(&mut self, _: Pod, _: i64, in_force: &Size) -> Size {
        outside(in_force, self.cpu.value(), self.memory.value(), DEAD_BAND)
    }
}
