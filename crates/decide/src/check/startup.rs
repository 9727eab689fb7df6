//! Has the pod finished starting up? How a process starts is not how it lives.

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::{Sight, after};
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize {
        return;
    }
    let policy = sight.policy();
    let starts = sight.pod.containers.iter().filter_map(|it| it.running_since);
    let Some(started) = starts.chain(sight.pod.started).max() else { return };
    let until = after(started, policy.startup.value);
    if until > sight.now {
        let message = format!("it started at {started:.0} and is starting up until {until:.0}");
        let saying = Saying::delayed(Check::Startup, Code::StartingUp, message);
        draft.wait(Some(until), saying.by("startup", &policy.startup));
    }
}
