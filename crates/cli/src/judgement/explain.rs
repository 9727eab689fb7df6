//! `supple explain`: the whole chain for one workload, as text or as JSON from the same source.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use supple_controller::account::{
    Account, Answer, AnswerWord, CheckAccount, ContainerAccount, NewContainer, NewPod, SettingAccount,
};
use supple_decide::check::Check;
use supple_decide::code::Code;
use supple_decide::need::Wanted;
use supple_decide::numbers::show_measured_memory;
use supple_decide::round::Outcome;
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::explain::{Account as Reasoning, Doubt, Rule};

use super::columns::aligned;
use super::target::Target;
use super::{LoopArgs, look};
use crate::args::ConnectionArgs;
use crate::connect::{Connection, connect};
use crate::exit::Failure;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub told: LoopArgs,
    /// The workload, as deployment/web, pod/web-0 or shop/deployment/web.
    #[arg(value_name = "[NAMESPACE/]KIND/NAME")]
    pub target: Target,
    /// Its namespace [default: the context's].
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Output format.
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
    let namespace = args.target.namespace(args.namespace.as_deref(), namespace)?;
    let mut world = look(&client, args.told).await?;
    world.judge_those_without_pods(Timestamp::now());
    let accounts = world.accounts();
    let found: Vec<&Account> = accounts.iter().filter(|it| it.namespace == namespace && args.target.is(it)).collect();
    if found.is_empty() {
        return Err(Failure::refused(args.target.is_none_in(Some(&namespace))));
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        ExplainOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &found).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        ExplainOutput::Text => {
            for account in found {
                write!(out, "{}", text(account, Timestamp::now()))?;
            }
        }
    }
    Ok(())
}

fn text(account: &Account, now: Timestamp) -> String {
    let Account { namespace, kind, name, pods, changing, pod, code, message, .. } = account;
    let mut lines = vec![format!("{namespace}/{}/{name}: {code}", kind.to_lowercase())];
    lines.push(format!("  {message}"));
    if let Some(again) = account.again {
        lines.push(format!("  This can change by itself after {again:.0}, {}.", hence(again, now)));
    }
    if let Some((_, pause)) = account.record.pause(now).filter(|_| *code != Code::BackOff) {
        lines.push(format!("  Also, {pause}."));
    }
    let shown = if *pods > 1 { format!("; {pod} is shown for all of them") } else { String::new() };
    lines.push(format!(
        "  {pods} pod{}, {} to change{shown}",
        if *pods == 1 { "" } else { "s" },
        if *changing == 0 { "none".to_owned() } else { changing.to_string() },
    ));
    section(&mut lines, "Needs", account.containers.iter().flat_map(|it| need(it, account)));
    section(&mut lines, "Checks, in order", account.checks.iter().flat_map(check));
    section(&mut lines, "What the cluster would answer", answer(account));
    section(&mut lines, "What a new pod would get", new_pod(account));
    section(&mut lines, "What must change before Supple acts", to_act(account));
    let general = account.settings.iter().map(|it| (String::new(), it));
    let particular = account.containers.iter().flat_map(|container| {
        container.settings.iter().map(move |it| (format!("containers[{}].", container.name), it))
    });
    section(&mut lines, "Settings in effect, and where each comes from", settings(general.chain(particular)));
    lines.push("  The more specific layer wins: pod > workload > verticalpodautoscaler > rightsizepolicy >".to_owned());
    lines.push("  namespace > clusterrightsizepolicy > built in.".to_owned());
    if !account.problems.is_empty() {
        section(&mut lines, "Not in effect", account.problems.iter().map(|it| format!("  {it}")));
    }
    if !account.record.originals.is_empty() {
        let originals = account.record.originals.iter().map(|(container, it)| {
            format!(
                "  {container}: {}, {}",
                asks("cpu", it.cpu_request, it.cpu_limit),
                asks("memory", it.memory_request, it.memory_limit)
            )
        });
        section(&mut lines, "Sizes before the first resize", originals);
    }
    if !account.record.last.is_empty() {
        let done = account.record.last.iter().rev();
        section(
            &mut lines,
            "Actions, newest first",
            done.map(|it| format!("  {:.0} {}: {}: {}", it.at, it.pod, it.code, it.message)),
        );
    }
    lines.join("\n") + "\n"
}

fn section(lines: &mut Vec<String>, title: &str, rows: impl IntoIterator<Item = String>) {
    lines.push(String::new());
    lines.push(title.to_owned());
    lines.extend(rows);
}

