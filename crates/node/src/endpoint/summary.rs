//! `/stats/summary`: usage of node, pods and containers as JSON.
//!
//! Pressure totals are the kernel's microseconds, which is what a kubelet passes on (its documentation says
//! nanoseconds). What the kernel told of by itself stands where the reference has a place for more: `userDefinedMetrics`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{PodScene, Scene, unsigned};
use crate::cgroup::{Pressure, Psi};
use crate::runtime::ContainerUsage;

/// The whole answer.
pub(super) fn render(scene: &Scene) -> Value {
    let all: Vec<&ContainerUsage> = scene.containers().map(|it| it.usage).collect();
    let all = || all.iter().copied();
    let mut memory = memory(scene.now, all(), None);
    let working_set: u64 = all().map(|it| unsigned(it.memory_working_set)).fold(0, u64::saturating_add);
    memory["availableBytes"] = unsigned(scene.capacity.memory).saturating_sub(working_set).into();
    json!({
        "node": {
            "nodeName": scene.node,
            "startTime": time(scene.started_at),
            "cpu": cpu(scene.now, all(), None),
            "memory": memory,
        },
        "pods": scene.pods.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(scene: &PodScene) -> Value {
    let usage = &scene.usage;
    let all = || usage.containers.iter();
    let mut memory = memory(usage.at, all(), None);
    memory["usageBytes"] = unsigned(usage.memory_usage).into();
    let mut out = json!({
        "podRef": { "name": usage.pod.name, "namespace": usage.pod.namespace, "uid": usage.pod.uid },
        "containers": all().map(|it| container(usage.at, it)).collect::<Vec<_>>(),
        "cpu": cpu(usage.at, all(), None),
        "memory": memory,
    });
    if let Some(started) = all().filter_map(|it| it.started_at).min() {
        out["startTime"] = time(started);
    }
    out
}

fn container(at: Timestamp, usage: &ContainerUsage) -> Value {
    let mut out = json!({
        "name": usage.container,
        "cpu": cpu(at, std::iter::once(usage), usage.cpu_pressure),
        "memory": memory(at, std::iter::once(usage), usage.memory_pressure),
        "userDefinedMetrics": told(at, usage),
    });
    if let Some(started) = usage.started_at {
        out["startTime"] = time(started);
    }
    if let Some(pressure) = usage.io_pressure {
        out["io"] = json!({ "time": time(at), "psi": psi(pressure) });
    }
    out
}

fn cpu<'a>(at: Timestamp, of: impl Iterator<Item = &'a ContainerUsage> + Clone, pressure: Option<Psi>) -> Value {
    let mut out = Map::new();
    out.insert("time".into(), time(at));
    // A sum that leaves something out is none.
    if let Some(now) = of.clone().map(|it| it.cpu_nano_cores).sum::<Option<u64>>() {
        out.insert("usageNanoCores".into(), now.into());
    }
    let total = of.map(|it| it.cpu_usage_nanos).fold(0, u64::saturating_add);
    out.insert("usageCoreNanoSeconds".into(), total.into());
    if let Some(pressure) = pressure {
        out.insert("psi".into(), psi(pressure));
    }
    out.into()
}

fn memory<'a>(at: Timestamp, of: impl Iterator<Item = &'a ContainerUsage> + Clone, pressure: Option<Psi>) -> Value {
    let sum = |value: fn(&ContainerUsage) -> u64| of.clone().map(value).fold(0, u64::saturating_add);
    let mut out = json!({
        "time": time(at),
        "usageBytes": sum(|it| unsigned(it.memory_usage)),
        "workingSetBytes": sum(|it| unsigned(it.memory_working_set)),
        "rssBytes": sum(|it| unsigned(it.memory_rss)),
        "pageFaults": sum(|it| it.page_faults),
        "majorPageFaults": sum(|it| it.major_page_faults),
    });
    if let Some(pressure) = pressure {
        out["psi"] = psi(pressure);
    }
    out
}

fn psi(Psi { some, full }: Psi) -> Value {
    let line = |Pressure { avg10, avg60, avg300, total }: Pressure| json!({ "total": total, "avg10": avg10, "avg60": avg60, "avg300": avg300 });
    json!({ "full": line(full), "some": line(some) })
}

/// Throttling, limits met and kills, and what of it was told when last.
fn told(at: Timestamp, usage: &ContainerUsage) -> Vec<Value> {
    let counters = [
        ("cpu_throttled_periods", "periods", usage.throttled_periods),
        ("cpu_throttled_nanoseconds", "nanoseconds", usage.throttled_nanos),
        ("memory_high_hits", "times", usage.memory_high_hits),
        ("memory_max_hits", "times", usage.memory_max_hits),
        ("oom_kills", "processes", usage.oom_kills),
    ];
    let counters = counters.into_iter().map(|(name, units, value)| (name.to_owned(), units, at, value));
    let strains = usage
        .strains
        .iter()
        .map(|(strain, seen)| (format!("strain_{}", strain.as_str()), "times", seen.last, seen.times));
    counters
        .chain(strains)
        .map(|(name, units, at, value)| {
            json!({ "name": name, "type": "cumulative", "units": units, "time": time(at), "value": value })
        })
        .collect()
}

fn time(at: Timestamp) -> Value {
    json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at))
}

#[cfg(test)]
mod tests {
    use super::super::tests::scene;
    use super::*;

    #[track_caller]
    fn check(summary: &Value, pointer: &str, expect: Value) {
        assert_eq!(summary.pointer(pointer), Some(&expect), "{pointer} of {summary:#}");
    }

    #[test]
    fn usage_in_the_references_shape() {
        let summary = render(&scene());
        check(&summary, "/node/nodeName", json!("lab"));
        check(&summary, "/node/memory/availableBytes", json!((1_u64 << 30) - (48 << 20)));
        check(&summary, "/pods/0/podRef", json!({ "name": "cart", "namespace": "shop", "uid": "u-1" }));
        check(&summary, "/pods/0/memory/usageBytes", json!(65 << 20));
        let container = &summary["pods"][0]["containers"][0];
        check(container, "/startTime", json!("1970-01-01T00:16:40Z"));
        check(container, "/cpu/usageNanoCores", json!(250_000_000));
        check(container, "/cpu/usageCoreNanoSeconds", json!(2_500_000_000_u64));
        check(container, "/cpu/psi/some", json!({ "total": 3_000_000, "avg10": 1.5, "avg60": 0.5, "avg300": 0.25 }));
        check(container, "/memory/workingSetBytes", json!(48 << 20));
        check(container, "/memory/psi/full/total", json!(500_000));
        let told = container["userDefinedMetrics"].as_array().unwrap();
        let expect = json!({
            "name": "strain_MemoryHigh", "type": "cumulative", "units": "times",
            "time": "1970-01-01T00:25:00Z", "value": 2,
        });
        assert!(told.contains(&expect), "{told:#?}");
        assert!(container.get("io").is_none(), "the kernel said nothing of disks");
    }
}
