//! What a container is to have, before anybody asks whether it may: wanted, headroom, what proved too small, schedules,
//! bounds, limits, steps. All in integers; what holds a number is said in the name of its check.
//!
//! ```text
//! wanted ─▶ headroom ─▶ own use ─▶ schedules ─▶ bounds ─▶ known too small ─▶ rounding ─▶ step ─▶ limit by strategy ─▶ QoS kept
//! ```

use jiff::{SignedDuration, Timestamp};
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::qos::QosClass;
use supple_resize::resources::ContainerKind;

use crate::check::Check;
use crate::check::draft::{Draft, Pair, Part, Saying, show};
use crate::check::limit_range;
use crate::check::sight::{Sight, after};
use crate::code::Code;
use crate::create::Reach;
use crate::facts::{ContainerFacts, PodFacts};
use crate::hand::Hand;
use crate::need::{PRESSURE_PERMILLE, THROTTLED_PERMILLE, WAITED_PERMILLE, Wanted};
use crate::numbers::Numbers;
use crate::policy::{ContainerSettings, CpuAndMemory, Limits};
use crate::record::{TOO_SMALL_KEPT, TooSmall};
use crate::scene::Subject;

/// Memory is asked for in whole MiB: a smaller step is noise to every reader.
const MIB: i64 = 1 << 20;

/// Nothing is lowered below this: less is not worth the risk that the process does not start again.
const LEAST_CPU: i64 = 10;
const LEAST_MEMORY: i64 = 16 * MIB;

/// A limit stays above what is used by this share of it, in percent, and by at least so many bytes.
const MARGIN_PERCENT: i64 = 10;
const LEAST_MARGIN: i64 = 8 * MIB;

/// A size that did harm is stayed above by this share of it, in percent.
const ABOVE_HARM_PERCENT: i64 = 20;

/// A container that uses less than this share of its size, in percent, is not the one that cannot wait.
const NEAR_PERCENT: i64 = 80;

/// What is told of as a share of time speaks of up to a minute: of sizes in force for less than that it says nothing.
const ECHO: SignedDuration = SignedDuration::from_mins(1);

/// A container that was killed for want of memory so lately cannot wait.
const KILLED_LATELY: SignedDuration = SignedDuration::from_mins(10);

/// The draft of a pod: every number that is ours, and what it should be.
pub fn propose(sight: &Sight<'_>) -> Draft {
    let is_judged = |it: &ContainerFacts| it.kind != ContainerKind::Init && !it.done;
    let judged = sight.pod.containers.iter().enumerate().filter(|(_, it)| is_judged(it));
    let mut parts = Vec::with_capacity(2 * judged.clone().count());
    parts.extend(judged.flat_map(|(container, it)| {
        [Resource::Cpu, Resource::Memory].map(|resource| {
            let now = Pair::of(&it.asked, resource);
            Part {
                container,
                resource,
                now,
                next: now,
                full: now,
                wanted: None,
                held: None,
                urgent: false,
                at_risk: false,
                together: false,
            }
        })
    }));
    let mut draft = Draft::new(parts);
    for index in 0..draft.parts.len() {
        let part = &draft.parts[index];
        let container = &sight.pod.containers[part.container];
        let Some(settings) = sight.settings(container) else { continue };
        let Some(wanted) = sight.wanted(container, part.resource) else { continue };
        let mut sizing =
            Sizing { sight, container, settings, resource: part.resource, now: part.now, said: Vec::new() };
        let sized = sizing.size(&wanted);
        let said = std::mem::take(&mut sizing.said);
        let part = &mut draft.parts[index];
        part.wanted = Some(wanted.target);
        (part.next, part.full, part.urgent) = sized;
        part.at_risk = part.now.request.is_some_and(|it| it < wanted.lower) && part.raises();
        if part.changes() {
            for saying in said {
                draft.remark_part(sight.pod, index, saying);
            }
        } else if let Some(saying) = said.into_iter().next() {
            draft.remark_part(sight.pod, index, saying);
        }
    }
    keep_class(sight, &mut draft, |_, part| part.changes());
    draft
}

