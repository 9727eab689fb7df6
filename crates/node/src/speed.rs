//! How fast the clock of a simulated cluster runs beside the machine's: plain arithmetic, so that a day can be watched in
//! minutes. Whoever waits for a moment of that clock waits so many times shorter.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many seconds of the clock go by in one of the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(NonZeroU32);

impl Speed {
    /// Both clocks are the same: what every node has that runs something real.
    pub const REAL: Self = Self(NonZeroU32::MIN);

    /// So many times as fast.
    pub const fn times(times: NonZeroU32) -> Self {
        Self(times)
    }

    /// How many times as fast.
    pub const fn factor(self) -> u32 {
        self.0.get()
    }

    /// How long it takes on this machine until so much has gone by on the clock.
    pub fn wait(self, on_the_clock: Duration) -> Duration {
        on_the_clock / self.factor()
    }

    /// How much goes by on the clock while this passes on the machine.
    pub fn passed(self, on_the_machine: Duration) -> Duration {
        on_the_machine.saturating_mul(self.factor())
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::REAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_the_clock_is_a_second_of_the_machine() {
        let speed = Speed::times(NonZeroU32::new(60).unwrap());
        assert_eq!(speed.wait(Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(speed.passed(Duration::from_secs(1)), Duration::from_secs(60));
        assert_eq!(speed.passed(Duration::MAX), Duration::MAX);
        assert_eq!(Speed::default().wait(Duration::MAX), Duration::MAX);
    }
}
