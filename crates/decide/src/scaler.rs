//! Request and target of a horizontal autoscaler changed together, so that it scales at the same use as before. The pods of a
//! workload then change all at once or not at all, because the autoscaler looks at their mean.
//!
//! ```text
//!   before:   target 40 % of 1     ──▶  PUT target 80 %, anchor "40 % of 1"  ──▶  pods get 500m
//!   killed in between, rolled back, scaled out, refused:  the target that goes with what the pods ask for now
//! ```
//!
//! The anchor is written on the autoscaler with the target: at which utilisation of which request it stood before us. Every later
//! target is worked out from the anchor and from what the pods ask for then, never from the one before: nothing adds up,
//! and whoever leads next finds the way back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use supple_resize::amounts::Resource;
use supple_resize::resources::ContainerKind;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Pair, Part, Saying};
use crate::check::owner::adjustable;
use crate::code::Code;
use crate::facts::{Metric, Phase, PodFacts, Scaler};
use crate::policy::WithScaler;
use crate::scene::{Scene, Subject};
use crate::size::limit_for;

/// Where an autoscaler stood before its target was first adjusted, and the target that we gave it. It holds for as long as that
/// target stands: whoever sets another takes the autoscaler out of our hand until somebody removes the note. A new anchor taken by itself
/// would be one of the old target and of requests that went with ours, and the point that was meant would be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Anchor {
    /// The utilisation it aimed at, in percent,
    pub percent: u32,
    /// of so much CPU, in thousandths,
    pub milli_cpu: i64,
    /// which so many pods asked for together.
    pub pods: u32,
    /// The target that we set.
    pub to: u32,
}

impl Anchor {
    /// The target that scales at the same use while so many pods ask for so much together; `None` where they ask for nothing.
    fn percent_of(&self, milli_cpu: i128, pods: u32) -> Option<i128> {
        let (then, now) = (i128::from(self.milli_cpu) * i128::from(pods), milli_cpu * i128::from(self.pods));
        (now > 0).then(|| (i128::from(self.percent) * then * 2 + now).div_euclid(now * 2))
    }

    /// Whether pods ask for what they asked for before us.
    fn is_reached(&self, milli_cpu: i128, pods: u32) -> bool {
        i128::from(self.milli_cpu) * i128::from(pods) == milli_cpu * i128::from(self.pods)
    }

    /// A target that can be aimed at.
    fn bounds(&self) -> std::ops::RangeInclusive<i128> {
        1..=i128::from(self.percent.max(100))
    }
}

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
    /// What is noted on it; `None`: it is as it was before us, and nothing needs to be.
    pub anchor: Option<Anchor>,
}

