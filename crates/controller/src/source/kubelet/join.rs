//! Two answers of a node, and what it told before, into readings: what only counts becomes a rate between two of them. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use jiff::Timestamp;
use supple_decide::at::At;
use supple_decide::need::Use;
use supple_quantity::{Bytes, MilliCpu};

use crate::source::{Name, Reading, Source};

/// What one answer tells of each container.
pub type Told = BTreeMap<Name, Part>;

/// What one answer tells of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// When it was measured.
    pub at: Timestamp,
    /// When this run of the container was started.
    pub started: Option<Timestamp>,
    /// CPU in use.
    pub cpu: Option<MilliCpu>,
    /// CPU time used since the start, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Working set.
    pub memory: Option<Bytes>,
    /// The whole charge.
    pub charged: Option<Bytes>,
    /// Swap in use.
    pub swap: Option<Bytes>,
    /// PSI of memory, some avg10, in thousandths.
    pub pressure_permille: Option<u16>,
    /// PSI of CPU, some avg60, in thousandths.
    pub cpu_pressure_permille: Option<u16>,
    /// Periods in which it was throttled since the start.
    pub throttled_periods: Option<u64>,
    /// Periods in which a CPU limit applied since the start.
    pub periods: Option<u64>,
    /// Processes killed for want of memory since the start.
    pub oom_kills: Option<u64>,
    /// How often it met its memory limit since the start, with and without a kill.
    pub limit_hits: Option<u64>,
    /// Time in which some task of it waited for memory since the start, in nanoseconds.
    pub waited_nanos: Option<u64>,
    /// Time in which some task of it waited for a CPU since the start, in nanoseconds.
    pub cpu_waited_nanos: Option<u64>,
}

/// What was told before, to be compared with: the counters alone, in the order of names, because it is kept of every container
/// of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Before(Box<[(Box<str>, Counted)]>);

/// What only counts, since the start of a run.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: At,
    started: Option<At>,
    cpu_nanos: Option<Count>,
    throttled_periods: Option<Count>,
    periods: Option<Count>,
    oom_kills: Option<Count>,
    limit_hits: Option<Count>,
    waited_nanos: Option<Count>,
    cpu_waited_nanos: Option<Count>,
}

/// A counter in eight bytes, its absence included; the greatest of all is taken for one less.
#[derive(Clone, Copy, Debug)]
struct Count(NonZeroU64); // one more than was counted

impl Count {
    fn of(count: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(count))
    }

    const fn get(self) -> u64 {
        self.0.get() - 1
    }
}

impl Counted {
    fn of(part: &Part) -> Self {
        let count = |it: Option<u64>| it.map(Count::of);
        Self {
            at: part.at.into(),
            started: part.started.map(At::from),
            cpu_nanos: count(part.cpu_nanos),
            throttled_periods: count(part.throttled_periods),
            periods: count(part.periods),
            oom_kills: count(part.oom_kills),
            limit_hits: count(part.limit_hits),
            waited_nanos: count(part.waited_nanos),
            cpu_waited_nanos: count(part.cpu_waited_nanos),
        }
    }
}

/// The three names in one piece. None of them can have a slash in it.
fn in_one((namespace, pod, container): &Name) -> Box<str> {
    [&**namespace, &**pod, &**container].join("/").into()
}

impl Before {
    /// Of what was counted, in any order.
    fn new(counted: impl Iterator<Item = (Box<str>, Counted)>) -> Self {
        let mut all: Vec<_> = counted.collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self(all.into())
    }

    fn of(&self, name: &Name) -> Option<&Counted> {
        let name = in_one(name);
        self.0.binary_search_by(|(it, _)| it.cmp(&name)).ok().map(|it| &self.0[it].1)
    }
}

impl Part {
    /// Nothing is known but the moment.
    #[must_use]
    pub fn unknown(at: Timestamp) -> Self {
        Self {
            at,
            started: None,
            cpu: None,
            cpu_nanos: None,
            memory: None,
            charged: None,
            swap: None,
            pressure_permille: None,
            cpu_pressure_permille: None,
            throttled_periods: None,
            periods: None,
            oom_kills: None,
            limit_hits: None,
            waited_nanos: None,
            cpu_waited_nanos: None,
        }
    }

