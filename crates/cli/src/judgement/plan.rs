//! `supple plan`: per container the current and the proposed size, why, what blocks the change, what the cluster would
//! answer, and what it saves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde::Serialize;
use serde_json::json;
use supple_controller::account::{Account, AnswerWord, ContainerAccount, PodPatch, Risk};
use supple_decide::code::Code;
use supple_decide::need::{Need, Wanted};
use supple_decide::numbers::{Numbers, pair};
use supple_decide::policy::Mode;
use supple_quantity::{Bytes, MilliCpu};

use super::columns::aligned;
use super::target::Target;
use super::{LoopArgs, explain, look};
use crate::args::ConnectionArgs;
use crate::connect::{Connection, connect};
use crate::exit::Failure;
use crate::replay::{Money, read_prices};

/// Hours of a month, as bills have it.
const HOURS_A_MONTH: f64 = 730.0;

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub told: LoopArgs,
    /// Only this workload, or all of a kind: deployment/web, shop/deployment/web, sts.
    #[arg(value_name = "[NAMESPACE/]KIND[/NAME]")]
    pub target: Option<Target>,
    /// Workloads of this namespace [default: the context's].
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// Workloads of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Output format; yaml prints patches for `kubectl patch --subresource resize`.
    #[arg(short, long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub output: PlanOutput,
    /// Also show workloads that need no change.
    #[arg(long)]
    pub all: bool,
    /// Omit the header line.
    #[arg(long)]
    pub no_headers: bool,
    /// Exit with code 1 if there is any risk (a container requests less than it needs, or nothing), change (a container would
    /// change), or refused (the cluster would refuse a change); with code 3 if no container has been measured.
    #[arg(long, value_name = "KIND")]
    pub fail_on: Option<FailOn>,
    /// YAML or JSON file with the price of a core-hour and a GiB-hour [default: `{cpu: 0.031, memory: 0.004}`, about cloud
    /// list prices].
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanOutput {
    /// For people.
    Table,
    /// With more columns.
    Wide,
    /// The data.
    Json,
    /// Patches.
    Yaml,
    /// For spreadsheets.
    Csv,
    /// Names of workloads that would change.
    Name,
}

/// What ends with code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A container requests less than it needs, or nothing.
    Risk,
    /// A container would change.
    Change,
    /// The cluster would refuse a change.
    Refused,
}

/// Prices where none are given: about what large clouds take on demand.
const USUAL: Money = Money { cpu: 0.031, memory: 0.004 };

/// A container's line.
struct Row<'a> {
    account: &'a Account,
    container: &'a ContainerAccount,
    /// What it saves in a month; less than nothing: what it costs.
    saves: f64,
}

/// Print it.
pub async fn plan(args: PlanArgs) -> Result<(), Failure> {
    let money = args.prices.as_deref().map(read_prices).transpose()?.unwrap_or(USUAL);
    let Connection { client, namespace } = connect(&args.connection).await?;
    let given = args.namespace.as_deref();
    let namespace = match &args.target {
        // A namespace in the name is meant also where all are looked at.
        Some(target) if target.namespace.is_some() || !args.all_namespaces => Some(target.namespace(given, namespace)?),
        None if !args.all_namespaces => Some(given.map_or(namespace, str::to_owned)),
        _ => None,
    };
    let mut world = look(&client, args.told).await?;
    world.judge_those_without_pods(Timestamp::now());
    let meant = |it: &Account| {
        namespace.as_ref().is_none_or(|namespace| it.namespace == *namespace)
            && args.target.as_ref().is_none_or(|target| target.is(it))
    };
    let accounts: Vec<Account> = world.accounts().into_iter().filter(meant).collect();
    if let Some(target) = args.target.as_ref().filter(|_| accounts.is_empty()) {
        return Err(Failure::refused(target.is_none_in(namespace.as_deref())));
    }
    if let Some(name) = namespace.as_deref().filter(|_| accounts.is_empty())
        && !world.scene().namespaces.contains_key(name)
        && Api::<Namespace>::all(client.clone()).get_opt(name).await.is_ok_and(|it| it.is_none())
    {
        return Err(Failure::refused(format!("there is no namespace {name}; `supple plan -A` shows all namespaces")));
    }
    // Of a policy once, however many workloads it speaks of.
    for problem in accounts.iter().flat_map(|it| &it.problems).collect::<BTreeSet<_>>() {
        crate::say(&format!("note: not in effect: {problem}"));
    }
    // Before anything is printed: whoever reads that may close early, and the threshold is crossed all the same.
    let threshold = args.fail_on.map_or(Ok(Vec::new()), |on| crossed(on, &accounts));
    let printed = print(&args, &accounts, namespace.is_none(), money);
    let lines = threshold?;
    for line in &lines {
        crate::say(line);
    }
    match printed {
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe && !lines.is_empty() => {}
        printed => printed?,
    }
    if lines.is_empty() { Ok(()) } else { Err(Failure::Refused(None)) }
}

