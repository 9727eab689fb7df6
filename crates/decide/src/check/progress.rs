//! Is a rollout, a restart or a resize in progress? What waits too long, or never will be, is given up here.

use jiff::Timestamp;
use supple_resize::resources::ContainerKind;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::settling::{former_parts, take_back};
use crate::check::sight::{Sight, after, holds_a_place};
use crate::code::Code;
use crate::facts::{ContainerFacts, Phase, PodFacts};
use crate::policy::Mode;
use crate::progress::Progress;
use crate::scene::{Scene, Subject};
use crate::settle::TakenBack;
use crate::settle::stands;

/// Up to this minor version a kubelet leaves the pod-level cgroup small after a kill for want of memory (seen up to 1.36.2).
const STUCK_UP_TO: u32 = 36;

/// Before anything is asked: a pod that is stuck, or waits too long, turns the draft into what ends that.
pub fn convert(sight: &Sight<'_>, draft: &mut Draft) {
    let recreates = matches!(sight.mode(), Mode::Recreate | Mode::InPlaceOrRecreate);
    if let Some(message) = is_stuck(sight).filter(|_| recreates) {
        draft.findings.clear();
        draft.parts.clear();
        draft.deed = Deed::Recreate(Code::StuckAfterKill);
        draft.remark(Saying::clamped(Check::Progress, Code::StuckAfterKill, message));
    } else if let Some((code, message)) = is_given_up(sight.scene, sight.subject, sight.pod, sight.now)
        && draft.deed == Deed::Resize
    {
        give_up(sight, draft, code, message);
    }
}

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let pod = sight.pod;
    let say = |code, message: String| Saying::delayed(Check::Progress, code, message);
    let namespace_goes = sight.scene.namespaces.get(&pod.key.namespace).is_some_and(|it| it.deleting);
    let standing = match (pod.phase, pod.deleting) {
        (_, true) => Some("it is being deleted"),
        (Phase::Pending, _) => Some("it does not run yet"),
        (Phase::Ended, _) => Some("it has ended"),
        (Phase::Unknown, _) => Some("its node does not answer"),
        (Phase::Running, _) if namespace_goes => Some("its namespace is being deleted"),
        (Phase::Running, _) => None,
    };
    if let Some(why) = standing {
        return draft.stop(say(Code::NotRunning, why.to_owned()));
    }
    if sight.scene.acting.contains_key(&pod.key) {
        return draft.stop(say(Code::InProgress, "a change was sent and is not visible on it yet".to_owned()));
    }
    // What is taken back, or made anew, does not wait for what it ends.
    if draft.deed != Deed::Resize {
        return;
    }
    resize(sight, draft);
    if draft.has_change() {
        if sight.subject.facts.rolling {
            draft.wait(None, say(Code::RollingOut, "its workload is being rolled out".to_owned()));
        }
        let is_down = |it: &&ContainerFacts| it.running_since.is_none() && !it.done && it.kind != ContainerKind::Init;
        let down = pod.containers.iter().find(is_down);
        if let Some(container) = down {
            let message = format!("{} does not run: it is being started", container.name);
            draft.wait(None, say(Code::Restarting, message));
        }
    }
}

fn resize(sight: &Sight<'_>, draft: &mut Draft) {
    let say = |code, message: String| Saying::delayed(Check::Progress, code, message);
    if let Some(message) = is_stuck(sight) {
        return draft.stop(Saying::refused(Check::Progress, Code::StuckAfterKill, message));
    }
    let until = sight.pod.progress_since.map(|it| after(it, sight.policy().give_up_deferred.value));
    match &sight.pod.progress {
        // What its node has said nothing of for so long is not waited for: a newer resize takes its place, if the node takes any.
        Progress::Underway if !holds_a_place(sight.pod, sight.now) && sight.node().is_none_or(|it| it.ready) => {}
        Progress::Underway => draft.stop(say(Code::InProgress, "a resize of it is in progress".to_owned())),
        Progress::Deferred(why) => {
            let message = format!("its node has no room yet, and retries: {why}");
            let saying = say(Code::Deferred, message).by("giveUpDeferredAfter", &sight.policy().give_up_deferred);
            draft.stop_until(until, saying);
        }
        Progress::Failing(why) => {
            // A raise in haste may be what ends the failing.
            draft.wait(until, say(Code::NodeFailing, format!("its node tries the resize and fails: {why}")));
        }
        Progress::Infeasible(why) => {
            let message = format!("its node cannot do the requested resize: {why}");
            draft.stop(Saying::refused(Check::Progress, Code::Infeasible, message));
        }
        Progress::Settled | Progress::Ended => {}
    }
}

