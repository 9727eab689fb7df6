//! The report for people: one file without outside references that also reads well on paper. Pure.
//!
//! Drawings are SVG written here; the only script sorts tables by a click on a column's head.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use supple_recommend::resource::Resource;
use supple_recommend::sample::{Sample, Size};
use supple_recordings::run::{Outcome, weight};
use supple_replay::figures::count;
use supple_replay::workload::Change;

use super::policy::Contender;
use super::summary::{Policy, Summary, Told};
use super::text::Columns;

/// Points of a line at most: more than the pixels of the drawing say nothing.
const POINTS: usize = 720;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Lines of the policies, in order; the first is ours. What is more than these is dotted.
const COLOURS: [&str; 10] =
    ["#0b6bcb", "#c2410c", "#7c3aed", "#0f766e", "#be185d", "#854d0e", "#64748b", "#16a34a", "#ca8a04", "#06b6d4"];

/// In the order in which they are told everywhere: what a person reads, the name in `-o json`, and which it is.
const TITLES: [(&str, &str, Resource); 2] = [("CPU", "cpu", Resource::Cpu), ("Memory", "memory", Resource::Memory)];

/// The page.
pub fn page(contenders: &[Contender], summary: &Summary, workloads: &[Outcome]) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    );
    let _ = write!(out, "<title>supple replay</title><style>{STYLE}</style></head><body>");
    let _ = write!(
        out,
        "<h1>What would have happened</h1><p>{} samples of {} workloads under {} policies. J is the cost of a policy \
         per hour, in hours of a container's mean usage: what is reserved above usage, plus a day per OOM kill, an hour per CPU sample \
         above its size, and an hour per resize. The bound is the lowest J that any sizes could reach if the future \
         were known.</p>",
        summary.samples,
        summary.workloads.len(),
        contenders.len()
    );
    let recorded: Vec<&str> = super::text::recorded(summary).collect();
    let told: Vec<_> = TITLES.into_iter().filter(|it| recorded.contains(&it.1)).collect();
    out.push_str("<h2>Policies</h2><div class=\"planes\">");
    // Where nothing was used there is no footprint, and nothing to see.
    let seen = |resource: Resource| summary.policies.iter().any(|it| self::told(it, resource).footprint.is_some());
    for (title, _, resource) in told.iter().filter(|it| seen(it.2)) {
        let _ = write!(out, "<figure><figcaption>{title}: lower left is better</figcaption>");
        plane(&mut out, summary, *resource);
        out.push_str("</figure>");
    }
    out.push_str("</div>");
    for (title, _, resource) in &told {
        let _ = write!(out, "<div class=\"pair\"><h3>{title}</h3>");
        policies(&mut out, summary, *resource);
        out.push_str("</div>");
    }
    for note in super::text::notes(summary) {
        let _ = write!(out, "<p class=\"note\">{}.</p>", escape(&note));
    }
    out.push_str("<h2>Workloads over time</h2>");
    let mut drawn: Vec<&Outcome> = workloads.iter().filter(|it| it.drawn.is_some()).collect();
    drawn.sort_by(|a, b| weight(&b.result).total_cmp(&weight(&a.result)));
    let _ = write!(
        out,
        "<p>{} of {} workloads, highest usage first. Each chart shows the first pod only; the figures are of all \
         pods.</p>",
        drawn.len(),
        workloads.len()
    );
    for outcome in drawn {
        let _ = write!(
            out,
            "<section><h3>{} / {} {} <small>pod {}{}</small></h3>",
            escape(&outcome.name.namespace),
            escape(&outcome.name.workload),
            escape(&outcome.name.container),
            escape(&outcome.pod),
            if outcome.pods > 1 { format!(", the first of {}", outcome.pods) } else { String::new() }
        );
        key(&mut out, contenders, outcome);
        for (_, _, resource) in TITLES {
            chart(&mut out, contenders, outcome, resource);
        }
        out.push_str("</section>");
    }
    closed(&mut out, summary);
    out.push_str("<h2>All workloads</h2>");
    all_workloads(&mut out, summary);
    let _ = writeln!(out, "<script>{SCRIPT}</script></body></html>");
    out
}

