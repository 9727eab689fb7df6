//! What a write made of a list of owners lately. Pods come in numbers and of few templates: what one write makes of the
//! owners of one is what it makes of those of the next, but for the times. These are taken out of the text before and put
//! back after, so that nearly every list is one that has been seen.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::compare::Comparison;
use super::managers::Writer;

/// An entry of a list, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    /// All of it.
    pub(super) whole: &'a str,
    /// What stands before its time and the closing brace.
    pub(super) text: &'a str,
    /// Its time; empty where it has none.
    pub(super) time: &'a str,
}

/// An entry of the list that comes of it.
#[derive(Debug)]
pub(super) struct Left {
    /// What stands before its time and the closing brace.
    pub(super) text: Box<str>,
    /// What entries are put in order by, beside the time: operation; manager, API version and path.
    pub(super) order: [Box<str>; 4],
    /// Since when it is so.
    pub(super) since: Since,
}

/// The time of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// That of this entry of the list before.
    Before(usize),
    /// That of the write.
    Now,
}

/// A write whose outcome is known.
#[derive(Debug)]
struct Known {
    hash: u64,
    by: [Box<str>; 3],
    changes: Comparison,
    before: Box<[Box<str>]>,
    after: Arc<[Left]>,
}

/// Those that were worked out last.
static LATELY: Mutex<VecDeque<Known>> = Mutex::new(VecDeque::new());

/// How many of them. Each is as large as a list of owners or two.
const MOST: usize = 64;

/// What stands before the time of an entry, which is its last member by name.
const TIME: &str = ",\"time\":\"";

/// Cuts a list into its entries. `None`: it is not written as this server writes it.
pub(super) fn split(list: &str) -> Option<Vec<Stored<'_>>> {
    let inner = list.strip_prefix('[')?.strip_suffix(']')?;
    let (mut found, mut depth, mut from, mut at) = (Vec::with_capacity(4), 0_u32, 0, 0);
    let bytes = inner.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while *bytes.get(at)? != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                if depth == 0 {
                    from = at;
                }
                depth += 1;
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    found.push(entry(&inner[from..=at])?);
                }
            }
            b',' => {}
            _ if depth == 0 => return None,
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(found)
}

fn entry(whole: &str) -> Option<Stored<'_>> {
    let body = whole.strip_suffix('}')?;
    let Some((text, time)) = body.strip_suffix('"').and_then(|it| it.rsplit_once(TIME)) else {
        return Some(Stored { whole, text: body, time: "" });
    };
    // Else it is no time, or something stands behind it.
    (!time.contains(['"', '\\'])).then_some(Stored { whole, text, time })
}

/// What a write that changed this makes of such a list: what it made of one lately, or what `work_out` says.
pub(super) fn lately(
    by: Writer<'_>,
    changes: &Comparison,
    before: &[Stored<'_>],
    work_out: impl FnOnce() -> Option<Vec<Left>>,
) -> Option<Arc<[Left]>> {
    let by = [by.manager, by.api_version, by.subresource];
    let mut hasher = DefaultHasher::new();
    (by, changes).hash(&mut hasher);
    before.iter().for_each(|it| it.text.hash(&mut hasher));
    let hash = hasher.finish();
    let is_it = |it: &Known| {
        it.hash == hash
            && it.by.iter().zip(by).all(|(it, by)| **it == *by)
            && it.before.len() == before.len()
            && it.before.iter().zip(before).all(|(it, before)| **it == *before.text)
            && it.changes == *changes
    };
    let found = {
        let known = LATELY.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|it| is_it(it)).map(|it| Arc::clone(&it.after))
    };
    if found.is_some() {
        return found;
    }
    let after: Arc<[Left]> = work_out()?.into();
    let known = Known {
        hash,
        by: by.map(Box::from),
        changes: changes.clone(),
        before: before.iter().map(|it| Box::from(it.text)).collect(),
        after: Arc::clone(&after),
    };
    let mut lately = LATELY.lock().unwrap_or_else(PoisonError::into_inner);
    let oldest = (lately.len() >= MOST).then(|| lately.pop_front());
    lately.push_back(known);
    drop(lately);
    drop(oldest); // takes its time, and nobody is to wait for it
    Some(after)
}

/// The list of these entries: in the reference's order, which is by operation, then time, and with their times.
pub(super) fn join(list: &[Left], before: &[Stored<'_>], now: &str) -> Vec<u8> {
    let mut entries: Vec<(&Left, &str)> = list
        .iter()
        .map(|it| match it.since {
            Since::Before(at) => (it, before[at].time),
            Since::Now => (it, now),
        })
        .collect();
    fn order<'a>((left, time): &(&'a Left, &'a str)) -> (&'a str, &'a str, &'a [Box<str>]) {
        let [operation, rest @ ..] = &left.order;
        (operation, time, rest)
    }
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    let length = entries.iter().map(|(left, time)| left.text.len() + TIME.len() + time.len() + 3).sum::<usize>();
    let mut text = Vec::with_capacity(length + 2);
    text.push(b'[');
    for (left, time) in entries {
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend_from_slice(left.text.as_bytes());
        if !time.is_empty() {
            text.extend_from_slice(TIME.as_bytes());
            text.extend_from_slice(time.as_bytes());
            text.push(b'"');
        }
        text.push(b'}');
    }
    text.push(b']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, expected: Option<&[(&str, &str)]>) {
        let found = split(list);
        let shown: Option<Vec<_>> = found.as_ref().map(|it| it.iter().map(|it| (it.text, it.time)).collect());
        assert_eq!(shown.as_deref(), expected, "{list}");
    }

    #[test]
    fn a_list_is_cut_at_its_entries_and_before_their_times() {
        check("[]", Some(&[]));
        check(r#"[{"a":1,"time":"t"}]"#, Some(&[(r#"{"a":1"#, "t")]));
        check(r#"[{"a":"}{\"],","time":"t"},{"b":{}}]"#, Some(&[(r#"{"a":"}{\"],""#, "t"), (r#"{"b":{}"#, "")]));
        check(r#"[{"a":",\"time\":\""}]"#, Some(&[(r#"{"a":",\"time\":\"""#, "")]));
        check(r#"[{"time":"t"}]"#, Some(&[(r#"{"time":"t""#, "")]));
        // Whatever is not written as this server writes it.
        for wrong in ["", "null", "{}", "[1]", "[{]", "[{}", "[}]", r#"[{"a":"]"#, "[ {} ]"] {
            check(wrong, None);
        }
        check(r#"[{"a":1,"time":"t","z":"y"}]"#, None);
    }

    #[test]
    fn what_was_lately_done_is_not_worked_out_again() {
        let by = Writer { manager: "recalled", api_version: "v1", subresource: "" };
        let left = || {
            let order = ["Update", "recalled", "v1", ""].map(Box::from);
            Some(vec![Left { text: r#"{"a":1"#.into(), order, since: Since::Now }])
        };
        let (changes, before) = (Comparison::default(), [r#"[{"a":0,"time":"t"}]"#, r#"[{"a":0,"time":"u"}]"#]);
        let [one, other] = before.map(|it| split(it).unwrap());
        let first = lately(by, &changes, &one, left).unwrap();
        let second = lately(by, &changes, &other, || unreachable!("only the time is another")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(join(&second, &other, "now"), br#"[{"a":1,"time":"now"}]"#);
        let stranger = Writer { subresource: "status", ..by };
        assert!(lately(stranger, &changes, &one, || None).is_none());
    }
}
