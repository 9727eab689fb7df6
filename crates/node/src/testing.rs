//! A stage for tests: a node without kernel, disk or network. The runtime is scripted, the API server is a table that
//! echoes every change as a watch would, the disk is a journal; all three write into one log, so that a test can say
//! what came before what. Time is tokio's paused clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use serde_json::{Value, json};
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::kernel::CgroupResources;
use supple_resize::memory_qos::{MemoryQos, MemoryTiers};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

use crate::api::{ApiError, PodApi};
use crate::checkpoint::{Backing, Change, CheckpointError, Checkpoints, Records};
use crate::events::Recorder;
use crate::feed::Followed;
use crate::manager::Manager;
use crate::options::{Capacity, Clock};
use crate::runtime::{
    ContainerConfig, ContainerRef, ContainerUsage, Exit, FoundPod, LogOptions, PodConfig, PodRef, PodUsage, RunState,
    Runtime, RuntimeError, RuntimeEvent,
};
use crate::shared::{Directory, Shared};
use crate::status::writer::Said;
use crate::worker::Report;

/// What everything writes into, and who is woken by it.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    changed: Arc<Notify>,
}

impl Log {
    fn write(&self, line: String) {
        lock(&self.lines).push(line);
        self.changed.notify_one();
    }

    /// Everything so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where what happens in a runtime is said, and heard.
type Events = (mpsc::UnboundedSender<RuntimeEvent>, mpsc::UnboundedReceiver<RuntimeEvent>);

/// A runtime that does nothing but remember, and fails when told to.
pub(crate) struct Scripted {
    log: Log,
    state: Mutex<Script>,
    events: mpsc::UnboundedSender<RuntimeEvent>,
    stream: Mutex<Option<mpsc::UnboundedReceiver<RuntimeEvent>>>,
    clock: Clock,
}

#[derive(Default)]
struct Script {
    /// Lines whose call fails, and how many times more.
    failing: HashMap<String, u32>,
    cgroups: HashMap<String, CgroupResources>,
    running: BTreeMap<ContainerRef, Timestamp>,
    usage: HashMap<String, i64>,
    /// Containers that ignore SIGTERM.
    stubborn: Vec<String>,
}

impl Scripted {
    pub(crate) fn new(log: Log, (events, stream): Events, clock: Clock) -> Self {
        Self { log, state: Mutex::default(), events, stream: Mutex::new(Some(stream)), clock }
    }

    fn call(&self, line: String) -> Result<(), RuntimeError> {
        self.log.write(line.clone());
        let mut state = lock(&self.state);
        let failing = state.failing.iter_mut().find(|(prefix, left)| line.starts_with(prefix.as_str()) && **left > 0);
        match failing {
            None => Ok(()),
            Some((_, left)) => {
                *left -= 1;
                let [operation, object, message] = ["write", "/sys/fs/cgroup/x", "Permission denied"].map(String::from);
                Err(RuntimeError { reason: "CgroupWrite", operation, object, message })
            }
        }
    }

    fn write(&self, target: &str, resources: &CgroupResources) -> Result<(), RuntimeError> {
        let CgroupResources { cpu_shares, cpu_quota_us, cpu_period_us: _, memory_limit_bytes, tiers } = resources;
        let mut line = format!("write {target}");
        let values = [
            cpu_shares.map(|it| format!(" shares={it}")),
            cpu_quota_us.map(|it| format!(" quota={it}")),
            memory_limit_bytes.map(|it| format!(" memory={}Mi", mebibytes(it))),
            Some(tiered(*tiers)),
        ];
        values.into_iter().flatten().for_each(|value| line.push_str(&value));
        self.call(line)?;
        let mut state = lock(&self.state);
        let old = state.cgroups.entry(target.to_owned()).or_default();
        *old = old.with(resources);
        Ok(())
    }

