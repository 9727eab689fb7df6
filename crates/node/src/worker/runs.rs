//! What the worker knows of a pod's containers: the newest run of each, the one before, and why it is not running.

use jiff::Timestamp;
use supple_resize::few::Few;

use crate::backoff::Backoff;
use crate::runtime::Exit;

/// How a run ended, as the API tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Which run.
    pub(crate) attempt: u32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, ….
    pub(crate) reason: String,
    /// What to say beyond the reason.
    pub(crate) message: Option<String>,
    /// The facts.
    pub(crate) exit: Exit,
}

impl Ended {
    /// The end of a run, with the reason the kubelet gives for such an exit.
    pub(crate) fn of(attempt: u32, exit: Exit) -> Self {
        let reason = match &exit {
            Exit { oom_killed: true, .. } => "OOMKilled",
            Exit { code: 0, .. } => "Completed",
            _ => "Error",
        };
        Self { attempt, reason: reason.into(), message: None, exit }
    }

    /// A run that could not begin: the kubelet's `StartError`, exit code 128.
    pub(crate) fn start_error(attempt: u32, message: String, at: Timestamp) -> Self {
        let exit = Exit { code: 128, signal: None, oom_killed: false, started_at: at, finished_at: at };
        Self { attempt, reason: "StartError".into(), message: Some(message), exit }
    }
}

/// The newest run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Its process runs.
    Running {
        /// Which run.
        attempt: u32,
        /// Since when.
        started_at: Timestamp,
    },
    /// It has ended.
    Ended(Ended),
}

impl Run {
    /// Its number.
    pub(crate) fn attempt(&self) -> u32 {
        match self {
            Self::Running { attempt, .. } | Self::Ended(Ended { attempt, .. }) => *attempt,
        }
    }
}

/// Why a container is not running although it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `CrashLoopBackOff`, `ErrImageNeverPull`, ….
    pub(crate) reason: String,
    /// More words.
    pub(crate) message: Option<String>,
}

/// An image that could not be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullFailed {
    /// When.
    pub(crate) at: Timestamp,
    /// What the registry, or the way there, said.
    pub(crate) message: String,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    /// The newest run; `None` if it never ran.
    pub(crate) run: Option<Run>,
    /// How the run before the newest ended.
    pub(crate) previous: Option<Ended>,
    /// Why it waits to be started.
    pub(crate) waiting: Option<Waiting>,
    /// Grows with each restart.
    pub(crate) backoff: Backoff,
    /// It was stopped in order to be started with other resources: no back-off, whatever the restart policy.
    pub(crate) restart_now: bool,
    /// A start that failed before there was a run (image, configuration) is not tried again before this.
    pub(crate) not_before: Option<Timestamp>,
    /// Attempt of a run whose start was answered with an error: nobody knows whether it runs.
    pub(crate) doubtful: Option<u32>,
    /// Grows with each time its image could not be pulled.
    pub(crate) pulls: Backoff,
    /// The last of them.
    pub(crate) pull_failed: Option<PullFailed>,
    /// Attempt of a run that a node before this one knew of and that left no trace: numbers go on behind it.
    pub(crate) lost_attempt: Option<u32>,
}

impl Container {
    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.run, Some(Run::Running { .. }))
    }

    /// How its newest run ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.run {
            Some(Run::Ended(ended)) => Some(ended),
            _ => None,
        }
    }

    /// The number of its next run.
    pub(crate) fn next_attempt(&self) -> u32 {
        match (&self.run, self.lost_attempt) {
            (Some(run), _) => run.attempt().saturating_add(1),
            (None, Some(lost)) => lost.saturating_add(1),
            (None, None) => 0,
        }
    }

    /// `restartCount`: the number of its newest run.
    pub(crate) fn restarts(&self) -> u32 {
        self.run.as_ref().map(Run::attempt).or(self.lost_attempt).unwrap_or(0)
    }

    /// A new run has begun (or failed to).
    pub(crate) fn began(&mut self, run: Run) {
        if let Some(Run::Ended(ended)) = self.run.take() {
            self.previous = Some(ended);
        }
        self.run = Some(run);
        self.waiting = None;
        self.not_before = None;
        self.pull_failed = None;
        self.pulls.reset();
        self.restart_now = false;
    }

    /// The newest run has ended. An end of any other run is old news and changes nothing.
    pub(crate) fn has_ended(&mut self, attempt: u32, exit: Exit) -> bool {
        match &self.run {
            Some(Run::Running { attempt: current, .. }) if *current == attempt => {
                self.run = Some(Run::Ended(Ended::of(attempt, exit)));
                true
            }
            _ => false,
        }
    }
}

/// All containers of a pod, init containers among them, by name.
pub(crate) type Containers = Few<String, Box<Container>>;
