//! The state of one pod on this node, as a plain struct, and how what the worker is told changes it. No IO.

use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use supple_resize::actuate::Actuated;
use supple_resize::allocate::Allocation;
use supple_resize::condition::{Pending, ResizeConditions};

use super::lifecycle::Outcome;
use super::runs::{Container, Containers, Run};
use crate::backoff::Backoff;
use crate::checkpoint::Records;
use crate::feed::Followed;
use crate::runtime::{ContainerRef, Exit, RunState, Strain};
use crate::status::{Failure, Since, since};

/// What a worker is told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// The API has the pod so now.
    Changed(Followed),
    /// Likewise, and nothing that the worker looks at has changed: it is to have the same pod as everybody else, rather than
    /// an older one for itself.
    Echo(Followed),
    /// The node promises the pod what its spec asks for. It brings the pod, too: told one after the other, the worker
    /// would say twice how the pod is.
    Allocate(Followed, Arc<Allocation>),
    /// A desired size, that of this pod's spec, is (no longer) pending.
    Pending(Followed, Option<Pending>),
    /// A run ended.
    Exited(ContainerRef, Exit),
    /// The OOM killer took a process of this container but not its first one.
    OomKill(ContainerRef),
    /// This container, or the pod as a whole, suffers.
    Strained(Option<String>, Strain),
    /// It has to go.
    Evict(Failure),
    /// It is no longer in the API.
    Removed,
    /// The node is being stopped: leave everything as it is.
    Stop,
}

impl Command {
    /// The pod that it brings.
    pub(crate) fn pod(&self) -> Option<&Followed> {
        match self {
            Self::Changed(pod) | Self::Echo(pod) | Self::Allocate(pod, _) | Self::Pending(pod, _) => Some(pod),
            Self::Exited(..) | Self::OomKill(_) | Self::Strained(..) | Self::Evict(_) | Self::Removed | Self::Stop => {
                None
            }
        }
    }
}

/// How a worker begins.
pub(crate) enum Begin {
    /// The pod was admitted with these resources.
    Admitted(Arc<Allocation>),
    /// The node did not take it.
    Rejected(Failure),
    /// It has ended before this node saw it.
    Over,
}

/// Why a pod is being ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its containers are done.
    Finished(Outcome),
    /// The API wants it gone.
    Deleted,
    /// The node ends it (deadline, eviction) or never began (rejection).
    Failed(Failure),
    /// The API said it has ended before this node saw it: nothing to report.
    Over,
}

/// A promise on its way to the disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Promise {
    /// The resources.
    pub(crate) allocation: Arc<Allocation>,
    /// Of the spec they come from.
    pub(crate) generation: Option<i64>,
    /// Whether it is a resize, and not what the pod begins with.
    pub(crate) resize: bool,
}

/// One pod on this node.
pub(crate) struct State {
    /// As the API has it, to be had again after a [rest](Self::rest).
    followed: Followed,
    /// Whether there is nothing to do, and the two below stand for nobody.
    rests: bool,
    /// The same, decoded.
    pub(crate) api: Arc<Pod>,
    /// What it was promised, on disk.
    pub(crate) allocation: Arc<Allocation>,
    /// The pod with what it was promised: all that starting and resizing look at.
    /// While it has what it asks for, that is the very pod of the API.
    pub(crate) view: Arc<Pod>,
    /// A newer promise, not yet on disk.
    pub(crate) promise: Option<Promise>,
    /// What its cgroups were given.
    pub(crate) actuated: Actuated,
    /// Its resize conditions.
    pub(crate) resize: ResizeConditions,
    /// Its containers.
    pub(crate) containers: Containers,
    /// Whether its own cgroup stands.
    pub(crate) sandbox: bool,
    /// Whether its init containers are done.
    pub(crate) initialized: bool,
    /// Why it is being ended.
    pub(crate) end: Option<End>,
    /// Every container is stopped and the cgroup removed.
    pub(crate) stopped: bool,
    /// It has left the API.
    pub(crate) removed: bool,
    /// The API was told that nothing of it is left.
    pub(crate) delete_sent: bool,
    /// The node is being stopped.
    pub(crate) abandon: bool,
    /// When the node first saw it; `None` where it did not take it.
    pub(crate) started_at: Option<Timestamp>,
    /// Since when the conditions of the status published last are as they are.
    pub(crate) published: Box<[Since]>,
    /// When the last strain was told of: one must not crowd out other events.
    pub(crate) strain_told: Option<Timestamp>,
    /// The cgroups may be ahead of the record of them: a predecessor may have been killed, or a write have failed, halfway.
    pub(crate) unsure: bool,
    /// How long to wait before the machine or the disk is tried again.
    pub(crate) backoff: Backoff,
    /// Nothing that failed is tried again before this.
    pub(crate) retry_at: Option<Timestamp>,
}

