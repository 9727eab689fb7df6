//! What VPA's recommender knew of a container, taken over once: from a checkpoint's histograms to a state of ours.
//!
//! A histogram has no order in time, so one is made: of CPU, each hour sees the whole distribution; of memory, whose samples
//! are the peaks of days, each day has one peak, the highest last so that it is fresh. For how long it was watched is kept: it is what
//! confidence rests on. An hour of true measurements is worth more than all of this, and outweighs it soon.

use jiff::Timestamp;
use supple_recommend::policy::Policy;
use supple_recommend::sample::Sample;
use supple_recommend::state::{Cursor, State};

use crate::vpa::{HistogramCheckpoint, VerticalPodAutoscalerCheckpointStatus};

/// The version of checkpoints that is understood.
const VERSION: &str = "v3";

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The longest time that is made up: as long as VPA remembers peaks of memory.
const DAYS: i64 = 8;

/// Samples an hour that are made up: enough for a distribution, few enough for thousands of containers at a start.
const AN_HOUR: i64 = 12;

/// Buckets of VPA's histograms: each is a twentieth wider than the one before.
const RATIO: f64 = 1.05;

/// The width of the first bucket of CPU, in thousandths of a core.
const FIRST_CPU: f64 = 10.0;

/// The width of the first bucket of memory, in bytes.
const FIRST_MEMORY: f64 = 1e7;

/// Buckets there are; a higher one is none of VPA's.
const BUCKETS: u32 = 176;

/// The state that a checkpoint comes to; `None` where it says nothing: another version, no sample, no time.
#[must_use]
pub fn state(checkpoint: &VerticalPodAutoscalerCheckpointStatus, policy: &Policy) -> Option<State> {
    if checkpoint.version != VERSION || checkpoint.total_samples_count <= 0 {
        return None;
    }
    let second = |it: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        it.as_ref().map(|it| it.0.as_second()).filter(|it| *it > Timestamp::UNIX_EPOCH.as_second())
    };
    let last = second(&checkpoint.last_sample_start)?;
    let first = second(&checkpoint.first_sample_start)?.max(last - DAYS * DAY);
    let cpu = Quantiles::of(&checkpoint.cpu_histogram, FIRST_CPU);
    let memory = Quantiles::of(&checkpoint.memory_histogram, FIRST_MEMORY);
    if cpu.is_none() && memory.is_none() {
        return None;
    }
    let (mut state, mut cursor) = (State::default(), Cursor::default());
    let step = 3600 / AN_HOUR;
    let days = (last - first) / DAY + 1;
    for index in 0..=(last - first) / step {
        let time = first + index * step;
        let day = (time - first) / DAY;
        // Steps of five modulo twelve visit every twelfth of the distribution in an hour, high and low in turn.
        let share = fraction(index * 5 % AN_HOUR, AN_HOUR);
        let sample = Sample {
            time,
            cpu: cpu.as_ref().map(|it| it.at(share)),
            memory: memory.as_ref().map(|it| it.at(fraction(day, days))),
            ..Sample::default()
        };
        state.observe(&mut cursor, &sample, policy);
    }
    Some(state).filter(|it| it.hour.is_some())
}

/// The middle of the part `index` of `parts`, as a share of the whole.
fn fraction(index: i64, parts: i64) -> f64 {
    let number = |it: i64| f64::from(u32::try_from(it).unwrap_or(u32::MAX));
    (number(index) + 0.5) / number(parts.max(1))
}

/// A histogram as amounts and the share of samples up to each.
struct Quantiles(Vec<(f64, f64)>);

