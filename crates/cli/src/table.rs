//! The loop's snapshot as text: the table of a terminal and the lines of a log. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use supple_controller::snapshot::{Last, Row, Snapshot, Waits};
use supple_decide::code::Code;
use supple_decide::numbers::{pair, show_measured_memory};

const HEADER: [&str; 4] = ["WORKLOAD", "CPU request → used → next", "MEMORY request → used → next", "WHAT HAPPENS"];

/// The table, one string a line, none longer than `width` and no more than `height` of them: a row a container of each workload,
/// what is being resized first, then what waits for room.
pub fn table(snapshot: &Snapshot, now: Timestamp, width: usize, height: usize) -> Vec<String> {
    if snapshot.rows.is_empty() {
        let pods = snapshot.pods;
        if pods == 0 {
            return vec!["no pods yet".to_owned()];
        }
        let hint = "kubectl label namespace NAME supple.dev/mode=in-place";
        let says = format!("recommending only ({pods} pods; `supple plan -A`); to resize: {hint}");
        return vec![cut(&says, width)];
    }
    let groups = groups(&snapshot.rows);
    let mut rows: Vec<[String; 4]> = vec![HEADER.map(str::to_owned)];
    // Two lines stay free: one for what does not fit, one for the cursor.
    let room = height.saturating_sub(3).max(1);
    rows.extend(groups.iter().take(room).map(|group| {
        let row = group.row;
        [group.name(), cpu(row), memory(row), what(row, now)]
    }));
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cut(cells.join("  ").trim_end(), width)
        })
        .collect();
    let unseen = snapshot.total.saturating_sub(snapshot.rows.len());
    match (groups.len().saturating_sub(room), unseen) {
        (0, 0) => {}
        (more, 0) => lines.push(format!("… and {more} more")),
        (0, unseen) => lines.push(cut(&format!("… and {unseen} more containers"), width)),
        (more, unseen) => lines.push(cut(&format!("… and {more} more, and {unseen} more containers"), width)),
    }
    if let Some(blind) = &snapshot.blind {
        lines.push(cut(&format!("not measuring: {blind}"), width));
    }
    lines
}

/// Containers of one name of a workload.
struct Group<'a> {
    /// The one that stands for them: one that is being resized or waits to be, else the one of which there is the latest news.
    row: &'a Row,
    pods: usize,
    /// The workload has other containers too.
    is_one_of_many: bool,
}

impl Group<'_> {
    fn name(&self) -> String {
        let Row { namespace, workload, container, .. } = self.row;
        let container = if self.is_one_of_many { format!(" {container}") } else { String::new() };
        let pods = if self.pods > 1 { format!(" ×{}", self.pods) } else { String::new() };
        format!("{namespace}/{}{container}{pods}", workload.name)
    }
}

fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let mut workloads: BTreeMap<_, BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in rows {
        workloads.entry(&row.workload).or_default().entry(&row.container).or_default().push(row);
    }
    let mut groups: Vec<Group<'_>> = workloads
        .into_values()
        .flat_map(|containers| {
            let is_one_of_many = containers.len() > 1;
            containers.into_values().filter_map(move |rows| {
                // Of several that are alike the first stands for all.
                let news = |it: &&&Row| (it.in_flight, it.waits.is_some(), it.last.as_ref().map(|it| it.at));
                let row = rows.iter().rev().max_by_key(news)?;
                Some(Group { row, pods: rows.len(), is_one_of_many })
            })
        })
        .collect();
    groups.sort_by_key(|it| (!it.row.in_flight, it.row.waits.is_none())); // stable: else by name
    groups
}

/// What happened last, or what is made of it now.
fn what(row: &Row, now: Timestamp) -> String {
    let own = format!("{}: ", row.container);
    let short = |it: &str| it.strip_prefix(&own).unwrap_or(it).to_owned();
    match (&row.waits, &row.last) {
        _ if row.in_flight => "being resized".to_owned(),
        (Some(Waits { since, why }), _) => {
            let time = since.map(|it| format!(" for {}", age(it, now))).unwrap_or_default();
            format!("{}{time}: {why}", Code::Deferred)
        }
        (None, Some(Last { code, message, at })) => format!("{} ago {code}: {}", age(*at, now), short(message)),
        (None, None) => short(&row.state),
    }
}

