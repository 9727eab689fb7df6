//! What one resize costs on the node's side, rule by rule, for a pod of two containers, and what a forecast of it costs. The
//! node owes a resize in two milliseconds, most of which the disk takes.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::actuate::{self, Actuated, Situation};
use supple_resize::allocate::{Allocation, Capacity, NodeView, Used, decide};
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::predict::{Change, NamespaceSight, NodeSight, Sizes, predict};
use supple_resize::{defaults, strategy};

fn main() {
    divan::main();
}

fn pod(cpu: &str, memory: &str) -> Pod {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.example/app:1",
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePolicy": "File",
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": memory}},
        })
    };
    let pod = json!({
        "metadata": {"name": "pod", "namespace": "default"},
        "spec": {"nodeName": "node", "containers": [container("app"), container("log")]},
    });
    let mut pod: Pod = serde_json::from_value(pod).unwrap_or_default();
    defaults::apply(&mut pod);
    strategy::prepare_for_create(&mut pod);
    pod
}

fn node() -> NodeView {
    let allocatable = Capacity { cpu: MilliCpu(64_000), memory: Bytes(256 << 30), pods: 1000 };
    NodeView { allocatable, ..NodeView::default() }
}

#[divan::bench]
fn decide_one(bencher: Bencher) {
    let (old, new) = (Allocation::of(&pod("100m", "128Mi")), pod("150m", "256Mi"));
    let others = Used { cpu: MilliCpu(20_000), memory: Bytes(64 << 30), pods: 199 };
    bencher.bench(|| decide(black_box(&new), &old, &node(), &others));
}

#[divan::bench]
fn sum_200_other_pods(bencher: Bencher) {
    let other = pod("100m", "128Mi");
    let allocation = Allocation::of(&other);
    bencher.bench(|| {
        let mut used = Used::default();
        (0..200).for_each(|_| used.add(black_box(&other), &allocation));
        used
    });
}

#[divan::bench]
fn plan_one(bencher: Bencher) {
    let (old, new) = (pod("100m", "128Mi"), pod("150m", "256Mi"));
    let mut actuated = Actuated::default();
    actuated.pod_created(actuate::pod_amounts(&old));
    let mut running = BTreeMap::new();
    for name in ["app", "log"] {
        actuated.container_starting(name, actuate::container_amounts(&old, name).unwrap_or_default());
        running.insert(name.to_owned(), CgroupResources::default());
    }
    let cgroup = CgroupResources::of(&actuate::pod_amounts(&old), DEFAULT_PERIOD_US);
    let situation =
        Situation { pod: &new, actuated: &actuated, running: &running, cgroup, period_us: DEFAULT_PERIOD_US };
    bencher.bench(|| actuate::plan(black_box(&situation)));
}

#[divan::bench]
fn predict_one(bencher: Bencher) {
    let pod = pod("100m", "128Mi");
    let sizes = Sizes { cpu_request: Some(supple_quantity::Quantity::milli_units(150)), ..Sizes::default() };
    let change = Change::of_container("app", sizes);
    let sight = NodeSight { view: node(), others: Some(Used::default()), ..NodeSight::default() };
    bencher.bench(|| predict(black_box(&pod), &change, &sight, &NamespaceSight::default(), None));
}