    fn ends(&self, id: &ContainerRef, code: i32, oom_killed: bool) -> Exit {
        let now = (self.clock)();
        let started_at = lock(&self.state).running.remove(id).unwrap_or(now);
        let exit = Exit { code, signal: None, oom_killed, started_at, finished_at: now };
        let _ = self.events.send(RuntimeEvent::Exited(id.clone(), exit.clone()));
        exit
    }
}

/// What memory QoS writes, in words.
fn tiered(MemoryTiers { min_bytes, low_bytes, high_bytes }: MemoryTiers) -> String {
    let values = [("min", min_bytes), ("low", low_bytes), ("high", high_bytes)];
    let words = values.into_iter().filter_map(|(name, it)| Some(format!(" {name}={}Mi", mebibytes(it?))));
    words.collect()
}

/// What is limited, in MiB; -1 is unlimited.
fn mebibytes(bytes: i64) -> i64 {
    if bytes > 0 { bytes >> 20 } else { bytes }
}

fn target(id: &ContainerRef) -> String {
    format!("{}/{}#{}", id.pod.name, id.container, id.attempt)
}

type Answer<'a, T> = BoxFuture<'a, Result<T, RuntimeError>>;

impl Runtime for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn recover(&self) -> Answer<'_, Vec<FoundPod>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn check_image<'a>(&'a self, image: &'a str, _: Option<&'a str>) -> Answer<'a, ()> {
        Box::pin(async move {
            let refused = |reason, message: &str| {
                let [operation, object] = ["run".to_owned(), image.to_owned()];
                Err(RuntimeError { reason, operation, object, message: message.to_owned() })
            };
            match image {
                "missing" => {
                    refused("ErrImageNeverPull", "Container image \"missing\" is not present with pull policy of Never")
                }
                "unreachable" => refused("ErrImagePull", "failed to pull and unpack image: no route to host"),
                "slow" => std::future::pending().await,
                _ => Ok(()),
            }
        })
    }

    fn ignored(&self, pod: &Pod) -> Vec<String> {
        let volumes = pod.spec.as_ref().is_some_and(|spec| spec.volumes.is_some());
        if volumes { vec!["volumes".into()] } else { Vec::new() }
    }

    fn create_pod<'a>(&'a self, config: &'a PodConfig) -> Answer<'a, ()> {
        Box::pin(async move { self.call(format!("create {}", config.id.name)) })
    }

    fn update_pod<'a>(&'a self, pod: &'a PodRef, resources: &'a CgroupResources) -> Answer<'a, ()> {
        Box::pin(async move { self.write(&pod.name, resources) })
    }

    fn read_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, CgroupResources> {
        Box::pin(async move { Ok(lock(&self.state).cgroups.get(&pod.name).copied().unwrap_or_default()) })
    }

    fn remove_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        Box::pin(async move { self.call(format!("remove {}", pod.name)) })
    }

    fn forget_pod<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        Box::pin(async move { self.call(format!("forget {}", pod.name)) })
    }

    fn start_container<'a>(&'a self, config: &'a ContainerConfig) -> Answer<'a, RunState> {
        Box::pin(async move {
            let id = &config.id;
            let memory = config.resources.memory_limit_bytes.filter(|it| *it > 0);
            let memory = memory.map(|it| format!(" memory={}Mi", it >> 20)).unwrap_or_default();
            self.call(format!("start {}{memory}{}", target(id), tiered(config.resources.tiers)))?;
            let started_at = (self.clock)();
            let mut state = lock(&self.state);
            state.cgroups.insert(target(id), config.resources);
            state.running.insert(id.clone(), started_at);
            Ok(RunState::Running { started_at, pid: None })
        })
    }

    fn update_container<'a>(&'a self, id: &'a ContainerRef, resources: &'a CgroupResources) -> Answer<'a, ()> {
        Box::pin(async move { self.write(&target(id), resources) })
    }

    fn read_container<'a>(&'a self, id: &'a ContainerRef) -> Answer<'a, CgroupResources> {
        Box::pin(async move { Ok(lock(&self.state).cgroups.get(&target(id)).copied().unwrap_or_default()) })
    }

    fn stop_container<'a>(&'a self, id: &'a ContainerRef, grace: Duration) -> Answer<'a, Exit> {
        Box::pin(async move {
            self.call(format!("stop {} grace={}", target(id), grace.as_secs()))?;
            let stubborn = lock(&self.state).stubborn.contains(&id.container);
            if stubborn {
                tokio::time::sleep(grace).await;
            }
            Ok(self.ends(id, if stubborn { 137 } else { 143 }, false))
        })
    }

    fn remove_container<'a>(&'a self, _: &'a ContainerRef) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn usage<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, PodUsage> {
        Box::pin(async move {
            let state = lock(&self.state);
            let containers: Vec<ContainerUsage> = state
                .running
                .keys()
                .filter(|id| id.pod == *pod)
                .map(|id| ContainerUsage {
                    container: id.container.clone(),
                    memory_usage: Bytes(state.usage.get(&id.container).copied().unwrap_or(1 << 20)),
                    ..ContainerUsage::default()
                })
                .collect();
            let memory_usage = Bytes(containers.iter().map(|it| it.memory_usage.0).sum());
            let window = Duration::from_secs(1);
            let strains = crate::runtime::Strains::new();
            Ok(PodUsage { pod: pod.clone(), at: (self.clock)(), window, memory_usage, strains, containers })
        })
    }

    fn logs<'a>(
        &'a self,
        _: &'a ContainerRef,
        _: LogOptions,
    ) -> Answer<'a, BoxStream<'static, std::io::Result<bytes::Bytes>>> {
        Box::pin(async { Ok(futures::stream::empty().boxed()) })
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let receiver = lock(&self.stream).take().expect("one subscriber");
        futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) }).boxed()
    }

    fn shutdown(&self) -> Answer<'_, ()> {
        Box::pin(async { self.call("shutdown".into()) })
    }
}

