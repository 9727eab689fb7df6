//! Are the cool-down and the back-off after harm over? Both are waived for what cannot wait.

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, after, is_within};
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if matches!(draft.deed, Deed::RollBack(_) | Deed::Recreate(Code::StuckAfterKill)) {
        return;
    }
    let policy = sight.policy();
    if let Some((until, message)) = sight.subject.record.pause(sight.now) {
        draft.wait(Some(until), Saying::delayed(Check::CoolDown, Code::BackOff, message));
    }
    let Some(note) = sight.pod.note.as_deref().filter(|it| it.generation < sight.pod.generation) else { return };
    let mut again = None;
    for index in 0..draft.parts.len() {
        let part = &draft.parts[index];
        if !part.changes() || part.urgent {
            continue;
        }
        let (setting, name) = match part.lowers() {
            true => (&policy.cool_down_down, "coolDown.down"),
            false => (&policy.cool_down_up, "coolDown.up"),
        };
        let until = after(note.at, setting.value);
        if is_within(note.at, setting.value, sight.now) {
            let message = format!("it was resized at {:.0}: it waits until {until:.0}", note.at);
            let saying = Saying::delayed(Check::CoolDown, Code::CoolDown, message).by(name, setting);
            draft.hold(sight.pod, index, saying);
            again = again.max(Some(until));
        }
    }
    if !draft.acts() {
        draft.again = draft.again.max(again);
    }
}
