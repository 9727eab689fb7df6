//! What is gone on from when a workload is seen for the first time, and what the history file keeps beside what stands in
//! `Rightsizing` objects: of one container the fresher of the two counts, never both, or the same samples would count twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::create::Siblings;
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::scene::Subject;

use super::{World, kills};
use crate::event::Effect;
use crate::history_file::Page;

/// What was learned of a workload that has no pods is kept for so long: jobs come back, and a recommender remembers a week.
const KEPT_WITHOUT_PODS: SignedDuration = SignedDuration::from_hours(8 * 24);

/// How often it is looked for what is older.
const SWEPT: SignedDuration = SignedDuration::from_hours(1);

/// The history file may cost the disk so many bytes a second, spread over time: a small one is written after every round, a large
/// one after some.
const BYTES_A_SECOND: i64 = 16 << 10;

/// However large it is, it is written so often.
const KEPT_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// What a page takes in the file beside its state, which is written as base64: its names, about.
const BESIDE_STATE: usize = 160;

/// What was kept for us, and whom it was given back to.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What the file kept of workloads that have not been seen yet; `None`: there is no file.
    unclaimed: Option<BTreeMap<WorkloadKey, Vec<Page>>>,
    /// Workloads that have been seen: what we wrote down ourselves since is not to be learned a second time.
    seen: BTreeSet<WorkloadKey>,
    /// Kills before that.
    pub(super) kills: kills::Unseen,
    /// What the new pods of those without pods are sized by.
    pub(super) resting: BTreeMap<WorkloadKey, Box<(Subject, Siblings)>>,
    /// Those of which a checkpoint of VPA's has been read.
    imported: BTreeSet<WorkloadKey>,
    swept: Option<Timestamp>,
    /// The file need not be written again before.
    next: Option<Timestamp>,
}

impl Kept {
    /// Whether it has been seen, and what was remembered of it has been taken in.
    pub(super) fn has_seen(&self, workload: &WorkloadKey) -> bool {
        self.seen.contains(workload)
    }

    /// Whether a checkpoint of VPA's has been read of it.
    pub(super) fn has_imported(&self, workload: &WorkloadKey) -> bool {
        self.imported.contains(workload)
    }

    /// One has been read of it.
    pub(super) fn imported(&mut self, workload: &WorkloadKey) {
        self.imported.insert(workload.clone());
    }
}

impl World {
    /// There is a history file, and this is what was found in it.
    pub fn keep(&mut self, pages: Vec<Page>) {
        let unclaimed = self.kept.unclaimed.get_or_insert_default();
        for page in pages {
            unclaimed.entry(page.workload.clone()).or_default().push(page);
        }
    }

    /// What is to be kept after a round; nothing where there is no file, or it has been written for a large one a moment ago.
    pub(super) fn keeping_again(&mut self, now: Timestamp) -> Option<Effect> {
        // A clock that was set back must not keep it from being written.
        if self.kept.next.is_some_and(|it| now < it && it.duration_since(now) <= KEPT_EVERY) {
            return None;
        }
        let effect = self.keeping(now)?;
        if let Effect::Keep(pages) = &effect {
            self.kept.next = now.checked_add(pause(pages)).ok();
        }
        Some(effect)
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
        let (mut history, mut measured) = (Few::new(), Few::new());
        if let Some(saved) = saved {
            if !self.unseen.is_missing_in(workload, &saved.record) {
                self.records.insert(workload.clone(), saved.record);
            }
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
                tracing::warn!(why, "cannot read the stored history; it is learned again");
            }
        }
    }

    /// Forget what was learned of workloads that have had no pods for long and are not there themselves: names of jobs do not come back.
    pub(super) fn forget_workloads(&mut self, now: Timestamp) {
        if self.kept.swept.is_some_and(|it| now.duration_since(it).abs() < SWEPT) {
            return;
        }
        self.kept.swept = Some(now);
        self.evictions.forget(now);
        let view = &self.view;
        let is_there = |it: &WorkloadKey| view.scene.workloads.contains_key(it) || view.comes_back(it);
        self.history.retain_workloads(|it, fresh| is_there(it) || is_recent(fresh, now));
        let known = &self.history;
        self.records.retain(|it, _| is_there(it) || known.knows(it));
        self.kept.seen.retain(|it| is_there(it) || known.knows(it));
        self.kept.imported.retain(|it| is_there(it) || known.knows(it));
    }
}

/// How long the file of these pages is to stand.
fn pause(pages: &[Page]) -> SignedDuration {
    let bytes: usize = pages.iter().map(|it| it.state.len().div_ceil(3) * 4 + BESIDE_STATE).sum();
    SignedDuration::from_secs(i64::try_from(bytes).unwrap_or(i64::MAX) / BYTES_A_SECOND).min(KEPT_EVERY)
}

fn is_recent(fresh: Option<Timestamp>, now: Timestamp) -> bool {
    fresh.is_some_and(|it| now.duration_since(it) < KEPT_WITHOUT_PODS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(containers: usize, bytes: usize, seconds: i64) {
        let page = || Page {
            workload: WorkloadKey { namespace: "n".into(), kind: "Deployment".into(), name: "w".into() },
            container: "app".into(),
            fresh: None,
            state: vec![0; bytes],
        };
        let pages: Vec<Page> = std::iter::repeat_with(page).take(containers).collect();
        assert_eq!(pause(&pages).as_secs(), seconds, "{containers} containers of {bytes} bytes");
    }

    #[test]
    fn a_large_file_is_written_less_often() {
        check(0, 0, 0);
        check(400, 240, 11); // less than a round: after each
        check(2_700, 240, 79);
        check(27_000, 240, 300);
    }
}
