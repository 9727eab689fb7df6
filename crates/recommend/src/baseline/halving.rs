//! A histogram over the levels of the scale whose weights halve with age: what Autopilot's moving window and the newsvendor read.

use crate::resource::{Resource, TOP};
use crate::sample::amount;

/// New weights grow instead of old ones fading, until they have grown by this much.
const MOST_GROWTH: f64 = 1e12;

/// Weights by level, and their sum.
#[derive(Debug)]
pub struct Halving {
    resource: Resource,
    half_life: f64,
    weights: Vec<f64>,
    total: f64,
    /// Time to which the weights refer.
    reference: i64,
    range: (u16, u16),
}

impl Halving {
    /// Empty; a weight halves in so many seconds.
    pub fn new(resource: Resource, half_life: f64) -> Self {
        let weights = vec![0.0; usize::from(TOP) + 1];
        Self { resource, half_life, weights, total: 0.0, reference: 0, range: (TOP, 0) }
    }

    /// Adds an amount, weighing as much as `weight` says of its level's amount. What the new weight was multiplied with to
    /// stand beside the old ones, and what these were divided by.
    pub fn put(&mut self, time: i64, used: f64, weight: impl FnOnce(f64) -> f64) -> (f64, f64) {
        if self.total == 0.0 {
            self.reference = time;
        }
        let mut growth = (amount(time - self.reference) / self.half_life).exp2();
        let mut shrunk = 1.0;
        if growth > MOST_GROWTH {
            self.weights.iter_mut().for_each(|it| *it /= growth);
            self.total /= growth;
            self.reference = time;
            (shrunk, growth) = (growth, 1.0);
        }
        let level = self.resource.level(used);
        let weight = weight(self.resource.amount(level)) * growth;
        self.weights[usize::from(level)] += weight;
        self.total += weight;
        self.range = (self.range.0.min(level), self.range.1.max(level));
        (growth, shrunk)
    }

    /// The sum of all weights.
    pub const fn total(&self) -> f64 {
        self.total
    }

    /// Amounts of the levels that ever weighed anything, ascending, with their weights now.
    pub fn entries(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let known = (self.range.0..=self.range.1).map(|level| (level, self.weights[usize::from(level)]));
        known.filter(|(_, weight)| *weight > 0.0).map(|(level, weight)| (self.resource.amount(level), weight))
    }
}
