//! The outcome as a table for people and as lines for spreadsheets. Pure.

use std::fmt::Write as _;

use supple_recordings::change::field;

use super::summary::{Policy, Summary, Told};

/// Lines of a table of cells, columns as wide as they must be.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|row| row.get(c)).map(|it| it.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if c < 2 { write!(line, "{cell:<width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
}

fn whole_percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |it| format!("{:.0} %", it * 100.0))
}

fn percent(value: f64) -> String {
    format!("{:.2} %", value * 100.0)
}

/// The columns that are there only where there is something to tell in them.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// Some policy states a risk.
    pub kept: bool,
    /// There are prices.
    pub money: bool,
}

impl Columns {
    /// Those of which there is something.
    pub fn of(summary: &Summary) -> Self {
        let any = |has: fn(&Told) -> bool| summary.policies.iter().any(|it| has(&it.cpu) || has(&it.memory));
        Self { kept: any(|it| it.risk_kept.is_some()), money: any(|it| it.money.is_some()) }
    }
}

/// The policies side by side, and so many workloads.
pub fn table(summary: &Summary, workloads: usize) -> String {
    let columns = Columns::of(summary);
    let mut rows = vec![header("POLICY", columns)];
    for resource in recorded(summary) {
        for policy in &summary.policies {
            rows.push(cells(&policy.name, resource, told(policy, resource), columns));
        }
    }
    let mut out = align(&rows);
    out.push_str(&legend(summary, columns));
    out.push_str(&closed(summary));
    if workloads > 0 && summary.workloads.len() > 1 {
        let name = summary.policies.first().map_or("", |it| it.name.as_str());
        let _ = writeln!(out, "\n{name}, by workload (most expensive first):");
        let mut all: Vec<(String, &Policy)> = summary
            .workloads
            .iter()
            .filter_map(|it| Some((format!("{}/{} {}", it.namespace, it.workload, it.container), it.policies.first()?)))
            .collect();
        let cost = |it: &Policy| it.cpu.slack_hours.max(0.0) + it.memory.slack_hours.max(0.0) / 4.0;
        all.sort_by(|a, b| cost(b.1).total_cmp(&cost(a.1)).then_with(|| a.0.cmp(&b.0)));
        let mut rows = vec![header("WORKLOAD", columns)];
        for (name, policy) in all.iter().take(workloads) {
            for resource in recorded(summary) {
                rows.push(cells(name, resource, told(policy, resource), columns));
            }
        }
        out.push_str(&align(&rows));
        if let Some(more) = all.len().checked_sub(workloads).filter(|it| *it > 0) {
            let _ = writeln!(out, "... and {more} more: --top {} shows all", all.len());
        }
        if summary.policies.len() > 1 {
            out.push_str("For all policies: -o csv, -o json or --html.\n");
        }
    }
    out
}

/// What the columns count from, where that is a choice.
fn legend(summary: &Summary, columns: Columns) -> String {
    let mut out = String::new();
    if let Some(incumbent) = &summary.incumbent {
        let _ = writeln!(out, "CAPTURED: share of the possible saving from {incumbent} (0 %) to the bound (100 %).");
    }
    if columns.kept {
        out.push_str("KEPT: share of containers that kept the stated risk.\n");
    }
    out
}

/// The resources of which there is use to judge a size by; of the other there would be dashes alone.
pub fn recorded(summary: &Summary) -> impl Iterator<Item = &'static str> {
    ["cpu", "memory"]
        .into_iter()
        .filter(|resource| summary.policies.iter().any(|policy| told(policy, resource).judged()))
}

/// Hours of a container that are too few to judge a recommender by.
const SHORT: f64 = 96.0;

