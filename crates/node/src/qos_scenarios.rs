//! Memory QoS on a [`Stage`]: what is written when, from a pod's start over its resizes to a restart of the node.

use std::time::Duration;

use serde_json::{Value, json};
use supple_resize::memory_qos::{MemoryQos, Reservation};

use crate::testing::Stage;

const QUIET: Duration = Duration::from_millis(50);

const TIERED: MemoryQos = MemoryQos { throttling_permille: Some(900), reservation: Reservation::Tiered };

fn app(request: &str, limit: &str) -> Value {
    let list = |memory| json!({ "cpu": "100m", "memory": memory });
    json!({ "containers": [{ "name": "app", "resources": { "requests": list(request), "limits": list(limit) } }] })
}

async fn running(stage: &mut Stage) {
    stage.until("running", |it| it.status("a", "/phase") == "Running").await;
    stage.quiet(QUIET).await;
}

/// A pod with this size is started and then resized: the writes of both.
async fn check(qos: MemoryQos, from: (&str, &str), to: (&str, &str), started: &[&str], resized: &[&str]) {
    let mut stage = Stage::with(qos);
    stage.create("a", app(from.0, from.1));
    running(&mut stage).await;
    assert_eq!(stage.lines(&["write", "start"]), started, "the start");
    stage.clear();
    stage.resize("a", |spec| *spec = app(to.0, to.1));
    stage.quiet(QUIET).await;
    assert_eq!(stage.lines(&["write"]), resized, "the resize");
}

#[tokio::test(start_paused = true)]
async fn protection_grows_before_containers_and_shrinks_after_them() {
    check(
        TIERED,
        ("64Mi", "128Mi"),
        ("96Mi", "256Mi"),
        &[
            "write a shares=102 quota=10000 memory=128Mi min=0Mi low=64Mi",
            "start a/app#0 memory=128Mi min=0Mi low=64Mi high=121Mi",
        ],
        &["write a min=0Mi low=96Mi", "write a memory=256Mi", "write a/app#0 memory=256Mi min=0Mi low=96Mi high=240Mi"],
    )
    .await;
    check(
        TIERED,
        ("96Mi", "256Mi"),
        ("32Mi", "128Mi"),
        &[
            "write a shares=102 quota=10000 memory=256Mi min=0Mi low=96Mi",
            "start a/app#0 memory=256Mi min=0Mi low=96Mi high=240Mi",
        ],
        &["write a/app#0 memory=128Mi min=0Mi low=32Mi high=118Mi", "write a min=0Mi low=32Mi", "write a memory=128Mi"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_it_nothing_of_it_is_written() {
    check(
        MemoryQos::default(),
        ("64Mi", "128Mi"),
        ("96Mi", "128Mi"),
        &["write a shares=102 quota=10000 memory=128Mi", "start a/app#0 memory=128Mi"],
        &[],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_asked_for_something_else_brings_it_about() {
    let mut stage = Stage::with(TIERED);
    stage.create("a", app("64Mi", "128Mi"));
    running(&mut stage).await;
    let mut stage = stage.restarted_with(MemoryQos::default());
    stage.clear();
    stage.quiet(QUIET).await;
    assert_eq!(stage.lines(&["write"]), ["write a low=0Mi", "write a/app#0 low=0Mi high=-1Mi"]);
    let mut stage = stage.restarted_with(MemoryQos { throttling_permille: Some(500), ..MemoryQos::default() });
    stage.clear();
    stage.quiet(QUIET).await;
    assert_eq!(stage.lines(&["write"]), ["write a/app#0 high=96Mi"]);
}
