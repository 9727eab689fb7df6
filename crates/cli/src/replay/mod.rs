//! The verb `replay`: what would have happened, on recorded usage, under each policy.
//!
//! Judgement and figures are pure and stand in `supple-recommend` and `supple-replay`; here is the edge: files in, threads,
//! tables and reports out.

pub mod args;
mod csv;
mod html;
mod lane;
mod open;
mod policy;
mod progress;
mod prometheus;
mod row;
mod run;
mod summary;
mod text;

use std::io::Write as _;
use std::path::Path;

use args::{ReplayArgs, ReplayOutput};
use lane::{Wish, written};
use policy::Contender;
use progress::Progress;
use row::InputError;
use run::{Replayed, Setup};
use summary::Money;

use crate::exit::Failure;

/// Workloads named in the table.
const NAMED: usize = 20;

/// Replays what is asked for and prints it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let contenders = contenders(args)?;
    let money = args.prices.as_deref().map(read_prices).transpose()?;
    let files = open::files(&args.files)
        .map_err(|error| Failure::unreachable(format!("cannot list the recordings: {error}")))?;
    if files.is_empty() {
        return Err(Failure::unreachable(
            "the directory holds no recording (.csv or .json, plain or as .gz, .xz, .zst)",
        ));
    }
    let setup = Setup {
        contenders: &contenders,
        files: &files,
        wish: Wish {
            warmup: i64::try_from(args.warmup.as_secs()).unwrap_or(i64::MAX),
            changes: args.emit.is_some() || args.html.is_some(),
        },
        bound: !args.no_bound,
        lenient: args.lenient,
        jobs: args.jobs.map_or_else(cores, usize::from),
        draw: if args.html.is_some() { args.charts } else { 0 },
    };
    let progress = Progress::new();
    let replayed = run::replay(&setup, &progress);
    progress.finish();
    let replayed = replayed.map_err(|error| match error {
        InputError::Read { .. } => Failure::unreachable(error),
        InputError::Wrong { .. } | InputError::File { .. } => Failure::refused(error),
    })?;
    if replayed.workloads.is_empty() {
        return Err(Failure::refused("the recordings hold no samples"));
    }
    if replayed.skipped > 0 {
        crate::say(&format!(
            "skipped {} wrong lines or series, the first: {}",
            replayed.skipped,
            replayed.reasons.join("; ")
        ));
    }
    let summary = summary::summarize(&contenders, &replayed.workloads, replayed.samples, replayed.skipped, money);
    if let Some(path) = &args.emit {
        write_file(path, &emitted(&contenders, &replayed))?;
    }
    if let Some(path) = &args.html {
        write_file(path, &html::page(&contenders, &summary, &replayed))?;
    }
    let out = match args.output {
        ReplayOutput::Json => {
            let mut out = serde_json::to_string_pretty(&summary).map_err(Failure::refused)?;
            out.push('\n');
            out
        }
        ReplayOutput::Csv => text::csv(&summary),
        ReplayOutput::Table if args.compare.len() == 2 => text::comparison(&summary),
        ReplayOutput::Table => text::table(&summary, NAMED),
    };
    std::io::stdout().lock().write_all(out.as_bytes())?;
    Ok(())
}

fn contenders(args: &ReplayArgs) -> Result<Vec<Contender>, Failure> {
    let own = if args.compare.is_empty() { &args.policy } else { &args.compare };
    let mut contenders = own.iter().map(|path| Contender::read(path)).collect::<Result<Vec<_>, _>>()?;
    if contenders.is_empty() {
        contenders.push(Contender::own());
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
        return Err(Failure::Usage(format!("two policies are named {:?}; give one a `name:` of its own", twice[0])));
    }
    if names.contains(&"bound") {
        return Err(Failure::Usage("a policy cannot be named \"bound\"; that is the least possible".to_owned()));
    }
    Ok(contenders)
}

fn read_prices(path: &Path) -> Result<Money, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::unreachable(format!("cannot read the prices {shown}: {error}")))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        Failure::Usage(format!("cannot read the prices {shown}: {error}; expected `cpu:` and `memory:`"))
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::refused(format!("cannot write {}: {error}", path.display())))
}

/// Every size in force, one row a change. A row holds from its time until the next row of the same policy and pod.
fn emitted(contenders: &[Contender], replayed: &Replayed) -> String {
    let mut out = String::from(
        "policy,namespace,workload,pod,container,time,cpu_request,cpu_limit,memory_request,memory_limit\n",
    );
    for (index, contender) in contenders.iter().enumerate() {
        for it in &replayed.workloads {
            for change in it.changes.iter().filter(|change| change.strategy == index) {
                let pod = usize::try_from(change.pod).ok().and_then(|pod| it.pods.get(pod)).map_or("", String::as_str);
                let [cpu_request, cpu_limit, memory_request, memory_limit] = written(&change.size);
                let name = &it.name;
                out.push_str(&format!(
                    "{},{},{},{pod},{},{},{cpu_request},{cpu_limit},{memory_request},{memory_limit}\n",
                    contender.name, name.namespace, name.workload, name.container, change.time,
                ));
            }
        }
    }
    out
}
