//! Are the other replicas there and ready, so that this one may be disrupted? One at a time means that the one before has been
//! replaced by one that serves, however long it takes to start, with a disruption budget or without.
//!
//! Sometimes the disruption is the cure. Then a replica that is missing or not ready does not hold it up:
//!
//! * The pod itself does not serve: nothing is lost with it. Were a whole workload to crash for want of memory, each would else wait
//!   for the others.
//! * The other one waits for room, and this one is to be made smaller: it gives room back.
//! * The other one belongs to a daemon set and its node is down: in a large cluster some node always is.
//!
//! Each of these is for what stood so before the last recreation. The pod that was made after it has to be ready in any case, so
//! that at most one is spent on a cure that is none.

use jiff::Timestamp;

use crate::check::Check;
use crate::check::draft::{Draft, Saying};
use crate::check::sight::{Sight, after};
use crate::code::Code;
use crate::facts::{Phase, PodFacts};

/// Which replicas have to be ready first, where some have.
pub fn incomplete(sight: &Sight<'_>, draft: &Draft) -> Option<Saying> {
    let Sight { scene, subject, team, pod, now, .. } = *sight;
    let last = subject.record.recreated.as_ref().filter(|it| it.until() > now).map(|it| it.at.as_second());
    // Kubernetes writes when a pod was made in whole seconds, rounded down.
    let is_new = |it: &PodFacts| {
        let made = it.made.map(|it| Timestamp::from(it).as_second());
        last.is_some_and(|last| made.is_some_and(|it| it >= last))
    };
    let lives = |it: &&&PodFacts| !it.deleting && it.phase != Phase::Ended;
    let others = || team.pods.iter().filter(lives).filter(|it| it.key != pod.key);

    let serves = pod.ready.is_some();
    let gives_room = draft.parts.iter().any(|it| it.lowers()) && !draft.parts.iter().any(|it| it.raises());
    let kind = &*subject.facts.key.kind;
    let is_excused = |it: &PodFacts| {
        let patience = subject.policy.give_up_deferred.value;
        let waits_for_room =
            || it.node.is_none() && it.made.is_some_and(|made| after(Timestamp::from(made), patience) <= now);
        let is_down = || it.node.as_ref().and_then(|it| scene.nodes.get(it)).is_some_and(|it| !it.ready);
        !is_new(it) && (!serves || (gives_room && waits_for_room()) || (kind == "DaemonSet" && is_down()))
    };
    let unready = others().any(|it| it.ready.is_none() && !is_excused(it));

    let there = u32::try_from(others().count()).unwrap_or(u32::MAX).saturating_add(1);
    // A job makes fewer towards its end, and of what is not watched its pods are all that is known.
    let wanted =
        if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") { subject.facts.replicas } else { there };
    let is_replaced = last.is_none() || team.pods.iter().any(|it| is_new(it) && it.ready.is_some());
    let has_quota = || scene.namespaces.get(&pod.key.namespace).is_some_and(|it| !it.quotas.is_empty());
    let missing = wanted > there && !(is_replaced && (!serves || (gives_room && has_quota())));

    (unready || missing).then(|| {
        let message = format!(
            "{} of {} replicas are ready: none is disrupted before the others are",
            team.ready,
            wanted.max(there)
        );
        Saying::delayed(Check::Restart, Code::ReplicasNotReady, message)
    })
}