impl Quantiles {
    fn of(histogram: &HistogramCheckpoint, first: f64) -> Option<Self> {
        let buckets = histogram.bucket_weights.iter();
        let mut buckets: Vec<(u32, f64)> = buckets
            .filter_map(|(bucket, weight)| Some((bucket.parse::<u32>().ok()?, f64::from(*weight))))
            .filter(|(bucket, weight)| *bucket < BUCKETS && *weight > 0.0)
            .collect();
        buckets.sort_by_key(|it| it.0);
        let total: f64 = buckets.iter().map(|it| it.1).sum();
        let mut up_to = 0.0;
        let shares = buckets.into_iter().map(|(bucket, weight)| {
            up_to += weight / total;
            (middle(bucket, first), up_to)
        });
        Some(Self(shares.collect())).filter(|it| !it.0.is_empty())
    }

    /// The amount below which this share of the samples is.
    fn at(&self, share: f64) -> f64 {
        self.0.iter().find(|it| it.1 >= share).or(self.0.last()).map_or(0.0, |it| it.0)
    }
}

/// The middle of a bucket.
fn middle(bucket: u32, first: f64) -> f64 {
    let start = |bucket: u32| first * (RATIO.powf(f64::from(bucket)) - 1.0) / (RATIO - 1.0);
    f64::midpoint(start(bucket), start(bucket + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checkpoint(cpu: &serde_json::Value, memory: &serde_json::Value) -> VerticalPodAutoscalerCheckpointStatus {
        serde_json::from_value(json!({
            "version": "v3", "totalSamplesCount": 11_520,
            "firstSampleStart": "2026-11-01T12:00:00Z", "lastSampleStart": "2026-11-28T12:00:00Z",
            "cpuHistogram": {"bucketWeights": cpu, "totalWeight": 20.5},
            "memoryHistogram": {"bucketWeights": memory, "totalWeight": 3.25},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_known_is_known() {
        // Bucket 8 is 95 to 110 thousandths of a core, 26 is 511 to 547 MB.
        let one = checkpoint(&json!({"8": 10_000}), &json!({"26": 10_000}));
        let mut state = state(&one, &Policy::default()).unwrap();
        assert!(state.hours() >= 24, "{} hours", state.hours());
        let advice = state.advise(&Policy::default(), (None, None));
        let (cpu, memory) = (advice.cpu.unwrap(), advice.memory.unwrap());
        assert!((90..200).contains(&cpu.request), "{cpu:?}");
        assert!((450_000_000..900_000_000).contains(&memory.request), "{memory:?}");
    }

    #[test]
    fn a_rare_high_is_not_lost() {
        let steady = state(&checkpoint(&json!({"8": 10_000}), &json!({"26": 10_000})), &Policy::default()).unwrap();
        let bursts = checkpoint(&json!({"8": 10_000, "40": 2_000}), &json!({"26": 10_000, "40": 3_000}));
        let bursts = state(&bursts, &Policy::default()).unwrap();
        let of = |it: &State| { *it }.advise(&Policy::default(), (None, None));
        assert!(of(&bursts).cpu.unwrap().request > of(&steady).cpu.unwrap().request);
        assert!(of(&bursts).memory.unwrap().request > of(&steady).memory.unwrap().request);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let good = checkpoint(&json!({"8": 10_000}), &json!({}));
        assert!(state(&good, &Policy::default()).is_some());
        for bad in [
            checkpoint(&json!({}), &json!({})),
            checkpoint(&json!({"x": 1, "-1": 3, "999": 3, "5": 0}), &json!({})),
            VerticalPodAutoscalerCheckpointStatus { version: "v4".to_owned(), ..good.clone() },
            VerticalPodAutoscalerCheckpointStatus { total_samples_count: 0, ..good.clone() },
            VerticalPodAutoscalerCheckpointStatus { last_sample_start: None, ..good.clone() },
        ] {
            assert!(state(&bad, &Policy::default()).is_none(), "{bad:?}");
        }
        // Times in the wrong order: no time was watched.
        let reversed = VerticalPodAutoscalerCheckpointStatus {
            first_sample_start: good.last_sample_start.clone(),
            last_sample_start: good.first_sample_start.clone(),
            ..good
        };
        assert!(state(&reversed, &Policy::default()).is_none());
    }
}
