//! The machine: the simulated runtime, behind operations that fail, and with a referee that sees every effect.
//!
//! The referee holds what must be true at each moment (design §3): no cgroup is smaller than one below it, no container
//! is stopped that nothing allows to be stopped, and no memory limit kills what it is lowered on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use supple_node::runtime::simulated::SimulatedRuntime;
use supple_node::runtime::{
    ContainerConfig, ContainerRef, Exit, FoundPod, LogOptions, PodConfig, PodRef, PodUsage, RunState, Runtime,
    RuntimeError, RuntimeEvent,
};
use supple_quantity::Bytes;
use supple_resize::kernel::CgroupResources;

use crate::dice::{Dice, Fault, Layer};
use crate::life::Life;

/// What every container holds. Limits are asked for below it too: those must not come into force.
pub const HELD: Bytes = Bytes(100 << 20);

/// What the referee knows.
#[derive(Default)]
pub struct Referee {
    /// Pods (by name) that somebody deletes: their containers may be stopped.
    pub deleted: BTreeSet<String>,
    /// Containers (`pod/container`) that restart when resized.
    pub restartable: BTreeSet<String>,
    /// What was done to the machine, for the report of a failed run.
    pub history: Vec<String>,
    /// Which rules were broken.
    pub broken: Vec<String>,
    /// The memory limit each run began with. One that begins with less than it holds may die of it.
    began_with: BTreeMap<(String, String, u32), i64>,
    /// Runs (UID, container, attempt) that the node was told run: those it may not stop as it likes.
    told: BTreeSet<(String, String, u32)>,
    pods: BTreeMap<String, CgroupResources>,
    containers: BTreeMap<(String, String), CgroupResources>,
}

impl Referee {
    /// One who allows these containers to be restarted by a resize.
    pub fn new(restartable: BTreeSet<String>) -> Self {
        Self { restartable, ..Self::default() }
    }

    fn wrote_pod(&mut self, pod: &PodRef, write: &CgroupResources) {
        let whole = self.pods.entry(pod.uid.clone()).or_default();
        *whole = whole.with(write);
        self.nested(pod);
    }

    fn wrote_container(&mut self, id: &ContainerRef, write: &CgroupResources) {
        let whole = self.containers.entry((id.pod.uid.clone(), id.container.clone())).or_default();
        *whole = whole.with(write);
        self.nested(&id.pod);
    }

    /// No container has more than its pod.
    fn nested(&mut self, pod: &PodRef) {
        let Some(parent) = self.pods.get(&pod.uid) else { return };
        let below = self.containers.range((pod.uid.clone(), String::new())..);
        for ((_, name), child) in below.take_while(|((uid, _), _)| *uid == pod.uid) {
            let more = |child: Option<i64>, parent: Option<i64>| match (child, parent) {
                (_, None | Some(..0)) | (None, _) => false,
                (Some(..0), Some(_)) => true,
                (Some(child), Some(parent)) => child > parent,
            };
            for (what, child, parent) in [
                ("memory", child.memory_limit_bytes, parent.memory_limit_bytes),
                ("CPU", child.cpu_quota_us, parent.cpu_quota_us),
            ] {
                if more(child, parent) {
                    self.broken.push(format!("{}/{name} has {what} {child:?}, its pod {parent:?}", pod.name));
                }
            }
        }
    }
}

/// The machine as the node of one life sees it.
pub struct Machine {
    pub runtime: Arc<SimulatedRuntime>,
    pub referee: Arc<Mutex<Referee>>,
    pub dice: Arc<Dice>,
    pub life: Arc<Life>,
}

