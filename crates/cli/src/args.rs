//! What can be typed: verbs, flags and their help. Nothing here does anything.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use supple_api::autoscaler::CarryOut;
use supple_cluster::{MemoryQos, Reservation, Speed};
use supple_node::runtime::Requested;
use supple_node::runtime::cri::PodNetwork;

use crate::judgement;
use crate::simulate::flag::{self, SimulateFlag};
use crate::values::{self, Amount, CapacityFlag, Listen, PodName};
use crate::workload;

/// Keeps the CPU and memory of running pods fitted to what they use, without restarting them.
#[derive(Debug, Parser)]
#[command(name = "supple", version, max_term_width = 110, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot reach what is needed.\n\
    Installed (or linked) as kubectl-supple, it is the kubectl plugin `kubectl supple`.";

#[derive(Debug, Args)]
pub struct LogArgs {
    /// What to log to stderr: error, warn, info, debug, trace, or directives as in `supple_node=debug`.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "SUPPLE_LOG",
        default_value = "warn,supple=info,kube_client=off",
        hide_default_value = true
    )]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a cluster on this machine: API server, scheduler, node and the loop, in one process.
    Up(UpArgs),
    /// Run the loop on a cluster: measure the pods that opted in and fit them to what they use.
    Controller(ControllerArgs),
    /// Resize a running pod in place: predict, patch, wait, and say the outcome.
    Resize(ResizeArgs),
    /// Put back what the last resize of a pod changed.
    Undo(UndoArgs),
    /// Say what each container should ask for, why, and what the cluster would answer.
    Plan(judgement::PlanArgs),
    /// Say for one workload how its sizes came about, and what would have to change for anything to happen.
    Explain(judgement::ExplainArgs),
    /// Look for what is missing or misconfigured, and say what to do about it.
    Doctor(judgement::DoctorArgs),
    /// Give every pod its original sizes back, before the program is removed.
    Uninstall(judgement::UninstallArgs),
    /// Replay recorded usage: what each policy would have reserved, and what would have gone wrong.
    Replay(crate::replay::args::ReplayArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the version.
    Version(VersionArgs),
    /// The helper process that stays with a container.
    #[command(hide = true, disable_help_flag = true)]
    Shim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// A workload of the demonstration.
    #[command(hide = true)]
    Workload {
        /// What to play.
        kind: workload::Kind,
    },
}

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Where the cluster is kept: objects, checkpoints, logs, kubeconfig, token [default: $XDG_DATA_HOME/supple].
    #[arg(long, value_name = "DIR", env = "SUPPLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the API server; port 0 is any free one [default: 127.0.0.1:6443, or a free port if that is taken].
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen_address)]
    pub listen: Option<SocketAddr>,
    /// Name of the node [default: the machine's]; of many, what their names begin with [default: node].
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    pub node_name: Option<String>,
    /// What the node has, as in cpu=4,memory=16Gi,pods=110; what is left out is the machine's.
    #[arg(long, value_name = "CAPACITY")]
    pub node_capacity: Option<CapacityFlag>,
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// What runs containers: auto, process (real processes in real cgroups), simulated, or cri=unix:///PATH/OF/ITS.sock
    /// (real containers of containerd or CRI-O).
    #[arg(long, value_name = "RUNTIME", default_value = "auto")]
    pub runtime: Requested,
    /// With --runtime cri=…: the machine's own network (host), or one per pod by the container runtime's plugins (cni)
    /// [default: host].
    #[arg(long, value_name = "NETWORK")]
    pub pod_network: Option<PodNetwork>,
    /// With --runtime cri=…: name of the cgroup below which all pods are [default: one of this cluster's own].
    #[arg(long, value_name = "NAME")]
    pub cgroup_root: Option<String>,
    /// Manifests to apply once the cluster is up; repeatable.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Run workloads to look at: steady, growing, bursting, idle and over-provisioned ones, resized by the loop.
    #[arg(long, conflicts_with = "no_loop")]
    pub demo: bool,
    /// The cluster alone: nothing is resized by itself.
    #[arg(long)]
    pub no_loop: bool,
    /// Which VerticalPodAutoscaler objects the loop carries out: all (also those that name nobody, because nobody else is
    /// here to do it), named (those whose spec.recommenders names supple), none.
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub vpa: CarryOut,
    /// Also serve and register the loop's admission webhook: it refuses memory limits below what is used, or lowered without
    /// the approval that a policy asks for, and sizes new pods.
    #[arg(long, conflicts_with_all = ["no_loop", "simulate"])]
    pub webhook: bool,
    #[command(flatten)]
    pub simulate: SimulateArgs,
}

