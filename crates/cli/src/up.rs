//! `supple up`: the embedded cluster and the loop in this process, until a signal.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use supple_api::autoscaler::CarryOut;
use supple_api::names;
use supple_cluster::manifest::{self, Applied, Manifest};
use supple_cluster::{
    Capacity, Cluster, ClusterClock, ClusterOptions, CrashHook, Home, MemoryQos, NodeRuntime, NodeSettings, Requested,
    Seams, Speed, StartError, machine,
};
use supple_controller::history_file::HistoryFile;
use supple_controller::lease::elect::alone;
use supple_controller::run::{self, Options, Outlets};
use supple_controller::snapshot::Snapshot;
use supple_controller::source::kubelet::sweep::Pace;
use supple_controller::webhook::publish;
use supple_controller::world::Settings;
use supple_node::runtime::ChooseError;
use supple_node::runtime::cri::{CriRequest, NewError, PodNetwork};
use supple_quantity::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::{SimulateArgs, UpArgs};
use crate::connect::{chain, default_data_dir};
use crate::controller_verb::{self, bind};
use crate::exit::Failure;
use crate::judgement::acting::DEFINITION;
use crate::log::LogLines;
use crate::simulate::{self, Simulation};
use crate::values::CapacityFlag;
use crate::{demo, live, pages, signals};

/// How often the loop looks.
const INTERVAL: Duration = Duration::from_secs(15);

/// How often it looks in the demonstration, where somebody is watching.
const DEMO_INTERVAL: Duration = Duration::from_secs(5);

/// What the registrations of the webhook are called.
const WEBHOOK: &str = "supple";

/// What is to be done with the cluster once it stands.
struct Plan {
    /// What is said of it besides, a line each: a word, and the rest.
    lines: Vec<(&'static str, String)>,
    manifests: Vec<Manifest>,
    /// Whether what became of each manifest is said.
    tells: bool,
    clock: ClusterClock,
    speed: Speed,
    /// `None`: nothing is resized by itself.
    interval: Option<Duration>,
    /// Whether the demonstration is given.
    demo: bool,
    /// Whether the loop's webhook is served and registered.
    webhook: bool,
    /// Which VPA objects are the loop's.
    vpa: CarryOut,
    /// Where what was learned is kept; `None`: only in the cluster, which ends with the process.
    history: Option<PathBuf>,
}

/// Run it.
pub async fn up(args: UpArgs, logs: &LogLines) -> Result<(), Failure> {
    pages::small();
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
        vpa,
        webhook,
        simulate: SimulateArgs { simulate, usage, speed },
    } = args;
    let runtime = with_cri_flags(runtime, pod_network, cgroup_root, demo)?;
    let path = data_dir
        .or_else(default_data_dir)
        .ok_or_else(|| Failure::Usage("there is no home directory: set --data-dir".to_owned()))?;
    let program = program()?;
    let mut manifests = Vec::new();
    for file in &files {
        manifests.extend(manifest::read(file).map_err(Failure::refused)?);
    }
    let capacity = node_capacity.unwrap_or_default();
    let speed = speed.unwrap_or_default();
    let clock = simulate::clock(speed);
    // A simulated cluster passes, and so does what was learned of it.
    let history = simulate.is_none().then(|| path.join("history"));
    let (home, nodes, lines, tells) = match simulate {
        Some(flag) => {
            let simulation = simulate::simulation(flag, usage.as_deref(), capacity, node_name, clock())?;
            let Simulation { fleet, population, mut lines } = simulation;
            manifests.splice(0..0, population.manifests());
            let count = format!("{} of {} each", fleet.count, told(fleet.capacity));
            lines.insert(0, ("nodes", count));
            if speed != Speed::REAL {
                lines.push(("clock", format!("{} times as fast, from {} on", speed.factor(), whole_second(clock()))));
            }
            (Home::Passing { path, listen }, fleet.nodes(&clock, speed), lines, false)
        }
        None => {
            let node = node(capacity, node_name, memory.qos(), runtime, program.clone());
            if demo {
                manifests.extend(demo::manifests(&program, node.capacity.cpu.0));
            }
            let lines = vec![("node", format!("{}: {}", node.name, told(node.capacity)))];
            (Home::Directory { path, listen }, vec![node], lines, true)
        }
    };
    let plan = Plan {
        lines,
        manifests,
        tells,
        clock: clock.clone(),
        speed,
        history,
        vpa,
        demo,
        webhook,
        interval: (!no_loop).then_some(if demo { DEMO_INTERVAL } else { INTERVAL }),
    };
    let cluster = start(home, nodes, clock, speed).await?;
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
            let why = "the demo runs this program, which is in no image: use --runtime auto";
            Err(Failure::Usage(why.to_owned()))
        }
        Requested::Cri(request) => {
            Ok(Requested::Cri(CriRequest { network: network.unwrap_or(request.network), cgroup_root, ..request }))
        }
        _ if network.is_some() || cgroup_root.is_some() => {
            Err(Failure::Usage("--pod-network and --cgroup-root require --runtime cri=…".to_owned()))
        }
        other => Ok(other),
    }
}