/// The plan of these workloads, on standard output, with what it comes to on the other. `namespaces`: they are of all.
fn print(args: &PlanArgs, accounts: &[Account], namespaces: bool, money: Money) -> Result<(), Failure> {
    let shown: Vec<&Account> =
        accounts.iter().filter(|it| args.all || args.target.is_some() || it.is_change() || is_unlike(it)).collect();
    let rows: Vec<Row<'_>> = shown
        .iter()
        .flat_map(|account| {
            let row = |it| Row { account, container: it, saves: saved(it, money) };
            account.containers.iter().map(row)
        })
        .collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        PlanOutput::Json => {
            let workloads = shown.iter().map(|account| {
                let saves = account.containers.iter().map(|it| saved(it, money)).sum();
                Priced { account, saves_a_month: saves }
            });
            let plan = Plan { prices: money, workloads: workloads.collect() };
            serde_json::to_writer_pretty(&mut out, &plan).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        PlanOutput::Yaml => write!(out, "{}", patches(&shown)?)?,
        PlanOutput::Csv => write!(out, "{}", csv(&rows))?,
        PlanOutput::Name => {
            for it in shown.iter().filter(|it| it.is_change()) {
                let of = if namespaces { format!("{}/", it.namespace) } else { String::new() };
                writeln!(out, "{of}{}", name(it))?;
            }
        }
        PlanOutput::Table | PlanOutput::Wide if rows.is_empty() => writeln!(out, "{}", nothing(accounts, args))?,
        PlanOutput::Table | PlanOutput::Wide => {
            let columns = Columns { wide: args.output == PlanOutput::Wide, headings: !args.no_headers, namespaces };
            for line in table(&rows, columns) {
                writeln!(out, "{line}")?;
            }
            if args.target.as_ref().is_some_and(|it| it.name.is_some()) {
                for account in &shown {
                    for line in particulars(account) {
                        writeln!(out, "{line}")?;
                    }
                }
            }
        }
    }
    out.flush()?;
    drop(out);
    if matches!(args.output, PlanOutput::Table | PlanOutput::Wide) && !rows.is_empty() {
        let unshown: Vec<&Account> =
            accounts.iter().filter(|it| !shown.iter().any(|shown| std::ptr::eq(*shown, *it))).collect();
        crate::say(&total(&rows, &unshown, money));
    }
    Ok(())
}

/// Whether it has no pods, and its next ones would ask for something else than was learned of those before.
fn is_unlike(account: &Account) -> bool {
    account.pods == 0 && account.differs()
}

/// A plan as data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan<'a> {
    prices: Money,
    workloads: Vec<Priced<'a>>,
}

/// A workload, and what its change is worth.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Priced<'a> {
    #[serde(flatten)]
    account: &'a Account,
    saves_a_month: f64,
}

/// Why there is no table.
fn nothing(accounts: &[Account], args: &PlanArgs) -> String {
    match accounts.len() {
        0 if args.all_namespaces => "there are no workloads".to_owned(),
        0 => "there are no workloads in this namespace; -A shows all namespaces".to_owned(),
        count => {
            let s = if count == 1 { "" } else { "s" };
            let all: Vec<&Account> = accounts.iter().collect();
            format!("{count} workload{s} checked: no change is needed{}", left_out(&all))
        }
    }
}

/// What of these workloads crosses a threshold, a line each; what is not known of them is said. Where no container of any pod has
/// been measured, nothing crosses any, and that says nothing of them.
fn crossed(on: FailOn, accounts: &[Account]) -> Result<Vec<String>, Failure> {
    let is_known = |it: &&Account| it.containers.iter().any(|it| it.need.is_some());
    let (known, unknown): (Vec<&Account>, Vec<&Account>) = accounts.iter().filter(|it| it.pods > 0).partition(is_known);
    if known.is_empty() && !unknown.is_empty() {
        return Err(Failure::unreachable(
            "no container of these workloads has been measured, so it is not known whether the threshold of --fail-on is \
             crossed: see that metrics.k8s.io answers (kubectl top pods), or that a controller keeps the history (supple doctor)",
        ));
    }
    if let Some(it) = unknown.first() {
        let (count, of) = (unknown.len(), format!("{}/{}", it.namespace, name(it)));
        crate::say(&format!(
            "note: nothing is known of {count} of {} workloads, which have not been measured ({of})",
            known.len() + count
        ));
    }
    Ok(accounts.iter().flat_map(|it| failures(on, it)).collect())
}

