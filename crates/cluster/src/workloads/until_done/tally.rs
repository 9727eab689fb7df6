//! What has become of a job's pods: who runs, who has ended how, and who of those has been counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::super::pods;
use super::end::End;
use super::policy::{self, Failure};
use super::{Indexes, ended_at, indexes, is_tracked};

/// How many ended pods one status may hold by their UIDs (reference: `MaxUncountedPods`).
const MOST_UNCOUNTED: usize = 500;

/// The pods of a job, sorted, and what the status is to say of them.
pub(super) struct Tally<'a> {
    /// They run, or will.
    pub active: Vec<&'a Arc<Pod>>,
    /// They are being deleted and have not ended.
    pub going: Vec<&'a Arc<Pod>>,
    /// They are in the status by their UIDs; their finalizer may go once that is written.
    pub counted: Vec<&'a Arc<Pod>>,
    /// One of them failed in a way that the job's policy says is the end of it.
    pub fatal: Option<End>,
    ended: Vec<&'a Arc<Pod>>,
    succeeded: i32,
    failed: i32,
    waiting: UncountedTerminatedPods,
    done: Option<Indexes>,
    overflow: bool,
    restarts: i32,
}

/// How a pod ended; `None` if it has not. One that is being deleted has failed, unless a replacement has to wait for its
/// end.
fn ended_well(pod: &Pod, spec: &JobSpec) -> Option<bool> {
    match pods::phase(pod) {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ if pods::is_going(pod) && spec.pod_replacement_policy.as_deref() != Some("Failed") => Some(false),
        _ => None,
    }
}

