//! `supple plan`: per container what it asks for and what it should, why, what stands in the way, what the cluster would
//! answer, and what it saves.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use supple_controller::account::{Account, AnswerWord, ContainerAccount};
use supple_decide::numbers::{Numbers, pair};
use supple_decide::policy::Mode;

use super::look;
use super::target::Target;
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
    /// Only this workload, or all of a kind: deployment/web, sts.
    #[arg(value_name = "KIND[/NAME]")]
    pub target: Option<Target>,
    /// Workloads of this namespace [default: the context's].
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,
    /// Workloads of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How to print it; yaml prints patches for `kubectl patch --subresource resize`.
    #[arg(short, long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub output: PlanOutput,
    /// Also what fits as it is.
    #[arg(long)]
    pub all: bool,
    /// Without the line of headings.
    #[arg(long)]
    pub no_headers: bool,
    /// End with code 1 where there is something of this kind: risk (a container asks for less than it needs), change
    /// (anything would change), refused (the cluster would refuse a change).
    #[arg(long, value_name = "KIND")]
    pub fail_on: Option<FailOn>,
    /// Prices of a core and a GiB for an hour, as in `{cpu: 0.031, memory: 0.004}` (YAML or JSON).
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
    /// A container asks for less than it needs.
    Risk,
    /// Anything would change.
    Change,
    /// The cluster would refuse a change.
    Refused,
}

/// A container's line.
struct Row<'a> {
    account: &'a Account,
    container: &'a ContainerAccount,
    /// What it saves in a month; less than nothing: what it costs.
    saves: Option<f64>,
}

