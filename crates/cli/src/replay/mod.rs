//! The verb `replay`: what would have happened, on recorded usage, under each policy.
//!
//! Judgement and figures are pure and stand in `supple-recommend` and `supple-replay`, files and threads in `supple-recordings`;
//! here is what a person sees: policies in, tables and reports out.

pub mod args;
mod html;
mod object;
mod output;
mod policy;
mod progress;
mod summary;
mod text;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use args::{ReplayArgs, ReplayOutput};
use output::Output;
use policy::Contender;
use progress::Progress;
pub use summary::Money;
use supple_recordings::row::InputError;
use supple_recordings::run::{self, Setup};
use supple_recordings::source::Recording;
use supple_recordings::{lived, open};
use supple_replay::closed::NodeSize;

use crate::exit::Failure;

/// Workloads that are drawn where nothing is said of it.
const CHARTS: usize = 12;

/// Replays what is asked for and prints it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let contenders = contenders(args)?;
    let money = args.prices.as_deref().map(read_prices).transpose()?;
    let files = open::files(&args.files)
        .map_err(|error| Failure::unreachable(format!("cannot list the recordings: {error}")))?;
    if files.is_empty() {
        return Err(Failure::unreachable(
            "the directory contains no recording (.csv or .json, plain or as .gz, .xz, .zst)",
        ));
    }
    let named: Vec<&dyn supple_recordings::Contender> = contenders.iter().map(|it| it as _).collect();
    let setup = Setup {
        contenders: &named,
        warmup: i64::try_from(args.warmup.as_secs()).unwrap_or(i64::MAX),
        bound: !args.no_bound,
        jobs: args.jobs.map_or_else(cores, usize::from),
        changes: args.emit.is_some() || args.html.is_some(),
        draw: args.html.as_ref().map_or(0, |_| args.charts.unwrap_or(if args.chart.is_empty() { CHARTS } else { 0 })),
        draw_named: &args.chart,
    };
    let (emitted, report) = outputs(args, &files)?;
    let progress = Progress::new();
    let mut recording = Recording::new(&files, args.lenient);
    let replayed = run::replay(&setup, &mut recording, &progress);
    let sized = args.node.as_ref().map(|it| NodeSize { cpu: it.cpu, memory: it.memory, pods: it.pods });
    let node = sized.or(args.closed_loop.then(NodeSize::default));
    let worlds = match (&replayed, node) {
        (Ok(_), Some(node)) => lived::replay(&named, (setup.warmup, setup.jobs), node, &mut recording, &progress),
        _ => Ok(Vec::new()),
    };
    progress.finish();
    let mut replayed = replayed.map_err(failure)?;
    let worlds = worlds.map_err(failure)?;
    let known = &recording.known;
    if known.skipped > 0 {
        crate::say(&skipped(known.skipped, &known.reasons));
    }
    if replayed.workloads.is_empty() {
        return Err(Failure::refused("the recordings contain no samples"));
    }
    for contender in &contenders {
        contender.notes().iter().for_each(|note| crate::say(note));
    }
    for name in &args.chart {
        if !replayed.workloads.iter().any(|it| run::means(name, &it.name)) {
            crate::say(&format!("--chart: there is no workload {name:?}; -o csv lists all workloads"));
        }
    }
    let counts = (known.samples, known.skipped, args.warmup.as_secs());
    let summary = summary::summarize(&contenders, &replayed.workloads, &worlds, counts, money);
    let judged = text::recorded(&summary).next().is_some();
    if !judged && args.output == ReplayOutput::Table && args.html.is_none() && args.emit.is_none() {
        return Err(Failure::refused(text::notes(&summary).join("; ")));
    }
    for note in text::notes(&summary) {
        crate::say(&note);
    }
    if let Some(emitted) = emitted {
        emitted.write(|out| replayed.changes.emit(&named, &known.names, out))?;
    }
    if let Some(report) = report {
        let page = html::page(&contenders, &summary, &replayed.workloads);
        report.write(|out| out.write_all(page.as_bytes()))?;
    }
    let out = match args.output {
        ReplayOutput::Json => {
            let mut out = serde_json::to_string_pretty(&summary).map_err(Failure::refused)?;
            out.push('\n');
            out
        }
        ReplayOutput::Csv => text::csv(&summary),
        ReplayOutput::Table if args.compare.len() == 2 => text::comparison(&summary),
        ReplayOutput::Table if judged => text::table(&summary, args.top),
        ReplayOutput::Table => String::new(),
    };
    std::io::stdout().lock().write_all(out.as_bytes())?;
    Ok(())
}