/// What of a workload crosses a threshold, a line each.
fn failures(on: FailOn, account: &Account) -> Vec<String> {
    let of = format!("{}/{}", account.namespace, name(account));
    match on {
        FailOn::Change if account.is_change() => vec![format!("change: {of}: {}", account.message)],
        FailOn::Refused => {
            let mut whys: BTreeMap<String, usize> = BTreeMap::new();
            for it in account.patches.iter().filter(|it| it.answer.word == AnswerWord::Refused) {
                let why = it.answer.obstacle.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
                *whys.entry(why).or_default() += 1;
            }
            whys.into_iter().map(|(why, count)| format!("refused: {of}{}{why}", among(count, account.pods))).collect()
        }
        FailOn::Change => Vec::new(),
        FailOn::Risk => account.risks.iter().map(|it| risk(&of, it, account.pods)).collect(),
    }
}

/// ` (2 of 3 pods)`, where there is more than one.
fn among(count: usize, pods: u32) -> String {
    if pods > 1 { format!(" ({count} of {pods} pods)") } else { String::new() }
}

/// Where pods ask for less than they need at the least.
fn risk(of: &str, it: &Risk, pods: u32) -> String {
    let Risk { container, resource, pods: short, requests, needs } = it;
    let requests = if requests == "0" { "no" } else { &format!("{requests} of") };
    format!(
        "risk: {of}: {container} requests {requests} {} and needs at least {needs}{}",
        resource.as_str(),
        among(usize::try_from(*short).unwrap_or(usize::MAX), pods)
    )
}

fn name(account: &Account) -> String {
    format!("{}/{}", account.kind.to_lowercase(), account.name)
}

/// Cores and GiB of requests that one container of all pods together gives back.
fn freed(container: &ContainerAccount) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "an estimate in money")]
    let of = |amount: i64| amount as f64;
    (of(container.released.milli_cpu) / 1000.0, of(container.released.memory) / f64::from(1 << 30))
}

/// `saves 1.49`, `costs 0.34`.
fn worth(saves: f64) -> String {
    match saves {
        -0.005..0.005 => "-".to_owned(),
        it if it < 0.0 => format!("costs {:.2}", -it),
        it => format!("saves {it:.2}"),
    }
}

/// What a change of requests is worth in a month, of all pods of the workload.
fn saved(container: &ContainerAccount, money: Money) -> f64 {
    let (cores, gibibytes) = freed(container);
    let saved = (cores * money.cpu + gibibytes * money.memory) * HOURS_A_MONTH;
    // Cents are what people read; a fraction of one would only say how the sum was made.
    (saved * 100.0).round() / 100.0 + 0.0
}

/// All of it in one line.
fn total(rows: &[Row<'_>], unshown: &[&Account], money: Money) -> String {
    let mut sum = (0.0, 0.0, 0.0);
    for Row { container, saves, .. } in rows {
        let (cores, gibibytes) = freed(container);
        sum = (sum.0 + cores, sum.1 + gibibytes, sum.2 + saves);
    }
    let (cores, gibibytes, saves) = sum;
    let part = |it: f64, unit: &str| match it {
        -0.005..0.005 => format!("the same {unit} as now"),
        it if it < 0.0 => format!("{:.2} {unit} more", -it),
        it => format!("{it:.2} {unit} less"),
    };
    let Money { cpu, memory } = money;
    format!(
        "all pods together would request {} and {}; this {} a month at {cpu} a core-hour and {memory} a GiB-hour{}",
        part(cores, "cores"),
        part(gibibytes, "GiB"),
        match saves {
            -0.005..0.005 => "costs the same".to_owned(),
            it => worth(it),
        },
        left_out(unshown),
    )
}

/// What is not in the table: what fits, and what else nothing is proposed for.
fn left_out(unshown: &[&Account]) -> String {
    let (fit, others): (Vec<&Account>, Vec<&Account>) = unshown.iter().partition(|it| it.code == Code::Fits);
    let mut text = match fit.len() {
        0 => String::new(),
        1 => "; 1 workload needs no change".to_owned(),
        count => format!("; {count} workloads need no change"),
    };
    if !others.is_empty() {
        let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
        for it in &others {
            *codes.entry(it.code.as_str()).or_default() += 1;
        }
        let codes: Vec<String> = codes.into_iter().map(|(code, count)| format!("{count} {code}")).collect();
        let (count, s) = (others.len(), if others.len() == 1 { "" } else { "s" });
        text += &format!("; {count} workload{s} without a proposal ({})", codes.join(", "));
    }
    if !unshown.is_empty() {
        text += if unshown.len() == 1 { " (--all shows it)" } else { " (--all shows them)" };
    }
    text
}

/// What stands below the table where one workload was asked for.
fn particulars(account: &Account) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{}: {}", account.code, account.message), "Checks".to_owned()];
    lines.extend(explain::checks_in_short(account));
    lines.push("What the cluster would answer".to_owned());
    lines.extend(explain::answer(account));
    lines
}

