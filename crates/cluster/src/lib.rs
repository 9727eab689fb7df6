//! The embedded cluster: API server, store, scheduler, the controllers that pods need, and its nodes, in one process: one
//! that runs something on this machine, or any number of simulated ones ([`simulate`]).
//!
//! ```text
//!             ┌───────────── kube::Client, in-process ─────────────┐
//!   scheduler ┤ workloads  quota  namespaces  garbage               ├─ node ─▶ runtime ─▶ processes
//!             └──────────────────────┬─────────────────────────────┘    ▲
//!   kubectl ──TLS, token──▶ API server (store: memory or one file) ─────┘ metrics, logs (`kubelet`)
//! ```
//!
//! Everything in here talks to the API through a `kube::Client`; only metrics and logs go straight from the server to
//! the node. A cluster in memory has no socket and no directory, for tests.

mod access;
mod data_dir;
mod events;
mod garbage;
mod kubelet;
pub mod machine;
pub mod manifest;
mod namespaces;
mod nodes;
mod quota;
mod scheduler;
pub mod simulate;
mod start_error;
mod tidy;
mod workloads;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use data_dir::{DataDirError, kubeconfig_in};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kubelet::Nodes;
use nodes::AtServer;
pub use start_error::StartError;
pub use supple_apiserver::webhook;
use supple_apiserver::{ApiServer, Options, Storage, client_on, tls};
pub use supple_node::runtime::Requested;
use supple_node::runtime::cri::CriOptions;
use supple_node::runtime::process::ProcessOptions;
use supple_node::runtime::simulated::SimulatedOptions;
use supple_node::runtime::{Chosen, Runtime, choose};
pub use supple_node::{Capacity, Speed};
use supple_node::{Desk, Fed, Feed, Followed, Keep, Source, StopMode};
use supple_resize::kernel::{self, CgroupResources};
pub use supple_resize::memory_qos::{MemoryQos, Reservation};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::data_dir::{DataDir, write_private};

/// Where every timestamp of the cluster comes from.
pub type ClusterClock = supple_node::Clock;

/// Called with the name of each durable step as it is passed; a crash test ends the process in it.
pub type CrashHook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Puts something between the cluster's own parts and the API server: what a fault test breaks requests with.
pub type Wire = Arc<dyn Fn(axum::Router) -> axum::Router + Send + Sync>;

/// Where tests take hold of a cluster; [`Seams::default`] in production.
#[derive(Clone, Default)]
pub struct Seams {
    /// See [`CrashHook`].
    pub crash: Option<CrashHook>,
    /// See [`Wire`]. The clients of [`Cluster::client`] do not pass it.
    pub wire: Option<Wire>,
    /// Whether pods, and what nodes say of them, take the wire too, where there is one. By themselves they take the short way
    /// within the process.
    pub pods_on_wire: bool,
    /// What admission webhooks are called over; HTTPS where there is none.
    pub webhooks: Option<Arc<dyn supple_apiserver::webhook::Transport>>,
}

/// The port kubectl users expect of an API server; tried first when none is asked for.
const USUAL_PORT: u16 = 6443;

/// Where a cluster lives.
#[derive(Clone)]
pub enum Home {
    /// In memory, without a socket: reached through [`Cluster::client`] alone, gone with the process.
    Memory,
    /// Without a socket, on disks that a test brings: the API server's store and the node's checkpoints.
    Disks {
        /// Beneath the store.
        store: supple_apiserver::OpenDatabase,
        /// Beneath the checkpoints.
        checkpoints: supple_node::OpenDatabase,
        /// How long each takes before a flush; `None`: flushes are made by whoever writes.
        pace: Option<(supple_apiserver::Pace, supple_node::Pace)>,
    },
    /// In a directory, over TLS.
    Directory {
        /// The directory; created if absent.
        path: PathBuf,
        /// Where to listen. `None`: 127.0.0.1:6443, or any free port where that one is taken.
        listen: Option<SocketAddr>,
    },
    /// Over TLS, but in memory: the directory has only what others need to get in, and what is in it from another time
    /// is left alone.
    Passing {
        /// The directory; created if absent.
        path: PathBuf,
        /// Where to listen, as in [`Home::Directory`].
        listen: Option<SocketAddr>,
    },
}

