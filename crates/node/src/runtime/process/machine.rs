//! What the process runtime has: our own root cgroup, the pods below it and their runs. Starting, watching and adopting
//! runs are in the files beside.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use supple_resize::kernel::CgroupResources;
use tokio::sync::mpsc;

use super::protection::Protection;
use super::run::{Phase, Run};
use super::{NewError, ProcessOptions, error, logs};
use crate::cgroup::{Group, Hierarchies, Role};
use crate::runtime::ground::{apply, containers_dir, end, lock, make_private, memory, remove_dir, root_name, usage_of};
use crate::runtime::strain::{END_OF_CONTAINER, Listener, OwnLimits};
use crate::runtime::{ContainerRef, ContainerUsage, LogOptions, PodRef, PodUsage, RuntimeError, RuntimeEvent};
use crate::shim::record::{self, RunDir};

/// A container's name and attempt: what tells the runs of one pod apart.
pub type RunKey = (String, u32);

/// The runs of every pod, by UID.
type Pods = BTreeMap<String, BTreeMap<RunKey, Arc<Run>>>;

/// `pod.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PodRecord {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub options: ProcessOptions,
    pub root: Group,
    pub isolate: bool,
    described: String,
    pods: Mutex<Pods>,
    /// What pods protect of their memory.
    protection: Protection,
    /// The pods whose own limits are listened to, by UID.
    sandboxes: Mutex<BTreeMap<String, OwnLimits>>,
    /// Unbounded, and still bounded by nature: a run sends at most one end, one event per OOM kill, and each strain
    /// every few seconds.
    events: mpsc::UnboundedSender<RuntimeEvent>,
    subscriber: Mutex<Option<mpsc::UnboundedReceiver<RuntimeEvent>>>,
    /// The origin of the clock that CPU readings are stamped with.
    began: std::time::Instant,
}

