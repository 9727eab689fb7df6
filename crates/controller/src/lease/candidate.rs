//! What a candidate knows, and what it does next. Pure: a moment is the time since any one moment on the candidate's own clock.

use std::sync::Arc;
use std::time::Duration;

/// The times of an election, the same for all who take part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// A lease that has not changed for this long is free.
    pub lease: Duration,
    /// A leader that could not renew for this long leads no more; less than `lease`.
    pub renew_deadline: Duration,
    /// How often a leader renews, and the others look.
    pub retry: Duration,
}

impl Default for Times {
    /// Those of Kubernetes' own controllers.
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// A lease's holder may not promise to be back later than this: whatever stands in the object, it is free one day.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// A lease as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `spec.holderIdentity`; empty where it is free.
    pub holder: Arc<str>,
    /// `spec.leaseDurationSeconds`, where there is one.
    pub lease: Option<Duration>,
    /// `metadata.resourceVersion`
    pub version: Arc<str>,
}

/// A lease as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was found.
    pub found: Found,
    /// Since when it has been so, as far as we have seen.
    pub since: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write our name into the lease, if it is still as we have seen it.
    Claim,
    /// Write our name into it once more.
    Renew,
    /// Nothing before this moment, unless the lease changes.
    Wait(Duration),
    /// We led, and do not any more.
    Lost,
}

/// What a candidate does next.
///
/// `held` is when it sent the last claim or renewal that was accepted, if it leads.
#[must_use]
pub fn decide(lease: Option<&Seen>, me: &str, held: Option<Duration>, times: Times, now: Duration) -> Step {
    if let Some(sent) = held {
        let taken = lease.is_none_or(|it| it.found.holder.as_ref() != me);
        return if taken || now >= sent + times.renew_deadline {
            Step::Lost
        } else if now < sent + times.retry {
            Step::Wait(sent + times.retry)
        } else {
            Step::Renew
        };
    }
    let Some(Seen { found, since }) = lease else { return Step::Claim };
    // Our own name, though we do not lead: our claim was accepted and we were not told.
    if found.holder.is_empty() || found.holder.as_ref() == me {
        return Step::Claim;
    }
    let free = *since + found.lease.unwrap_or(times.lease).min(LONGEST_LEASE);
    if now >= free { Step::Claim } else { Step::Wait(free) }
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    me: Arc<str>,
    times: Times,
    pub(super) seen: Option<Seen>,
    pub(super) held: Option<Duration>,
}

impl Candidate {
    /// One of this name, which no other has, also not the same program after a restart.
    #[must_use]
    pub fn new(me: Arc<str>, times: Times) -> Self {
        Self { me, times, seen: None, held: None }
    }

    /// The lease was read.
    pub fn saw(&mut self, found: Option<Found>, now: Duration) {
        self.seen = match (found, self.seen.take()) {
            (None, _) => None,
            (Some(found), Some(seen)) if seen.found == found => Some(seen),
            (Some(found), _) => Some(Seen { found, since: now }),
        };
    }

    /// What to do now.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        decide(self.seen.as_ref(), &self.me, self.held, self.times, now)
    }

    /// A claim or renewal sent at `sent` was accepted; this is the lease now.
    pub fn wrote(&mut self, found: Found, sent: Duration) {
        self.seen = Some(Seen { found, since: sent });
        self.held = Some(sent);
    }

    /// It leads no more.
    pub fn lose(&mut self) {
        self.held = None;
    }

    /// Until when it may act as the leader, if it leads.
    #[must_use]
    pub fn acts_until(&self) -> Option<Duration> {
        self.held.map(|sent| sent + self.times.renew_deadline)
    }

    /// Who leads, as far as it has seen.
    #[must_use]
    pub fn leader(&self) -> Option<&Arc<str>> {
        self.seen.as_ref().map(|it| &it.found.holder).filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(it: u64) -> Duration {
        Duration::from_secs(it)
    }

    fn seen(holder: &str, since: u64) -> Option<Seen> {
        let found = Found { holder: holder.into(), lease: Some(seconds(15)), version: "1".into() };
        Some(Seen { found, since: seconds(since) })
    }

    #[track_caller]
    fn check(lease: Option<Seen>, held: Option<u64>, now: u64, expect: Step) {
        assert_eq!(decide(lease.as_ref(), "me", held.map(seconds), Times::default(), seconds(now)), expect);
    }

    #[test]
    fn a_candidate_takes_what_is_free() {
        check(None, None, 100, Step::Claim);
        check(seen("", 100), None, 100, Step::Claim);
        check(seen("other", 100), None, 114, Step::Wait(seconds(115)));
        check(seen("other", 100), None, 115, Step::Claim);
        check(seen("me", 100), None, 100, Step::Claim);
    }

    #[test]
    fn a_leader_renews_and_stops_in_time() {
        check(seen("me", 100), Some(100), 101, Step::Wait(seconds(102)));
        check(seen("me", 100), Some(100), 102, Step::Renew);
        check(seen("me", 100), Some(100), 109, Step::Renew);
        check(seen("me", 100), Some(100), 110, Step::Lost);
        check(seen("other", 100), Some(100), 101, Step::Lost);
        check(None, Some(100), 101, Step::Lost);
    }

    #[test]
    fn a_lease_is_free_one_day_whatever_stands_in_it() {
        let found = |lease| Found { holder: "x".into(), lease, version: "1".into() };
        let since = seconds(0);
        check(Some(Seen { found: found(Some(Duration::MAX)), since }), None, 599, Step::Wait(seconds(600)));
        check(Some(Seen { found: found(Some(Duration::MAX)), since }), None, 600, Step::Claim);
        check(Some(Seen { found: found(None), since }), None, 15, Step::Claim);
        check(Some(Seen { found: found(Some(Duration::ZERO)), since }), None, 0, Step::Claim);
    }

    #[test]
    fn it_counts_from_the_last_change_it_saw() {
        let mut candidate = Candidate::new("me".into(), Times::default());
        let found = |version: &str| Some(Found { holder: "x".into(), lease: None, version: version.into() });
        candidate.saw(found("1"), seconds(5));
        candidate.saw(found("1"), seconds(9));
        assert_eq!(candidate.step(seconds(9)), Step::Wait(seconds(20)));
        candidate.saw(found("2"), seconds(19));
        assert_eq!(candidate.step(seconds(20)), Step::Wait(seconds(34)));
        assert_eq!(candidate.leader().map(AsRef::as_ref), Some("x"));
    }
}
