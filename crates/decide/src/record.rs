//! What is remembered of a workload between rounds and across restarts: small, serialised into the status of its
//! `Rightsizing`. What is under way is not here but on the pods themselves ([`crate::note`]), so that it cannot be forgotten.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::few::Few;
use crate::numbers::Numbers;
use crate::policy::Policy;
use crate::recreated::Recreated;

/// How many resizes are remembered of a workload.
pub const LAST_RESIZES: usize = 10;

/// For how long a size that did harm is remembered.
pub const TOO_SMALL_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// No pause after setbacks is longer than this.
pub const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// What is remembered of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// What each container of the newest pod that we touched asked for before; what an uninstall puts back where neither the pod nor a
    /// template says it.
    #[serde(skip_serializing_if = "Few::is_empty")]
    pub originals: Few<Arc<str>, Numbers>,
    /// The newest resizes, oldest first, at most [`LAST_RESIZES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<Done>,
    /// Sizes that proved too small.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub too_small: Vec<TooSmall>,
    /// How often in a row it came to harm or was refused: the cool-down doubles with each.
    pub setbacks: u32,
    /// Nothing but what is urgent is done before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Up to when incidents have been reckoned with: none counts twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents_until: Option<Timestamp>,
    /// Since when some pod of it has found no room on its node for what it is to have; `None`: all have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_room_since: Option<Timestamp>,
    /// What the last pod that was recreated for its sizes was to come back with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recreated: Option<Recreated>,
}

/// One resize that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// When it was asked for.
    pub at: Timestamp,
    /// Of which pod.
    pub pod: String,
    /// What changed, by container: before and after.
    pub containers: Few<Arc<str>, (Numbers, Numbers)>,
    /// How it ended.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
}

/// A size that came to harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TooSmall {
    /// Which container.
    pub container: String,
    /// The size at which it was harmed; only the numbers that are to be blamed.
    pub size: Numbers,
    /// When.
    pub at: Timestamp,
    /// Why it is blamed.
    pub code: Code,
}

