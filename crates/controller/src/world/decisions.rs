//! What was decided last, one entry a pod, in the order in which a round tells it: twenty thousand of these are most of what is
//! kept about pods, and a map of them would be half empty.

use supple_decide::key::PodKey;
use supple_decide::round::Decision;

/// What was decided last, by pod.
#[derive(Debug, Default)]
pub struct Decisions(Vec<Decision>);

impl Decisions {
    /// About one pod.
    pub fn get(&self, pod: &PodKey) -> Option<&Decision> {
        self.0.binary_search_by(|it| it.pod.cmp(pod)).ok().map(|it| &self.0[it])
    }

    /// All of them, by pod.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.0.iter()
    }

    /// Forget what was decided about pods that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&PodKey) -> bool) {
        self.0.retain(|it| is_kept(&it.pod));
    }

    /// Forget all of it.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Take over what a round decided, which is in the order of pods.
    pub(super) fn take(&mut self, decided: Vec<Decision>) {
        if self.0.is_empty() {
            self.0 = decided;
            return;
        }
        for decision in decided {
            match self.0.binary_search_by(|it| it.pod.cmp(&decision.pod)) {
                Ok(at) => self.0[at] = decision,
                Err(at) => self.0.insert(at, decision),
            }
        }
    }
}