/// What a watch would bring.
enum Seen {
    Applied(Box<Pod>),
    Deleted(Box<Pod>),
}

/// An API server that is a table of pods.
pub(crate) struct Table {
    log: Log,
    pods: Mutex<BTreeMap<String, Value>>,
    events: Mutex<Vec<Event>>,
    seen: mpsc::UnboundedSender<Seen>,
    /// How many status patches fail before one succeeds.
    unavailable: Mutex<u32>,
}

impl Table {
    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<(), ApiError> {
        let mut pods = lock(&self.pods);
        let pod = pods.get_mut(name).ok_or_else(|| ApiError::Gone(format!("pods {name:?} not found")))?;
        change(pod);
        let pod: Pod = serde_json::from_value(pod.clone()).expect("the table holds pods");
        let _ = self.seen.send(Seen::Applied(Box::new(pod)));
        Ok(())
    }
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(key)),
                    value => merge(into.entry(key.clone()).or_insert(Value::Null), value),
                }
            }
        }
        (into, patch @ Value::Object(_)) => {
            *into = json!({});
            merge(into, patch);
        }
        (into, patch) => *into = patch.clone(),
    }
}

impl PodApi for Table {
    fn patch_status<'a>(&'a self, pod: &'a PodRef, said: &'a Said<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let failing = std::mem::replace(&mut *lock(&self.unavailable), 0);
            if failing > 0 {
                *lock(&self.unavailable) = failing - 1;
                return Err(ApiError::Unavailable("connection refused".into()));
            }
            self.change(&pod.name, |pod| merge(pod, &json!({ "status": said.patch() })))?;
            self.log.write(format!("status {}", pod.name));
            Ok(())
        })
    }

    fn delete<'a>(&'a self, pod: &'a PodRef) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let gone = lock(&self.pods).remove(&pod.name);
            self.log.write(format!("delete {}", pod.name));
            let gone = gone.ok_or_else(|| ApiError::Gone("not found".into()))?;
            let gone: Pod = serde_json::from_value(gone).expect("the table holds pods");
            let _ = self.seen.send(Seen::Deleted(Box::new(gone)));
            Ok(())
        })
    }

    fn create_event<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            lock(&self.events).push(event.clone());
            let [pod, reason] = [&event.involved_object.name, &event.reason].map(|it| it.clone().unwrap_or_default());
            self.log.write(format!("event {pod} {reason}"));
            Ok(())
        })
    }

    fn patch_event<'a>(&'a self, _: &'a str, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    fn config_map<'a>(&'a self, _: &'a str, name: &'a str) -> BoxFuture<'a, Result<ConfigMap, ApiError>> {
        Box::pin(async move { Err(ApiError::Gone(format!("configmaps {name:?} not found"))) })
    }

    fn secret<'a>(&'a self, _: &'a str, name: &'a str) -> BoxFuture<'a, Result<Secret, ApiError>> {
        Box::pin(async move { Err(ApiError::Gone(format!("secrets {name:?} not found"))) })
    }
}

