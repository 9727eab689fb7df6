//! One worker per pod: it alone starts, stops and resizes the pod's containers and says how the pod is.
//!
//! A worker is a loop over a plain [`state::State`]: take note of what it was told, do the next thing, and when there is
//! nothing to do publish the status and wait. Each thing it does is small enough to be done again after a failure.
//!
//! ```text
//!   promise (allocated → disk) ─▶ sandbox ─▶ lifecycle::decide ─▶ resize ─▶ starts ─▶ status
//!                                                   └── over? ─▶ terminate ─▶ DELETE ─▶ forget
//! ```

mod environment;
pub(crate) mod lifecycle;
mod mailbox;
mod resize;
pub(crate) mod runs;
mod start;
mod state;
mod terminate;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_resize::actuate;
use supple_resize::amounts::{self, Amounts};
use supple_resize::event::ResizeEvent;
use supple_resize::kernel::{CgroupResources, DEFAULT_PERIOD_US};
use supple_resize::qos;

pub(crate) use mailbox::Sender;
use mailbox::{Inbox, mailbox};
pub(crate) use state::{Begin, Command};
use state::{End, Promise, State};

use crate::backoff::Schedule;
use crate::checkpoint::{Allocated, Change, Pending, Records};
use crate::endpoint::figures::Resizing;
use crate::events::{Kind, Note};
use crate::feed::Followed;
use crate::runtime::{ContainerRef, PodConfig, PodRef, RunState, Strain};
use crate::shared::Shared;
use crate::status::writer::StatusWriter;
use crate::status::{self, Failure};

/// Events about strains of one pod, at most. Half of what the recorder lets through in the long run.
const STRAIN_EVENTS: SignedDuration = SignedDuration::from_mins(10);

/// What a worker tells the manager.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// What the pod was promised is on disk: these amounts.
    Recorded(String, Amounts),
    /// The pod's cgroups now have these amounts.
    Actuated(String, Amounts),
    /// Nothing of the pod runs any more, nor will.
    Ended(String),
    /// The pod has left API and machine.
    Gone(String),
}

/// What a worker begins with.
pub(crate) struct Birth {
    /// The pod.
    pub(crate) pod: Followed,
    /// Who it is.
    pub(crate) id: Arc<PodRef>,
    /// Whether the node took it.
    pub(crate) begin: Begin,
    /// What the disk says.
    pub(crate) records: Records,
    /// What was found on the machine; `None`: nothing, not even its cgroup.
    pub(crate) found: Option<Vec<(ContainerRef, RunState)>>,
}

/// What to do after a step.
enum Step {
    /// Look again: something was done.
    Again,
    /// Nothing to do before the next command, or this moment.
    Idle(Option<Timestamp>),
    /// The pod is gone.
    Over,
}

/// The worker of one pod.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    id: Arc<PodRef>,
    inbox: Inbox,
    state: State,
    status: StatusWriter,
}

impl Worker {
    /// Begin working; returns where the worker is told things.
    pub(crate) fn start(shared: Arc<Shared>, birth: Birth) -> Sender {
        let (sender, inbox) = mailbox();
        let Birth { pod, id, begin, records, found } = birth;
        let status = StatusWriter::new(Arc::clone(&shared.api), Arc::clone(&id), Arc::clone(&shared.clock));
        let state = State::new(pod, begin, records, found, shared.now());
        let mut worker = Self { shared, id, inbox, state, status };
        let workers = worker.shared.workers.clone();
        workers.spawn(async move {
            worker.introduce();
            worker.run().await;
        });
        sender
    }

    /// Tell others what was found at the beginning.
    fn introduce(&mut self) {
        let containers = self.state.api.spec.iter();
        let containers = containers.flat_map(|it| it.init_containers.iter().flatten().chain(&it.containers));
        let images = containers.map(|it| (it.name.as_str(), it.image.as_deref().unwrap_or_default()));
        self.shared.directory.introduce(&self.id, images);
        for (name, container) in &self.state.containers {
            if let Some(run) = &container.run {
                self.shared.directory.ran(&self.id, name, run.attempt());
            }
        }
        if self.state.sandbox {
            self.shared.directory.live(&self.id, true);
        }
        let first_time = self.state.promise.as_ref().is_some_and(|promise| !promise.resize) && !self.state.sandbox;
        if first_time {
            let ignored = self.shared.runtime.ignored(&self.state.api);
            if !ignored.is_empty() {
                let runtime = self.shared.runtime.name();
                let message = format!("The {runtime} runtime stores but does not act on: {}", ignored.join(", "));
                self.note(Kind::Normal, "NotActedOn", message, None);
            }
        }
        if let Some(End::Failed(Failure { reason, message })) = &self.state.end {
            let message = message.strip_prefix("Pod was rejected: ").unwrap_or(message).to_owned();
            self.note(Kind::Warning, &reason.clone(), message, None);
        }
    }

