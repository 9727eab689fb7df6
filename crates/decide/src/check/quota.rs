//! Does the quota have room, what others were given in the same round included?

use supple_resize::admission::quota;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let name = &sight.pod.key.namespace;
    if matches!(draft.deed, Deed::Recreate(_)) || sight.scene.namespaces.get(name).is_none_or(|it| it.quotas.is_empty())
    {
        return;
    }
    if !draft.going().any(|it| it.raises()) {
        return; // only growth is charged
    }
    let old = sight.pod.to_pod();
    let Ok(new) = draft.change(sight.pod).applied_to(&old) else { return };
    let quotas = sight.ledger.namespace(sight.scene, name).quotas;
    let Err(denial) = quota::check(&new, Some(&old), &quotas) else { return };
    // What falls may go on; only what grows is in the way.
    draft.hold_each(sight.pod, |part, _| {
        part.raises().then(|| Saying::delayed(Check::Quota, Code::QuotaExceeded, denial.message.clone()))
    });
}
