//! Does the node have room, including other resized pods and deferred resizes there?

use supple_resize::amounts::{Amounts, Requirement, Resource};

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying, show};
use crate::check::sight::{Sight, after};
use crate::code::Code;
use crate::ledger::{reservation, takes};
use crate::policy::Mode;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if matches!(draft.deed, Deed::Recreate(_)) {
        return;
    }
    let Some(name) = &sight.pod.node else { return };
    let Some(room) = sight.ledger.node(name) else {
        let message = format!("node {name} is unknown");
        return draft.stop(Saying::refused(Check::Room, Code::NodeUnsupported, message));
    };
    let passes = |it: &Part| it.urgent || (it.together && !draft.only_urgent);
    let some_pass = (draft.only_urgent || draft.rationed) && draft.parts.iter().any(|it| it.changes() && passes(it));
    let next = sight.whole(draft, |it| !some_pass || passes(it));
    let (promised, held, own) = (sight.pod.promised(), takes(sight.pod), reservation(sight.pod));
    for resource in [Resource::Cpu, Resource::Memory] {
        let get = |it: &Amounts| it.get(resource, Requirement::Request);
        if get(&next) <= get(&promised) {
            continue; // what stays or falls breaks no promise
        }
        let (capacity, used) = match resource {
            Resource::Cpu => (room.allocatable.cpu.0, room.used.cpu.0),
            Resource::Memory => (room.allocatable.memory.0, room.used.memory.0),
        };
        // What waits on the node has the room first, but not before what cannot wait.
        let urgent = draft.parts.iter().any(|it| it.resource == resource && it.urgent && it.raises());
        let kept = if urgent { 0 } else { get(&room.reserved).saturating_sub(get(&own)).max(0) };
        let others = used.saturating_sub(get(&held));
        let free = capacity.saturating_sub(others).saturating_sub(kept);
        let text = |amount: i64| show(resource, amount);
        let saying = if get(&next) > capacity {
            let message = format!(
                "the pod would request {} of {}, and node {name} has {} in total",
                text(get(&next)),
                resource.as_str(),
                text(capacity)
            );
            Saying::refused(Check::Room, Code::NodeCapacity, message)
        } else if get(&next) > free {
            let mut message = format!(
                "the pod would request {} of {}, and node {name} has {} free for it: others request {} of its {}",
                text(get(&next)),
                resource.as_str(),
                text(free.max(0)),
                text(others),
                text(capacity)
            );
            if kept > 0 {
                message.push_str(&format!(" and wait for {}", text(kept)));
            }
            Saying::delayed(Check::Room, Code::NoRoom, message)
        } else {
            continue;
        };
        if hold(sight, draft, resource, &saying) {
            return ask(sight, draft);
        }
    }
}

/// What grows in this resource stays as it is; or the pod is made anew elsewhere, where it has waited for long. Whether something is left
/// of it that cannot wait, and may have the room now.
fn hold(sight: &Sight<'_>, draft: &mut Draft, resource: Resource, saying: &Saying) -> bool {
    let patience = sight.policy().give_up_deferred.value;
    let waited = sight.subject.record.no_room_since.is_some_and(|it| after(it, patience) <= sight.now);
    let recreate = waited && sight.mode() == Mode::InPlaceOrRecreate && draft.deed == Deed::Resize && draft.acts();
    let is_left = draft.hold_those_that_can_wait(sight.pod, |part, _| {
        (part.resource == resource && part.next.request > part.now.request).then(|| saying.clone())
    });
    if recreate && !is_left {
        draft.deed = Deed::Recreate(saying.code);
    }
    is_left
}