/// What was skipped, and why of the first few.
fn skipped(count: u64, reasons: &[String]) -> String {
    let told = reasons.len() as u64;
    let first = match told {
        _ if told == count => String::new(),
        1 => ", the first".to_owned(),
        _ => format!(", the first {told}"),
    };
    let what = if count == 1 { "invalid line, series or point" } else { "invalid lines, series or points" };
    format!("skipped {count} {what}{first}: {}", reasons.join("; "))
}

fn contenders(args: &ReplayArgs) -> Result<Vec<Contender>, Failure> {
    let own = if args.compare.is_empty() { &args.policy } else { &args.compare };
    let mut contenders = own.iter().map(|path| Contender::read(path)).collect::<Result<Vec<_>, _>>()?;
    if contenders.is_empty() {
        contenders.push(Contender::own());
    }
    for own in &contenders {
        let taken = match own.name.as_str() {
            "bound" => "the clairvoyant bound",
            name if Contender::is_baseline(name) => "a baseline",
            _ => continue,
        };
        return Err(Failure::Usage(format!(
            "a policy cannot be named {:?}; that is the name of {taken}; set a different `name:` in it",
            own.name
        )));
    }
    for which in &args.against {
        let baseline = Contender::baseline(*which);
        if !contenders.iter().any(|it| it.name == baseline.name) {
            contenders.push(baseline);
        }
    }
    let mut names: Vec<&str> = contenders.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::Usage(format!(
            "two policies have the name {:?}; set a different `name:` in one",
            twice[0]
        )));
    }
    Ok(contenders)
}

/// Prices from a file.
pub fn read_prices(path: &Path) -> Result<Money, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::unreachable(format!("cannot read the prices {shown}: {error}")))?;
    let prices: Money = yaml(&text).map_err(|error| {
        Failure::Usage(format!(
            "cannot read the prices {shown}: {error}; expected `cpu:` and `memory:`, as in `cpu: 0.03`"
        ))
    })?;
    for (name, price) in [("cpu", prices.cpu), ("memory", prices.memory)] {
        if !(price.is_finite() && price >= 0.0) {
            return Err(Failure::Usage(format!(
                "the prices {shown}: {name} is {price}; a price is a number, 0 or more"
            )));
        }
    }
    Ok(prices)
}

/// What a text says, or what is wrong with it and where, in one line.
fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        // A drawing of the place follows, which says the same once more.
        let line = error.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The files of `--emit` and `--html`, which are none of those that are read, nor one another.
fn outputs(args: &ReplayArgs, recordings: &[PathBuf]) -> Result<(Option<Output>, Option<Output>), Failure> {
    let read = || recordings.iter().chain(&args.policy).chain(&args.compare).chain(&args.prices);
    let of = |option: &str, path: &Path| Output::new(option, path, read());
    let emitted = args.emit.as_deref().map(|path| of("--emit", path)).transpose()?;
    let report = args.html.as_deref().map(|path| of("--html", path)).transpose()?;
    match (&emitted, &report) {
        (Some(emitted), Some(report)) if emitted.is_same(report) => {
            Err(Failure::Usage("--emit and --html name the same file; choose two".to_owned()))
        }
        _ => Ok((emitted, report)),
    }
}

fn failure(error: InputError) -> Failure {
    match error {
        InputError::Read { .. } | InputError::Temporary { .. } => Failure::unreachable(error),
        InputError::Wrong { .. } | InputError::File { .. } => Failure::refused(error),
    }
}