/// What came of the policies where sizes have effects, if that was asked for.
fn closed(out: &mut String, summary: &Summary) {
    if summary.policies.iter().all(|it| it.closed_loop.is_none()) {
        return;
    }
    out.push_str(
        "<h2>Closed loop</h2><p>The same recording, but sizes have effects: CPU limits delay work, an OOM kill \
         resets memory, a node may defer a resize. Usage then differs between policies, so there is no bound to \
         compare with.</p><div class=\"wide\"><table class=\"sort\"><thead><tr>\
         <th>policy</th><th>resource</th><th>footprint</th><th>in place/day</th><th>restart/day</th><th>deferred/day</th><th>infeasible/day</th>\
         <th>kills/day</th><th>% over</th><th>late core-hours</th><th>waited hours</th><th>nodes</th><th>unplaced</th></tr></thead><tbody>",
    );
    for policy in &summary.policies {
        let Some(it) = &policy.closed_loop else { continue };
        for (name, own, memory) in [("cpu", &it.cpu, false), ("memory", &it.memory, true)] {
            let _ = write!(out, "<tr><td>{}</td><td>{name}</td>", escape(&policy.name));
            cell(out, own.footprint, 2);
            cell(out, Some(own.resizes.in_place_per_day), 2);
            cell(out, Some(own.resizes.with_restart_per_day), 2);
            cell(out, Some(own.resizes.deferred_per_day), 2);
            cell(out, Some(own.resizes.infeasible_per_day), 2);
            cell(out, memory.then_some(it.kills_per_day), 3);
            cell(out, (!memory).then_some(it.cpu_over_ratio * 100.0), 2);
            cell(out, (!memory).then_some(it.late_core_hours), 1);
            cell(out, Some(it.waited_hours), 1);
            cell(out, Some(count(it.nodes as u64)), 0);
            cell(out, Some(count(it.unplaced)), 0);
            out.push_str("</tr>");
        }
    }
    out.push_str("</tbody></table></div>");
}

fn told(policy: &Policy, resource: Resource) -> &Told {
    match resource {
        Resource::Cpu => &policy.cpu,
        Resource::Memory => &policy.memory,
    }
}

fn cell(out: &mut String, value: Option<f64>, digits: usize) {
    let _ = match value {
        Some(it) => write!(out, "<td data-v=\"{it}\">{it:.digits$}</td>"),
        None => write!(out, "<td data-v=\"\">–</td>"),
    };
}

/// Where nothing was judged nothing is told: figures of nothing would look like good ones.
fn cells(out: &mut String, it: &Told, resource: Resource, columns: Columns) {
    let judged = |value: Option<f64>| value.filter(|_| it.judged());
    let size = |value: Option<f64>| value.map(|it| if resource == Resource::Cpu { it } else { it / 1_048_576.0 });
    let digits = if resource == Resource::Cpu { 3 } else { 0 };
    cell(out, it.footprint, 2);
    cell(out, it.footprint_median, 2);
    cell(out, judged(Some(it.slack_hours)), 1);
    cell(out, judged(Some(it.over_ratio * 100.0)), 2);
    cell(out, judged(Some(it.events_per_day)), 3);
    cell(out, judged(Some(it.resizes.in_place_per_day)), 2);
    cell(out, judged(Some(it.resizes.with_restart_per_day)), 2);
    cell(out, size(it.lowest), digits);
    cell(out, size(it.highest), digits);
    cell(out, it.j, 3);
    cell(out, it.j_ratio, 2);
    cell(out, it.captured.map(|it| it * 100.0), 0);
    if columns.kept {
        cell(out, it.risk_kept.map(|it| it * 100.0), 0);
    }
    if columns.money {
        cell(out, judged(it.money), 2);
    }
}

