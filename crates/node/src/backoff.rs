//! Exponential back-off: how long to wait before trying again something that keeps failing.
//!
//! Users with the same shape: crash-looping containers and images that cannot be pulled (10 s doubling to 5 min, forgotten
//! after 10 min, as the kubelet does), and failed actuations, checkpoints and API writes (shorter).

use jiff::{SignedDuration, Timestamp};

/// First wait, longest wait, and how long things must go well before the count starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    first: SignedDuration,
    longest: SignedDuration,
    forget_after: SignedDuration,
}

impl Schedule {
    /// A container that keeps ending: the kubelet's `CrashLoopBackOff`.
    pub(crate) const CRASH_LOOP: Self = Self {
        first: SignedDuration::from_secs(10),
        longest: SignedDuration::from_secs(300),
        forget_after: SignedDuration::from_secs(600),
    };

    /// An image that cannot be pulled: the kubelet's `ImagePullBackOff`.
    pub(crate) const IMAGE_PULL: Self = Self {
        first: SignedDuration::from_secs(10),
        longest: SignedDuration::from_secs(300),
        forget_after: SignedDuration::from_secs(600),
    };

    /// Something on this machine that failed and may soon work: a cgroup file, a checkpoint. Short, because the disk
    /// that was full may have room and the memory that was used may be free at any moment, and an attempt is cheap.
    pub(crate) const ACTUATION: Self = Self {
        first: SignedDuration::from_millis(500),
        longest: SignedDuration::from_secs(30),
        forget_after: SignedDuration::from_secs(60),
    };

    /// An API server that does not answer.
    pub(crate) const API: Self = Self {
        first: SignedDuration::from_millis(100),
        longest: SignedDuration::from_secs(10),
        forget_after: SignedDuration::from_secs(60),
    };
}

/// How often something failed in a row, and until when to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    wait: Option<SignedDuration>,
    last: Option<Timestamp>,
}

impl Backoff {
    /// It failed at `at`: the wait grows, or begins anew when the last failure is long past. Returns the wait.
    pub(crate) fn failed(&mut self, schedule: Schedule, at: Timestamp) -> SignedDuration {
        let forgotten = self.last.is_some_and(|last| at.duration_since(last) > schedule.forget_after);
        let wait = match self.wait {
            Some(wait) if !forgotten => (wait + wait).min(schedule.longest),
            _ => schedule.first,
        };
        self.wait = Some(wait);
        self.last = Some(at);
        wait
    }

    /// Until when to wait after an end at `ended`, and how long that wait is as a whole. `None`: no need to wait,
    /// because nothing failed yet or the last failure is long past.
    pub(crate) fn until(&self, schedule: Schedule, ended: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let (wait, last) = self.wait.zip(self.last)?;
        let forgotten = ended.duration_since(last) > schedule.forget_after;
        (!forgotten).then(|| (ended.checked_add(wait).unwrap_or(Timestamp::MAX), wait))
    }

    /// It worked, or what is tried has changed: start anew.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: Schedule, failures_at: &[i64], waits: &[i64]) {
        let mut backoff = Backoff::default();
        let got: Vec<_> = failures_at
            .iter()
            .map(|&s| backoff.failed(schedule, Timestamp::from_second(s).unwrap()).as_secs())
            .collect();
        assert_eq!(got, waits);
    }

    #[test]
    fn doubles_up_to_the_longest() {
        check(Schedule::CRASH_LOOP, &[0, 10, 30, 70, 150, 310, 610, 910], &[10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn begins_anew_after_a_long_good_run() {
        check(Schedule::CRASH_LOOP, &[0, 10, 611], &[10, 20, 10]);
        check(Schedule::CRASH_LOOP, &[0, 10, 610], &[10, 20, 40]);
    }
}
