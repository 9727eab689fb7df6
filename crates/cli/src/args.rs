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

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot reach the cluster or a \
                          file.\n\
    Install or link it as kubectl-supple to use it as the plugin `kubectl supple`.";

#[derive(Debug, Args)]
pub struct LogArgs {
    /// Log level on stderr: error, warn, info, debug, trace, or directives such as `supple_node=debug`.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "SUPPLE_LOG",
        default_value = "warn,supple=info,kube_client=off,kube_runtime=error",
        hide_default_value = true
    )]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a cluster on this machine: API server, scheduler, node and resize loop in one process.
    Up(UpArgs),
    /// Run the resize loop on a cluster: measure the pods that opted in and fit them to what they use.
    Controller(ControllerArgs),
    /// Resize a running pod in place: predict, patch, wait, and print the outcome.
    Resize(ResizeArgs),
    /// Undo the last resize of a pod.
    Undo(UndoArgs),
    /// Show what each container should request, why, and what the cluster would answer.
    Plan(judgement::PlanArgs),
    /// Explain the sizes of one workload, and what must change before Supple acts.
    Explain(judgement::ExplainArgs),
    /// Find what is missing or misconfigured, and show how to fix it.
    Doctor(judgement::DoctorArgs),
    /// Restore the original sizes of every pod, before you remove Supple.
    Uninstall(judgement::UninstallArgs),
    /// Replay recorded usage: what each policy would have reserved, and what would have failed.
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
    /// Directory of the cluster: objects, checkpoints, logs, kubeconfig, token [default: $XDG_DATA_HOME/supple].
    #[arg(long, value_name = "DIR", env = "SUPPLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the API server; port 0 takes any free port [default: 127.0.0.1:6443, or a free port if that one is
    /// in use].
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen_address)]
    pub listen: Option<SocketAddr>,
    /// Name of the node [default: the machine's name]; with --simulate, prefix of the node names [default: node].
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    pub node_name: Option<String>,
    /// Capacity of the node, such as cpu=4,memory=16Gi,pods=110 [default of each: the machine's].
    #[arg(long, value_name = "CAPACITY")]
    pub node_capacity: Option<CapacityFlag>,
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// Container runtime: auto, process (real processes in real cgroups), simulated, or
    /// cri=unix:///PATH/TO/RUNTIME.sock (real containers of containerd or CRI-O).
    #[arg(long, value_name = "RUNTIME", default_value = "auto")]
    pub runtime: Requested,
    /// With --runtime cri=…: use the machine's network (host), or the container runtime's CNI plugins (cni) [default:
    /// host].
    #[arg(long, value_name = "NETWORK")]
    pub pod_network: Option<PodNetwork>,
    /// With --runtime cri=…: name of the parent cgroup of all pods [default: a name unique to this cluster].
    #[arg(long, value_name = "NAME")]
    pub cgroup_root: Option<String>,
    /// Manifests to apply once the cluster is up; repeatable.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Run demo workloads that the loop resizes: steady, growing, bursting, idle and over-provisioned.
    #[arg(long, conflicts_with = "no_loop")]
    pub demo: bool,
    /// Run the cluster without the resize loop.
    #[arg(long)]
    pub no_loop: bool,
    /// VerticalPodAutoscaler objects that the loop acts on: all (also those without spec.recommenders), named
    /// (spec.recommenders names supple), none.
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub vpa: CarryOut,
    /// Serve and register the admission webhook. It sizes new pods, and refuses memory limits below usage or lowered
    /// without a required approval.
    #[arg(long, conflicts_with_all = ["no_loop", "simulate"])]
    pub webhook: bool,
    #[command(flatten)]
    pub simulate: SimulateArgs,
}

/// A cluster that is only computed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulated cluster")]
pub struct SimulateArgs {
    /// Simulate nodes and workloads, such as nodes=500,pods=20000[,seed=7]. The same numbers give the same cluster. It
    /// lives in memory; --data-dir holds only kubeconfig, token and certificates.
    #[arg(
        long,
        value_name = "CLUSTER",
        conflicts_with_all = [
            "runtime", "pod_network", "cgroup_root", "demo", "memory_throttling_factor", "memory_reservation",
        ]
    )]
    pub simulate: Option<SimulateFlag>,
    /// Take pods and usage from a recording in a format that `supple replay` reads. It repeats endlessly. With fewer
    /// pods= than recorded, a part is used; with more, copies.
    #[arg(long, value_name = "FILE", requires = "simulate")]
    pub usage: Option<PathBuf>,
    /// Speed of the cluster's clock, 1 to 3600 times real time. It drives timestamps, usage, back-offs and grace
    /// periods of the nodes, and the loop's interval (15 s of that clock). At 60, a day takes 24 minutes.
    #[arg(long, value_name = "TIMES", requires = "simulate", value_parser = flag::speed)]
    pub speed: Option<Speed>,
}