    async fn run(&mut self) {
        loop {
            while let Some(command) = self.inbox.next() {
                self.take(command);
            }
            if self.state.abandon {
                return;
            }
            // Boxed, because a worker has one only while it does something, and nearly all of them wait.
            let wake = match Box::pin(self.step()).await {
                Step::Again => continue,
                Step::Over => return,
                Step::Idle(wake) => wake,
            };
            self.publish();
            self.state.rest();
            let mut sleep = std::pin::pin!(sleep_until(&self.shared, wake));
            loop {
                tokio::select! {
                    command = self.inbox.recv() => {
                        let Some(command) = command else { return };
                        match &command {
                            Command::Echo(_) => self.take(command),
                            Command::Stop => return,
                            _ => {
                                self.state.wake(command.pod().is_some());
                                self.take(command);
                                break;
                            }
                        }
                    }
                    () = &mut sleep => {
                        self.state.wake(false);
                        break;
                    }
                }
            }
        }
    }

    /// Take note of a command, and of what follows from it beyond the state.
    fn take(&mut self, command: Command) {
        match &command {
            Command::Echo(pod) if self.status.waits() => self.status.settle(pod.pod().status.as_ref()),
            Command::OomKill(id) => {
                let message = format!("The kernel's OOM killer ended a process of container {}", id.container);
                self.note(Kind::Warning, "OOMKilling", message, Some(&id.container.clone()));
            }
            Command::Strained(container, strain) => self.tell_of_strain(container.as_deref(), *strain),
            Command::Evict(Failure { reason, message }) => self.note(Kind::Warning, reason, message.clone(), None),
            _ => {}
        }
        let pending = matches!(command, Command::Pending(..));
        self.state.apply(command);
        if pending {
            // Not waited for: age that is lost in a crash of this very moment is no promise broken.
            let _ = self.write_allocated();
        }
    }

