//! How long to wait before an owner whose plan failed is tried again: twice as long each time, a little apart from the
//! others that failed with it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::row::Id;

/// The first wait (reference: `DefaultTypedControllerRateLimiter`).
const FIRST: Duration = Duration::from_millis(5);

/// The longest one. The reference waits for up to a quarter of an hour, which on one machine nobody does.
const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row, by owner.
#[derive(Debug)]
pub(super) struct Backoff {
    seed: u64,
    failures: BTreeMap<Id, u32>,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, failures: BTreeMap::new() }
    }

    /// It failed: how long to wait. Up to a tenth of the wait is added, by chance that the seed decides.
    pub(super) fn failed(&mut self, id: &Id) -> Duration {
        let count = self.failures.entry(id.clone()).or_default();
        let wait = FIRST.saturating_mul(1_u32.checked_shl(*count).unwrap_or(u32::MAX)).min(LONGEST);
        *count = count.saturating_add(1);
        let mut hasher = DefaultHasher::new();
        (self.seed, id, *count).hash(&mut hasher);
        let permille = u32::try_from(hasher.finish() % 101).unwrap_or_default();
        wait + wait * permille / 1000
    }

    /// It went well.
    pub(super) fn forget(&mut self, id: &Id) {
        self.failures.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::{Key, Kind};
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let id = Id { kind: Kind::Job, key: Key::new("n", "j") };
        let mut backoff = Backoff::new(1);
        let mut bound = FIRST;
        for _ in 0..40 {
            let wait = backoff.failed(&id);
            assert!(wait >= bound && wait <= bound + bound / 10, "{wait:?} of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        backoff.forget(&id);
        assert!(backoff.failed(&id) < FIRST * 2);
    }

    #[test]
    fn who_failed_together_comes_back_apart() {
        let mut backoff = Backoff::new(1);
        let id = |name: &str| Id { kind: Kind::Job, key: Key::new("n", name) };
        let waits: std::collections::BTreeSet<Duration> =
            (0..20).map(|it| (0..9).map(|_| backoff.failed(&id(&it.to_string()))).sum()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
