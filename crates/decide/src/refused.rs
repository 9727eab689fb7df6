//! What was said no to a moment ago: asked for again at once it would be refused again, however urgent it is.

use jiff::Timestamp;
use supple_resize::predict::Change;

use crate::code::Code;
use crate::facts::PodFacts;
use crate::note::NUMBERS;
use crate::numbers::Numbers;

/// The last thing that was asked for a pod and refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The sizes that were asked for; none: that it is recreated.
    pub change: Change,
    /// How often in a row, this one left out.
    pub times: u32,
    /// It is not asked for again before.
    pub until: Timestamp,
    /// What stands in the way.
    pub code: Code,
    /// The sentence for people.
    pub message: String,
}

impl Refused {
    /// Whether what is asked for now is the same again: all that was refused, give or take what would not be worth a resize, or as much
    /// and more. A cap that is in the way of one gibibyte is in the way of two.
    #[must_use]
    pub fn covers(&self, pod: &PodFacts, change: &Change, threshold_percent: u32) -> bool {
        if self.change.is_empty() || change.is_empty() {
            return self.change.is_empty() && change.is_empty();
        }
        self.change.containers.iter().all(|(name, refused)| {
            let (refused, asked) = (Numbers::of(refused), change.containers.get(name).map(Numbers::of));
            let has = pod.containers.iter().find(|it| *it.name == **name).map(|it| it.asked).unwrap_or_default();
            NUMBERS.iter().all(|(resource, requirement)| {
                let Some(refused) = refused.get(*resource, *requirement) else { return true };
                let Some(asked) = asked.and_then(|it| it.get(*resource, *requirement)) else { return false };
                let has = has.get(*resource, *requirement).unwrap_or_default();
                let slack = i128::from(refused) * i128::from(threshold_percent) / 100;
                let (refused, asked, has) = (i128::from(refused), i128::from(asked), i128::from(has));
                let goes_as_far = if refused > has { asked + slack >= refused } else { asked - slack <= refused };
                asked.cmp(&has) == refused.cmp(&has) && goes_as_far
            })
        })
    }
}
