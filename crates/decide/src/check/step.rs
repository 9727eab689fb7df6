//! Is the step within its cap? The numbers are held when they are made ([`crate::size`]), and said there in this check's name;
//! here only a step that is none is.

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize {
        return;
    }
    let steps = &sight.policy().steps;
    for index in 0..draft.parts.len() {
        let part = &draft.parts[index];
        // A cap of nothing holds everything: it is asked for what it would have been.
        if !part.changes() && part.full != part.now && steps.value.forbids(part) {
            let saying = Saying::refused(Check::Step, Code::StepCapped, "its step caps allow no change");
            draft.remark_part(sight.pod, index, saying.by("steps", steps));
        }
    }
}

impl crate::policy::StepCaps {
    fn forbids(&self, part: &crate::check::draft::Part) -> bool {
        let (up, down) = match part.resource {
            supple_resize::amounts::Resource::Cpu => (self.cpu_up, self.cpu_down),
            supple_resize::amounts::Resource::Memory => (self.memory_up, self.memory_down),
        };
        (part.full.raises(part.now) && up == Some(0)) || (part.full.lowers(part.now) && down == Some(0))
    }
}
