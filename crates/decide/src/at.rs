//! A moment in eight bytes, with room for its absence: twenty thousand pods have half a dozen each.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroI64;

use jiff::Timestamp;

/// A moment, to the microsecond, which is as fine as the API of Kubernetes tells any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct At(NonZeroI64); // microseconds since 1970, the sign turned over: the one that would be 0 is 290,000 years ago

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        let turned = at.as_microsecond() ^ i64::MIN;
        Self(NonZeroI64::new(turned).expect("every timestamp is within 10,000 years of 1970"))
    }
}

impl From<At> for Timestamp {
    fn from(at: At) -> Self {
        Self::from_microsecond(at.0.get() ^ i64::MIN).expect("it was made of a timestamp")
    }
}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.get() ^ i64::MIN).cmp(&(other.0.get() ^ i64::MIN))
    }
}

impl PartialEq<Timestamp> for At {
    fn eq(&self, other: &Timestamp) -> bool {
        Timestamp::from(*self) == *other
    }
}

impl PartialOrd<Timestamp> for At {
    fn partial_cmp(&self, other: &Timestamp) -> Option<Ordering> {
        Timestamp::from(*self).partial_cmp(other)
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Timestamp::from(*self), f)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Timestamp::from(*self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_hold_any_moment_and_none() {
        assert_eq!((size_of::<Option<At>>(), size_of::<Option<Timestamp>>()), (8, 24));
        let all = ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2026-03-01T12:00:00.000001Z"];
        let all = all.map(|it| it.parse::<Timestamp>().unwrap());
        let all = [Timestamp::MIN].into_iter().chain(all).chain([Timestamp::MAX]);
        let moments: Vec<(Timestamp, At)> = all.map(|it| (it, it.into())).collect();
        assert!(moments.is_sorted_by(|a, b| a.1 < b.1 && a.1 < b.0));
        for (at, moment) in moments.into_iter().filter(|it| it.0 != Timestamp::MAX) {
            assert_eq!((Timestamp::from(moment), moment.to_string()), (at, at.to_string()));
        }
    }
}