/// What stands in place of a pod that is not looked at.
fn nobody() -> Arc<Pod> {
    static NOBODY: LazyLock<Arc<Pod>> = LazyLock::new(Arc::default);
    Arc::clone(&NOBODY)
}

/// A pod without what its worker says itself: of its status, only its class counts.
fn seen(mut pod: Pod) -> Pod {
    let class = pod.status.take().and_then(|it| it.qos_class);
    pod.status = Some(PodStatus { qos_class: class, ..PodStatus::default() });
    pod
}

impl State {
    /// The state of a pod when its worker begins.
    pub(crate) fn new(
        followed: Followed,
        begin: Begin,
        records: Records,
        found: Option<Vec<(ContainerRef, RunState)>>,
        now: Timestamp,
    ) -> Self {
        let api = followed.pod();
        let status = api.status.as_ref();
        let published = since(status.and_then(|status| status.conditions.as_deref()).unwrap_or_default());
        let started = status.and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0);
        let sandbox = found.is_some();
        let mut state = Self {
            allocation: Arc::default(),
            view: Arc::clone(&api),
            promise: None,
            actuated: records.actuated.unwrap_or_default(),
            resize: ResizeConditions::default(),
            containers: containers(&api, found),
            sandbox,
            initialized: false,
            end: None,
            stopped: false,
            removed: false,
            delete_sent: false,
            abandon: false,
            started_at: Some(started),
            published,
            strain_told: None,
            unsure: sandbox,
            backoff: Backoff::default(),
            retry_at: None,
            followed: followed.at_rest(),
            rests: false,
            api,
        };
        match begin {
            Begin::Admitted(allocation) => match records.allocated {
                Some(allocated) => {
                    state.resize = allocated.conditions;
                    state.set_allocation(allocated.allocation);
                }
                None => state.promise = Some(Promise { allocation, generation: None, resize: false }),
            },
            Begin::Rejected(failure) => {
                state.end = Some(End::Failed(failure));
                state.started_at = None;
            }
            Begin::Over => state.end = Some(End::Over),
        }
        if state.end.is_none() && state.api.metadata.deletion_timestamp.is_some() {
            state.end = Some(End::Deleted);
        }
        state
    }

    /// The promise is on disk: this is what the pod runs with.
    pub(crate) fn set_allocation(&mut self, allocation: Arc<Allocation>) {
        for (name, container) in self.containers.iter_mut() {
            // Another size is another chance: the kubelet's back-off key has the resources in it.
            if self.allocation.containers.get(name) != allocation.containers.get(name) {
                container.backoff.reset();
            }
        }
        self.allocation = allocation;
        self.view = self.viewed();
    }

    /// Take note of what the worker is told.
    pub(crate) fn apply(&mut self, command: Command) {
        match command {
            Command::Changed(pod) => self.see(pod),
            Command::Echo(pod) if self.rests => self.followed = pod.at_rest(),
            Command::Echo(pod) => self.see(pod),
            Command::Allocate(pod, allocation) => {
                // What it runs with stays as it is until the promise is on disk, and is looked at again then, or when that fails.
                self.know(pod);
                self.resize.settle();
                let generation = self.api.metadata.generation;
                self.promise = Some(Promise { allocation, generation, resize: true });
                self.retry_at = None;
            }
            Command::Pending(pod, pending) => {
                self.see(pod);
                self.resize.pending = pending;
            }
            Command::Exited(id, exit) => {
                if let Some(container) = self.containers.get_mut(&id.container) {
                    container.has_ended(id.attempt, exit);
                }
                // Memory may be free now that a decrease waited for.
                self.retry_at = None;
            }
            Command::OomKill(_) | Command::Strained(..) => {}
            Command::Evict(failure) => {
                if matches!(self.end, None | Some(End::Deleted)) {
                    self.end = Some(End::Failed(failure));
                }
            }
            Command::Removed => {
                self.removed = true;
                self.end.get_or_insert(End::Deleted);
            }
            Command::Stop => self.abandon = true,
        }
    }

    /// The API has the pod so now.
    fn see(&mut self, pod: Followed) {
        self.know(pod);
        self.view = self.viewed();
    }

    fn know(&mut self, pod: Followed) {
        self.api = pod.pod();
        self.followed = pod.at_rest();
        if self.api.metadata.deletion_timestamp.is_some() && self.end.is_none() {
            self.end = Some(End::Deleted);
        }
    }

    /// Nothing is to be done: let go of what can be had again.
    pub(crate) fn rest(&mut self) {
        self.rests = true;
        (self.api, self.view) = (nobody(), nobody());
    }

    /// Something is to be done: have the pod again as it is now, unless a newer one comes (`is_brought`) in the next command.
    pub(crate) fn wake(&mut self, is_brought: bool) {
        self.rests = false;
        if !is_brought {
            self.api = self.followed.pod();
            self.view = self.viewed();
        }
    }

    /// Have what it runs with, if nobody has looked at that since it was woken for a promise.
    pub(crate) fn have_view(&mut self) {
        if Arc::ptr_eq(&self.view, &nobody()) {
            self.view = self.viewed();
        }
    }

    fn viewed(&self) -> Arc<Pod> {
        if self.allocation.is_of(&self.api) {
            return Arc::clone(&self.api);
        }
        Arc::new(seen(self.allocation.applied_to(&self.api)))
    }

    /// How long containers are given to end by themselves.
    pub(crate) fn grace(&self) -> SignedDuration {
        if self.removed {
            // It was removed by force, or while no node was there: nobody waits for it to end well.
            return SignedDuration::ZERO;
        }
        let spec = self.api.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = self.api.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(30);
        SignedDuration::from_secs(seconds.max(0))
    }

    /// When the pod has run for as long as it may.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.api.spec.as_ref()?.active_deadline_seconds?;
        self.started_at?.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    /// How the pod has ended, as its phase shows it; `None` while it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match &self.end {
            Some(End::Finished(outcome)) => Some(*outcome),
            // A deleted pod is what its containers made of it, once all have ended.
            Some(End::Deleted) if self.stopped => {
                let mains = self.api.spec.iter().flat_map(|spec| &spec.containers);
                let mut ends = mains.map(|spec| self.containers.get(&spec.name).and_then(|it| it.ended()));
                let well = ends.all(|ended| ended.is_some_and(|ended| ended.exit.code == 0));
                Some(if well { Outcome::Succeeded } else { Outcome::Failed })
            }
            _ => None,
        }
    }
}