/// The node of a cluster that runs something on this machine; what its capacity leaves out is the machine's.
fn node(
    capacity: CapacityFlag,
    name: Option<String>,
    memory_qos: MemoryQos,
    runtime: Requested,
    program: String,
) -> NodeSettings {
    let own = machine::capacity();
    NodeSettings {
        name: name.unwrap_or_else(machine::node_name),
        capacity: Capacity {
            cpu: capacity.cpu.unwrap_or(own.cpu),
            memory: capacity.memory.unwrap_or(own.memory),
            pods: capacity.pods.unwrap_or(own.pods),
        },
        memory_qos,
        runtime: NodeRuntime::Requested(runtime),
        stand_in: vec![program, "workload".to_owned(), "stand-in".to_owned()],
    }
}

async fn start(home: Home, nodes: Vec<NodeSettings>, clock: ClusterClock, speed: Speed) -> Result<Cluster, Failure> {
    let options =
        ClusterOptions { home, nodes, clock, speed, seams: Seams { crash: crash_hook(), ..Seams::default() } };
    Cluster::start(options).await.map_err(|error| match error {
        StartError::DataDir(_) | StartError::Listen { .. } => Failure::unreachable(chain(&error)),
        StartError::Runtime(ChooseError::Cri(
            NewError::Absent { .. } | NewError::NotV1 { .. } | NewError::Unwell { .. } | NewError::NotReady { .. },
        )) => Failure::unreachable(chain(&error)),
        error => Failure::refused(chain(&error)),
    })
}

