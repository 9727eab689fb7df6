//! Is the pod in another's hand? One hand moves a pod, and one autoscaler a request.

use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::facts::{ContainerFacts, Scaler};
use crate::hand::Hand;
use crate::policy::WithScaler;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if let Hand::Theirs(other) = &sight.pod.hand {
        let message = format!("it is managed by someone else: {other}");
        draft.stop(Saying::refused(Check::Owner, Code::OtherHand, message));
    }
    if let Some(other) = sight.subject.facts.other_vertical.first() {
        let message = format!("verticalpodautoscaler/{other} acts on the workload");
        draft.stop(Saying::refused(Check::Owner, Code::OtherVertical, message));
    }
    if draft.deed != Deed::Resize {
        return; // what was before is what the scaler was made for
    }
    let policy = sight.policy();
    draft.hold_each(sight.pod, |part, container| {
        let scaler = reading(&sight.subject.facts.scalers, part, container)?;
        let adjust = policy.with_scaler.value == WithScaler::Adjust && part.resource == Resource::Cpu;
        // Of a pod alone it cannot: its siblings would stay where they are, and the target is one for all of them.
        let alone = sight.siblings.is_some();
        if adjust && !alone && adjustable(&sight.subject.facts.scalers).is_some() {
            return None; // request and target change together: see `crate::scaler`
        }
        let percent = match part.resource {
            Resource::Cpu => scaler.cpu_utilization,
            Resource::Memory => scaler.memory_utilization,
        };
        let message = format!(
            "{}/{} scales at {} % of requested {}: another request would move that point",
            scaler.kind.to_lowercase(),
            scaler.name,
            percent.unwrap_or_default(),
            part.resource.as_str()
        );
        Some(Saying::refused(Check::Owner, Code::HorizontalScaler, message).by("hpa", &policy.with_scaler))
    });
}

/// The scaler that reads the request this part would change.
pub fn reading<'a>(scalers: &'a [Scaler], part: &Part, container: &ContainerFacts) -> Option<&'a Scaler> {
    if part.next.request == part.now.request {
        return None;
    }
    scalers.iter().find(|it| {
        let reads = match part.resource {
            Resource::Cpu => it.cpu_utilization.is_some(),
            Resource::Memory => it.memory_utilization.is_some(),
        };
        reads && it.container.as_deref().is_none_or(|it| *it == *container.name)
    })
}

/// The one scaler whose target can be changed: with two that read CPU it is not plain which of them decides, and what is made of
/// a `ScaledObject` is put back by its maker at once.
pub fn adjustable(scalers: &[Scaler]) -> Option<&Scaler> {
    let mut reading = scalers.iter().filter(|it| it.cpu_utilization.is_some());
    let one = reading.next()?;
    (reading.next().is_none() && one.kind == "HorizontalPodAutoscaler").then_some(one)
}