/// One number on its way.
struct Sizing<'a> {
    sight: &'a Sight<'a>,
    container: &'a ContainerFacts,
    settings: &'a ContainerSettings,
    resource: Resource,
    now: Pair,
    said: Vec<Saying>,
}

impl Sizing<'_> {
    /// What it is to have, what it would have without a step cap, and whether it cannot wait.
    fn size(&mut self, wanted: &Wanted<i64>) -> (Pair, Pair, bool) {
        let Some(now) = self.now.request else {
            return (self.now, self.now, false); // what was not asked for cannot be taken back once it is
        };
        let policy = self.sight.policy();
        let headroom = match self.resource {
            Resource::Cpu => policy.cpu_headroom_percent.value,
            Resource::Memory => policy.memory_headroom_percent.value,
        };
        let mut request = more(wanted.target.max(1), i64::from(headroom));
        request = self.above_use(request);
        let first = self.said.len();
        request = self.scheduled(request);
        request = self.bounded(request);
        let last = self.said.len();
        // No ceiling leads back to what did harm: it would be taken back, tried again and taken back, for ever.
        request = self.above_harm(request, Requirement::Request, self.now.request);
        if self.said.len() > last {
            self.said.drain(first..last); // what they said came to nothing
        }
        request = self.least(request);
        request = self.rounded(request);
        let urgent = wanted.urgent && self.is_pressing(wanted);
        let full = Pair { request: Some(request), limit: self.limit(request) };
        let request = if urgent && request > now { request } else { self.stepped(request, now) };
        let (request, limit) = self.with_limit(request, urgent);
        let next = Pair { request: Some(request), limit };
        (next, full, urgent && next.raises(self.now))
    }

    fn say(&mut self, check: Check, code: Code, from: i64, to: i64, why: impl std::fmt::Display) {
        let (from, to) = (show(self.resource, from), show(self.resource, to));
        self.said.push(Saying::clamped(check, code, format!("{from} becomes {to}: {why}")));
    }

    /// Above a size that did harm, as far as that forbids to go down.
    fn above_harm(&mut self, amount: i64, requirement: Requirement, now: Option<i64>) -> i64 {
        let Some(now) = now.filter(|now| amount < *now) else { return amount };
        let Some((size, because)) = harmful(self.sight, self.container, self.resource, requirement) else {
            return amount;
        };
        let floor = self.round(more(size, ABOVE_HARM_PERCENT)).min(now);
        if amount < floor {
            let why = format!("{} caused harm ({}) at {:.0}", show(self.resource, size), because.code, because.at);
            self.say(Check::Worth, Code::KnownTooSmall, amount, floor, why);
        }
        amount.max(floor)
    }

    /// Above what this very pod uses: it may use more than the others of its workload.
    fn above_use(&mut self, amount: i64) -> i64 {
        let Some(now) = self.now.request.filter(|now| amount < *now) else { return amount };
        let Some((floor, why)) = use_floor(self.sight, self.container, self.resource) else { return amount };
        let floor = self.round(floor).min(now);
        if amount < floor {
            self.say(Check::MemoryDecrease, Code::BelowUse, amount, floor, why);
        }
        amount.max(floor)
    }

    /// Within the schedules that hold now, one after the other; in each the ceiling holds against its own floor, as everywhere.
    fn scheduled(&mut self, mut amount: i64) -> i64 {
        let now = self.sight.now;
        let policy = self.sight.policy();
        let holds = |spans: &[(jiff::Timestamp, jiff::Timestamp)]| spans.iter().any(|it| it.0 <= now && now < it.1);
        for schedule in policy.schedules.value.iter().filter(|it| holds(&it.spans)) {
            let said = |list: &std::collections::BTreeMap<std::sync::Arc<str>, CpuAndMemory>| {
                list.get(&self.container.name).or_else(|| list.get("*")).and_then(|it| it.get(self.resource))
            };
            let (least, most) = (said(&schedule.at_least), said(&schedule.at_most));
            let held = amount.max(least.unwrap_or(0)).min(most.unwrap_or(i64::MAX));
            if held != amount {
                self.say(
                    Check::Worth,
                    Code::Scheduled,
                    amount,
                    held,
                    format_args!("schedule {:?} holds", schedule.text),
                );
                self.set_by("schedules", &policy.schedules.origin);
                amount = held;
            }
        }
        amount
    }

    /// Within what its policy allows. Bounds of two layers may contradict each other, which no rule of either object can see: then the
    /// ceiling holds, as within one layer.
    fn bounded(&mut self, amount: i64) -> i64 {
        let least = self.settings.at_least.get(self.resource).unwrap_or(0);
        let most = self.settings.at_most.get(self.resource).unwrap_or(i64::MAX);
        let held = amount.max(least).min(most);
        if least > most && held != amount {
            let why = format!("maxAllowed, which is less than minAllowed ({})", show(self.resource, least));
            self.say(Check::Worth, Code::AtMost, amount, held, why);
        } else if held < amount {
            self.say(Check::Worth, Code::AtMost, amount, held, "maxAllowed");
        } else if held > amount {
            self.say(Check::Worth, Code::AtLeast, amount, held, "minAllowed");
        }
        held
    }

    fn set_by(&mut self, name: &str, origin: &crate::policy::Origin) {
        if let Some(last) = self.said.last_mut() {
            last.setting = Some(format!("{name} ({origin})"));
        }
    }

    /// Never lowered below what no process can do with.
    fn least(&self, amount: i64) -> i64 {
        let least = match self.resource {
            Resource::Cpu => LEAST_CPU,
            Resource::Memory => LEAST_MEMORY,
        };
        let most = self.settings.at_most.get(self.resource).unwrap_or(i64::MAX);
        match self.now.request {
            Some(now) if amount < now => amount.max(least.min(now)).min(most.max(amount)),
            _ => amount,
        }
    }

    fn unit(&self) -> i64 {
        unit_of(self.resource)
    }

    fn round(&self, amount: i64) -> i64 {
        round_up(amount, self.unit())
    }

    /// In whole units, unless that would lead over the most that is allowed; and what is only a rounding off is none.
    fn rounded(&self, amount: i64) -> i64 {
        let rounded = self.round(amount);
        let most = self.settings.at_most.get(self.resource).unwrap_or(i64::MAX);
        let kept = if rounded > most { amount } else { rounded };
        match self.now.request {
            Some(now) if now >= amount && now < kept => now,
            _ => kept,
        }
    }

    /// No further from what is in force than a step may go.
    fn stepped(&mut self, amount: i64, now: i64) -> i64 {
        let policy = self.sight.policy();
        let capped = self.cap(Requirement::Request, amount, now);
        if capped != amount {
            self.say(Check::Step, Code::StepCapped, amount, capped, "the rest follows in later steps");
            self.set_by("steps", &policy.steps.origin);
        }
        capped
    }

    /// Held within a step of what is in force: for one that is not there yet, of what its siblings have, down from the least and up
    /// from the most of them; and as far as those are that have it too lately for a further step.
    fn cap(&self, requirement: Requirement, amount: i64, now: i64) -> i64 {
        let steps = &self.sight.policy().steps.value;
        let (up, down) = match self.resource {
            Resource::Cpu => (steps.cpu_up, steps.cpu_down),
            Resource::Memory => (steps.memory_up, steps.memory_down),
        };
        let Reach { seen: (least, most), all: (low, high) } = match self.sight.siblings {
            Some(siblings) => siblings.reach(&self.container.name, self.resource, requirement, now),
            None => Reach { seen: (now, now), all: (now, now) },
        };
        let highest = up.map_or(i64::MAX, |it| self.round(more(most, i64::from(it))).max(high));
        let lowest = down.map_or(0, |it| self.round(less(least, i64::from(it))).min(least).min(low));
        amount.clamp(lowest.min(now), highest.max(now))
    }

    /// The limit for a request, by strategy alone.
    fn limit(&self, request: i64) -> Option<i64> {
        let Self { sight, container, settings, resource, now, .. } = self;
        limit_for(sight.subject, sight.pod, container, settings, *resource, *now, request)
    }

    /// The request as far as its limit lets it, and the limit that belongs to it: not below use, nor a size that did harm, nor
    /// further than a step may go.
    fn with_limit(&mut self, mut request: i64, urgent: bool) -> (i64, Option<i64>) {
        let Some(old) = self.now.limit else { return (request, None) };
        if self.settings.limits.value == Limits::Keep {
            let kept = request.min(old);
            if kept != request {
                self.say(Check::Worth, Code::LimitKept, request, kept, "its limit stays");
                self.set_by("limits", &self.settings.limits.origin.clone());
            }
            return (kept, Some(old));
        }
        let mut limit = self.limit(request).unwrap_or(old);
        if limit < old {
            limit = self.above_harm(limit, Requirement::Limit, Some(old));
            if let Some((floor, why)) = limit_floor(self.sight, self.container, self.resource) {
                let floor = self.round(floor).min(old);
                if limit < floor {
                    self.say(Check::MemoryDecrease, Code::BelowUse, limit, floor, why);
                    limit = floor;
                }
            }
        }
        if !(urgent && limit > old) {
            limit = self.cap(Requirement::Limit, limit, old);
        }
        limit = limit.max(request);
        if self.sight.pod.qos == QosClass::Guaranteed {
            request = limit; // what holds one holds the other
        }
        (request, Some(limit))
    }

    /// Whether it is this pod that cannot wait: a need is one for all pods of a workload, and its haste one pod's. Where
    /// nothing is known of this pod's use, it cannot wait either.
    fn is_pressing(&self, wanted: &Wanted<i64>) -> bool {
        let Some(used) = self.sight.fresh_use(self.container) else { return true };
        let near = |used: i64| {
            let size = self.now.limit.or(self.now.request).unwrap_or(0);
            i128::from(used) * 100 >= i128::from(size) * i128::from(NEAR_PERCENT)
        };
        let told = used.details_at.unwrap_or(used.at);
        match self.resource {
            // More CPU than it asked for harms nobody as long as the node has it to spare. What harms is to be kept waiting for it,
            // by its limit or by others; where nobody tells, being at the limit is as good as being held by it.
            // And a size that is known to be too small has harmed for a while already: it is raised in turn, the first pod first.
            Resource::Cpu
                if self.now.request.is_some_and(|it| it < wanted.lower) || !self.is_since_resized(told, ECHO) =>
            {
                false
            }
            Resource::Cpu => match (used.throttled_permille, used.cpu_pressure_permille) {
                (Some(throttled), waited) => {
                    throttled >= THROTTLED_PERMILLE || waited.is_some_and(|it| it >= WAITED_PERMILLE)
                }
                (None, Some(waited)) => waited >= WAITED_PERMILLE, // who is held by a limit waits as well
                (None, None) => self.now.limit.is_some() && used.cpu.is_none_or(|it| near(it.0)),
            },
            Resource::Memory => {
                let killed = self
                    .container
                    .last_end
                    .filter(|it| it.out_of_memory && self.is_since_resized(it.at, SignedDuration::ZERO));
                killed.is_some_and(|it| after(it.at, KILLED_LATELY) >= self.sight.now)
                    || (used.memory_pressure_permille.is_some_and(|it| it >= PRESSURE_PERMILLE)
                        && self.is_since_resized(told, ECHO))
                    || used.memory.is_none_or(|it| near(it.0))
                    || used.memory_charged.is_some_and(|it| near(it.0))
            }
        }
    }

    /// Whether a moment is so long after the last resize: what was suffered before was suffered at other sizes, and one answer to it is
    /// enough.
    fn is_since_resized(&self, at: Timestamp, by: SignedDuration) -> bool {
        let note = self.sight.pod.note.as_deref().filter(|it| it.generation < self.sight.pod.generation);
        note.is_none_or(|it| at >= after(it.at, by))
    }
}