/// The containers of a pod as this node finds them: those alive or left on the machine, and for all others what the API
/// remembers.
fn containers(api: &Pod, found: Option<Vec<(ContainerRef, RunState)>>) -> Containers {
    let mut containers = Containers::new();
    let status = api.status.as_ref();
    let statuses = [
        status.and_then(|status| status.init_container_statuses.as_ref()),
        status.and_then(|status| status.container_statuses.as_ref()),
    ];
    for known in statuses.into_iter().flatten().flatten() {
        let ran = known.container_id.is_some();
        let attempt = u32::try_from(known.restart_count).unwrap_or(0);
        let mut container = Container { lost_attempt: ran.then_some(attempt), ..Container::default() };
        let ended = |state: Option<&k8s_openapi::api::core::v1::ContainerState>, attempt| {
            let terminated = state?.terminated.as_ref()?;
            let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
                time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
            };
            let exit = Exit {
                code: terminated.exit_code,
                signal: terminated.signal,
                oom_killed: terminated.reason.as_deref() == Some("OOMKilled"),
                started_at: time(&terminated.started_at),
                finished_at: time(&terminated.finished_at),
            };
            Some(super::runs::Ended {
                attempt,
                reason: terminated.reason.clone().unwrap_or_default(),
                message: terminated.message.clone(),
                exit,
            })
        };
        // What had ended stays ended; what ran and is nowhere to be found is started anew.
        container.run = ended(known.state.as_ref(), attempt).map(Run::Ended);
        container.previous = ended(known.last_state.as_ref(), attempt.saturating_sub(1));
        containers.insert(known.name.clone(), Box::new(container));
    }
    for (id, run) in found.into_iter().flatten() {
        let container = containers.get_or_default(id.container.as_str());
        container.run = Some(match run {
            RunState::Running { started_at, .. } => Run::Running { attempt: id.attempt, started_at },
            RunState::Exited(exit) => Run::Ended(super::runs::Ended::of(id.attempt, exit)),
        });
    }
    for spec in api.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers)) {
        containers.get_or_default(spec.name.as_str());
    }
    containers
}
