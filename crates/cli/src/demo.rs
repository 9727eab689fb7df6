//! What `up --demo` puts into the cluster: five pods that each have a different reason to be resized.

use serde_json::{Value, json};
use supple_cluster::manifest::Manifest;

/// The namespace of the demonstration; it opts its pods in.
const NAMESPACE: &str = "demo";

/// The manifests; `program` is this program, which plays the workloads.
pub fn manifests(program: &str) -> Vec<Manifest> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"supple.dev/enabled": "true"}},
    });
    // Requests are what a person would have guessed; limits leave room for the minute in which nothing is resized yet.
    let pods = [
        pod(program, "steady", "steady", ("125m", "250m"), ("100Mi", "200Mi")),
        pod(program, "growing", "growing", ("50m", "100m"), ("64Mi", "128Mi")),
        pod(program, "bursts", "bursts", ("100m", "200m"), ("64Mi", "128Mi")),
        pod(program, "idle", "idle", ("200m", "400m"), ("256Mi", "512Mi")),
        pod(program, "over-provisioned", "steady", ("600m", "1200m"), ("1Gi", "2Gi")),
    ];
    std::iter::once(namespace)
        .chain(pods)
        .map(|object| Manifest { place: "the demonstration".to_owned(), object })
        .collect()
}

fn pod(program: &str, name: &str, workload: &str, cpu: (&str, &str), memory: (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "app",
                "image": "supple.dev/demo",
                "command": [program, "workload", workload],
                "resources": {
                    "requests": {"cpu": cpu.0, "memory": memory.0},
                    "limits": {"cpu": cpu.1, "memory": memory.1},
                },
            }],
        },
    })
}