/// Memory QoS of the node: what a kubelet has under the feature of that name. Needs cgroup version 2.
#[derive(Clone, Copy, Debug, Args)]
pub struct MemoryArgs {
    /// Throttle a container (memory.high) at this fraction of the range from its memory request to its limit, such as
    /// 0.9 [default: never].
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
    /// Time between rounds of measuring and deciding.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::interval)]
    pub interval: Duration,
    /// The controller's own namespace. Supple never acts on it. Its annotation supple.dev/stop stops everything.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "supple-system")]
    pub namespace: String,
    /// Address that serves /metrics, or none.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub listen_metrics: Listen,
    /// Address that serves /livez and /readyz, or none.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    pub listen_probes: Listen,
    /// Address that serves the admission webhook over TLS, or none; requires --webhook-service.
    #[arg(long, value_name = "ADDR:PORT", default_value = "none")]
    pub listen_webhook: Listen,
    /// The Service in front of the webhook; requires --listen-webhook.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::namespaced)]
    pub webhook_service: Option<(String, String)>,
    /// Folder with a certificate (tls.crt) and key (tls.key) for the webhook; read again every minute. Without it, Supple
    /// makes its own, keeps it in a Secret, and writes its CA into the webhook configurations.
    #[arg(long, value_name = "DIR", requires = "webhook_service")]
    pub webhook_certificate: Option<PathBuf>,
    /// Act only while this replica holds the lease. Required for more than one replica.
    #[arg(long, value_name = "true|false", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_election: bool,
    /// A Prometheus-compatible server. It provides a week of history at start, and answers the guards of policies.
    /// Current usage comes from metrics.k8s.io and kubelets.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// HTTP header for every request to Prometheus; repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::header, requires = "prometheus")]
    pub prometheus_header: Vec<(String, String)>,
    /// Replace a built-in query, if your metrics have other names: cpu (cores), memory (bytes), throttled (share of
    /// periods), measured (seconds since 1970). The result must have one series per container, with the labels
    /// namespace, pod and container. $namespace and $step are substituted. Repeatable.
    #[arg(long, value_name = "NAME=QUERY", value_parser = values::header, requires = "prometheus")]
    pub prometheus_query: Vec<(String, String)>,
    /// File with the bearer token for Prometheus; read again for every request.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_bearer_file: Option<PathBuf>,
    /// File with the CA certificates for Prometheus.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_ca: Option<PathBuf>,
    /// Read throttling, pressure and swap from kubelets, through the API server.
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub kubelet_stats: bool,
    /// Ask Prometheus the guards of RightsizePolicy objects, too. With false, only those of ClusterRightsizePolicy objects:
    /// who may write a policy in a namespace could otherwise read any metric with the controller's token.
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub namespaced_guards: bool,
    /// VerticalPodAutoscaler objects that Supple acts on: named (spec.recommenders names supple), all (also those
    /// without spec.recommenders), none.
    #[arg(long, value_name = "WHICH", default_value = "named")]
    pub vpa: CarryOut,
    /// Maximum number of concurrent resizes in the cluster.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_in_flight: u32,
    /// File that keeps the learned history. A killed controller then loses at most one round (a few rounds with a file
    /// over 240 KB), instead of up to five minutes. Each replica needs its own file.
    #[arg(long, value_name = "FILE")]
    pub history_file: Option<PathBuf>,
    /// File for the audit log: every action, and every change of a workload's decision, one JSON object per line.
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
    /// Wait until the pod runs with the new sizes, or cannot.
    #[arg(long, value_name = "true|false", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::patience)]
    pub timeout: Duration,
    /// Predict, and let the server validate, but change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: Output,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sizes").args(["cpu", "memory"]).required(true).multiple(true))]
pub struct ResizeArgs {
    #[command(flatten)]
    pub pod: PodArgs,
    /// The container; optional if the pod has only one.
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
    /// New CPU request, or request and limit; `:LIMIT` changes only the limit.
    #[arg(long, value_name = "REQUEST[:LIMIT]", allow_hyphen_values = true)]
    pub cpu: Option<Amount>,
    /// New memory request, or request and limit; `:LIMIT` changes only the limit.
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
    /// Output format.
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
        check("supple resize pod/a --cpu 1 --timeout soon", Err("is not a duration"));
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
