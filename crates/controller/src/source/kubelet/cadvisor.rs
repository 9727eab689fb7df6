//! `/metrics/cadvisor`: the few counters that are read of the thousands in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use supple_quantity::Bytes;

use super::join::{Part, Told};
use crate::source::Name;
use crate::source::exposition::{Sample, samples};

/// Puts a value where it belongs.
type Put = fn(&mut Part, f64);

/// What is read: the metric, and where its value goes.
const READ: &[(&str, Put)] = &[
    ("container_cpu_cfs_periods_total", |it, value| it.periods = count(value)),
    ("container_cpu_cfs_throttled_periods_total", |it, value| it.throttled_periods = count(value)),
    ("container_cpu_usage_seconds_total", |it, value| it.cpu_nanos = count(value * 1e9)),
    ("container_memory_failcnt", |it, value| it.limit_hits = count(value)),
    ("container_memory_swap", |it, value| it.swap = bytes(value)),
    ("container_memory_usage_bytes", |it, value| it.charged = bytes(value)),
    ("container_memory_working_set_bytes", |it, value| it.memory = bytes(value)),
    ("container_oom_events_total", |it, value| it.oom_kills = count(value)),
    ("container_pressure_cpu_waiting_seconds_total", |it, value| it.cpu_waited_nanos = count(value * 1e9)),
    ("container_pressure_memory_waiting_seconds_total", |it, value| it.waited_nanos = count(value * 1e9)),
    ("container_start_time_seconds", |it, value| it.started = moment(value)),
];

/// What a text tells of each container. After a restart a run that has ended may still be in it beside the one that goes on:
/// the one that was started last counts.
pub fn read(text: &str, now: Timestamp) -> Told {
    let mut runs: BTreeMap<Name, BTreeMap<String, Part>> = BTreeMap::new();
    for sample in samples(text) {
        let Ok(row) = READ.binary_search_by_key(&sample.name, |(name, _)| name) else { continue };
        let Some((name, run)) = who(&sample) else { continue };
        let part = runs.entry(name).or_default().entry(run).or_insert_with(|| Part::unknown(now));
        READ[row].1(part, sample.value);
        if let Some(at) = sample.at_millis.and_then(|it| Timestamp::from_millisecond(it).ok()) {
            part.at = part.at.min(at);
        }
    }
    let newest = |runs: BTreeMap<String, Part>| runs.into_values().max_by_key(|it| it.started);
    runs.into_iter().filter_map(|(name, runs)| Some((name, newest(runs)?))).collect()
}

/// The container a sample is about, and which run of it. Samples of pods and of their sandboxes name none.
fn who(sample: &Sample<'_>) -> Option<(Name, String)> {
    let label = |name: &str| sample.label(name).filter(|it| !it.is_empty()).map(|it| Arc::<str>::from(it.as_ref()));
    let container = label("container").filter(|it| it.as_ref() != "POD")?;
    // Per core, on some runtimes: only the sum is of interest.
    if sample.label("cpu").is_some_and(|it| it != "total") {
        return None;
    }
    let run = sample.label("id").unwrap_or_default().into_owned();
    Some(((label("namespace")?, label("pod")?, container), run))
}

/// A counter that can be believed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and `as` saturates")]
fn count(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

fn bytes(value: f64) -> Option<Bytes> {
    count(value).map(|it| Bytes(i64::try_from(it).unwrap_or(i64::MAX)))
}

fn moment(seconds: f64) -> Option<Timestamp> {
    let millis = i64::try_from(count(seconds * 1000.0)?).ok()?;
    Timestamp::from_millisecond(millis).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(3000).unwrap()
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(READ.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn the_run_that_goes_on_counts() {
        let text = r#"# TYPE container_oom_events_total counter
container_oom_events_total{container="c",id="/a/1",namespace="d",pod="p"} 5 2000000
container_oom_events_total{container="c",id="/a/2",namespace="d",pod="p"} 1 2500000
container_oom_events_total{container="",id="/a",namespace="d",pod="p"} 9
container_oom_events_total{container="POD",id="/a/0",namespace="d",pod="p"} 9
container_start_time_seconds{container="c",id="/a/1",namespace="d",pod="p"} 1000
container_start_time_seconds{container="c",id="/a/2",namespace="d",pod="p"} 2100.5
container_cpu_usage_seconds_total{container="c",cpu="cpu01",id="/a/2",namespace="d",pod="p"} 99
container_cpu_usage_seconds_total{container="c",cpu="total",id="/a/2",namespace="d",pod="p"} 1.5
container_memory_failcnt{container="c",id="/a/2",namespace="d",pod="p"} 4
container_memory_working_set_bytes{container="c",id="/a/2",namespace="d",pod="p"} NaN
container_pressure_cpu_waiting_seconds_total{container="c",id="/a/2",namespace="d",pod="p"} 0.5
container_pressure_memory_waiting_seconds_total{container="c",id="/a/2",namespace="d",pod="p"} 0.25
container_fs_reads_total{container="c",id="/a/2",namespace="d",pod="p"} 3
"#;
        let told = read(text, now());
        assert_eq!(told.len(), 1);
        let part = &told[&("d".into(), "p".into(), "c".into())];
        assert_eq!((part.oom_kills, part.cpu_nanos, part.memory), (Some(1), Some(1_500_000_000), None));
        assert_eq!(
            (part.limit_hits, part.waited_nanos, part.cpu_waited_nanos),
            (Some(4), Some(250_000_000), Some(500_000_000))
        );
        assert_eq!(part.at, Timestamp::from_second(2500).unwrap());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(values in prop::collection::vec((0..READ.len(), any::<f64>(), any::<i64>()), 0..20)) {
            let line = |(row, value, at): &(usize, f64, i64)| {
                format!("{}{{container=\"c\",namespace=\"d\",pod=\"p\"}} {value} {at}\n", READ[*row].0)
            };
            let text: String = values.iter().map(line).collect();
            prop_assert!(read(&text, now()).len() <= 1);
        }
    }
}