/// Sentences about what the figures do not show by themselves.
pub fn notes(summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    if recorded(summary).next().is_none() {
        notes.push(if summary.warmup > 0 {
            format!(
                "nothing was judged: all {} samples are within the learning time (--warmup, {}); set a shorter one",
                summary.samples,
                crate::values::shown(std::time::Duration::from_secs(summary.warmup))
            )
        } else {
            format!("nothing was judged: no policy had a size at any of the {} samples", summary.samples)
        });
    }
    if summary.longest > 0.0 && summary.longest < SHORT {
        notes.push(format!(
            "at most {:.0} hours per container are judged. Every policy starts without history and learns for days, \
             so this shows the cold start. To see the steady state, record a week or more, and leave out the start \
             with --warmup",
            summary.longest
        ));
    }
    for policy in summary.policies.iter().filter(|it| it.name != "none" && it.name != "bound") {
        for resource in recorded(summary) {
            let it = told(policy, resource);
            if it.judged_ratio >= 0.995 {
                continue;
            }
            let why = if policy.name == "static" {
                format!("; the other samples have no {resource}_limit")
            } else {
                "; it had no size before".to_owned()
            };
            let share = percent(it.judged_ratio);
            notes.push(format!("{} is judged on {share} of the {resource} samples{why}", policy.name));
        }
    }
    for (resource, it) in summary.policies.first().into_iter().flat_map(|it| [("cpu", &it.cpu), ("memory", &it.memory)])
    {
        if it.censored_ratio > 0.0 {
            notes.push(format!(
                "the recorded limit cut {} of the {resource} samples: the demand there is unknown",
                percent(it.censored_ratio)
            ));
        }
    }
    notes
}

