//! Is the change worth it? Floors, ceilings and schedules are in the numbers already ([`crate::size`]).

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize {
        return;
    }
    let policy = sight.policy();
    let threshold = policy.threshold_percent.value;
    draft.hold_each(sight.pod, |part, _| {
        if part.is_worth_it(threshold) {
            return None;
        }
        Some(
            Saying::delayed(Check::Worth, Code::NotWorthIt, part.how_little(threshold))
                .by("threshold", &policy.threshold_percent),
        )
    });
}
