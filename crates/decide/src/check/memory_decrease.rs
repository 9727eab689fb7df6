//! May memory be lowered? What is used, now and within a day, is in the numbers already ([`crate::size`]); here is what forbids
//! to lower at all.

use supple_resize::amounts::Resource;
use supple_resize::qos::QosClass;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::limit_range::in_ratio;
use crate::check::sight::Sight;
use crate::code::Code;
use crate::names::APPROVE_MEMORY_DECREASE;
use crate::need::{PRESSURE_PERMILLE, THROTTLED_PERMILLE, Use, WAITED_PERMILLE};

/// The first minor version that lowers memory limits without a restart, of API server and kubelet.
const LOWERS_SINCE: u32 = 34;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if matches!(draft.deed, Deed::RollBack(_)) {
        return;
    }
    let policy = sight.policy();
    let words = [&sight.pod.words, &sight.subject.facts.words];
    let approved = words.iter().any(|it| it.get(APPROVE_MEMORY_DECREASE).is_some_and(|it| it == "true"));
    keep_limits(sight, draft);
    draft.hold_each(sight.pod, |part, container| {
        if !part.lowers() {
            return None;
        }
        let check = if part.resource == Resource::Cpu { Check::Worth } else { Check::MemoryDecrease };
        let veto = sight.wanted(container, part.resource).is_some_and(|it| it.veto);
        let used = sight.last_use(container);
        let at_least = |share: fn(&Use) -> Option<u16>, least| used.and_then(share).filter(|it| *it >= least);
        let throttled = || Some(("it is throttled in", at_least(|it| it.throttled_permille, THROTTLED_PERMILLE)?));
        let waited = || Some(("it waited for CPU in", at_least(|it| it.cpu_pressure_permille, WAITED_PERMILLE)?));
        let stalled =
            || Some(("it waited for memory in", at_least(|it| it.memory_pressure_permille, PRESSURE_PERMILLE)?));
        let pressed = match part.resource {
            Resource::Cpu => throttled().or_else(waited),
            Resource::Memory => stalled(),
        };
        if let Some((what, share)) = pressed {
            let message = format!("{what} {}.{} % of the time: nothing is lowered", share / 10, share % 10);
            return Some(Saying::delayed(check, Code::UnderPressure, message));
        }
        if veto {
            let message = format!("{} was short moments ago: nothing is lowered for now", part.resource.as_str());
            return Some(Saying::delayed(check, Code::UnderPressure, message));
        }
        if part.resource == Resource::Cpu {
            return None;
        }
        let swap = used.and_then(|it| it.swap).filter(|it| it.0 > 0 && part.next.lowers_limit(part.now));
        if let Some(swap) = swap {
            let shown = crate::numbers::show_measured_memory(swap);
            let message = format!("{shown} of swap is in use, and a lower limit leaves no room for it");
            return Some(Saying::delayed(Check::MemoryDecrease, Code::SwapInUse, message));
        }
        (policy.approve_memory_decrease.value && !approved).then(|| {
            let message = format!("{} waits for approval: annotate {APPROVE_MEMORY_DECREASE}=true", part.step());
            Saying::refused(Check::MemoryDecrease, Code::NeedsApproval, message)
                .by("approveMemoryDecrease", &policy.approve_memory_decrease)
        })
    });
}

/// API servers before 1.34 take no lower memory limit without a restart, and kubelets before it do not look at what is in use: the
/// request may fall, the limit stays.
fn keep_limits(sight: &Sight<'_>, draft: &mut Draft) {
    let Some(version) = sight.both().filter(|it| *it < LOWERS_SINCE) else { return };
    for index in 0..draft.parts.len() {
        let part = &mut draft.parts[index];
        let restarts = sight.pod.containers[part.container].restarts_for_memory;
        if part.resource != Resource::Memory || restarts || !part.next.lowers_limit(part.now) {
            continue;
        }
        let message = format!("{}: Kubernetes 1.{version} cannot lower a memory limit without a restart", part.step());
        if sight.pod.qos == QosClass::Guaranteed {
            let saying = Saying::refused(Check::MemoryDecrease, Code::LimitNotLowered, message);
            draft.hold(sight.pod, index, saying);
        } else {
            part.next.limit = part.now.limit;
            let ranges = sight.scene.namespaces.get(&sight.pod.key.namespace).map_or(&[][..], |it| &it.limit_ranges);
            part.next = in_ratio(ranges, part.resource, part.now, part.next, true);
            if part.next.raises(part.now) {
                part.next = part.now; // it is out of proportion as it is
            }
            let outcome = Saying::clamped(Check::MemoryDecrease, Code::LimitNotLowered, message);
            draft.remark_part(sight.pod, index, outcome);
            // What is left of the change has to be worth a resize by itself.
            let threshold = &sight.policy().threshold_percent;
            let part = &draft.parts[index];
            if draft.deed == Deed::Resize && part.changes() && !part.is_worth_it(threshold.value) {
                let saying = Saying::delayed(Check::MemoryDecrease, Code::NotWorthIt, part.how_little(threshold.value));
                draft.hold(sight.pod, index, saying.by("threshold", threshold));
            }
        }
    }
}