/// The referee is whole after a panic: the run is over then, and only its report is made.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Does `operation`, or what the dice make of it; `effect` is told to the referee if it took place.
    fn perform<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        object: String,
        operation: impl Fn() -> BoxFuture<'a, Result<T, RuntimeError>> + Send + 'a,
        effect: impl Fn(&mut Referee) + Send + 'a,
    ) -> BoxFuture<'a, Result<T, RuntimeError>> {
        Box::pin(async move { self.performed(what, object, operation, effect).await })
    }

    async fn performed<'a, T: Send + 'a>(
        &'a self,
        what: &'static str,
        object: String,
        operation: impl Fn() -> BoxFuture<'a, Result<T, RuntimeError>> + Send,
        effect: impl Fn(&mut Referee) + Send,
    ) -> Result<T, RuntimeError> {
        self.life.alive().await;
        let failed = |message: &str| RuntimeError {
            reason: "Injected",
            operation: what.to_owned(),
            object: object.clone(),
            message: message.to_owned(),
        };
        // What cannot be done by halves is not done; writes of several values are torn beside.
        let able = |it| Some(if it == Fault::Torn { Fault::Fail } else { it });
        let fault = self.dice.fault(Layer::Machine, what, seam(what), able);
        if let Some(Fault::Hang(time)) = fault {
            tokio::time::sleep(time).await;
            self.life.alive().await;
        }
        if fault == Some(Fault::Fail) {
            lock(&self.referee).history.push(format!("  {what} {object}: refused"));
            return Err(failed("refused"));
        }
        let mut done = operation().await;
        if fault == Some(Fault::Repeat) && done.is_ok() {
            done = operation().await;
        }
        let mut referee = lock(&self.referee);
        let reads = what.starts_with("read") || what == "usage";
        if !reads || done.is_err() {
            referee.history.push(format!("  {what} {object}{}", if done.is_ok() { "" } else { ": not possible" }));
        }
        if done.is_ok() {
            effect(&mut referee);
        }
        drop(referee);
        if fault == Some(Fault::Lost) && done.is_ok() {
            return Err(failed("done, but the answer was lost"));
        }
        done
    }

    /// A write of several values may be torn: then the first of them is written and the others are not.
    fn torn(&self, what: &str, write: &CgroupResources) -> Option<CgroupResources> {
        let parts = [
            CgroupResources { memory_limit_bytes: write.memory_limit_bytes, ..CgroupResources::default() },
            CgroupResources { cpu_shares: write.cpu_shares, ..CgroupResources::default() },
            CgroupResources { cpu_quota_us: write.cpu_quota_us, ..CgroupResources::default() },
        ];
        let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
        let site = format!("{what} torn");
        let tears =
            || self.dice.fault(Layer::Machine, &site, seam(what), |it| Some(it).filter(|it| *it == Fault::Torn));
        (parts.len() > 1 && tears().is_some()).then(|| parts[0])
    }
}

/// Which of the seams an operation of the machine is at.
fn seam(what: &str) -> &'static str {
    if what.starts_with("write") { "cgroup write" } else { "container call" }
}

fn run(id: &ContainerRef) -> (String, String, u32) {
    (id.pod.uid.clone(), id.container.clone(), id.attempt)
}

fn pod_name(pod: &PodRef) -> String {
    pod.name.clone()
}

fn container_name(id: &ContainerRef) -> String {
    format!("{}/{}", id.pod.name, id.container)
}

fn values(write: &CgroupResources) -> String {
    format!("shares {:?} quota {:?} memory {:?}", write.cpu_shares, write.cpu_quota_us, write.memory_limit_bytes)
}

impl Runtime for Machine {
    fn name(&self) -> &'static str {
        self.runtime.name()
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<FoundPod>, RuntimeError>> {
        Box::pin(async move {
            let found = self.perform("recover", String::new(), || self.runtime.recover(), |_| {}).await?;
            let runs = found.iter().flat_map(|pod| &pod.containers);
            lock(&self.referee).told.extend(runs.map(|(id, _)| run(id)));
            Ok(found)
        })
    }

