//! Sets of completion indexes, written as ranges: `0,2-5,7`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::super::template::annotation;

/// Where a pod says which index it works on.
pub(super) const ANNOTATION: &str = "batch.kubernetes.io/job-completion-index";

/// A set of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(pub BTreeSet<i32>);

impl Indexes {
    /// Reads ranges; what lies beyond `below` or cannot be read is left out.
    pub(super) fn parse(text: &str, below: i32) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|it| !it.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.extend(first.max(0)..=last.min(below - 1));
            }
        }
        Self(set)
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last + 1)) {
                last = next;
            }
            // Two neighbours are a list of two, as there.
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

/// The index a pod works on.
pub(super) fn of(pod: &Pod) -> Option<i32> {
    annotation(&pod.metadata, ANNOTATION)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, below: i32, expect: &str) {
        assert_eq!(Indexes::parse(text, below).to_string(), expect);
    }

    #[test]
    fn ranges_are_read_and_written() {
        check("", 10, "");
        check("0", 10, "0");
        check("0,1", 10, "0,1");
        check("0,1,2", 10, "0-2");
        check("7,2-5,0", 10, "0,2-5,7");
        check("2-9", 5, "2-4");
        check("x,3,-1,2-y", 10, "3");
        check("0-2147483647", 3, "0-2");
    }
}