fn way(now: Option<String>, next: Option<String>) -> String {
    let text = |it: Option<String>| it.unwrap_or_else(|| "-".to_owned());
    if now == next { text(now) } else { format!("{} → {}", text(now), text(next)) }
}

fn cpu(it: &ContainerAccount) -> String {
    way(pair(it.now.cpu_request, it.now.cpu_limit), pair(it.proposed.cpu_request, it.proposed.cpu_limit))
}

fn memory(it: &ContainerAccount) -> String {
    way(pair(it.now.memory_request, it.now.memory_limit), pair(it.proposed.memory_request, it.proposed.memory_limit))
}

/// One word each of CPU and memory: `plan / habit`.
fn both(
    it: &ContainerAccount,
    cpu: impl Fn(&Wanted<MilliCpu>) -> String,
    memory: impl Fn(&Wanted<Bytes>) -> String,
) -> String {
    let Some(need) = &it.need else { return "-".to_owned() };
    let none = || "-".to_owned();
    let cpu = need.cpu.as_ref().map_or_else(none, cpu);
    let memory = need.memory.as_ref().map_or_else(none, memory);
    if cpu == memory { cpu } else { format!("{cpu} / {memory}") }
}

/// What each size comes from: the bound, step, range or quota that held it last, else the recommender's rule.
fn why(it: &ContainerAccount) -> String {
    if it.need.is_none() {
        return "not measured".to_owned();
    }
    let said = |held: Option<&str>, rule: &str| held.unwrap_or(rule).to_owned();
    both(it, |cpu| said(it.held_by.cpu, &cpu.rule), |memory| said(it.held_by.memory, &memory.rule))
}

fn confidence(it: &ContainerAccount) -> String {
    let percent = |permille: u16| format!("{} %", (permille + 5) / 10);
    both(it, |cpu| percent(cpu.confidence_permille), |memory| percent(memory.confidence_permille))
}

/// The checks that have something to say, as `Permission refuses`.
fn checks(account: &Account) -> String {
    let said = account.checks.iter().filter(|it| !it.findings.is_empty());
    let said: Vec<String> = said.map(|it| format!("{} {}", it.check, explain::mark(it))).collect();
    if said.is_empty() { "all pass".to_owned() } else { said.join(", ") }
}

/// What the table shows beside its rows.
#[derive(Clone, Copy, Debug)]
struct Columns {
    /// The columns of `-o wide` too.
    wide: bool,
    /// A line of headings.
    headings: bool,
    /// The namespace of each workload.
    namespaces: bool,
}

fn table(rows: &[Row<'_>], columns: Columns) -> Vec<String> {
    let Columns { wide, headings, namespaces } = columns;
    let mut lines: Vec<Vec<String>> = Vec::new();
    if headings {
        let mut heads = vec!["WORKLOAD", "CONTAINER", "CPU request:limit", "MEMORY request:limit", "WHY cpu / memory"];
        if wide {
            heads.extend(["CONFIDENCE", "HISTORY", "PODS", "MODE", "CHECKS"]);
        }
        heads.extend(["CLUSTER", "PER MONTH", "DECISION"]);
        lines.push(heads.into_iter().map(str::to_owned).collect());
    }
    let money: Vec<String> = rows.iter().map(|it| worth(it.saves)).collect();
    let digits = money.iter().map(String::len).max().unwrap_or(0);
    for (Row { account, container, .. }, money) in rows.iter().zip(money) {
        let workload = name(account);
        let workload = if namespaces { format!("{}/{workload}", account.namespace) } else { workload };
        let mut cells = vec![workload, container.name.clone(), cpu(container), memory(container), why(container)];
        if wide {
            let pods = format!("{} of {}", account.changing, account.pods);
            let hours = container.need.as_ref().map_or_else(|| "-".to_owned(), Need::watched);
            cells.extend([confidence(container), hours, pods, mode(account.mode).to_owned(), checks(account)]);
        }
        cells.extend([answers(account, ", "), format!("{money:>digits$}")]);
        cells.push(account.code.as_str().to_owned());
        lines.push(cells);
    }
    aligned(&lines)
}

/// What the cluster would answer to the changes of all pods.
fn answers(account: &Account, between: &str) -> String {
    tally(account.patches.iter().map(|it| it.answer.word), between)
}

/// `accepted`, or `accepted (2), deferred (1)`; `-` where nothing is asked.
fn tally(all: impl Iterator<Item = AnswerWord>, between: &str) -> String {
    let mut words: BTreeMap<AnswerWord, usize> = BTreeMap::new();
    for word in all {
        *words.entry(word).or_default() += 1;
    }
    if words.len() < 2 {
        return words.keys().next().copied().unwrap_or(AnswerWord::Nothing).as_str().to_owned();
    }
    let each = words.into_iter().map(|(word, count)| format!("{} ({count})", word.as_str()));
    each.collect::<Vec<_>>().join(between)
}

/// A mode in VPA's word.
const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "Off",
        Mode::Initial => "Initial",
        Mode::Recreate => "Recreate",
        Mode::InPlaceOrRecreate => "InPlaceOrRecreate",
        Mode::InPlace => "InPlace",
    }
}