/// The largest size of a container that is known to be too small, with what is known of it.
pub fn harmful<'a>(
    sight: &'a Sight<'_>,
    container: &ContainerFacts,
    resource: Resource,
    requirement: Requirement,
) -> Option<(i64, &'a TooSmall)> {
    let known = sight.subject.record.too_small.iter();
    let known = known.filter(|it| *it.container == *container.name && after(it.at, TOO_SMALL_KEPT) > sight.now);
    known.filter_map(|it| Some((it.size.get(resource, requirement)?, it))).max_by_key(|(size, it)| (*size, it.at))
}

/// The least memory for what is used and was used within a day, with a margin.
fn use_floor(sight: &Sight<'_>, container: &ContainerFacts, resource: Resource) -> Option<(i64, String)> {
    let used = sight.last_use(container).filter(|_| resource == Resource::Memory)?;
    let highest = used.memory_peak.max(used.memory)?;
    let margin = more(highest.0, MARGIN_PERCENT).saturating_sub(highest.0).max(LEAST_MARGIN);
    let shown = crate::numbers::show_measured_memory(highest);
    let what = if used.memory_peak > used.memory { "was used within the last day" } else { "is used" };
    Some((highest.0.saturating_add(margin), format!("{shown} {what}")))
}

/// The least limit: above use with a margin, and above the whole charge, page cache included, because a node refuses to
/// go below that even though the kernel could give the cache back.
pub fn limit_floor(sight: &Sight<'_>, container: &ContainerFacts, resource: Resource) -> Option<(i64, String)> {
    let by_use = use_floor(sight, container, resource);
    let used = sight.last_use(container).filter(|_| resource == Resource::Memory)?;
    let by_charge = used.memory_charged.map(|charged| {
        let shown = crate::numbers::show_measured_memory(charged);
        let why = format!("{shown} is charged, page cache included: a node cannot lower the limit below that");
        (charged.0.saturating_add(1), why)
    });
    by_use.into_iter().chain(by_charge).max_by_key(|(floor, _)| *floor)
}

