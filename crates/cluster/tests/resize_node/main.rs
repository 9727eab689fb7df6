//! Every scenario recorded on a real node of the reference, played on the embedded cluster with real processes in this
//! machine's cgroups. What is done right where the reference is not is in `expected.rs`, each with its reason.
//!
//! It has a `main` of its own because this very program is also the shim that the process runtime starts.
//! `cargo test -p supple-cluster --test resize_node -- WORD` plays the scenarios whose name has that word.

mod expected;
mod lab;
mod observed;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use lab::Lab;

/// What was done and seen on a node of the reference.
#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    pods: Vec<Value>,
    steps: Vec<Step>,
    events: BTreeMap<String, Vec<Told>>,
}

#[derive(Debug, Deserialize)]
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

/// Longer than any step takes: back-off is 10 s, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|it| it == "shim").is_some() {
        supple_node::shim::main(args);
    }
    let words: Vec<String> = args.filter_map(|it| it.into_string().ok()).filter(|it| !it.starts_with('-')).collect();
    let scenarios = match scenarios() {
        Ok(scenarios) => scenarios,
        Err(why) => return skipped(&why),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    if let Err(why) = runtime.block_on(Lab::possible()) {
        return skipped(&why);
    }
    let chosen = scenarios.into_iter().filter(|it| words.iter().all(|word| it.name.contains(word)));
    let failed = runtime.block_on(async {
        let results = futures::stream::iter(chosen).map(|scenario| async {
            let result = tokio::spawn(play(scenario)).await;
            result.unwrap_or_else(|panic| (String::from("a scenario"), vec![panic.to_string()]))
        });
        let mut results = results.buffer_unordered(AT_ONCE);
        let (mut failed, mut played) = (0, 0);
        while let Some((name, complaints)) = results.next().await {
            played += 1;
            println!("scenario {name:?} ... {}", if complaints.is_empty() { "ok" } else { "FAILED" });
            for complaint in &complaints {
                println!("    {complaint}");
            }
            failed += usize::from(!complaints.is_empty());
        }
        println!("{played} scenarios played, {failed} failed");
        failed + usize::from(played == 0)
    });
    ExitCode::from(u8::from(failed > 0))
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
async fn play(scenario: Scenario) -> (String, Vec<String>) {
    let mut complaints = Vec::new();
    let mut lab = Lab::start().await;
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
            let expected = expected::expected(&scenario, number, name, recorded);
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
    (scenario.name, complaints)
}