/// What came of the policies where sizes have effects.
fn closed(summary: &Summary) -> String {
    let head = [
        "CLOSED LOOP",
        "",
        "FOOTPRINT",
        "IN PLACE/DAY",
        "RESTART/DAY",
        "DEFERRED/DAY",
        "INFEASIBLE/DAY",
        "KILLS/DAY",
        "OVER",
        "LATE",
        "WAITED",
        "NODES",
        "UNPLACED",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for resource in ["cpu", "memory"] {
        for policy in &summary.policies {
            let Some(it) = &policy.closed_loop else { continue };
            let of_cpu = resource == "cpu";
            let own = if of_cpu { &it.cpu } else { &it.memory };
            let only = |shown: bool, text: String| if shown { text } else { "-".to_owned() };
            rows.push(vec![
                policy.name.clone(),
                resource.to_owned(),
                number(own.footprint, 2),
                number(Some(own.resizes.in_place_per_day), 2),
                number(Some(own.resizes.with_restart_per_day), 2),
                number(Some(own.resizes.deferred_per_day), 2),
                number(Some(own.resizes.infeasible_per_day), 2),
                only(!of_cpu, number(Some(it.kills_per_day), 3)),
                only(of_cpu, percent(it.cpu_over_ratio)),
                only(of_cpu, format!("{:.1} core-h", it.late_core_hours)),
                format!("{:.1} h", it.waited_hours),
                it.nodes.to_string(),
                it.unplaced.to_string(),
            ]);
        }
    }
    if rows.len() == 1 { String::new() } else { format!("\n{}", align(&rows)) }
}

/// What changing the first policy into the second would do, by workload: those first whose **J** changes most, and of those that
/// stay as they are the number alone.
pub fn comparison(summary: &Summary) -> String {
    let [old, new, ..] = &summary.policies[..] else {
        return String::new();
    };
    let columns = Columns::of(summary);
    let mut head = vec!["WORKLOAD", "", "FOOTPRINT", "SLACK", "EVENTS/DAY", "RESIZES/DAY", "J"];
    head.extend(columns.money.then_some("MONEY"));
    head.push("VERDICT");
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    compare("all", old, new, columns, &mut rows);
    let mut pairs: Vec<(f64, String, &Policy, &Policy)> = Vec::new();
    let mut same = 0;
    for it in &summary.workloads {
        let [old, new, ..] = &it.policies[..] else { continue };
        if verdict(&old.cpu, &new.cpu) == SAME && verdict(&old.memory, &new.memory) == SAME {
            same += 1;
            continue;
        }
        let name = format!("{}/{} {}", it.namespace, it.workload, it.container);
        pairs.push((effect(&old.cpu, &new.cpu) + effect(&old.memory, &new.memory), name, old, new));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    pairs.iter().for_each(|(_, name, old, new)| compare(name, old, new, columns, &mut rows));
    let mut out = format!("{} → {}\n{}", old.name, new.name, align(&rows));
    if same > 0 {
        let stay = if same == 1 { "stays" } else { "stay" };
        let _ = writeln!(out, "{same} of {} workloads {stay} the same (J within 1 %)", summary.workloads.len());
    }
    out.push_str(&closed(summary));
    out
}

const SAME: &str = "same";

fn verdict(old: &Told, new: &Told) -> &'static str {
    match (old.j, new.j) {
        (Some(old), Some(new)) if new < old * 0.99 => "better",
        (Some(old), Some(new)) if new > old * 1.01 => "worse",
        (Some(_), None) | (None, Some(_)) => "other",
        _ => SAME,
    }
}

/// How much a change does.
fn effect(old: &Told, new: &Told) -> f64 {
    match (old.j, new.j) {
        (Some(old), Some(new)) => (new - old).abs(),
        (one, other) => one.or(other).unwrap_or(0.0),
    }
}

fn compare(name: &str, old: &Policy, new: &Policy, columns: Columns, rows: &mut Vec<Vec<String>>) {
    for resource in ["cpu", "memory"] {
        let (old, new) = (told(old, resource), told(new, resource));
        if !old.judged() && !new.judged() {
            continue;
        }
        let both = |of: &dyn Fn(&Told) -> String| {
            let (a, b) = (of(old), of(new));
            if a == b { a } else { format!("{a} → {b}") }
        };
        let unit = if resource == "cpu" { "core-h" } else { "GiB-h" };
        let mut row = vec![
            name.to_owned(),
            resource.to_owned(),
            both(&|it| number(it.footprint, 2)),
            format!("{} {unit}", both(&|it| number(Some(it.slack_hours), 1))),
            both(&|it| number(Some(it.events_per_day), 3)),
            both(&|it| number(Some(it.resizes_per_day), 2)),
            both(&|it| number(it.j, 3)),
        ];
        row.extend(columns.money.then(|| both(&|it| number(it.money, 2))));
        row.push(verdict(old, new).to_owned());
        rows.push(row);
    }
}

/// A line a workload, policy and resource; the last columns are empty where no closed loop was asked for.
pub fn csv(summary: &Summary) -> String {
    let mut out = String::from(
        "namespace,workload,container,policy,resource,footprint,footprint_median,over_ratio,events_per_day,resizes_per_day,\
         in_place_per_day,with_restart_per_day,j,j_ratio,captured,slack_hours,lowest,highest,censored_ratio,judged_ratio,money,\
         deferred_per_day,infeasible_per_day,risk_kept,closed_footprint,closed_in_place_per_day,closed_with_restart_per_day,\
         closed_deferred_per_day,closed_infeasible_per_day,closed_kills_per_day,closed_restarts_per_day,closed_over_ratio,\
         closed_late_core_hours,closed_waited_hours,closed_nodes,closed_unplaced\n",
    );
    for policy in &summary.policies {
        csv_lines(&mut out, ",,", policy);
    }
    for it in &summary.workloads {
        let of = [&it.namespace, &it.workload, &it.container].map(|it| field(it)).join(",");
        for policy in &it.policies {
            csv_lines(&mut out, &of, policy);
        }
    }
    out
}

fn csv_lines(out: &mut String, of: &str, policy: &Policy) {
    for resource in ["cpu", "memory"] {
        let it = told(policy, resource);
        let values = [
            it.footprint,
            it.footprint_median,
            Some(it.over_ratio),
            Some(it.events_per_day),
            Some(it.resizes_per_day),
            Some(it.resizes.in_place_per_day),
            Some(it.resizes.with_restart_per_day),
            it.j,
            it.j_ratio,
            it.captured,
            Some(it.slack_hours),
            it.lowest,
            it.highest,
            Some(it.censored_ratio),
            Some(it.judged_ratio),
            it.money,
            Some(it.resizes.deferred_per_day),
            Some(it.resizes.infeasible_per_day),
            it.risk_kept,
        ];
        let values = values.into_iter().chain(csv_closed(policy, resource)).map(|value| match value {
            Some(it) => it.to_string(),
            None => String::new(),
        });
        let values = values.collect::<Vec<_>>().join(",");
        let _ = writeln!(out, "{of},{},{resource},{values}", field(&policy.name));
    }
}

fn csv_closed(policy: &Policy, resource: &str) -> [Option<f64>; 12] {
    let Some(it) = &policy.closed_loop else { return [None; 12] };
    let of_cpu = resource == "cpu";
    let own = if of_cpu { &it.cpu } else { &it.memory };
    [
        own.footprint,
        Some(own.resizes.in_place_per_day),
        Some(own.resizes.with_restart_per_day),
        Some(own.resizes.deferred_per_day),
        Some(own.resizes.infeasible_per_day),
        (!of_cpu).then_some(it.kills_per_day),
        Some(it.restarts_per_day),
        of_cpu.then_some(it.cpu_over_ratio),
        of_cpu.then_some(it.late_core_hours),
        Some(it.waited_hours),
        Some(supple_replay::figures::count(it.nodes as u64)),
        Some(supple_replay::figures::count(it.unplaced)),
    ]
}

fn told<'a>(policy: &'a Policy, resource: &str) -> &'a Told {
    if resource == "cpu" { &policy.cpu } else { &policy.memory }
}

