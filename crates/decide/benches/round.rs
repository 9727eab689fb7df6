//! What a round costs: a cluster of 500 nodes, 4,000 workloads and 20,000 pods. `cargo bench -p supple-decide`.

#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

#[path = "../tests/decide/stage.rs"]
mod stage;

use divan::Bencher;
use divan::counter::ItemsCount;
use supple_decide::policy::Mode;
use supple_decide::round::decide;
use supple_decide::scene::Moment;

use stage::{Stage, minutes};

const NODES: usize = 500;
const WORKLOADS: usize = 4000;
const PODS_EACH: usize = 5;

fn main() {
    divan::main();
}

/// Five pods a workload, spread over the nodes. Of ten workloads: this many want other sizes than they have.
fn cluster(of_ten: usize, mode: Mode) -> Stage {
    let mut stage = Stage::new();
    for node in 0..NODES {
        stage.node(&format!("node-{node}"), "64", "256Gi");
    }
    for workload in 0..WORKLOADS {
        let name = format!("workload-{workload}");
        let needs = match workload % 20 {
            it if it % 10 >= of_ten => "500m 600Mi",
            it if it < 10 => "250m 256Mi",
            _ => "1 1Gi",
        };
        stage.workload(&name, needs);
        stage.policy(&name, |it| it.mode.value = mode);
        for pod in 0..PODS_EACH {
            let node = format!("node-{}", (workload * PODS_EACH + pod) % NODES);
            stage.pod(&name, &format!("{name}-{pod}"), &node, "500m:1 600Mi:1200Mi");
        }
    }
    stage
}

fn round(bencher: Bencher<'_, '_>, stage: &Stage) {
    let moment = Moment { now: stage.now + minutes(1), only: None };
    let pods = ItemsCount::new(stage.scene.pods.len());
    bencher.counter(pods).bench(|| decide(divan::black_box(&stage.scene), &moment));
}

#[divan::bench]
fn all_fit(bencher: Bencher<'_, '_>) {
    round(bencher, &cluster(0, Mode::InPlace));
}

#[divan::bench]
fn a_tenth_changes(bencher: Bencher<'_, '_>) {
    round(bencher, &cluster(1, Mode::InPlace));
}

/// As on the first day: everything is to change, and waits for its turn.
#[divan::bench]
fn all_change(bencher: Bencher<'_, '_>) {
    round(bencher, &cluster(10, Mode::InPlace));
}

#[divan::bench]
fn all_change_and_nothing_may(bencher: Bencher<'_, '_>) {
    round(bencher, &cluster(10, Mode::Off));
}
