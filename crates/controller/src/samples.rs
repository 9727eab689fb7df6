//! Recent usage of one container, and what can be read from it. Pure: the moments come with the samples.
//!
//! A short ring of raw samples and nothing cleverer: history, decay and confidence belong to the recommender that will
//! take this room's place.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use supple_quantity::{Bytes, MilliCpu};

/// What one container used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// End of the window it was measured over, as the metrics API says it.
    pub at: Timestamp,
    /// CPU in use, averaged over the window.
    pub cpu: MilliCpu,
    /// Working set: memory that cannot be reclaimed without hurting the container.
    pub memory: Bytes,
}

/// Samples of one container, oldest first, no older than the window it was made with.
#[derive(Clone, Debug)]
pub struct Samples {
    window: Duration,
    ring: VecDeque<Sample>,
}

impl Samples {
    /// Nothing seen yet; samples are kept for `window`.
    pub fn new(window: Duration) -> Self {
        Self { window, ring: VecDeque::new() }
    }

    /// Take one sample. One that is not newer than the last is ignored: the metrics API repeats its last answer until
    /// it has a new one, and counting it twice would let an old peak weigh more.
    pub fn push(&mut self, sample: Sample) {
        if self.ring.back().is_some_and(|last| sample.at <= last.at) {
            return;
        }
        self.ring.push_back(sample);
        while self.ring.front().is_some_and(|first| sample.at.duration_since(first.at).unsigned_abs() > self.window) {
            self.ring.pop_front();
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing has been seen yet.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The newest sample.
    pub fn latest(&self) -> Option<Sample> {
        self.ring.back().copied()
    }

    /// The CPU that `percent` of the samples do not exceed (nearest rank: always a value that was really seen).
    pub fn cpu_percentile(&self, percent: usize) -> Option<MilliCpu> {
        nearest_rank(self.ring.iter().map(|it| it.cpu).collect(), percent)
    }

    /// The memory that `percent` of the samples do not exceed (nearest rank).
    pub fn memory_percentile(&self, percent: usize) -> Option<Bytes> {
        nearest_rank(self.ring.iter().map(|it| it.memory).collect(), percent)
    }
}

fn nearest_rank<T: Ord + Copy>(mut values: Vec<T>, percent: usize) -> Option<T> {
    values.sort_unstable();
    let rank = (values.len() * percent.min(100)).div_ceil(100).max(1);
    values.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn of(cpu: impl IntoIterator<Item = i64>) -> Samples {
        let mut samples = Samples::new(Duration::from_secs(3600));
        for (second, milli) in (0..).zip(cpu) {
            samples.push(Sample { at: at(second), cpu: MilliCpu(milli), memory: Bytes(milli << 20) });
        }
        samples
    }

    #[track_caller]
    fn check_percentile(cpu: impl IntoIterator<Item = i64>, percent: usize, expect: Option<i64>) {
        assert_eq!(of(cpu).cpu_percentile(percent), expect.map(MilliCpu));
    }

    #[test]
    fn percentile_is_a_value_that_was_seen() {
        check_percentile([], 95, None);
        check_percentile([7], 95, Some(7));
        check_percentile([3, 1, 2], 95, Some(3));
        check_percentile(1..=100, 95, Some(95));
        check_percentile(1..=20, 95, Some(19));
        check_percentile(1..=19, 95, Some(19));
        check_percentile(1..=10, 0, Some(1));
        check_percentile(1..=10, 200, Some(10));
    }

    #[test]
    fn repeated_and_older_samples_are_ignored() {
        let mut samples = of([5, 6]);
        samples.push(Sample { at: at(1), cpu: MilliCpu(900), memory: Bytes(0) });
        samples.push(Sample { at: at(0), cpu: MilliCpu(900), memory: Bytes(0) });
        assert_eq!((samples.len(), samples.cpu_percentile(100)), (2, Some(MilliCpu(6))));
    }

    #[test]
    fn samples_leave_the_window() {
        let mut samples = Samples::new(Duration::from_secs(10));
        for second in 0..100 {
            samples.push(Sample { at: at(second), cpu: MilliCpu(second), memory: Bytes(0) });
        }
        assert_eq!((samples.len(), samples.cpu_percentile(0)), (11, Some(MilliCpu(89))));
    }
}
