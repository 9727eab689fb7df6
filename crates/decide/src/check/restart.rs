//! If a restart is needed, do mode, disruption budget and replica count allow it? Recreating a pod is one too.

use jiff::Timestamp;
use supple_resize::amounts::Resource;
use supple_resize::predict::Change;

use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::settling::take_back;
use crate::check::sight::Sight;
use crate::check::{Check, cool_down, replicas, wave};
use crate::code::Code;
use crate::facts::{Budget, Phase, PodFacts, Rollout};
use crate::policy::{Direction, Mode, RecreateBy};
use crate::recreated::{Recreated, comes_with};

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let mode = sight.mode();
    if mode == Mode::Recreate && draft.deed == Deed::Resize && draft.parts.iter().any(Part::changes) {
        draft.deed = Deed::Recreate(Code::Evict);
    }
    if matches!(draft.deed, Deed::Recreate(_)) {
        let wait = |draft: &mut Draft, (until, saying): (Timestamp, Saying)| {
            draft.again = draft.again.max(Some(until));
            saying
        };
        // What a pod would be made anew with is another thing once its cool-down is over.
        let obstacle = wrong_direction(sight, draft)
            .or_else(|| wave::cooling(sight, draft).map(|it| wait(draft, it)))
            .or_else(|| if rolls_out(sight, draft.deed) { rolled_out(sight, draft) } else { obstacle(sight, draft) })
            .or_else(|| {
                let refused = || cool_down::refused(sight, &Change::default(), Check::Restart);
                let waits = wave::another_first(sight, draft).or_else(refused);
                waits.or_else(|| cool_down::unanswered(sight, Check::Restart)).map(|it| wait(draft, it))
            });
        let Some(saying) = obstacle else { return };
        match draft.second_best.take().filter(|it| !it.is_empty()) {
            Some(parts) => {
                draft.remark(Saying { outcome: crate::round::Outcome::Clamped, ..saying });
                take_back(draft, parts, Code::GivenUp);
            }
            None => draft.stop(saying),
        }
        return;
    }
    if matches!(draft.deed, Deed::RollBack(_)) || !draft.parts.iter().any(|it| restarts(sight, it)) {
        return;
    }
    let saying = if mode == Mode::InPlace {
        let message = "its resize policy requires a restart for this change, and mode InPlace never restarts";
        Some(Saying::refused(Check::Restart, Code::WouldRestart, message).by("updateMode", &sight.mode_said()))
    } else {
        obstacle(sight, draft)
    };
    if let Some(saying) = saying {
        draft.hold_each(sight.pod, |part, _| restarts(sight, part).then(|| saying.clone()));
    } else if let Some(saying) = replicas::incomplete(sight, draft) {
        // Memory that cannot wait is about to restart it through the kernel otherwise; want of CPU is slow and restarts nothing.
        let is_restarted_anyway = |part: &Part| part.urgent && part.resource == Resource::Memory;
        draft.hold_each(sight.pod, |part, _| {
            (restarts(sight, part) && !is_restarted_anyway(part)).then(|| saying.clone())
        });
    }
}

/// Whether this part would restart its container.
pub fn restarts(sight: &Sight<'_>, part: &Part) -> bool {
    let container = &sight.pod.containers[part.container];
    part.changes()
        && container.running_since.is_some()
        && match part.resource {
            Resource::Cpu => container.restarts_for_cpu,
            Resource::Memory => container.restarts_for_memory,
        }
}

/// Whether the pod would be recreated by restarting its workload. One that is stuck and serves nobody goes alone where a restart would
/// take away others that do.
pub fn rolls_out(sight: &Sight<'_>, deed: Deed) -> bool {
    rollout(sight).is_some() && !(is_dead(sight, deed) && sight.subject.facts.rollout_takes > 0)
}

/// How, if the pod would be recreated by restarting its workload.
pub fn rollout(sight: &Sight<'_>) -> Option<Rollout> {
    sight.subject.facts.rollout.filter(|_| sight.policy().recreate_by.value == RecreateBy::Rollout)
}

