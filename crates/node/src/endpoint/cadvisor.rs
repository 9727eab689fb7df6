//! `/metrics/cadvisor`: one row for each metric, in the reference's names; what has no reference begins with `supple_`.

use super::exposition::{Exposition, Kind, count, seconds};
use super::{Measured, Scene, unsigned};
use crate::cgroup::{Pressure, Psi};
use crate::runtime::ContainerUsage;

/// One metric of every container.
struct Row {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// A label beside those that every row has; it sorts where cAdvisor sorts it.
    label: Option<(&'static str, &'static str)>,
    /// `None`: the kernel does not say.
    value: fn(&ContainerUsage) -> Option<f64>,
}

const fn row(name: &'static str, kind: Kind, help: &'static str, value: fn(&ContainerUsage) -> Option<f64>) -> Row {
    Row { name, kind, help, label: None, value }
}

const ROWS: &[Row] = &[
    row("container_cpu_cfs_periods_total", Kind::Counter, "Periods in which a CPU limit applied.", |it| {
        Some(count(it.cpu_periods))
    }),
    row("container_cpu_cfs_throttled_periods_total", Kind::Counter, "Periods in which it was throttled.", |it| {
        Some(count(it.throttled_periods))
    }),
    row("container_cpu_cfs_throttled_seconds_total", Kind::Counter, "Time for which it was throttled.", |it| {
        Some(seconds(it.throttled_nanos))
    }),
    Row {
        label: Some(("cpu", "total")),
        ..row("container_cpu_usage_seconds_total", Kind::Counter, "CPU time used.", |it| {
            Some(seconds(it.cpu_usage_nanos))
        })
    },
    row("container_memory_cache", Kind::Gauge, "Bytes of file cache.", |it| Some(count(unsigned(it.memory_cache)))),
    row("container_memory_failcnt", Kind::Counter, "Times its memory limit was met.", |it| {
        Some(count(it.memory_max_hits))
    }),
    Row {
        label: Some(("failure_type", "pgfault")),
        ..row("container_memory_failures_total", Kind::Counter, "Page faults, by type.", |it| {
            Some(count(it.page_faults))
        })
    },
    Row {
        label: Some(("failure_type", "pgmajfault")),
        ..row("container_memory_failures_total", Kind::Counter, "Page faults, by type.", |it| {
            Some(count(it.major_page_faults))
        })
    },
    row("container_memory_max_usage_bytes", Kind::Gauge, "Highest memory charge seen, in bytes.", |it| {
        Some(count(unsigned(it.memory_peak)))
    }),
    row("container_memory_rss", Kind::Gauge, "Bytes that belong to no file.", |it| {
        Some(count(unsigned(it.memory_rss)))
    }),
    row("container_memory_usage_bytes", Kind::Gauge, "Bytes charged, file cache included.", |it| {
        Some(count(unsigned(it.memory_usage)))
    }),
    row("container_memory_working_set_bytes", Kind::Gauge, "Bytes charged without inactive file cache.", |it| {
        Some(count(unsigned(it.memory_working_set)))
    }),
    row("container_oom_events_total", Kind::Counter, "Processes killed by the OOM killer.", |it| {
        Some(count(it.oom_kills))
    }),
    row(
        "container_pressure_cpu_stalled_seconds_total",
        Kind::Counter,
        "Time in which all tasks waited for CPU.",
        |it| waited(it.cpu_pressure, |it| it.full),
    ),
    row("container_pressure_cpu_waiting_seconds_total", Kind::Counter, "Time in which a task waited for CPU.", |it| {
        waited(it.cpu_pressure, |it| it.some)
    }),
    row(
        "container_pressure_io_stalled_seconds_total",
        Kind::Counter,
        "Time in which all tasks waited for disks.",
        |it| waited(it.io_pressure, |it| it.full),
    ),
    row("container_pressure_io_waiting_seconds_total", Kind::Counter, "Time in which a task waited for disks.", |it| {
        waited(it.io_pressure, |it| it.some)
    }),
    row(
        "container_pressure_memory_stalled_seconds_total",
        Kind::Counter,
        "Time in which all tasks waited for memory.",
        |it| waited(it.memory_pressure, |it| it.full),
    ),
    row(
        "container_pressure_memory_waiting_seconds_total",
        Kind::Counter,
        "Time in which a task waited for memory.",
        |it| waited(it.memory_pressure, |it| it.some),
    ),
    row("container_start_time_seconds", Kind::Gauge, "When it was started, in seconds since 1970.", |it| {
        Some(seconds(u64::try_from(it.started_at?.as_nanosecond()).ok()?))
    }),
    row("supple_container_memory_high_total", Kind::Counter, "Times it was slowed down at memory.high.", |it| {
        Some(count(it.memory_high_hits))
    }),
];

