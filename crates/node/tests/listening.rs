//! What it costs to listen to what many containers suffer. A program of its own, because it counts its descriptors.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::fs;
use std::time::Duration;

use supple_node::runtime::Runtime as _;
use support::{Lab, PATIENCE};

/// No thread of ours for any of them, and nothing left open afterwards. The rest is printed, not judged.
#[tokio::test]
async fn many_are_listened_to() {
    const COUNT: usize = 200;
    let Some(lab) = Lab::new() else { return };
    let before = (threads(), descriptors(), triggers());
    let mut ids = Vec::new();
    for number in 0..COUNT {
        let pod = lab.pod(&format!("many-{number}")).await;
        ids.push(lab.sh(&pod, "sleep 1000").await);
    }
    assert!(threads() <= before.0 + 8, "no thread for each container: {} and now {}", before.0, threads());
    let of_each = (descriptors() - before.1) / ids.len();
    println!(
        "{COUNT} containers: {of_each} descriptors each, {} threads of the kernel for triggers",
        triggers() - before.2
    );
    for id in &ids {
        lab.runtime.stop_container(id, Duration::ZERO).await.unwrap();
        lab.runtime.remove_pod(&id.pod).await.unwrap();
    }
    // The last descriptors go with tasks that are being dropped.
    let gone = tokio::time::timeout(PATIENCE, async {
        while descriptors() > before.1 + 4 {
            tokio::task::yield_now().await;
        }
    });
    assert!(gone.await.is_ok(), "{} descriptors were open, {} are now", before.1, descriptors());
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Kernel threads that look after triggers.
fn triggers() -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|it| fs::read_to_string(it.path().join("comm")).is_ok_and(|comm| comm.trim() == "psimon")).count()
}
