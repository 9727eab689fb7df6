//! The text that Prometheus reads, in the making. Families without a sample are left out.

use std::fmt::Write as _;

use super::table::Row;

/// Of such a text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// The samples of one metric.
pub(super) struct Family<'a> {
    text: &'a mut String,
    row: Row,
    begun: bool,
}

impl Text {
    pub(super) fn family(&mut self, row: &Row) -> Family<'_> {
        Family { text: &mut self.0, row: *row, begun: false }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample, with a value for each of the metric's labels.
    pub(super) fn sample<T: AsRef<str>>(&mut self, labels: &[T], value: f64) {
        self.line("", labels, None, value);
    }

    /// A whole histogram.
    pub(super) fn histogram(&mut self, labels: &[String], bounds: &[f64], buckets: &[u64], nanos: u128) {
        let mut so_far = 0;
        for (number, bucket) in buckets.iter().enumerate() {
            so_far += bucket;
            let bound = bounds.get(number).map_or("+Inf".to_owned(), f64::to_string);
            self.line("_bucket", labels, Some(&bound), count(so_far));
        }
        let micros = u64::try_from(nanos / 1000).unwrap_or(u64::MAX);
        self.line("_sum", labels, None, count(micros) / 1e6);
        self.line("_count", labels, None, count(so_far));
    }

    fn line<T: AsRef<str>>(&mut self, suffix: &str, labels: &[T], bound: Option<&str>, value: f64) {
        let Row { name, kind, labels: names, meaning } = self.row;
        if !self.begun {
            self.begun = true;
            let meaning = meaning.replace('\\', "\\\\");
            self.write(format_args!("# HELP {name} {meaning}\n# TYPE {name} {}\n", kind.as_str()));
        }
        self.write(format_args!("{name}{suffix}"));
        let labels = names.iter().copied().zip(labels.iter().map(AsRef::as_ref)).chain(bound.map(|it| ("le", it)));
        let mut before = '{';
        for (label, value) in labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.write(format_args!("{before}{label}=\"{value}\""));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(arguments);
    }
}

/// A count as a sample's value. Beyond 2^53 it loses units, as every reader of the format does.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) const fn count(number: u64) -> f64 {
    number as f64
}
