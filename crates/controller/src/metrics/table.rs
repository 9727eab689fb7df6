//! Every metric: its name, type, labels and meaning. `docs/metrics.md` is generated from it, and nothing is shown that is not
//! in it.

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only goes up.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// As Prometheus names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, with its unit.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, in the order of their values everywhere.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

macro_rules! metrics {
    ($($metric:ident: $name:literal $kind:ident $labels:expr, $meaning:literal;)+) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $(#[doc = $meaning] $metric,)+
        }

        impl Metric {
            /// Every one, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$metric,)+];

            /// What there is to know of it.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$metric => Row { name: $name, kind: Kind::$kind, labels: &$labels, meaning: $meaning },)+
                }
            }
        }
    };
}

metrics! {
    Resizes: "supple_resizes_total" Counter ["result", "reason"],
        "Resizes that have ended, by how (`resized`, `refused`, `infeasible`, `given-up`, `failed`, `rolled-back`) and by reason code; `failed` also counts requests that nobody answered (`NoAnswer`), which are tried again.";
    ResizeDuration: "supple_resize_duration_seconds" Histogram ["result"],
        "From the request to the end of a resize.";
    RaiseDuration: "supple_raise_duration_seconds" Histogram [],
        "From a measurement that could not wait, as it came in, to the API server's yes to what was raised because of it; the dry run before it included.";
    Rollbacks: "supple_rollbacks_total" Counter ["reason"],
        "Resizes that were taken back because the pod came to harm, by reason code.";
    Evictions: "supple_evictions_total" Counter ["reason"],
        "Pods evicted, or restarted through their template, because no resize in place could help, by reason code.";
    Incidents: "supple_incidents_total" Counter ["incident"],
        "What befell pods: containers killed for want of memory (`out-of-memory`), containers started again, after a kill too (`restarted`), pods thrown out by their node (`evicted`).";
    InFlight: "supple_in_flight_pods" Gauge [],
        "Pods whose resize is under way or being watched.";
    MostOnANode: "supple_node_most_in_flight_pods" Gauge ["haste"],
        "The most pods of one node whose resize was under way at once, since the start: `can-wait` whenever a resize that can wait was sent, itself counted, which is 1 because it waits until its node is at nothing else; `cannot-wait` whenever one was sent that waits for nobody: a raise that cannot wait, harm that is taken back, pods that change together because of a horizontal autoscaler.";
    Pending: "supple_pending_pods" Gauge ["namespace", "workload_kind", "workload", "state"],
        "Pods whose resize the node has not carried out: `deferred` (no room yet) or `infeasible`.";
    PendingAge: "supple_pending_oldest_age_seconds" Gauge ["namespace", "workload_kind", "workload", "state"],
        "For how long the oldest of them has been waiting.";
    KubePodStatusResize: "kube_pod_status_resize" Gauge ["namespace", "pod", "resize"],
        "1 for a pod with a resize: `Proposed`, `InProgress`, `Deferred` or `Infeasible`, the words of the former `status.resize`; pods without one have no series. kube-state-metrics has no metric for it.";
    Decided: "supple_decided_pods" Gauge ["reason"],
        "Pods judged in the last round, by the reason code that settled it.";
    Pods: "supple_workload_pods" Gauge ["namespace", "workload_kind", "workload"],
        "Pods of a workload that is watched.";
    RecommendedCpu: "supple_recommended_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "CPU request recommended for a container of the workload.";
    RecommendedMemory: "supple_recommended_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Memory request recommended for a container of the workload.";
    RequestedCpu: "supple_requested_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "CPU request in force, the mean over the pods.";
    RequestedMemory: "supple_requested_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Memory request in force, the mean over the pods.";
    UsedCpu: "supple_used_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "CPU in use, the mean over the pods.";
    UsedMemory: "supple_used_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Working set, that of the pod with the largest.";
    SavedCpu: "supple_saved_cpu_cores" Gauge ["namespace"],
        "CPU requested less than before Supple first touched the pods that run now; negative where it is more.";
    SavedMemory: "supple_saved_memory_bytes" Gauge ["namespace"],
        "The same for memory.";
    SavableCpu: "supple_savable_cpu_cores" Gauge ["namespace"],
        "CPU requested beyond what is recommended, where that is more, and not lowered: the mode, a policy or a check says no.";
    SavableMemory: "supple_savable_memory_bytes" Gauge ["namespace"],
        "The same for memory.";
    SourceNewest: "supple_source_newest_timestamp_seconds" Gauge ["source"],
        "The newest moment of which a source of usage has told: `metrics-api`, `kubelet`, `prometheus`. `time()` minus it is its age.";
    SourceReadings: "supple_source_readings_total" Counter ["source"],
        "Readings taken in, one a container.";
    SourceFailures: "supple_source_failures_total" Counter ["source"],
        "Times a source was asked and told nothing.";
    HistoryKept: "supple_history_file_timestamp_seconds" Gauge [],
        "When the history file was last written; there only with `--history-file`.";
    RoundDuration: "supple_round_duration_seconds" Histogram [],
        "How long a round took: measure, judge, and hand over what is to be done.";
    ApiRequests: "supple_api_requests_total" Counter ["verb", "resource", "code"],
        "Requests to the API server, by HTTP status; `0` where there was no answer.";
    WebhookReviews: "supple_webhook_reviews_total" Counter ["review", "result"],
        "Admission reviews answered: `resize` or `create`; `allowed`, `refused`, `sized`, `unread` (passed because it could not be read).";
    WebhookDuration: "supple_webhook_duration_seconds" Histogram ["review"],
        "How long an admission review took.";
    CertificateExpiry: "supple_webhook_certificate_expiry_timestamp_seconds" Gauge [],
        "When the webhook's certificate runs out; it is renewed long before.";
    Leader: "supple_leader" Gauge [],
        "1 for the replica that leads, 0 for the others.";
    LeaderChanges: "supple_leader_changes_total" Counter [],
        "Times this replica began or ceased to lead.";
    Stopped: "supple_stopped" Gauge [],
        "1 while the switch that stops everything (`supple.dev/stop`) is pulled.";
    BuildInfo: "supple_build_info" Gauge ["version"],
        "1, with the version that runs.";
}

/// The table for people.
#[must_use]
pub fn to_markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         What the controller tells Prometheus at `/metrics` (`--listen-metrics`). This page is generated from\n\
         `crates/controller/src/metrics/table.rs` by `cargo xtask generate`.\n\n\
         Reason codes are those of [reason-codes.md](reason-codes.md). Metrics of workloads have no label for the pod, so that\n\
         their number does not grow with replicas. With several replicas only the one that leads tells of workloads.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in Metric::ALL {
        let Row { name, kind, labels, meaning } = metric.row();
        let labels: Vec<String> = labels.iter().map(|it| format!("`{it}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        out.push_str(&format!("| `{name}` | {} | {labels} | {meaning} |\n", kind.as_str()));
    }
    out
}
