//! Is there enough data, and is it recent? Little or old data may raise, never lower.

use supple_resize::amounts::Resource;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize {
        return;
    }
    let policy = sight.policy();
    for index in 0..draft.parts.len() {
        let part = &draft.parts[index];
        let container = &sight.pod.containers[part.container];
        if part.wanted.is_none() && part.now.request.is_some() {
            let saying = Saying::delayed(Check::Data, Code::NoData, "there are no measurements to size it by");
            draft.remark_part(sight.pod, index, saying);
            continue;
        }
        if !part.lowers() {
            continue;
        }
        let Some(need) = sight.subject.needs.get(&container.name) else { continue };
        let Some(wanted) = sight.wanted(container, part.resource) else { continue };
        let learned = policy.learn.value.as_hours();
        let least = policy.min_confidence_permille.value;
        let used = sight.fresh_use(container);
        let measured = match part.resource {
            Resource::Cpu => used.is_some(),
            Resource::Memory => used.is_some_and(|it| it.memory.is_some()),
        };
        let saying = if !measured && sight.is_measurable(container) {
            let message = match sight.last_use(container) {
                Some(old) => format!("its last measurement is from {:.0}: too old to lower anything", old.at),
                None => "its usage is not measured, so nothing is lowered".to_owned(),
            };
            Saying::delayed(Check::Data, Code::StaleData, message)
        } else if i64::from(need.hours) < learned {
            let message =
                format!("it has {} of history, and needs {learned} h: nothing is lowered yet", need.watched());
            Saying::delayed(Check::Data, Code::Learning, message).by("learn", &policy.learn)
        } else if wanted.confidence_permille < least {
            let percent = |permille: u16| format!("{}.{} %", permille / 10, permille % 10);
            let (has, least) = (percent(wanted.confidence_permille), percent(least));
            let message = format!("confidence is {has}; lowering requires {least}");
            Saying::delayed(Check::Data, Code::LowConfidence, message)
                .by("minConfidence", &policy.min_confidence_permille)
        } else {
            continue;
        };
        draft.hold(sight.pod, index, saying);
    }
}
