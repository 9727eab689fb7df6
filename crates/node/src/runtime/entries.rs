//! Entries of a container's log, in the CRI's format: which of them `kubectl logs` asked for, and as which text. Pure.

use std::collections::VecDeque;

use super::LogOptions;

/// One entry of a log file: `TIME STREAM TAG TEXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time: &'a [u8],
    /// Ends a line, as opposed to a part of a long one.
    full: bool,
    text: &'a [u8],
}

/// `None` for a line that is no entry: one torn by a full disk.
fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |&b| b == b' ');
    let (time, stream, tag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let known = matches!(stream, b"stdout" | b"stderr") && matches!(tag, b"F" | b"P");
    known.then_some(Entry { time, full: tag == b"F", text })
}

/// Picks entries and writes them as the reader wants them.
#[derive(Debug)]
pub struct Selection {
    options: LogOptions,
    /// Bytes that may still be sent.
    left: u64,
    /// The next entry begins a line, so it may be given its time.
    at_line_start: bool,
}

impl Selection {
    /// By these options.
    pub fn new(options: LogOptions) -> Self {
        let left = options.limit_bytes.unwrap_or(u64::MAX);
        Self { options, left, at_line_start: true }
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// The last lines are those of the first reading; after that everything is new.
    pub fn no_more_tail(&mut self) {
        self.options.tail_lines = None;
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        let Some(since) = self.options.since else { return true };
        let time = std::str::from_utf8(entry.time).ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        time.is_some_and(|time| time >= since)
    }

    /// Append the entry to `out`, cut where the limit is.
    fn put(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        if self.options.timestamps && self.at_line_start {
            out.extend_from_slice(entry.time);
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if entry.full {
            out.push(b'\n');
        }
        self.at_line_start = entry.full;
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        out.truncate(before.saturating_add(room));
        self.left -= u64::try_from(out.len() - before).unwrap_or(u64::MAX).min(self.left);
    }
}

/// The entries of `text`, which begins at the start of one.
fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    text.split(|&b| b == b'\n').filter_map(entry)
}

/// What is in the log already. The files are bounded by rotation, so reading them whole is bounded too.
pub fn select(text: &[u8], selection: &mut Selection) -> Vec<u8> {
    let mut out = Vec::new();
    match selection.options.tail_lines {
        None => {
            for it in entries(text) {
                if selection.wants(&it) {
                    selection.put(&it, &mut out);
                }
            }
        }
        Some(lines) => {
            let lines = usize::try_from(lines).unwrap_or(usize::MAX);
            let (mut kept, mut whole) = (VecDeque::new(), 0_usize);
            for it in entries(text) {
                if selection.wants(&it) {
                    kept.push_back(it);
                    whole += usize::from(it.full);
                }
                // A line still being written counts as one.
                while whole + usize::from(kept.back().is_some_and(|it| !it.full)) > lines {
                    match kept.pop_front() {
                        Some(first) => whole -= usize::from(first.full),
                        None => break,
                    }
                }
            }
            for it in &kept {
                selection.put(it, &mut out);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
                       2026-01-01T00:00:02Z stderr F o\ntorn\n2026-01-01T00:00:03.5Z stdout F three\n";

    #[track_caller]
    fn check(options: LogOptions, expect: &str) {
        let out = select(LOG.as_bytes(), &mut Selection::new(options.clone()));
        assert_eq!(String::from_utf8_lossy(&out), expect, "{options:?}");
    }

    #[test]
    fn options_pick_and_cut() {
        let all = LogOptions::default;
        check(all(), "one\ntwo\nthree\n");
        check(LogOptions { tail_lines: Some(2), ..all() }, "two\nthree\n");
        check(LogOptions { tail_lines: Some(0), ..all() }, "");
        check(LogOptions { tail_lines: Some(9), ..all() }, "one\ntwo\nthree\n");
        check(LogOptions { since: "2026-01-01T00:00:02Z".parse().ok(), ..all() }, "two\nthree\n");
        check(LogOptions { since: "2026-01-01T00:00:03.5Z".parse().ok(), ..all() }, "three\n");
        check(LogOptions { limit_bytes: Some(5), ..all() }, "one\nt");
        check(LogOptions { limit_bytes: Some(0), ..all() }, "");
        check(
            LogOptions { timestamps: true, ..all() },
            "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03.5Z three\n",
        );
    }

    proptest! {
        #[test]
        fn no_log_panics(text in proptest::collection::vec(any::<u8>(), 0..300), tail in proptest::option::of(0_u64..4),
                         limit in proptest::option::of(0_u64..99), timestamps: bool) {
            let options = LogOptions { tail_lines: tail, limit_bytes: limit, timestamps, ..LogOptions::default() };
            let out = select(&text, &mut Selection::new(options));
            prop_assert!(limit.is_none_or(|limit| out.len() as u64 <= limit));
        }
    }
}
