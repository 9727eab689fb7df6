//! What can be typed after `supple replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::values::{self, CapacityFlag};

/// Recorded usage, policies, and what to make of them.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings: CSV, or Prometheus range-query responses; the format is detected. A directory stands for its files.
    /// gzip, xz and zstd are unpacked. - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// A replay policy, or a RightsizePolicy manifest [default: the built-in policy]; repeatable.
    #[arg(long, value_name = "FILE")]
    pub policy: Vec<PathBuf>,
    /// Compare two policies: the effect of replacing the first by the second, per workload.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "policy")]
    pub compare: Vec<PathBuf>,
    /// Baselines to compare with: vpa, krr, p95, autopilot, newsvendor, static, none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "vpa")]
    pub against: Vec<Baseline>,
    /// Learning time that no figure counts, the same for all policies: 36h, 7d, 2w.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = values::duration)]
    pub warmup: Duration,
    /// Skip and count invalid lines and series.
    #[arg(long)]
    pub lenient: bool,
    /// Do not compute the clairvoyant bound. The bound takes about a twelfth of the time, and 8 to 24 bytes per row in
    /// TMPDIR.
    #[arg(long)]
    pub no_bound: bool,
    /// Replay again with effects: throttled work runs later, an OOM kill resets memory, a node may defer a resize.
    #[arg(long)]
    pub closed_loop: bool,
    /// Node size for --closed-loop, such as cpu=16,memory=64Gi,pods=110; nodes are added as needed [default: one
    /// unlimited node].
    #[arg(long, value_name = "SIZE")]
    pub node: Option<CapacityFlag>,
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ReplayOutput,
    /// Write an HTML report, one self-contained file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Number of workloads with charts in the report, highest usage first [default: 12, or 0 with --chart].
    #[arg(long, value_name = "NUMBER")]
    pub charts: Option<usize>,
    /// A workload to chart in the report, as NAME or NAMESPACE/NAME; repeatable.
    #[arg(long, value_name = "NAME", requires = "html")]
    pub chart: Vec<String>,
    /// Number of workloads in the table, most expensive first.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub top: usize,
    /// Write every size that was in effect, with the columns
    /// policy,namespace,workload,pod,container,time,cpu_request,cpu_limit,memory_request,memory_limit.
    #[arg(long, value_name = "FILE.csv")]
    pub emit: Option<PathBuf>,
    /// File with the price of a core-hour and a GiB-hour, as `cpu: 0.03` and `memory: 0.004`, to print costs.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Number of threads [default: one per core].
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
    /// The lowest expected cost over the last hours, plus 10 %.
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
    /// One line per policy, workload and resource, for spreadsheets.
    Csv,
}