/// Print it.
pub async fn plan(args: PlanArgs) -> Result<(), Failure> {
    let money = args.prices.as_deref().map(read_prices).transpose()?;
    let Connection { client, namespace } = connect(&args.connection).await?;
    let namespace = (!args.all_namespaces).then(|| args.namespace.clone().unwrap_or(namespace));
    let world = look(&client).await?;
    let meant = |it: &Account| {
        namespace.as_ref().is_none_or(|namespace| it.namespace == *namespace)
            && args.target.as_ref().is_none_or(|target| target.is(it))
    };
    let accounts: Vec<Account> = world.accounts().into_iter().filter(meant).collect();
    if accounts.is_empty() && args.target.as_ref().is_some_and(|it| it.name.is_some()) {
        return Err(Failure::refused(
            "there is no such workload with pods; `supple plan -A --all` lists all there are",
        ));
    }
    let shown: Vec<&Account> =
        accounts.iter().filter(|it| args.all || args.target.is_some() || it.is_change()).collect();
    let rows: Vec<Row<'_>> = shown
        .iter()
        .flat_map(|account| {
            let saves = |it: &ContainerAccount| money.map(|money| saved(it, account.pods, money));
            account.containers.iter().map(move |it| Row { account, container: it, saves: saves(it) })
        })
        .collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        PlanOutput::Json => {
            serde_json::to_writer_pretty(&mut out, &Plan { workloads: &shown }).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        PlanOutput::Yaml => write!(out, "{}", patches(&shown)?)?,
        PlanOutput::Csv => write!(out, "{}", csv(&rows))?,
        PlanOutput::Name => {
            for it in shown.iter().filter(|it| it.is_change()) {
                writeln!(out, "{}", name(it))?;
            }
        }
        PlanOutput::Table | PlanOutput::Wide if rows.is_empty() => {
            let count = accounts.len();
            writeln!(out, "{count} workload{} looked at: nothing would change", if count == 1 { "" } else { "s" })?;
        }
        PlanOutput::Table | PlanOutput::Wide => {
            let wide = args.output == PlanOutput::Wide;
            for line in table(&rows, wide, money.is_some(), !args.no_headers, namespace.is_none()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    out.flush()?;
    match args.fail_on.filter(|it| accounts.iter().any(|account| fails(*it, account))) {
        Some(_) => Err(Failure::Refused(None)),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct Plan<'a> {
    workloads: &'a [&'a Account],
}

fn fails(on: FailOn, account: &Account) -> bool {
    match on {
        FailOn::Change => account.is_change(),
        FailOn::Refused => account.answer.word == AnswerWord::Refused,
        FailOn::Risk => account.containers.iter().any(|it| {
            let need = it.need.as_ref();
            let cpu = need.and_then(|need| Some(need.cpu.as_ref()?.lower.0 > it.now.cpu_request?.0));
            let memory = need.and_then(|need| Some(need.memory.as_ref()?.lower.0 > it.now.memory_request?.0));
            cpu.unwrap_or(false) || memory.unwrap_or(false)
        }),
    }
}

fn name(account: &Account) -> String {
    format!("{}/{}", account.kind.to_lowercase(), account.name)
}

/// What a change of requests is worth in a month, of all pods of the workload.
fn saved(container: &ContainerAccount, pods: u32, money: Money) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate in money")]
    let difference = |now: Option<i64>, then: Option<i64>| (now.unwrap_or(0) - then.unwrap_or(0)) as f64;
    let Numbers { cpu_request, memory_request, .. } = container.now;
    let next = container.proposed;
    let cores = difference(cpu_request.map(|it| it.0), next.cpu_request.map(|it| it.0)) / 1000.0;
    let bytes = difference(memory_request.map(|it| it.0), next.memory_request.map(|it| it.0));
    let gibibytes = bytes / f64::from(1 << 30);
    (cores * money.cpu + gibibytes * money.memory) * HOURS_A_MONTH * f64::from(pods)
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

/// What bound each resource, and how sure it is: `plan 0.91 / habit 0.80`.
fn why(it: &ContainerAccount) -> String {
    let Some(need) = &it.need else { return "not measured".to_owned() };
    let one = |rule: Option<(&str, u16)>| {
        rule.map_or_else(
            || "-".to_owned(),
            |(rule, permille)| format!("{rule} {}.{:02}", permille / 1000, permille % 1000 / 10),
        )
    };
    let cpu = one(need.cpu.as_ref().map(|it| (it.rule.as_str(), it.confidence_permille)));
    let memory = one(need.memory.as_ref().map(|it| (it.rule.as_str(), it.confidence_permille)));
    format!("{cpu} / {memory}, {} h", need.hours)
}

fn table(rows: &[Row<'_>], wide: bool, money: bool, headers: bool, namespaces: bool) -> Vec<String> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    if headers {
        let mut heads = vec!["WORKLOAD", "CONTAINER", "CPU request:limit", "MEMORY request:limit", "WHY cpu / memory"];
        if wide {
            heads.extend(["PODS", "MODE", "CLUSTER"]);
        }
        if money {
            heads.push("SAVES a month");
        }
        heads.push("DECISION");
        lines.push(heads.into_iter().map(str::to_owned).collect());
    }
    for Row { account, container, saves } in rows {
        let workload = name(account);
        let workload = if namespaces { format!("{}/{workload}", account.namespace) } else { workload };
        let mut cells = vec![workload, container.name.clone(), cpu(container), memory(container), why(container)];
        if wide {
            let pods = format!("{}/{}", account.changing, account.pods);
            cells.extend([pods, mode(account.mode).to_owned(), account.answer.word.as_str().to_owned()]);
        }
        if money {
            cells.push(saves.map_or_else(|| "-".to_owned(), |it| format!("{it:+.2}")));
        }
        cells.push(account.code.as_str().to_owned());
        lines.push(cells);
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|it| it.get(at)).map(|it| it.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    lines
        .iter()
        .map(|cells| {
            let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// A mode in VPA's word.
pub(super) const fn mode(mode: Mode) -> &'static str {
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
        let saves = saves.map(|it| format!("{it:.2}")).unwrap_or_default();
        let Account { namespace, kind, name, pods, changing, answer, code, .. } = account;
        let (now, next) = (numbers(&container.now), numbers(&container.proposed));
        let (container, word) = (&container.name, answer.word.as_str());
        text +=
            &format!("{namespace},{kind},{name},{container},{pods},{changing},{now},{next},{word},{saves},{code}\n");
    }
    text
}

/// One document a workload: the pod that stands for it, and the body of its resize.
fn patches(accounts: &[&Account]) -> Result<String, Failure> {
    let mut text = String::new();
    for account in accounts.iter().filter(|it| it.patch.is_some()) {
        let Account { namespace, pod, patch, code, answer, .. } = account;
        let document = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": pod},
            "spec": patch.as_ref().and_then(|it| it.get("spec")),
        });
        let yaml = serde_saphyr::to_string(&document)
            .map_err(|error| Failure::refused(format!("the patch of {pod} cannot be written: {error}")))?;
        let (name, word) = (name(account), answer.word.as_str());
        text += &format!("---\n# {name}: {code}; the cluster would answer: {word}\n");
        text += &format!("# kubectl patch pod -n {namespace} {pod} --subresource resize --patch-file FILE\n{yaml}");
    }
    Ok(text)
}
