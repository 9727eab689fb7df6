//! Request and target of a horizontal autoscaler changed together, so that it scales at the same use as before. The pods of a
//! workload then change all at once or not at all, because the autoscaler looks at their mean.

use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::owner::adjustable;
use crate::code::Code;
use crate::facts::{Phase, PodFacts, Scaler};
use crate::policy::WithScaler;
use crate::scene::Subject;

/// The new target of a scaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// In percent, before.
    pub from: u32,
    /// In percent, afterwards.
    pub to: u32,
}

/// What the drafts of a workload's pods come to beside its scaler: the new target, where they may all change together. Where
/// they may not, the requests it reads are held in every one of them.
pub fn adjust(subject: &Subject, drafts: &mut [(&PodFacts, &mut Draft)]) -> Option<Target> {
    let setting = &subject.policy.with_scaler;
    let scaler = adjustable(&subject.facts.scalers).filter(|_| setting.value == WithScaler::Adjust)?;
    let reads = |pod: &PodFacts, part: &Part| {
        part.resource == Resource::Cpu
            && scaler.container.as_deref().is_none_or(|it| *it == *pod.containers[part.container].name)
    };
    let moves = |pod: &PodFacts, draft: &Draft, part: &Part| {
        draft.deed == Deed::Resize && reads(pod, part) && part.next.request != part.now.request
    };
    let any = drafts.iter().any(|(pod, draft)| draft.going().any(|it| moves(pod, draft, it)));
    if !any {
        return None;
    }
    let threshold = subject.policy.threshold_percent.value;
    let wants = |part: &Part| part.full.request != part.now.request && part.is_worth_it(threshold);
    let lives = |pod: &PodFacts| pod.phase != Phase::Ended && !pod.deleting;
    let blocked = drafts.iter().find(|(pod, draft)| {
        lives(pod)
            && draft.parts.iter().any(|it| reads(pod, it) && wants(it) && !(draft.goes(it) && moves(pod, draft, it)))
    });
    let refusal = match blocked {
        Some((pod, _)) => {
            let message = format!(
                "{}/{} looks at all pods of the workload, and {} cannot change now: all change together or none",
                scaler.kind.to_lowercase(),
                scaler.name,
                pod.key.name
            );
            Err(Saying::delayed(Check::Owner, Code::HorizontalScaler, message))
        }
        None => target(scaler, drafts, &lives, &reads),
    };
    match refusal {
        Ok(target) if target.from == target.to => None,
        Ok(target) => {
            for (pod, draft) in drafts.iter_mut() {
                let together = draft.going().any(|it| moves(pod, draft, it));
                draft.together = together;
            }
            Some(target)
        }
        Err(saying) => {
            let saying = saying.by("hpa", setting);
            for (pod, draft) in drafts.iter_mut() {
                hold(pod, draft, &saying);
            }
            None
        }
    }
}

/// Hold the CPU requests of a pod.
pub fn hold(pod: &PodFacts, draft: &mut Draft, saying: &Saying) {
    draft.together = false;
    if draft.deed == Deed::Resize {
        draft.hold_each(pod, |part, _| {
            (part.resource == Resource::Cpu && part.next.request != part.now.request).then(|| saying.clone())
        });
    }
}

/// The target at which it scales at the same use: of all its pods together, because it compares their use with the sum of
/// their requests.
fn target(
    scaler: &Scaler,
    drafts: &[(&PodFacts, &mut Draft)],
    lives: &dyn Fn(&PodFacts) -> bool,
    reads: &dyn Fn(&PodFacts, &Part) -> bool,
) -> Result<Target, Saying> {
    let from = scaler.cpu_utilization.unwrap_or_default();
    let (mut old, mut new) = (0_i128, 0_i128);
    for (pod, draft) in drafts.iter().filter(|it| lives(it.0)) {
        for part in draft.parts.iter().filter(|it| reads(pod, it)) {
            let next = if draft.goes(part) { part.next } else { part.now };
            old += i128::from(part.now.request.unwrap_or_default());
            new += i128::from(next.request.unwrap_or_default());
        }
    }
    let refused = |message: String| Saying::refused(Check::Owner, Code::HorizontalScaler, message);
    if new <= 0 {
        return Err(refused("its pods would request no CPU at all, and it could not scale any more".to_owned()));
    }
    let exact = (i128::from(from) * old * 2 + new).div_euclid(new * 2);
    let most = from.max(100);
    match u32::try_from(exact) {
        Ok(to) if (1..=most).contains(&to) => {
            Ok(Target { kind: scaler.kind.clone(), name: scaler.name.clone(), from, to })
        }
        _ => Err(refused(format!(
            "{}/{} would have to aim at {exact} % instead of {from} % to scale at the same use, and 1 to {most} % can be aimed at",
            scaler.kind.to_lowercase(),
            scaler.name
        ))),
    }
}