/// Changes a day, with those that restart the container said apart where there are any.
fn resizes(it: &Told) -> String {
    let restarts = it.resizes.with_restart_per_day;
    let all = number(Some(it.resizes_per_day), 2);
    if restarts > 0.0 { format!("{all} ({restarts:.2} restart)") } else { all }
}

fn header(first: &str, columns: Columns) -> Vec<String> {
    let mut names = vec![
        first,
        "",
        "FOOTPRINT",
        "MEDIAN",
        "SLACK",
        "OVER",
        "EVENTS/DAY",
        "RESIZES/DAY",
        "LOWEST",
        "HIGHEST",
        "J",
        "J/BOUND",
        "CAPTURED",
    ];
    names.extend(columns.kept.then_some("KEPT"));
    names.extend(columns.money.then_some("MONEY"));
    names.into_iter().map(str::to_owned).collect()
}

fn cells(name: &str, resource: &str, it: &Told, columns: Columns) -> Vec<String> {
    let (unit, size): (_, fn(f64) -> String) = if resource == "cpu" {
        ("core-h", |it| format!("{it:.3}"))
    } else {
        ("GiB-h", |it| format!("{:.0} MiB", it / 1_048_576.0))
    };
    let mut cells = vec![
        name.to_owned(),
        resource.to_owned(),
        number(it.footprint, 2),
        number(it.footprint_median, 2),
        format!("{:.1} {unit}", it.slack_hours),
        percent(it.over_ratio),
        number(Some(it.events_per_day), 3),
        resizes(it),
        it.lowest.map_or_else(|| "-".to_owned(), size),
        it.highest.map_or_else(|| "-".to_owned(), size),
        number(it.j, 3),
        number(it.j_ratio, 2),
        whole_percent(it.captured),
    ];
    cells.extend(columns.kept.then(|| whole_percent(it.risk_kept)));
    cells.extend(columns.money.then(|| number(it.money, 2)));
    if !it.judged() {
        // Nothing was judged: figures of nothing would look like good ones.
        cells[2..].iter_mut().for_each(|cell| "-".clone_into(cell));
    }
    cells
}