/// `in 12 min`, or `now` where that is past.
fn hence(then: Timestamp, now: Timestamp) -> String {
    match then.duration_since(now).as_secs() {
        ..=0 => "which is now".to_owned(),
        seconds @ 1..=119 => format!("in {seconds} s"),
        seconds @ 120..=7199 => format!("in {} min", seconds / 60),
        seconds => format!("in {} h", seconds / 3600),
    }
}

/// `200m cpu, limit 400m`
fn asks<T: std::fmt::Display>(what: &str, request: Option<T>, limit: Option<T>) -> String {
    match (request, limit) {
        (None, None) => format!("no {what} request"),
        (Some(request), None) => format!("{request} {what}, no limit"),
        (None, Some(limit)) => format!("no {what} request, limit {limit}"),
        (Some(request), Some(limit)) => format!("{request} {what}, limit {limit}"),
    }
}

fn need(it: &ContainerAccount, account: &Account) -> Vec<String> {
    let ContainerAccount { name, now, runs, proposed, need, explanation, used, .. } = it;
    let watched =
        need.as_ref().map_or_else(|| "no history yet".to_owned(), |it| format!("{} of history", it.watched()));
    let mut lines = vec![format!("  {name}: {watched}")];
    let least = account.settings.iter().find(|it| it.name == "minConfidence").map_or("", |it| it.value.as_str());
    let mut resource = |what: &str, now: String, next: String, used: Option<String>, rest: Vec<String>| {
        let used = used.map_or_else(|| "usage not measured".to_owned(), |it| format!("uses {it}"));
        lines.push(format!("    {what:<7} now        {now}; {used}"));
        lines.push(format!("            proposed   {}", if now == next { "no change" } else { &next }));
        lines.extend(rest.into_iter().map(|it| format!("            {it}")));
    };
    resource(
        "cpu",
        asks("cpu", now.cpu_request, now.cpu_limit),
        asks("cpu", proposed.cpu_request, proposed.cpu_limit),
        used.and_then(|it| it.cpu).map(|it| it.to_string()),
        need.as_ref().and_then(|it| it.cpu.as_ref()).map_or_else(Vec::new, |wanted| {
            let reasoning = explanation.as_ref().and_then(|it| it.cpu.as_ref());
            reasons(wanted, reasoning, least, "of the time", |it| MilliCpu(whole(it)).to_string())
        }),
    );
    resource(
        "memory",
        asks("memory", now.memory_request, now.memory_limit),
        asks("memory", proposed.memory_request, proposed.memory_limit),
        used.and_then(|it| it.memory).map(show_measured_memory),
        need.as_ref().and_then(|it| it.memory.as_ref()).map_or_else(Vec::new, |wanted| {
            let reasoning = explanation.as_ref().and_then(|it| it.memory.as_ref());
            reasons(wanted, reasoning, least, "an hour", |it| show_measured_memory(Bytes(whole(it))))
        }),
    );
    let cpu = [("CPU request", runs.cpu_request), ("CPU limit", runs.cpu_limit)];
    let memory = [("memory request", runs.memory_request), ("memory limit", runs.memory_limit)];
    let cpu = cpu.into_iter().filter_map(|(what, it)| Some(format!("{what} {}", it?)));
    let memory = memory.into_iter().filter_map(|(what, it)| Some(format!("{what} {}", it?)));
    let runs: Vec<String> = cpu.chain(memory).collect();
    if !runs.is_empty() {
        let what = runs.join(", ");
        lines.push(format!(
            "    its node reports that it runs with {what}: something there sets its cgroup, no resize is under way"
        ));
    }
    lines
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and it is only shown")]
fn whole(it: f64) -> i64 {
    it.round() as i64
}

/// Why this much is needed, with which confidence, and what lowers it.
fn reasons<T: std::fmt::Display>(
    wanted: &Wanted<T>,
    reasoning: Option<&Reasoning>,
    least: &str,
    per: &str,
    amount: impl Fn(f64) -> String,
) -> Vec<String> {
    let Wanted { target, lower, upper, confidence_permille, rule, doubt, urgent, veto } = wanted;
    let mut lines = vec![format!("needs      {target}, between {lower} and {upper}: {} ({rule})", rule_in_words(rule))];
    if let Some(it) = reasoning {
        lines.push(format!("used       {} on average recently, {} at most", amount(it.average), amount(it.peak)));
        lines.push(format!(
            "expected   {:.2} % {per} above this size; a shortage counts as {:.1} h of mean usage",
            it.over * 100.0,
            it.price
        ));
        lines.push(format!("model      {} ({})", way_in_words(it.way), it.way));
        if let Some(climb) = &it.climb {
            let full = climb.hours_to_limit.map_or(String::new(), |it| format!(", at the limit in {it:.0} h"));
            lines.push(format!("growth     {} an hour{full}", amount(climb.per_hour)));
        }
        let ago = |what: &str, hours: Option<i64>| {
            hours.map(|it| match it {
                0 => format!("{what} within the last hour"),
                it => format!("{what} {it} h ago"),
            })
        };
        let events = [ago("OOM-killed", it.killed_hours_ago), ago("usage changed", it.changed_hours_ago)];
        let events: Vec<String> = events.into_iter().flatten().collect();
        if !events.is_empty() {
            lines.push(format!("events     {}", events.join(", ")));
        }
    }
    let confidence = f64::from(*confidence_permille) / 10.0;
    lines.push(format!("confidence {confidence:.0} %{}; lowering requires {least}", doubt_in_words(doubt)));
    if *urgent {
        lines.push("urgent     pods that are short of it now wait for no cool-down, window or budget".to_owned());
    }
    if *veto {
        lines.push("held       not lowered now".to_owned());
    }
    lines
}

/// A rule of the recommender's. What another version has written may not be known to this one.
fn rule_in_words(rule: &str) -> &'static str {
    match Rule::ALL.into_iter().find(|it| it.word() == rule) {
        Some(Rule::Plan) => "the lowest expected cost of slack, shortages and resizes",
        Some(Rule::Stay) => "a change would cost more than it saves",
        Some(Rule::Raise) => "usage came near the limit",
        Some(Rule::Hold) => "an urgent raise is recent, so it stays",
        Some(Rule::Veto) => "pressure or throttling blocks a decrease",
        Some(Rule::Habit) => "a burst returns nearly every hour",
        Some(Rule::Least) => "the minimum the policy allows",
        Some(Rule::Most) => "the maximum the policy allows",
        None => "a rule of another recommender version",
    }
}

