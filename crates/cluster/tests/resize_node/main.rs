//! Every scenario recorded on a real node of the reference, played on the embedded cluster: with real processes in this
//! machine's cgroups, and with real containers of containerd. What is done right where the reference is not is in
//! `expected.rs`, each with its reason.
//!
//! It has a `main` of its own because this very program is also the shim that the process runtime starts.
//! `cargo test -p supple-cluster --test resize_node -- WORD` plays the scenarios whose name has that word, with
//! `--process` or `--cri` on that runtime alone.

#[path = "../../../node/tests/support/containerd.rs"]
mod containerd;
mod expected;
mod ground;
mod lab;
mod observed;
mod version_2;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use ground::Ground;
use lab::Lab;

/// What was done and seen on a node of the reference.
#[derive(Clone, Debug, Deserialize)]
struct Scenario {
    name: String,
    pods: Vec<Value>,
    steps: Vec<Step>,
    events: BTreeMap<String, Vec<Told>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Step {
    /// `start`, `resize`, `NAME deleted` or `end`.
    step: String,
    resize: Option<String>,
    patch: Option<Value>,
    code: Option<u16>,
    observed: BTreeMap<String, Value>,
}

/// An event, as far as it is ours to match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Told {
    #[serde(rename = "type")]
    type_: String,
    reason: String,
    message: String,
}

/// Scenarios played at the same time: each has a cluster of its own, and they mostly wait.
const AT_ONCE: usize = 3;

/// Longer than any step takes: back-off is 10 s, and the machine may be busy, or emulated.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|it| it == "shim").is_some() {
        supple_node::shim::main(args);
    }
    let (flags, words): (Vec<String>, Vec<String>) =
        args.filter_map(|it| it.into_string().ok()).partition(|it| it.starts_with('-'));
    let scenarios = match scenarios() {
        Ok(scenarios) => scenarios,
        Err(why) => return skipped(&why),
    };
    let chosen: Vec<Scenario> =
        scenarios.into_iter().filter(|it| words.iter().all(|word| it.name.contains(word))).collect();
    let wanted =
        |flag: &str| !flags.iter().any(|it| it == "--process" || it == "--cri") || flags.iter().any(|it| it == flag);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let codes = runtime.block_on(async {
        let mut codes = Vec::new();
        if wanted("--process") {
            codes.push(play_all(Ground::process().await, &chosen).await);
        }
        if wanted("--cri") {
            codes.push(play_all(Ground::cri().await, &chosen).await);
        }
        codes
    });
    codes.into_iter().find(|it| *it != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}

/// Play these on one ground.
async fn play_all(ground: Result<Ground, String>, scenarios: &[Scenario]) -> ExitCode {
    let ground = match ground {
        Ok(ground) => Arc::new(ground),
        Err(why) => return skipped(&why),
    };
    let results = futures::stream::iter(scenarios.iter().cloned()).map(|scenario| {
        let ground = Arc::clone(&ground);
        async move {
            let name = scenario.name.clone();
            let result = tokio::spawn(async move { play(&ground, scenario).await }).await;
            (name, result.unwrap_or_else(|panic| vec![panic.to_string()]))
        }
    });
    let mut results = results.buffer_unordered(AT_ONCE);
    let (mut failed, mut played) = (0, 0);
    while let Some((name, complaints)) = results.next().await {
        played += 1;
        println!("{} scenario {name:?} ... {}", ground.name(), if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("    {complaint}");
        }
        failed += usize::from(!complaints.is_empty());
    }
    println!("{}: {played} scenarios played, {failed} failed", ground.name());
    ExitCode::from(u8::from(failed > 0 || played == 0))
}

fn scenarios() -> Result<Vec<Scenario>, String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance");
    let dir = std::env::var("SUPPLE_CONFORMANCE").unwrap_or_else(|_| beside.to_owned());
    let path = format!("{dir}/resize-node.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}")))
}

fn skipped(why: &str) -> ExitCode {
    println!("skipped: {why}");
    ExitCode::from(u8::from(std::env::var_os("SUPPLE_REQUIRE_ALL").is_some()))
}

/// Play one; returns what is not as it should be.
async fn play(ground: &Ground, scenario: Scenario) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut lab = Lab::start(ground).await;
    if !scenario.name.starts_with("random schedule") {
        lab = lab.with_system_pod().await;
    }
    for pod in &scenario.pods {
        lab.create(pod).await;
    }
    lab.all_started(&scenario).await;
    for (number, step) in scenario.steps.iter().enumerate() {
        if let (Some(pod), Some(patch)) = (&step.resize, &step.patch) {
            lab.has_filled(&scenario, pod).await;
            let code = lab.resize(pod, patch).await;
            if Some(code) != step.code {
                complaints.push(format!("step {number}: code {code}, not {:?}", step.code));
            }
        } else if let Some(pod) = step.step.strip_suffix(" deleted") {
            lab.delete(pod).await;
        }
        for (name, recorded) in &step.observed {
            let expected = lab.in_its_words(expected::expected(&scenario, number, name, recorded));
            if let Err(seen) = lab.comes_to(name, &expected).await {
                complaints
                    .push(format!("step {number}, pod {name}:\n      expected {expected}\n      seen     {seen}"));
            }
        }
    }
    for (name, recorded) in &scenario.events {
        let recorded = expected::events(&scenario, name, recorded);
        if let Err(told) = lab.tells(name, &recorded).await {
            complaints.push(format!("events of {name}:\n      expected {recorded:#?}\n      told     {told:#?}"));
        }
    }
    lab.stop().await;
    complaints
}
