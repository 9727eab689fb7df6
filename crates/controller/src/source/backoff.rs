//! How long to leave somebody in peace who did not answer. Pure: the dice are thrown outside and passed in.

use std::time::Duration;

/// Longer pauses after each failure, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// No pause is longer, but for one that the server itself asked for.
    pub longest: Duration,
}

/// Even a server is not believed that wants to be left alone for longer than this.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

impl Backoff {
    /// The pause after the `failures`th failure in a row: between half of what it comes to and all of it, by `dice`, so that
    /// many who failed together do not come back together. A pause that the server asked for (`Retry-After`) is kept.
    #[must_use]
    pub fn pause(&self, failures: u32, asked: Option<Duration>, dice: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        let half = whole / 2;
        let share = u128::from(dice) * (whole - half).as_nanos() / u128::from(u32::MAX);
        let thrown = half + Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX));
        thrown.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

/// Dice for those at the edge: different in every process and at every call, and good for nothing secret.
pub(crate) fn dice() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    let thrown = RandomState::new().hash_one(0);
    u32::try_from(thrown >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures: u32, asked: Option<u64>, dice: u32, millis: u128) {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        assert_eq!(backoff.pause(failures, asked.map(Duration::from_secs), dice).as_millis(), millis);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_dice_take_up_to_half_of_them() {
        check(1, None, 0, 500);
        check(1, None, u32::MAX, 1000);
        check(2, None, u32::MAX, 2000);
        check(4, None, u32::MAX / 2, 5999);
        check(7, None, u32::MAX, 60_000);
        check(u32::MAX, None, 0, 30_000);
        check(0, None, u32::MAX, 1000);
    }

    #[test]
    fn a_server_that_asks_for_peace_gets_it_but_not_for_ever() {
        check(1, Some(20), 0, 20_000);
        check(9, Some(20), u32::MAX, 60_000);
        check(1, Some(100_000), 0, 600_000);
    }
}