fn csv(rows: &[Row<'_>]) -> String {
    let mut text = "namespace,kind,workload,container,pods,changing,cpu_request,cpu_limit,memory_request,memory_limit,\
                    proposed_cpu_request,proposed_cpu_limit,proposed_memory_request,proposed_memory_limit,cluster,\
                    saves_a_month,code\n"
        .to_owned();
    for Row { account, container, saves } in rows {
        let numbers = |it: &Numbers| {
            [
                it.cpu_request.map(|it| it.to_string()),
                it.cpu_limit.map(|it| it.to_string()),
                it.memory_request.map(|it| it.to_string()),
                it.memory_limit.map(|it| it.to_string()),
            ]
            .map(Option::unwrap_or_default)
            .join(",")
        };
        let saves = format!("{saves:.2}");
        let Account { namespace, kind, name, pods, changing, code, .. } = account;
        let (now, next) = (numbers(&container.now), numbers(&container.proposed));
        let (container, word) = (&container.name, answers(account, "; "));
        text +=
            &format!("{namespace},{kind},{name},{container},{pods},{changing},{now},{next},{word},{saves},{code}\n");
    }
    text
}

/// One document a pod: the body of its resize, and the command that applies it.
fn patches(accounts: &[&Account]) -> Result<String, Failure> {
    let mut text = String::new();
    for account in accounts {
        let Account { namespace, .. } = account;
        let name = name(account);
        for PodPatch { pod, code, answer, patch } in &account.patches {
            let word = answer.word.as_str();
            let document = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": pod},
                "spec": patch.get("spec"),
            });
            let yaml = serde_saphyr::to_string(&document)
                .map_err(|error| Failure::refused(format!("cannot write the patch of {pod}: {error}")))?;
            text += &format!("---\n# {name}: {code}; the cluster would answer: {word}\n");
            // As it stands: whoever copies the line needs no file.
            let spec = json!({"spec": patch.get("spec")});
            text += &format!("# kubectl patch pod {pod} -n {namespace} --subresource resize -p '{spec}'\n{yaml}");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use supple_resize::amounts::Resource;

    use super::*;

    #[test]
    fn the_answers_of_all_pods_are_told_with_how_many_have_each() {
        use AnswerWord::{Accepted, Deferred, Refused};
        for (words, expect) in [
            (&[][..], "-"),
            (&[Accepted, Accepted], "accepted"),
            (&[Refused, Accepted, Deferred, Accepted], "accepted (2), deferred (1), refused (1)"),
        ] {
            assert_eq!(tally(words.iter().copied(), ", "), expect);
        }
    }

    #[test]
    fn a_risk_says_of_how_many_pods_it_is() {
        let it = Risk {
            container: "app".to_owned(),
            resource: Resource::Cpu,
            pods: 2,
            requests: "100m".to_owned(),
            needs: "250m".to_owned(),
        };
        let said = "risk: shop/deployment/web: app requests 100m of cpu and needs at least 250m";
        assert_eq!(risk("shop/deployment/web", &it, 3), format!("{said} (2 of 3 pods)"));
        let alone = Risk { pods: 1, ..it };
        assert_eq!(risk("shop/deployment/web", &alone, 1), said, "of a pod alone");
        let none = risk("shop/deployment/web", &Risk { requests: "0".to_owned(), ..alone }, 1);
        assert!(none.ends_with(": app requests no cpu and needs at least 250m"), "{none}");
    }
}
