//! What became of each pod, and what is to be done with it next. Pure.

use std::collections::BTreeMap;

use supple_controller::reason::Reason;
use supple_decide::facts::PodFacts;
use supple_decide::key::PodKey;
use supple_decide::note::Author;
use supple_resize::predict::Change;

use super::touched::keep_memory_limits;

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
    NotBack,
    /// There is no such pod any more.
    Gone,
    /// Somebody else has resized it since.
    LeftAlone,
}

impl Fate {
    /// As it stands in a pod's line.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Back => "put back",
            Self::PartlyBack => "partly back",
            Self::LimitKept => "limit kept",
            Self::NotBack => "NOT put back",
            Self::Gone => "is gone",
            Self::LeftAlone => "left alone",
        }
    }

    /// Whether what was tried last did not come about.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::LimitKept | Self::NotBack)
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

    /// The pods of these fates.
    pub fn of(&self, fates: &[Fate]) -> impl Iterator<Item = &PodKey> {
        self.0.iter().filter(|it| fates.contains(it.1)).map(|it| it.0)
    }
}

/// What is to be asked for a pod that `change` would put back, and by whom; nothing where there is nothing left to try.
pub fn next(so_far: Option<Fate>, pod: &PodFacts, mut change: Change) -> Option<(Change, Author)> {
    let by = match so_far {
        // What could not be put back would not go better a second later.
        Some(Fate::NotBack) => return None,
        // What is put back in part stays in our hand, or nobody would put back the rest.
        Some(Fate::LimitKept | Fate::PartlyBack) => {
            keep_memory_limits(pod, &mut change);
            Author::RollBack
        }
        None | Some(Fate::Back | Fate::Gone | Fate::LeftAlone) => Author::Restore,
    };
    (!change.is_empty()).then_some((change, by))
}

/// What became of a pod of which something was asked, by the answer. `lowers`: its memory limit was to be lowered, which what it
/// uses may forbid.
pub const fn after(so_far: Option<Fate>, answer: Reason, lowers: bool) -> Fate {
    match answer {
        Reason::PodGone | Reason::NoSuchPod => Fate::Gone,
        _ if answer.is_success() => match so_far {
            Some(Fate::LimitKept | Fate::PartlyBack) => Fate::PartlyBack,
            _ => Fate::Back,
        },
        _ if lowers => Fate::LimitKept,
        _ => Fate::NotBack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_pod() {
        for (so_far, answer, lowers, expect) in [
            (None, Reason::Resized, true, Fate::Back),
            (None, Reason::NothingToChange, false, Fate::Back),
            (None, Reason::PodGone, true, Fate::Gone),
            (None, Reason::Refused, true, Fate::LimitKept),
            (None, Reason::Refused, false, Fate::NotBack),
            (Some(Fate::LimitKept), Reason::Resized, false, Fate::PartlyBack),
            (Some(Fate::LimitKept), Reason::Infeasible, false, Fate::NotBack),
            (Some(Fate::PartlyBack), Reason::Resized, false, Fate::PartlyBack),
            // It was resized once more before the switch was seen.
            (Some(Fate::Back), Reason::Resized, false, Fate::Back),
            (Some(Fate::Back), Reason::TimedOut, true, Fate::LimitKept),
        ] {
            assert_eq!(after(so_far, answer, lowers), expect, "{so_far:?} {answer} {lowers}");
        }
    }
}
