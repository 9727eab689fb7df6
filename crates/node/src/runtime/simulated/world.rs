//! The simulated machine: its pods, and what happens to them as time goes by.
//!
//! Time goes in whole seconds of the clock: at each, every container uses what its pattern says, and who is over its
//! limit is killed. So the outcome depends on the clock alone, not on how often somebody looks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use supple_quantity::Bytes;
use supple_resize::kernel::CgroupResources;

use super::pattern::{ANNOTATION, Pattern};
use super::recorded::{Played, Recording};
use crate::runtime::rate::Rate;
use crate::runtime::{
    CONTAINER_NOT_FOUND, ContainerConfig, ContainerRef, ContainerUsage, Exit, FoundPod, PodRef, PodUsage, RunState,
    RuntimeError, RuntimeEvent, Strains,
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// What the kernel's CFS counts throttling in.
const PERIOD_NANOS: u64 = 100_000_000;
/// Over how long CPU is averaged.
const WINDOW: Duration = Duration::from_secs(10);

/// All pods, and the events nobody has seen yet.
#[derive(Debug, Default)]
pub struct World {
    seed: u64,
    recording: Option<Arc<Recording>>,
    pods: BTreeMap<String, Pod>,
    /// The pods with a container that will end, or that may hold more memory than it or its pod may have.
    restless: BTreeSet<String>,
    happened: VecDeque<RuntimeEvent>,
}

#[derive(Debug)]
struct Pod {
    id: PodRef,
    /// Whether it still has its cgroup; without one only its logs are left.
    present: bool,
    resources: CgroupResources,
    /// In the order of their names and attempts. A list: a map has room for eleven, and most pods have one.
    containers: Vec<Container>,
    /// The second up to which time has gone by.
    second: i64,
}

#[derive(Debug)]
struct Container {
    name: Box<str>,
    attempt: u32,
    resources: CgroupResources,
    course: Course,
    seed: u64,
    started_at: Timestamp,
    tally: Tally,
    rate: Rate,
    exit: Option<Exit>,
    log: Vec<u8>,
}

/// What a container has used and suffered.
#[derive(Debug, Default)]
struct Tally {
    cpu_nanos: u64,
    memory: Bytes,
    memory_peak: Bytes,
    throttled_periods: u64,
    throttled_nanos: u64,
    oom_kills: u64,
}

/// Where a container's usage comes from.
#[derive(Debug)]
enum Course {
    Pattern(Pattern),
    Played(Played),
}

impl Course {
    /// CPU it would use, thousandths of a core.
    fn cpu_at(&self, at: Timestamp, age: Duration, draw: u64) -> u64 {
        match self {
            Self::Pattern(pattern) => pattern.cpu_at(age, draw),
            Self::Played(played) => played.cpu_at(at),
        }
    }

    /// Memory it holds, bytes.
    fn memory_at(&self, at: Timestamp, age: Duration) -> u64 {
        match self {
            Self::Pattern(pattern) => pattern.memory_at(age),
            Self::Played(played) => played.memory_at(at),
        }
    }

    fn most_memory(&self) -> u64 {
        match self {
            Self::Pattern(pattern) => pattern.memory.most(),
            Self::Played(played) => played.most_memory(),
        }
    }

    /// When it ends by itself, and with which code.
    fn exit(&self) -> Option<(Duration, i32)> {
        match self {
            Self::Pattern(pattern) => pattern.exit,
            Self::Played(_) => None,
        }
    }
}

impl World {
    /// An empty one.
    pub fn new(seed: u64, recording: Option<Arc<Recording>>) -> Self {
        Self { seed, recording, ..Self::default() }
    }

    /// Whether time alone can make something happen. Of most worlds it is enough to look when somebody asks.
    pub fn is_restless(&self) -> bool {
        !self.restless.is_empty()
    }

    /// Whether nothing has happened that nobody was told of, and nothing will by itself.
    pub fn is_quiet(&self) -> bool {
        self.happened.is_empty() && self.restless.is_empty()
    }

    /// What has happened, oldest first.
    pub fn next_event(&mut self) -> Option<RuntimeEvent> {
        self.happened.pop_front()
    }

    /// Let time go by for those to whom it can do something. For all others it does when somebody asks for them: one of
    /// ten thousand pods is resized without a look at the rest.
    pub fn advance(&mut self, now: Timestamp) {
        for uid in self.restless.iter().cloned().collect::<Vec<_>>() {
            self.touch(&uid, now, |_| ());
        }
    }

    /// Do something with a pod as it is now; `None` if it is not there.
    fn touch<T>(&mut self, uid: &str, now: Timestamp, act: impl FnOnce(&mut Pod) -> T) -> Option<T> {
        let pod = self.pods.get_mut(uid)?;
        pod.advance(now, &mut self.happened);
        let done = act(pod);
        if pod.is_restless() {
            self.restless.insert(uid.to_owned());
        } else {
            self.restless.remove(uid);
        }
        Some(done)
    }

    pub fn create_pod(&mut self, id: &PodRef, resources: &CgroupResources, now: Timestamp) {
        let pod = self.pods.entry(id.uid.clone()).or_insert_with(|| Pod {
            id: id.clone(),
            present: true,
            resources: merged(&CgroupResources::default(), resources),
            containers: Vec::new(),
            second: now.as_second(),
        });
        pod.present = true;
    }

    pub fn remove_pod(&mut self, id: &PodRef) {
        if let Some(pod) = self.pods.get_mut(&id.uid) {
            pod.present = false;
        }
    }

    /// The pods that are there, each with its newest runs.
    pub fn found(&mut self, now: Timestamp) -> Vec<FoundPod> {
        for pod in self.pods.values_mut() {
            pod.advance(now, &mut self.happened);
        }
        let present = self.pods.values().filter(|pod| pod.present);
        let found = present.map(|pod| {
            // In order of attempts, so the last of a name is its newest.
            let newest: BTreeMap<_, _> = pod.containers.iter().map(|it| (&it.name, it)).collect();
            let containers = newest.into_values().map(|it| (it.known_as(&pod.id), it.state())).collect();
            FoundPod { pod: pod.id.clone(), containers }
        });
        found.collect()
    }

    pub fn update_pod(&mut self, id: &PodRef, resources: &CgroupResources, now: Timestamp) -> Result<(), RuntimeError> {
        self.pod(id, now, |pod| {
            refuse_below(pod.memory(), resources, &format!("pod {}/{}", id.namespace, id.name))?;
            pod.resources = merged(&pod.resources, resources);
            Ok(())
        })?
    }

    pub fn read_pod(&mut self, id: &PodRef, now: Timestamp) -> Result<CgroupResources, RuntimeError> {
        self.pod(id, now, |pod| pod.resources)
    }

    pub fn forget_pod(&mut self, id: &PodRef) {
        self.pods.remove(&id.uid);
        self.restless.remove(&id.uid);
    }

    pub fn clear(&mut self) {
        self.pods.clear();
        self.restless.clear();
    }

    pub fn start(&mut self, config: &ContainerConfig, now: Timestamp) -> Result<RunState, RuntimeError> {
        let seed = config.id.pod.namespace.bytes().chain(*b"/").chain(config.id.pod.name.bytes()).chain(*b"/");
        // By name, not by UID, which is another one in each run of the same world.
        let seed = seed.chain(config.id.container.bytes()).fold(self.seed, |hash, byte| mix(hash ^ u64::from(byte)));
        let id = &config.id;
        let recorded = self.recording.as_ref().and_then(|it| it.of(&id.pod.namespace, &id.pod.name, &id.container));
        let course = match recorded {
            Some(played) => Course::Played(played),
            None => Course::Pattern(pattern(config, seed)?),
        };
        let mut container = Container {
            name: id.container.as_str().into(),
            attempt: id.attempt,
            resources: merged(&CgroupResources::default(), &config.resources),
            course,
            seed,
            started_at: now,
            tally: Tally::default(),
            rate: Rate::default(),
            exit: None,
            log: Vec::new(),
        };
        container.say(now, &format!("simulated, nothing is executed: {}", config.command.join(" ")));
        container.rate.take(since_epoch(now), 0, WINDOW);
        container.hold(now, Duration::ZERO);
        let state = container.state();
        container.log.shrink_to_fit();
        self.pod(&id.pod, now, |pod| match pod.place(&id.container, id.attempt) {
            Ok(at) => pod.containers[at] = container,
            Err(at) => {
                pod.containers.reserve_exact(1);
                pod.containers.insert(at, container);
            }
        })?;
        Ok(state)
    }

    pub fn update(
        &mut self,
        id: &ContainerRef,
        resources: &CgroupResources,
        now: Timestamp,
    ) -> Result<(), RuntimeError> {
        self.container(id, now, |container| {
            refuse_below(container.tally.memory.0, resources, &format!("container {:?}", id.container))?;
            container.resources = merged(&container.resources, resources);
            Ok(())
        })?
    }

    pub fn read(&mut self, id: &ContainerRef, now: Timestamp) -> Result<CgroupResources, RuntimeError> {
        self.container(id, now, |container| container.resources)
    }

    pub fn stop(&mut self, id: &ContainerRef, now: Timestamp) -> Result<Exit, RuntimeError> {
        let (exit, is_new) = self.container(id, now, |container| match &container.exit {
            Some(exit) => (exit.clone(), false),
            None => (container.end(now, 143, Some(15), false), true),
        })?;
        if is_new {
            self.happened.push_back(RuntimeEvent::Exited(id.clone(), exit.clone()));
        }
        Ok(exit)
    }

    pub fn usage(&mut self, id: &PodRef, now: Timestamp) -> Result<PodUsage, RuntimeError> {
        self.pod(id, now, |pod| pod.usage(now))
    }

    /// The log from this byte on, and whether it is complete; `None` for a container that is not there (any more).
    pub fn log(&mut self, id: &ContainerRef, from: usize, now: Timestamp) -> Option<(Vec<u8>, bool)> {
        let read = |container: &mut Container| {
            (container.log.get(from..).unwrap_or_default().to_vec(), container.exit.is_some())
        };
        self.container(id, now, read).ok()
    }

    fn pod<T>(&mut self, id: &PodRef, now: Timestamp, act: impl FnOnce(&mut Pod) -> T) -> Result<T, RuntimeError> {
        self.touch(&id.uid, now, act).ok_or_else(|| RuntimeError {
            reason: "PodNotFound",
            operation: "find".into(),
            object: format!("pod {}/{}", id.namespace, id.name),
            message: "it has not been created or is gone".into(),
        })
    }

    fn container<T>(
        &mut self,
        id: &ContainerRef,
        now: Timestamp,
        act: impl FnOnce(&mut Container) -> T,
    ) -> Result<T, RuntimeError> {
        let found = self.touch(&id.pod.uid, now, |pod| {
            let at = pod.place(&id.container, id.attempt).ok()?;
            Some(act(&mut pod.containers[at]))
        });
        found.flatten().ok_or_else(|| RuntimeError {
            reason: CONTAINER_NOT_FOUND,
            operation: "find".into(),
            object: format!("container {:?} of pod {}/{}", id.container, id.pod.namespace, id.pod.name),
            message: "it has not been started or is gone".into(),
        })
    }
}

impl Pod {
    /// Where a run of a container stands, or would.
    fn place(&self, name: &str, attempt: u32) -> Result<usize, usize> {
        self.containers.binary_search_by(|it| (&*it.name, it.attempt).cmp(&(name, attempt)))
    }

    fn is_restless(&self) -> bool {
        let running = || self.containers.iter().filter(|it| it.exit.is_none());
        let over =
            |most: u64, resources| limited(resources).is_some_and(|it| u64::try_from(it).is_ok_and(|it| most > it));
        running().any(|it| it.course.exit().is_some() || over(it.course.most_memory(), &it.resources))
            || over(running().map(|it| it.course.most_memory()).fold(0, u64::saturating_add), &self.resources)
    }

    /// Let time go by, up to `now`.
    fn advance(&mut self, now: Timestamp, happened: &mut VecDeque<RuntimeEvent>) {
        while self.second < now.as_second() {
            if self.containers.iter().all(|it| it.exit.is_some()) {
                self.second = now.as_second();
                break;
            }
            self.second += 1;
            let Ok(at) = Timestamp::from_second(self.second) else { break };
            self.tick(at, happened);
        }
    }

    fn usage(&mut self, now: Timestamp) -> PodUsage {
        let (second, memory_usage) = (self.second, Bytes(self.memory()));
        let (mut window, mut containers) = (Duration::ZERO, Vec::new());
        let limit = self.resources;
        for container in self.containers.iter_mut().filter(|it| it.exit.is_none()) {
            let mut usage = container.usage();
            // The part of a second that has not gone by as a whole yet.
            let since = Timestamp::from_second(second).map_or(container.started_at, |at| at.max(container.started_at));
            usage.cpu_usage_nanos += container.cpu(now, nanos_between(since, now), &limit).0;
            let measured = container.rate.take(since_epoch(now), usage.cpu_usage_nanos, WINDOW);
            usage.cpu_nano_cores = measured.map(|(nano_cores, _)| nano_cores);
            window = window.max(measured.map_or(Duration::ZERO, |(_, over)| over));
            containers.push(usage);
        }
        PodUsage { pod: self.id.clone(), at: now, window, memory_usage, strains: Strains::new(), containers }
    }

    /// The second that ends `at`.
    fn tick(&mut self, at: Timestamp, happened: &mut VecDeque<RuntimeEvent>) {
        let limit = self.resources;
        for container in self.containers.iter_mut().filter(|it| it.exit.is_none() && it.started_at <= at) {
            if let Some(exit) = container.tick(at, &limit) {
                happened.push_back(RuntimeEvent::Exited(container.known_as(&self.id), exit));
            }
        }
        if limited(&self.resources).is_some_and(|limit| self.memory() > limit) {
            // The kernel takes the largest; the name decides between equals.
            let largest = self.containers.iter_mut().filter(|it| it.exit.is_none());
            if let Some(container) = largest.max_by_key(|it| it.tally.memory) {
                let exit = container.end(at, 137, Some(9), true);
                happened.push_back(RuntimeEvent::Exited(container.known_as(&self.id), exit));
            }
        }
    }

    fn memory(&self) -> i64 {
        self.containers.iter().filter(|it| it.exit.is_none()).map(|it| it.tally.memory.0).sum()
    }
}

impl Container {
    /// As others name it.
    fn known_as(&self, pod: &PodRef) -> ContainerRef {
        ContainerRef { pod: pod.clone(), container: self.name.to_string(), attempt: self.attempt }
    }

    /// What it has used up to the last whole second.
    fn usage(&self) -> ContainerUsage {
        let Tally { cpu_nanos, memory, memory_peak, throttled_periods, throttled_nanos, oom_kills } = self.tally;
        ContainerUsage {
            container: self.name.to_string(),
            cpu_usage_nanos: cpu_nanos,
            memory_usage: memory,
            memory_working_set: memory,
            memory_peak,
            throttled_periods,
            throttled_nanos,
            oom_kills,
            ..ContainerUsage::default()
        }
    }

    fn tick(&mut self, at: Timestamp, pod: &CgroupResources) -> Option<Exit> {
        let age = Duration::from_nanos(nanos_between(self.started_at, at));
        if let Some((after, code)) = self.course.exit()
            && age >= after
        {
            let finished =
                jiff::SignedDuration::try_from(after).ok().and_then(|it| self.started_at.checked_add(it).ok());
            return Some(self.end(finished.unwrap_or(at), code, None, false));
        }
        let elapsed = nanos_between(self.started_at, at).min(NANOS_PER_SECOND);
        let (used, throttled) = self.cpu(at, elapsed, pod);
        self.tally.cpu_nanos += used;
        if throttled > 0 {
            self.tally.throttled_periods += elapsed / PERIOD_NANOS;
            self.tally.throttled_nanos += throttled;
        }
        self.hold(at, age);
        let over = limited(&self.resources).is_some_and(|limit| self.tally.memory.0 > limit);
        over.then(|| self.end(at, 137, Some(9), true))
    }

    /// Take the memory that its course says.
    fn hold(&mut self, at: Timestamp, age: Duration) {
        let held = Bytes(i64::try_from(self.course.memory_at(at, age)).unwrap_or(i64::MAX));
        self.tally.memory = held;
        self.tally.memory_peak = self.tally.memory_peak.max(held);
    }

    /// CPU used in the `elapsed` nanoseconds up to `at`, and how long of them it was throttled.
    fn cpu(&self, at: Timestamp, elapsed: u64, pod: &CgroupResources) -> (u64, u64) {
        let draw = mix(self.seed ^ u64::try_from(at.as_second()).unwrap_or(0));
        let age = Duration::from_nanos(nanos_between(self.started_at, at));
        let wanted = self.course.cpu_at(at, age, draw);
        let limits = [&self.resources, pod].into_iter().filter_map(CgroupResources::cpu_limit);
        let limit = limits.map(|it| u64::try_from(it.0).unwrap_or(0)).min().unwrap_or(u64::MAX);
        // At most 10^9 ns a call, and a container of 10^9 cores is still below 2^64.
        let used = wanted.min(limit).saturating_mul(elapsed) / 1000;
        let throttled = wanted.saturating_sub(limit).saturating_mul(elapsed).checked_div(wanted).unwrap_or(0);
        (used, throttled)
    }

    fn end(&mut self, at: Timestamp, code: i32, signal: Option<i32>, oom_killed: bool) -> Exit {
        let exit = Exit { code, signal, oom_killed, started_at: self.started_at, finished_at: at };
        self.tally.oom_kills += u64::from(oom_killed);
        self.say(at, &format!("simulated end with code {code}{}", if oom_killed { ", out of memory" } else { "" }));
        self.exit = Some(exit.clone());
        exit
    }

    fn say(&mut self, at: Timestamp, text: &str) {
        let text = text.replace('\n', " ");
        self.log.extend_from_slice(format!("{at} stdout F {text}\n").as_bytes());
    }

    fn state(&self) -> RunState {
        match &self.exit {
            None => RunState::Running { started_at: self.started_at, pid: None },
            Some(exit) => RunState::Exited(exit.clone()),
        }
    }
}

/// By annotation, else by what the command says of itself, else something plausible for its size.
fn pattern(config: &ContainerConfig, seed: u64) -> Result<Pattern, RuntimeError> {
    if let Some(text) = config.annotations.get(ANNOTATION) {
        let found = Pattern::of_container(text, &config.id.container).map_err(|error| RuntimeError {
            reason: "StartError",
            operation: format!("read annotation {ANNOTATION} of"),
            object: format!("pod {}/{}", config.id.pod.namespace, config.id.pod.name),
            message: error.to_string(),
        })?;
        if let Some(pattern) = found {
            return Ok(pattern);
        }
    }
    if let Some(pattern) = Pattern::of_command(&config.command) {
        return Ok(pattern);
    }
    let request = config.resources.cpu_shares.map_or(100, |shares| (shares * 1000 / 1024).max(10));
    let memory = limited(&config.resources).and_then(|it| u64::try_from(it).ok()).unwrap_or(256 << 20);
    let part = |salt: u64, from: u64, to: u64| from + mix(seed ^ salt) % (to - from);
    Ok(Pattern {
        cpu: super::pattern::Shape::Wave(
            request * part(1, 10, 30) / 100,
            request * part(2, 40, 90) / 100,
            part(3, 60, 600) * NANOS_PER_SECOND,
        ),
        memory: super::pattern::Shape::Steady(memory / 100 * part(4, 20, 60)),
        noise: 10,
        ..Pattern::steady(0, 0)
    })
}

/// The values of `write`, and those of `old` where it says nothing. What nobody ever said reads as the kernel's default.
fn merged(old: &CgroupResources, write: &CgroupResources) -> CgroupResources {
    CgroupResources {
        cpu_shares: write.cpu_shares.or(old.cpu_shares).or(Some(1024)),
        cpu_quota_us: write.cpu_quota_us.or(old.cpu_quota_us).or(Some(-1)),
        cpu_period_us: write.cpu_period_us.or(old.cpu_period_us).or(Some(100_000)),
        memory_limit_bytes: write.memory_limit_bytes.or(old.memory_limit_bytes).or(Some(-1)),
        tiers: old.tiers.with(&write.tiers),
    }
}

fn limited(resources: &CgroupResources) -> Option<i64> {
    resources.memory_limit_bytes.filter(|it| *it >= 0)
}

/// As cgroup v1 does: what is in use cannot be reclaimed here.
fn refuse_below(held: i64, resources: &CgroupResources, object: &str) -> Result<(), RuntimeError> {
    match limited(resources) {
        Some(limit) if limit < held => Err(RuntimeError {
            reason: "CgroupWrite",
            operation: format!("lower the memory limit to {limit} of"),
            object: object.to_owned(),
            message: format!("{held} bytes are in use: Device or resource busy (os error 16)"),
        }),
        _ => Ok(()),
    }
}

fn nanos_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_nanosecond() - from.as_nanosecond()).unwrap_or(0)
}

fn since_epoch(now: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(now.as_nanosecond()).unwrap_or(0))
}

/// A number that looks random and is a function of `x` alone (the finaliser of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
