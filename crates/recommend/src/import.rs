//! What a Vertical Pod Autoscaler has learned, taken over: its checkpoint as a past that could have led to it.
//!
//! A `VerticalPodAutoscalerCheckpoint` holds two histograms and no course of time. CPU loses nothing by that: its views of
//! the last days and of everything are histograms too. Memory's histogram holds one peak a day, each weighing half of the
//! next younger one's; so the heaviest bucket is where the youngest day's peak lies, and, that taken out, the heaviest of
//! what is left holds the day before. Which hour of its day a peak belongs to is not known: all of them are given it.

use std::collections::BTreeMap;

use crate::state::{HOUR, State};

/// Growth from bucket to bucket, and how many there are.
const RATIO: f64 = 1.05;
const BUCKETS: u16 = 176;

/// Where the second bucket begins: thousandths of a core, bytes.
const FIRST: [f64; 2] = [10.0, 1e7];

/// A VPA asks once a minute. It counts the samples of all pods, and how many there were it does not keep.
const SAMPLES_AN_HOUR: u16 = 60;

/// Hours of history that are made at most: a week.
const MOST_HOURS: i64 = 168;

/// The histograms of a checkpoint's status, of version `v3`. Weights are `bucketWeights`, by bucket: only what they are to each
/// other counts. Times are seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// `cpuHistogram.bucketWeights`.
    pub cpu: BTreeMap<u16, u32>,
    /// `memoryHistogram.bucketWeights`.
    pub memory: BTreeMap<u16, u32>,
    /// `firstSampleStart`.
    pub first: i64,
    /// `lastSampleStart`.
    pub last: i64,
    /// `totalSamplesCount`.
    pub samples: u64,
}

/// Why a checkpoint cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It names a bucket that there is not.
    #[error(
        "cannot take over a VPA checkpoint: it has a bucket {0}, and VPA's histograms have 176; begin with an empty state"
    )]
    Bucket(u16),
    /// It ends before it begins.
    #[error(
        "cannot take over a VPA checkpoint: its last sample ({last}) is older than its first ({first}); begin with an empty state"
    )]
    Times {
        /// The first sample.
        first: i64,
        /// The last one.
        last: i64,
    },
}

impl ImportError {
    /// For machines; never changes.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Bucket(_) => "CheckpointBucket",
            Self::Times { .. } => "CheckpointTimes",
        }
    }
}

impl State {
    /// A state that knows what a checkpoint knows. Its history ends with the checkpoint's last sample.
    ///
    /// # Errors
    ///
    /// The checkpoint says what no VPA says; see [`ImportError`].
    pub fn from_vpa(checkpoint: &Checkpoint) -> Result<Self, ImportError> {
        let Checkpoint { cpu, memory, first, last, samples } = checkpoint;
        if let Some(bucket) = cpu.keys().chain(memory.keys()).find(|it| **it >= BUCKETS) {
            return Err(ImportError::Bucket(*bucket));
        }
        if last < first {
            return Err(ImportError::Times { first: *first, last: *last });
        }
        let mut state = Self { hour: Some(last.div_euclid(HOUR)), ..Self::default() };
        let hours = last.saturating_sub(*first).div_euclid(HOUR).clamp(1, MOST_HOURS);
        let hour = last.div_euclid(HOUR);
        let an_hour = samples.checked_div(hours.unsigned_abs()).unwrap_or(0);
        let an_hour = u16::try_from(an_hour).unwrap_or(u16::MAX).clamp(1, SAMPLES_AN_HOUR);
        let shares = shares(cpu);
        if !shares.is_empty() {
            // A sample may lie anywhere in its bucket: the middle.
            let amounts =
                shares.iter().map(|(bucket, share)| ((start(0, *bucket) + start(0, bucket + 1)) / 2.0, *share));
            state.cpu.make(hour, hours, an_hour, &amounts.collect::<Vec<_>>());
        }
        let days = peaks(memory, hours);
        state.memory.make(hour, hours, an_hour, &days);
        Ok(state)
    }
}

/// Where a bucket begins.
fn start(resource: usize, bucket: u16) -> f64 {
    FIRST[resource] * (RATIO.powi(i32::from(bucket)) - 1.0) / (RATIO - 1.0)
}

/// Buckets with their shares of the weight.
fn shares(weights: &BTreeMap<u16, u32>) -> Vec<(u16, f64)> {
    let total: f64 = weights.values().map(|it| f64::from(*it)).sum();
    weights.iter().filter(|it| *it.1 > 0).map(|(bucket, weight)| (*bucket, f64::from(*weight) / total)).collect()
}

/// The peak of each day, the youngest first: the end of its bucket, for a size must hold all of it.
fn peaks(weights: &BTreeMap<u16, u32>, hours: i64) -> Vec<f64> {
    let mut left = shares(weights);
    let days = i32::try_from((hours + 23) / 24).unwrap_or(1);
    let first = 0.5 / (1.0 - 0.5_f64.powi(days));
    let heaviest = |day: i32| {
        let (bucket, share) = left.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))?;
        *share -= first * 0.5_f64.powi(day);
        Some(start(1, *bucket + 1))
    };
    (0..days).filter_map(heaviest).collect()
}