/// What runs the node's containers.
#[derive(Clone)]
pub enum NodeRuntime {
    /// Chosen by this word; needs a [`Home::Directory`] unless it is [`Requested::Simulated`].
    Requested(Requested),
    /// This one.
    Given(Arc<dyn Runtime>),
}

/// A node of the cluster.
#[derive(Clone)]
pub struct NodeSettings {
    /// `metadata.name` of the Node.
    pub name: String,
    /// What it has.
    pub capacity: Capacity,
    /// How memory is protected and slowed down beyond limits; off by default, and only on cgroup version 2.
    pub memory_qos: MemoryQos,
    /// What runs its containers.
    pub runtime: NodeRuntime,
    /// What is run where a container names no command.
    pub stand_in: Vec<String>,
}

/// Everything a cluster is started with.
#[derive(Clone)]
pub struct ClusterOptions {
    /// Where it lives.
    pub home: Home,
    /// Its nodes. None: an API server without a node. Several: each with a runtime of its own that is
    /// [given](NodeRuntime::Given) or simulated, and without checkpoints.
    pub nodes: Vec<NodeSettings>,
    /// Where time comes from.
    pub clock: ClusterClock,
    /// How fast that goes by: what waits for a moment of it waits so many times shorter.
    pub speed: Speed,
    /// Where tests take hold of it.
    pub seams: Seams,
}

impl ClusterOptions {
    /// A cluster in memory: what most tests want.
    pub fn in_memory(nodes: Vec<NodeSettings>, clock: ClusterClock) -> Self {
        Self { home: Home::Memory, nodes, clock, speed: Speed::REAL, seams: Seams::default() }
    }
}

/// A running cluster.
pub struct Cluster {
    server: ApiServer,
    nodes: Nodes,
    runtime: Option<Chosen>,
    address: Option<SocketAddr>,
    dir: Option<DataDir>,
    controllers: Tasks,
    serving: Tasks,
}

/// A pod of this process's own store, for those who follow it.
struct Stored(supple_apiserver::StoredPod);

impl Source for Stored {
    fn pod(&self) -> Arc<Pod> {
        self.0.pod()
    }
}

