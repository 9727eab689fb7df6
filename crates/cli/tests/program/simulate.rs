//! Simulated clusters, seen from outside: many nodes, their workloads, their usage, and a clock that runs faster.

use serde_json::Value;

use super::cluster::{Kubectl, Up, eventually};

/// One word of each pod of the cluster.
fn of_all_pods(kubectl: &Kubectl, path: &str) -> Vec<String> {
    let template = format!("jsonpath={{range .items[*]}}{{{path}}}{{\"\\n\"}}{{end}}");
    let said = kubectl.good(["get", "pods", "-A", "-o", &template]);
    said.lines().map(str::to_owned).collect()
}

fn all_run(kubectl: &Kubectl, count: usize) {
    eventually("all pods run", || {
        let phases = of_all_pods(kubectl, ".status.phase");
        (phases.len() == count && phases.iter().all(|it| it == "Running")).then_some(())
    });
}

#[test]
fn many_nodes_and_what_runs_on_them() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::simulated(dir.path(), &["--simulate", "nodes=5,pods=60", "--no-loop"]);
    let announced = up.announced.join("\n");
    assert!(announced.contains("nodes       5 of cpu ") && announced.contains(": 60 pods in "), "{announced}");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let nodes = kubectl.good(["get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().collect::<Vec<_>>(), [1, 2, 3, 4, 5].map(|it| format!("node/node-{it}")));
    all_run(&kubectl, 60);
    let mut used = of_all_pods(&kubectl, ".spec.nodeName");
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 5, "every node has some: {used:?}");
    // Each node tells of its own pods, and all of them together of all.
    let all: usize = nodes.lines().map(|node| pods_of(&kubectl, node)).sum();
    assert_eq!(all, 60);
    eventually("all pods are measured", || {
        let metrics = kubectl.good(["get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"]);
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        (metrics["items"].as_array().unwrap().len() == 60).then_some(())
    });
    let logs = of_all_pods(&kubectl, ".metadata.namespace");
    let names = of_all_pods(&kubectl, ".metadata.name");
    let log = kubectl.good(["logs", "-n", &logs[0], &names[0], "-c", "app"]);
    assert!(log.starts_with("simulated, nothing is executed"), "{log}");
    assert_eq!(up.stop().1, Some(0));
    assert!(!dir.path().join("store.redb").exists(), "it is kept in memory");
}

/// How many pods a node tells of when it is asked itself.
fn pods_of(kubectl: &Kubectl, node: &str) -> usize {
    let name = node.trim_start_matches("node/");
    let summary = kubectl.good(["get", "--raw", &format!("/api/v1/nodes/{name}/proxy/stats/summary")]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["node"]["nodeName"], name);
    summary["pods"].as_array().unwrap().len()
}

#[test]
fn a_recording_is_played() {
    let dir = tempfile::tempdir().unwrap();
    let usage = dir.path().join("usage.csv");
    let mut text = "time,namespace,workload,pod,container,cpu_cores,memory_bytes\n".to_owned();
    for second in 0..60 {
        let time = second * 60;
        text.push_str(&format!("{time},shop,web,web-a,app,0.25,104857600\n{time},shop,web,web-b,app,0.5,52428800\n"));
    }
    std::fs::write(&usage, text).unwrap();
    let usage = usage.to_str().unwrap();
    let up = Up::simulated(&dir.path().join("data"), &["--simulate", "nodes=2", "--usage", usage, "--no-loop"]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    all_run(&kubectl, 2);
    assert_eq!(of_all_pods(&kubectl, ".metadata.name"), ["web-0", "web-1"]);
    assert_eq!(of_all_pods(&kubectl, ".spec.containers[0].resources.requests.cpu"), ["600m", "600m"]);
    let usage = eventually("both are measured", || {
        let metrics = kubectl.good(["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"]);
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        let items = metrics["items"].as_array().unwrap().clone();
        (items.len() == 2).then_some(items)
    });
    // Whole millicores: it is measured as a counter is, to the nanosecond.
    let of = |pod: usize| {
        let usage = &usage[pod]["containers"][0]["usage"];
        let cpu: f64 = usage["cpu"].as_str().unwrap().trim_end_matches('n').parse().unwrap();
        ((cpu / 1e6).round(), usage["memory"].as_str().unwrap().to_owned())
    };
    assert_eq!(of(0), (250.0, "102400Ki".to_owned()));
    assert_eq!(of(1), (500.0, "51200Ki".to_owned()));
}

#[test]
fn the_clock_runs_faster_and_the_loop_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::simulated(dir.path(), &["--simulate", "nodes=1,pods=12", "--speed", "600"]);
    assert!(up.announced.iter().any(|it| it.starts_with("clock       600 times as fast")), "{:?}", up.announced);
    // A pod that asks for less than it needs is raised when it has started, and watched for five minutes: here, a moment.
    up.read_until("Resized");
    assert_eq!(up.stop().1, Some(0));
}
