//! Is the change worth it? Floors, ceilings and schedules are in the numbers already ([`crate::size`]).

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize {
        return;
    }
    let policy = sight.policy();
    let threshold = i64::from(policy.threshold_percent.value);
    draft.hold_each(sight.pod, |part, container| {
        let wanted = sight.wanted(container, part.resource);
        let at_risk = wanted.is_some_and(|it| part.now.request.is_some_and(|now| now < it.lower)) && part.raises();
        if part.urgent || at_risk || differs(part, threshold) {
            return None;
        }
        let message = format!("{} is a change of less than {threshold} %", part.step());
        Some(Saying::delayed(Check::Worth, Code::NotWorthIt, message).by("threshold", &policy.threshold_percent))
    });
}

fn differs(part: &Part, percent: i64) -> bool {
    let by = |now: Option<i64>, full: Option<i64>| {
        now.zip(full).is_some_and(|(now, full)| {
            let difference = (i128::from(full) - i128::from(now)).abs();
            difference > 0 && difference * 100 >= i128::from(now) * i128::from(percent)
        })
    };
    by(part.now.request, part.full.request) || by(part.now.limit, part.full.limit)
}
