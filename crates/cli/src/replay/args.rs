//! What can be typed after `supple replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::values::{self, CapacityFlag};

/// Recorded usage, policies, and what to make of them.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings: CSV, or answers of Prometheus to a range query, told apart by what is in them; a directory means its files;
    /// what is packed with gzip, xz or zstd is unpacked; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// A policy to replay, or a RightsizePolicy as it is applied [default: the program's own]; repeatable.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Two policies: what changing the first into the second would do, workload by workload.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "policy")]
    pub compare: Vec<PathBuf>,
    /// What to compare with: vpa, krr, p95, autopilot, newsvendor, static, none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "vpa")]
    pub against: Vec<Baseline>,
    /// Learning time that is left out of all figures, for all policies alike: 36h, 7d, 2w.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = values::duration)]
    pub warmup: Duration,
    /// Skip wrong lines and series, count them, and go on.
    #[arg(long)]
    pub lenient: bool,
    /// Leave the clairvoyant bound out; it is about a twelfth of the work, and keeps 8 to 24 bytes a row in TMPDIR meanwhile.
    #[arg(long)]
    pub no_bound: bool,
    /// Replay once more with effects: throttled work is done later, kills begin the memory anew, a node may defer.
    #[arg(long)]
    pub closed_loop: bool,
    /// The size of the nodes for --closed-loop, as cpu=16,memory=64Gi,pods=110; as many as needed [default: one without bounds].
    #[arg(long, value_name = "SIZE")]
    pub node: Option<CapacityFlag>,
    /// How to print the outcome.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ReplayOutput,
    /// Write a report for people: one file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// How many workloads the report draws, those that use most first [default: 12; with --chart none but those].
    #[arg(long, value_name = "NUMBER")]
    pub charts: Option<usize>,
    /// A workload that the report draws, as NAME or NAMESPACE/NAME; repeatable.
    #[arg(long, value_name = "NAME", requires = "html")]
    pub chart: Vec<String>,
    /// How many workloads the table names, the dearest first.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub top: usize,
    /// Write every size in force: policy,namespace,workload,pod,container,time,cpu_request,cpu_limit,memory_request,memory_limit.
    #[arg(long, value_name = "FILE.csv")]
    pub emit: Option<PathBuf>,
    /// What a core-hour and a GiB-hour cost, as `cpu: 0.03` and `memory: 0.004`, to print money too.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Threads that replay [default: one a core].
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
}

/// What others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Baseline {
    /// Vertical Pod Autoscaler 1.7.1.
    Vpa,
    /// Robusta KRR, simple strategy.
    Krr,
    /// 95th percentile + 15 % over 14 days.
    P95,
    /// Google Autopilot's moving window.
    Autopilot,
    /// The least expected cost over the last hours, and a tenth more.
    Newsvendor,
    /// The limits as recorded.
    Static,
    /// No requests, no limits.
    None,
}

/// How the outcome is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayOutput {
    /// For people.
    Table,
    /// One object, for programs.
    Json,
    /// One line a policy, workload and resource, for spreadsheets.
    Csv,
}