/// Tasks with the signal that ends them; dropped, it ends them too.
struct Tasks {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Tasks {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    /// Start everything; returns when the nodes are registered and the API answers. If a step fails, what was started
    /// before it is ended.
    ///
    /// # Errors
    /// [`StartError`] names the step and what to do about it.
    pub async fn start(options: ClusterOptions) -> Result<Self, StartError> {
        let ClusterOptions { home, nodes: settings, clock, speed, seams } = options;
        let Seams { crash, wire, pods_on_wire, webhooks } = seams;
        nodes::check(&settings)?;
        let is_passing = matches!(home, Home::Passing { .. });
        let (dir, listen, storage, mut checkpoints) = match home {
            Home::Memory => (None, None, Storage::Memory, Keep::Nowhere),
            Home::Passing { path, listen } => {
                (Some(DataDir::open(&path)?), Some(listen), Storage::Memory, Keep::Nowhere)
            }
            Home::Disks { store, checkpoints, pace: None } => {
                (None, None, Storage::Given(store), Keep::Given(checkpoints))
            }
            Home::Disks { store, checkpoints, pace: Some((of_store, of_checkpoints)) } => {
                (None, None, Storage::Paced(store, of_store), Keep::Paced(checkpoints, of_checkpoints))
            }
            Home::Directory { path, listen } => {
                let dir = DataDir::open(&path)?;
                let storage = Storage::Durable(dir.store());
                (Some(dir), Some(listen), storage, Keep::Nowhere)
            }
        };
        let nodes = Nodes::default();
        let token = dir.as_ref().map(access::token).transpose()?;
        let server = ApiServer::open(Options {
            storage,
            clock: Arc::new(ServerClock(clock.clone())),
            kubelet: Arc::new(nodes.clone()),
            webhooks: webhooks.unwrap_or_else(|| Arc::new(supple_apiserver::webhook::Https::default())),
            token: token.clone(),
            crash_points: server_crash_points(crash.clone()),
        })?;

        let serving = Tasks::new();
        let address = match (&dir, listen, &token) {
            (Some(dir), Some(listen), Some(token)) => Some(serve(&server, dir, listen, token, &serving).await?),
            _ => None,
        };
        let router = server.router();
        let wired = wire.is_some() && pods_on_wire;
        let client = client_on(wire.map_or_else(|| router.clone(), |wire| wire(router.clone())), "default");

        // Only now: a runtime makes its mark on the machine (a cgroup of its own), and a start that fails over a taken
        // port or a damaged store must not leave one.
        let mut chosen = Vec::with_capacity(settings.len());
        for node in &settings {
            chosen.push(chosen_runtime(node, dir.as_ref(), &clock, speed).await?);
        }
        let runtime = chosen.first().cloned();
        let controllers = Tasks::new();
        let Tasks { stop, tasks } = &controllers;
        let mut feed = Feed::default();
        let [scheduled, counted, planned, owned, left] = std::array::from_fn(|_| feed.everything());
        let of_nodes: Vec<Fed> = settings.iter().map(|it| feed.subscribe(&it.name)).collect();
        // Where a test takes hold of what goes between the parts, pods may go that way too.
        let watching = match wired {
            true => feed.run(client.clone()).boxed(),
            false => {
                feed.run_on(server.pods().map(|it| supple_node::map(it, |pod| Followed::from(Stored(pod))))).boxed()
            }
        };
        let stopped = stop.clone();
        tasks.spawn(async move {
            let _ = stopped.run_until_cancelled(watching).await; // either way it is over
        });
        if !settings.is_empty() {
            if let Some(dir) = dir.as_ref().filter(|_| !is_passing) {
                checkpoints = Keep::Directory(dir.node()?);
            }
            let names = settings.iter().map(|it| it.name.as_str()).collect();
            tidy::forget_other_nodes(&client, &names).await.map_err(|error| StartError::Nodes(Box::new(error)))?;
            let crash_points = node_crash_points(crash);
            let options = nodes::options(settings, chosen, checkpoints, &clock, speed, &crash_points);
            // Likewise what they say of their pods.
            let desk = (!wired).then(|| Arc::new(AtServer(server.clone())) as Arc<dyn Desk>);
            nodes::start(&nodes, &client, desk, of_nodes.into_iter().zip(options).collect()).await?;
        }
        tasks.spawn(scheduler::run(client.clone(), scheduled, clock.clone(), stop.clone()));
        tasks.spawn(quota::run(client.clone(), counted, stop.clone()));
        tasks.spawn(namespaces::run(client.clone(), stop.clone()));
        tasks.spawn(workloads::run(client.clone(), planned, clock.clone(), speed, 0, stop.clone()));
        tasks.spawn(garbage::run_owned(client.clone(), owned, stop.clone()));
        tasks.spawn(garbage::run_leftovers(client, left, clock, stop.clone()));
        Ok(Self { server, nodes, runtime, address, dir, controllers, serving })
    }

    /// A client on the API server with no socket between.
    pub fn client(&self) -> kube::Client {
        self.server.client("default")
    }

    /// The URL of the API server; `None` for a cluster in memory.
    pub fn url(&self) -> Option<String> {
        self.address.map(access::url)
    }

    /// The kubeconfig; `None` for a cluster in memory.
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(DataDir::kubeconfig)
    }