    /// This, and where it tells nothing, the other; as old as the older of them.
    fn or(self, other: &Self) -> Self {
        Self {
            at: self.at.min(other.at),
            started: self.started.or(other.started),
            cpu: self.cpu.or(other.cpu),
            cpu_nanos: self.cpu_nanos.or(other.cpu_nanos),
            memory: self.memory.or(other.memory),
            charged: self.charged.or(other.charged),
            swap: self.swap.or(other.swap),
            pressure_permille: self.pressure_permille.or(other.pressure_permille),
            cpu_pressure_permille: self.cpu_pressure_permille.or(other.cpu_pressure_permille),
            throttled_periods: self.throttled_periods.or(other.throttled_periods),
            periods: self.periods.or(other.periods),
            oom_kills: self.oom_kills.or(other.oom_kills),
            limit_hits: self.limit_hits.or(other.limit_hits),
            waited_nanos: self.waited_nanos.or(other.waited_nanos),
            cpu_waited_nanos: self.cpu_waited_nanos.or(other.cpu_waited_nanos),
        }
    }
}

/// The time over which the kernel enforces a CPU limit, as kubelets set it unless told otherwise.
const PERIOD_NANOS: u64 = 100_000_000;

/// The kernel counts only periods in which a container wants to run: what is idle but for two bursts a minute, both throttled, would
/// be throttled all the time. So a container that runs in less than this part of the periods is taken to run in so many.
const RARELY: u64 = 5;

/// Readings of the answers that came, the better one first, and what to compare the next ones with.
pub fn join(answers: impl IntoIterator<Item = Told>, before: &Before) -> (Vec<Reading>, Before) {
    let mut all = Told::new();
    for (name, part) in answers.into_iter().flatten() {
        match all.remove(&name) {
            Some(better) => all.insert(name, better.or(&part)),
            None => all.insert(name, part),
        };
    }
    let readings = all.iter().map(|(name, part)| reading(name, part, before.of(name))).collect();
    (readings, Before::new(all.iter().map(|(name, part)| (in_one(name), Counted::of(part)))))
}

fn reading(name: &Name, part: &Part, before: Option<&Counted>) -> Reading {
    let now = Counted::of(part);
    // Counters of another run say nothing of this one, and of an answer that is repeated there is no rate.
    let before = before.filter(|it| it.started == now.started && it.at < now.at);
    let grown = |of: fn(&Counted) -> Option<Count>| of(&now)?.get().checked_sub(before.and_then(of)?.get());
    let (namespace, pod, container) = name.clone();
    let nanos = before.and_then(|it| u64::try_from(part.at.duration_since(it.at.into()).as_nanos()).ok());
    // Where the share of the time lately is not told, the share of the time since the answer before stands in for them.
    let waited = |of| share(grown(of), nanos);
    let periods = grown(|it| it.periods).zip(nanos).map(|(ran, nanos)| ran.max(nanos / PERIOD_NANOS / RARELY));
    let usage = Use {
        at: part.at,
        cpu: part.cpu.or_else(|| rate(grown(|it| it.cpu_nanos)?, before?.at.into(), part.at)),
        memory: part.memory,
        memory_peak: None,
        details_at: Some(part.at),
        memory_charged: part.charged,
        swap: part.swap,
        memory_pressure_permille: part.pressure_permille.or_else(|| waited(|it| it.waited_nanos)),
        cpu_pressure_permille: part.cpu_pressure_permille.or_else(|| waited(|it| it.cpu_waited_nanos)),
        throttled_permille: share(grown(|it| it.throttled_periods), periods),
    };
    let kills = grown(|it| it.oom_kills).map(|it| u32::try_from(it).unwrap_or(u32::MAX));
    let met_limit = grown(|it| it.limit_hits).is_some_and(|it| it > 0);
    Reading { namespace, pod, container, source: Source::Kubelet, usage, oom_kills: kills, met_limit }
}

/// Nanoseconds of CPU in a time, rounded up.
fn rate(nanos: u64, from: Timestamp, to: Timestamp) -> Option<MilliCpu> {
    let time = to.duration_since(from).as_nanos();
    let milli = (i128::from(nanos) * 1000).checked_div(time)? + 1;
    Some(MilliCpu(i64::try_from(milli).unwrap_or(i64::MAX))).filter(|_| time > 0)
}