/// A disk that keeps everything, and is full when told to be.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    log: Log,
    records: Arc<Mutex<BTreeMap<String, Records>>>,
    full: Arc<Mutex<bool>>,
    forgetful: Arc<Mutex<bool>>,
}

impl Backing for Disk {
    fn commit(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError> {
        if *lock(&self.full) {
            let message = "No space left on device".into();
            return Err(CheckpointError { operation: "write", path: "node-checkpoints.redb".into(), message });
        }
        for (uid, change) in changes {
            let mut records = lock(&self.records);
            let kind = match change {
                Change::Allocated(it) => {
                    records.entry(uid.clone()).or_default().allocated = Some(it.clone());
                    "allocated"
                }
                Change::Actuated(_) if *lock(&self.forgetful) => "forgotten at once",
                Change::Actuated(it) => {
                    records.entry(uid.clone()).or_default().actuated = Some(it.clone());
                    "actuated"
                }
                Change::Forgotten => {
                    records.remove(uid);
                    "forgotten"
                }
            };
            self.log.write(format!("disk {uid} {kind}"));
        }
        Ok(())
    }
}

/// The whole stage.
pub(crate) struct Stage {
    pub(crate) log: Log,
    pub(crate) api: Arc<Table>,
    pub(crate) disk: Disk,
    pub(crate) runtime: Arc<Scripted>,
    pub(crate) clock: Clock,
    manager: Manager,
    reports: mpsc::UnboundedReceiver<Report>,
    seen: mpsc::UnboundedReceiver<Seen>,
    happenings: BoxStream<'static, RuntimeEvent>,
    configured: Configured,
}

/// What a node on a stage is given.
#[derive(Clone, Copy)]
struct Configured {
    capacity: Capacity,
    memory_qos: MemoryQos,
}

fn clock() -> Clock {
    let zero = tokio::time::Instant::now();
    Arc::new(move || {
        let elapsed = jiff::SignedDuration::try_from(zero.elapsed()).expect("tests are short");
        Timestamp::from_second(1_700_000_000).expect("in range") + elapsed
    })
}

impl Stage {
    /// An empty node with two cores, 24 GiB and room for 110 pods. To be called with the clock paused.
    pub(crate) fn new() -> Self {
        Self::with(MemoryQos::default())
    }

    /// The same with memory QoS.
    pub(crate) fn with(memory_qos: MemoryQos) -> Self {
        let capacity = Capacity { cpu: MilliCpu(2000), memory: Bytes(24 << 30), pods: 110 };
        let configured = Configured { capacity, memory_qos };
        let log = Log::default();
        let (seen_sender, seen) = mpsc::unbounded_channel();
        let api = Table {
            log: log.clone(),
            pods: Mutex::default(),
            events: Mutex::default(),
            seen: seen_sender,
            unavailable: Mutex::default(),
        };
        let disk = Disk { log: log.clone(), ..Disk::default() };
        Self::on(log, Arc::new(api), seen, disk, Vec::new(), clock(), configured)
    }

    fn on(
        log: Log,
        api: Arc<Table>,
        seen: mpsc::UnboundedReceiver<Seen>,
        disk: Disk,
        found: Vec<FoundPod>,
        clock: Clock,
        configured: Configured,
    ) -> Self {
        let Configured { capacity, memory_qos } = configured;
        let (events, stream) = mpsc::unbounded_channel();
        let runtime = Arc::new(Scripted::new(log.clone(), (events, stream), Arc::clone(&clock)));
        for (id, run) in found.iter().flat_map(|it| &it.containers) {
            if let RunState::Running { started_at, .. } = run {
                lock(&runtime.state).running.insert(id.clone(), *started_at);
            }
        }
        let as_api: Arc<dyn PodApi> = Arc::clone(&api) as Arc<dyn PodApi>;
        let (recorder, _) = Recorder::start(Arc::clone(&as_api), "lab".into(), Arc::clone(&clock));
        let (sender, reports) = mpsc::unbounded_channel();
        let records = lock(&disk.records).clone();
        let shared = Arc::new(Shared {
            runtime: Arc::clone(&runtime) as Arc<dyn Runtime>,
            api: as_api,
            checkpoints: Checkpoints::inline(disk.clone()),
            recorder,
            clock: Arc::clone(&clock),
            speed: Default::default(),
            node: "lab".into(),
            capacity,
            memory_qos,
            directory: Directory::default(),
            figures: Default::default(),
            workers: TaskTracker::new(),
            reports: sender,
        });
        let happenings = runtime.events();
        let manager = Manager::new(shared, capacity.into(), records, found);
        Self { log, api, disk, runtime, clock, manager, reports, seen, happenings, configured }
    }

