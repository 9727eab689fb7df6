//! May one more pod be recreated for its sizes, or this one again? As of resizes: one pod goes first, the others when it has been well with
//! its sizes for `settle`, and none goes on before its cool-down is over. A pod that was sized as it was created was resized then.
//!
//! A rollout replaces all pods at once, as is its way: nobody goes first in it, and the next one waits as the next eviction does.

use jiff::Timestamp;

use crate::check::Check;
use crate::check::budget::is_proven;
use crate::check::draft::{Draft, Part, Saying};
use crate::check::restart::is_for_sizes;
use crate::check::sight::{Sight, after, is_within};
use crate::code::Code;
use crate::facts::{Phase, PodFacts};

/// Whether it is a step that is asked here: what cannot wait does not wait for this either.
fn is_step(draft: &Draft) -> bool {
    let mut changes = draft.parts.iter().filter(|it| it.changes()).peekable();
    is_for_sizes(draft.deed) && changes.peek().is_some() && !changes.any(|it| it.urgent)
}

/// The cool-down of its own sizes, where it was created with them, and until when.
pub fn cooling(sight: &Sight<'_>, draft: &Draft) -> Option<(Timestamp, Saying)> {
    let at = sight.pod.sized_at().filter(|_| is_step(draft))?;
    let policy = sight.policy();
    let (setting, name) = match draft.parts.iter().any(Part::lowers) {
        true => (&policy.cool_down_down, "coolDown.down"),
        false => (&policy.cool_down_up, "coolDown.up"),
    };
    is_within(at, setting.value, sight.now).then(|| {
        let until = after(at, setting.value);
        let message =
            format!("it was created with other sizes than its template's at {at:.0}: it waits until {until:.0}");
        (until, Saying::delayed(Check::Restart, Code::CoolDown, message).by(name, setting))
    })
}

/// Another one of its workload came with other sizes so lately that nobody knows how it does with them, and none is known to do well with
/// those of this one; and until when at least. Of what does not serve nothing is lost.
pub fn another_first(sight: &Sight<'_>, draft: &Draft) -> Option<(Timestamp, Saying)> {
    let settle = &sight.policy().settle;
    let is_new = |it: &PodFacts| it.sized_at().is_some() && !it.deleting && it.phase != Phase::Ended;
    let others = sight.team.pods.iter().filter(|it| it.key != sight.pod.key && is_new(it));
    let young = others.filter(|it| it.ready.is_none_or(|ready| is_within(ready, settle.value, sight.now)));
    let until = young.map(|it| after(it.ready.map_or(sight.now, Timestamp::from), settle.value)).max();
    let until = until.filter(|_| sight.pod.ready.is_some() && is_step(draft) && !is_proven(sight, draft))?;
    let message = "another pod of its workload goes first and is being watched";
    Some((until, Saying::delayed(Check::Restart, Code::CanarySettling, message).by("settle", settle)))
}
