//! The embedded node: it watches the pods bound to it, admits them, allocates what they ask for, runs their containers
//! through a [`runtime::Runtime`], carries resizes out on their cgroups, and reports.
//!
//! It talks to the API only through a `kube::Client`, as a kubelet does; it cannot tell an in-process server from a
//! remote one. A server of the same process may give it a [`Desk`], which takes most statuses without a request.
//!
//! ```text
//!   watch ──▶ manager ──▶ checkpoint "allocated" ──▶ worker (one per pod) ──▶ runtime ──▶ kernel
//!               ▲  │                                   │
//!               │  └── ledger, pending list            ├──▶ checkpoint "actuated"
//!               └────── runtime events                 └──▶ status writer, event recorder ──▶ API
//! ```

mod api;
mod backoff;
pub mod cgroup;
pub mod checkpoint;
pub mod endpoint;
mod events;
mod feed;
mod kernel;
mod lately;
mod main_loop;
mod manager;
mod options;
#[cfg(test)]
mod qos_scenarios;
mod registration;
pub mod runtime;
#[cfg(test)]
mod scenarios;
mod shared;
pub mod shim;
mod speed;
mod status;
#[cfg(test)]
mod testing;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use api::Desk;
pub use feed::{Fed, Feed, Followed, Source, Told, map};
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use jiff::Timestamp;
pub use lately::Lately;
pub use options::{Beat, Capacity, Clock, CrashPoints, Keep, NodeOptions, OpenDatabase, Pace, StartError, StopMode};
use runtime::{ContainerRef, LogOptions, PodRef, PodUsage, Runtime, RuntimeError};
pub use speed::Speed;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::api::{KubeApi, PodApi};
use crate::checkpoint::Checkpoints;
use crate::endpoint::figures::Figures;
use crate::endpoint::{Answer, Path, PodScene, Scene};
use crate::events::Recorder;
use crate::main_loop::{MainLoop, Stop};
use crate::manager::Manager;
use crate::shared::{Directory, Shared};

