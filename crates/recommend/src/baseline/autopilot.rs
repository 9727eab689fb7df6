//! Google Autopilot's moving-window recommender (EuroSys 2020), as far as it is public.
//!
//! Usage is aggregated over five minutes (CPU: every sample; memory: the peak), put into a histogram in which a sample
//! weighs by its own load and halves with age (CPU 12 h, memory 48 h), read at a percentile (CPU 95, memory 98), given a
//! margin of 15 %, and taken as the maximum of the last hour's values. A change of less than a tenth is left alone.

use std::collections::VecDeque;

use crate::baseline::halving::Halving;
use crate::baseline::outside;
use crate::resource::Resource;
use crate::sample::{OutOfMemory, Sample, Size, believable};
use crate::strategy::{Pod, Strategy};

const WINDOW: i64 = 300;
const MARGIN: f64 = 1.15;
const DEAD_BAND: f64 = 0.1;

/// The moving window of one resource.
#[derive(Debug)]
struct Side {
    resource: Resource,
    share: f64,
    seen: Halving,
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
        Self { resource, share, seen: Halving::new(resource, half_life), peak: None, hour: VecDeque::new() }
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

    /// A sample weighs by its load.
    fn add(&mut self, time: i64, amount: f64) {
        self.seen.put(time, amount, |load| load);
    }

    fn percentile(&self) -> f64 {
        let mut below = 0.0;
        let mut reached = self.seen.entries().skip_while(|(_, weight)| {
            below += weight;
            below < self.share * self.seen.total()
        });
        reached.next().map_or(self.resource.amount(0), |(size, _)| size)
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
        outside(in_force, self.cpu.value(), self.memory.value(), DEAD_BAND)
    }
}