impl CpuAndMemory {
    /// One of the two, as a plain integer.
    #[must_use]
    pub fn get(&self, resource: Resource) -> Option<i64> {
        match resource {
            Resource::Cpu => self.cpu.map(|it| it.0),
            Resource::Memory => self.memory.map(|it| it.0),
        }
    }
}

/// The limit that goes with a request, by strategy alone. A proportion is that of the sizes it had before us: what holds request or
/// limit in one round, use, a step, a limit range, would otherwise be the proportion of the next one.
pub fn limit_for(
    subject: &Subject,
    pod: &PodFacts,
    container: &ContainerFacts,
    settings: &ContainerSettings,
    resource: Resource,
    now: Pair,
    request: i64,
) -> Option<i64> {
    let limit = now.limit?;
    if pod.qos == QosClass::Guaranteed {
        return Some(match settings.limits.value {
            Limits::Keep => limit,
            Limits::Ratio | Limits::Equal | Limits::None => request,
        });
    }
    Some(match settings.limits.value {
        Limits::Keep => limit,
        Limits::Equal => request,
        Limits::None => limit.max(request),
        Limits::Ratio => {
            let (own_request, own_limit) =
                original(subject, pod, container, resource).or(now.request.map(|it| (it, limit))).unwrap_or((0, limit));
            in_proportion(own_limit, own_request, request, unit_of(resource))
        }
    })
}

