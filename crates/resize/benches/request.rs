//! What one resize costs on the API's side, rule by rule, for a pod of two containers. The target of 3,000 resizes a second
//! leaves 333 µs for everything, so the rules may take a few.

use divan::{Bencher, black_box};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use supple_resize::{admission, defaults, qos, resources, strategy, validate};

fn main() {
    divan::main();
}

fn stored() -> Pod {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/app:1",
            "command": ["sleep", "infinity"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
            "resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "RestartContainer"},
            ],
        })
    };
    let pod = json!({
        "metadata": {"name": "pod", "namespace": "default", "labels": {"app": "a"}},
        "spec": {"nodeName": "node", "containers": [container("app"), container("log")]},
    });
    let mut pod: Pod = serde_json::from_value(pod).unwrap_or_default();
    defaults::apply(&mut pod);
    strategy::prepare_for_create(&mut pod);
    pod
}

/// The stored pod with one request changed: what a patch makes of it.
fn patched(stored: &Pod) -> Pod {
    let mut pod = stored.clone();
    let resources = pod.spec.as_mut().and_then(|spec| spec.containers[0].resources.as_mut());
    let requests = resources.and_then(|it| it.requests.as_mut());
    requests.and_then(|it| it.get_mut("cpu")).into_iter().for_each(|it| "250m".clone_into(&mut it.0));
    pod
}

/// The patched pod after its strategy.
fn prepared(stored: &Pod) -> Pod {
    let mut pod = patched(stored);
    strategy::prepare_for_resize(&mut pod, stored);
    pod
}

#[divan::bench]
fn canonicalise_and_default(bencher: Bencher) {
    let pod = patched(&stored());
    bencher.with_inputs(|| pod.clone()).bench_local_refs(|pod| {
        let _ = resources::canonicalise(pod);
        defaults::apply(pod);
    });
}

#[divan::bench]
fn prepare_for_resize(bencher: Bencher) {
    let stored = stored();
    let pod = patched(&stored);
    bencher.with_inputs(|| pod.clone()).bench_local_refs(|pod| strategy::prepare_for_resize(pod, &stored));
}

#[divan::bench]
fn validate_resize(bencher: Bencher) {
    let stored = stored();
    let new = prepared(&stored);
    bencher.bench(|| validate::resize(black_box(&new), black_box(&stored)));
}

#[divan::bench]
fn compute_qos(bencher: Bencher) {
    let stored = stored();
    bencher.bench(|| qos::compute(black_box(&stored)));
}

#[divan::bench]
fn quota_usage(bencher: Bencher) {
    let stored = stored();
    bencher.bench(|| admission::quota::usage(black_box(&stored)));
}
