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

/// What was learned of a workload that has no pods is kept for so long: what was deleted is made anew, and a recommender remembers a week.
const KEPT_WITHOUT_PODS: SignedDuration = SignedDuration::from_hours(8 * 24);

/// And of one that ran once, under a name that nothing else will have: a cluster that builds, tests or crunches has tens of thousands of
/// them a day. Not less, because a person may put a pod that is its own workload in the place of one that was there a moment ago.
const KEPT_AFTER_A_RUN: SignedDuration = SignedDuration::from_hours(1);

/// However many are gone, so many are kept at most, which is about 10 MB: the one that has been gone for longest goes first.
const MOST_GONE: usize = 5_000;

/// How often it is looked for what is older.
const SWEPT: SignedDuration = SignedDuration::from_mins(10);

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
    /// Workloads that have been seen: what we wrote down ourselves since is not to be learned a second time. And whether the pods of each
    /// run once.
    seen: BTreeMap<WorkloadKey, bool>,
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
        self.seen.contains_key(workload)
    }

    /// Whether nothing else will have its name, as far as one can know: a pod of its own, a job of its own, and what runs once for an owner
    /// that is not watched (a task, a runner, a step of a workflow).
    fn runs_once(&self, workload: &WorkloadKey) -> bool {
        match &*workload.kind {
            "Pod" | "Job" => true,
            "CronJob" => false, // each of its runs has its name
            _ => self.seen.get(workload).is_some_and(|once| *once),
        }
    }

    /// Whether what is known of one that is gone is kept, by the newest sample in it.
    fn is_kept(&self, workload: &WorkloadKey, fresh: Option<Timestamp>, now: Timestamp) -> bool {
        let patience = if self.runs_once(workload) { KEPT_AFTER_A_RUN } else { KEPT_WITHOUT_PODS };
        fresh.is_some_and(|it| now.duration_since(it) < patience)
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
        let effect = self.keeping()?;
        if let Effect::Keep(pages) = &effect {
            self.kept.next = now.checked_add(pause(pages)).ok();
        }
        Some(effect)
    }

    /// What is to be kept now; nothing where there is no file.
    pub(super) fn keeping(&self) -> Option<Effect> {
        let unclaimed = self.kept.unclaimed.as_ref()?.values().flatten();
        Some(Effect::Keep(self.history.pages().chain(unclaimed.cloned()).collect()))
    }

    /// Go on from what was remembered of a workload, where it is seen for the first time.
    pub(super) fn recall(&mut self, workload: &WorkloadKey) {
        let saved = self.rules.take_saved(workload);
        let mut members = self.view.members(workload).filter_map(|it| self.view.scene.pods.get(it)).peekable();
        let once = members.peek().is_some() && members.all(|it| it.never_restarts);
        if self.kept.seen.insert(workload.clone(), once).is_some() {
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

    /// Forget what was learned of workloads that are gone, and have been for long.
    pub(super) fn forget_workloads(&mut self, now: Timestamp) {
        if self.kept.swept.is_some_and(|it| now.duration_since(it).abs() < SWEPT) {
            return;
        }
        self.kept.swept = Some(now);
        self.evictions.forget(now);
        let Self { view, history, kept, .. } = self;
        // Before the first round no workload stands in the scene; its pods do.
        let is_there = |it: &WorkloadKey| {
            view.scene.workloads.contains_key(it) || view.comes_back(it) || view.members(it).next().is_some()
        };
        let of_file = kept.unclaimed.iter().flatten().map(|(workload, pages)| (newest(pages), workload));
        let gone =
            history.workloads().chain(of_file).filter(|(fresh, it)| !is_there(it) && kept.is_kept(it, *fresh, now));
        let mut gone: Vec<(Option<Timestamp>, &WorkloadKey)> = gone.collect();
        let surplus = gone.len().saturating_sub(MOST_GONE);
        // The last one to go.
        let cut = (surplus > 0).then(|| *gone.select_nth_unstable(surplus - 1).1);
        let cut = cut.map(|(fresh, workload)| (fresh, workload.clone()));
        let is_beyond = |fresh, it: &WorkloadKey| cut.as_ref().is_some_and(|cut| (fresh, it) <= (cut.0, &cut.1));
        let stays = |kept: &Kept, it: &WorkloadKey, fresh| {
            is_there(it) || (kept.is_kept(it, fresh, now) && !is_beyond(fresh, it))
        };
        history.retain_workloads(|it, fresh| stays(kept, it, fresh));
        if let Some(mut unclaimed) = kept.unclaimed.take() {
            unclaimed.retain(|it, pages| stays(kept, it, newest(pages)));
            kept.unclaimed = Some(unclaimed);
        }
        self.records.retain(|it, _| is_there(it) || history.knows(it));
        kept.seen.retain(|it, _| is_there(it) || history.knows(it));
        kept.imported.retain(|it| is_there(it) || history.knows(it));
    }
}

/// The newest sample that the pages of one workload rest on.
fn newest(pages: &[Page]) -> Option<Timestamp> {
    pages.iter().filter_map(|it| it.fresh).max()
}

/// How long the file of these pages is to stand.
fn pause(pages: &[Page]) -> SignedDuration {
    let bytes: usize = pages.iter().map(|it| it.state.len().div_ceil(3) * 4 + BESIDE_STATE).sum();
    SignedDuration::from_secs(i64::try_from(bytes).unwrap_or(i64::MAX) / BYTES_A_SECOND).min(KEPT_EVERY)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::watcher;
    use serde_json::json;
    use supple_decide::need::Use;
    use supple_quantity::{Bytes, MilliCpu};

    use super::super::tests::{Stage, pod};
    use super::*;
    use crate::event::Event;
    use crate::usage::PodUse;
    use crate::view::News;

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

    /// A pod of this name and owner, and whether it runs once.
    fn pod_of(name: &str, owner: Option<(&str, &str, &str)>, once: bool) -> Pod {
        let mut pod = pod(1, "1", json!({}));
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(format!("u-{name}"));
        if let Some((api_version, kind, owner)) = owner {
            let owner =
                json!([{"apiVersion": api_version, "kind": kind, "name": owner, "uid": "o", "controller": true}]);
            pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
            pod.metadata.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "7d4".to_owned());
        }
        pod.spec.as_mut().unwrap().restart_policy = Some(if once { "Never" } else { "Always" }.to_owned());
        pod
    }

    /// It is there for a minute, in which it is measured, and then it is gone. What was kept in the file, if anything was.
    fn lives(stage: &mut Stage, pod: &Pod) -> Option<Vec<Page>> {
        stage.watched(pod.clone());
        stage.now += SignedDuration::from_mins(1);
        let used = Use { cpu: Some(MilliCpu(100)), memory: Some(Bytes(100 << 20)), ..Use::at(stage.now) };
        let name = pod.metadata.name.clone().unwrap();
        let containers = [("app".into(), used)].into();
        stage.tell(Event::Usage(Ok(vec![PodUse { namespace: "shop".to_owned(), name, containers }])));
        stage.tell(Event::News(Box::new(News::Pod(watcher::Event::Delete(pod.clone())))));
        kept(stage.round())
    }

    fn kept(effects: Vec<Effect>) -> Option<Vec<Page>> {
        effects.into_iter().find_map(|it| if let Effect::Keep(pages) = it { Some(pages) } else { None })
    }

    #[test]
    fn of_what_runs_once_an_hour_is_kept_in_memory_and_in_the_file() {
        let mut stage = Stage::at_work();
        stage.world.keep(Vec::new());
        let mut written = Vec::new();
        for run in 0..600 {
            let name = format!("run-{run}");
            let owner = match run % 3 {
                0 => None,
                1 => Some(("batch/v1", "Job", &*name)),
                _ => Some(("tekton.dev/v1", "TaskRun", &*name)),
            };
            written = lives(&mut stage, &pod_of(&name, owner, true)).unwrap_or(written);
        }
        // Two minutes each: thirty in an hour, and those since it was last looked.
        let bound = 2 + 30 + 6;
        let counts = (stage.world.history.workloads().count(), stage.world.kept.seen.len(), written.len());
        assert!(counts.0 > 20 && [counts.0, counts.1, counts.2].iter().all(|it| *it <= bound), "{counts:?}");
        assert!(stage.world.records.len() <= bound);
        assert_eq!(stage.world.kept.imported.len(), 0);
    }

    /// Whether what was learned is there so many hours after its last pod.
    #[track_caller]
    fn check_past(owner: Option<(&str, &str, &str)>, once: bool, hours: i64, expect: bool) {
        let mut stage = Stage::at_work();
        let pod = pod_of("web-7d4-x", owner, once);
        lives(&mut stage, &pod);
        stage.now += SignedDuration::from_hours(hours);
        stage.round();
        stage.watched(pod);
        let workload = stage.world.view.pod("shop", "web-7d4-x").unwrap().workload.clone();
        assert_eq!(stage.world.history.knows(&workload), expect, "{workload} after {hours} hours");
    }

    #[test]
    fn what_is_deleted_and_made_anew_finds_its_past_and_what_ran_once_does_not() {
        let deployment = Some(("apps/v1", "ReplicaSet", "web-7d4"));
        check_past(deployment, false, 24 * 7, true);
        check_past(deployment, false, 24 * 9, false);
        check_past(Some(("apps/v1", "StatefulSet", "db")), false, 24 * 7, true);
        check_past(Some(("postgresql.cnpg.io/v1", "Cluster", "db")), false, 24 * 7, true);
        check_past(Some(("tekton.dev/v1", "TaskRun", "build")), true, 2, false);
        check_past(Some(("batch/v1", "Job", "load")), true, 2, false);
        check_past(None, false, 2, false);
        check_past(None, false, 0, true);
    }

    #[test]
    fn of_many_that_are_gone_those_that_were_there_last_are_kept() {
        let mut stage = Stage::at_work();
        let most = i64::try_from(MOST_GONE).unwrap();
        let workload =
            |age: i64| WorkloadKey { namespace: "n".into(), kind: "Deployment".into(), name: format!("w{age}").into() };
        let page = |age: i64| Page {
            workload: workload(age),
            container: "app".into(),
            fresh: Some(stage.now - SignedDuration::from_secs(age)),
            state: Vec::new(),
        };
        let pages = (1..=most + 100).rev().map(page).collect();
        stage.world.keep(pages);
        let pages = kept(stage.round()).unwrap();
        let left: BTreeSet<WorkloadKey> =
            pages.into_iter().map(|it| it.workload).filter(|it| *it.kind != *"Pod").collect();
        let expect: BTreeSet<WorkloadKey> = (1..=most).map(workload).collect();
        assert!(left == expect, "{} are left", left.len());
    }

    #[test]
    fn who_was_away_for_hours_finds_the_past_of_a_pod_that_is_there() {
        let mut before = Stage::at_work();
        for _ in 0..200 {
            before.round();
        }
        let pages: Vec<Page> = before.world.history.pages().collect();
        let mut stage = Stage::at_work();
        stage.now = before.now + SignedDuration::from_hours(5);
        let workload = pages[0].workload.clone();
        stage.world.keep(pages);
        stage.round();
        assert!(stage.world.history.hours(&workload, "app") >= 3);
    }
}