async fn serve(cluster: &Cluster, plan: Plan, logs: &LogLines, stop: &CancellationToken) -> Result<(), Failure> {
    let Plan { mut lines, manifests, tells, clock, speed, interval, demo, webhook, history, vpa } = plan;
    let client = cluster.client();
    // Before anybody is told where the cluster is: whoever comes then finds our own kinds.
    manifest::apply(&client, &definitions()?).await.map_err(Failure::refused)?;
    leave_word(&client, interval.map(|_| format!("{vpa}{}", if webhook { " webhook" } else { "" }))).await?;
    // A life that was killed leaves them behind, and nobody serves them: every write to a pod would ask a dead port.
    if publish::withdraw(&client, WEBHOOK).await.map_err(Failure::refused)? {
        lines.push(("webhook", "an earlier life left its registrations behind: they are withdrawn".to_owned()));
    }
    announce(cluster, &lines)?;
    for (object, what) in manifest::apply(&client, &manifests).await.map_err(Failure::refused)? {
        let what = match what {
            Applied::Created => "created",
            Applied::Configured => "configured",
            Applied::Unchanged => "unchanged",
        };
        if tells {
            crate::say(&format!("{object} {what}"));
        }
    }
    let Some(interval) = interval else {
        stop.cancelled().await;
        return Ok(());
    };
    let history = match history {
        Some(path) => Some(HistoryFile::open(&path).map_err(|error| Failure::refused(error.to_string()))?),
        None => None,
    };
    let mut outlets = Outlets::new(speed.wait(interval));
    let (settings, leadership) = (Settings { autoscalers: vpa, ..Settings::default() }, alone());
    let mut servers = JoinSet::new();
    if webhook {
        let own = settings.own_namespace.to_string();
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": own}});
        manifest::apply(&client, &[Manifest { place: "the webhook".to_owned(), object }])
            .await
            .map_err(Failure::refused)?;
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let (host, port) = ("127.0.0.1".to_owned(), listener.local_addr()?.port());
        let wanted = publish::Wanted {
            namespace: own,
            name: WEBHOOK.to_owned(),
            place: publish::Place::Address { host, port },
            fail_closed: false,
            sizes_new_pods: true,
            given: None,
        };
        let knowledge = outlets.knowledge.get_or_insert_default().clone();
        let shared = (knowledge, settings.registered.clone(), &outlets.metrics);
        controller_verb::webhook(&client, listener, wanted, &clock, &leadership, shared, &mut servers, stop);
    }
    let options = Options {
        interval: speed.wait(interval),
        settings,
        instance: machine::node_name(),
        clock: clock.clone(),
        audit: None,
        leadership,
        kubelets: Some(Pace::default()),
        prometheus: None,
        history,
        outlets,
    };
    let (rows, shown) = watch::channel(Snapshot::default());
    let asked = async {
        if demo {
            stop.run_until_cancelled(demo::ask(&client, shown.clone(), &clock)).await;
        }
    };
    let looped = controller_verb::ends(run::run(client.clone(), options, rows, stop.clone()), stop);
    let (ran, (), shown) = tokio::join!(looped, asked, async {
        let shown = live::show(shown.clone(), logs, &clock, stop.clone()).await;
        stop.cancel(); // nobody reads the table any more: `supple up | head` ends like a signal
        shown
    });
    // Whoever publishes the registrations first: what is under way there would make them anew.
    while servers.join_next().await.is_some() {}
    if webhook && let Err(error) = publish::withdraw(&client, WEBHOOK).await {
        tracing::warn!(
            error = chain(&error),
            "the webhook stays registered; the next `supple up` on this data directory withdraws it"
        );
    }
    ran.map_err(Failure::refused)?;
    Ok(shown?)
}

/// Our own resources, which every cluster of ours has from the start.
fn definitions() -> Result<Vec<Manifest>, Failure> {
    let own = |it| serde_json::to_value(it).map(|object| Manifest { place: "our definitions".to_owned(), object });
    supple_api::crd::all().into_iter().map(own).collect::<Result<_, _>>().map_err(Failure::refused)
}

/// Leave word of the loop in this process where `plan`, `explain` and `doctor` look for it; without one, take it off.
async fn leave_word(client: &Client, word: Option<String>) -> Result<(), Failure> {
    let patch = json!({"metadata": {"annotations": {(names::LOOP): word}}});
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let done = api.patch(DEFINITION, &PatchParams::default(), &Patch::Merge(&patch)).await;
    done.map(drop).map_err(|error| Failure::refused(format!("{DEFINITION} cannot be annotated: {}", chain(&error))))
}

/// Where the cluster is and what it runs on.
fn announce(cluster: &Cluster, lines: &[(&'static str, String)]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if let Some(url) = cluster.url() {
        writeln!(out, "API server  {url}")?;
    }
    if let Some(path) = cluster.kubeconfig() {
        writeln!(out, "kubeconfig  {}", path.display())?;
    }
    if let Some((name, why)) = cluster.runtime() {
        writeln!(
            out,
            "runtime     {name}: {}",
            if why == "given" { "no container runs, usage is computed" } else { why }
        )?;
    }
    for (word, rest) in lines {
        writeln!(out, "{word:<11} {rest}")?;
    }
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// What a node has, for people.
fn told(capacity: Capacity) -> String {
    let Capacity { cpu, memory, pods } = capacity;
    format!("cpu {cpu}, memory {}, {pods} pods", rounded(memory))
}

/// A moment without its fraction.
fn whole_second(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
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
        .map_err(|error| Failure::refused(format!("cannot find the path of this program: {error}")))?;
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
