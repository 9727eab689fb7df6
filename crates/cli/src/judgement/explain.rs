//! `supple explain`: the whole chain for one workload, in plain words or as JSON from the same source.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use supple_controller::account::{Account, AnswerWord, CheckAccount, ContainerAccount};
use supple_decide::need::Wanted;
use supple_decide::numbers::{pair, show_measured_memory};
use supple_decide::round::Outcome;

use super::look;
use super::plan::mode;
use super::target::Target;
use crate::args::ConnectionArgs;
use crate::connect::{Connection, connect};
use crate::exit::Failure;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The workload, as deployment/web or pod/web-0.
    #[arg(value_name = "KIND/NAME")]
    pub target: Target,
    /// Its namespace [default: the context's].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub output: ExplainOutput,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Explain it.
pub async fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let Connection { client, namespace } = connect(&args.connection).await?;
    let namespace = args.namespace.unwrap_or(namespace);
    let world = look(&client).await?;
    let accounts = world.accounts();
    let found: Vec<&Account> = accounts.iter().filter(|it| it.namespace == namespace && args.target.is(it)).collect();
    if found.is_empty() {
        let Target { kind, name } = &args.target;
        let name = name.as_deref().unwrap_or("…");
        return Err(Failure::refused(format!(
            "there is no {kind}/{name} with pods in namespace {namespace}; `supple plan -A --all` lists all there are"
        )));
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        ExplainOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &found).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        ExplainOutput::Text => {
            for account in found {
                write!(out, "{}", text(account))?;
            }
        }
    }
    Ok(())
}

fn text(account: &Account) -> String {
    let Account { namespace, kind, name, pods, changing, pod, code, message, .. } = account;
    let mut lines = vec![format!("{namespace}/{}/{name}: {code}", kind.to_lowercase())];
    lines.push(format!("  {message}"));
    if let Some(again) = account.again {
        lines.push(format!("  looked at again {again}"));
    }
    lines.push(format!(
        "  mode {}; {pods} pod{}, {changing} to change; shown is {pod}",
        mode(account.mode),
        if *pods == 1 { "" } else { "s" }
    ));
    lines.push(String::new());
    lines.push("What it needs".to_owned());
    for container in &account.containers {
        lines.extend(need(container));
    }
    lines.push(String::new());
    lines.push("What the checks say, in their order".to_owned());
    lines.extend(account.checks.iter().flat_map(check));
    lines.push(String::new());
    lines.push("What the cluster would answer".to_owned());
    lines.extend(answer(account));
    let mut cures: Vec<&str> = account.obstacles().map(|it| it.code.cure()).filter(|it| !it.is_empty()).collect();
    cures.dedup();
    if !cures.is_empty() {
        lines.push(String::new());
        lines.push("What would have to change for it to act".to_owned());
        lines.extend(cures.iter().map(|it| format!("  - {it}")));
    }
    lines.push(String::new());
    lines.push("What was said, and by whom".to_owned());
    let settings = account.settings.iter().filter(|it| it.origin != "built in");
    let said: Vec<String> = settings.map(|it| format!("  {} = {} ({})", it.name, it.value, it.origin)).collect();
    let nothing = vec!["  nothing: everything is as built in (-o json lists it)".to_owned()];
    lines.extend(if said.is_empty() { nothing } else { said });
    if !account.record.last.is_empty() {
        lines.push(String::new());
        lines.push("What was done".to_owned());
        lines.extend(
            account.record.last.iter().rev().map(|it| format!("  {} {}: {} {}", it.at, it.pod, it.code, it.message)),
        );
    }
    lines.join("\n") + "\n"
}

fn need(it: &ContainerAccount) -> Vec<String> {
    let ContainerAccount { name, now, proposed, need, used } = it;
    let shown = |it: Option<String>| it.unwrap_or_else(|| "nothing".to_owned());
    let mut lines = vec![format!("  {name}")];
    let cpu = (pair(now.cpu_request, now.cpu_limit), pair(proposed.cpu_request, proposed.cpu_limit));
    let memory = (pair(now.memory_request, now.memory_limit), pair(proposed.memory_request, proposed.memory_limit));
    for (what, (now, next), used, wanted) in [
        (
            "cpu",
            cpu,
            used.and_then(|it| it.cpu).map(|it| it.to_string()),
            need.as_ref().and_then(|it| it.cpu.as_ref()).map(wanted),
        ),
        (
            "memory",
            memory,
            used.and_then(|it| it.memory).map(show_measured_memory),
            need.as_ref().and_then(|it| it.memory.as_ref()).map(wanted),
        ),
    ] {
        let next = if now == next { "stays".to_owned() } else { format!("→ {}", shown(next)) };
        let used = used.map_or_else(|| "not measured".to_owned(), |it| format!("uses {it}"));
        lines.push(format!("    {what:<7} asks for {} {next}; {used}", shown(now)));
        lines.extend(wanted.map(|it| format!("            {it}")));
    }
    if let Some(need) = need {
        lines.push(format!("    watched for {} h", need.hours));
    }
    lines
}

fn wanted<T: std::fmt::Display>(it: &Wanted<T>) -> String {
    let Wanted { target, lower, upper, confidence_permille, rule, doubt, urgent, veto } = it;
    let sure = format!("{}.{:02}", confidence_permille / 1000, confidence_permille % 1000 / 10);
    let mut text = format!("needs {target} (between {lower} and {upper}), by the rule \"{rule}\", sure to {sure}");
    if !doubt.is_empty() && doubt != "none" {
        text += &format!(": {doubt}");
    }
    if *urgent {
        text += "; it cannot wait";
    }
    if *veto {
        text += "; not to be lowered now";
    }
    text
}

fn check(it: &CheckAccount) -> Vec<String> {
    let CheckAccount { check, question, findings } = it;
    let worst = findings.iter().map(|it| it.outcome).max_by_key(|it| match it {
        Outcome::Clamped => 0,
        Outcome::Delayed => 1,
        Outcome::Refused => 2,
    });
    let mark = match worst {
        None => "passes",
        Some(Outcome::Clamped) => "clamps",
        Some(Outcome::Delayed) => "delays",
        Some(Outcome::Refused) => "refuses",
    };
    let mut lines = vec![format!("  {mark:<8}{:<15} {question}", check.as_str())];
    for finding in findings {
        let container = finding.container.as_deref().map(|it| format!("{it}: ")).unwrap_or_default();
        let setting = finding.setting.as_deref().map(|it| format!(" [{it}]")).unwrap_or_default();
        lines.push(format!("          {}: {container}{}{setting}", finding.code, finding.message));
    }
    lines
}

fn answer(account: &Account) -> Vec<String> {
    let answer = &account.answer;
    let mut lines = vec![match answer.word {
        AnswerWord::Nothing => "  nothing is to be asked".to_owned(),
        AnswerWord::Restart => format!("  it would be taken, and restart {}", answer.restarts.join(", ")),
        AnswerWord::Accepted => "  it would be taken and done at once, without a restart".to_owned(),
        AnswerWord::Deferred => "  it would be taken, and wait for room".to_owned(),
        AnswerWord::Infeasible => "  it would be taken, and never be done".to_owned(),
        AnswerWord::Refused => "  it would be refused".to_owned(),
    }];
    lines.extend(answer.obstacle.as_ref().map(|it| format!("  {it}")));
    lines.extend(answer.unforeseen.iter().map(|it| format!("  not foreseen: {it}")));
    lines
}