/// Why its workload may not be restarted through its template now. Where each new pod is ready before an old one goes, nobody misses any,
/// and neither count nor budget is touched: there the order is the rollout's own.
fn rolled_out(sight: &Sight<'_>, draft: &Draft) -> Option<Saying> {
    let facts = &sight.subject.facts;
    let refused = |code, message: String| Some(Saying::refused(Check::Restart, code, message));
    let running = sight.ledger.team(&sight.pod.workload).rolled_out || facts.rolling;
    if running {
        return Some(Saying::delayed(Check::Restart, Code::RollingOut, "its workload is being restarted already"));
    }
    let stays = |it: &&&PodFacts| it.do_not_evict && !it.deleting && it.phase != Phase::Ended;
    if let Some(pod) = sight.team.pods.iter().find(stays) {
        return refused(Code::DoNotDisrupt, format!("an annotation on {} forbids disruption", pod.key.name));
    }
    if let Some(message) = comes_back_same(sight, draft) {
        return refused(Code::ComesBackSame, message);
    }
    let takes = facts.rollout_takes;
    if takes == 0 {
        return None;
    }
    let ready = sight.team.ready;
    let takes_all = rollout(sight) == Some(Rollout::After) && &*facts.key.kind == "Deployment";
    if ready > 0 && takes_all {
        let message = "a rollout of strategy Recreate takes away all replicas at once: set recreateBy: Eviction, or another strategy";
        return refused(Code::TooFewReplicas, message.to_owned());
    }
    if ready > 0 && ready <= takes {
        let message = format!(
            "a rollout takes up to {takes} of its pods away at once, and {ready} of {} are ready",
            facts.replicas
        );
        return refused(Code::TooFewReplicas, message);
    }
    if let Some(budget) = facts.budgets.iter().find(|it| it.allowed < takes.saturating_add(disrupted(sight, it))) {
        let message = format!(
            "a rollout takes up to {takes} of its pods away at once, and its disruption budget {}",
            allows(sight, budget)
        );
        return Some(Saying::delayed(Check::Restart, Code::DisruptionBudget, message));
    }
    one_at_a_time(sight).or_else(|| too_few(sight)).or_else(|| replicas::incomplete(sight, draft))
}

/// Whether it is recreated to come back with other sizes, or to find room for them. What is stuck is recreated for its life.
pub fn is_for_sizes(deed: Deed) -> bool {
    needs_the_sizes(deed) || matches!(deed, Deed::Recreate(Code::NoRoom | Code::NodeCapacity | Code::GivenUp))
}

/// Whether nothing is gained by it unless the new pod asks for the sizes from the beginning. Where there was no room, a pod that does not
/// may find a node on which it can grow: that is tried once. What a node can never do would be asked of the next one again, and whoever
/// places pods, or hands out whole CPUs, goes by what a pod asks for as it comes.
fn needs_the_sizes(deed: Deed) -> bool {
    matches!(deed, Deed::Recreate(Code::Evict | Code::NodeUnsupported | Code::LimitRange | Code::Infeasible))
}

/// Why the pod made anew would not have the sizes that it is recreated for, which would go on for ever: that shows by the last one
/// that was, or can be foreseen.
fn comes_back_same(sight: &Sight<'_>, draft: &Draft) -> Option<String> {
    if !is_for_sizes(draft.deed) {
        return None;
    }
    let Sight { subject, team, pod, now, .. } = *sight;
    let last = subject.record.recreated.as_ref().filter(|it| it.until() > now);
    let is_same = |it: &&Recreated| it.otherwise(subject, &team.pods) == Some(true) || it.came_otherwise(subject, pod);
    if let Some(last) = last.filter(is_same) {
        return Some(format!(
            "the last recreated pod, at {:.0}, came back with other sizes: Supple waits until {:.0}, or until a new \
             pod has the right ones",
            last.at,
            last.until()
        ));
    }
    if !needs_the_sizes(draft.deed) {
        return None;
    }
    if !subject.facts.sized_at_creation {
        let templated = pod.containers.iter().enumerate().all(|(index, it)| {
            let next = draft.next(pod, index, |_| true);
            subject.facts.template.get(&*it.name).is_some_and(|template| *template == next)
        });
        let message = "the webhook does not size new pods, and the template has other sizes than it needs";
        return (!templated).then(|| message.to_owned());
    }
    let born = sight.born();
    let comes = comes_with(&draft.aims(pod), sight.policy().threshold_percent.value, |name| born.asks(name));
    (!comes).then(|| format!("a new pod would not get these sizes: {}", born.why()))
}

/// Why the pod is not to be recreated for what its sizes are to do. One that is stuck is recreated for its life.
///
/// As VPA asks it, of what would be set and not of what is recommended: after bounds, steps and what is held, of what is ours to size; and
/// of one container by itself, so that no requirement is met by another one than the rest.
fn wrong_direction(sight: &Sight<'_>, draft: &Draft) -> Option<Saying> {
    let setting = &sight.policy().recreate_only_for;
    if draft.deed == Deed::Recreate(Code::StuckAfterKill) || setting.value.is_empty() {
        return None;
    }
    // A resize that is given up is asked for already: there the way is that from the former numbers to it.
    let given_up = draft.second_best.iter().flatten().map(|it| (it, it.next.request, it.now.request));
    let due = draft.parts.iter().map(|it| (it, it.now.request, it.held.unwrap_or(it.next).request));
    let ways: Vec<_> = due.chain(given_up).collect();
    let meets = |direction: &Direction, container: usize| {
        ways.iter().filter(|(part, ..)| part.container == container).any(|(part, from, to)| {
            let is_meant = if part.resource == Resource::Cpu { direction.cpu } else { direction.memory };
            let moves = from.zip(*to).is_some_and(|(from, to)| if direction.rises { to > from } else { to < from });
            is_meant && moves
        })
    };
    let containers = || 0..sight.pod.containers.len();
    if containers().any(|container| setting.value.iter().all(|it| meets(it, container))) {
        return None;
    }
    let unmet = setting.value.iter().find(|it| !containers().any(|container| meets(it, container)));
    let message = match unmet {
        Some(unmet) => {
            let (what, way) = (unmet.resources(), if unmet.rises { "rise" } else { "fall" });
            format!("evictionRequirements allow recreating it only if its {what} is to {way}")
        }
        None => "evictionRequirements allow recreating it only if one of its containers meets all of them".to_owned(),
    };
    Some(Saying::refused(Check::Restart, Code::WrongDirection, message).by("evictionRequirements", setting))
}