/// What is worth a line since `old`: containers that ask for something else, or had something happen.
pub fn news(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if old.total == 0 && new.total > 0 {
        let s = if new.total == 1 { "" } else { "s" };
        lines.push(format!("{} container{s} may be resized, of {} pods in total", new.total, new.pods));
    }
    let known: BTreeMap<_, &Row> = old.rows.iter().map(|it| ((&it.namespace, &it.pod, &it.container), it)).collect();
    let is_news = |row: &&Row| {
        let Some(before) = known.get(&(&row.namespace, &row.pod, &row.container)) else {
            return row.last.is_some() || row.waits.is_some();
        };
        // While a resize is under way its numbers are no news yet: its end is.
        (before.asked != row.asked && !row.in_flight)
            || before.last != row.last
            || before.waits.is_some() != row.waits.is_some()
    };
    lines.extend(new.rows.iter().filter(is_news).map(|row| {
        let what = match (&row.waits, &row.last) {
            (Some(Waits { why, .. }), _) => format!("{}: {why}", Code::Deferred),
            (None, Some(Last { code, message, .. })) => format!("{code}: {message}"),
            (None, None) => row.state.clone(),
        };
        let Row { namespace, pod, container, .. } = row;
        format!("{namespace}/{pod} {container}: cpu {}, memory {}; {what}", cpu(row), memory(row))
    }));
    if new.blind != old.blind {
        lines.push(match &new.blind {
            Some(why) => format!("not measuring: {why}"),
            None => "measuring again".to_owned(),
        });
    }
    lines
}

fn cpu(row: &Row) -> String {
    let next = row.next.and_then(|it| pair(it.cpu_request, it.cpu_limit));
    let asked = pair(row.asked.cpu_request, row.asked.cpu_limit);
    way(asked, row.used.map(|it| it.0.to_string()), next)
}

fn memory(row: &Row) -> String {
    let next = row.next.and_then(|it| pair(it.memory_request, it.memory_limit));
    let asked = pair(row.asked.memory_request, row.asked.memory_limit);
    way(asked, row.used.map(|it| show_measured_memory(it.1)), next)
}

/// `request → used → next`; `=` where next is what it is.
fn way(asked: Option<String>, used: Option<String>, next: Option<String>) -> String {
    let next = match next {
        Some(next) if Some(&next) != asked.as_ref() => next,
        _ => "=".to_owned(),
    };
    format!("{} → {} → {next}", asked.unwrap_or_else(|| "-".to_owned()), used.unwrap_or_else(|| "?".to_owned()))
}