/// The heads of [`cells`], each with its unit and what it means; of rows of both resources with both units.
fn head(summary: &Summary, columns: Columns, resource: Option<Resource>) -> String {
    let mut out = String::new();
    let incumbent = summary.incumbent.as_deref().unwrap_or("the incumbent");
    let captured = format!("share of the possible saving from {} (0) to the bound (100)", escape(incumbent));
    let (slack, lowest, highest) = match resource {
        Some(Resource::Cpu) => ("slack, core-hours", "lowest, cores", "highest, cores"),
        Some(Resource::Memory) => ("slack, GiB-hours", "lowest, MiB", "highest, MiB"),
        None => ("slack, core-h, GiB-h", "lowest, cores, MiB", "highest, cores, MiB"),
    };
    let mut heads = vec![
        ("footprint", "reserved ÷ used, in total"),
        ("median", "median footprint of all series (a container of a pod)"),
        (slack, "reserved minus used"),
        ("% over", "share of samples above the size"),
        ("events/day", "runs of samples above the size, per day and container; for memory: OOM kills"),
        ("resizes/day", "in place, per day and container"),
        ("restarts/day", "resizes that restart the container"),
        (lowest, "lowest size"),
        (highest, "highest size"),
        ("J", "cost per hour, in hours of mean usage"),
        ("J/bound", "J ÷ J of the bound"),
        ("captured %", captured.as_str()),
    ];
    heads.extend(columns.kept.then_some(("kept %", "containers that kept the stated risk")));
    heads.extend(columns.money.then_some(("money", "cost of what was reserved")));
    for (name, meaning) in heads {
        let _ = match name.split_once(", ") {
            Some((name, unit)) => write!(out, "<th title=\"{meaning}\">{name}<br><small>{unit}</small></th>"),
            None => write!(out, "<th title=\"{meaning}\">{name}</th>"),
        };
    }
    out
}

fn policies(out: &mut String, summary: &Summary, resource: Resource) {
    let columns = Columns::of(summary);
    let _ = write!(
        out,
        "<div class=\"wide\"><table class=\"sort\"><thead><tr><th>policy</th>{}</tr></thead><tbody>",
        head(summary, columns, Some(resource))
    );
    for (index, policy) in summary.policies.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><td><i style=\"background:{}\"></i>{}</td>",
            colour(&policy.name, index),
            escape(&policy.name)
        );
        cells(out, told(policy, resource), resource, columns);
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}

fn all_workloads(out: &mut String, summary: &Summary) {
    let columns = Columns::of(summary);
    let _ = write!(
        out,
        "<div class=\"wide all\"><table class=\"sort\"><thead><tr><th>workload</th><th>resource</th><th>policy</th>{}</tr></thead><tbody>",
        head(summary, columns, None)
    );
    for it in &summary.workloads {
        for policy in &it.policies {
            for (_, name, resource) in TITLES {
                let told = told(policy, resource);
                if !told.judged() {
                    continue;
                }
                let _ = write!(
                    out,
                    "<tr><td>{}/{} {}</td><td>{name}</td><td>{}</td>",
                    escape(&it.namespace),
                    escape(&it.workload),
                    escape(&it.container),
                    escape(&policy.name)
                );
                cells(out, told, resource, columns);
                out.push_str("</tr>");
            }
        }
    }
    out.push_str("</tbody></table></div>");
}

