//! What the last pod of a workload that was recreated for its sizes was to come back with, and whether it did. Whoever sizes new pods
//! may be wrong, down, or not ours: what shows on the pods is believed, and nothing else, so that none of them can make it go on for ever.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use supple_resize::amounts::{Requirement, Resource};

use crate::check::sight::after;
use crate::facts::PodFacts;
use crate::few::Few;
use crate::numbers::Numbers;
use crate::record::TOO_SMALL_KEPT;
use crate::scene::Subject;

/// By container what it is to have next, and what it would have without a step cap.
pub type Aims = Few<Arc<str>, (Numbers, Numbers)>;

/// The last recreation for sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recreated {
    /// When it was decided.
    pub at: Timestamp,
    /// What the pod was to come back with.
    pub sizes: Aims,
    /// Whether the pod made since came with other sizes; `None` while none has been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<bool>,
}

/// What is made later than this after a recreation is made for something else.
const COMES_WITHIN: SignedDuration = SignedDuration::from_hours(6);

impl Recreated {
    /// What the newest pod made since then tells. What we have resized since then does not show any more what it came with; and one
    /// that came as it was to settles it: those that are made much later are made for other needs.
    pub fn otherwise(&self, subject: &Subject, pods: &[&PodFacts]) -> Option<bool> {
        if self.otherwise == Some(false) {
            return self.otherwise;
        }
        // Kubernetes writes when a pod was made in whole seconds, rounded down.
        let second = self.at.as_second();
        let made = pods.iter().filter_map(|it| Some((Timestamp::from(it.made?), *it)));
        let newest = made.filter(|(at, it)| at.as_second() >= second && it.note.is_none()).max_by_key(|it| it.0);
        newest.map(|(_, pod)| self.is_otherwise(subject, pod)).or(self.otherwise)
    }

    /// Whether this very pod came of it, and with other sizes, whatever the others came with: a quota may have had room for them alone.
    pub fn came_otherwise(&self, subject: &Subject, pod: &PodFacts) -> bool {
        let made = pod.made.map(Timestamp::from).filter(|_| pod.note.is_none());
        let is_of_it =
            made.is_some_and(|it| it.as_second() >= self.at.as_second() && it < after(self.at, COMES_WITHIN));
        is_of_it && self.is_otherwise(subject, pod)
    }

    fn is_otherwise(&self, subject: &Subject, pod: &PodFacts) -> bool {
        let asks = |name: &str| pod.containers.iter().find(|it| *it.name == *name).map(|it| it.asked);
        !comes_with(&self.sizes, subject.policy.threshold_percent.value, asks)
    }

    /// When it is forgotten, like a size that did harm.
    pub fn until(&self) -> Timestamp {
        after(self.at, TOO_SMALL_KEPT)
    }
}

/// Whether a pod has what it was to have, or more of the way that is still to go; what is not worth a resize is no difference.
pub fn comes_with(aims: &Aims, threshold_percent: u32, asks: impl Fn(&str) -> Option<Numbers>) -> bool {
    aims.iter().all(|(name, (next, full))| {
        let Some(has) = asks(name) else { return true };
        [Resource::Cpu, Resource::Memory].into_iter().all(|resource| {
            [Requirement::Request, Requirement::Limit].into_iter().all(|requirement| {
                let get = |it: &Numbers| it.get(resource, requirement);
                let (Some(has), Some(next)) = (get(&has), get(next)) else { return true };
                let full = get(full).unwrap_or(next);
                let margin = |it: i64| i128::from(it) * i128::from(threshold_percent) / 100;
                let (least, most) = (next.min(full), next.max(full));
                i128::from(least) - margin(least) <= i128::from(has)
                    && i128::from(has) <= i128::from(most) + margin(most)
            })
        })
    })
}

/// What is to be remembered of it from now on, where that is something else than before.
pub fn remember(subject: &Subject, pods: &[&PodFacts], now: Timestamp) -> Option<Option<Recreated>> {
    let known = subject.record.recreated.as_ref()?;
    if known.until() <= now {
        return Some(None);
    }
    let otherwise = known.otherwise(subject, pods);
    (otherwise != known.otherwise).then(|| Some(Recreated { otherwise, ..known.clone() }))
}
