//! What the data side of a request costs: `cargo bench -p supple-apiserver --bench data`.

use divan::{Bencher, black_box};
use serde_json::{Value, json};
use supple_apiserver::fields::{Decoder, FieldValidation, normalise, parse_json};
use supple_apiserver::kinds::{self, Resource};
use supple_apiserver::patch::{self, PatchType};
use supple_apiserver::selector::LabelSelector;
use supple_apiserver::table::{Include, table};

fn main() {
    divan::main();
}

fn pods() -> &'static Resource {
    kinds::find("", "v1", "pods").expect("pods are served")
}

/// A pod as it stands in the store: two containers, status, conditions.
fn pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example/app:1", "command": ["sh", "-c", "sleep 1000"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
            "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        })
    };
    let status = |name: &str| {
        json!({
            "name": name, "image": "registry.example/app:1", "imageID": "i", "ready": true, "started": true, "restartCount": 1,
            "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-02T03:04:00Z"}},
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}},
            "allocatedResources": {"cpu": "100m", "memory": "128Mi"},
        })
    };
    let condition = |of: &str| json!({"type": of, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 1});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": "60c7823a-0e53-45da-8c45-b8be49f9e771", "resourceVersion": "7",
            "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [container("app"), container("log")], "nodeName": "n", "restartPolicy": "Always",
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "qosClass": "Burstable", "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready")],
            "containerStatuses": [status("app"), status("log")]},
    });
    normalise(pod, pods().shape().expect("pods have a type"), Decoder::Text).expect("well-formed").value
}

const PATCH: &str = r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"150m"}}}]}}"#;

/// The merge alone, into a pod that is already a copy.
#[divan::bench]
fn strategic_merge_of_a_resize(bencher: Bencher<'_, '_>) {
    let patch: Value = serde_json::from_str(PATCH).expect("JSON");
    let patch = patch.as_object().expect("an object").clone();
    let shape = pods().shape();
    bencher.with_inputs(|| pod().as_object().expect("an object").clone()).bench_values(|mut pod| {
        patch::strategic::merge(&mut pod, black_box(&patch), shape).expect("a good patch");
        pod
    });
}

/// Bytes to a normalised pod: parse, copy, merge, normalise.
#[divan::bench]
fn strategic_patch_of_a_resize(bencher: Bencher<'_, '_>) {
    let pod = pod();
    bencher.bench(|| {
        patch::apply(PatchType::Strategic, pods(), black_box(&pod), PATCH.as_bytes(), FieldValidation::Warn)
            .expect("a good patch")
    });
}

#[divan::bench]
fn copy_of_a_pod(bencher: Bencher<'_, '_>) {
    let pod = pod();
    bencher.bench(|| black_box(&pod).clone());
}

#[divan::bench]
fn parse_and_normalise_a_pod(bencher: Bencher<'_, '_>) {
    let text = pod().to_string();
    let shape = pods().shape().expect("pods have a type");
    bencher.bench(|| {
        let parsed = parse_json(black_box(text.as_bytes())).expect("JSON");
        normalise(parsed.value, shape, Decoder::Text).expect("well-formed")
    });
}

/// One row, without the cost of bringing another pod into the cache.
#[divan::bench]
fn row_of_a_pod(bencher: Bencher<'_, '_>) {
    let pod = pod();
    let now = "2026-01-03T00:00:00Z".parse().expect("a timestamp");
    bencher.bench(|| (pods().printer.cells)(black_box(&pod), now));
}

/// Ten times the pods must cost ten times the time.
#[divan::bench(args = [1_000, 10_000])]
fn table_of_pods(bencher: Bencher<'_, '_>, count: usize) {
    let pods_of: Vec<Value> = vec![pod(); count];
    let now = "2026-01-03T00:00:00Z".parse().expect("a timestamp");
    bencher.bench(|| table(pods(), black_box(&pods_of), json!({}), Include::Metadata, true, now));
}

#[divan::bench]
fn label_selector(bencher: Bencher<'_, '_>) {
    let pod = pod();
    bencher.bench(|| {
        LabelSelector::parse(black_box("app=web,tier in (front,back),!legacy")).expect("a selector").matches(&pod)
    });
}
