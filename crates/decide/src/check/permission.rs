//! Do policy, windows, pauses and supple.dev/stop allow a change now? A protected namespace, the switch and pauses stop
//! everything, roll-backs too; windows let pass what cannot wait.

use jiff::Timestamp;
use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::names::{MODE, PAUSED};
use crate::policy::{Mode, Origin, Pause, Setting, Window};
use crate::scene::{Cluster, Subject};

const PROTECTED: &str = "Supple never acts in kube-system and in the controller's own namespace";
const OFF: &str = "mode Off: recommend only";
const INITIAL: &str = "mode Initial: pods are sized only when they are created";

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let policy = sight.policy();
    if sight.is_protected() {
        return draft.stop(Saying::refused(Check::Permission, Code::ProtectedNamespace, PROTECTED));
    }
    if let Some(why) = &sight.scene.cluster.stopped {
        let message = format!("everything is stopped: {}", or_unsaid(why));
        draft.stop(Saying::refused(Check::Permission, Code::Stopped, message));
    }
    let own = sight.pod.words.get(PAUSED).and_then(|it| Pause::of_words(it));
    let own = own.map(|it| Setting { value: Some(it), origin: Origin::Pod });
    for setting in [Some(&policy.pause), own.as_ref()].into_iter().flatten() {
        if let Some(pause) = setting.value.as_ref().filter(|it| it.holds(sight.now)) {
            let saying = Saying::delayed(Check::Permission, Code::Paused, paused(pause));
            draft.stop_until(pause.until, saying.by("paused", setting));
        }
    }
    let mode = sight.mode_said();
    match mode.value {
        Mode::Off => {
            let unread = sight.pod.words.get(MODE).filter(|it| Mode::of_word(it).is_none());
            let message = unread.map_or_else(
                || OFF.to_owned(),
                |it| format!("{it:?} is not a mode, so it is not resized; write {}", Mode::WORDS),
            );
            draft.stop(Saying::refused(Check::Permission, Code::ModeOff, message).by("updateMode", &mode));
        }
        Mode::Initial if sight.siblings.is_none() => {
            draft.stop(Saying::refused(Check::Permission, Code::ModeInitial, INITIAL).by("updateMode", &mode));
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
pub fn barred(cluster: &Cluster, subject: &Subject, now: Timestamp) -> Option<(Code, String)> {
    let policy = &subject.policy;
    if cluster.is_protected(&subject.facts.key.namespace) {
        return Some((Code::ProtectedNamespace, PROTECTED.to_owned()));
    }
    if let Some(why) = &cluster.stopped {
        return Some((Code::Stopped, format!("everything is stopped: {}", or_unsaid(why))));
    }
    if let Some(pause) = policy.pause.value.as_ref().filter(|it| it.holds(now)) {
        return Some((Code::Paused, paused(pause)));
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

fn paused(Pause { until, why }: &Pause) -> String {
    match until {
        Some(until) => format!("paused until {until:.0}: {}", or_unsaid(why)),
        None => format!("paused: {}", or_unsaid(why)),
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
