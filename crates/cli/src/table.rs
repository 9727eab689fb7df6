//! The loop's snapshot as text: the table of a terminal and the lines of a log. Pure.

use jiff::Timestamp;
use supple_controller::snapshot::{Last, Row, Snapshot};
use supple_decide::numbers::{pair, show_measured_memory};

const HEADER: [&str; 5] =
    ["WORKLOAD", "CONTAINER", "CPU request → used → next", "MEMORY request → used → next", "LAST RESIZE"];

/// The table, one string a line, none longer than `width` and no more than `height` of them.
pub fn table(snapshot: &Snapshot, now: Timestamp, width: usize, height: usize) -> Vec<String> {
    if snapshot.rows.is_empty() {
        let pods = snapshot.pods;
        let hint = "kubectl label namespace NAME supple.dev/mode=in-place";
        let says = format!("recommending only ({pods} pods; `supple plan -A`); let it resize with: {hint}");
        return vec![cut(&says, width)];
    }
    let mut rows: Vec<[String; 5]> = vec![HEADER.map(str::to_owned)];
    // Two lines stay free: one for what does not fit, one for the cursor.
    let room = height.saturating_sub(3).max(1);
    rows.extend(snapshot.rows.iter().take(room).map(|row| {
        let last = match &row.last {
            Some(Last { code, message, at }) => format!("{} ago {code}: {message}", age(*at, now)),
            None => row.state.clone(),
        };
        [format!("{}/{}", row.namespace, row.workload.name), row.container.clone(), cpu(row), memory(row), last]
    }));
    let mut widths = [0; 5];
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
    if let Some(more) = snapshot.total.checked_sub(room).filter(|it| *it > 0) {
        lines.push(format!("… and {more} more"));
    }
    if let Some(blind) = &snapshot.blind {
        lines.push(cut(&format!("not measuring: {blind}"), width));
    }
    lines
}

/// What is worth a line since `old`: containers that are new, ask for something else, or had something happen.
pub fn news(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let mut lines: Vec<String> = new
        .rows
        .iter()
        .filter(|row| {
            let before = old
                .rows
                .iter()
                .find(|it| (&it.pod, &it.namespace, &it.container) == (&row.pod, &row.namespace, &row.container));
            let Some(before) = before else { return true };
            // While a resize is under way its numbers are no news yet: its end is.
            let resized = before.asked != row.asked && !row.in_flight;
            resized || (&before.last, before.used.is_some()) != (&row.last, row.used.is_some())
        })
        .map(|row| {
            let what = match &row.last {
                Some(Last { code, message, .. }) => format!("{code}: {message}"),
                None => row.state.clone(),
            };
            let Row { namespace, pod, container, .. } = row;
            format!("{namespace}/{pod} {container}: cpu {}, memory {}; {what}", cpu(row), memory(row))
        })
        .collect();
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

    use supple_decide::code::Code;
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
            last: None,
        }
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
                "WORKLOAD  CONTAINER  CPU request → used → next   MEMORY request → used → next  LAST RESIZE",
                "d/a       app        250m:500m → ? → =           256Mi → ? → =                 measuring: 1 of 3 samples",
                "d/longer  app        250m:500m → 21m → 50m:500m  256Mi → 70Mi → =              12s ago Resized: app: cpu 1 → 250m",
            ],
        );
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
    }

    #[test]
    fn lines_are_written_only_for_news() {
        let (old, new) = (snapshot(vec![row("a"), row("b")]), snapshot(vec![row("a"), resized("b", 88)]));
        assert_eq!(news(&old, &old), Vec::<String>::new());
        assert_eq!(
            news(&old, &new),
            ["d/b app: cpu 250m:500m → 21m → 50m:500m, memory 256Mi → 70Mi → =; Resized: app: cpu 1 → 250m"]
        );
        let blind = Snapshot { blind: Some("no metrics".into()), ..old.clone() };
        assert_eq!(news(&old, &blind), ["not measuring: no metrics"]);
        assert_eq!(news(&blind, &old), ["measuring again"]);
    }
}