/// `12s`, `3m`, `2h`.
fn age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs().max(0) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use supple_decide::key::WorkloadKey;
    use supple_decide::numbers::Numbers;
    use supple_quantity::{Bytes, MilliCpu};

    use super::*;

    fn row(pod: &str) -> Row {
        let asked = Numbers {
            cpu_request: Some(MilliCpu(250)),
            cpu_limit: Some(MilliCpu(500)),
            memory_request: Some(Bytes(256 << 20)),
            memory_limit: None,
        };
        Row {
            namespace: "d".into(),
            pod: pod.into(),
            workload: WorkloadKey { namespace: Arc::from("d"), kind: Arc::from("Pod"), name: Arc::from(pod) },
            container: "app".into(),
            asked,
            used: None,
            next: None,
            state: "measuring: 1 of 3 samples".into(),
            in_flight: false,
            waits: None,
            last: None,
        }
    }

    fn waiting(pod: &str, second: i64) -> Row {
        let since = Timestamp::from_second(second).ok();
        Row { waits: Some(Waits { since, why: "no room".into() }), ..row(pod) }
    }

    fn resized(pod: &str, second: i64) -> Row {
        let next = Numbers { cpu_request: Some(MilliCpu(50)), ..row(pod).asked };
        let at = Timestamp::from_second(second).unwrap();
        let last = Some(Last { code: Code::Resized, message: "app: cpu 1 → 250m".into(), at });
        Row { used: Some((MilliCpu(21), Bytes(70 << 20))), next: Some(next), last, ..row(pod) }
    }

    fn snapshot(rows: Vec<Row>) -> Snapshot {
        Snapshot { pods: rows.len(), total: rows.len(), rows, blind: None }
    }

    #[track_caller]
    fn check(snapshot: &Snapshot, width: usize, height: usize, expect: &[&str]) {
        assert_eq!(table(snapshot, Timestamp::from_second(100).unwrap(), width, height), expect);
    }

    #[test]
    fn rows_are_aligned() {
        check(
            &snapshot(vec![row("a"), resized("longer", 88)]),
            200,
            40,
            &[
                "WORKLOAD  CPU request → used → next   MEMORY request → used → next  WHAT HAPPENS",
                "d/a       250m:500m → ? → =           256Mi → ? → =                 measuring: 1 of 3 samples",
                "d/longer  250m:500m → 21m → 50m:500m  256Mi → 70Mi → =              12s ago Resized: cpu 1 → 250m",
            ],
        );
    }

    #[test]
    fn what_waits_for_room_says_so_and_for_how_long_and_stands_before_the_others() {
        check(
            &snapshot(vec![resized("a", 88), waiting("b", 70)]),
            200,
            40,
            &[
                "WORKLOAD  CPU request → used → next   MEMORY request → used → next  WHAT HAPPENS",
                "d/b       250m:500m → ? → =           256Mi → ? → =                 Deferred for 30s: no room",
                "d/a       250m:500m → 21m → 50m:500m  256Mi → 70Mi → =              12s ago Resized: cpu 1 → 250m",
            ],
        );
    }

    #[test]
    fn pods_of_a_workload_are_one_row_and_what_is_being_resized_comes_first() {
        let of_web = |pod: &str, container: &str| {
            let workload =
                WorkloadKey { namespace: Arc::from("d"), kind: Arc::from("Deployment"), name: Arc::from("web") };
            Row { workload, container: container.into(), ..row(pod) }
        };
        let moving = Row { in_flight: true, ..of_web("web-2", "side") };
        let rows = vec![row("a"), of_web("web-1", "app"), of_web("web-2", "app"), of_web("web-1", "side"), moving];
        let lines = table(&snapshot(rows), Timestamp::UNIX_EPOCH, 200, 40);
        let firsts: Vec<&str> = lines.iter().map(|it| it.split("  ").next().unwrap_or_default()).collect();
        assert_eq!(firsts, ["WORKLOAD", "d/web side ×2", "d/web app ×2", "d/a"]);
        assert!(lines[1].ends_with("being resized"), "{lines:?}");
    }

    #[test]
    fn it_never_grows_out_of_the_screen() {
        let many = snapshot((0..30).map(|it| row(&format!("p{it}"))).collect());
        let lines = table(&many, Timestamp::UNIX_EPOCH, 40, 10);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (9, "… and 23 more"));
        assert!(lines.iter().all(|it| it.chars().count() <= 40));
    }

    #[test]
    fn an_empty_cluster_says_how_to_begin() {
        let empty = Snapshot { pods: 3, ..Snapshot::default() };
        assert!(table(&empty, Timestamp::UNIX_EPOCH, 200, 40)[0].starts_with("recommending only (3 pods; "));
        assert_eq!(table(&Snapshot::default(), Timestamp::UNIX_EPOCH, 200, 40), ["no pods yet"], "nothing was read");
    }

    #[test]
    fn lines_are_written_only_for_news() {
        let (old, new) = (snapshot(vec![row("a"), row("b")]), snapshot(vec![row("a"), resized("b", 88)]));
        assert_eq!(news(&old, &old), Vec::<String>::new());
        // Pods that are only looked at are no news, however many there are.
        assert_eq!(news(&Snapshot::default(), &old), ["2 containers may be resized, of 2 pods in total"]);
        let measured = Row { used: Some((MilliCpu(1), Bytes(1))), state: "nothing is lowered yet".into(), ..row("a") };
        assert_eq!(news(&old, &snapshot(vec![measured, row("b")])), Vec::<String>::new());
        assert_eq!(
            news(&old, &new),
            ["d/b app: cpu 250m:500m → 21m → 50m:500m, memory 256Mi → 70Mi → =; Resized: app: cpu 1 → 250m"]
        );
        let later = |second| snapshot(vec![row("a"), waiting("b", second)]);
        let deferred = "d/b app: cpu 250m:500m → ? → =, memory 256Mi → ? → =; Deferred: no room";
        assert_eq!(news(&Snapshot::default(), &later(70))[1], deferred);
        assert_eq!(news(&old, &later(70)), [deferred]);
        assert_eq!(news(&later(70), &later(71)), Vec::<String>::new());
        assert_eq!(news(&later(70), &old).len(), 1, "its end is news");
        let blind = Snapshot { blind: Some("no metrics".into()), ..old.clone() };
        assert_eq!(news(&old, &blind), ["not measuring: no metrics"]);
        assert_eq!(news(&blind, &old), ["measuring again"]);
    }
}