/// Request and limit before we touched it. Of a pod that nobody has resized they are its own; of the others what its template
/// says, which may have changed since the first resize, and else what was noted then.
fn original(subject: &Subject, pod: &PodFacts, container: &ContainerFacts, resource: Resource) -> Option<(i64, i64)> {
    if !matches!(pod.hand, Hand::Ours | Hand::Inherited) {
        return None;
    }
    let both = |it: &Numbers| {
        let Pair { request, limit } = Pair::of(it, resource);
        request.zip(limit).filter(|(request, limit)| *request > 0 && limit >= request)
    };
    let template = subject.facts.template.get(&*container.name).and_then(both);
    template.or_else(|| subject.record.originals.get(&*container.name).and_then(both))
}

/// What sizes are whole multiples of.
pub const fn unit_of(resource: Resource) -> i64 {
    match resource {
        Resource::Cpu => 1,
        Resource::Memory => MIB,
    }
}

/// A Burstable pod in which every limit came to equal its request would be Guaranteed: one limit that was above its request
/// stays a unit above, or where a limit range ends there, the request a unit below. `goes` says which parts would be carried out: those that are held back may have been the difference.
pub fn keep_class(sight: &Sight<'_>, draft: &mut Draft, goes: impl Fn(&Draft, &Part) -> bool) {
    if sight.pod.qos != QosClass::Burstable || !is_guaranteed(sight, draft, &goes) {
        return;
    }
    let above = |it: Pair| it.request.zip(it.limit).is_some_and(|(request, limit)| limit > request);
    let came_to_equal = |it: &&usize| {
        let part = &draft.parts[**it];
        goes(draft, part) && above(part.now) && !above(part.next)
    };
    // By name, so that it is the same one whatever order they stand in.
    let named = |it: &usize| (&sight.pod.containers[draft.parts[*it].container].name, *it);
    let places: Vec<usize> = (0..draft.parts.len()).collect();
    let Some(index) = places.iter().filter(came_to_equal).copied().min_by_key(named) else { return };
    let part = &mut draft.parts[index];
    let unit = if part.resource == Resource::Memory { MIB } else { 1 };
    let settings = sight.settings(&sight.pod.containers[part.container]);
    let keeps = settings.is_some_and(|it| it.limits.value == Limits::Keep);
    let most = limit_range::most(sight, part.resource);
    let has_room = |request: i64| most.is_none_or(|most| request.saturating_add(unit) <= most);
    if keeps || !part.next.request.is_some_and(has_room) {
        part.next.request = part.next.limit.map(|it| it.saturating_sub(unit));
    } else {
        part.next.limit = part.next.request.map(|it| it.saturating_add(unit));
    }
    let saying = "one limit stays above its request: if all were equal the pod would be Guaranteed, and a resize \
                  keeps the \
         class";
    draft.remark_part(sight.pod, index, Saying::clamped(Check::Qos, Code::QosChange, saying));
}

