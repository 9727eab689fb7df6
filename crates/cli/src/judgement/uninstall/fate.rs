//! What became of each pod, and what is to be done with it next. Pure.

use std::collections::BTreeMap;

use supple_controller::reason::Reason;
use supple_decide::facts::PodFacts;
use supple_decide::key::PodKey;
use supple_decide::note::Author;
use supple_resize::predict::Change;

use super::touched::keep_memory_limits;

/// How often one is tried that the cluster does not take: fewer times than it is looked.
const MOST_TRIES: u8 = 3;

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has its original sizes.
    Back,
    /// It has all of them but its memory limit.
    PartlyBack,
    /// Its memory limit cannot be lowered now; the rest is tried.
    LimitKept,
    /// It could not be put back.
    NotBack {
        /// How often it was tried.
        tries: u8,
        /// Its memory limit is not asked for any more.
        keeps_limit: bool,
    },
    /// Nothing says what it had.
    Unknown,
    /// There is no such pod any more.
    Gone,
    /// Somebody else has resized it since.
    LeftAlone,
}

impl Fate {
    /// As it stands in a pod's line.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Back => "restored",
            Self::PartlyBack => "partly restored",
            Self::LimitKept => "limit kept",
            Self::NotBack { .. } | Self::Unknown => "NOT restored",
            Self::Gone => "is gone",
            Self::LeftAlone => "unchanged",
        }
    }

    /// Whether its memory limit is not asked for any more.
    const fn keeps_limit(self) -> bool {
        matches!(self, Self::LimitKept | Self::PartlyBack | Self::NotBack { keeps_limit: true, .. })
    }

    /// Whether what was tried last did not come about.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::LimitKept | Self::NotBack { .. })
    }
}

/// The fate of every pod that has one.
#[derive(Debug, Default)]
pub struct Fates(BTreeMap<PodKey, Fate>);

impl Fates {
    /// What became of a pod so far.
    pub fn get(&self, pod: &PodKey) -> Option<Fate> {
        self.0.get(pod).copied()
    }

    /// What became of it now; what had become of it before.
    pub fn put(&mut self, pod: &PodKey, fate: Fate) -> Option<Fate> {
        self.0.insert(pod.clone(), fate)
    }

    /// The pods of such a fate.
    pub fn of(&self, is_such: impl Fn(Fate) -> bool) -> impl Iterator<Item = &PodKey> {
        self.0.iter().filter(move |it| is_such(*it.1)).map(|it| it.0)
    }
}

/// What is to be asked for a pod that `change` would put back, and by whom; nothing where there is nothing left to try. `gave_way`: since
/// the last try others were put back, so that a quota or a node may have room that it had not.
pub fn next(so_far: Option<Fate>, gave_way: bool, pod: &PodFacts, mut change: Change) -> Option<(Change, Author)> {
    if let Some(Fate::NotBack { tries, .. }) = so_far
        && (!gave_way || tries >= MOST_TRIES)
    {
        return None; // it would not go better a second later
    }
    // What is put back in part stays in our hand, or nobody would put back the rest.
    let by = if so_far.is_some_and(Fate::keeps_limit) {
        keep_memory_limits(pod, &mut change);
        Author::RollBack
    } else {
        Author::Restore
    };
    (!change.is_empty()).then_some((change, by))
}

/// What became of a pod of which something was asked, by the answer. `lowers`: its memory limit was to be lowered, which what it
/// uses may forbid.
pub fn after(so_far: Option<Fate>, answer: Reason, lowers: bool) -> Fate {
    let keeps_limit = so_far.is_some_and(Fate::keeps_limit);
    let tries = if let Some(Fate::NotBack { tries, .. }) = so_far { tries } else { 0 };
    match answer {
        Reason::PodGone | Reason::NoSuchPod => Fate::Gone,
        _ if answer.is_success() && keeps_limit => Fate::PartlyBack,
        _ if answer.is_success() => Fate::Back,
        _ if lowers => Fate::LimitKept,
        _ => Fate::NotBack { tries: tries.saturating_add(1), keeps_limit },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_BACK: Option<Fate> = Some(Fate::NotBack { tries: 2, keeps_limit: true });

    #[test]
    fn what_becomes_of_a_pod() {
        for (so_far, answer, lowers, expect) in [
            (None, Reason::Resized, true, Fate::Back),
            (None, Reason::NothingToChange, false, Fate::Back),
            (None, Reason::PodGone, true, Fate::Gone),
            (None, Reason::Refused, true, Fate::LimitKept),
            (None, Reason::Refused, false, Fate::NotBack { tries: 1, keeps_limit: false }),
            (NOT_BACK, Reason::Refused, false, Fate::NotBack { tries: 3, keeps_limit: true }),
            (NOT_BACK, Reason::Resized, false, Fate::PartlyBack),
            (Some(Fate::LimitKept), Reason::Resized, false, Fate::PartlyBack),
            (Some(Fate::LimitKept), Reason::Infeasible, false, Fate::NotBack { tries: 1, keeps_limit: true }),
            (Some(Fate::PartlyBack), Reason::Resized, false, Fate::PartlyBack),
            // It was resized once more before the switch was seen.
            (Some(Fate::Back), Reason::Resized, false, Fate::Back),
            (Some(Fate::Back), Reason::TimedOut, true, Fate::LimitKept),
        ] {
            assert_eq!(after(so_far, answer, lowers), expect, "{so_far:?} {answer} {lowers}");
        }
    }
}