impl Record {
    /// What two replicas remember of one workload, each of which may have written last: nothing that either did or suffered
    /// is forgotten, and of what was before us the first word counts, which is `self`'s.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        for (container, original) in other.originals {
            self.originals.get_or_insert_with(&container.clone(), || container, || original);
        }
        let new: Vec<Done> = other.last.into_iter().filter(|it| !self.last.contains(it)).collect();
        self.last.extend(new);
        self.last.sort_by_key(|it| it.at);
        let surplus = self.last.len().saturating_sub(LAST_RESIZES);
        self.last.drain(..surplus);
        let new: Vec<TooSmall> = other.too_small.into_iter().filter(|it| !self.too_small.contains(it)).collect();
        self.too_small.extend(new);
        self.setbacks = self.setbacks.max(other.setbacks);
        self.not_before = self.not_before.max(other.not_before);
        self.incidents_until = self.incidents_until.max(other.incidents_until);
        self.no_room_since = self.no_room_since.or(other.no_room_since);
        self.recreated = match (self.recreated, other.recreated) {
            // Of the same one, what either has seen of it.
            (Some(own), Some(it)) if own.at == it.at => {
                Some(Recreated { otherwise: it.otherwise.or(own.otherwise), ..it })
            }
            (Some(own), Some(it)) => Some(if own.at > it.at { own } else { it }),
            (own, it) => it.or(own),
        };
        self
    }

    /// It came to harm, or was refused for good: nothing but what is urgent is done for a while, and for twice as long each time.
    /// Not for errors that pass by themselves.
    pub fn set_back(&mut self, now: Timestamp, policy: &Policy) {
        self.setbacks = self.setbacks.saturating_add(1);
        let base = policy.cool_down_up.value.max(policy.cool_down_down.value).as_secs().max(1);
        let doubled = base.saturating_mul(1_i64.checked_shl(self.setbacks).filter(|it| *it > 0).unwrap_or(i64::MAX));
        let pause = SignedDuration::from_secs(doubled.min(LONGEST_PAUSE.as_secs()));
        self.not_before = Some(now.checked_add(pause).unwrap_or(Timestamp::MAX));
    }

    /// Until when nothing that can wait is tried after setbacks, and why, in a sentence; `None`: nothing holds it up.
    #[must_use]
    pub fn pause(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let longest = now.checked_add(LONGEST_PAUSE).unwrap_or(Timestamp::MAX);
        let until = self.not_before.filter(|it| *it > now && *it <= longest)?;
        let times = match self.setbacks {
            0 | 1 => String::new(),
            2 => " twice in a row".to_owned(),
            times => format!(" {times} times in a row"),
        };
        Some((
            until,
            format!(
                "resizes caused harm or were refused{times}: changes that can wait are not tried before \
                              {until:.0}"
            ),
        ))
    }

    /// Whether it has been said how the resize of this pod at this time ended.
    #[must_use]
    pub fn knows(&self, pod: &str, at: Timestamp) -> Option<&Done> {
        self.last.iter().find(|it| it.pod == pod && it.at == at)
    }

    /// Whether a resize of this time is older than all that are remembered: how it ended has been said and forgotten.
    #[must_use]
    pub fn is_forgotten(&self, at: Timestamp) -> bool {
        self.last.len() >= LAST_RESIZES && self.last.iter().all(|it| it.at >= at)
    }

    /// Remember how a resize ended, in place of what was said of the same one before.
    pub fn remember(&mut self, done: Done) {
        self.last.retain(|it| !(it.pod == done.pod && it.at == done.at));
        let place = self.last.partition_point(|it| (it.at, &it.pod) <= (done.at, &done.pod));
        self.last.insert(place, done);
        if self.last.len() > LAST_RESIZES {
            self.last.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use supple_quantity::MilliCpu;

    use super::*;

    #[test]
    fn each_setback_doubles_the_pause_and_says_until_when() {
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        let policy = Policy::default();
        let mut record = Record::default();
        let mut last = SignedDuration::ZERO;
        for expect in ["refused: changes", "refused twice in a row: changes", "refused 3 times in a row: changes"] {
            record.set_back(now, &policy);
            let (until, words) = record.pause(now).unwrap();
            let pause = until.duration_since(now);
            assert!(words.contains(expect) && words.ends_with(&format!("not tried before {until:.0}")), "{words}");
            assert!(last == SignedDuration::ZERO || pause == (last * 2).min(LONGEST_PAUSE), "{last} and then {pause}");
            last = pause;
            assert_eq!(record.pause(until), None);
        }
        assert_eq!(Record::default().pause(now), None);
    }

    #[test]
    fn of_two_records_nothing_is_forgotten() {
        let size = |milli| Numbers { cpu_request: Some(MilliCpu(milli)), ..Numbers::default() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let done = |second| Done {
            at: at(second),
            pod: "p".to_owned(),
            containers: Few::new(),
            code: Code::Resized,
            message: String::new(),
        };
        let originals = |all: &[(&str, i64)]| all.iter().map(|(name, it)| (Arc::from(*name), size(*it))).collect();
        let written = Record {
            originals: originals(&[("a", 100)]),
            last: (0..8).map(done).collect(),
            setbacks: 1,
            ..Record::default()
        };
        let own = Record {
            originals: originals(&[("a", 50), ("b", 200)]),
            last: (5..12).map(done).collect(),
            not_before: Some(at(9)),
            ..Record::default()
        };
        let merged = written.merged(own);
        assert_eq!(merged.originals, originals(&[("a", 100), ("b", 200)]), "the first word about each counts");
        let seconds: Vec<i64> = merged.last.iter().map(|it| it.at.as_second()).collect();
        assert_eq!(seconds, (2..12).collect::<Vec<i64>>());
        assert_eq!((merged.setbacks, merged.not_before), (1, Some(at(9))));
    }
}
