//! One run of one container, as this process sees it: its phase, and how it is stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use super::error;
use crate::cgroup::Group;
use crate::runtime::ground::end_of;
use crate::runtime::rate::Rate;
use crate::runtime::strain::Suffered;
use crate::runtime::{ContainerRef, Exit, RunState, RuntimeError};
use crate::shim::record::{End, ProcessId, RunDir, Started};

/// How long a killed container may take to be gone: the shim gives up on the dead earlier.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a run is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Its shim has been started; its command not yet.
    Starting,
    /// Its command runs.
    Running(Started),
    /// It is over.
    Ended(Exit),
}

/// One run of a container.
#[derive(Debug)]
pub struct Run {
    /// Who it is.
    pub id: ContainerRef,
    /// Its records and log.
    pub dir: RunDir,
    /// Its cgroup.
    pub group: Group,
    /// Where it is; changes are seen by everyone who waits.
    pub phase: watch::Sender<Phase>,
    /// CPU readings.
    pub rate: Mutex<Rate>,
    /// What the kernel told of it.
    pub suffered: Arc<Mutex<Suffered>>,
    /// SIGTERM has been sent; a second one could end a handler that is at work.
    asked_to_stop: AtomicBool,
}

impl Run {
    /// A run in `phase`.
    pub fn new(id: ContainerRef, dir: RunDir, group: Group, phase: Phase) -> Self {
        let phase = watch::Sender::new(phase);
        let (rate, suffered) = (Mutex::default(), Arc::default());
        Self { id, dir, group, phase, rate, suffered, asked_to_stop: AtomicBool::new(false) }
    }

    /// Its state in the runtime's words; a run that is being started counts as running since now.
    pub fn state(&self) -> RunState {
        match &*self.phase.borrow() {
            Phase::Starting => RunState::Running { started_at: jiff::Timestamp::now(), pid: None },
            Phase::Running(started) => RunState::Running { started_at: started.at, pid: Some(started.process.pid) },
            Phase::Ended(exit) => RunState::Exited(exit.clone()),
        }
    }

    /// Wait until it is over.
    pub async fn ended(&self) -> Exit {
        end_of(&self.phase, |phase| match phase {
            Phase::Ended(exit) => Some(exit.clone()),
            Phase::Starting | Phase::Running(_) => None,
        })
        .await
    }

    /// SIGTERM to its first process, SIGKILL to everything in its cgroup after `grace`. May be dropped and called
    /// again: the signal is sent once.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, RuntimeError> {
        let process = match &*self.phase.borrow() {
            Phase::Ended(exit) => return Ok(exit.clone()),
            Phase::Starting => None,
            Phase::Running(started) => Some(started.process),
        };
        if !grace.is_zero() {
            if let Some(process) = process
                && !self.asked_to_stop.swap(true, Ordering::Relaxed)
            {
                signal(process, Signal::TERM);
            }
            if let Ok(exit) = tokio::time::timeout(grace, self.ended()).await {
                return Ok(exit);
            }
        }
        self.kill().await?;
        tokio::time::timeout(PATIENCE, self.ended()).await.map_err(|_| RuntimeError {
            reason: "StillRunning",
            operation: "kill".into(),
            object: error::describe(&self.id),
            message: format!("its processes are still there after {} s; one hangs in the kernel", PATIENCE.as_secs()),
        })
    }

    /// SIGKILL to everything in its cgroup.
    pub async fn kill(&self) -> Result<(), RuntimeError> {
        let group = self.group.clone();
        let killed = tokio::task::spawn_blocking(move || group.kill()).await.map_err(|lost| error::task(&lost))?;
        killed.map_err(|it| error::cgroup(&it))
    }
}

/// Send a signal to a process, unless its PID belongs to another one by now.
fn signal(process: ProcessId, signal: Signal) {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return };
    // Checked after the handle was taken: from here on it names this process and no other.
    if process.is_still_there() {
        // It may end at this very moment: then there is nothing to signal.
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// How the shim's record reads in the runtime's words.
pub fn exit(end: &End) -> Exit {
    Exit {
        code: end.code,
        signal: end.signal,
        oom_killed: end.oom_kills > 0,
        started_at: end.started_at,
        finished_at: end.finished_at,
    }
}
