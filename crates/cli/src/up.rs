//! `supple up`: the embedded cluster and the loop in this process, until a signal.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use supple_cluster::manifest::{self, Applied, Manifest};
use supple_cluster::{
    Capacity, Cluster, ClusterOptions, CrashHook, Home, MemoryQos, NodeRuntime, NodeSettings, Requested, Seams,
    StartError, machine,
};
use supple_controller::judge::Policy;
use supple_controller::run::{self, Options};
use supple_controller::snapshot::Snapshot;
use supple_node::runtime::cri::{CriRequest, PodNetwork};
use supple_quantity::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::args::UpArgs;
use crate::connect::{chain, default_data_dir};
use crate::exit::Failure;
use crate::log::LogLines;
use crate::{demo, live, signals};

/// How often the loop looks.
const INTERVAL: Duration = Duration::from_secs(15);

/// How often it looks in the demonstration, where somebody is watching.
const DEMO_INTERVAL: Duration = Duration::from_secs(5);

/// How long a resize is watched.
pub const SETTLE: Duration = Duration::from_secs(60);

/// What is to be done with the cluster once it stands.
struct Plan {
    node: String,
    capacity: Capacity,
    memory_qos: MemoryQos,
    manifests: Vec<Manifest>,
    /// `None`: nothing is resized by itself.
    pace: Option<Pace>,
}

/// How the loop goes about it.
struct Pace {
    interval: Duration,
    policy: Policy,
}

/// Run it.
pub async fn up(args: UpArgs, logs: &LogLines) -> Result<(), Failure> {
    let stop = signals::stop_token()?;
    let UpArgs {
        data_dir,
        listen,
        node_name,
        node_capacity,
        memory,
        runtime,
        pod_network,
        cgroup_root,
        files,
        demo,
        no_loop,
    } = args;
    let runtime = with_cri_flags(runtime, pod_network, cgroup_root, demo)?;
    let path = data_dir.or_else(default_data_dir).ok_or_else(|| {
        Failure::Usage("there is no home directory to keep the cluster in: give --data-dir".to_owned())
    })?;
    let program = program()?;
    let mut manifests = Vec::new();
    for file in &files {
        manifests.extend(manifest::read(file).map_err(Failure::refused)?);
    }
    if demo {
        manifests.extend(demo::manifests(&program));
    }
    let flag = node_capacity.unwrap_or_default();
    let own = machine::capacity();
    let plan = Plan {
        node: node_name.unwrap_or_else(machine::node_name),
        capacity: Capacity {
            cpu: flag.cpu.unwrap_or(own.cpu),
            memory: flag.memory.unwrap_or(own.memory),
            pods: flag.pods.unwrap_or(own.pods),
        },
        memory_qos: memory.qos(),
        manifests,
        pace: (!no_loop).then(|| pace(demo)),
    };
    let home = Home::Directory { path, listen };
    let cluster = start(home, &plan, runtime, program).await?;
    // From here on there is something to clean up, whatever happens.
    let result = serve(&cluster, plan, logs, &stop).await;
    crate::say("stopping");
    cluster.stop().await;
    result
}

/// The flags that only a container runtime understands, put where it looks for them.
fn with_cri_flags(
    runtime: Requested,
    network: Option<PodNetwork>,
    cgroup_root: Option<String>,
    demo: bool,
) -> Result<Requested, Failure> {
    match runtime {
        Requested::Cri(_) if demo => {
            let why = "the demonstration runs this program, which is in no image: use --runtime auto";
            Err(Failure::Usage(why.to_owned()))
        }
        Requested::Cri(request) => {
            Ok(Requested::Cri(CriRequest { network: network.unwrap_or(request.network), cgroup_root, ..request }))
        }
        _ if network.is_some() || cgroup_root.is_some() => {
            Err(Failure::Usage("--pod-network and --cgroup-root go with --runtime cri=… alone".to_owned()))
        }
        other => Ok(other),
    }
}