/// Why the pod may not be disturbed now.
fn obstacle(sight: &Sight<'_>, draft: &Draft) -> Option<Saying> {
    let facts = &sight.subject.facts;
    let refused = |code, message: String| Some(Saying::refused(Check::Restart, code, message));
    if sight.pod.do_not_evict {
        return refused(Code::DoNotDisrupt, "an annotation on it forbids disruption".to_owned());
    }
    let recreated = matches!(draft.deed, Deed::Recreate(_));
    if recreated && &*facts.key.kind == "Pod" {
        return refused(Code::TooFewReplicas, "it has no owner that would recreate it".to_owned());
    }
    if let Some(message) = comes_back_same(sight, draft) {
        return refused(Code::ComesBackSame, message);
    }
    if let Some(message) = shared_budgets(sight).filter(|_| recreated) {
        return refused(Code::DisruptionBudget, message);
    }
    let is_kept = |it: &Budget| it.allowed > disrupted(sight, it) || it.spares(sight.pod);
    if let Some(budget) = facts.budgets.iter().find(|it| !is_kept(it)) {
        let message = format!("its disruption budget {}", allows(sight, budget));
        return Some(Saying::delayed(Check::Restart, Code::DisruptionBudget, message));
    }
    if let Some(saying) = one_at_a_time(sight) {
        return Some(saying);
    }
    if is_dead(sight, draft.deed) {
        return None;
    }
    // Before what its policy wants: who then lowers that would come no further.
    if sight.team.ready <= 1 && sight.pod.ready.is_some() {
        let message = "it is the last ready replica, which is never disrupted, whatever minReplicas says";
        return refused(Code::TooFewReplicas, message.to_owned());
    }
    if let Some(saying) = too_few(sight) {
        return Some(saying);
    }
    // What is stuck is not held up by what else is wrong, and of a restart in place it is asked part by part.
    if recreated && draft.deed != Deed::Recreate(Code::StuckAfterKill) {
        replicas::incomplete(sight, draft)
    } else {
        None
    }
}

/// How many pods under this budget are disrupted and not in its status yet, whichever workload they are of.
fn disrupted(sight: &Sight<'_>, budget: &Budget) -> u32 {
    sight.ledger.disrupted(&sight.pod.key.namespace, &budget.name)
}

fn allows(sight: &Sight<'_>, budget: &Budget) -> String {
    let Budget { name, allowed, .. } = budget;
    match (allowed, disrupted(sight, budget)) {
        (0, _) => format!("{name} allows no disruption now"),
        (_, 0) => format!("{name} allows {allowed} now"),
        (_, already) => format!("{name} allows {allowed} now, and pods under it that are being disrupted: {already}"),
    }
}

/// Whether it is stuck and not ready: it serves nobody, so that nothing is lost with it.
fn is_dead(sight: &Sight<'_>, deed: Deed) -> bool {
    deed == Deed::Recreate(Code::StuckAfterKill) && sight.pod.ready.is_none()
}

fn one_at_a_time(sight: &Sight<'_>) -> Option<Saying> {
    let disturbed = sight.ledger.team(&sight.pod.workload).disturbed > 0 || sight.team.disturbed > 0;
    let message = "another pod of its workload is being disrupted: one at a time";
    disturbed.then(|| Saying::delayed(Check::Restart, Code::DisruptionBudget, message))
}

/// Whether fewer are ready than its policy wants before one is disrupted.
fn too_few(sight: &Sight<'_>) -> Option<Saying> {
    let (ready, replicas) = (sight.team.ready, sight.subject.facts.replicas);
    let setting = &sight.policy().min_replicas;
    let least = setting.value;
    (ready < least || replicas < least).then(|| {
        let message = format!("{ready} of {replicas} replicas are ready, and {least} are needed to disrupt one");
        Saying::refused(Check::Restart, Code::TooFewReplicas, message).by("minReplicas", setting)
    })
}

/// Why the API server would evict none of its pods: it does not know which of two budgets over one pod to charge, and answers with an error.
fn shared_budgets(sight: &Sight<'_>) -> Option<String> {
    let shared = sight.subject.facts.budgets.iter().filter(|it| it.is_shared);
    let names: Vec<&str> = shared.map(|it| &*it.name).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(" and ");
        format!(
            "its disruption budgets {names} are over the same pods, of which the API server evicts none: remove one"
        )
    })
}
