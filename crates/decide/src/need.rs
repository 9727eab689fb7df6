//! What a container needs, as a recommender says it, and what it uses, as it was measured: integers with units.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

/// What one container of a workload needs, whichever pod it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// CPU, in thousandths of a core; `None` while nothing is known.
    pub cpu: Option<Wanted<MilliCpu>>,
    /// Memory.
    pub memory: Option<Wanted<Bytes>>,
    /// The newest sample it rests on, of any pod; `None` while there was none.
    pub fresh: Option<Timestamp>,
    /// For how long the container has been watched, in hours.
    pub hours: u32,
}

/// What is wanted of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted<T> {
    /// The request to have.
    pub target: T,
    /// Below this the risk is more than was asked for.
    pub lower: T,
    /// Above this there is nothing to gain.
    pub upper: T,
    /// How sure, 0 to 1000.
    pub confidence_permille: u16,
    /// What settled the size, in one word of the recommender's: `plan`, `stay`, `raise`, `habit`, …
    pub rule: String,
    /// What speaks against more confidence, in one word: `none`, `short-history`, `changed`, …
    pub doubt: String,
    /// It cannot wait for a cool-down or a budget: use is at the limit, or the container was killed.
    pub urgent: bool,
    /// Lowering is forbidden for now: pressure, throttling, or a raise in haste that is being held.
    pub veto: bool,
}

/// What one container of one pod uses. Where a source does not tell, the field is `None`, which is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// End of the interval it was measured over.
    pub at: Timestamp,
    /// Mean CPU over the interval.
    pub cpu: Option<MilliCpu>,
    /// Working set.
    pub memory: Option<Bytes>,
    /// Highest working set known of the last day, this one included.
    pub memory_peak: Option<Bytes>,
    /// The whole charge of the cgroup, page cache included: what the kernel compares with a limit.
    pub memory_charged: Option<Bytes>,
    /// Swap in use.
    pub swap: Option<Bytes>,
    /// Share of the last ten seconds in which some task waited for memory (PSI some avg10), 0 to 1000.
    pub memory_pressure_permille: Option<u16>,
    /// Share of CPU periods throttled since the measurement before, 0 to 1000.
    pub throttled_permille: Option<u16>,
}

impl Use {
    /// Nothing known yet of an interval that ended then.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self {
            at,
            cpu: None,
            memory: None,
            memory_peak: None,
            memory_charged: None,
            swap: None,
            memory_pressure_permille: None,
            throttled_permille: None,
        }
    }
}

impl Use {
    /// This, and what it does not tell as another source told it not long before.
    #[must_use]
    pub fn beside(self, other: &Self) -> Self {
        if self.at.duration_since(other.at).abs() > Self::BESIDE {
            return self;
        }
        Self {
            at: self.at.max(other.at),
            cpu: self.cpu.or(other.cpu),
            memory: self.memory.or(other.memory),
            memory_peak: self.memory_peak.max(other.memory_peak),
            memory_charged: self.memory_charged.or(other.memory_charged),
            swap: self.swap.or(other.swap),
            memory_pressure_permille: self.memory_pressure_permille.or(other.memory_pressure_permille),
            throttled_permille: self.throttled_permille.or(other.throttled_permille),
        }
    }

    /// How far apart two measurements may be to be told as one.
    const BESIDE: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);
}

impl<T> Wanted<T> {
    /// The same in another unit.
    #[must_use]
    pub fn map<U>(self, with: impl Fn(T) -> U) -> Wanted<U> {
        let Self { target, lower, upper, confidence_permille, rule, doubt, urgent, veto } = self;
        Wanted {
            target: with(target),
            lower: with(lower),
            upper: with(upper),
            confidence_permille,
            rule,
            doubt,
            urgent,
            veto,
        }
    }
}

impl<T: Copy> Wanted<T> {
    /// With the amounts in another type, and without the words.
    pub(crate) fn amounts<U>(&self, f: impl Fn(T) -> U) -> Wanted<U> {
        Wanted {
            target: f(self.target),
            lower: f(self.lower),
            upper: f(self.upper),
            confidence_permille: self.confidence_permille,
            rule: String::new(),
            doubt: String::new(),
            urgent: self.urgent,
            veto: self.veto,
        }
    }
}
