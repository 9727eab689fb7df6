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
        "Resizes that have ended, by outcome (`resized`, `refused`, `infeasible`, `given-up`, `failed`, \
         `rolled-back`) and by reason code; `failed` also counts requests without an answer (`NoAnswer`), which are \
         retried.";
    ResizeDuration: "supple_resize_duration_seconds" Histogram ["result"],
        "From the request to the end of a resize.";
    RaiseDuration: "supple_raise_duration_seconds" Histogram [],
        "From the arrival of an urgent measurement to the API server's acceptance of the raise, dry run included.";
    Rollbacks: "supple_rollbacks_total" Counter ["reason"],
        "Resizes that were rolled back because they caused harm, by reason code.";
    Evictions: "supple_evictions_total" Counter ["reason"],
        "Pods evicted, or restarted through their template, because an in-place resize was not possible, by reason \
         code.";
    Incidents: "supple_incidents_total" Counter ["incident"],
        "Incidents of pods: containers OOM-killed (`out-of-memory`), containers restarted, also after an OOM kill \
         (`restarted`), pods evicted by their node (`evicted`). Each replica counts all of them: take the largest, not the \
         sum.";
    InFlight: "supple_in_flight_pods" Gauge [],
        "Pods whose resize is in progress or being watched.";
    MostOnANode: "supple_node_most_in_flight_pods" Gauge ["haste"],
        "Maximum number of concurrent resizes on one node since the start, including the resize being sent. \
         `can-wait`: when a resize that can wait was sent; always 1, because it waits until its node has no other \
         resize. `cannot-wait`: when a resize that does not wait was sent: an urgent raise, a rollback, pods that \
         change together because of a horizontal autoscaler.";
    Pending: "supple_pending_pods" Gauge ["namespace", "workload_kind", "workload", "state"],
        "Pods whose resize the node has not applied: `deferred` (no room yet) or `infeasible`.";
    PendingAge: "supple_pending_oldest_age_seconds" Gauge ["namespace", "workload_kind", "workload", "state"],
        "How long the oldest of them has been waiting.";
    KubePodStatusResize: "kube_pod_status_resize" Gauge ["namespace", "pod", "resize"],
        "1 for a pod with a resize: `InProgress`, `Deferred` or `Infeasible`, words of the former `status.resize` \
         (its `Proposed` counts as `InProgress`); pods without one have no series. kube-state-metrics has no metric for \
         it.";
    Decided: "supple_decided_pods" Gauge ["reason"],
        "Pods judged in the last round, by deciding reason code.";
    Pods: "supple_workload_pods" Gauge ["namespace", "workload_kind", "workload"],
        "Pods of a watched workload.";
    RecommendedCpu: "supple_recommended_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "CPU request recommended for a container of the workload.";
    RecommendedMemory: "supple_recommended_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Memory request recommended for a container of the workload.";
    RequestedCpu: "supple_requested_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Current CPU request, mean over the pods.";
    RequestedMemory: "supple_requested_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Current memory request, mean over the pods.";
    UsedCpu: "supple_used_cpu_cores" Gauge ["namespace", "workload_kind", "workload", "container"],
        "CPU usage, mean over the pods.";
    UsedMemory: "supple_used_memory_bytes" Gauge ["namespace", "workload_kind", "workload", "container"],
        "Largest working set of the pods.";
    SavedCpu: "supple_saved_cpu_cores" Gauge ["namespace"],
        "CPU that running pods sized by Supple request less than their workload's template says now, or less than before \
         Supple first resized them where there is no template; negative if it is more.";
    SavedMemory: "supple_saved_memory_bytes" Gauge ["namespace"],
        "The same for memory.";
    SavableCpu: "supple_savable_cpu_cores" Gauge ["namespace"],
        "CPU that running pods request above what their policy would give them in the next step, headroom, bounds and \
         step caps included, and that is not lowered yet, because the mode, a policy or a check does not allow it. \
         Pods that request too little do not reduce it.";
    SavableMemory: "supple_savable_memory_bytes" Gauge ["namespace"],
        "The same for memory.";
    SourceNewest: "supple_source_newest_timestamp_seconds" Gauge ["source"],
        "Time of the newest measurement of a usage source: `metrics-api`, `kubelet`, `prometheus`; until it has one, when \
         the controller started. `time()` minus it is its age.";
    SourceReadings: "supple_source_readings_total" Counter ["source"],
        "Measurements read, one per container.";
    SourceFailures: "supple_source_failures_total" Counter ["source"],
        "Failed reads of a source.";
    HistoryKept: "supple_history_file_timestamp_seconds" Gauge [],
        "When the history file was last written; until it is, when the controller started. Only with `--history-file`.";
    RoundDuration: "supple_round_duration_seconds" Histogram [],
        "Duration of a round: measure, judge, and start the actions.";
    ApiRequests: "supple_api_requests_total" Counter ["verb", "resource", "code"],
        "Requests to the API server, by HTTP status; `0` without an answer.";
    WebhookReviews: "supple_webhook_reviews_total" Counter ["review", "result"],
        "Admission reviews answered: `resize` or `create`; `allowed`, `refused`, `sized`, `unread` (it could not be parsed, and \
         is answered with HTTP 400: with `failurePolicy` `Ignore` it passes unchecked, with `Fail` it is refused).";
    WebhookDuration: "supple_webhook_duration_seconds" Histogram ["review"],
        "Duration of an admission review.";
    CertificateExpiry: "supple_webhook_certificate_expiry_timestamp_seconds" Gauge [],
        "When the webhook's certificate expires; it is renewed long before.";
    Leader: "supple_leader" Gauge [],
        "1 for the replica that leads, 0 for the others.";
    LeaderChanges: "supple_leader_changes_total" Counter [],
        "Times this replica started or stopped leading.";
    Stopped: "supple_stopped" Gauge [],
        "1 while `supple.dev/stop` is set, which stops everything.";
    BuildInfo: "supple_build_info" Gauge ["version"],
        "Always 1; the label has the running version.";
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
