//! The pods in `examples/`, of the kinds that the field's guides show: they run unchanged and are resized.

use super::cluster::{Kubectl, Up, good, lacking};

fn example(name: &str) -> String {
    format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A cluster with the example running; real processes where the machine allows them.
fn running(file: &str, pod: &str) -> Option<(Up, Kubectl)> {
    let up = Up::new("auto");
    if !up.announced.iter().any(|it| it.starts_with("runtime     process")) {
        lacking("writable cgroups");
    }
    let kubectl = Kubectl::of(&up)?;
    kubectl.good(["create", "-f", &example(file)]);
    kubectl.ready(pod);
    Some((up, kubectl))
}

fn restarts(kubectl: &Kubectl, pod: &str) -> String {
    kubectl.path(&format!("pod/{pod}"), "{.status.containerStatuses[*].restartCount}")
}

#[test]
fn inference_is_resized_without_a_restart() {
    let Some((up, kubectl)) = running("inference.yaml", "inference") else { return };
    let said = good(&up.supple(["resize", "pod/inference", "--cpu", "400m:800m", "--memory", "384Mi:768Mi"]));
    assert!(said.contains("(no restart)"), "{said}");
    assert_eq!(restarts(&kubectl, "inference"), "0");
    // What the runtime does not act on is said once.
    let path = "{range .items[?(@.involvedObject.name==\"inference\")]}{.reason}: {.message}{\"\\n\"}{end}";
    let events = kubectl.good(["get", "events", "-o", &format!("jsonpath={path}")]);
    let ignored: Vec<&str> = events.lines().filter(|it| it.contains("probe") && it.contains("volume")).collect();
    assert_eq!(ignored.len(), 1, "{events}");
}

#[test]
fn database_restarts_for_memory_and_not_for_cpu() {
    let Some((up, kubectl)) = running("database.yaml", "database") else { return };
    assert!(good(&up.supple(["resize", "pod/database", "--cpu", "300m:600m"])).contains("(no restart)"));
    assert_eq!(restarts(&kubectl, "database"), "0");
    assert!(good(&up.supple(["resize", "pod/database", "--memory", "384Mi:768Mi"])).contains("(restarted db)"));
    assert_eq!(restarts(&kubectl, "database"), "1");
    assert!(good(&up.supple(["undo", "pod/database"])).contains("memory 384Mi:768Mi → 256Mi:512Mi (restarted db)"));
}

#[test]
fn the_sidecar_of_the_processor_is_resized_alone() {
    let Some((up, kubectl)) = running("processor.yaml", "processor") else { return };
    let said = good(&up.supple(["resize", "pod/processor", "-c", "log-shipper", "--cpu", "80m:160m"]));
    assert!(said.contains("log-shipper: cpu 50m:100m → 80m:160m (no restart)"), "{said}");
    assert_eq!(kubectl.path("pod/processor", "{.status.initContainerStatuses[0].resources.limits.cpu}"), "160m");
    assert_eq!(kubectl.path("pod/processor", "{.status.containerStatuses[0].resources.limits.cpu}"), "400m");
    assert_eq!(restarts(&kubectl, "processor"), "0");
}

#[test]
fn two_containers_are_resized_in_one_patch() {
    let Some((_up, kubectl)) = running("pair.yaml", "pair") else { return };
    kubectl.good(["patch", "pod", "pair", "--subresource", "resize", "--patch-file", &example("pair-patch.yaml")]);
    kubectl.good([
        "wait",
        "pod/pair",
        "--for=jsonpath={.status.containerStatuses[0].resources.limits.cpu}=350m",
        "--timeout=60s",
    ]);
    kubectl.good([
        "wait",
        "pod/pair",
        "--for=jsonpath={.status.containerStatuses[1].resources.limits.cpu}=150m",
        "--timeout=60s",
    ]);
    assert_eq!(restarts(&kubectl, "pair"), "0 0");
    assert_eq!(kubectl.path("pod/pair", "{.status.qosClass}"), "Guaranteed");
}
