//! One run of one container, as this process sees it: which it is to the container runtime, and where it is.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::cgroup::{Group, Role};
use crate::runtime::ground::{end_of, lock};
use crate::runtime::rate::Rate;
use crate::runtime::strain::Suffered;
use crate::runtime::{ContainerRef, Exit, RunState};

/// Where a run is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// It runs since.
    Running(jiff::Timestamp),
    /// It is over.
    Ended(Exit),
}

/// One run of a container.
#[derive(Debug)]
pub struct Run {
    /// Who it is.
    pub id: ContainerRef,
    /// Its name to the container runtime.
    pub container: String,
    /// Where it is; changes are seen by everyone who waits.
    pub phase: watch::Sender<Phase>,
    /// CPU readings.
    pub rate: Mutex<Rate>,
    /// What the kernel told of it.
    pub suffered: Arc<Mutex<Suffered>>,
    /// OOM kills that have been told.
    pub oom_kills: Mutex<u64>,
    /// When the kernel last told of an OOM kill in it.
    pub kill_heard_at: Mutex<Option<jiff::Timestamp>>,
    /// Its cgroup, once it has been found.
    group: Mutex<Option<Group>>,
}

impl Run {
    /// A run in `phase`.
    pub fn new(id: ContainerRef, container: String, phase: Phase) -> Self {
        Self {
            id,
            container,
            phase: watch::Sender::new(phase),
            rate: Mutex::default(),
            suffered: Arc::default(),
            oom_kills: Mutex::default(),
            kill_heard_at: Mutex::default(),
            group: Mutex::default(),
        }
    }

    /// Whether it still runs, and since when.
    pub fn running(&self) -> Option<jiff::Timestamp> {
        match &*self.phase.borrow() {
            Phase::Running(since) => Some(*since),
            Phase::Ended(_) => None,
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        match &*self.phase.borrow() {
            Phase::Running(_) => None,
            Phase::Ended(exit) => Some(exit.clone()),
        }
    }

    /// Its state in the house's words.
    pub fn state(&self) -> RunState {
        match &*self.phase.borrow() {
            Phase::Running(started_at) => RunState::Running { started_at: *started_at, pid: None },
            Phase::Ended(exit) => RunState::Exited(exit.clone()),
        }
    }

    /// Wait until it is over.
    pub async fn ended(&self) -> Exit {
        end_of(&self.phase, |phase| match phase {
            Phase::Ended(exit) => Some(exit.clone()),
            Phase::Running(_) => None,
        })
        .await
    }

    /// Its cgroup in the pod's: the container runtime named it after the container, each in its own way
    /// (`ID`, `cri-containerd-ID.scope`, `crio-ID`).
    pub fn group(&self, pod: &Group) -> Option<Group> {
        let mut known = lock(&self.group);
        if known.is_none() {
            let names = pod.children().ok()?;
            *known = names.iter().find(|it| it.contains(&self.container)).map(|it| pod.child(it, Role::Container));
        }
        known.clone()
    }
}