    async fn step(&mut self) -> Step {
        if self.state.end.is_some() {
            self.state.have_view();
            return self.terminate().await;
        }
        let now = self.shared.now();
        let deadline = self.state.deadline();
        if deadline.is_some_and(|deadline| deadline <= now) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.note(Kind::Normal, "DeadlineExceeded", message.clone(), None);
            self.state.end = Some(End::Failed(Failure { reason: "DeadlineExceeded".into(), message }));
            return Step::Again;
        }
        let mut wake = deadline;
        let held = self.state.retry_at.filter(|at| *at > now);
        wake = earlier(wake, held);
        if held.is_none() {
            if self.state.promise.is_some() && self.keep_promise().await {
                return Step::Again;
            }
            if self.state.retry_at.is_some_and(|at| at > now) {
                return Step::Again;
            }
        }
        // Without a promise on disk nothing of a new pod exists; one that runs goes on under its old promise.
        let begun = self.state.sandbox || self.state.promise.as_ref().is_none_or(|promise| promise.resize);
        if !begun {
            return Step::Idle(wake);
        }
        if !self.state.sandbox {
            return match held {
                Some(_) => Step::Idle(wake),
                None => self.create_sandbox().await,
            };
        }
        let decision = lifecycle::decide(&self.state.view, &self.state.containers, now);
        self.state.initialized = decision.initialized;
        if let Some(outcome) = decision.outcome {
            self.state.end = Some(End::Finished(outcome));
            return Step::Again;
        }
        self.hold_back(decision.waiting);
        wake = earlier(wake, decision.wake);
        if held.is_none() && std::mem::take(&mut self.state.unsure) {
            self.look().await;
        }
        if held.is_none() && self.needs_resize() {
            self.resize().await;
            return Step::Again;
        }
        let start: Vec<_> = decision.start.iter().filter(|name| self.has_room_for(name)).collect();
        if !start.is_empty() {
            for name in start {
                self.start_container(name).await;
            }
            return Step::Again;
        }
        self.complete();
        Step::Idle(wake)
    }

    /// Whether the pod's cgroup is as large as the container: where it could not be made so yet, that is tried again
    /// before the container is started.
    fn has_room_for(&self, container: &str) -> bool {
        let amounts = actuate::container_amounts(&self.state.view, container).unwrap_or_default();
        self.state.actuated.pod.is_none_or(|pod| actuate::fits_in(&amounts, &pod))
    }

    /// Write the promise to the disk before anything is done about it. Returns whether it is there.
    async fn keep_promise(&mut self) -> bool {
        let Some(promise) = self.state.promise.take() else { return false };
        let mut conditions = self.state.resize.clone();
        if promise.resize {
            conditions.allocate(promise.generation, self.shared.now());
        }
        let record = Allocated { allocation: Arc::clone(&promise.allocation), conditions: conditions.clone() };
        match self.shared.checkpoints.write(&self.id.uid, Change::Allocated(record)).durable().await {
            Ok(()) => {
                let Promise { allocation, generation, resize } = promise;
                self.state.resize = conditions;
                self.state.set_allocation(allocation);
                let amounts = actuate::pod_amounts(&self.state.view);
                let _ = self.shared.reports.send(Report::Recorded(self.id.uid.clone(), amounts));
                if resize {
                    self.resize_event(supple_resize::event::started(&self.state.view, generation.unwrap_or_default()));
                }
                true
            }
            Err(error) => {
                self.state.have_view();
                self.failed(error.to_string(), promise.generation);
                self.state.promise = Some(promise);
                false
            }
        }
    }

    async fn create_sandbox(&mut self) -> Step {
        let amounts = actuate::pod_amounts(&self.state.view);
        let tiers = self.shared.memory_qos.of_pod(qos::recorded(&self.state.view), &amounts);
        let resources = CgroupResources::of(&amounts, DEFAULT_PERIOD_US).tiered(tiers);
        let created = async {
            let metadata = &self.state.api.metadata;
            let config = PodConfig {
                id: PodRef::clone(&self.id),
                qos: qos::compute(&self.state.view),
                resources,
                labels: metadata.labels.clone().unwrap_or_default(),
                annotations: metadata.annotations.clone().unwrap_or_default(),
            };
            self.shared.runtime.create_pod(&config).await?;
            // It may have stood since before a crash, with the values of another promise.
            self.shared.runtime.update_pod(&self.id, &resources).await
        };
        match created.await {
            Ok(()) => {
                self.state.actuated.pod_created(amounts);
                let _ = self.shared.reports.send(Report::Actuated(self.id.uid.clone(), amounts));
                self.state.sandbox = true;
                self.state.backoff.reset();
                self.shared.directory.live(&self.id, true);
                let _ = self.write_actuated();
                Step::Again
            }
            Err(error) => {
                let wait = self.state.backoff.failed(Schedule::ACTUATION, self.shared.now());
                self.state.retry_at = self.shared.now().checked_add(wait).ok();
                let message = format!("Failed to create pod sandbox: {error}");
                self.note(Kind::Warning, "FailedCreatePodSandBox", message, None);
                Step::Idle(earlier(self.state.retry_at, self.state.deadline()))
            }
        }
    }

    /// Show why containers wait to be started.
    fn hold_back(&mut self, waiting: Vec<(String, runs::Waiting)>) {
        for (name, waiting) in waiting {
            let Some(container) = self.state.containers.get_mut(&name) else { continue };
            if container.waiting.as_ref() == Some(&waiting) {
                continue;
            }
            let reason = waiting.reason.clone();
            container.waiting = Some(waiting);
            match reason.as_str() {
                "CrashLoopBackOff" => {
                    let PodRef { uid, namespace, name: pod } = &*self.id;
                    let message =
                        format!("Back-off restarting failed container {name} in pod {pod}_{namespace}({uid})");
                    self.note(Kind::Warning, "BackOff", message, Some(&name));
                }
                "ImagePullBackOff" => {
                    let spec = amounts::containers(&self.state.view).find(|spec| spec.name == name);
                    let image = spec.and_then(|spec| spec.image.clone()).unwrap_or_default();
                    self.note(Kind::Normal, "BackOff", format!("Back-off pulling image {image:?}"), Some(&name));
                    self.note(Kind::Warning, "Failed", "Error: ImagePullBackOff".into(), Some(&name));
                }
                _ => {}
            }
        }
    }

    /// The machine or the disk could not do what a resize needs: say so, and when it is tried again.
    fn failed(&mut self, error: String, generation: Option<i64>) {
        let now = self.shared.now();
        let wait = self.state.backoff.failed(Schedule::ACTUATION, now);
        self.state.retry_at = now.checked_add(wait).ok();
        tracing::warn!(pod = self.id.name, namespace = self.id.namespace, error, retry_in = ?wait.unsigned_abs(), "actuation failed");
        let generation = generation.or(self.state.api.metadata.generation);
        if self.state.resize.fail(error.clone(), generation, now) {
            let generation = self.state.resize.in_progress.as_ref().and_then(|it| it.generation).unwrap_or_default();
            self.resize_event(supple_resize::event::error(&self.state.view, generation, &error));
        }
    }

    fn write_allocated(&self) -> Pending {
        let allocation = Arc::clone(&self.state.allocation);
        let record = Allocated { allocation, conditions: self.state.resize.clone() };
        self.shared.checkpoints.write(&self.id.uid, Change::Allocated(record))
    }

    fn write_actuated(&self) -> Pending {
        self.shared.checkpoints.write(&self.id.uid, Change::Actuated(self.state.actuated.clone()))
    }

    /// Publish the status as it is now.
    fn publish(&mut self) {
        // A pod that was over before this node saw it keeps the status it has.
        if matches!(self.state.end, Some(End::Over)) {
            return;
        }
        let state = &self.state;
        let failure = match &state.end {
            Some(End::Failed(failure)) => Some(failure),
            _ => None,
        };
        let status = status::build(&status::Facts {
            api: &state.api,
            view: &state.view,
            allocation: &state.allocation,
            actuated: &state.actuated,
            resize: &state.resize,
            containers: &state.containers,
            sandbox: state.sandbox,
            initialized: state.initialized,
            outcome: state.outcome(),
            failure,
            started_at: state.started_at,
            id: &self.id,
            runtime: &*self.shared.runtime,
            previous: &state.published,
            now: self.shared.now(),
        });
        let resizing = Resizing {
            pending: state.resize.pending.as_ref().map(|it| it.reason),
            in_progress: state.resize.in_progress.is_some(),
        };
        self.shared.figures.resizing(&self.id.uid, Some(resizing).filter(|_| state.end.is_none()));
        self.state.published = status::since(status.conditions.as_deref().unwrap_or_default());
        self.status.publish(status, &self.state.api);
    }

    /// An event about a strain: rarely, because events about one pod are rationed and a resize must still be told.
    fn tell_of_strain(&mut self, container: Option<&str>, strain: Strain) {
        let now = self.shared.now();
        if self.state.strain_told.is_some_and(|told| now.duration_since(told) < STRAIN_EVENTS) {
            return;
        }
        self.state.strain_told = Some(now);
        let who = container.map_or("The pod".to_owned(), |name| format!("Container {name}"));
        let what = match strain {
            Strain::MemoryHigh => "exceeds its memory.high and is throttled",
            Strain::MemoryMax => "reached its memory limit",
            Strain::MemoryStall => "is stalled waiting for memory",
            Strain::CpuStall => "is stalled waiting for CPU",
        };
        self.note(Kind::Warning, strain.as_str(), format!("{who} {what}"), container);
    }

    fn note(&self, kind: Kind, reason: &str, message: String, container: Option<&str>) {
        let field_path = container.map(|name| {
            let init = self.state.api.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
            let kind = if init.into_iter().any(|it| it.name == name) { "initContainers" } else { "containers" };
            format!("spec.{kind}{{{name}}}")
        });
        self.shared.recorder.note(Note {
            pod: PodRef::clone(&self.id),
            field_path,
            kind,
            reason: reason.into(),
            message,
        });
    }

    fn resize_event(&self, event: ResizeEvent) {
        let ResizeEvent { type_, reason, message } = event;
        let kind = if type_ == "Warning" { Kind::Warning } else { Kind::Normal };
        self.note(kind, reason, message, None);
    }

    fn container_ref(&self, name: &str, attempt: u32) -> ContainerRef {
        ContainerRef { pod: PodRef::clone(&self.id), container: name.to_owned(), attempt }
    }
}

/// Sleeps until that moment of the node's clock; without one, for ever.
fn sleep_until(shared: &Shared, wake: Option<Timestamp>) -> impl Future<Output = ()> + use<> {
    let wait = wake.map(|wake| wake.duration_since(shared.now()).max(SignedDuration::ZERO).unsigned_abs());
    let wait = wait.map(|wait| shared.speed.wait(wait));
    async move {
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => std::future::pending().await,
        }
    }
}

/// The earlier of two moments, where there are any.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
