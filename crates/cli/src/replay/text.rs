//! The outcome as a table for people and as lines for spreadsheets. Pure.

use std::fmt::Write as _;

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

fn percent(value: f64) -> String {
    format!("{:.2} %", value * 100.0)
}

/// The policies side by side; with `workloads`, every workload too.
pub fn table(summary: &Summary, workloads: usize) -> String {
    let money = summary.policies.iter().any(|it| it.cpu.money.is_some());
    let mut rows = vec![header("POLICY", money)];
    for resource in recorded(summary) {
        for policy in &summary.policies {
            rows.push(cells(&policy.name, resource, told(policy, resource)));
        }
    }
    let mut out = align(&rows);
    out.push_str(&closed(summary));
    if workloads > 0 && summary.workloads.len() > 1 {
        let name = summary.policies.first().map_or("", |it| it.name.as_str());
        let _ = writeln!(out, "\n{name}, by workload (the dearest first):");
        let mut all: Vec<(String, &Policy)> = summary
            .workloads
            .iter()
            .filter_map(|it| Some((format!("{}/{} {}", it.namespace, it.workload, it.container), it.policies.first()?)))
            .collect();
        let cost = |it: &Policy| it.cpu.slack_hours.max(0.0) + it.memory.slack_hours.max(0.0) / 4.0;
        all.sort_by(|a, b| cost(b.1).total_cmp(&cost(a.1)).then_with(|| a.0.cmp(&b.0)));
        let mut rows = vec![header("WORKLOAD", money)];
        for (name, policy) in all.iter().take(workloads) {
            for resource in recorded(summary) {
                rows.push(cells(name, resource, told(policy, resource)));
            }
        }
        out.push_str(&align(&rows));
        if let Some(more) = all.len().checked_sub(workloads).filter(|it| *it > 0) {
            let _ = writeln!(out, "... and {more} more (-o json or -o csv has all)");
        }
    }
    out
}

/// The resources of which there is use to judge a size by; of the other there would be dashes alone.
pub fn recorded(summary: &Summary) -> impl Iterator<Item = &'static str> {
    ["cpu", "memory"]
        .into_iter()
        .filter(|resource| summary.policies.iter().any(|policy| told(policy, resource).footprint.is_some()))
}

/// Sentences about what the figures do not show by themselves.
pub fn notes(summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    if recorded(summary).next().is_none() {
        notes.push(
            "nothing was judged: the recordings end within the learning time (--warmup), or no policy ever had a size"
                .to_owned(),
        );
    }
    for policy in summary.policies.iter().filter(|it| it.name != "none" && it.name != "bound") {
        for resource in recorded(summary) {
            let it = told(policy, resource);
            if it.judged_ratio >= 0.995 {
                continue;
            }
            let why = if policy.name == "static" {
                format!("; the recording has no {resource}_limit there, and nothing is guessed")
            } else {
                " (it had no size yet)".to_owned()
            };
            let share = percent(it.judged_ratio);
            notes.push(format!("{} is judged on {share} of the {resource} samples{why}", policy.name));
        }
    }
    for (resource, it) in summary.policies.first().into_iter().flat_map(|it| [("cpu", &it.cpu), ("memory", &it.memory)])
    {
        if it.censored_ratio > 0.0 {
            notes.push(format!(
                "{} of the {resource} samples were cut by the recorded limit: what was wanted there is not known",
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

/// What changing the first policy into the second would do, by workload.
pub fn comparison(summary: &Summary) -> String {
    let [old, new, ..] = &summary.policies[..] else {
        return String::new();
    };
    let head = ["WORKLOAD", "", "FOOTPRINT", "EVENTS/DAY", "RESIZES/DAY", "J", "VERDICT"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    let mut pairs = vec![("all".to_owned(), old, new)];
    for it in &summary.workloads {
        if let [old, new, ..] = &it.policies[..] {
            pairs.push((format!("{}/{} {}", it.namespace, it.workload, it.container), old, new));
        }
    }
    for (name, old, new) in pairs {
        for resource in ["cpu", "memory"] {
            let (old, new) = (told(old, resource), told(new, resource));
            if old.footprint.is_none() && new.footprint.is_none() {
                continue;
            }
            let arrow = |a: String, b: String| if a == b { a } else { format!("{a} → {b}") };
            let verdict = match (old.j, new.j) {
                (Some(old), Some(new)) if new < old * 0.99 => "better",
                (Some(old), Some(new)) if new > old * 1.01 => "worse",
                _ => "same",
            };
            rows.push(vec![
                name.clone(),
                resource.to_owned(),
                arrow(number(old.footprint, 2), number(new.footprint, 2)),
                arrow(number(Some(old.events_per_day), 3), number(Some(new.events_per_day), 3)),
                arrow(number(Some(old.resizes_per_day), 2), number(Some(new.resizes_per_day), 2)),
                arrow(number(old.j, 3), number(new.j, 3)),
                verdict.to_owned(),
            ]);
        }
    }
    format!("{} → {}\n{}", old.name, new.name, align(&rows))
}

/// A line a workload, policy and resource.
pub fn csv(summary: &Summary) -> String {
    let mut out = String::from(
        "namespace,workload,container,policy,resource,footprint,footprint_median,over_ratio,events_per_day,resizes_per_day,\
         in_place_per_day,with_restart_per_day,j,j_ratio,captured,slack_hours,lowest,highest,censored_ratio,judged_ratio,money\n",
    );
    let mut line = |of: &str, policy: &Policy| {
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
            ];
            let values = values.map(|value| value.map_or_else(String::new, |it| it.to_string())).join(",");
            let _ = writeln!(out, "{of},{},{resource},{values}", policy.name);
        }
    };
    for policy in &summary.policies {
        line(",,", policy);
    }
    for it in &summary.workloads {
        for policy in &it.policies {
            line(&format!("{},{},{}", it.namespace, it.workload, it.container), policy);
        }
    }
    out
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

fn header(first: &str, money: bool) -> Vec<String> {
    let names = [
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
        "STANDS",
        "MONEY",
    ];
    names[..names.len() - usize::from(!money)].iter().map(|it| (*it).to_owned()).collect()
}

fn cells(name: &str, resource: &str, it: &Told) -> Vec<String> {
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
        it.captured.map_or_else(|| "-".to_owned(), |it| format!("{:.0} %", it * 100.0)),
    ];
    let judged = it.judged_ratio > 0.0;
    if !judged {
        // Nothing was judged: figures of nothing would look like good ones.
        cells[2..].iter_mut().for_each(|cell| "-".clone_into(cell));
    }
    cells.extend(it.money.map(|it| if judged { format!("{it:.2}") } else { "-".to_owned() }));
    cells
}