impl<'a> Tally<'a> {
    /// Count.
    pub(super) fn of(spec: &JobSpec, old: &JobStatus, mine: &[&'a Arc<Pod>]) -> Self {
        let completions = spec.completions.unwrap_or(i32::MAX);
        let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        // Noted before, and let go since: from a UID to a number.
        let tracked: BTreeSet<String> = mine.iter().filter(|it| is_tracked(it)).map(|it| uid(it)).collect();
        let noted = old.uncounted_terminated_pods.clone().unwrap_or_default();
        let split = |noted: Option<Vec<String>>| -> (Vec<String>, i32) {
            let (kept, gone): (Vec<_>, Vec<_>) =
                noted.unwrap_or_default().into_iter().partition(|it| tracked.contains(it));
            (kept, i32::try_from(gone.len()).unwrap_or(i32::MAX))
        };
        let (mut well, new_well) = split(noted.succeeded);
        let (mut ill, new_ill) = split(noted.failed);
        let mut done =
            is_indexed.then(|| Indexes::parse(old.completed_indexes.as_deref().unwrap_or_default(), completions));
        let (mut counted, mut overflow, mut ended, mut fatal) = (Vec::new(), false, Vec::new(), None);
        for pod in mine {
            let Some(is_well) = ended_well(pod, spec) else { continue };
            ended.push(*pod);
            let failure = if is_well { Failure::Counts } else { policy::failure(spec, pod) };
            if let (Failure::EndsTheJob(end), None) = (&failure, &fatal) {
                fatal = Some(end.clone());
            }
            if !is_tracked(pod) {
                continue;
            }
            let uid = uid(pod);
            if let (Some(done), true) = (&mut done, is_well) {
                // An index is counted by itself: that it is in the set twice changes nothing.
                done.0.extend(indexes::of(pod).filter(|it| *it < completions));
                counted.push(*pod);
                continue;
            }
            // Unless its UID is in the status already, written before the policy knew why it failed.
            if failure == Failure::Ignored && !ill.contains(&uid) {
                counted.push(*pod);
                continue;
            }
            let list = if is_well { &mut well } else { &mut ill };
            if !list.contains(&uid) {
                if list.len() >= MOST_UNCOUNTED {
                    overflow = true;
                    continue;
                }
                list.push(uid);
            }
            counted.push(*pod);
        }
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let restarts = |pod: &Pod| {
            let status = pod.status.as_ref();
            let all = status
                .into_iter()
                .flat_map(|it| it.init_container_statuses.iter().chain(&it.container_statuses).flatten());
            all.map(|it| it.restart_count).sum::<i32>()
        };
        let running = |pod: &&&Arc<Pod>| matches!(pods::phase(pod), "Running" | "Pending");
        Self {
            active: mine.iter().copied().filter(|it| pods::is_active(it)).collect(),
            going: mine.iter().copied().filter(|it| pods::is_going(it) && !pods::is_over(it)).collect(),
            succeeded: match &done {
                Some(done) => i32::try_from(done.0.len()).unwrap_or(i32::MAX),
                None => old.succeeded.unwrap_or_default().saturating_add(new_well),
            },
            failed: old.failed.unwrap_or_default().saturating_add(new_ill),
            waiting: UncountedTerminatedPods { succeeded: some(well), failed: some(ill) },
            restarts: mine.iter().filter(running).map(|it| restarts(it)).sum(),
            counted,
            fatal,
            ended,
            done,
            overflow,
        }
    }

    /// Into the status.
    pub(super) fn write(&self, status: &mut JobStatus) {
        let some = |count: i32| (count > 0).then_some(count);
        let number = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
        status.active = some(number(self.active.len()));
        status.ready = Some(number(self.active.iter().filter(|it| pods::is_ready(it)).count()));
        status.terminating = Some(number(self.going.len()));
        status.succeeded = some(self.succeeded);
        status.failed = some(self.failed);
        status.completed_indexes = self.done.as_ref().map(Indexes::to_string).filter(|it| !it.is_empty());
        status.uncounted_terminated_pods = Some(self.waiting.clone());
    }

    fn waiting(list: Option<&Vec<String>>) -> i32 {
        list.map_or(0, |it| i32::try_from(it.len()).unwrap_or(i32::MAX))
    }

    fn succeeded(&self) -> i32 {
        self.succeeded.saturating_add(Self::waiting(self.waiting.succeeded.as_ref()))
    }

    fn failed(&self) -> i32 {
        self.failed.saturating_add(Self::waiting(self.waiting.failed.as_ref()))
    }

    /// Whether every pod that has ended is a number.
    pub(super) fn is_counted(&self) -> bool {
        !self.overflow && self.counted.is_empty() && self.waiting == UncountedTerminatedPods::default()
    }

    /// Whether it has failed too often.
    pub(super) fn failure(&self, spec: &JobSpec) -> Option<End> {
        let limit = spec.backoff_limit.unwrap_or(6);
        let in_place = spec.template.spec.as_ref().and_then(|it| it.restart_policy.as_deref()) == Some("OnFailure");
        // Restarted in place, the failures are the restarts; with a limit of none, the first one is too many.
        let restarted = in_place && if limit == 0 { self.restarts > 0 } else { self.restarts >= limit };
        (self.failed() > limit || restarted)
            .then(|| End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    }

    /// Whether all has succeeded that was wanted. Without a number of completions, one success means that there is no
    /// more to do, and the rest is let end.
    pub(super) fn success(&self, spec: &JobSpec) -> Option<End> {
        if let Some(end) = self.done.as_ref().and_then(|done| policy::success(spec, done)) {
            return Some(end);
        }
        let is_done = match spec.completions {
            Some(completions) => self.succeeded() >= completions,
            None => self.succeeded() > 0 && self.active.is_empty() && self.going.is_empty(),
        };
        is_done.then(End::completed)
    }

    /// How many pods should be running.
    pub(super) fn wanted(&self, spec: &JobSpec) -> i32 {
        let parallelism = spec.parallelism.unwrap_or(1);
        match spec.completions {
            Some(completions) => parallelism.min(completions - self.succeeded()).max(0),
            None if self.succeeded() > 0 => parallelism.min(i32::try_from(self.active.len()).unwrap_or(i32::MAX)),
            None => parallelism,
        }
    }

    /// Indexes nobody works on, lowest first.
    pub(super) fn free_indexes(&self, spec: &JobSpec, going_count: bool) -> impl Iterator<Item = i32> {
        let mut taken = self.done.clone().unwrap_or_default().0;
        let going = self.going.iter().filter(|_| going_count);
        taken.extend(self.active.iter().chain(going).filter_map(|it| indexes::of(it)));
        (0..spec.completions.unwrap_or_default()).filter(move |it| !taken.contains(it))
    }

    /// How many pods have failed since the last success, and when the last of them did.
    pub(super) fn failures_in_a_row(&self) -> Option<(u32, Timestamp)> {
        let last_success =
            self.ended.iter().filter(|it| pods::phase(it) == "Succeeded").filter_map(|it| ended_at(it)).max();
        let failures = self.ended.iter().filter(|it| pods::phase(it) == "Failed").filter_map(|it| ended_at(it));
        let since: Vec<Timestamp> = failures.filter(|at| last_success.is_none_or(|success| *at > success)).collect();
        let last = since.iter().max()?;
        Some((u32::try_from(since.len()).unwrap_or(u32::MAX), *last))
    }
}
