//! Do the limit ranges allow it, including ratios? A bound of a container holds the request, and the limit
//! goes with what is left of it; anything else refuses it.

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, Pod};
use supple_quantity::{Bytes, MilliCpu};
use supple_resize::admission::limit_range;
use supple_resize::amounts::{Requirement, Resource, containers};
use supple_resize::resources::{WireList, wire_quantity};

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Pair, Saying, show};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::policy::{Limits, Mode};
use crate::round::Outcome;
use crate::size::{harmful, limit_floor, limit_for, round_up, unit_of};

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let Some(namespace) = sight.scene.namespaces.get(&sight.pod.key.namespace) else { return };
    let ranges = &namespace.limit_ranges;
    if ranges.is_empty() || !draft.parts.iter().any(|it| it.changes()) {
        return;
    }
    for index in 0..draft.parts.len() {
        bound(sight, draft, index, ranges);
    }
    whole(sight, draft, ranges);
}

/// What is left of it, as the API server would have it.
fn whole(sight: &Sight<'_>, draft: &mut Draft, ranges: &[LimitRange]) {
    let old = sight.pod.to_pod();
    let mut change = supple_resize::predict::Change::default();
    for (index, container) in sight.pod.containers.iter().enumerate() {
        let sizes = draft.next(sight.pod, index, |_| true).beyond(&container.asked);
        change.containers.insert(container.name.to_string(), sizes);
    }
    let Ok(asked) = change.applied_to(&old) else { return };
    let mut new = asked.clone();
    limit_range::default_pod(&mut new, ranges);
    // What is made anew has the default in any case, whoever makes it, and what is taken back has to be taken back.
    let resizes = draft.deed == Deed::Resize && sight.mode() != Mode::Recreate && sight.siblings.is_none();
    if let Some(message) = imposed(&asked, &new).filter(|_| resizes) {
        let saying = Saying::refused(Check::LimitRange, Code::LimitRange, message);
        if sight.mode() != Mode::InPlaceOrRecreate || !draft.acts() {
            return draft.stop(saying);
        }
        draft.deed = Deed::Recreate(Code::LimitRange);
        draft.remark(Saying { outcome: Outcome::Clamped, ..saying });
    }
    let Err(denial) = limit_range::validate_pod(&new, ranges) else { return };
    let saying = Saying::refused(Check::LimitRange, Code::LimitRange, denial.message);
    // What holds for the pod as a whole may be kept by what cannot wait alone.
    if draft.hold_those_that_can_wait(sight.pod, |part, _| part.raises().then(|| saying.clone())) {
        whole(sight, draft, ranges);
    } else {
        draft.stop(saying);
    }
}

/// The limit or request that a container would have by the resize although nobody asked for it: of a pod that is older than the
/// defaults of a limit range, the API server fills them in when its resources are changed. No resize takes them away again.
fn imposed(asked: &Pod, new: &Pod) -> Option<String> {
    let added = |before: Option<&WireList>, after: Option<&WireList>| {
        let has = |name: &String| before.is_some_and(|it| it.contains_key(name));
        after?.iter().find(|(name, _)| !has(name)).map(|(name, amount)| (name.clone(), amount.0.clone()))
    };
    containers(asked).zip(containers(new)).find_map(|(asked, new)| {
        let (before, after) = (asked.resources.as_ref(), new.resources.as_ref()?);
        let limit = added(before.and_then(|it| it.limits.as_ref()), after.limits.as_ref()).map(|it| ("limit", it));
        let request = || added(before.and_then(|it| it.requests.as_ref()), after.requests.as_ref());
        let (what, (name, amount)) = limit.or_else(|| Some(("request", request()?)))?;
        Some(format!(
            "with any resize {} would get the {name} {what} {amount}, the default of a limit range, permanently: set a {what} in its \
             template, or restart the workload",
            new.name
        ))
    })
}

