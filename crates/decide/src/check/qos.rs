//! Does the QoS class stay the same? It is part of what a pod was created as, and no resize may change it.

use supple_resize::qos::QosClass;

use crate::check::Check;
use crate::check::draft::{Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::size::is_guaranteed;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    match sight.pod.qos {
        QosClass::Guaranteed if sight.pod.pod_level.is_empty() => draft.hold_each(sight.pod, |part, _| {
            (part.next.request != part.next.limit).then(|| {
                let message = format!("{}: a Guaranteed pod's request stays equal to its limit", part.step());
                Saying::refused(Check::Qos, Code::QosChange, message)
            })
        }),
        QosClass::Burstable if is_guaranteed(sight, draft, |_, _| true) => draft.hold_each(sight.pod, |part, _| {
            let message = format!("{}: with every request equal to its limit the pod would be Guaranteed", part.step());
            Some(Saying::refused(Check::Qos, Code::QosChange, message))
        }),
        _ => {}
    }
}

/// A container that asks for nothing of what it needs: said once a container, because nothing can be proposed for it.
pub fn nothing_requested(sight: &Sight<'_>, draft: &mut Draft) {
    if sight.pod.qos != QosClass::BestEffort {
        return;
    }
    let index = draft.parts.iter().position(|it| it.wanted.is_some());
    if let Some(index) = index {
        let message = "it requests neither CPU nor memory: with requests it would no longer be BestEffort";
        draft.remark_part(sight.pod, index, Saying::refused(Check::Qos, Code::NothingRequested, message));
    }
}