/// How many thousandths of the whole a part is; of no periods none was throttled.
fn share(part: Option<u64>, whole: Option<u64>) -> Option<u16> {
    let (part, whole) = (u128::from(part?), u128::from(whole?));
    let permille = (part * 1000).checked_div(whole).unwrap_or(0).min(1000);
    u16::try_from(permille).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(part: Part) -> Told {
        [(("d".into(), "p".into(), "c".into()), part)].into()
    }

    fn counted(second: i64, throttled: u64, periods: u64, kills: u64) -> Part {
        Part {
            started: Some(at(1)),
            throttled_periods: Some(throttled),
            periods: Some(periods),
            oom_kills: Some(kills),
            cpu_nanos: Some(throttled * 1_000_000_000),
            ..Part::unknown(at(second))
        }
    }

    #[track_caller]
    fn second(first: Part, then: Part) -> Reading {
        let (_, before) = join([told(first)], &Before::default());
        join([told(then)], &before).0.remove(0)
    }

    #[test]
    fn counters_become_rates_between_two_answers() {
        let read = second(counted(10, 5, 100, 2), counted(20, 10, 200, 3));
        assert_eq!((read.usage.throttled_permille, read.oom_kills), (Some(50), Some(1)));
        assert_eq!(read.usage.cpu, Some(MilliCpu(501)), "five seconds of CPU in ten, rounded up");
        let (first, _) = join([told(counted(10, 5, 100, 2))], &Before::default());
        assert_eq!((first[0].usage.throttled_permille, first[0].oom_kills, first[0].usage.cpu), (None, None, None));
    }

    #[test]
    fn a_limit_met_is_told_with_the_answer_after_it_and_waiting_as_a_share_of_the_time() {
        let part = |second, hits, waited| Part {
            limit_hits: Some(hits),
            waited_nanos: Some(waited),
            cpu_waited_nanos: Some(waited * 2),
            ..counted(second, 0, 0, 0)
        };
        let read = second(part(10, 7, 0), part(20, 8, 2_500_000_000));
        assert_eq!((read.met_limit, read.usage.memory_pressure_permille), (true, Some(250)));
        assert_eq!(read.usage.cpu_pressure_permille, Some(500));
        let read = second(part(10, 7, 5), part(20, 7, 5));
        assert_eq!((read.met_limit, read.usage.memory_pressure_permille), (false, Some(0)));
        let (first, _) = join([told(part(10, 7, 5))], &Before::default());
        assert_eq!(
            (first[0].met_limit, first[0].usage.memory_pressure_permille),
            (false, None),
            "of when is not known"
        );
        let told = Part { pressure_permille: Some(12), cpu_pressure_permille: Some(13), ..part(20, 7, 5) };
        let Use { memory_pressure_permille, cpu_pressure_permille, .. } = second(part(10, 7, 0), told).usage;
        assert_eq!((memory_pressure_permille, cpu_pressure_permille), (Some(12), Some(13)), "what is told goes first");
    }

    #[test]
    fn rare_bursts_are_no_throttling_and_frequent_ones_are() {
        let throttled = |throttled, periods| {
            second(counted(10, 0, 0, 0), counted(40, throttled, periods, 0)).usage.throttled_permille
        };
        assert_eq!(throttled(2, 8), Some(33), "of 300 periods it ran in 8");
        assert_eq!(throttled(30, 30), Some(500), "whenever it ran, in a tenth of the time");
        assert_eq!(throttled(30, 120), Some(250), "as it is counted");
    }

    #[test]
    fn without_a_limit_nothing_is_throttled() {
        assert_eq!(second(counted(10, 0, 0, 0), counted(20, 0, 0, 0)).usage.throttled_permille, Some(0));
    }

    #[test]
    fn another_run_begins_anew() {
        let again = Part { started: Some(at(15)), ..counted(20, 3, 50, 1) };
        let read = second(counted(10, 5, 100, 2), again);
        assert_eq!((read.usage.throttled_permille, read.oom_kills), (None, None));
        // A counter that went back without a new start is not a kill less.
        assert_eq!(second(counted(10, 5, 100, 2), counted(20, 6, 200, 1)).oom_kills, None);
    }

    #[test]
    fn the_better_answer_wins_and_the_other_fills_in() {
        let better = Part { memory: Some(Bytes(1)), ..Part::unknown(at(9)) };
        let other = Part { memory: Some(Bytes(2)), swap: Some(Bytes(3)), ..Part::unknown(at(8)) };
        let read = join([told(better), told(other)], &Before::default()).0.remove(0);
        assert_eq!((read.usage.memory, read.usage.swap, read.usage.at), (Some(Bytes(1)), Some(Bytes(3)), at(8)));
    }

    proptest! {
        #[test]
        fn no_counters_break_it(a: [u64; 3], b: [u64; 3], from in 0_i64..1 << 36, to in 0_i64..1 << 36) {
            let counted = |second, [throttled, periods, kills]: [u64; 3]| Part {
                cpu_nanos: Some(kills), waited_nanos: Some(periods), cpu_waited_nanos: Some(kills),
                ..counted(second, throttled % (1 << 30), periods, kills) };
            let read = second(counted(from, a), counted(to, b));
            prop_assert!(read.usage.throttled_permille.is_none_or(|it| it <= 1000));
            prop_assert!(read.usage.memory_pressure_permille.is_none_or(|it| it <= 1000));
            prop_assert!(read.usage.cpu_pressure_permille.is_none_or(|it| it <= 1000));
        }
    }
}