/// Hold a part within the bounds of all ranges for a container; its limit goes with the request that is left.
fn bound(sight: &Sight<'_>, draft: &mut Draft, index: usize, ranges: &[LimitRange]) {
    let part = &draft.parts[index];
    if !part.changes() {
        return;
    }
    let least = of_containers(ranges).filter_map(|it| amount(&it.min, part.resource)).max();
    let most = of_containers(ranges).filter_map(|it| amount(&it.max, part.resource)).min();
    let hold = |it: i64| it.min(most.unwrap_or(i64::MAX)).max(least.unwrap_or(0));
    let request = part.next.request.map(hold);
    let container = &sight.pod.containers[part.container];
    let raised = request.filter(|_| request > part.next.request).zip(sight.settings(container));
    let limit = raised.and_then(|(request, settings)| {
        limit_for(sight.subject, sight.pod, container, settings, part.resource, part.now, request)
    });
    let held = Pair { request, limit: part.next.limit.map(|it| hold(it.max(limit.unwrap_or(it)))) };
    let keeps_limit =
        sight.settings(container).is_some_and(|it| matches!(it.limits.value, Limits::Keep | Limits::None));
    let floor = limit_floor(sight, container, part.resource).map(|it| round_up(it.0, unit_of(part.resource)));
    // The limit gives way as far as what is in use. From there on the request follows it: from the whole limit it would only be
    // lowered again.
    let in_use = floor.min(part.now.limit);
    let follows = Pair { limit: held.limit.min(in_use), ..held };
    let held = Some(in_ratio(ranges, part.resource, part.now, held, keeps_limit))
        .filter(|it| it.limit >= in_use)
        .unwrap_or_else(|| in_ratio(ranges, part.resource, part.now, follows, true));
    // A bound leads nowhere that was not wanted: not below what is in use, nor to what is known to be too small, nor past what the
    // container has in the other direction.
    let harms = |requirement, now: Option<i64>, next: Option<i64>| {
        let size = harmful(sight, container, part.resource, requirement).map(|it| it.0);
        next < now && size.is_some() && next <= size
    };
    let harms = harms(Requirement::Request, part.now.request, held.request)
        || harms(Requirement::Limit, part.now.limit, held.limit);
    let (up, down) = (held.raises(part.now) && !part.raises(), held.lowers(part.now) && !part.lowers());
    if held == part.next || held.limit < in_use || harms || up || down {
        return;
    }
    let shown = |it: Option<i64>| it.map_or("none".to_owned(), |it| show(part.resource, it));
    let most_of_request = match steepest(ranges, part.resource) {
        Some(milli) => format!(", its limit at most {}.{:03} times its request", milli / 1000, milli % 1000),
        None => String::new(),
    };
    let message = format!("{}: held between {} and {}{most_of_request}", part.step(), shown(least), shown(most));
    let saying = Saying::clamped(Check::LimitRange, Code::LimitRange, message);
    // What is left of the whole way has to be worth a resize, too; where there is too little now, a hundredth is.
    let left = Pair { request: part.full.request.map(hold), limit: part.full.limit.map(hold) };
    let left = in_ratio(ranges, part.resource, part.now, left, keeps_limit);
    let left = left.of_what_moves(part.now, held);
    let threshold = &sight.policy().threshold_percent;
    let percent = part.threshold(threshold.value);
    let is_worth_it = held.is_other_than(part.now, percent) || left.is_other_than(part.now, percent);
    draft.parts[index].next = held;
    draft.remark_part(sight.pod, index, saying);
    if !is_worth_it {
        let message = "what the limit range leaves of the change is not worth a resize";
        let saying = Saying::delayed(Check::LimitRange, Code::NotWorthIt, message).by("threshold", threshold);
        draft.hold(sight.pod, index, saying);
    }
}

/// The most that a container in the pod's namespace may have, by the strictest of the ranges.
pub fn most(sight: &Sight<'_>, resource: Resource) -> Option<i64> {
    let namespace = sight.scene.namespaces.get(&sight.pod.key.namespace)?;
    of_containers(&namespace.limit_ranges).filter_map(|it| amount(&it.max, resource)).min()
}

fn of_containers(ranges: &[LimitRange]) -> impl Iterator<Item = &LimitRangeItem> {
    ranges.iter().flat_map(|it| it.spec.iter().flat_map(|it| &it.limits)).filter(|it| it.type_ == "Container")
}

fn amount(list: &Option<WireList>, resource: Resource) -> Option<i64> {
    let exact = wire_quantity(list.as_ref()?.get(resource.as_str())?);
    Some(match resource {
        Resource::Cpu => MilliCpu::from(&exact).0,
        Resource::Memory => Bytes::from(&exact).0,
    })
}

/// How many times its request the limit of a container may be, in thousandths, by the strictest of the ranges.
fn steepest(ranges: &[LimitRange], resource: Resource) -> Option<i64> {
    let ratios = of_containers(ranges).filter_map(|it| it.max_limit_request_ratio.as_ref()?.get(resource.as_str()));
    ratios.map(|it| MilliCpu::from(&wire_quantity(it)).0).min()
}

/// The sizes at which the limit is not too many times the request: it is rounded to whole units when it is made, and may have
/// become more than it was by that. The limit gives way, or where it is to stay the request does; neither further than to where
/// the other is, or than what the container has.
pub fn in_ratio(ranges: &[LimitRange], resource: Resource, now: Pair, next: Pair, keeps_limit: bool) -> Pair {
    let (Some(most), Some(request), Some(limit)) = (steepest(ranges, resource), next.request, next.limit) else {
        return next;
    };
    let (most, wide) = (i128::from(most), |it: i64| i128::from(it));
    if most <= 0 || wide(limit) * 1000 <= most * wide(request) {
        return next;
    }
    let narrow = |it: i128| i64::try_from(it).unwrap_or(i64::MAX);
    let held = if keeps_limit {
        let least = wide(limit) * 1000;
        Pair { request: Some(narrow(least.div_euclid(most) + i128::from(least.rem_euclid(most) != 0))), ..next }
    } else {
        let exact = narrow((most * wide(request)).div_euclid(1000));
        let whole = if resource == Resource::Memory { exact - exact.rem_euclid(1 << 20) } else { exact };
        Pair { limit: Some(if whole > request { whole } else { exact }), ..next }
    };
    // With a limit that comes to equal its request the pod might be of another class; what is out of proportion as it is stays so.
    let was_apart = now.limit > now.request;
    if was_apart && held.limit == held.request {
        // What is apart and in proportion now has at least so much; what has less is out of proportion as it is.
        return least_apart(most)
            .filter(|it| !keeps_limit && Some(it.0) <= now.request)
            .map_or(next, |it| Pair { request: Some(it.0.max(request)), limit: Some(it.1.max(request)) });
    }
    if held.limit < held.request { next } else { held }
}

/// The least request whose limit can be more than it and not more than `most` thousandths of it: 1000 and 1001 for 1.001 times.
fn least_apart(most: i128) -> Option<(i64, i64)> {
    let over = most.checked_sub(1000).filter(|it| *it > 0)?;
    let request = (1000 + over - 1) / over;
    Some((i64::try_from(request).ok()?, i64::try_from(most * request / 1000).ok()?))
}
