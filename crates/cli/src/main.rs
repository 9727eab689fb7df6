//! The program: reads the command line, calls the verb, ends with its code. Verbs are in rooms of their own.

mod args;
mod connect;
mod controller_verb;
mod demo;
mod exit;
mod judgement;
mod live;
mod log;
mod pages;
mod pod_verbs;
mod replay;
mod signals;
mod simulate;
mod table;
mod up;
mod values;
mod workload;

use std::io::Write as _;
use std::process::ExitCode;

use args::{Cli, Output, Verb, VersionArgs};
use clap::{CommandFactory as _, FromArgMatches as _};
use exit::Failure;
use log::LogLines;

/// API objects are trees of small allocations, made on one thread and dropped on another: with the system's allocator
/// a third of a resize went into it and its lock (`cargo bench -p supple-cluster --bench resize`, A against B).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Kubernetes whose rules this program knows.
const KUBERNETES: &str = "v1.36.2";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let invoked = arguments.next().unwrap_or_default();
    if std::env::args_os().nth(1).is_some_and(|it| it == "shim") {
        // Before anything else: the helper stays with a container for its whole life and must stay small.
        supple_node::shim::main(arguments.skip(1));
    }
    let cli = match parse(&invoked) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, wrong usage to stderr with 2; a closed pipe is no matter.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Parse the command line; installed as kubectl's plugin, the help says `kubectl supple`.
fn parse(invoked: &std::ffi::OsStr) -> Result<Cli, clap::Error> {
    let plugin = std::path::Path::new(invoked).file_stem().is_some_and(|it| it == "kubectl-supple");
    let mut command = Cli::command();
    if plugin {
        command = command.bin_name("kubectl supple");
    }
    Cli::from_arg_matches(&command.try_get_matches()?)
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.verb {
        Verb::Shim { args } => supple_node::shim::main(args),
        Verb::Workload { kind } => Ok(workload::play(kind)?),
        Verb::Replay(args) => replay::replay(&args),
        Verb::Completions(args) => completions(args.shell),
        Verb::Version(args) => version(args),
        verb => {
            if matches!(verb, Verb::Controller(_)) {
                pages::small(); // before it starts itself again: what the allocator takes first is taken as it begins
                pages::given_back();
            }
            let logs = LogLines::init(&cli.log.log)?;
            let runtime = runtime(&verb).map_err(|error| Failure::refused(format!("cannot start threads: {error}")))?;
            let ended = runtime.block_on(async {
                match verb {
                    Verb::Up(args) => up::up(args, &logs).await,
                    Verb::Controller(args) => controller_verb::controller(args, &logs).await,
                    Verb::Resize(args) => pod_verbs::resize(args).await,
                    Verb::Undo(args) => pod_verbs::undo(args).await,
                    Verb::Plan(args) => judgement::plan(args).await,
                    Verb::Explain(args) => judgement::explain(args).await,
                    Verb::Doctor(args) => judgement::doctor(args).await,
                    Verb::Uninstall(args) => judgement::uninstall(args).await,
                    Verb::Shim { .. }
                    | Verb::Workload { .. }
                    | Verb::Replay(_)
                    | Verb::Completions(_)
                    | Verb::Version(_) => Ok(()),
                }
            });
            // Whatever was to be waited for has been: a write to a file that takes nothing would be waited for for ever.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            ended
        }
    }
}

/// The threads a verb works with. The controller's are few however many cores there are, because what it decides it decides on one;
/// and one that waits for an answer stays from round to round, because with a thread goes what the allocator keeps for it.
fn runtime(verb: &Verb) -> std::io::Result<tokio::runtime::Runtime> {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if matches!(verb, Verb::Controller(_)) {
        threads.worker_threads(2).thread_keep_alive(std::time::Duration::from_secs(300));
    }
    threads.enable_all().build()
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "supple", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

fn version(args: VersionArgs) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => writeln!(out, "supple {version} (rules of Kubernetes {KUBERNETES})")?,
        Output::Json => writeln!(out, "{}", serde_json::json!({"version": version, "kubernetes": KUBERNETES}))?,
    }
    Ok(())
}

/// One line of progress or failure on stderr. Nobody may be reading it, and that is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
