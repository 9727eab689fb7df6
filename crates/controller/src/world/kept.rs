//! What is gone on from when a workload is seen for the first time, and what the history file keeps beside what stands in
//! `Rightsizing` objects: of one container the fresher of the two counts, never both, or the same samples would count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::key::WorkloadKey;

use super::World;
use crate::event::Effect;
use crate::history_file::Page;

/// What was learned of a workload that has no pods is kept for so long: jobs come back, and a recommender remembers a week.
const KEPT_WITHOUT_PODS: SignedDuration = SignedDuration::from_hours(8 * 24);

/// How often it is looked for what is older.
const SWEPT: SignedDuration = SignedDuration::from_hours(1);

/// What was kept for us, and whom it was given back to.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What the file kept of workloads that have not been seen yet; `None`: there is no file.
    unclaimed: Option<BTreeMap<WorkloadKey, Vec<Page>>>,
    /// Workloads that have been seen: what we wrote down ourselves since is not to be learned a second time.
    seen: BTreeSet<WorkloadKey>,
    swept: Option<Timestamp>,
}

impl World {
    /// There is a history file, and this is what was found in it.
    pub fn keep(&mut self, pages: Vec<Page>) {
        let unclaimed = self.kept.unclaimed.get_or_insert_default();
        for page in pages {
            unclaimed.entry(page.workload.clone()).or_default().push(page);
        }
    }

    /// What is to be kept now; nothing where there is no file.
    pub(super) fn keeping(&self, now: Timestamp) -> Option<Effect> {
        let unclaimed = self.kept.unclaimed.as_ref()?.values().flatten().filter(|it| is_recent(it.fresh, now));
        Some(Effect::Keep(self.history.pages().chain(unclaimed.cloned()).collect()))
    }

    /// Go on from what was remembered of a workload, where it is seen for the first time.
    pub(super) fn recall(&mut self, workload: &WorkloadKey) {
        let saved = self.rules.take_saved(workload);
        if !self.kept.seen.insert(workload.clone()) {
            return;
        }
        let pages = self.kept.unclaimed.as_mut().and_then(|it| it.remove(workload)).unwrap_or_default();
        let (mut history, mut measured) = (BTreeMap::new(), BTreeMap::new());
        if let Some(saved) = saved {
            self.records.entry(workload.clone()).or_insert(saved.record);
            (history, measured) = (saved.history, saved.measured);
        }
        let written = |it: &str| history.contains_key(it).then(|| measured.get(it).copied()).flatten();
        let fresher =
            pages.into_iter().filter(|it| !history.contains_key(&*it.container) || it.fresh >= written(&it.container));
        let mut recalled: BTreeMap<Arc<str>, (Vec<u8>, Option<Timestamp>)> =
            fresher.map(|it| (it.container, (it.state, it.fresh))).collect();
        for (container, bytes) in history {
            let fresh = measured.get(&container).copied();
            recalled.entry(Arc::from(container)).or_insert((bytes, fresh));
        }
        let policy = self.rules.built_in();
        for (container, (bytes, fresh)) in recalled {
            if let Err(why) = self.history.restore(workload, &container, &bytes, fresh, &policy) {
                tracing::warn!(why, "what was remembered cannot be read; it is learned anew");
            }
        }
    }

    /// Forget what was learned of workloads that have had no pods for long: names of jobs do not come back.
    pub(super) fn forget_workloads(&mut self, now: Timestamp) {
        if self.kept.swept.is_some_and(|it| now.duration_since(it).abs() < SWEPT) {
            return;
        }
        self.kept.swept = Some(now);
        let there = &self.view.scene.workloads;
        self.history.retain_workloads(|it, fresh| there.contains_key(it) || is_recent(fresh, now));
        let known = &self.history;
        self.records.retain(|it, _| there.contains_key(it) || known.knows(it));
        self.kept.seen.retain(|it| there.contains_key(it) || known.knows(it));
    }
}

fn is_recent(fresh: Option<Timestamp>, now: Timestamp) -> bool {
    fresh.is_some_and(|it| now.duration_since(it) < KEPT_WITHOUT_PODS)
}
