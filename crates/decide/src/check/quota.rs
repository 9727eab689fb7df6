//! Does the quota have room, what others were given in the same round included? It is asked of the resources that it names.

use supple_resize::admission::quota;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::Change;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

/// What a quota can name of what is sized. It counts each by itself: what one of them has no room for is in the way of no other.
const COUNTED: [(Resource, Requirement); 4] = [
    (Resource::Cpu, Requirement::Request),
    (Resource::Cpu, Requirement::Limit),
    (Resource::Memory, Requirement::Request),
    (Resource::Memory, Requirement::Limit),
];

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let name = &sight.pod.key.namespace;
    if matches!(draft.deed, Deed::Recreate(_)) || sight.scene.namespaces.get(name).is_none_or(|it| it.quotas.is_empty())
    {
        return;
    }
    // Where nothing goes anyway it is asked of what would: whoever lifts the first obstacle is to know of this one.
    let hypothetical = !draft.acts();
    let counts = |it: &Part| if hypothetical { it.changes() } else { draft.goes(it) };
    if !draft.parts.iter().any(|it| counts(it) && it.raises()) {
        return; // only growth is charged
    }
    let old = sight.pod.to_pod();
    let quotas = sight.ledger.namespace(sight.scene, name).quotas;
    let denied = |change: &Change| {
        let new = change.applied_to(&old).ok()?;
        // One that is about to be created is charged as a whole.
        quota::check(&new, sight.siblings.is_none().then_some(&old), &quotas).err()
    };
    let change = |is_asked: &dyn Fn(Resource, Requirement) -> bool| change(sight, draft, &counts, is_asked);
    let Some(whole) = denied(&change(&|_, _| true)) else { return };
    let mut denials: Vec<_> = COUNTED
        .into_iter()
        .filter_map(|counted| Some((counted, denied(&change(&|resource, it| (resource, it) == counted))?.message)))
        .collect();
    if denials.is_empty() {
        denials = COUNTED.into_iter().map(|it| (it, whole.message.clone())).collect();
    }
    // What falls may go on; only what grows is in the way.
    let is_left = draft.hold_those_that_can_wait(sight.pod, |part, _| {
        let grows = |requirement| match requirement {
            Requirement::Request => part.next.request > part.now.request,
            Requirement::Limit => part.next.limit > part.now.limit,
        };
        let (_, message) = denials.iter().find(|((resource, it), _)| *resource == part.resource && grows(*it))?;
        Some(Saying::delayed(Check::Quota, Code::QuotaExceeded, message.clone()))
    });
    if is_left {
        ask(sight, draft);
    }
}

/// The request that carries out of the parts that count the numbers that are asked for, and nothing else.
fn change(
    sight: &Sight<'_>,
    draft: &Draft,
    counts: &dyn Fn(&Part) -> bool,
    is_asked: &dyn Fn(Resource, Requirement) -> bool,
) -> Change {
    let mut change = Change::default();
    for (index, container) in sight.pod.containers.iter().enumerate() {
        let next = draft.next(sight.pod, index, counts);
        let mut numbers = container.asked;
        for (resource, requirement) in COUNTED.into_iter().filter(|it| is_asked(it.0, it.1)) {
            numbers.set(resource, requirement, next.get(resource, requirement));
        }
        let sizes = numbers.beyond(&container.asked);
        if !sizes.is_empty() {
            change.containers.insert(container.name.to_string(), sizes);
        }
    }
    change
}
