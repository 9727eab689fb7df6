//! Prometheus' text format, as far as it is read: name, labels, value, moment. Lines that are none of that are passed over:
//! others write them, and one strange metric must not hide all the others.

use std::borrow::Cow;

/// A longer line is not read: no kubelet writes one.
const LONGEST_LINE: usize = 64 * 1024;

/// One sample of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name of the metric.
    pub name: &'a str,
    /// What stands between the braces.
    labels: &'a str,
    /// The value.
    pub value: f64,
    /// When it was taken, in milliseconds since 1970, where the line says so.
    pub at_millis: Option<i64>,
}

/// The samples of a text, in its order.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(sample)
}

/// The sample of a line; `None` for a comment and for what is no sample.
pub fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || line.len() > LONGEST_LINE {
        return None;
    }
    let (name, rest) = line.split_at(line.find(|it: char| it == '{' || it.is_ascii_whitespace())?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let end = end_of(inside, b'}')?;
            (&inside[..end], &inside[end + 1..])
        }
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let at_millis = words.next().and_then(|it| it.parse().ok());
    (!name.is_empty()).then_some(Sample { name, labels, value, at_millis })
}

impl<'a> Sample<'a> {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, wanted: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.labels;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\t']);
            let (name, value) = rest.split_once('=')?;
            let value = value.trim_start().strip_prefix('"')?;
            let end = end_of_text(value)?;
            if name.trim() == wanted {
                return Some(unescaped(&value[..end]));
            }
            rest = &value[end + 1..];
        }
    }
}

/// Where `wanted` stands first outside of quotes.
fn end_of(text: &str, wanted: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += 1 + end_of_text(text.get(at + 1..)?)?,
            _ if *byte == wanted => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the quotation mark stands that ends a text.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for character in text.chars() {
        match (escaped, character) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (true, 'n') => out.push('\n'),
            (_, other) => out.push(other),
        }
        escaped = false;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, expect: Option<(&str, f64, Option<i64>)>) {
        assert_eq!(sample(line).map(|it| (it.name, it.value, it.at_millis)), expect, "{line:?}");
    }

    #[test]
    fn lines() {
        check("a_total 3", Some(("a_total", 3.0, None)));
        check("  a_total\t3e-2  1395066363000 ", Some(("a_total", 0.03, Some(1_395_066_363_000))));
        check(r#"a{x="1"} 3 5"#, Some(("a", 3.0, Some(5))));
        check(r#"a{x="}\"{",} +Inf"#, Some(("a", f64::INFINITY, None)));
        check(r#"a{} 1 # {trace="x"} 0.5"#, Some(("a", 1.0, None)));
        check("# HELP a b", None);
        check("", None);
        check("a", None);
        check("a b", None);
        check(r#"a{x="1" 3"#, None);
        check("{x=\"1\"} 3", None);
        check(&format!("a{{x=\"{}\"}} 1", "y".repeat(LONGEST_LINE)), None);
    }

    #[track_caller]
    fn check_label(line: &str, label: &str, expect: Option<&str>) {
        assert_eq!(sample(line).unwrap().label(label).as_deref(), expect, "{label} of {line:?}");
    }

    #[test]
    fn labels() {
        let line = r#"a{pod="web-1", container = "c", odd="q\"b\\s\nn, pod=\"no\"" ,last=""} 1"#;
        check_label(line, "pod", Some("web-1"));
        check_label(line, "container", Some("c"));
        check_label(line, "odd", Some("q\"b\\s\nn, pod=\"no\""));
        check_label(line, "last", Some(""));
        check_label(line, "none", None);
        check_label("a 1", "pod", None);
        check_label(r#"a{pod=web} 1"#, "pod", None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in r#"[a-z_#{}",=\\ \n0-9.é]{0,200}"#) {
            for sample in samples(&text) {
                let _ = sample.label("pod");
            }
        }
    }
}