/// Whether a resize of ours that waits or fails is to be given up now, under which code and why.
pub fn is_given_up(scene: &Scene, subject: &Subject, pod: &PodFacts, now: Timestamp) -> Option<(Code, String)> {
    let note = pod.note.as_deref().filter(|it| it.by.is_loop() && stands(pod, it))?;
    if pod.deleting || pod.phase != Phase::Running || scene.acting.contains_key(&pod.key) {
        return None;
    }
    let patience = subject.policy.give_up_deferred.value;
    let since = pod.progress_since.map_or(note.at, Timestamp::from).max(note.at);
    let over = after(since, patience) <= now;
    match &pod.progress {
        Progress::Infeasible(why) => Some((Code::Infeasible, format!("its node cannot do the resize: {why}"))),
        Progress::Deferred(why) if over => {
            Some((Code::GivenUp, format!("its node has had no room since {since:.0}, so Supple gave up: {why}")))
        }
        Progress::Failing(why) if over => {
            Some((Code::NodeFailing, format!("its node has been failing since {since:.0}, so Supple gave up: {why}")))
        }
        _ => None,
    }
}

/// The former sizes again, so that what is asked for and what is promised agree; or the pod made anew where the mode allows.
fn give_up(sight: &Sight<'_>, draft: &mut Draft, code: Code, message: String) {
    let parts = sight.pod.note.as_deref().map(|it| former_parts(sight, it, |_| TakenBack::All)).unwrap_or_default();
    // A node that fails may be mended; only what can never be, or found no room for long, is a reason to restart a pod.
    let recreate = matches!(sight.mode(), Mode::Recreate | Mode::InPlaceOrRecreate) && code != Code::NodeFailing;
    draft.findings.retain(|it| it.container.is_none());
    if recreate {
        // It is to come back with what was asked of its node, or with more of the same way: a new one goes on from where its siblings
        // are by now.
        draft.parts.retain(|part| {
            let was = parts.iter().find(|it| (it.container, it.resource) == (part.container, part.resource));
            was.is_some_and(|was| part.goes_on_from(was.next))
        });
        for part in &mut draft.parts {
            (part.next, part.held, part.urgent, part.at_risk) = (part.now, None, false, false);
        }
        draft.deed = Deed::Recreate(code);
        draft.second_best = Some(parts);
        draft.remark(Saying::clamped(Check::Progress, code, message));
    } else if parts.is_empty() {
        // What it added cannot be taken away again.
        draft.stop(Saying::refused(Check::Progress, code, message));
    } else {
        take_back(draft, parts, Code::GivenUp);
        draft.remark(Saying::clamped(Check::Progress, code, message));
    }
}

/// Whether a container was killed again although its memory was raised, and waits: what it was given does not reach it.
fn is_stuck(sight: &Sight<'_>) -> Option<String> {
    if sight.kubelet().is_some_and(|it| it > STUCK_UP_TO) {
        return None;
    }
    let note = sight.pod.note.as_deref().filter(|it| it.by.is_loop() && stands(sight.pod, it))?;
    let killed = |it: &&ContainerFacts| it.killed_and_waiting || it.killed_at_start;
    sight.pod.containers.iter().filter(killed).find_map(|container| {
        let (before, after) = note.container(&container.name)?;
        let (before, after) = before.memory_limit.zip(after.memory_limit).filter(|(before, after)| after > before)?;
        let end = container.last_end.filter(|it| it.at > note.at)?;
        let reached = container.actual.and_then(|it| it.memory_limit).is_some_and(|it| it >= after);
        // The status says that the container has its new limit, and the pod's cgroup may have the old one all the same: then even its
        // start is killed, which needs next to nothing.
        (!reached || sight.pod.progress == Progress::Underway || container.killed_at_start).then(|| {
            format!(
                "{} was OOM-killed again at {:.0} although its limit was raised from {before} to {after}: the pod's \
                 cgroup stays small",
                container.name, end.at
            )
        })
    })
}
