//! `/metrics/resource`: CPU and memory of containers, pods and the node, which is what metrics servers read.

use super::exposition::{Exposition, Kind, count, seconds};
use super::{Measured, PodScene, Scene, unsigned};

/// CPU time and working set of a whole pod.
fn sums(pod: &PodScene) -> (u64, u64) {
    let containers = pod.usage.containers.iter();
    containers.fold((0, 0), |(cpu, memory), it| {
        (cpu.saturating_add(it.cpu_usage_nanos), memory.saturating_add(unsigned(it.memory_working_set)))
    })
}

/// The text.
pub(super) fn render(scene: &Scene) -> String {
    let mut text = Exposition::default();
    let containers = |text: &mut Exposition, name, value: fn(&Measured<'_>) -> Option<f64>| {
        for it in scene.containers() {
            let pod = &it.pod.usage;
            let labels = [
                ("container", it.usage.container.as_str()),
                ("namespace", pod.pod.namespace.as_str()),
                ("pod", pod.pod.name.as_str()),
            ];
            if let Some(value) = value(&it) {
                text.sample(name, &labels, value, Some(pod.at));
            }
        }
    };
    let pods = |text: &mut Exposition, name, value: fn((u64, u64)) -> f64| {
        for pod in &scene.pods {
            let who = &pod.usage.pod;
            let labels = [("namespace", who.namespace.as_str()), ("pod", who.name.as_str())];
            text.sample(name, &labels, value(sums(pod)), Some(pod.usage.at));
        }
    };
    let node = scene
        .pods
        .iter()
        .map(sums)
        .fold((0, 0), |(cpu, memory): (u64, u64), it| (cpu.saturating_add(it.0), memory.saturating_add(it.1)));

    let name = "container_cpu_usage_seconds_total";
    text.family(name, Kind::Counter, "CPU time that the container used.");
    containers(&mut text, name, |it| Some(seconds(it.usage.cpu_usage_nanos)));
    let name = "container_memory_working_set_bytes";
    text.family(name, Kind::Gauge, "Working set of the container, in bytes.");
    containers(&mut text, name, |it| Some(count(unsigned(it.usage.memory_working_set))));
    let name = "container_start_time_seconds";
    text.family(name, Kind::Gauge, "When the container was started, in seconds since 1970.");
    containers(&mut text, name, |it| Some(seconds(u64::try_from(it.usage.started_at?.as_nanosecond()).ok()?)));
    text.family("node_cpu_usage_seconds_total", Kind::Counter, "CPU time that the pods of the node used.");
    text.sample("node_cpu_usage_seconds_total", &[], seconds(node.0), Some(scene.now));
    text.family("node_memory_working_set_bytes", Kind::Gauge, "Working set of the pods of the node, in bytes.");
    text.sample("node_memory_working_set_bytes", &[], count(node.1), Some(scene.now));
    let name = "pod_cpu_usage_seconds_total";
    text.family(name, Kind::Counter, "CPU time that the pod used.");
    pods(&mut text, name, |(cpu, _)| seconds(cpu));
    let name = "pod_memory_working_set_bytes";
    text.family(name, Kind::Gauge, "Working set of the pod, in bytes.");
    pods(&mut text, name, |(_, memory)| count(memory));
    text.family("resource_scrape_error", Kind::Gauge, "1 if something could not be read, else 0.");
    text.sample("resource_scrape_error", &[], 0.0, None);
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{has, scene};
    use super::*;

    #[test]
    fn containers_pods_and_node() {
        has(
            &render(&scene()),
            &[
                r#"container_cpu_usage_seconds_total{container="app",namespace="shop",pod="cart"} 2.5 2000000"#,
                r#"container_memory_working_set_bytes{container="app",namespace="shop",pod="cart"} 50331648 2000000"#,
                r#"pod_cpu_usage_seconds_total{namespace="shop",pod="cart"} 2.5 2000000"#,
                "node_memory_working_set_bytes 50331648 2000000",
                "resource_scrape_error 0",
            ],
        );
    }
}