    /// The data directory; `None` for a cluster in memory.
    pub fn data_dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(DataDir::path)
    }

    /// The name of the first node's runtime and why it was chosen; `None` without a node.
    pub fn runtime(&self) -> Option<(&'static str, &str)> {
        self.runtime.as_ref().map(|it| (it.runtime.name(), it.why.as_str()))
    }

    /// End everything, in the order in which it depends on each other: controllers, then the nodes with every process
    /// and cgroup they made (they still report to the API), then the API server.
    pub async fn stop(self) {
        self.controllers.end().await;
        self.nodes.stop(StopMode::EndPods).await;
        self.serving.end().await;
    }
}

/// Bind, write the kubeconfig, serve.
async fn serve(
    server: &ApiServer,
    dir: &DataDir,
    listen: Option<SocketAddr>,
    token: &str,
    serving: &Tasks,
) -> Result<SocketAddr, StartError> {
    let listener = match listen {
        Some(address) => TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?,
        None => {
            let usual = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT));
            match TcpListener::bind(usual).await {
                Ok(listener) => listener,
                Err(_) => {
                    let any = SocketAddr::from(([127, 0, 0, 1], 0));
                    TcpListener::bind(any).await.map_err(|source| StartError::Listen { address: any, source })?
                }
            }
        }
    };
    let address = listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), source })?;
    let identity = tls::Identity::load_or_create(&dir.tls()?, &access::names(address))?;
    let config = access::kubeconfig(&access::url(address), identity.ca_pem(), token);
    write_private(&dir.kubeconfig(), &config)?;
    let (server, stop) = (server.clone(), serving.stop.clone());
    serving.tasks.spawn(async move {
        if let Err(error) = server.serve(listener, &identity, stop).await {
            tracing::error!(%error, "the API server's listener ended");
        }
    });
    Ok(address)
}

async fn chosen_runtime(
    node: &NodeSettings,
    dir: Option<&DataDir>,
    clock: &ClusterClock,
    speed: Speed,
) -> Result<Chosen, StartError> {
    let requested = match &node.runtime {
        NodeRuntime::Given(runtime) => return Ok(Chosen { runtime: runtime.clone(), why: "given".to_owned() }),
        NodeRuntime::Requested(requested) => requested.clone(),
    };
    let simulated = SimulatedOptions { speed, ..SimulatedOptions::new(clock.clone()) };
    let data_dir = match dir {
        Some(dir) => dir.node()?,
        None if requested == Requested::Simulated => PathBuf::new(),
        None => return Err(StartError::NoDirectory(requested)),
    };
    // Beside the process runtime's records: who changes from one to the other finds both as they were.
    let cri_dir = data_dir.join("cri");
    let process = ProcessOptions { stand_in: node.stand_in.clone(), ..ProcessOptions::new(data_dir) };
    let cri = |request| CriOptions { allocatable: allocatable(node.capacity), ..CriOptions::new(request, cri_dir) };
    Ok(choose(requested, process, simulated, cri).await?)
}

/// What all pods may use together.
fn allocatable(capacity: Capacity) -> CgroupResources {
    CgroupResources {
        cpu_shares: Some(kernel::shares(capacity.cpu)),
        memory_limit_bytes: Some(kernel::memory_limit(capacity.memory)),
        ..CgroupResources::default()
    }
}

/// The cluster's clock as the API server takes it.
struct ServerClock(ClusterClock);

impl supple_apiserver::Clock for ServerClock {
    fn now(&self) -> jiff::Timestamp {
        (self.0)()
    }
}

fn server_crash_points(hook: Option<CrashHook>) -> supple_apiserver::CrashPoints {
    match hook {
        Some(hook) => supple_apiserver::CrashPoints::new(move |name| hook(name)),
        None => supple_apiserver::CrashPoints::none(),
    }
}

fn node_crash_points(hook: Option<CrashHook>) -> supple_node::CrashPoints {
    match hook {
        Some(hook) => supple_node::CrashPoints::new(move |name| hook(name)),
        None => supple_node::CrashPoints::none(),
    }
}