impl Machine {
    pub fn open(options: ProcessOptions) -> Result<Self, NewError> {
        let hierarchies = Hierarchies::detect(&options.mounts)?;
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| NewError::DataDir { operation, path, source }
        };
        let containers = containers_dir(&options.data_dir);
        make_private(&containers).map_err(failed("make private", &containers))?;
        let name_file = options.data_dir.join("cgroup");
        let root =
            Group::root(&hierarchies, &root_name(&name_file).map_err(failed("keep our cgroup's name in", &name_file))?);
        root.create()?;
        let isolate = may_make_namespaces();
        allow_many_files();
        let described = format!(
            "{} are writable; containers {}",
            hierarchies.describe(),
            if isolate { "get their own PID, mount and UTS namespaces" } else { "share this machine's namespaces" },
        );
        let described = match hierarchies {
            Hierarchies::V1(_) => described,
            Hierarchies::V2(_) => described.replacen(" are writable", " is writable", 1),
        };
        let (events, receiver) = mpsc::unbounded_channel();
        Ok(Self {
            options,
            root,
            isolate,
            described,
            pods: Mutex::default(),
            protection: Protection::default(),
            sandboxes: Mutex::default(),
            events,
            subscriber: Mutex::new(Some(receiver)),
            began: std::time::Instant::now(),
        })
    }

    pub fn describe(&self) -> String {
        self.described.clone()
    }

    /// The stream of events, for the first who asks.
    pub fn subscribe(&self) -> Option<mpsc::UnboundedReceiver<RuntimeEvent>> {
        lock(&self.subscriber).take()
    }

    pub fn tell(&self, event: RuntimeEvent) {
        // Nobody has subscribed, or no longer: then nobody wants to know.
        let _ = self.events.send(event);
    }

    pub fn containers_dir(&self) -> PathBuf {
        containers_dir(&self.options.data_dir)
    }

    fn pod_dir(&self, pod: &PodRef) -> PathBuf {
        self.containers_dir().join(&pod.uid)
    }

    pub fn run_dir(&self, id: &ContainerRef) -> Result<RunDir, RuntimeError> {
        for name in [&id.pod.uid, &id.container] {
            if !Group::is_name(name) {
                return Err(error::bad_name(&id.pod, name));
            }
        }
        Ok(RunDir::new(self.pod_dir(&id.pod).join(&id.container).join(id.attempt.to_string())))
    }

    pub fn pod_group(&self, pod: &PodRef) -> Result<Group, RuntimeError> {
        let name = format!("pod{}", pod.uid);
        // Both: the UID alone is a directory's name too, and `..` would not be one of ours.
        if Group::is_name(&name) && Group::is_name(&pod.uid) {
            Ok(self.root.child(&name, Role::Pod))
        } else {
            Err(error::bad_name(pod, &pod.uid))
        }
    }

    pub fn container_group(&self, id: &ContainerRef) -> Result<Group, RuntimeError> {
        let name = format!("{}-{}", id.container, id.attempt);
        if !Group::is_name(&name) {
            return Err(error::bad_name(&id.pod, &id.container));
        }
        Ok(self.pod_group(&id.pod)?.child(&name, Role::Container))
    }

    pub fn run(&self, id: &ContainerRef) -> Result<Arc<Run>, RuntimeError> {
        let key = (id.container.clone(), id.attempt);
        let pods = lock(&self.pods);
        let run = pods.get(&id.pod.uid).and_then(|runs| runs.get(&key));
        run.map(Arc::clone).ok_or_else(|| error::no_container(id))
    }

    pub fn add_run(&self, run: Arc<Run>) {
        let key = (run.id.container.clone(), run.id.attempt);
        lock(&self.pods).entry(run.id.pod.uid.clone()).or_default().insert(key, run);
    }

    fn drop_run(&self, id: &ContainerRef) {
        if let Some(runs) = lock(&self.pods).get_mut(&id.pod.uid) {
            runs.remove(&(id.container.clone(), id.attempt));
        }
    }

    pub fn runs(&self, pod: &PodRef) -> Vec<Arc<Run>> {
        lock(&self.pods).get(&pod.uid).map(|runs| runs.values().map(Arc::clone).collect()).unwrap_or_default()
    }

    fn all_runs(&self) -> Vec<Arc<Run>> {
        lock(&self.pods).values().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// Listen to the pod's own limits from now on; nothing if that is done already.
    pub fn listen(&self, pod: &PodRef) -> Result<(), RuntimeError> {
        let group = self.pod_group(pod)?;
        let listen = || OwnLimits::listen(pod.clone(), group, self.events.clone());
        lock(&self.sandboxes).entry(pod.uid.clone()).or_insert_with(listen);
        Ok(())
    }

    /// Who listens to what a container suffers.
    pub fn listener(self: &Arc<Self>, run: &Arc<Run>) -> Listener {
        let (machine, killed) = (Arc::clone(self), Arc::clone(run));
        Listener {
            id: run.id.clone(),
            group: run.group.clone(),
            suffered: Arc::clone(&run.suffered),
            told: self.events.clone(),
            killed: Box::new(move || {
                let (machine, run) = (Arc::clone(&machine), Arc::clone(&killed));
                tokio::spawn(async move {
                    if tokio::time::timeout(END_OF_CONTAINER, run.ended()).await.is_err() {
                        machine.tell(RuntimeEvent::OomKill(run.id.clone()));
                    }
                });
            }),
        }
    }

    pub fn create_pod(&self, pod: &PodRef, resources: &CgroupResources) -> Result<(), RuntimeError> {
        let group = self.pod_group(pod)?;
        if group.exists() {
            return self.listen(pod);
        }
        let dir = self.pod_dir(pod);
        let record = PodRecord { namespace: pod.namespace.clone(), name: pod.name.clone() };
        // The record first: a cgroup without one is an orphan to the next start.
        fs::create_dir_all(&dir)
            .and_then(|()| record::write(&dir.join("pod.json"), &record))
            .map_err(|it| error::record("write the record of the pod in", &dir, &it))?;
        let protected = || self.protection.set(&self.root, &pod.uid, &resources.tiers);
        let made = group.create().and_then(|()| group.apply(resources)).and_then(|()| protected());
        made.map_err(|it| error::cgroup(&it))?;
        self.listen(pod)
    }

    /// Write those values of the pod's cgroup that are `Some`.
    pub async fn update_pod(&self, pod: &PodRef, resources: CgroupResources) -> Result<(), RuntimeError> {
        let group = self.pod_group(pod)?;
        self.protection.set(&self.root, &pod.uid, &resources.tiers).map_err(|it| error::cgroup(&it))?;
        apply(group, resources).await
    }

    /// A pod that a predecessor left: its limits are listened to again, and what it protects is known. Where its cgroup does not stand,
    /// because the predecessor was killed before it had made all of it, or the machine was restarted, it is made; its worker reads it,
    /// finds it unlimited, and sets it right.
    pub fn adopt_pod(&self, pod: &PodRef) -> Result<(), RuntimeError> {
        let group = self.pod_group(pod)?;
        if !group.exists() {
            group.create().map_err(|it| error::cgroup(&it))?;
        }
        let tiers = group.read().map_err(|it| error::cgroup(&it))?.tiers;
        self.protection.set(&self.root, &pod.uid, &tiers).map_err(|it| error::cgroup(&it))?;
        self.listen(pod)
    }

    pub fn remove_pod(&self, pod: &PodRef) -> impl Future<Output = Result<(), RuntimeError>> + Send + use<> {
        let group = self.pod_group(pod);
        lock(&self.sandboxes).remove(&pod.uid);
        let forgotten = self.protection.forget(&self.root, &pod.uid).map_err(|it| error::cgroup(&it));
        async move {
            end(group?).await?;
            forgotten
        }
    }

    pub fn forget_pod(&self, pod: &PodRef) -> Result<(), RuntimeError> {
        self.pod_group(pod)?; // refuses a UID that is no file name
        lock(&self.pods).remove(&pod.uid);
        remove_dir(&self.pod_dir(pod))
    }

    pub fn remove_container(&self, id: &ContainerRef) -> Result<(), RuntimeError> {
        if let Ok(run) = self.run(id)
            && !matches!(&*run.phase.borrow(), Phase::Ended(_))
        {
            return Err(error::still_running(id));
        }
        let dir = self.run_dir(id)?;
        for path in [dir.spec(), dir.state(), dir.exit(), dir.lock()] {
            match fs::remove_file(&path) {
                Err(it) if it.kind() != io::ErrorKind::NotFound => return Err(error::record("remove", &path, &it)),
                _ => {}
            }
        }
        self.drop_run(id);
        Ok(())
    }

    /// Forget a run and everything it left, its log too.
    pub fn discard(&self, id: &ContainerRef) -> Result<(), RuntimeError> {
        self.drop_run(id);
        remove_dir(self.run_dir(id)?.path())
    }

    pub fn usage(&self, pod: &PodRef) -> Result<PodUsage, RuntimeError> {
        let at = jiff::Timestamp::now();
        let memory_usage = self.pod_group(pod)?.memory_usage().map_err(|it| error::cgroup(&it))?;
        let mut window = Duration::ZERO;
        let mut containers = Vec::new();
        for run in self.runs(pod) {
            let started_at = match &*run.phase.borrow() {
                Phase::Running(started) => Some(started.at),
                Phase::Starting | Phase::Ended(_) => continue,
            };
            let stat = match run.group.stat() {
                Ok(stat) => stat,
                Err(it) if it.is_gone() => continue, // ended a moment ago
                Err(it) => return Err(error::cgroup(&it)),
            };
            let measured = lock(&run.rate).take(self.began.elapsed(), stat.cpu_usage_nanos, self.options.usage_window);
            window = window.max(measured.map_or(Duration::ZERO, |(_, over)| over));
            containers.push(ContainerUsage {
                started_at,
                cpu_nano_cores: measured.map(|(nano_cores, _)| nano_cores),
                strains: lock(&run.suffered).seen(),
                ..usage_of(&run.id.container, &stat)
            });
        }
        let strains = lock(&self.sandboxes).get(&pod.uid).map(OwnLimits::seen).unwrap_or_default();
        Ok(PodUsage { pod: pod.clone(), at, window, memory_usage: memory(memory_usage), strains, containers })
    }

    /// The reading from which a container that has just started is measured: its counter is zero now.
    pub fn start_measuring(&self, run: &Run) {
        lock(&run.rate).take(self.began.elapsed(), 0, self.options.usage_window);
    }

    pub fn logs(
        &self,
        id: &ContainerRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, RuntimeError> {
        let dir = self.run_dir(id)?;
        if !dir.path().is_dir() {
            return Err(error::no_container(id));
        }
        let run = self.run(id).ok();
        let ended = async move {
            if let Some(run) = run {
                run.ended().await;
            }
        };
        Ok(logs::stream(dir, options, ended))
    }

    pub fn shutdown(self: &Arc<Self>) -> impl Future<Output = Result<(), RuntimeError>> + Send + use<> {
        let machine = Arc::clone(self);
        async move {
            let root = machine.root.clone();
            let killed = tokio::task::spawn_blocking(move || root.kill()).await.map_err(|lost| error::task(&lost))?;
            killed.map_err(|it| error::cgroup(&it))?;
            // Each shim ends after its container; without this its record would be written into a removed directory.
            let runs = machine.all_runs();
            futures::future::try_join_all(runs.iter().map(|run| run.stop(Duration::ZERO))).await?;
            end(machine.root.clone()).await?;
            lock(&machine.pods).clear();
            lock(&machine.sandboxes).clear();
            remove_dir(&machine.containers_dir())?;
            let name = machine.options.data_dir.join("cgroup");
            fs::remove_file(&name).map_err(|it| error::record("remove", &name, &it))
        }
    }
}

/// Two descriptors are open for each container, and the usual soft limit of 1024 is for programs that use `select`.
/// Best effort: what is left of it decides how many containers can be watched.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Whether this process has CAP_SYS_ADMIN, which new PID, mount and UTS namespaces take.
fn may_make_namespaces() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|caps| caps & SYS_ADMIN != 0)
}