/// How a model of the recommender's weighs history.
fn way_in_words(way: &str) -> &'static str {
    match way {
        "balanced" => "mostly the last hours and the same hour of other days",
        "recent" => "mostly the last hours, the last day less",
        "nimble" => "only the last hours; prefers shortage to slack",
        "daily" => "mostly the same hour of other days",
        "clockwork" => "only the same hour of other days",
        "steady" => "all history, every hour equally",
        "maximum" => "the maximum of the last week",
        "bold" => "all history so far, without the start-up",
        _ => "a model of another recommender version",
    }
}

/// What keeps confidence from being higher.
fn doubt_in_words(doubt: &str) -> &'static str {
    match Doubt::ALL.into_iter().find(|it| it.word() == doubt) {
        _ if doubt.is_empty() => "",
        Some(Doubt::None) => "",
        Some(Doubt::ShortHistory) => ": the history is short (4 h give 50 %, a day 86 %)",
        Some(Doubt::Changed) => ": the usage pattern changed within the last day",
        Some(Doubt::Cut) => ": a limit cuts the usage, so the need is an estimate",
        Some(Doubt::Climbing) => ": memory grows, and its end is unknown",
        Some(Doubt::Killed) => ": it was OOM-killed within the last day",
        None => ": a reason of another recommender version",
    }
}

/// What a check comes to, in a word.
pub(super) fn mark(it: &CheckAccount) -> &'static str {
    let worst = it.findings.iter().map(|it| it.outcome).max_by_key(|it| match it {
        Outcome::Clamped => 0,
        Outcome::Delayed => 1,
        Outcome::Refused => 2,
    });
    match worst {
        None if !it.asked => "not asked",
        None => "passes",
        Some(Outcome::Clamped) => "clamps",
        Some(Outcome::Delayed) => "delays",
        Some(Outcome::Refused) => "refuses",
    }
}

fn check(it: &CheckAccount) -> Vec<String> {
    let mut lines = vec![format!("  {:<10}{:<15} {}", mark(it), it.check.as_str(), it.question)];
    lines.extend(findings(it).map(|it| format!("            {it}")));
    lines
}

/// What the checks found, those that pass on one line: for `plan`.
pub(super) fn checks_in_short(account: &Account) -> Vec<String> {
    let said = account.checks.iter().filter(|it| !it.findings.is_empty());
    let mut lines: Vec<String> = said
        .flat_map(|it| findings(it).map(move |found| format!("  {:<10}{:<15} {found}", mark(it), it.check.as_str())))
        .collect();
    for (what, asked) in [("passes", true), ("not asked", false)] {
        let silent = account.checks.iter().filter(|it| it.findings.is_empty() && it.asked == asked);
        let silent: Vec<&str> = silent.map(|it| Check::as_str(it.check)).collect();
        if !silent.is_empty() {
            lines.push(format!("  {what:<10}{}", silent.join(", ")));
        }
    }
    lines
}

