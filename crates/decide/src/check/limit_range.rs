//! Do the limit ranges allow it, ratios included? A bound of a container holds the number; anything else refuses it.

use k8s_openapi::api::core::v1::LimitRangeItem;
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::admission::limit_range;
use supple_resize::amounts::Resource;
use supple_resize::resources::{WireList, wire_quantity};

use crate::check::Check;
use crate::check::draft::{Draft, Pair, Saying, show};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let Some(namespace) = sight.scene.namespaces.get(&sight.pod.key.namespace) else { return };
    let ranges = &namespace.limit_ranges;
    if ranges.is_empty() || !draft.parts.iter().any(|it| it.changes()) {
        return;
    }
    let items = ranges.iter().flat_map(|it| it.spec.iter().flat_map(|it| &it.limits));
    for item in items.filter(|it| it.type_ == "Container") {
        for index in 0..draft.parts.len() {
            bound(sight, draft, index, item);
        }
    }
    let old = sight.pod.to_pod();
    let mut change = supple_resize::predict::Change::default();
    for (index, container) in sight.pod.containers.iter().enumerate() {
        let sizes = draft.next(sight.pod, index, |_| true).beyond(&container.asked);
        change.containers.insert(container.name.to_string(), sizes);
    }
    let Ok(mut new) = change.applied_to(&old) else { return };
    limit_range::default_pod(&mut new, ranges);
    if let Err(denial) = limit_range::validate_pod(&new, ranges) {
        draft.stop(Saying::refused(Check::LimitRange, Code::LimitRange, denial.message));
    }
}

/// Hold a part within a container's bounds.
fn bound(sight: &Sight<'_>, draft: &mut Draft, index: usize, item: &LimitRangeItem) {
    let part = &draft.parts[index];
    if !part.changes() {
        return;
    }
    let amount = |list: &Option<WireList>| {
        let wire = list.as_ref()?.get(part.resource.as_str())?;
        let exact = wire_quantity(wire);
        Some(match part.resource {
            Resource::Cpu => MilliCpu::from(&exact).0,
            Resource::Memory => Bytes::from(&exact).0,
        })
    };
    let (least, most) = (amount(&item.min), amount(&item.max));
    let hold = |it: i64| it.min(most.unwrap_or(i64::MAX)).max(least.unwrap_or(0));
    let held = Pair { request: part.next.request.map(hold), limit: part.next.limit.map(hold) };
    // A bound leads nowhere that was not wanted: not past what the container has, in the other direction.
    let (up, down) = (held.raises(part.now) && !part.raises(), held.lowers(part.now) && !part.lowers());
    if held == part.next || up || down {
        return;
    }
    let shown = |it: Option<i64>| it.map_or("none".to_owned(), |it| show(part.resource, it));
    let message = format!("{}: held between {} and {}", part.step(), shown(least), shown(most));
    let saying = Saying::clamped(Check::LimitRange, Code::LimitRange, message);
    draft.parts[index].next = held;
    draft.remark_part(sight.pod, index, saying);
}
