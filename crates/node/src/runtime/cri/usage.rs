//! What pods use: CPU and memory as the container runtime measures them, the rest from the cgroups.

use std::collections::BTreeMap;
use std::time::Duration;

use supple_quantity::Bytes;

use super::error as cri;
use super::machine::Machine;
use super::proto::{ContainerStats, ContainerStatsFilter, ListContainerStatsRequest, UInt64Value};
use super::run::Run;
use super::sandbox::{describe, no_sandbox};
use crate::cgroup::Stat;
use crate::runtime::ground::{lock, memory, usage_of};
use crate::runtime::{ContainerUsage, PodRef, PodUsage, RuntimeError, error};

/// Of a pod, now.
pub async fn usage(machine: &Machine, pod: &PodRef) -> Result<PodUsage, RuntimeError> {
    let known = machine.pod(pod)?;
    let sandbox = known.sandbox.as_ref().ok_or_else(|| no_sandbox(pod))?;
    let filter = ContainerStatsFilter { pod_sandbox_id: sandbox.id.clone(), ..ContainerStatsFilter::default() };
    let request = ListContainerStatsRequest { filter: Some(filter) };
    let answer = machine.calls.list_container_stats(request).await;
    let answer = answer.map_err(|it| cri::call("StatsUnavailable", "ask for the usage of", describe(pod), &it))?;
    let by_id: BTreeMap<&str, &ContainerStats> =
        answer.stats.iter().filter_map(|it| Some((it.attributes.as_ref()?.id.as_str(), it))).collect();
    let memory_usage = machine.cgroups.pod(known.qos, &pod.uid).memory_usage().map_err(|it| error::cgroup(&it))?;
    let mut window = Duration::ZERO;
    let mut containers = Vec::new();
    for run in known.runs.values().filter(|run| run.running().is_some()) {
        let stat = machine.group(run).and_then(|group| group.stat().ok());
        let Some(reading) = reading(by_id.get(run.container.as_str()).copied(), stat) else {
            continue; // ended a moment ago
        };
        let (usage, over) = container(machine, run, &reading);
        window = window.max(over);
        containers.push(usage);
    }
    // The container runtime read its containers a moment before: memory that went in between is still counted in both.
    let of_containers = containers.iter().fold(0_i64, |sum, it| sum.saturating_add(it.memory_usage.0));
    let memory_usage = memory(memory_usage).max(Bytes(of_containers));
    Ok(PodUsage {
        strains: machine.own_strains(&pod.uid),
        pod: pod.clone(),
        at: jiff::Timestamp::now(),
        window,
        memory_usage,
        containers,
    })
}

/// One reading of one container.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    stat: Stat,
    working_set: u64,
}

/// The runtime's numbers over those of the cgroup. Either may be missing: a runtime has none of a container that has just
/// begun, and a cgroup may be out of sight.
fn reading(stats: Option<&ContainerStats>, stat: Option<Stat>) -> Option<Reading> {
    let value = |it: Option<&UInt64Value>| it.map(|it| it.value);
    let cpu = stats.and_then(|it| value(it.cpu.as_ref()?.usage_core_nano_seconds.as_ref()));
    let of_memory = stats.and_then(|it| it.memory.as_ref());
    let usage = of_memory.and_then(|it| value(it.usage_bytes.as_ref()));
    let working_set = of_memory.and_then(|it| value(it.working_set_bytes.as_ref()));
    if stat.is_none() && (cpu.is_none() || working_set.is_none()) {
        return None;
    }
    let mut out = stat.unwrap_or_default();
    out.cpu_usage_nanos = cpu.unwrap_or(out.cpu_usage_nanos);
    let working_set = working_set.unwrap_or_else(|| out.memory_working_set());
    // Not every runtime says how much is charged in all; it is at least what is in use.
    out.memory_usage = usage.unwrap_or(out.memory_usage).max(working_set);
    out.memory_peak = out.memory_peak.max(out.memory_usage);
    Some(Reading { stat: out, working_set })
}

fn container(machine: &Machine, run: &Run, reading: &Reading) -> (ContainerUsage, Duration) {
    let Reading { stat, working_set } = *reading;
    let window = machine.options.usage_window;
    let measured = lock(&run.rate).take(machine.began.elapsed(), stat.cpu_usage_nanos, window);
    let usage = ContainerUsage {
        started_at: run.running(),
        cpu_nano_cores: measured.map(|(nano_cores, _)| nano_cores),
        memory_working_set: memory(working_set),
        strains: lock(&run.suffered).seen(),
        ..usage_of(&run.id.container, &stat)
    };
    (usage, measured.map_or(Duration::ZERO, |(_, over)| over))
}

#[cfg(test)]
mod tests {
    use super::super::proto::{CpuUsage, MemoryUsage};
    use super::*;

    fn stats(cpu: Option<u64>, usage: Option<u64>, working_set: Option<u64>) -> ContainerStats {
        let value = |it: Option<u64>| it.map(|value| UInt64Value { value });
        ContainerStats {
            attributes: None,
            cpu: Some(CpuUsage { timestamp: 1, usage_core_nano_seconds: value(cpu) }),
            memory: Some(MemoryUsage {
                timestamp: 1,
                working_set_bytes: value(working_set),
                usage_bytes: value(usage),
            }),
        }
    }

    #[track_caller]
    fn check(stats: Option<ContainerStats>, stat: Option<Stat>, expect: Option<(u64, u64, u64)>) {
        let got = reading(stats.as_ref(), stat);
        let got = got.map(|it| (it.stat.cpu_usage_nanos, it.stat.memory_usage, it.working_set));
        assert_eq!(got, expect, "{stats:?} over {stat:?}");
    }

    #[test]
    fn the_runtime_counts_and_the_cgroup_fills_in() {
        let stat = Stat { cpu_usage_nanos: 5, memory_usage: 50, memory_inactive_file: 10, ..Stat::default() };
        check(Some(stats(Some(7), Some(70), Some(60))), Some(stat), Some((7, 70, 60)));
        check(Some(stats(Some(7), Some(70), Some(60))), None, Some((7, 70, 60)));
        check(Some(stats(Some(7), None, Some(60))), None, Some((7, 60, 60)));
        check(Some(stats(None, None, None)), Some(stat), Some((5, 50, 40)));
        check(None, Some(stat), Some((5, 50, 40)));
        check(Some(stats(None, None, Some(1))), None, None);
        check(None, None, None);
    }
}
