//! The newest that each source has told of each container, and what that comes to. Pure: the moments come with the readings.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::need::Use;
use supple_quantity::Bytes;

use super::{Reading, Source};

/// What the newest reading leaves open is taken from another that is at most this much older: two sources that take turns
/// make one picture, and yesterday's throttling says nothing of today.
const TOGETHER: SignedDuration = SignedDuration::from_mins(5);

/// For how many hours the highest working set is kept.
const HOURS: i64 = 24;

/// Namespace and name.
type PodName = (Arc<str>, Arc<str>);

/// What is known of the use of containers.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pods: BTreeMap<PodName, BTreeMap<Arc<str>, Entry>>,
    sources: BTreeMap<Source, SourceState>,
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The newest moment of which it has told anything.
    pub newest: Option<Timestamp>,
    /// Why it told nothing when it was last asked; `None`: it did tell.
    pub failed: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    by: BTreeMap<Source, Use>,
    /// Highest working set by hour since 1970, oldest first.
    peaks: Vec<(i64, Bytes)>,
}

impl Board {
    /// Take in a reading. One that is not newer than what its source has told of the container before is ignored.
    pub fn take(&mut self, reading: Reading) {
        let Reading { namespace, pod, container, source, usage, oom_kills: _ } = reading;
        let state = self.sources.entry(source).or_default();
        state.newest = state.newest.max(Some(usage.at));
        state.failed = None;
        let entry = self.pods.entry((namespace, pod)).or_default().entry(container).or_default();
        if entry.by.get(&source).is_some_and(|last| usage.at <= last.at) {
            return;
        }
        entry.by.insert(source, usage);
        if let Some(highest) = usage.memory.max(usage.memory_peak) {
            entry.peak(usage.at, highest);
        }
    }

    /// A source was asked and told nothing.
    pub fn failed(&mut self, source: Source, why: String) {
        self.sources.entry(source).or_default().failed = Some(why);
    }

    /// How the sources are doing that were ever asked.
    pub fn sources(&self) -> impl Iterator<Item = (Source, &SourceState)> {
        self.sources.iter().map(|(source, state)| (*source, state))
    }

    /// What the containers of a pod use, from all sources together. What was measured before `since` is left out: a pod
    /// that took the name of another has not used what that one did.
    #[must_use]
    pub fn used(&self, namespace: &Arc<str>, pod: &Arc<str>, since: Option<Timestamp>) -> BTreeMap<Arc<str>, Use> {
        let containers = self.pods.get(&(namespace.clone(), pod.clone())).into_iter().flatten();
        containers.filter_map(|(name, entry)| Some((name.clone(), entry.used(since)?))).collect()
    }

    /// Forget the pods that are not among those to keep.
    pub fn keep(&mut self, mut kept: impl FnMut(&str, &str) -> bool) {
        self.pods.retain(|(namespace, pod), _| kept(namespace, pod));
    }

    /// How many pods something is known of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether nothing is known of any pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

impl Entry {
    fn peak(&mut self, at: Timestamp, memory: Bytes) {
        let hour = at.as_second().div_euclid(3600);
        match self.peaks.iter_mut().find(|(it, _)| *it == hour) {
            Some((_, highest)) => *highest = (*highest).max(memory),
            None => self.peaks.push((hour, memory)),
        }
        let newest = self.peaks.iter().map(|(hour, _)| *hour).max().unwrap_or(hour);
        self.peaks.retain(|(hour, _)| newest.saturating_sub(*hour) <= HOURS);
    }