/// Whether every container would have both limits, and requests equal to them.
pub fn is_guaranteed(sight: &Sight<'_>, draft: &Draft, goes: impl Fn(&Draft, &Part) -> bool) -> bool {
    let level = sight.pod.pod_level;
    if !level.is_empty() {
        return false; // the pod level decides alone, and is not changed
    }
    (0..sight.pod.containers.len()).all(|container| {
        let next = draft.next(sight.pod, container, |it| goes(draft, it));
        [Resource::Cpu, Resource::Memory].into_iter().all(|resource| {
            let pair = Pair::of(&next, resource);
            pair.limit.is_some_and(|it| it > 0) && pair.request == pair.limit
        })
    })
}

/// So many percent more, rounded up.
pub fn more(amount: i64, percent: i64) -> i64 {
    let whole = i128::from(amount.max(0)) * i128::from(percent.saturating_add(100));
    clamp(whole.div_euclid(100) + i128::from(whole.rem_euclid(100) != 0))
}

/// So many percent less, rounded up.
fn less(amount: i64, percent: i64) -> i64 {
    more(amount, -percent.clamp(0, 100))
}

/// A limit keeps its proportion to the request, as VPA's `RequestsAndLimits` does. Equal stays equal; greater stays greater,
/// because the quotient is rounded up to the unit the request is a multiple of.
fn in_proportion(limit: i64, request: i64, wanted: i64, unit: i64) -> i64 {
    if limit == request {
        return wanted;
    }
    if request <= 0 {
        return limit.max(wanted); // no proportion to keep: only "limit not below request"
    }
    if wanted == request {
        return limit;
    }
    let exact = i128::from(limit) * i128::from(wanted);
    let divisor = i128::from(request);
    let limit = round_up(clamp(exact.div_euclid(divisor) + i128::from(exact.rem_euclid(divisor) != 0)), unit);
    limit.max(wanted.saturating_add(1))
}

/// The next whole multiple of a unit.
pub fn round_up(amount: i64, unit: i64) -> i64 {
    clamp((i128::from(amount) + i128::from(unit - 1)).div_euclid(i128::from(unit)) * i128::from(unit))
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { 0 } else { i64::MAX })
}
