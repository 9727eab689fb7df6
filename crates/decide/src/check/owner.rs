//! Is the pod in another's hand? One hand moves a pod, and one autoscaler a request.

use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::facts::{ContainerFacts, Metric, Scaler};
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
    let scalers = &sight.subject.facts.scalers;
    let adjusts = policy.with_scaler.value == WithScaler::Adjust;
    draft.hold_each(sight.pod, |part, container| {
        let (scaler, metric) = reading(scalers, part, container)?;
        let mut message = format!(
            "{}/{} scales{} at {} % of requested {}{}: another request would move that point",
            scaler.kind.to_lowercase(),
            scaler.name,
            scaler.through.as_ref().map(|it| format!(" {it}")).unwrap_or_default(),
            metric.percent,
            part.resource.as_str(),
            metric.container.as_ref().map(|it| format!(" of {it}")).unwrap_or_default(),
        );
        // Of a pod alone it cannot: its siblings would stay where they are, and the target is one for all of them.
        if adjusts && part.resource == Resource::Cpu && sight.siblings.is_none() {
            match adjustable(scalers) {
                Ok(_) => return None, // request and target change together: see `crate::scaler`
                Err(why) => message += &format!("; hpa: Adjust cannot move it along, because {why}"),
            }
        }
        Some(Saying::refused(Check::Owner, Code::HorizontalScaler, message).by("hpa", &policy.with_scaler))
    });
}

/// The scaler that reads the request this part would change, and by which of its metrics.
fn reading<'a>(scalers: &'a [Scaler], part: &Part, container: &ContainerFacts) -> Option<(&'a Scaler, &'a Metric)> {
    if part.next.request == part.now.request {
        return None;
    }
    let mut all = scalers.iter().flat_map(|scaler| scaler.metrics.iter().map(move |it| (scaler, it)));
    all.find(|(_, it)| it.reads(part.resource, &container.name))
}

/// The one scaler whose target can be changed, and its metric; else why none can: with two that read CPU it is not plain which of them
/// decides, what has a maker, as a `ScaledObject`, is put back by it at once, as is one that somebody has set back before, and one that
/// scales what the workload is made by looks at the mean of all that this has made.
pub fn adjustable(scalers: &[Scaler]) -> Result<(&Scaler, &Metric), String> {
    let count = scalers.iter().flat_map(|it| it.of(Resource::Cpu)).count();
    let one = scalers.iter().find_map(|it| Some((it, it.adjustable()?))).filter(|_| count == 1);
    let Some((scaler, metric)) = one else {
        return Err(format!("it needs exactly one CPU metric, and there are {count}"));
    };
    if let Some(through) = &scaler.through {
        Err(format!("it scales {through}, which may have other pods too"))
    } else if scaler.kind != "HorizontalPodAutoscaler" {
        Err(format!("whoever made it from {}/{} would set it back", scaler.kind.to_lowercase(), scaler.name))
    } else {
        scaler.set_back().map_or(Ok((scaler, metric)), Err)
    }
}