fn waited(pressure: Option<Psi>, line: fn(Psi) -> Pressure) -> Option<f64> {
    Some(seconds(line(pressure?).total.saturating_mul(1000)))
}

/// Everything the node can tell of its containers.
pub(super) fn render(scene: &Scene) -> String {
    let mut text = Exposition::default();
    let mut family = "";
    for Row { name, kind, help, label, value } in ROWS {
        if *name != family {
            text.family(name, *kind, help);
            family = name;
        }
        for container in scene.containers() {
            if let Some(value) = value(container.usage) {
                container.sample(&mut text, name, *label, value);
            }
        }
    }
    strains(scene, &mut text);
    text.family("machine_cpu_cores", Kind::Gauge, "Cores that the node has.");
    text.sample("machine_cpu_cores", &[], count(u64::try_from(scene.capacity.cpu.0).unwrap_or(0)) / 1000.0, None);
    text.family("machine_memory_bytes", Kind::Gauge, "Bytes of memory that the node has.");
    text.sample("machine_memory_bytes", &[], count(unsigned(scene.capacity.memory)), None);
    text.finish()
}

/// What the kernel told of by itself: how often, and when last.
fn strains(scene: &Scene, text: &mut Exposition) {
    let name = "supple_container_strains_total";
    text.family(name, Kind::Counter, "Times the kernel reported pressure on a container, by kind.");
    for container in scene.containers() {
        for (strain, seen) in &container.usage.strains {
            container.sample(text, name, Some(("strain", strain.as_str())), count(seen.times));
        }
    }
    let name = "supple_container_last_strain_seconds";
    text.family(name, Kind::Gauge, "When it last reported it, in seconds since 1970.");
    for container in scene.containers() {
        for (strain, seen) in &container.usage.strains {
            let nanos = u64::try_from(seen.last.as_nanosecond()).unwrap_or(0);
            container.sample(text, name, Some(("strain", strain.as_str())), seconds(nanos));
        }
    }
}

impl Measured<'_> {
    fn sample(&self, text: &mut Exposition, name: &str, label: Option<(&str, &str)>, value: f64) {
        let Measured { pod, usage } = self;
        let who = &pod.usage.pod;
        let unknown = (String::new(), 0);
        let (image, attempt) = pod.runs.get(&usage.container).unwrap_or(&unknown);
        let id = format!("/pod{}/{}-{attempt}", who.uid, usage.container);
        // As in the container's status, without the runtime's name.
        let run = format!("{}/{}/{attempt}", who.uid, usage.container);
        let mut labels = vec![("container", usage.container.as_str())];
        labels.extend(label);
        labels.extend([
            ("id", id.as_str()),
            ("image", image.as_str()),
            ("name", run.as_str()),
            ("namespace", who.namespace.as_str()),
            ("pod", who.name.as_str()),
        ]);
        // `strain` sorts last.
        labels.sort_by_key(|(label, _)| *label);
        text.sample(name, &labels, value, Some(pod.usage.at));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{has, scene};
    use super::*;

    #[test]
    fn counters_are_in_the_references_words() {
        let text = render(&scene());
        let labels = r#"id="/podu-1/app-2",image="busybox:1.35",name="u-1/app/2",namespace="shop",pod="cart""#;
        has(
            &text,
            &[
                "# TYPE container_cpu_usage_seconds_total counter",
                &format!(r#"container_cpu_usage_seconds_total{{container="app",cpu="total",{labels}}} 2.5 2000000"#),
                &format!(r#"container_cpu_cfs_periods_total{{container="app",{labels}}} 100 2000000"#),
                &format!(r#"container_cpu_cfs_throttled_periods_total{{container="app",{labels}}} 30 2000000"#),
                &format!(r#"container_memory_working_set_bytes{{container="app",{labels}}} 50331648 2000000"#),
                &format!(r#"container_oom_events_total{{container="app",{labels}}} 3 2000000"#),
                &format!(r#"container_pressure_cpu_waiting_seconds_total{{container="app",{labels}}} 3 2000000"#),
                &format!(r#"container_pressure_memory_stalled_seconds_total{{container="app",{labels}}} 0.5 2000000"#),
                &format!(r#"container_start_time_seconds{{container="app",{labels}}} 1000 2000000"#),
                &format!(r#"supple_container_strains_total{{container="app",{labels},strain="MemoryHigh"}} 2 2000000"#),
                "machine_cpu_cores 2",
            ],
        );
        // What the kernel does not say is no zero.
        assert!(!text.contains("container_pressure_io_waiting_seconds_total{"), "{text}");
    }

    #[test]
    fn every_family_is_announced_once() {
        let text = render(&scene());
        let mut announced: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("# TYPE ")).collect();
        let all = announced.len();
        announced.sort_unstable();
        announced.dedup();
        assert_eq!(announced.len(), all);
    }
}