/// The plane of slack against incidents: down and to the left is better.
fn plane(out: &mut String, summary: &Summary, resource: Resource) {
    const W: f64 = 450.0;
    // What labels that go up need above the highest point.
    const LABELS: f64 = 12.0;
    const H: f64 = 230.0 + LABELS;
    let points: Vec<(usize, &str, f64, f64)> = summary
        .policies
        .iter()
        .enumerate()
        .filter_map(|(i, it)| {
            let told = told(it, resource);
            Some((i, it.name.as_str(), told.footprint?, told.events_per_day))
        })
        .collect();
    let far = |values: &mut dyn Iterator<Item = f64>, least: f64| values.fold(least, f64::max);
    let right = far(&mut points.iter().map(|it| it.2.min(8.0)), 1.2);
    let top = far(&mut points.iter().map(|it| it.3), 0.01);
    let _ = write!(
        out,
        "<svg class=\"plane\" viewBox=\"0 -{LABELS} {W} {H}\" role=\"img\" aria-label=\"slack against incidents\">"
    );
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M40 10V200H350\"/><text x=\"195\" y=\"225\" text-anchor=\"middle\">footprint (reserved ÷ used)</text>"
    );
    let _ = write!(
        out,
        "<text x=\"12\" y=\"105\" transform=\"rotate(-90 12 105)\" text-anchor=\"middle\">events per day</text>"
    );
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|it| (40.0 + 290.0 * (it.2.min(right) - 1.0).max(0.0) / (right - 1.0), 200.0 - 180.0 * it.3 / top))
        .collect();
    // What is taken by dots and by labels: from, to, and where in the height.
    let mut taken: Vec<(f64, f64, f64)> = places.iter().map(|it| (it.0 - 5.0, it.0 + 5.0, it.1 + 4.0)).collect();
    for ((i, name, footprint, _), (x, y)) in points.into_iter().zip(places) {
        let beyond = if footprint > right { format!(" ({footprint:.1})") } else { String::new() };
        // A label goes up until it lies on nothing.
        let (from, mut at) = (x + 7.0, (y + 4.0).min(196.0));
        let to = from + 7.0 * count((name.chars().count() + beyond.len()) as u64);
        while at > 0.0 && taken.iter().any(|it| it.0 < to && from < it.1 && (it.2 - at).abs() < 11.0) {
            at -= 3.0;
        }
        taken.push((from, to, at));
        let _ = write!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{0}\"/><path class=\"lead\" stroke=\"{0}\" d=\"M{x:.1} {y:.1}L{1:.1} {2:.1}\"/>\
             <text x=\"{from:.1}\" y=\"{at:.1}\">{3}{beyond}</text>",
            colour(name, i),
            from - 1.0,
            at - 4.0,
            escape(name)
        );
    }
    let _ = write!(
        out,
        "<text x=\"40\" y=\"213\">1</text><text x=\"350\" y=\"213\" text-anchor=\"end\">{right:.1}</text><text x=\"36\" y=\"20\" text-anchor=\"end\">{top:.2}</text><text x=\"36\" y=\"204\" text-anchor=\"end\">0</text></svg>"
    );
}

fn colour(name: &str, index: usize) -> &'static str {
    if name == "bound" { "#111" } else { COLOURS[index % COLOURS.len()] }
}

/// What the lines of a workload's charts are.
fn key(out: &mut String, contenders: &[Contender], outcome: &Outcome) {
    let Some((_, changes)) = &outcome.drawn else { return };
    out.push_str("<p class=\"key\">");
    for (which, contender) in contenders.iter().enumerate() {
        // Who never set a size has no line.
        if changes.iter().any(|it| it.strategy == which && it.size != Size::default()) {
            let _ = write!(
                out,
                "<i style=\"background:{}\"></i>{} &ensp;",
                COLOURS[which % COLOURS.len()],
                escape(&contender.name)
            );
        }
    }
    if changes.iter().any(|it| it.strategy == contenders.len()) {
        out.push_str("dashed: the bound &ensp;");
    }
    out.push_str("marks below a chart: usage above the size of the policy of that colour</p>");
}

/// A figure on an axis: three digits or so.
fn figure(value: f64) -> String {
    let digits = [100.0, 10.0, 1.0].iter().filter(|it| value < **it).count();
    format!("{value:.digits$}")
}