    /// The node dies here and another one starts on what it left: the same API, disk and processes.
    pub(crate) fn restarted(self) -> Self {
        let same = self.configured.memory_qos;
        self.restarted_with(same)
    }

    /// The same, and the other one is asked for this memory QoS.
    pub(crate) fn restarted_with(mut self, memory_qos: MemoryQos) -> Self {
        self.configured.memory_qos = memory_qos;
        self.manager.stop();
        let mut found = BTreeMap::<PodRef, Vec<(ContainerRef, RunState)>>::new();
        for (id, started_at) in &lock(&self.runtime.state).running {
            let run = RunState::Running { started_at: *started_at, pid: None };
            found.entry(id.pod.clone()).or_default().push((id.clone(), run));
        }
        let found = found.into_iter().map(|(pod, containers)| FoundPod { pod, containers }).collect();
        let cgroups = lock(&self.runtime.state).cgroups.clone();
        let mut next = Self::on(self.log, self.api, self.seen, self.disk, found, self.clock, self.configured);
        lock(&next.runtime.state).cgroups = cgroups;
        while next.seen.try_recv().is_ok() {}
        let pods = lock(&next.api.pods).values().cloned().collect::<Vec<_>>();
        let typed = |pod| Arc::new(serde_json::from_value::<Pod>(pod).expect("the table holds pods"));
        next.manager.listed(pods.into_iter().map(|pod| Followed::from(typed(pod))).collect());
        next
    }

    /// Create a pod: `spec` with what a pod always has filled in.
    pub(crate) fn create(&mut self, name: &str, mut spec: Value) {
        for kind in ["containers", "initContainers"] {
            for container in spec.get_mut(kind).and_then(Value::as_array_mut).into_iter().flatten() {
                if container.get("image").is_none() {
                    container["image"] = json!("busybox:1.35");
                }
            }
        }
        let qos = spec.get("qos").cloned().unwrap_or_else(|| json!("Burstable"));
        let pod = json!({
            "metadata": { "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1 },
            "spec": spec,
            "status": { "phase": "Pending", "qosClass": qos },
        });
        self.apply(name, pod);
    }

    /// Put this pod into the API as it is.
    pub(crate) fn apply(&mut self, name: &str, pod: Value) {
        lock(&self.api.pods).insert(name.to_owned(), pod);
        self.api.change(name, |_| {}).expect("it has just been put there");
    }

    /// Change a pod's spec, as a resize does.
    pub(crate) fn resize(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        self.api
            .change(name, |pod| {
                change(&mut pod["spec"]);
                let generation = pod["metadata"]["generation"].as_i64().unwrap_or(1);
                pod["metadata"]["generation"] = json!(generation + 1);
            })
            .expect("the pod exists");
    }

    /// Ask for a pod's deletion.
    pub(crate) fn delete(&mut self, name: &str, grace: i64) {
        let now = (self.clock)().to_string();
        self.api
            .change(name, |pod| {
                pod["metadata"]["deletionTimestamp"] = json!(now);
                pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            })
            .expect("the pod exists");
    }

    /// Remove a pod from the API at once.
    pub(crate) fn delete_by_force(&mut self, name: &str) {
        let gone = lock(&self.api.pods).remove(name).expect("the pod exists");
        let gone: Pod = serde_json::from_value(gone).expect("the table holds pods");
        let _ = self.api.seen.send(Seen::Deleted(Box::new(gone)));
    }

    /// A container ends by itself.
    pub(crate) fn exits(&self, pod: &str, container: &str, code: i32, oom_killed: bool) {
        let running: Vec<ContainerRef> = lock(&self.runtime.state).running.keys().cloned().collect();
        let id = running.iter().find(|id| id.pod.name == pod && id.container == container).expect("it runs");
        self.runtime.ends(id, code, oom_killed);
    }

    /// The next `times` calls that begin so fail.
    pub(crate) fn failing(&self, prefix: &str, times: u32) {
        lock(&self.runtime.state).failing.insert(prefix.to_owned(), times);
    }

    /// What a container uses.
    pub(crate) fn uses(&self, container: &str, bytes: i64) {
        lock(&self.runtime.state).usage.insert(container.to_owned(), bytes);
    }

    /// This container ignores SIGTERM.
    pub(crate) fn stubborn(&self, container: &str) {
        lock(&self.runtime.state).stubborn.push(container.to_owned());
    }

    /// The disk is full, or has room again.
    pub(crate) fn disk_full(&self, full: bool) {
        *lock(&self.disk.full) = full;
    }

    /// Records of what was actuated are lost, as those that a killed node had not written yet.
    pub(crate) fn forgets_what_is_actuated(&self, forgetful: bool) {
        *lock(&self.disk.forgetful) = forgetful;
    }

    /// The next status patches fail.
    pub(crate) fn api_unavailable(&self, times: u32) {
        *lock(&self.api.unavailable) = times;
    }

    /// A pod as the API has it.
    pub(crate) fn pod(&self, name: &str) -> Value {
        lock(&self.api.pods).get(name).cloned().unwrap_or(Value::Null)
    }

    /// A part of a pod's status.
    pub(crate) fn status(&self, name: &str, pointer: &str) -> Value {
        self.pod(name).pointer(&format!("/status{pointer}")).cloned().unwrap_or(Value::Null)
    }

    /// A condition of a pod.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> Option<Value> {
        let conditions = self.status(name, "/conditions");
        conditions.as_array()?.iter().find(|it| it["type"] == type_).cloned()
    }

