//! Did the last resize cause harm, or is the pod still being watched? Harm is taken back at once: the draft becomes a
//! roll-back.

use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Pair, Part, Saying};
use crate::check::sight::{Sight, after, is_watched};
use crate::code::Code;
use crate::facts::Noted;
use crate::settle::{TakenBack, former, judged, taken_back};

/// Before anything is asked: harm turns the draft into a roll-back, which is then asked about like any other change.
pub fn convert(sight: &Sight<'_>, draft: &mut Draft) {
    if let Some(harm) = sight.team.harms.get(&*sight.pod.key.name) {
        let Some(note) = sight.pod.note.as_deref().map(|it| judged(sight.pod, it)) else { return };
        let parts = former_parts(sight, &note, |it| taken_back(harm.code, &note, it));
        if !parts.is_empty() {
            take_back(draft, parts, Code::RollBack);
            draft.remark(Saying::clamped(Check::Settling, harm.code, harm.message.clone()));
        }
    }
}

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let settle = sight.policy().settle.value;
    let Some(note) = sight.pod.note.as_deref().filter(|_| draft.deed == Deed::Resize) else { return };
    if is_watched(sight.pod, settle, sight.now) && draft.has_change() {
        let until = after(note.at, settle);
        let message = format!("it is watched until {until:.0} after its resize at {:.0}", note.at);
        let saying = Saying::delayed(Check::Settling, Code::Settling, message);
        draft.wait(Some(until), saying.by("settle", &sight.policy().settle));
    }
}

/// The former numbers of a pod, as parts, by its note: of each resource, so much of what was changed.
pub fn former_parts(sight: &Sight<'_>, note: &Noted, what: impl Fn(Resource) -> TakenBack) -> Vec<Part> {
    let mut parts = Vec::new();
    for (index, container) in sight.pod.containers.iter().enumerate() {
        for resource in [Resource::Cpu, Resource::Memory] {
            let Some(next) = former(note, container, resource, what(resource)) else { continue };
            let now = Pair::of(&container.asked, resource);
            parts.push(Part {
                container: index,
                resource,
                now,
                next,
                full: next,
                wanted: None,
                held: None,
                urgent: true,
                at_risk: false,
                together: false,
            });
        }
    }
    parts
}

/// Make it a roll-back: what was on its way is dropped, with what was said of it.
pub fn take_back(draft: &mut Draft, parts: Vec<Part>, code: Code) {
    draft.parts = parts;
    draft.deed = Deed::RollBack(code);
    draft.second_best = None;
    draft.findings.retain(|it| it.container.is_none());
}