/// In the demonstration pods are young, and two minutes of usage are all there is.
fn pace(demo: bool) -> Pace {
    if demo {
        let policy =
            Policy { min_pod_age: Duration::from_secs(60), window: Duration::from_secs(120), ..Policy::default() };
        Pace { interval: DEMO_INTERVAL, policy }
    } else {
        Pace { interval: INTERVAL, policy: Policy::default() }
    }
}

async fn start(home: Home, plan: &Plan, runtime: Requested, program: String) -> Result<Cluster, Failure> {
    let node = NodeSettings {
        name: plan.node.clone(),
        capacity: plan.capacity,
        memory_qos: plan.memory_qos,
        runtime: NodeRuntime::Requested(runtime),
        stand_in: vec![program, "workload".to_owned(), "stand-in".to_owned()],
    };
    let options = ClusterOptions {
        home,
        node: Some(node),
        clock: Arc::new(jiff::Timestamp::now),
        seams: Seams { crash: crash_hook(), ..Seams::default() },
    };
    Cluster::start(options).await.map_err(|error| match error {
        StartError::DataDir(_) | StartError::Listen { .. } => Failure::unreachable(chain(&error)),
        error => Failure::refused(chain(&error)),
    })
}

async fn serve(cluster: &Cluster, plan: Plan, logs: &LogLines, stop: &CancellationToken) -> Result<(), Failure> {
    let Plan { node, capacity, manifests, pace, .. } = plan;
    announce(cluster, &node, capacity)?;
    let client = cluster.client();
    for (object, what) in manifest::apply(&client, &manifests).await.map_err(Failure::refused)? {
        let what = match what {
            Applied::Created => "created",
            Applied::Configured => "configured",
            Applied::Unchanged => "unchanged",
        };
        crate::say(&format!("{object} {what}"));
    }
    let Some(Pace { interval, policy }) = pace else {
        stop.cancelled().await;
        return Ok(());
    };
    let options = Options { interval, policy, settle: SETTLE, clock: Arc::new(jiff::Timestamp::now) };
    let (rows, shown) = watch::channel(Snapshot::default());
    let ((), shown) = tokio::join!(run::run(client, options, rows, stop.clone()), async {
        let shown = live::show(shown, logs, stop.clone()).await;
        stop.cancel(); // nobody reads the table any more: `supple up | head` ends like a signal
        shown
    });
    Ok(shown?)
}

/// Where the cluster is and what it runs on.
fn announce(cluster: &Cluster, node: &str, capacity: Capacity) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if let Some(url) = cluster.url() {
        writeln!(out, "API server  {url}")?;
    }
    if let Some(path) = cluster.kubeconfig() {
        writeln!(out, "kubeconfig  {}", path.display())?;
    }
    if let Some((name, why)) = cluster.runtime() {
        writeln!(out, "runtime     {name}: {why}")?;
    }
    let Capacity { cpu, memory, pods } = capacity;
    writeln!(out, "node        {node}: cpu {cpu}, memory {}, {pods} pods", rounded(memory))?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Memory for people: exact where that is short, else in tenths of a GiB.
fn rounded(memory: Bytes) -> String {
    let exact = memory.to_string();
    if exact.len() <= 6 {
        return exact;
    }
    let tenths = (i128::from(memory.0) * 10) >> 30;
    format!("{}.{}Gi", tenths / 10, tenths % 10)
}

/// This program, as a container's command can name it.
fn program() -> Result<String, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::refused(format!("this program cannot find itself: {error}")))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::refused(format!("the path of this program is not UTF-8: {}", path.display())))
}

/// `SUPPLE_CRASH_AT=STEP:COUNT` ends the process with SIGKILL when the durable step is passed for the COUNTth time: how
/// the crash tests reach every step. Absent in every other life.
fn crash_hook() -> Option<CrashHook> {
    let wanted = std::env::var("SUPPLE_CRASH_AT").ok()?;
    let (step, count) = wanted.rsplit_once(':')?;
    let (step, left) = (step.to_owned(), std::sync::atomic::AtomicI64::new(count.parse().ok()?));
    Some(Arc::new(move |name| {
        if name == step && left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }))
}
