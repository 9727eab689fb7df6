//! CPU in use now, from a counter read now and then: the average over a window, remembered as a few past readings.

use std::collections::VecDeque;
use std::time::Duration;

/// Readings closer to the last one than this part of the window replace nothing and are not kept.
const READINGS_PER_WINDOW: u32 = 8;
/// Below this an average says nothing: the kernel itself accounts in periods of 100 ms.
const SHORTEST: Duration = Duration::from_millis(200);

/// Past readings of one counter of nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// (when, counter), oldest first.
    past: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Take a reading: `now` since any fixed moment, `used` nanoseconds of CPU. The answer is nano-cores and over how
    /// long they were measured: the `window`, or as much of it as is known; `None` until enough time has passed.
    pub fn take(&mut self, now: Duration, used: u64, window: Duration) -> Option<(u64, Duration)> {
        // The newest reading that is a window old; where none is, the oldest there is.
        while self.past.get(1).is_some_and(|&(at, _)| at + window <= now) {
            self.past.pop_front();
        }
        let base = self.past.front().copied();
        let due = self.past.back().is_none_or(|&(at, _)| at + window / READINGS_PER_WINDOW <= now);
        if due {
            self.past.push_back((now, used));
        }
        let (at, before) = base?;
        let elapsed = now.checked_sub(at).filter(|elapsed| *elapsed >= SHORTEST)?;
        let used = u128::from(used.saturating_sub(before));
        // u128: 64 bits of nanoseconds times 10^9 fit.
        let nano_cores = used * 1_000_000_000 / elapsed.as_nanos().max(1);
        Some((u64::try_from(nano_cores).unwrap_or(u64::MAX), elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings at these milliseconds of a container that uses half a core before second 10 and two cores after it.
    #[track_caller]
    fn check(at: &[u64], expect: Option<(u64, u128)>) {
        let mut rate = Rate::default();
        let mut last = None;
        for &ms in at {
            let used = ms.min(10_000) * 500_000 + ms.saturating_sub(10_000) * 2_000_000;
            last = rate.take(Duration::from_millis(ms), used, Duration::from_secs(10));
        }
        assert_eq!(last.map(|(cores, over)| (cores / 1_000_000, over.as_millis())), expect, "{at:?}");
    }

    #[test]
    fn averages_over_the_window_or_what_is_known_of_it() {
        check(&[0], None);
        check(&[0, 100], None);
        check(&[0, 1000], Some((500, 1000)));
        check(&[0, 1000, 5000, 10_000], Some((500, 10_000)));
        check(&[0, 10_000, 20_000], Some((2000, 10_000)));
        check(&[0, 5000, 10_000, 15_000], Some((1250, 10_000)));
        // Asked all the time, it keeps few readings and still spans the window, by at most an eighth too much.
        check(&(0..=300).map(|n| n * 100).collect::<Vec<_>>(), Some((2000, 10_500)));
        // A counter that starts anew is no use, never a huge one.
        let mut rate = Rate::default();
        rate.take(Duration::ZERO, 500, Duration::from_secs(1));
        assert_eq!(rate.take(Duration::from_secs(1), 100, Duration::from_secs(1)), Some((0, Duration::from_secs(1))));
    }
}
