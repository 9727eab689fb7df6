//! Waiting for the end of a run, started or adopted: the shim's process ends, its record says how.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::io::Interest;

use super::error;
use super::machine::Machine;
use super::run::{self, Phase, Run};
use crate::cgroup::MemoryEvents;
use crate::kernel::readiness;
use crate::runtime::{Exit, RuntimeEvent, ground};
use crate::shim::record::{self, End};

/// Exit code and signal of a container whose shim was killed with it: the kernel killed the container as well.
const KILLED: (i32, i32) = (137, 9);

/// Wait for the end of the shim behind `pidfd` and tell of it; until then listen to what its container suffers beyond
/// what has been `seen`.
pub fn spawn(machine: Arc<Machine>, run: Arc<Run>, pidfd: OwnedFd, seen: MemoryEvents) {
    tokio::spawn(async move {
        tokio::select! {
            () = reap(pidfd) => {}
            // Nothing more will be heard; the end is still to come.
            () = async {
                machine.listener(&run).listen(seen).await;
                std::future::pending().await
            } => {}
        }
        finish(&machine, &run).await;
    });
}

/// Wait until the process has ended, and take it from the process table if it is a child of ours.
pub async fn reap(pidfd: OwnedFd) {
    match readiness(pidfd, Interest::READABLE) {
        Ok(fd) => {
            // An error means that the runtime shuts down: then nobody waits for the answer.
            let _ = fd.readable().await;
            // An adopted shim is not a child of ours (ECHILD): somebody else reaps it.
            let _ = waitid(WaitId::PidFd(fd.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        Err(error) => tracing::error!(%error, "could not wait for a shim; its container is taken to have ended"),
    }
}

/// The shim has ended: learn how the container did, remove its cgroup, tell.
pub async fn finish(machine: &Machine, run: &Run) {
    let exit = match record::read::<End>(&run.dir.exit()) {
        Ok(Some(end)) => run::exit(&end),
        Ok(None) => lost(run, "its shim was killed"),
        Err(error) => lost(run, &format!("its exit record cannot be read: {error}")),
    };
    if let Err(it) = ground::end(run.group.clone()).await {
        tracing::warn!(container = %error::describe(&run.id), error = %it, "could not remove the cgroup of an ended container");
    }
    run.phase.send_replace(Phase::Ended(exit.clone()));
    machine.tell(RuntimeEvent::Exited(run.id.clone(), exit));
}

/// Like [`finish`] for a run that ended before this process began: whoever recovers it tells of it.
pub fn finish_silently(run: &Run) {
    let exit = lost(run, "it ended with its shim before this program began");
    run.phase.send_replace(Phase::Ended(exit));
}

fn lost(run: &Run, why: &str) -> Exit {
    tracing::warn!(container = %error::describe(&run.id), why, "the exact end of a container is unknown; it counts \
     as killed");
    let now = jiff::Timestamp::now();
    let started_at = match &*run.phase.borrow() {
        Phase::Running(started) => started.at,
        Phase::Starting | Phase::Ended(_) => now,
    };
    let (code, signal) = KILLED;
    let end = End {
        code,
        signal: Some(signal),
        oom_kills: run.group.oom_kills().unwrap_or(0),
        started_at,
        finished_at: now,
        failed: None,
    };
    // So that the next start says the same; if this cannot be written either, it says so then.
    let _ = record::write(&run.dir.exit(), &end);
    run::exit(&end)
}