    /// `reason message` of the events about a pod.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let events = lock(&self.api.events);
        let of = events.iter().filter(|it| it.involved_object.name.as_deref() == Some(name));
        of.map(|it| format!("{} {}", text(&it.reason), text(&it.message))).collect()
    }

    /// Log lines that begin with one of these words.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        self.log.lines().into_iter().filter(|line| words.iter().any(|word| line.starts_with(word))).collect()
    }

    /// Forget what was logged.
    pub(crate) fn clear(&self) {
        lock(&self.log.lines).clear();
    }

    /// Let the node work until this holds.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a mut self,
        what: &'a str,
        mut holds: impl FnMut(&Self) -> bool + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
            while !holds(self) {
                let changed = Arc::clone(&self.log.changed);
                let retry = self.manager.wake().map(|at| (at - (self.clock)()).try_into().unwrap_or(Duration::ZERO));
                tokio::select! {
                    Some(report) = self.reports.recv() => self.manager.reported(report),
                    Some(event) = self.happenings.next() => self.manager.happened(event),
                    Some(seen) = self.seen.recv() => match seen {
                        Seen::Applied(pod) => self.manager.applied(Followed::from(Arc::<Pod>::from(pod))),
                        Seen::Deleted(pod) => self.manager.deleted(&pod),
                    },
                    () = changed.notified() => {}
                    () = tokio::time::sleep(retry.unwrap_or(Duration::MAX)) => self.manager.retry_if_due(),
                    () = tokio::time::sleep_until(deadline) => {
                        panic!("{caller}: never {what}; log: {:#?}", self.log.lines());
                    }
                }
            }
        }
    }

    /// Let the node work until nothing happens any more for this long.
    pub(crate) async fn quiet(&mut self, wait: Duration) {
        let mut seen = self.log.lines().len();
        loop {
            let end = tokio::time::Instant::now() + wait;
            let reached = |_: &Self| tokio::time::Instant::now() >= end;
            let waker = Arc::clone(&self.log.changed);
            tokio::spawn(async move {
                tokio::time::sleep_until(end).await;
                waker.notify_one();
            });
            self.until("quiet", reached).await;
            let lines = self.log.lines().len();
            if lines == seen {
                return;
            }
            seen = lines;
        }
    }
}
