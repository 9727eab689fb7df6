//! `/stats/summary`: what is read of it. Everything in it may be absent, and is on some runtime or other.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use supple_quantity::{Bytes, MilliCpu};

use super::join::{Part, Told};

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<ContainerStats>,
}

#[derive(Deserialize)]
struct PodRef {
    name: Arc<str>,
    namespace: Arc<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStats {
    name: Arc<str>,
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    swap: Option<Swap>,
    #[serde(default)]
    user_defined_metrics: Vec<Custom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Option<Timestamp>,
    usage_nano_cores: Option<u64>,
    usage_core_nano_seconds: Option<u64>,
    psi: Option<Psi>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    time: Option<Timestamp>,
    usage_bytes: Option<u64>,
    working_set_bytes: Option<u64>,
    psi: Option<Psi>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Swap {
    swap_usage_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Psi {
    some: Option<Pressure>,
}

#[derive(Deserialize)]
struct Pressure {
    avg10: Option<f64>,
    avg60: Option<f64>,
}

/// What a node of the embedded cluster tells where a kubelet has a place for more.
#[derive(Deserialize)]
struct Custom {
    name: String,
    value: Option<u64>,
}

/// What a summary tells of each container.
///
/// # Errors
/// A sentence where it is none.
pub fn read(text: &str, now: Timestamp) -> Result<Told, String> {
    let summary: Summary = serde_json::from_str(text).map_err(|error| format!("it is not a usage summary: {error}"))?;
    let mut told = BTreeMap::new();
    for PodStats { pod_ref: PodRef { name, namespace }, containers } in summary.pods {
        for container in containers {
            let key = (namespace.clone(), name.clone(), container.name.clone());
            told.insert(key, part(&container, now));
        }
    }
    Ok(told)
}

fn part(container: &ContainerStats, now: Timestamp) -> Part {
    let ContainerStats { name: _, start_time, cpu, memory, swap, user_defined_metrics } = container;
    let told = |name: &str| user_defined_metrics.iter().find(|it| it.name == name).and_then(|it| it.value);
    let times = [cpu.as_ref().and_then(|it| it.time), memory.as_ref().and_then(|it| it.time)];
    let some = |psi: &Option<Psi>, of: fn(&Pressure) -> Option<f64>| psi.as_ref()?.some.as_ref().and_then(of);
    let pressure = memory.as_ref().and_then(|it| some(&it.psi, |it| it.avg10));
    let cpu_pressure = cpu.as_ref().and_then(|it| some(&it.psi, |it| it.avg60));
    let bytes = |it: u64| Bytes(i64::try_from(it).unwrap_or(i64::MAX));
    Part {
        // The older of the two: rather too old than too fresh. Nothing is measured in the future.
        at: times.into_iter().flatten().min().unwrap_or(now).min(now),
        started: *start_time,
        cpu: cpu.as_ref().and_then(|it| it.usage_nano_cores).map(cores),
        cpu_nanos: cpu.as_ref().and_then(|it| it.usage_core_nano_seconds),
        memory: memory.as_ref().and_then(|it| it.working_set_bytes).map(bytes),
        charged: memory.as_ref().and_then(|it| it.usage_bytes).map(bytes),
        swap: swap.as_ref().and_then(|it| it.swap_usage_bytes).map(bytes),
        pressure_permille: pressure.and_then(percent),
        cpu_pressure_permille: cpu_pressure.and_then(percent),
        throttled_periods: None,
        periods: None,
        oom_kills: told("oom_kills"),
        limit_hits: told("memory_max_hits"),
        waited_nanos: None,
        cpu_waited_nanos: None,
    }
}

fn cores(nano: u64) -> MilliCpu {
    MilliCpu(i64::try_from(nano.div_ceil(1_000_000)).unwrap_or(i64::MAX))
}

/// A percentage in thousandths, if it is one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and 1000")]
fn percent(value: f64) -> Option<u16> {
    (value.is_finite() && value >= 0.0).then(|| (value * 10.0).round().min(1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:01:00Z".parse().unwrap()
    }

    #[test]
    fn what_a_kubelet_tells() {
        let text = r#"{"node":{"nodeName":"n"},"pods":[{"podRef":{"name":"p","namespace":"d","uid":"u"},"containers":[{
            "name":"c","startTime":"2026-01-01T00:00:00Z",
            "cpu":{"time":"2026-01-01T00:00:30Z","usageNanoCores":12345678,"usageCoreNanoSeconds":99,
                "psi":{"some":{"total":2,"avg10":90,"avg60":30.5,"avg300":0}}},
            "memory":{"time":"2026-01-01T00:00:20Z","usageBytes":2000,"workingSetBytes":1000,
                "psi":{"full":{"total":1},"some":{"total":2,"avg10":1.25,"avg60":0,"avg300":0}}},
            "swap":{"time":"2026-01-01T00:00:20Z","swapUsageBytes":7},"rootfs":{},"logs":{}}]}]}"#;
        let told = read(text, now()).unwrap();
        let part = &told[&("d".into(), "p".into(), "c".into())];
        assert_eq!(part.at, "2026-01-01T00:00:20Z".parse().unwrap());
        assert_eq!((part.cpu, part.cpu_nanos), (Some(MilliCpu(13)), Some(99)));
        assert_eq!((part.memory, part.charged, part.swap), (Some(Bytes(1000)), Some(Bytes(2000)), Some(Bytes(7))));
        assert_eq!((part.pressure_permille, part.cpu_pressure_permille, part.oom_kills), (Some(13), Some(305), None));
    }

    #[test]
    fn what_is_absent_is_unknown_and_nothing_is_of_the_future() {
        let text = r#"{"pods":[{"podRef":{"name":"p","namespace":"d"},"containers":[
            {"name":"c","memory":{"time":"2036-01-01T00:00:00Z"}}]}]}"#;
        let told = read(text, now()).unwrap();
        assert_eq!(told.into_values().collect::<Vec<_>>(), [Part::unknown(now())]);
        assert!(read("{}", now()).unwrap().is_empty());
        for wrong in ["", "403", r#"{"pods":[{"containers":[]}]}"#] {
            assert!(read(wrong, now()).unwrap_err().starts_with("it is not a usage summary"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_pressure_is_too_odd(value: f64) {
            prop_assert!(percent(value).is_none_or(|it| it <= 1000));
        }
    }
}
