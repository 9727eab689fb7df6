//! Is the node free of pressure? One that is short of something takes nothing more on, except in haste; what falls helps it.

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let Some(node) = sight.node() else { return };
    if !node.ready {
        let saying = Saying::delayed(Check::NodePressure, Code::NodeNotReady, "its node is not ready");
        return draft.stop(saying);
    }
    if node.pressure.is_empty() || draft.deed != Deed::Resize {
        return;
    }
    let message = format!("its node is under pressure: {}", node.pressure.join(", "));
    draft.hold_each(sight.pod, |part, _| {
        (part.raises() && !part.urgent)
            .then(|| Saying::delayed(Check::NodePressure, Code::NodePressure, message.clone()))
    });
}
