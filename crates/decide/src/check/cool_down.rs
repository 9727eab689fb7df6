//! Are the cool-down and the back-off after harm over? Both are waived for what cannot wait, but for what was refused a moment ago.

use jiff::Timestamp;
use supple_resize::predict::Change;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, after, is_within};
use crate::code::Code;
use crate::key::PodKey;
use crate::recreated::Recreated;
use crate::refused::Refused;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let never_waits = matches!(draft.deed, Deed::RollBack(_) | Deed::Recreate(Code::StuckAfterKill));
    // What was asked of a node in vain begins a pause; the pod that is recreated for it comes with it all the same.
    let awaited = |it: &Recreated| it.otherwise.is_none() && it.until() > sight.now;
    let is_awaited = sight.siblings.is_some() && sight.subject.record.recreated.as_ref().is_some_and(awaited);
    let pause = sight.subject.record.pause(sight.now).filter(|_| !never_waits && !is_awaited);
    // What has to wait for the pause waits no shorter for this.
    if pause.is_none() || draft.is_urgent() {
        ask_again(sight, draft);
    }
    if never_waits {
        return;
    }
    let policy = sight.policy();
    if let Some((until, message)) = pause {
        draft.wait(Some(until), Saying::delayed(Check::CoolDown, Code::BackOff, message));
    } else if !sight.team.harms.is_empty() {
        // What is known of it from now on, and the pause that begins with it, hold in the next round.
        let message = "a resize of its workload did harm a moment ago";
        draft.wait(None, Saying::delayed(Check::CoolDown, Code::BackOff, message));
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

/// The same was refused a moment ago, of sizes: asked for again later.
fn ask_again(sight: &Sight<'_>, draft: &mut Draft) {
    if !draft.acts() || matches!(draft.deed, Deed::Recreate(_)) {
        return; // whether it is recreated is asked with all that a restart needs
    }
    let Some((until, saying)) = refused(sight, &draft.change(sight.pod), Check::CoolDown) else { return };
    draft.stop_until(Some(until), saying);
}

/// Until when this is not asked for because it was refused; no change: that the pod is recreated. Of a pod that is about to be created
/// nothing has been refused, though it be created in the place of one of which something was.
pub fn refused(sight: &Sight<'_>, change: &Change, check: Check) -> Option<(Timestamp, Saying)> {
    let refused = sight.scene.refused.get(&sight.pod.key);
    let refused = refused.filter(|it| it.until > sight.now && sight.siblings.is_none())?;
    let is_same = refused.covers(sight.pod, change, sight.policy().threshold_percent.value);
    is_same.then(|| until(refused, check))
}

/// Until when no pod of a workload is recreated because the server failed at that for one of them: it would fail at each, and one is enough
/// to find out whether it still does.
pub fn unanswered(sight: &Sight<'_>, check: Check) -> Option<(Timestamp, Saying)> {
    let Sight { scene, pod, now, .. } = *sight;
    let is_of_team = |it: &PodKey| scene.pods.get(it).is_some_and(|it| it.workload == pod.workload);
    let failed = |it: &Refused| it.code == Code::NoAnswer && it.until > now;
    let of_one = scene.refused.iter().find(|(key, it)| failed(it) && is_of_team(key));
    of_one.map(|(_, it)| until(it, check))
}

fn until(refused: &Refused, check: Check) -> (Timestamp, Saying) {
    let message = format!("{}; it is tried again at {:.0}", refused.message, refused.until);
    (refused.until, Saying::delayed(check, refused.code, message))
}