/// A cluster that is only computed.
#[derive(Debug, Args)]
#[command(next_help_heading = "A simulated cluster")]
pub struct SimulateArgs {
    /// Many nodes and the workloads on them, none of them real, as in nodes=500,pods=20000[,seed=7]; same numbers, same
    /// cluster. It is kept in memory: of --data-dir only kubeconfig, token and certificates are used.
    #[arg(
        long,
        value_name = "CLUSTER",
        conflicts_with_all = [
            "runtime", "pod_network", "cgroup_root", "demo", "memory_throttling_factor", "memory_reservation",
        ]
    )]
    pub simulate: Option<SimulateFlag>,
    /// Pods and their usage from a recording, in a form that `supple replay` reads, instead of patterns; it is played in a
    /// loop from the start on. With fewer or more pods= than were recorded: a part of it, or copies.
    #[arg(long, value_name = "FILE", requires = "simulate")]
    pub usage: Option<PathBuf>,
    /// How many times as fast as the machine's the clock runs, 1 to 3600: timestamps, usage, back-offs and graces of the
    /// nodes, and the loop's interval (15 s of that clock). At 60, a day takes 24 minutes.
    #[arg(long, value_name = "TIMES", requires = "simulate", value_parser = flag::speed)]
    pub speed: Option<Speed>,
}

/// Memory QoS of the node: what a kubelet has under the feature of that name. Needs cgroup version 2.
#[derive(Clone, Copy, Debug, Args)]
pub struct MemoryArgs {
    /// Slow a container down (memory.high) from this part of the way between its memory request and its limit on, as
    /// in 0.9 [default: never].
    #[arg(long, value_name = "FACTOR", value_parser = values::permille)]
    pub memory_throttling_factor: Option<u16>,
    /// Protect memory requests from reclaim: none, or tiered (memory.min for Guaranteed pods, memory.low for Burstable
    /// ones).
    #[arg(long, value_name = "POLICY", default_value = "none", value_parser = values::reservation)]
    pub memory_reservation: Reservation,
}

impl MemoryArgs {
    /// As the node is asked for it.
    pub fn qos(self) -> MemoryQos {
        MemoryQos { throttling_permille: self.memory_throttling_factor, reservation: self.memory_reservation }
    }
}

/// Which cluster, as kubectl has it.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectionArgs {
    /// Kubeconfig [default: $KUBECONFIG, ~/.kube/config, the pod's own account, then that of `supple up`].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

#[derive(Debug, Args)]
pub struct ControllerArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How often to measure and decide.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::interval)]
    pub interval: Duration,
    /// The namespace the controller runs in: it is never acted on, and its annotation supple.dev/stop stops everything.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "supple-system")]
    pub namespace: String,
    /// Where metrics are served (/metrics), or none.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub listen_metrics: Listen,
    /// Where probes are answered (/livez, /readyz), or none.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    pub listen_probes: Listen,
    /// Where the admission webhook is served over TLS, or none; with --webhook-service.
    #[arg(long, value_name = "ADDR:PORT", default_value = "none")]
    pub listen_webhook: Listen,
    /// The Service in front of the webhook; with --listen-webhook.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::namespaced)]
    pub webhook_service: Option<(String, String)>,
    /// Act only while holding the lease: for several replicas.
    #[arg(long, value_name = "true|false", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_election: bool,
    /// A Prometheus-compatible server: a week of history when the controller starts, and the guards of policies. Usage of now comes
    /// from metrics.k8s.io and kubelets.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Sent with every question to it; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::header, requires = "prometheus")]
    pub prometheus_header: Vec<(String, String)>,
    /// A query of your own in place of a built-in one, for metrics that are named otherwise: cpu (cores), memory (bytes), throttled
    /// (share of periods), measured (seconds since 1970); repeatable. Each answers with one series a container, labelled namespace,
    /// pod and container; $namespace and $step stand for those.
    #[arg(long, value_name = "NAME=QUERY", value_parser = values::header, requires = "prometheus")]
    pub prometheus_query: Vec<(String, String)>,
    /// Holds its bearer token; read again at every question.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_bearer_file: Option<PathBuf>,
    /// Holds the certificates one of which must have signed its own.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_ca: Option<PathBuf>,
    /// Ask kubelets, through the API server, for throttling, pressure and swap.
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub kubelet_stats: bool,
    /// Which VerticalPodAutoscaler objects are ours to carry out: named (those whose spec.recommenders names supple), all
    /// (also those that name nobody), none.
    #[arg(long, value_name = "WHICH", default_value = "named")]
    pub vpa: CarryOut,
    /// Resizes that may be under way in the whole cluster at once.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_in_flight: u32,
    /// Keep in this file what was learned: a controller that is killed then forgets one round at most (a large cluster's file, of
    /// over 240 KB, is written every few rounds), and not up to five minutes. Each replica has its own.
    #[arg(long, value_name = "FILE")]
    pub history_file: Option<PathBuf>,
    /// Write every decision and action into this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub audit_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PodArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The pod, as pod/NAME.
    #[arg(value_name = "pod/NAME")]
    pub pod: PodName,
    /// Namespace of the pod [default: the context's].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Wait until the pod runs with the new numbers, or it is clear that it will not.
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::patience)]
    pub timeout: Duration,
    /// Predict and let the server validate, but change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How to print the outcome.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: Output,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sizes").args(["cpu", "memory"]).required(true).multiple(true))]