/// Use, sizes in force, the bound and what went over, of the first pod.
fn chart(out: &mut String, contenders: &[Contender], outcome: &Outcome, resource: Resource) {
    const W: f64 = 960.0;
    // A row of marks below the axis for each policy that was passed, and what is below them.
    const ROW: f64 = 9.0;
    const H: f64 = 197.0;
    let Some((drawing, changes)) = &outcome.drawn else { return };
    let value = |it: &Sample| if resource == Resource::Cpu { it.cpu } else { it.memory };
    let used: Vec<(i64, f64)> = drawing.points().iter().filter_map(|it| Some((it.time, value(it)?))).collect();
    let (Some(first), Some(last)) = (used.first().map(|it| it.0), used.last().map(|it| it.0)) else {
        return;
    };
    let lines: Vec<Vec<(i64, f64)>> =
        (0..contenders.len()).map(|which| in_force(changes, which, resource, requested)).collect();
    let peak = used.iter().map(|it| it.1).fold(1.0, f64::max);
    let high = lines.iter().flatten().map(|it| it.1).fold(peak, f64::max).min(peak * 3.0);
    let x = |time: i64| {
        60.0 + (W - 70.0) * supple_recommend::sample::amount(time - first)
            / supple_recommend::sample::amount((last - first).max(1))
    };
    let y = |value: f64| 160.0 - 150.0 * (value / high).min(1.0);
    let marks: Vec<(usize, BTreeSet<i64>)> = (0..contenders.len())
        .map(|which| (which, over(&used, &in_force(changes, which, resource, allowed), &x)))
        .filter(|it| !it.1.is_empty())
        .collect();
    let rows = ROW * count(marks.len().max(1) as u64);
    let height = H + rows;
    let _ = write!(
        out,
        "<svg class=\"chart\" viewBox=\"0 -12 {W} {height}\" role=\"img\"><path class=\"axis\" d=\"M60 10V160H950\"/>"
    );
    // The use as an area: of the samples that fall on one point the highest, for that is what a size must bear.
    let bin = used.len().div_ceil(POINTS).max(1);
    let _ = write!(out, "<path class=\"used\" d=\"M60 160");
    for part in used.chunks(bin) {
        let highest = part.iter().map(|it| it.1).fold(0.0, f64::max);
        let _ = write!(out, "L{:.1} {:.1}", x(part[0].0), y(highest));
    }
    let _ = write!(out, "L{:.1} 160Z\"/><path class=\"grid\" d=\"M60 10H950M60 85H950\"/>", x(last));
    // The bound is the strategy after all others.
    let bound = in_force(changes, contenders.len(), resource, requested);
    step(out, &bound, last, "#111", "stroke-dasharray=\"3 3\"", &x, &y);
    for (which, line) in lines.iter().enumerate().rev() {
        let dotted = if which < COLOURS.len() { "" } else { "stroke-dasharray=\"1 2\"" };
        step(out, line, last, COLOURS[which % COLOURS.len()], dotted, &x, &y);
    }
    for ((which, columns), row) in marks.iter().zip(0_u32..) {
        let _ = write!(out, "<path class=\"over\" stroke=\"{}\" d=\"", COLOURS[which % COLOURS.len()]);
        for column in columns {
            let _ = write!(out, "M{column} {:.0}v{:.0}", 163.0 + ROW * f64::from(row), ROW - 1.0);
        }
        out.push_str("\"/>");
    }
    let (title, of) = if resource == Resource::Cpu { ("CPU, cores", 1000.0) } else { ("memory, MiB", 1_048_576.0) };
    let _ = write!(out, "<text x=\"60\" y=\"3\">{title}</text>");
    for (at, value) in [(16, figure(high / of)), (89, figure(high / of / 2.0)), (162, "0".to_owned())] {
        let _ = write!(out, "<text x=\"54\" y=\"{at}\" text-anchor=\"end\">{value}</text>");
    }
    let hours = supple_recommend::sample::amount(last - first) / 3600.0;
    let (long, unit) = if hours > 96.0 { (hours / 24.0, "d") } else { (hours, "h") };
    let digits = usize::from(long < 20.0);
    for (quarter, anchor) in [(0.0, "start"), (1.0, "middle"), (2.0, "middle"), (3.0, "middle"), (4.0, "end")] {
        let (x, at) = (60.0 + (W - 70.0) / 4.0 * quarter, long / 4.0 * quarter);
        let digits = if at == 0.0 { 0 } else { digits };
        let _ = write!(
            out,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{at:.digits$} {unit}</text>",
            179.0 + rows
        );
    }
    out.push_str("</svg>");
}

