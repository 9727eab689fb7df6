//! Do policy, windows, pauses and supple.dev/stop allow a change now? The switch and pauses stop everything,
//! roll-backs too;
//! windows let pass what cannot wait.

use jiff::Timestamp;
use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::names::PAUSED;
use crate::policy::{Mode, Policy, Window};

const OFF: &str = "mode Off: recommend only";
const INITIAL: &str = "mode Initial: pods are sized only when they are created";

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let policy = sight.policy();
    if let Some(why) = &sight.scene.cluster.stopped {
        let message = format!("everything is stopped: {}", or_unsaid(why));
        draft.stop(Saying::refused(Check::Permission, Code::Stopped, message));
    }
    let pause = policy.pause.value.as_ref().filter(|it| it.until.is_none_or(|until| until > sight.now));
    if let Some(pause) = pause {
        let saying = Saying::delayed(Check::Permission, Code::Paused, paused(pause.until, &pause.why));
        draft.stop_until(pause.until, saying.by("paused", &policy.pause));
    }
    if let Some((until, why)) = sight.pod.words.get(PAUSED).and_then(|it| own_pause(it, sight.now)) {
        let mut saying = Saying::delayed(Check::Permission, Code::Paused, paused(until, why));
        saying.setting = Some(format!("paused (annotation {PAUSED} of the pod)"));
        draft.stop_until(until, saying);
    }
    match sight.mode() {
        Mode::Off => {
            let saying = Saying::refused(Check::Permission, Code::ModeOff, OFF);
            draft.stop(saying.by("updateMode", &policy.mode));
        }
        Mode::Initial if sight.siblings.is_none() => {
            draft.stop(Saying::refused(Check::Permission, Code::ModeInitial, INITIAL).by("updateMode", &policy.mode));
        }
        Mode::Initial | Mode::Recreate | Mode::InPlaceOrRecreate | Mode::InPlace => {}
    }
    if let Some((opens, message)) = closed(&policy.windows.value, sight.now)
        && !matches!(draft.deed, Deed::RollBack(_))
    {
        let saying = Saying::delayed(Check::Permission, Code::OutsideWindow, message);
        draft.wait(opens, saying.by("windows", &policy.windows));
    }
    draft.hold_each(sight.pod, |part, container| {
        let settings = sight.settings(container)?;
        if settings.off.value {
            let saying = Saying::refused(Check::Permission, Code::ContainerOff, "mode Off for this container");
            return Some(saying.by("containerPolicies.mode", &settings.off));
        }
        let (cpu, memory) = settings.controlled.value;
        let ours = if part.resource == Resource::Cpu { cpu } else { memory };
        (!ours).then(|| {
            let message = format!("{} is not among the controlled resources", part.resource.as_str());
            Saying::refused(Check::Permission, Code::NotControlled, message)
                .by("containerPolicies.controlledResources", &settings.controlled)
        })
    });
}

/// What forbids to do anything with a workload at all: the first of what [`ask`] would say of it.
pub fn barred(stopped: Option<&str>, policy: &Policy, now: Timestamp) -> Option<(Code, String)> {
    if let Some(why) = stopped {
        return Some((Code::Stopped, format!("everything is stopped: {}", or_unsaid(why))));
    }
    let pause = policy.pause.value.as_ref().filter(|it| it.until.is_none_or(|until| until > now));
    if let Some(pause) = pause {
        return Some((Code::Paused, paused(pause.until, &pause.why)));
    }
    match policy.mode.value {
        Mode::Off => Some((Code::ModeOff, OFF.to_owned())),
        Mode::Initial => Some((Code::ModeInitial, INITIAL.to_owned())),
        Mode::Recreate | Mode::InPlaceOrRecreate | Mode::InPlace => None,
    }
}

fn or_unsaid(why: &str) -> &str {
    if why.is_empty() { "no reason given" } else { why }
}

fn paused(until: Option<Timestamp>, why: &str) -> String {
    match until {
        Some(until) => format!("paused until {until:.0}: {}", or_unsaid(why)),
        None => format!("paused: {}", or_unsaid(why)),
    }
}

/// `<RFC3339 or true> reason`: until when, and why; `None` where it is over or not meant. What cannot be read pauses, because
/// whoever wrote it wanted peace.
fn own_pause(text: &str, now: Timestamp) -> Option<(Option<Timestamp>, &str)> {
    let (first, why) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    match first {
        "false" => None,
        "true" => Some((None, why.trim())),
        _ => match first.parse::<Timestamp>() {
            Ok(until) => (until > now).then_some((Some(until), why.trim())),
            Err(_) => Some((None, text.trim())),
        },
    }
}

/// Why no change is allowed now, and when that ends.
fn closed(windows: &[Window], now: Timestamp) -> Option<(Option<Timestamp>, String)> {
    let holding = |it: &Window| it.spans.iter().find(|span| span.0 <= now && now < span.1).map(|span| span.1);
    let denied = windows.iter().filter(|it| !it.allow).filter_map(|it| Some((holding(it)?, it))).max_by_key(|it| it.0);
    if let Some((until, window)) = denied {
        return Some((Some(until), format!("denied until {until:.0} by window {:?}", window.text)));
    }
    let mut allowing = windows.iter().filter(|it| it.allow).peekable();
    allowing.peek()?;
    if allowing.clone().any(|it| holding(it).is_some()) {
        return None;
    }
    let next = allowing.flat_map(|it| it.spans.iter().map(move |span| (span.0, it))).filter(|it| it.0 > now);
    Some(match next.min_by_key(|it| it.0) {
        Some((opens, window)) => (Some(opens), format!("no window is open; {:?} opens at {opens:.0}", window.text)),
        None => (None, "no window is open".to_owned()),
    })
}
