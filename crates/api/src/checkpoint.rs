//! What VPA's recommender knew of a container, taken over once: a checkpoint as it stands in the API, as the recommender takes it
//! ([`supple_recommend::import`]).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use supple_recommend::import::{Checkpoint, ImportError};
use supple_recommend::state::State;

use crate::vpa::{HistogramCheckpoint, VerticalPodAutoscalerCheckpointStatus};

/// The version of checkpoints that is understood.
const VERSION: &str = "v3";

/// The state that a checkpoint comes to; `None` where it says nothing: another version, no sample, no time.
///
/// # Errors
/// [`ImportError`] where it says what no VPA says.
pub fn state(checkpoint: &VerticalPodAutoscalerCheckpointStatus) -> Result<Option<State>, ImportError> {
    let VerticalPodAutoscalerCheckpointStatus { version, total_samples_count, .. } = checkpoint;
    let second = |it: &Option<Time>| it.as_ref().map(|it| it.0.as_second()).filter(|it| *it > 0);
    let times = second(&checkpoint.first_sample_start).zip(second(&checkpoint.last_sample_start));
    let samples = u64::try_from(*total_samples_count).unwrap_or(0);
    let Some((first, last)) = times.filter(|_| version == VERSION && samples > 0) else { return Ok(None) };
    let (cpu, memory) = (weights(&checkpoint.cpu_histogram), weights(&checkpoint.memory_histogram));
    if cpu.is_empty() && memory.is_empty() {
        return Ok(None);
    }
    State::from_vpa(&Checkpoint { cpu, memory, first, last, samples }).map(Some)
}

/// Weights by bucket. A key that is no number is none of VPA's, and says nothing.
fn weights(histogram: &HistogramCheckpoint) -> BTreeMap<u16, u32> {
    let weights = histogram.bucket_weights.iter().filter(|(_, weight)| **weight > 0);
    weights.filter_map(|(bucket, weight)| Some((bucket.parse().ok()?, *weight))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use supple_recommend::policy::Policy;

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
        let mut state = state(&checkpoint(&json!({"8": 10_000}), &json!({"26": 10_000}))).unwrap().unwrap();
        assert!(state.hours() >= 24, "{} hours", state.hours());
        let advice = state.advise(&Policy::default(), (None, None));
        let (cpu, memory) = (advice.cpu.unwrap(), advice.memory.unwrap());
        assert!((90..200).contains(&cpu.request), "{cpu:?}");
        assert!((450_000_000..900_000_000).contains(&memory.request), "{memory:?}");
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let good = checkpoint(&json!({"8": 10_000}), &json!({}));
        assert!(state(&good).unwrap().is_some());
        for bad in [
            checkpoint(&json!({}), &json!({})),
            checkpoint(&json!({"x": 1, "-1": 3, "70000": 3, "5": 0}), &json!({})),
            VerticalPodAutoscalerCheckpointStatus { version: "v4".to_owned(), ..good.clone() },
            VerticalPodAutoscalerCheckpointStatus { total_samples_count: 0, ..good.clone() },
            VerticalPodAutoscalerCheckpointStatus { total_samples_count: -1, ..good.clone() },
            VerticalPodAutoscalerCheckpointStatus { last_sample_start: None, ..good.clone() },
        ] {
            assert_eq!(state(&bad), Ok(None), "{bad:?}");
        }
        let reversed = VerticalPodAutoscalerCheckpointStatus {
            first_sample_start: good.last_sample_start.clone(),
            last_sample_start: good.first_sample_start.clone(),
            ..good
        };
        assert!(state(&reversed).is_err());
        assert!(state(&checkpoint(&json!({"999": 3}), &json!({}))).is_err());
    }
}
