//! The text that Prometheus reads: families of samples, each with its help, its type and its labels.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Of such a text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only goes up.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// A family begins: its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
    }

    /// One sample, and when it was taken where that is not now.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64, at: Option<Timestamp>) {
        self.0.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if number == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{value}\""));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.write(format_args!(" {value}"));
        if let Some(at) = at {
            self.write(format_args!(" {}", at.as_millisecond()));
        }
        self.0.push('\n');
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(arguments);
    }
}

/// A count as a sample's value. Beyond 2^53 it loses units, as every reader of the format does.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// Nanoseconds in seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    count(nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_moments_are_milliseconds() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "What\nis \\ counted.");
        text.sample("a_total", &[("x", "1"), ("y", "a\"b\\c\nd")], 1.5, Timestamp::from_millisecond(1234).ok());
        text.sample("a_total", &[], count(3), None);
        let expect = "# HELP a_total What\\nis \\\\ counted.\n# TYPE a_total counter\n\
                      a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 1.5 1234\na_total 3\n";
        assert_eq!(text.finish(), expect);
    }
}