pub struct ResizeArgs {
    #[command(flatten)]
    pub pod: PodArgs,
    /// Which container; may be left out where the pod has only one.
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// New CPU request, or request and limit; `:LIMIT` changes the limit alone.
    #[arg(long, value_name = "REQUEST[:LIMIT]", allow_hyphen_values = true)]
    pub cpu: Option<Amount>,
    /// New memory request, or request and limit; `:LIMIT` changes the limit alone.
    #[arg(long, value_name = "REQUEST[:LIMIT]", allow_hyphen_values = true)]
    pub memory: Option<Amount>,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    #[command(flatten)]
    pub pod: PodArgs,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell.
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct VersionArgs {
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: Output,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, expect: Result<(), &str>) {
        match (Cli::try_parse_from(line.split_whitespace()), expect) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{line}: {error}"),
            (Ok(parsed), Err(part)) => panic!("{line}: {parsed:?}, expected an error with {part:?}"),
            (Err(error), Ok(())) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn what_is_accepted_and_what_is_said_otherwise() {
        check(
            "supple up --data-dir /d --listen 127.0.0.1:0 --node-name n --node-capacity cpu=4 --runtime simulated -f a -f b --demo",
            Ok(()),
        );
        check("supple up --demo --no-loop", Err("cannot be used with"));
        check("supple up --simulate nodes=5,pods=60 --speed 60 --usage a.csv --node-capacity cpu=4 --no-loop", Ok(()));
        check("supple up --simulate nodes=5,pods=60 --runtime process", Err("cannot be used with"));
        check("supple up --simulate nodes=5,pods=60 --demo", Err("cannot be used with"));
        check("supple up --simulate nodes=0,pods=60", Err("is not from 1 to 5000"));
        check("supple up --speed 60", Err("--simulate <CLUSTER>"));
        check("supple up --usage a.csv", Err("--simulate <CLUSTER>"));
        check("supple up --simulate nodes=5,pods=60 --speed 0", Err("is not a whole number from 1 to 3600"));
        check("supple up --runtime docker", Err("expected auto, process, simulated or cri=unix://"));
        check("supple up --runtime cri=unix:///run/x.sock --pod-network cni --cgroup-root supple-a", Ok(()));
        check("supple up --runtime cri=tcp://x", Err("is not the address of a container runtime"));
        check("supple up --pod-network bridge", Err("expected host or cni"));
        check("supple up --node-capacity cpu=none", Err("\"none\" is not a quantity"));
        check("supple up --listen 6443", Err("is not ADDR:PORT"));
        check(
            "supple resize pod/a -c c --cpu 300m:500m --memory 1Gi -n d --context x --kubeconfig k --wait --timeout 5s --dry-run -o json",
            Ok(()),
        );
        check("supple resize pod/a --cpu 1 --wait=false", Ok(()));
        check("supple resize a --memory :1Gi", Ok(()));
        check("supple resize pod/a", Err("--cpu <REQUEST[:LIMIT]>"));
        check("supple resize deployment/a --cpu 1", Err("only pods can"));
        check("supple resize pod/a --cpu -5", Err("negative"));
        check("supple resize pod/a --cpu 1 --timeout soon", Err("is not a length of time"));
        check("supple resize pod/a --cpu 1 -o yaml", Err("possible values: text, json"));
        check("supple undo pod/a --timeout 1m", Ok(()));
        check("supple controller --interval 5s", Ok(()));
        check("supple controller --interval 0s", Err("at least 1s"));
        check("supple controller --interval 18446744073709551615s", Err("is too long; expected at most 1h"));
        check("supple resize pod/a --cpu 1 --timeout 18446744073709551615s", Err("is too long; expected at most 365d"));
        for what in ["header a=b", "query cpu=up", "bearer-file /f", "ca /f"] {
            check(&format!("supple controller --prometheus-{what}"), Err("--prometheus <URL>"));
            check(&format!("supple controller --prometheus http://p --prometheus-{what}"), Ok(()));
        }
        check("supple plan -A -o wide --fail-on risk", Ok(()));
        check("supple plan sts/db -n shop -o yaml", Ok(()));
        check("supple plan -A -n shop", Err("cannot be used with"));
        check("supple explain", Err("KIND/NAME"));
        check("supple explain deploy/web -o json", Ok(()));
        check("supple doctor", Ok(()));
        check("supple uninstall --restore", Ok(()));
        check("supple uninstal", Err("unrecognized subcommand"));
        check("supple shim --anything x", Ok(()));
    }
}