/// How long workers may take for the step they are in when the node is stopped.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// A running node. Dropping it ends its tasks and leaves its pods as they are; [`Node::stop`] ends it in order.
pub struct Node {
    shared: Arc<Shared>,
    started_at: Timestamp,
    stop: mpsc::UnboundedSender<Stop>,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.shared.node).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Node {
    /// Open the checkpoints, adopt what an earlier node left running, register the Node object and begin to watch.
    /// Returns when the node is registered and has seen the list of its pods.
    ///
    /// # Errors
    /// When the runtime cannot do what is asked for, the checkpoints cannot be opened, the runtime cannot say what runs, or
    /// the API server refuses the node or its first list of pods.
    pub async fn start(client: kube::Client, options: NodeOptions) -> Result<Self, StartError> {
        let pods = kube::Api::all(client.clone());
        Self::begin(client, options, None, |main_loop| main_loop.run(pods).boxed()).await
    }

    /// [`Node::start`] for one who shares a watch with others of this process, and perhaps a shorter way to the API server.
    ///
    /// # Errors
    /// As [`Node::start`], but for the list of pods: that is the feed's.
    pub async fn start_fed(
        client: kube::Client,
        options: NodeOptions,
        pods: Fed,
        desk: Option<Arc<dyn Desk>>,
    ) -> Result<Self, StartError> {
        Self::begin(client, options, desk, |main_loop| main_loop.run_on(pods.map(Ok)).boxed()).await
    }

    async fn begin(
        client: kube::Client,
        options: NodeOptions,
        desk: Option<Arc<dyn Desk>>,
        run: impl FnOnce(MainLoop) -> BoxFuture<'static, ()>,
    ) -> Result<Self, StartError> {
        options.check()?;
        let (checkpoints, records) =
            Checkpoints::open(&options.checkpoints, options.crash_points.clone()).map_err(StartError::Checkpoint)?;
        let found = options.runtime.recover().await.map_err(StartError::Recover)?;
        registration::register(&client, &options)
            .await
            .map_err(|source| StartError::Register { name: options.name.clone(), source: Box::new(source) })?;
        let api: Arc<dyn PodApi> = Arc::new(KubeApi(client.clone(), desk));
        let (recorder, recording) = Recorder::start(Arc::clone(&api), options.name.clone(), Arc::clone(&options.clock));
        let (reports, reported) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            runtime: Arc::clone(&options.runtime),
            api,
            checkpoints,
            recorder,
            clock: Arc::clone(&options.clock),
            node: options.name.clone(),
            speed: options.speed,
            capacity: options.capacity,
            memory_qos: options.memory_qos,
            directory: Directory::default(),
            figures: Figures::default(),
            workers: TaskTracker::new(),
            reports,
        });
        let manager = Manager::new(Arc::clone(&shared), options.capacity.into(), records, found);
        let (stop, stopped) = mpsc::unbounded_channel();
        let (listed, first_list) = oneshot::channel();
        let main_loop =
            MainLoop { shared: Arc::clone(&shared), manager, reports: reported, stop: stopped, listed: Some(listed) };
        let tasks = vec![
            tokio::spawn(run(main_loop)),
            tokio::spawn(registration::heartbeat(client, options.clone())),
            recording,
        ];
        let started_at = shared.now();
        let node = Self { shared, started_at, stop, tasks };
        match first_list.await {
            Ok(Ok(())) => Ok(node),
            Ok(Err(source)) => Err(StartError::List { name: options.name, source: Box::new(source) }),
            // The loop ends only when it is told to, which nobody can yet.
            Err(_) => Ok(node),
        }
    }

    /// What the pods of this node use now. Pods whose usage cannot be read are left out.
    pub async fn usage(&self) -> Vec<PodUsage> {
        let pods = self.shared.directory.live_pods();
        let readings = join_all(pods.iter().map(|pod| self.shared.runtime.usage(pod))).await;
        readings.into_iter().filter_map(Result::ok).collect()
    }

    /// Whether something of the pod with this UID has run on this node and is still known here.
    pub fn knows(&self, pod_uid: &str) -> bool {
        self.shared.directory.get(pod_uid).is_some()
    }

    /// What the node answers at one of the kubelet's own paths ([`endpoint`]); `None` where there is nothing.
    pub async fn answer(&self, path: &str) -> Option<Answer> {
        let path = Path::parse(path)?;
        let usage = if path.tells_usage() { self.usage().await } else { Vec::new() };
        let runs = |usage: &PodUsage| self.shared.directory.get(&usage.pod.uid).map(|it| it.runs()).unwrap_or_default();
        let scene = Scene {
            node: self.shared.node.clone(),
            started_at: self.started_at,
            now: self.shared.now(),
            capacity: self.shared.capacity,
            pods: usage.into_iter().map(|usage| PodScene { runs: runs(&usage), usage }).collect(),
        };
        Some(scene.answer(path, || self.shared.figures.render()))
    }

    /// The log of a container of the pod with this UID: its newest run, or with `previous` the run before it.
    ///
    /// # Errors
    /// When the node has no such pod, the container has not run yet (or only once, for `previous`), or the runtime
    /// cannot read its log.
    pub async fn logs(
        &self,
        pod_uid: &str,
        container: &str,
        previous: bool,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<bytes::Bytes>>, RuntimeError> {
        let missing = |message: &str| RuntimeError {
            reason: runtime::CONTAINER_NOT_FOUND,
            operation: "read the log of".into(),
            object: format!("container {container:?} of pod {pod_uid}"),
            message: message.into(),
        };
        let listed =
            self.shared.directory.get(pod_uid).ok_or_else(|| missing("nothing of this pod has run on this node"))?;
        let newest = listed.attempt(container).ok_or_else(|| missing("it is waiting to start"))?;
        let attempt = match previous {
            true => newest.checked_sub(1).ok_or_else(|| missing("it has not been restarted"))?,
            false => newest,
        };
        let id = ContainerRef { pod: PodRef::clone(&listed.pod), container: container.to_owned(), attempt };
        self.shared.runtime.logs(&id, options).await
    }

    /// Stop watching and reporting; what becomes of the pods is up to `mode`. Returns when it is done.
    pub async fn stop(self, mode: StopMode) {
        let (done, ended) = oneshot::channel();
        if self.stop.send(Stop { done }).is_ok() {
            // An error means that the loop has ended already, which is what was asked for.
            let _ = ended.await;
        }
        // A container that is being started now must not appear after everything has been cleared away.
        self.shared.workers.close();
        if tokio::time::timeout(LAST_STEPS, self.shared.workers.wait()).await.is_err() {
            tracing::warn!("some pods are still being stopped; the node stops without waiting for them");
        }
        if mode == StopMode::EndPods {
            let runtime: &dyn Runtime = &*self.shared.runtime;
            if let Err(error) = runtime.shutdown().await {
                tracing::error!(%error, "cannot remove everything that the node created");
            }
        }
    }
}