fn findings(it: &CheckAccount) -> impl Iterator<Item = String> {
    it.findings.iter().map(|finding| {
        let container = finding.container.as_deref().map(|it| format!("{it}: ")).unwrap_or_default();
        let setting = finding.setting.as_deref().map(|it| format!(" [{it}]")).unwrap_or_default();
        format!("{}: {container}{}{setting}", finding.code, finding.message)
    })
}

/// What the webhook would make of a new pod, and why.
fn new_pod(account: &Account) -> Vec<String> {
    let NewPod { asked, containers, code, message, findings } = &account.new_pod;
    if !asked {
        let text = "  The sizes in its template: the webhook does not size new pods (set webhook.mutating.enabled in the \
                    chart, or use `supple up --webhook`).";
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    if containers.iter().all(|it| it.sizes == it.template) {
        lines.push(format!("  The sizes in its template: {code}: {message}"));
    }
    for NewContainer { name, sizes, .. } in containers.iter().filter(|it| it.sizes != it.template) {
        let cpu = asks("cpu", sizes.cpu_request, sizes.cpu_limit);
        lines.push(format!("  {name}: {cpu}, {}", asks("memory", sizes.memory_request, sizes.memory_limit)));
        let own = findings.iter().filter(|it| it.container.as_deref().is_none_or(|it| it == name));
        lines.extend(own.map(|it| format!("      {}: {}", it.code, it.message)));
    }
    lines
}

/// What the cluster would answer, in sentences: once for all pods where it is the same for all, else pod by pod.
pub(super) fn answer(account: &Account) -> Vec<String> {
    let mut said: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for it in &account.patches {
        let lines = sentences(&it.answer);
        match said.iter_mut().find(|known| known.1 == lines) {
            Some((pods, _)) => pods.push(&it.pod),
            None => said.push((vec![&it.pod], lines)),
        }
    }
    if said.len() < 2 {
        return sentences(&account.answer).into_iter().map(|it| format!("  {it}")).collect();
    }
    let each = said.into_iter().flat_map(|(pods, lines)| {
        let others = if pods.len() > 3 { format!(" and {} others", pods.len() - 3) } else { String::new() };
        let pods = format!("  {}{others}", pods.iter().take(3).copied().collect::<Vec<_>>().join(", "));
        std::iter::once(pods).chain(lines.into_iter().map(|it| format!("    {it}")))
    });
    each.collect()
}

fn sentences(answer: &Answer) -> Vec<String> {
    let mut lines = vec![match answer.word {
        AnswerWord::Nothing => "No request would be sent.".to_owned(),
        AnswerWord::Restart => format!("Accepted, and {} restarted.", answer.restarts.join(", ")),
        AnswerWord::Accepted => "Accepted, and applied at once without a restart.".to_owned(),
        AnswerWord::Deferred => "Accepted, and deferred until the node has room.".to_owned(),
        AnswerWord::Infeasible => "Accepted, but never applied.".to_owned(),
        AnswerWord::Refused => "Refused.".to_owned(),
    }];
    lines.extend(answer.obstacle.as_ref().map(ToString::to_string));
    lines.extend(answer.unforeseen.iter().map(|it| format!("Not predicted: {it}")));
    lines
}

fn to_act(account: &Account) -> Vec<String> {
    let mut lines = Vec::new();
    for it in &account.to_act {
        let setting = it.setting.as_ref().map(|it| format!(" [{it}]")).unwrap_or_default();
        lines.push(format!("  {}: {}{setting}", it.code, it.change));
        lines.extend(it.command.as_ref().map(|it| format!("      {it}")));
    }
    if lines.is_empty() {
        lines.push(match account.code {
            Code::Fits => format!("  Nothing: {}.", account.message),
            _ => "  Nothing.".to_owned(),
        });
    }
    lines
}

/// A table of settings.
fn settings<'a>(all: impl Iterator<Item = (String, &'a SettingAccount)>) -> Vec<String> {
    let rows = all.map(|(of, it)| vec![format!("  {of}{}", it.name), it.value.clone(), it.origin.clone()]);
    aligned(&rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use supple_recommend::ways::{BEGINNER, CPU, MEMORY};

    use super::*;

    #[test]
    fn every_way_of_the_recommender_has_its_words() {
        for way in CPU.ways.iter().chain(&MEMORY.ways).chain([&BEGINNER]) {
            assert_ne!(way_in_words(way.name), way_in_words("none of them"), "{}", way.name);
        }
    }
}
