//! A row of a recording, however it was written, and what can be wrong with one.

use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::Sample;

use crate::names::{Names, Place};

/// Unix seconds that may be times: the years -9999 to 9999, as timestamps are written. What is reckoned of such times fits its type.
const TIMES: std::ops::RangeInclusive<i64> = -377_705_116_800..=253_402_300_799;

/// A time of a recording, in unix seconds, where it can be one.
pub fn time(seconds: i64) -> Option<i64> {
    TIMES.contains(&seconds).then_some(seconds)
}

/// The same of seconds and parts of one, which are left out.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, far outside of what may be a time")]
pub fn time_of(seconds: f64) -> Option<i64> {
    time(seconds.floor() as i64).filter(|_| seconds.is_finite())
}

/// Which container of which pod of which workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Namespace.
    pub namespace: String,
    /// Workload.
    pub workload: String,
    /// Container.
    pub container: String,
    /// Pod.
    pub pod: String,
}

/// What is wrong with an input, and where.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// One line or series is wrong.
    #[error("{file}: {place}: {what}; --lenient skips and counts invalid rows")]
    Wrong {
        /// Which file.
        file: String,
        /// Line or series.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// Rows that memory should not hold cannot be kept elsewhere.
    #[error(
        "cannot sort the rows in {folder}: {source}; set TMPDIR to a directory with free space, or sort the file by \
         time"
    )]
    Temporary {
        /// Where.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The whole of it is.
    #[error("{file}: {what}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

/// Where rows go, and what is wrong with others.
pub trait Sink {
    /// The series seen so far.
    fn names(&mut self) -> &mut Names;
    /// A row of a file whose rows of one series are in the order of time. False ends the reading.
    fn row(&mut self, place: Place, sample: Sample, line: u64) -> Result<bool, InputError>;
    /// A measurement of CPU or of memory, the other of which may be elsewhere.
    fn half(&mut self, place: Place, sample: Sample) -> Result<(), InputError>;
    /// A row or series that cannot be used. An error ends the reading.
    fn wrong(&mut self, error: InputError) -> Result<(), InputError>;
}

/// What is told of an input at most, in characters.
const SHOWN: usize = 80;

/// A part of an input as it can be told: in quotes, its beginning alone, nothing in it that a terminal would obey.
pub fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    let mut count = 0;
    for it in text.chars() {
        let escaped = it.escape_debug();
        count += escaped.len();
        if count > SHOWN {
            out.push('…');
            break;
        }
        out.extend(escaped);
    }
    out.push('"');
    out
}

/// What others say of an input, which may quote all of it: where it is long, how it begins and how it ends.
pub fn shortened(text: &str) -> String {
    let escaped: Vec<char> =
        text.chars().flat_map(|it| if it.is_control() { it.escape_debug().collect() } else { vec![it] }).collect();
    match escaped.len().checked_sub(2 * SHOWN) {
        None | Some(0) => escaped.iter().collect(),
        Some(_) => escaped[..SHOWN].iter().chain(&[' ', '…', ' ']).chain(&escaped[escaped.len() - SHOWN..]).collect(),
    }
}

/// Cores as thousandths.
pub fn milli(cores: f64) -> f64 {
    cores * 1000.0
}

/// A sample from what a row may hold: cores and bytes.
pub fn sample(time: i64, cpu: Option<f64>, memory: Option<f64>) -> Sample {
    Sample { time, cpu: cpu.map(milli), memory, ..Sample::default() }
}

/// A recorded CPU limit in cores; 0 and less are none.
pub fn cpu_limit(cores: f64) -> Option<MilliCpu> {
    (cores > 0.0).then(|| MilliCpu(supple_recommend::sample::whole(milli(cores))))
}

/// A recorded memory limit in bytes; 0 and less are none.
pub fn memory_limit(bytes: f64) -> Option<Bytes> {
    (bytes > 0.0).then(|| Bytes(supple_recommend::sample::whole(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_an_input_is_told() {
        assert_eq!(shown("x y"), "\"x y\"");
        assert_eq!(shown("\u{1b}[2J"), "\"\\u{1b}[2J\"");
        assert!(shown(&"\u{0}".repeat(4000)).chars().count() <= SHOWN + 3);
        assert_eq!(shortened("expected a map at line 1"), "expected a map at line 1");
        let long = shortened(&format!("invalid {}, expected a map", "x".repeat(9000)));
        assert!(
            long.starts_with("invalid x") && long.ends_with(", expected a map") && long.chars().count() < 200,
            "{long}"
        );
    }
}
