//! What the CRI runtime has: the way to the container runtime, the cgroups above containers, the pods and their runs.
//! Starting, watching, adopting and ending are in the files beside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use supple_resize::qos::QosClass;
use tokio::sync::{Notify, mpsc};

use super::call::Calls;
use super::cgroups::Cgroups;
use super::images::Pulls;
use super::options::CriOptions;
use super::proto::PodSandboxConfig;
use super::run::{Phase, Run};
use super::{watch, words};
use crate::cgroup::{Group, MemoryEvents};
use crate::runtime::ground::{containers_dir, lock};
use crate::runtime::strain::{END_OF_CONTAINER, Listener, OwnLimits};
use crate::runtime::{ContainerRef, Exit, PodRef, RuntimeError, RuntimeEvent, Strains, error};
use crate::shim::record::RunDir;

/// A container's name and attempt: what tells the runs of one pod apart.
pub type RunKey = (String, u32);

/// A pod's sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its name to the container runtime.
    pub id: String,
    /// What it was made of; every container of it is made with the same again.
    pub config: PodSandboxConfig,
    /// Its address, where it has one of its own.
    pub ip: Option<String>,
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Who it is.
    pub id: PodRef,
    /// Its class.
    pub qos: QosClass,
    /// Its sandbox, as long as there is one.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Its runs.
    pub runs: BTreeMap<RunKey, Arc<Run>>,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub options: CriOptions,
    pub calls: Calls,
    pub cgroups: Cgroups,
    /// The name of our root, which is on everything of ours.
    pub root: String,
    /// `containerd`, `cri-o`, and which version.
    pub name: (String, String),
    pub pulls: Pulls,
    /// The runtime has no `UpdatePodSandboxResources`: it is not asked again.
    pub no_sandbox_updates: AtomicBool,
    /// Look at all containers now.
    pub relist: Notify,
    pods: Mutex<BTreeMap<String, Pod>>,
    /// Sandboxes (attempt `None`) and containers that are being made: what is listed of them meanwhile is no stray.
    making: Mutex<BTreeSet<(String, Option<RunKey>)>>,
    /// The pods whose own limits are listened to, by UID.
    own_limits: Mutex<BTreeMap<String, OwnLimits>>,
    /// Unbounded, and still bounded by nature: a run sends at most one end, one event per OOM kill, and each strain
    /// every few seconds.
    events: mpsc::UnboundedSender<RuntimeEvent>,
    subscriber: Mutex<Option<mpsc::UnboundedReceiver<RuntimeEvent>>>,
    /// The origin of the clock that CPU readings are stamped with.
    pub began: std::time::Instant,
}

/// As long as it lives, what it names is being made.
#[derive(Debug)]
pub struct Making<'a> {
    machine: &'a Machine,
    what: (String, Option<RunKey>),
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        lock(&self.machine.making).remove(&self.what);
    }
}

impl Machine {
    pub fn new(options: CriOptions, calls: Calls, cgroups: Cgroups, root: String, name: (String, String)) -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        Self {
            options,
            calls,
            cgroups,
            root,
            name,
            pulls: Pulls::default(),
            no_sandbox_updates: AtomicBool::new(false),
            relist: Notify::new(),
            pods: Mutex::default(),
            making: Mutex::default(),
            own_limits: Mutex::default(),
            events,
            subscriber: Mutex::new(Some(receiver)),
            began: std::time::Instant::now(),
        }
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

    pub fn pod_dir(&self, pod: &PodRef) -> Result<PathBuf, RuntimeError> {
        match Group::is_name(&pod.uid) {
            true => Ok(self.containers_dir().join(&pod.uid)),
            false => Err(error::bad_name(pod, &pod.uid)),
        }
    }

    /// Where the log of a run is.
    pub fn run_dir(&self, id: &ContainerRef) -> Result<RunDir, RuntimeError> {
        match Group::is_name(&id.container) {
            true => Ok(RunDir::new(self.pod_dir(&id.pod)?.join(log_dir(id)))),
            false => Err(error::bad_name(&id.pod, &id.container)),
        }
    }