/// What the drafts of a workload's pods come to beside its scaler: the new target, where they may all change together. Where
/// they may not, the requests it reads are held in every one of them.
pub fn adjust(subject: &Subject, drafts: &mut [(&PodFacts, &mut Draft)]) -> Option<Target> {
    if let Some(message) = subject.facts.scalers.iter().find_map(Scaler::set_back) {
        say_set_back(&message, drafts);
    }
    let setting = &subject.policy.with_scaler;
    let is_wanted = setting.value == WithScaler::Adjust;
    let (scaler, metric) = adjustable(&subject.facts.scalers).ok().filter(|_| is_wanted)?;
    let reads = |pod: &PodFacts, part: &Part| metric.reads(part.resource, &pod.containers[part.container].name);
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
                "{}/{} scales all pods of the workload together, and {} cannot change now: all change together or none",
                scaler.kind.to_lowercase(),
                scaler.name,
                pod.key.name
            );
            Err(Saying::delayed(Check::Owner, Code::HorizontalScaler, message))
        }
        None => {
            within_reach(subject, (scaler, metric), drafts, &lives, &reads);
            target((scaler, metric), drafts, &lives, &reads)
        }
    };
    match refusal {
        Ok(None) => None,
        Ok(Some(target)) => {
            for (pod, draft) in drafts.iter_mut() {
                for index in 0..draft.parts.len() {
                    let part = &draft.parts[index];
                    draft.parts[index].together = draft.goes(part) && moves(pod, draft, part);
                }
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

/// It scales at another point than it was made for, whether or not anything else is wanted of its pods: each that is not told so already is.
fn say_set_back(message: &str, drafts: &mut [(&PodFacts, &mut Draft)]) {
    for (_, draft) in drafts.iter_mut().filter(|it| it.1.deed == Deed::Resize) {
        if draft.findings.iter().all(|it| it.code != Code::HorizontalScaler) {
            draft.remark(Saying::clamped(Check::Owner, Code::HorizontalScaler, message));
        }
    }
}

/// Hold the CPU requests of a pod.
pub fn hold(pod: &PodFacts, draft: &mut Draft, saying: &Saying) {
    draft.parts.iter_mut().for_each(|it| it.together = false);
    if draft.deed == Deed::Resize {
        draft.hold_each(pod, |part, _| {
            (part.resource == Resource::Cpu && part.next.request != part.now.request).then(|| saying.clone())
        });
    }
}

/// The target at which it scales at the same use: of all its pods together, because it compares their use with the sum of
/// their requests. `None` where it stays as it is.
fn target(
    (scaler, metric): (&Scaler, &Metric),
    drafts: &[(&PodFacts, &mut Draft)],
    lives: &dyn Fn(&PodFacts) -> bool,
    reads: &dyn Fn(&PodFacts, &Part) -> bool,
) -> Result<Option<Target>, Saying> {
    let from = metric.percent;
    let (old, pods) = asked_for(metric, drafts.iter().map(|it| it.0).filter(|it| lives(it)));
    let new = old + growth(drafts, lives, reads);
    let refused = |message: String| Saying::refused(Check::Owner, Code::HorizontalScaler, message);
    let milli_cpu = i64::try_from(old).unwrap_or(i64::MAX);
    let anchor = scaler.anchor.unwrap_or(Anchor { percent: from, milli_cpu, pods, to: from });
    // Where some ask for more and some for less, that moves nothing only together.
    let no_part_shows = || {
        let ends = [i128::is_positive, i128::is_negative]
            .map(|way| old + steps(drafts, lives, reads).filter(|it| way(*it)).sum::<i128>());
        ends.iter().all(|it| anchor.percent_of(*it, pods) == Some(i128::from(from)))
    };
    let Some(exact) = anchor.percent_of(new, pods) else {
        return Err(refused("its pods would request no CPU, and it could no longer scale".to_owned()));
    };
    match u32::try_from(exact) {
        // Too small a step to be seen in the target, whichever pod goes first; not where the target is that of the step already, after a
        // kill.
        Ok(to) if to == from && anchor.percent_of(old, pods) == Some(exact) && no_part_shows() => Ok(None),
        Ok(to) if anchor.bounds().contains(&exact) => {
            let anchor = Some(Anchor { to, ..anchor });
            Ok(Some(Target { kind: scaler.kind.clone(), name: scaler.name.clone(), from, to, anchor }))
        }
        _ => Err(refused(format!(
            "{}/{} would need the target {exact} % instead of {} % to scale at the same usage, and targets are 1 to \
             {} %",
            scaler.kind.to_lowercase(),
            scaler.name,
            anchor.percent,
            anchor.bounds().end()
        ))),
    }
}

/// Of a step to whose end the target could not follow, what it can follow: a target ends at what can be aimed at, and the requests
/// with it. They all go the same share of their way back, so that none of them waits for another for good.
fn within_reach(
    subject: &Subject,
    (scaler, metric): (&Scaler, &Metric),
    drafts: &mut [(&PodFacts, &mut Draft)],
    lives: &dyn Fn(&PodFacts) -> bool,
    reads: &dyn Fn(&PodFacts, &Part) -> bool,
) {
    let from = metric.percent;
    let (old, pods) = asked_for(metric, drafts.iter().map(|it| it.0).filter(|it| lives(it)));
    let new = old + growth(drafts, lives, reads);
    let milli_cpu = i64::try_from(old).unwrap_or(i64::MAX);
    let anchor = scaler.anchor.unwrap_or(Anchor { percent: from, milli_cpu, pods, to: from });
    let bounds = anchor.bounds();
    if old <= 0 || anchor.pods == 0 || anchor.percent_of(new, pods).is_some_and(|it| bounds.contains(&it)) {
        return;
    }
    // With so much asked for together the target is at its end.
    let falls = new < old;
    let end = if falls { *bounds.end() } else { *bounds.start() };
    let (use_, divisor) = (
        i128::from(anchor.percent) * i128::from(anchor.milli_cpu) * i128::from(pods),
        end * i128::from(anchor.pods) * old,
    );
    for (pod, draft) in drafts.iter_mut().filter(|it| lives(it.0)) {
        for index in 0..draft.parts.len() {
            let part = &draft.parts[index];
            let Some((now, next)) = part.now.request.zip(part.next.request).filter(|_| draft.goes(part)) else {
                continue;
            };
            if !reads(pod, part) || now == next || (next < now) != falls {
                continue;
            }
            let all = i128::from(now) * use_;
            let (down, up) =
                (all.div_euclid(divisor), all.div_euclid(divisor) + i128::from(all.rem_euclid(divisor) != 0));
            let held = if falls { next.max(fit(up).min(now)) } else { next.min(fit(down).max(now)) };
            if held == next {
                continue;
            }
            let container = &pod.containers[part.container];
            let settings = subject.policy.container(&container.name);
            let follows = limit_for(subject, pod, container, &settings, part.resource, part.now, held);
            let limit = part.next.limit.zip(follows).map(|(next, it)| if falls { next.max(it) } else { next.min(it) });
            let (step, part) = (part.step(), &mut draft.parts[index]);
            part.next = Pair { request: Some(held), limit: limit.map(|it| it.max(held)) };
            part.full = part.next;
            if !part.is_worth_it(subject.policy.threshold_percent.value) {
                part.next = part.now;
                part.full = part.now;
            }
            let message = format!(
                "{step}: held at {}, where {}/{} reaches its last possible target, {end} %",
                part.show(part.next.request),
                scaler.kind.to_lowercase(),
                scaler.name,
            );
            let saying = Saying::clamped(Check::Owner, Code::HorizontalScaler, message);
            draft.remark_part(pod, index, saying.by("hpa", &subject.policy.with_scaler));
        }
    }
}

/// As far as it can be written.
fn fit(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// How much more pods will ask for of what a scaler reads.
fn growth(
    drafts: &[(&PodFacts, &mut Draft)],
    lives: &dyn Fn(&PodFacts) -> bool,
    reads: &dyn Fn(&PodFacts, &Part) -> bool,
) -> i128 {
    steps(drafts, lives, reads).sum()
}

/// The same, one by one.
fn steps<'a>(
    drafts: &'a [(&PodFacts, &mut Draft)],
    lives: &'a dyn Fn(&PodFacts) -> bool,
    reads: &'a dyn Fn(&PodFacts, &Part) -> bool,
) -> impl Iterator<Item = i128> + 'a {
    drafts.iter().filter(|it| lives(it.0)).flat_map(move |(pod, draft)| {
        draft.parts.iter().filter(move |it| reads(pod, it) && draft.goes(it)).map(|part| {
            let of = |request: Option<i64>| i128::from(request.unwrap_or_default());
            of(part.next.request) - of(part.now.request)
        })
    })
}

/// What pods ask for of what a metric reads, in thousandths, and how many they are.
fn asked_for<'a>(metric: &Metric, pods: impl Iterator<Item = &'a PodFacts>) -> (i128, u32) {
    pods.fold((0, 0), |(sum, count), pod| {
        let read =
            pod.containers.iter().filter(|it| it.kind != ContainerKind::Init && metric.reads(Resource::Cpu, &it.name));
        let own: i128 = read.map(|it| it.asked.cpu_request.map_or(0, |it| i128::from(it.0))).sum();
        (sum + own, count + 1)
    })
}

/// The target that an adjusted scaler is to have as its pods are now, where it is another: they were not resized after all,
/// were rolled back, or are joined by new ones. Of pods that nothing is on its way to; asked for whatever the policy says by now,
/// for the target is our doing, but not while we are told to do nothing.
pub fn settle(scene: &Scene, subject: &Subject, pods: &[&PodFacts], now: Timestamp) -> Option<Target> {
    let anchored = subject.facts.scalers.iter().filter(|it| it.adjusted().is_some());
    let scaler = anchored.min_by_key(|it| (&it.name, &it.kind))?;
    let (anchor, metric) = scaler.adjusted()?;
    let pause = subject.policy.pause.value.as_ref();
    let is_paused = pause.is_some_and(|it| it.holds(now));
    let is_set_back = subject.record.not_before.is_some_and(|it| it > now);
    let is_protected = scene.cluster.is_protected(&subject.facts.key.namespace);
    if scene.cluster.stopped.is_some() || is_protected || is_paused || is_set_back {
        return None;
    }
    if pods.iter().any(|it| scene.acting.contains_key(&it.key)) {
        return None;
    }
    let lives = |it: &&PodFacts| it.phase != Phase::Ended && !it.deleting;
    let (asked, count) = asked_for(metric, pods.iter().copied().filter(lives));
    let bounds = anchor.bounds();
    let to = u32::try_from(anchor.percent_of(asked, count)?.clamp(*bounds.start(), *bounds.end())).ok()?;
    let from = metric.percent;
    let is_as_before = to == anchor.percent && anchor.is_reached(asked, count);
    if to == from && !is_as_before {
        return None;
    }
    let anchor = (!is_as_before).then_some(Anchor { to, ..anchor });
    Some(Target { kind: scaler.kind.clone(), name: scaler.name.clone(), from, to, anchor })
}
