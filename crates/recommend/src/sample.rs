//! What is said to a recommender: samples of use and incidents; and what it says back: a size.

use serde::Serialize;
use supple_quantity::{Bytes, MilliCpu};

/// The use of one container over one sampling interval, as measured at the interval's end.
///
/// Measurements are floating point, because that is how every source gives them (rates of counters); sizes are integers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// End of the interval, in seconds since the epoch (or since anything: only differences and the hour of the day count).
    pub time: i64,
    /// Mean CPU over the interval in thousandths of a core; `None` where it was not recorded.
    pub cpu: Option<f64>,
    /// Working set in bytes (its peak over the interval where the source has it).
    pub memory: Option<f64>,
    /// The CPU limit under which this use was measured, where known: use at the limit is not demand.
    pub cpu_limit: Option<MilliCpu>,
    /// The memory limit under which this use was measured, where known.
    pub memory_limit: Option<Bytes>,
    /// Share of CPU periods in which the container was throttled, 0 to 1.
    pub throttled: Option<f64>,
    /// Share of the last minute in which some task waited for a CPU (PSI some avg60), 0 to 1.
    pub cpu_pressure: Option<f64>,
    /// Share of the last ten seconds in which some task stalled on memory (PSI some avg10), 0 to 1.
    pub memory_pressure: Option<f64>,
    /// `memory.events` counted a high, max or oom since the sample before.
    pub memory_breached: bool,
    /// How often the container was restarted so far; a growing number marks a start.
    pub restarts: Option<u32>,
}

/// A kill for want of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutOfMemory {
    /// When, in the time of the samples.
    pub time: i64,
    /// The limit that was hit, in bytes. Where it is unknown, the request stands in for it.
    pub limit: Option<Bytes>,
    /// The request at that time, in bytes.
    pub request: Option<Bytes>,
    /// The highest use seen before the kill, in bytes.
    pub peak: Option<f64>,
}

impl OutOfMemory {
    /// What the container is known to have wanted at least: the use that was seen, or `beyond` times the limit at which it
    /// stopped being seen.
    pub fn wanted(&self, beyond: f64) -> f64 {
        let ceiling = amount(self.limit.or(self.request).map_or(0, |it| it.0));
        match self.peak {
            Some(peak) if peak > ceiling => peak,
            _ => ceiling * beyond,
        }
    }
}

/// Requests and limits of a container. `None` is "not set": nothing reserved, nothing enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// CPU reserved.
    pub cpu_request: Option<MilliCpu>,
    /// CPU above which the container is throttled.
    pub cpu_limit: Option<MilliCpu>,
    /// Memory reserved.
    pub memory_request: Option<Bytes>,
    /// Memory above which the container is killed.
    pub memory_limit: Option<Bytes>,
}

/// An integer amount as a measurement. Exact below 2^53, which is eight pebibytes.
pub fn amount(value: i64) -> f64 {
    value as f64
}

/// A measurement as an integer amount, rounded up and kept within `1..=i64::MAX`. The hair keeps 1000.0000000001 at 1000.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
pub fn whole(value: f64) -> i64 {
    let value = value - value.abs() * 1e-12;
    let below = value as i64;
    (if amount(below) < value { below.saturating_add(1) } else { below }).max(1)
}

/// A measurement that can be believed: finite and not negative.
pub fn believable(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}
