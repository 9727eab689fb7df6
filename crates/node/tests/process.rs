//! The process runtime on this machine's real cgroups: containers run, end, are limited, resized, killed and adopted.

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use supple_node::runtime::{ContainerRef, LogOptions, RunState, Runtime as _, RuntimeEvent};
use supple_resize::kernel::CgroupResources;
use support::{Lab, next, sh};

/// A container runs `script` to its end: this exit code, signal and log.
async fn check(script: &str, code: i32, signal: Option<i32>, log: &str) {
    let Some(lab) = Lab::new() else { return };
    let (exit, said) = lab.run(script).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (code, signal, false), "{script}");
    assert_eq!(said, log, "{script}");
    assert!(exit.started_at <= exit.finished_at);
}

#[tokio::test]
async fn the_exit_code_is_exact() {
    check("echo out; echo err >&2; exit 0", 0, None, "out\nerr\n").await;
    check("exit 37", 37, None, "").await;
    check("printf 'no line end'; exit 1", 1, None, "no line end\n").await;
}

#[tokio::test]
async fn a_signal_is_128_and_its_number() {
    // A shell of its own: the first process of a PID namespace cannot kill itself.
    check("sh -c 'kill -SEGV $$'; exit $?", 139, None, "Segmentation fault\n").await;
}
