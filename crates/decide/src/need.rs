//! What a container needs, as a recommender says it, and what it uses, as it was measured: integers with units.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

use crate::few::Few;

/// Stalled on memory for this share of the last ten seconds, in thousandths: pressure.
pub(crate) const PRESSURE_PERMILLE: u16 = 100;

/// Throttled in this share of periods, in thousandths: what is tolerated.
pub(crate) const THROTTLED_PERMILLE: u16 = 50;

/// Some task waited for a CPU for this share of the last minute, in thousandths: the fast path's bound.
pub(crate) const WAITED_PERMILLE: u16 = 250;

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

impl Need {
    /// For how long the container has been watched, in words.
    #[must_use]
    pub fn watched(&self) -> String {
        match self.hours {
            0 => "under 1 h".to_owned(),
            hours => format!("{hours} h"),
        }
    }
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
    /// Some pod needs it at once: use is at the limit, the container was killed or is throttled. Which pods cannot wait for windows,
    /// budgets and cool-downs is decided for each by what it suffers itself.
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
    /// When what follows was measured, which only some sources tell; `None`: nothing of it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_at: Option<Timestamp>,
    /// The whole charge of the cgroup, page cache included: what the kernel compares with a limit.
    pub memory_charged: Option<Bytes>,
    /// Swap in use.
    pub swap: Option<Bytes>,
    /// Share of the last ten seconds in which some task waited for memory (PSI some avg10), 0 to 1000.
    pub memory_pressure_permille: Option<u16>,
    /// Share of the last minute in which some task waited for a CPU (PSI some avg60), 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_permille: Option<u16>,
    /// Share of CPU periods throttled since the measurement before, 0 to 1000.
    pub throttled_permille: Option<u16>,
}

/// What the containers of one pod use, by name.
pub type Uses = Few<Arc<str>, Use>;

impl Use {
    /// How far apart two measurements may be to be told as one.
    const BESIDE: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);

    /// Nothing known yet of an interval that ended then.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self {
            at,
            cpu: None,
            memory: None,
            memory_peak: None,
            details_at: None,
            memory_charged: None,
            swap: None,
            memory_pressure_permille: None,
            cpu_pressure_permille: None,
            throttled_permille: None,
        }
    }

    /// This, and what it does not tell as it was told not long before. Details keep the moment they were measured at: told on and
    /// on beside the news of another source, the throttling of an hour ago would be that of now.
    #[must_use]
    pub fn beside(self, other: &Self) -> Self {
        let at = self.at.max(other.at);
        let is_near = |it: Timestamp| at.duration_since(it) <= Self::BESIDE;
        if !is_near(self.at) || !is_near(other.at) {
            return self;
        }
        let nothing = Self::at(at);
        let own = Some(&self).filter(|it| it.details_at.is_some());
        let details = own.or(Some(other).filter(|it| it.details_at.is_some_and(is_near))).unwrap_or(&nothing);
        Self {
            at,
            cpu: self.cpu.or(other.cpu),
            memory: self.memory.or(other.memory),
            memory_peak: self.memory_peak.max(other.memory_peak),
            ..*details
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("it is near 1970")
    }

    fn metrics(second: i64) -> Use {
        Use { cpu: Some(MilliCpu(5)), memory: Some(Bytes(100)), ..Use::at(at(second)) }
    }

    fn kubelet(second: i64) -> Use {
        let details_at = Some(at(second));
        Use { throttled_permille: Some(70), swap: Some(Bytes(0)), details_at, ..Use::at(at(second)) }
    }

    #[test]
    fn two_sources_make_one_picture_in_either_order() {
        for used in [metrics(1030).beside(&kubelet(1000)), kubelet(1000).beside(&metrics(1030))] {
            assert_eq!((used.at, used.cpu, used.memory), (at(1030), Some(MilliCpu(5)), Some(Bytes(100))));
            assert_eq!(
                (used.throttled_permille, used.swap, used.details_at),
                (Some(70), Some(Bytes(0)), Some(at(1000)))
            );
        }
        assert_eq!(metrics(1121).beside(&kubelet(1000)), metrics(1121), "too far apart");
    }

    #[test]
    fn details_are_not_told_on_and_on() {
        let mut used = kubelet(1000);
        for second in (1015..=1120).step_by(15) {
            used = metrics(second).beside(&used);
        }
        assert_eq!(used.throttled_permille, Some(70));
        assert_eq!(metrics(1135).beside(&used), metrics(1135));
    }
}