    pub fn making(&self, pod: &PodRef, run: Option<RunKey>) -> Making<'_> {
        let what = (pod.uid.clone(), run);
        lock(&self.making).insert(what.clone());
        Making { machine: self, what }
    }

    pub fn is_making(&self, uid: &str, run: Option<RunKey>) -> bool {
        lock(&self.making).contains(&(uid.to_owned(), run))
    }

    /// The pod as it is known now.
    pub fn known(&self, uid: &str) -> Option<Pod> {
        lock(&self.pods).get(uid).cloned()
    }

    pub fn pod(&self, pod: &PodRef) -> Result<Pod, RuntimeError> {
        self.known(&pod.uid).ok_or_else(|| RuntimeError {
            reason: "PodNotFound",
            operation: "find".into(),
            object: format!("pod {}/{}", pod.namespace, pod.name),
            message: "this runtime has no such pod; it has not been made or is gone".into(),
        })
    }

    /// The pod has this sandbox, or none; its runs stay. Its own limits are listened to as long as it has one.
    pub fn set_sandbox(&self, id: &PodRef, qos: QosClass, sandbox: Option<Sandbox>) {
        let listen = || OwnLimits::listen(id.clone(), self.cgroups.pod(qos, &id.uid), self.events.clone());
        match &sandbox {
            Some(_) => drop(lock(&self.own_limits).entry(id.uid.clone()).or_insert_with(listen)),
            None => drop(lock(&self.own_limits).remove(&id.uid)),
        }
        let mut pods = lock(&self.pods);
        let pod = pods.entry(id.uid.clone()).or_insert_with(|| Pod {
            id: id.clone(),
            qos,
            sandbox: None,
            runs: BTreeMap::new(),
        });
        pod.sandbox = sandbox.map(Arc::new);
    }

    pub fn forget(&self, uid: &str) {
        lock(&self.own_limits).remove(uid);
        lock(&self.pods).remove(uid);
    }

    pub fn forget_all(&self) {
        lock(&self.own_limits).clear();
        lock(&self.pods).clear();
    }

    /// What the kernel told of the pod's own limits.
    pub fn own_strains(&self, uid: &str) -> Strains {
        lock(&self.own_limits).get(uid).map(OwnLimits::seen).unwrap_or_default()
    }

    /// Listen to what a container suffers beyond what has been `seen`, until it ends.
    pub fn listen(self: &Arc<Self>, run: &Arc<Run>, seen: MemoryEvents) {
        let Some(group) = self.group(run).filter(|_| run.running().is_some()) else { return };
        let (machine, killed) = (Arc::clone(self), Arc::clone(run));
        let listener = Listener {
            id: run.id.clone(),
            group,
            suffered: Arc::clone(&run.suffered),
            told: self.events.clone(),
            killed: Box::new(move || {
                *lock(&killed.kill_heard_at) = Some(jiff::Timestamp::now());
                let (machine, run) = (Arc::clone(&machine), Arc::clone(&killed));
                tokio::spawn(async move {
                    if tokio::time::timeout(END_OF_CONTAINER, run.ended()).await.is_err() {
                        watch::look(&machine, &run).await;
                        watch::told_of_kills(&machine, &run);
                    }
                });
            }),
        };
        let run = Arc::clone(run);
        tokio::spawn(async move {
            tokio::select! {
                _ = run.ended() => {}
                () = listener.listen(seen) => {}
            }
        });
    }

    pub fn run(&self, id: &ContainerRef) -> Result<Arc<Run>, RuntimeError> {
        let pods = lock(&self.pods);
        let run = pods.get(&id.pod.uid).and_then(|pod| pod.runs.get(&key(id)));
        run.map(Arc::clone).ok_or_else(|| error::no_container(id))
    }

    pub fn add_run(&self, run: &Arc<Run>) {
        if let Some(pod) = lock(&self.pods).get_mut(&run.id.pod.uid) {
            pod.runs.insert(key(&run.id), Arc::clone(run));
        }
    }

    pub fn drop_run(&self, id: &ContainerRef) {
        if let Some(pod) = lock(&self.pods).get_mut(&id.pod.uid) {
            pod.runs.remove(&key(id));
        }
    }

    /// Runs that have not ended.
    pub fn running(&self) -> Vec<Arc<Run>> {
        let pods = lock(&self.pods);
        let runs = pods.values().flat_map(|pod| pod.runs.values());
        runs.filter(|run| run.running().is_some()).map(Arc::clone).collect()
    }

    /// The cgroup of a run; `None` where the container runtime has made none, or none that can be told.
    pub fn group(&self, run: &Run) -> Option<Group> {
        let pod = self.known(&run.id.pod.uid)?;
        run.group(&self.cgroups.pod(pod.qos, &pod.id.uid))
    }

    /// The run is over: said once, whoever learns of it first. Container runtimes learn of an OOM kill and of the end it was
    /// from two sources and may show the end before they know why; the kernel told of the kill itself.
    pub fn ended(&self, run: &Run, exit: Exit) {
        let exit = words::with_kill(exit, *lock(&run.kill_heard_at));
        let news = run.phase.send_if_modified(|phase| {
            let news = matches!(phase, Phase::Running(_));
            if news {
                *phase = Phase::Ended(exit.clone());
            }
            news
        });
        if news {
            self.tell(RuntimeEvent::Exited(run.id.clone(), exit));
        }
    }
}

/// What tells a run from others of its pod.
pub fn key(id: &ContainerRef) -> RunKey {
    (id.container.clone(), id.attempt)
}

/// Where the log of a run is, below the pod's.
pub fn log_dir(id: &ContainerRef) -> String {
    format!("{}/{}", id.container, id.attempt)
}