/// Where use was over the size in force, in whole columns of the drawing: one mark a column, however many samples fall on it.
fn over(used: &[(i64, f64)], sizes: &[(i64, f64)], x: &dyn Fn(i64) -> f64) -> BTreeSet<i64> {
    let is_over = |time: i64, value: f64| {
        let at = sizes.partition_point(|(from, _)| *from <= time);
        at > 0 && value > sizes[at - 1].1
    };
    let over = used.iter().filter(|(time, value)| is_over(*time, *value));
    over.map(|(time, _)| supple_recommend::sample::whole(x(*time))).collect()
}

/// What of a size is drawn.
fn requested(size: &Size, resource: Resource) -> Option<i64> {
    match resource {
        Resource::Cpu => size.cpu_request.map(|it| it.0),
        Resource::Memory => size.memory_request.map(|it| it.0),
    }
}

/// What of a size use is over, if it is: the limit, or where there is none the request.
fn allowed(size: &Size, resource: Resource) -> Option<i64> {
    let limit = match resource {
        Resource::Cpu => size.cpu_limit.map(|it| it.0),
        Resource::Memory => size.memory_limit.map(|it| it.0),
    };
    limit.or(requested(size, resource))
}

/// The sizes in force of the first pod.
fn in_force(
    changes: &[Change],
    which: usize,
    resource: Resource,
    of: fn(&Size, Resource) -> Option<i64>,
) -> Vec<(i64, f64)> {
    let changes = changes.iter().filter(|it| it.strategy == which);
    changes.filter_map(|it| Some((it.time, supple_recommend::sample::amount(of(&it.size, resource)?)))).collect()
}

fn step(
    out: &mut String,
    line: &[(i64, f64)],
    last: i64,
    colour: &str,
    more: &str,
    x: &dyn Fn(i64) -> f64,
    y: &dyn Fn(f64) -> f64,
) {
    let mut path = String::new();
    let mut before = None;
    for (time, value) in line {
        if before == Some(*value) {
            continue;
        }
        let _ = match before {
            None => write!(path, "M{:.1} {:.1}", x(*time), y(*value)),
            Some(_) => write!(path, "H{:.1}V{:.1}", x(*time), y(*value)),
        };
        before = Some(*value);
    }
    if before.is_some() {
        let _ = write!(
            out,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\" {more} d=\"{path}H{:.1}\"/>",
            x(last)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_drawing_is_marked_as_its_beginning_is() {
        let x = |time: i64| 60.0 + supple_recommend::sample::amount(time) / 10.0;
        let used: Vec<_> = (0..8000).map(|time| (time, if time < 100 { 1.0 } else { 3.0 })).collect();
        let marks = over(&used, &[(0, 2.0)], &x);
        assert_eq!((marks.len(), marks.first(), marks.last()), (791, Some(&70), Some(&860)));
        assert_eq!(over(&used, &[(0, 2.0), (4000, 4.0)], &x).last(), Some(&460), "the size that is in force then");
        assert!(over(&used, &[(9000, 1.0)], &x).is_empty(), "there was no size yet");
    }
}