    fn used(&self, since: Option<Timestamp>) -> Option<Use> {
        let mut uses: Vec<&Use> = self.by.values().filter(|it| since.is_none_or(|since| it.at >= since)).collect();
        uses.sort_by_key(|it| std::cmp::Reverse(it.at));
        let newest = uses.first()?.at;
        let together = uses.into_iter().filter(|it| newest.duration_since(it.at) <= TOGETHER);
        let mut all = together.fold(Use::at(newest), |all, it| Use {
            at: all.at,
            cpu: all.cpu.or(it.cpu),
            memory: all.memory.or(it.memory),
            memory_peak: None,
            memory_charged: all.memory_charged.or(it.memory_charged),
            swap: all.swap.or(it.swap),
            memory_pressure_permille: all.memory_pressure_permille.or(it.memory_pressure_permille),
            throttled_permille: all.throttled_permille.or(it.throttled_permille),
        });
        // An hour that began before the pod did is counted whole: rather too high a peak than too low a limit.
        let began = since.map_or(i64::MIN, |it| it.as_second().div_euclid(3600));
        let hour = newest.as_second().div_euclid(3600);
        let counts = |it: &i64| *it >= began && hour.saturating_sub(*it) <= HOURS;
        all.memory_peak = self.peaks.iter().filter(|(hour, _)| counts(hour)).map(|(_, it)| *it).max().max(all.memory);
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use supple_quantity::MilliCpu;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reading(source: Source, usage: Use) -> Reading {
        Reading { namespace: "n".into(), pod: "p".into(), container: "c".into(), source, usage, oom_kills: None }
    }

    fn memory(second: i64, memory: i64) -> Use {
        Use { memory: Some(Bytes(memory)), ..Use::at(at(second)) }
    }

    #[track_caller]
    fn used(board: &Board, since: Option<i64>) -> Option<Use> {
        board.used(&"n".into(), &"p".into(), since.map(at)).remove("c")
    }

    #[test]
    fn sources_make_one_picture_newest_first() {
        let mut board = Board::default();
        let kubelet = Use { throttled_permille: Some(70), swap: Some(Bytes(0)), ..memory(1000, 90) };
        board.take(reading(Source::Kubelet, kubelet));
        board.take(reading(Source::MetricsApi, Use { cpu: Some(MilliCpu(5)), ..memory(1030, 100) }));
        let now = used(&board, None).unwrap();
        assert_eq!((now.at, now.memory, now.cpu), (at(1030), Some(Bytes(100)), Some(MilliCpu(5))));
        assert_eq!((now.throttled_permille, now.swap), (Some(70), Some(Bytes(0))));
        board.take(reading(Source::MetricsApi, memory(1301, 100)));
        assert_eq!(used(&board, None).unwrap().throttled_permille, None, "five minutes later it says nothing of now");
    }

    #[test]
    fn an_answer_that_is_repeated_is_not_news() {
        let mut board = Board::default();
        board.take(reading(Source::MetricsApi, memory(1000, 100)));
        board.take(reading(Source::MetricsApi, memory(1000, 900)));
        board.take(reading(Source::MetricsApi, memory(999, 900)));
        assert_eq!(used(&board, None).unwrap().memory_peak, Some(Bytes(100)));
    }

    #[test]
    fn the_peak_of_a_day_is_kept_and_no_longer() {
        let mut board = Board::default();
        for (hour, amount) in [(0, 900), (1, 500), (20, 100), (24, 100)] {
            board.take(reading(Source::MetricsApi, memory(hour * 3600, amount)));
        }
        assert_eq!(used(&board, None).unwrap().memory_peak, Some(Bytes(900)));
        board.take(reading(Source::MetricsApi, memory(25 * 3600, 100)));
        assert_eq!(used(&board, None).unwrap().memory_peak, Some(Bytes(500)));
    }

    #[test]
    fn a_pod_that_took_a_name_has_not_used_what_its_predecessor_did() {
        let mut board = Board::default();
        board.take(reading(Source::MetricsApi, memory(1000, 900)));
        assert_eq!(used(&board, Some(5000)), None);
        board.take(reading(Source::MetricsApi, memory(8000, 100)));
        assert_eq!(used(&board, Some(5000)).unwrap().memory_peak, Some(Bytes(100)));
        board.keep(|_, pod| pod != "p");
        assert!(board.is_empty());
    }

    #[test]
    fn a_source_is_as_fresh_as_its_newest_word() {
        let mut board = Board::default();
        board.failed(Source::Kubelet, "403".to_owned());
        board.take(reading(Source::MetricsApi, memory(1000, 1)));
        board.failed(Source::MetricsApi, "503".to_owned());
        let state: Vec<_> = board.sources().map(|(it, state)| (it, state.newest, state.failed.as_deref())).collect();
        let expect = [(Source::MetricsApi, Some(at(1000)), Some("503")), (Source::Kubelet, None, Some("403"))];
        assert_eq!(state, expect);
        board.take(reading(Source::MetricsApi, memory(1001, 1)));
        assert_eq!(board.sources().next().unwrap().1.failed, None);
    }
}