    fn check_image<'a>(
        &'a self,
        image: &'a str,
        pull_policy: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.runtime.check_image(image, pull_policy)
    }

    fn ignored(&self, pod: &Pod) -> Vec<String> {
        self.runtime.ignored(pod)
    }

    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> BoxFuture<'a, Result<(), RuntimeError>> {
        let PodConfig { id: pod, resources, .. } = config;
        let object = format!("{}: {}", pod.name, values(resources));
        let effect = |referee: &mut Referee| {
            // A cgroup that is there keeps what it has.
            referee.pods.entry(pod.uid.clone()).or_insert(*resources);
        };
        self.perform("create pod", object, || self.runtime.create_pod(config), effect)
    }

    fn update_pod<'a>(
        &'a self,
        pod: &'a PodRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            if let Some(part) = self.torn("write pod", resources) {
                self.runtime.update_pod(pod, &part).await?;
                lock(&self.referee).wrote_pod(pod, &part);
                return Err(torn(pod_name(pod)));
            }
            let object = format!("{}: {}", pod.name, values(resources));
            let write = || self.runtime.update_pod(pod, resources);
            self.perform("write pod", object, write, |referee| referee.wrote_pod(pod, resources)).await
        })
    }

    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        self.perform("read pod", pod_name(pod), || self.runtime.read_pod(pod), |_| {})
    }

    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        let effect = |referee: &mut Referee| {
            referee.pods.remove(&pod.uid);
        };
        self.perform("remove pod", pod_name(pod), || self.runtime.remove_pod(pod), effect)
    }

    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.perform("forget pod", pod_name(pod), || self.runtime.forget_pod(pod), |_| {})
    }

    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> BoxFuture<'a, Result<RunState, RuntimeError>> {
        let object =
            format!("{} attempt {}: {}", container_name(&config.id), config.id.attempt, values(&config.resources));
        Box::pin(async move {
            let start = || self.runtime.start_container(config);
            let started = self.perform("start", object, start, |referee| {
                referee.containers.remove(&(config.id.pod.uid.clone(), config.id.container.clone()));
                referee.wrote_container(&config.id, &config.resources);
                let limit = config.resources.memory_limit_bytes.filter(|it| *it >= 0).unwrap_or(i64::MAX);
                referee.began_with.insert(run(&config.id), limit);
            });
            let started = started.await?;
            lock(&self.referee).told.insert(run(&config.id));
            Ok(started)
        })
    }

    fn update_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        resources: &'a CgroupResources,
    ) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            if let Some(part) = self.torn("write container", resources) {
                self.runtime.update_container(id, &part).await?;
                lock(&self.referee).wrote_container(id, &part);
                return Err(torn(container_name(id)));
            }
            let object = format!("{}: {}", container_name(id), values(resources));
            let write = || self.runtime.update_container(id, resources);
            self.perform("write container", object, write, |referee| referee.wrote_container(id, resources)).await
        })
    }

    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<CgroupResources, RuntimeError>> {
        let read = || self.runtime.read_container(id);
        self.perform("read container", container_name(id), read, |_| {})
    }

    fn stop_container<'a>(
        &'a self,
        id: &'a ContainerRef,
        grace: Duration,
    ) -> BoxFuture<'a, Result<Exit, RuntimeError>> {
        let stop = move || self.runtime.stop_container(id, grace);
        self.perform("stop", container_name(id), stop, |referee| {
            let name = container_name(id);
            referee.containers.remove(&(id.pod.uid.clone(), id.container.clone()));
            let allowed = referee.deleted.contains(&id.pod.name) || referee.restartable.contains(&name);
            if referee.told.contains(&run(id)) && !allowed {
                referee.broken.push(format!("{name} was stopped, and nothing allows that"));
            }
        })
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerRef) -> BoxFuture<'a, Result<(), RuntimeError>> {
        let remove = || self.runtime.remove_container(id);
        self.perform("remove container", container_name(id), remove, |_| {})
    }

    fn usage<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<PodUsage, RuntimeError>> {
        self.perform("usage", pod_name(pod), || self.runtime.usage(pod), |_| {})
    }

    fn logs<'a>(
        &'a self,
        id: &'a ContainerRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<BoxStream<'static, std::io::Result<bytes::Bytes>>, RuntimeError>> {
        self.runtime.logs(id, options)
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let referee = Arc::clone(&self.referee);
        let seen = move |event: &RuntimeEvent| {
            let mut referee = lock(&referee);
            if let RuntimeEvent::Exited(id, exit) = event {
                let why = if exit.oom_killed { ", out of memory" } else { "" };
                referee.history.push(format!("  {} attempt {} ended{why}", container_name(id), id.attempt));
            }
            let began_well = |id| referee.began_with.get(&run(id)).is_some_and(|limit| *limit >= HELD.0);
            if let RuntimeEvent::Exited(id, Exit { oom_killed: true, .. }) = event
                && began_well(id)
            {
                referee.broken.push(format!("{} was killed for memory that it had when it began", container_name(id)));
            }
            if let RuntimeEvent::Exited(id, _) = event {
                referee.containers.remove(&(id.pod.uid.clone(), id.container.clone()));
            }
        };
        self.runtime.events().inspect(seen).boxed()
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.runtime.shutdown()
    }
}

fn torn(object: String) -> RuntimeError {
    RuntimeError {
        reason: "Injected",
        operation: "write".to_owned(),
        object,
        message: "torn: the first value was written".to_owned(),
    }
}
