//! Pods until so many have succeeded: the way of a Job (reference: `pkg/controller/job`).
//!
//! A pod that ends is counted exactly once, also over a kill: it carries a finalizer, so that it cannot vanish uncounted;
//! its UID is written into the status first, then the finalizer goes, and only when that is seen does the UID become a
//! number. Left out: back-off limits per index, and the rules of failure policies that go with them.

mod end;
mod indexes;
mod policy;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use serde_json::json;

use super::plan::{Act, Effect, Plan, Scene, Told, stamp};
use super::pods;
use super::replicas::{create_pod, delete_pod};
use super::template;
use super::view::{Key, Kind};
use end::End;
use indexes::Indexes;
use tally::Tally;

/// Keeps a pod of a job until it has been counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// How long after a failure the next pod is made: this, doubled by each failure in a row.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// The longest such wait.
const LAST_RETRY: SignedDuration = SignedDuration::from_mins(10);

/// What a Job needs done.
pub(super) fn plan(scene: &Scene<'_, Job>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = scene.owner.spec.clone() else { return plan };
    // Without a selector nothing could be told to be its pods. The API server makes one.
    if spec.selector.is_none() || spec.managed_by.as_deref().is_some_and(|it| it != "kubernetes.io/job-controller") {
        return plan;
    }
    let old = scene.owner.status.clone().unwrap_or_default();
    let mine = scene.claim::<Pod>(spec.selector.as_ref(), |_| true, &mut plan);
    if end::of(&old).is_some() {
        release(mine.iter().copied().filter(|it| is_tracked(it)), &mut plan);
        expire(scene, &spec, &old, &mut plan);
        return plan;
    }
    if scene.is_going() {
        release(mine.iter().copied().filter(|it| is_tracked(it)), &mut plan);
        return plan;
    }
    let work = Work { scene, spec: &spec, old: &old, tally: Tally::of(&spec, &old, &mine) };
    work.plan(&mut plan);
    plan
}

fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|it| it == TRACKING)
}

/// Let pods go that have been counted.
fn release<'a>(counted: impl Iterator<Item = &'a Arc<Pod>>, plan: &mut Plan) {
    for pod in counted {
        let rest: Vec<&String> = pod.metadata.finalizers.iter().flatten().filter(|it| *it != TRACKING).collect();
        let body = json!({"metadata": {
            "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": rest,
        }});
        plan.push(Act::Patch { kind: Kind::Pod, key: Key::of(&pod.metadata), body, adopts: false });
    }
}

/// A finished job goes so long after its end, if it says so.
fn expire(scene: &Scene<'_, Job>, spec: &JobSpec, status: &JobStatus, plan: &mut Plan) {
    let Some(seconds) = spec.ttl_seconds_after_finished.filter(|_| !scene.is_going()) else { return };
    let Some(ended) = end::at(status) else { return };
    let due = ended.saturating_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX);
    if due > scene.now {
        plan.again_at(due);
        return;
    }
    let uid = scene.uid().to_owned();
    plan.push(Act::Delete { kind: Kind::Job, key: Key::of(scene.meta()), uid, dependents_first: true });
}

/// A job that has not ended.
struct Work<'a> {
    scene: &'a Scene<'a, Job>,
    spec: &'a JobSpec,
    old: &'a JobStatus,
    tally: Tally<'a>,
}

impl Work<'_> {
    fn plan(&self, plan: &mut Plan) {
        let Self { scene, spec, old, tally } = self;
        let mut status = JobStatus {
            conditions: old.conditions.clone(),
            start_time: old.start_time.clone(),
            ..JobStatus::default()
        };
        tally.write(&mut status);
        let mut told = Vec::new();
        let suspended = spec.suspend == Some(true);
        if !suspended && status.start_time.is_none() {
            status.start_time = Some(scene.stamp());
        }

        let announced = end::announced(old).or_else(|| self.ending(&status, plan));
        let mut acts = Plan::default();
        if let Some(end) = announced {
            end::announce(&mut status, &end, scene.stamp());
            acts.effects.extend(tally.active.iter().map(|it| delete_pod(it)));
            // The end is written when nothing of the job runs any more and all of it is counted.
            let is_over = tally.active.is_empty() && tally.going.is_empty() && tally.is_counted();
            if is_over {
                end::conclude(&mut status, &end, scene.stamp());
                told.push(end.told());
            }
        } else if suspended {
            acts.effects.extend(tally.active.iter().map(|it| delete_pod(it)));
            if end::suspend(&mut status, true, scene.stamp()) {
                told.push(Told::normal("Suspended", "Job suspended"));
            }
            status.start_time = None;
        } else {
            if end::suspend(&mut status, false, scene.stamp()) {
                told.push(Told::normal("Resumed", "Job resumed"));
                status.start_time = Some(scene.stamp());
            }
            self.keep(&mut acts);
        }
        if scene.owner.status.as_ref() != Some(&status) {
            let effect = Effect::status(&Job { status: Some(status), ..Job::clone(scene.owner) });
            let mut told = told.into_iter();
            plan.push(match told.next() {
                Some(first) => effect.done(first),
                None => effect,
            });
            plan.effects.extend(told.map(Effect::tell));
        }
        release(tally.counted.iter().copied(), plan);
        plan.effects.append(&mut acts.effects);
        if let Some(at) = acts.again {
            plan.again_at(at);
        }
    }

    /// Whether this is the end, and which.
    fn ending(&self, status: &JobStatus, plan: &mut Plan) -> Option<End> {
        let Self { scene, spec, tally, .. } = self;
        if let Some(end) = tally.fatal.clone().or_else(|| tally.failure(spec)) {
            return Some(end);
        }
        if let (Some(seconds), Some(start)) = (spec.active_deadline_seconds, &status.start_time)
            && spec.suspend != Some(true)
        {
            let due = start.0.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
            if due <= scene.now {
                return Some(End::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
            }
            plan.again_at(due);
        }
        tally.success(spec)
    }

    /// As many pods as may run now.
    fn keep(&self, plan: &mut Plan) {
        let Self { scene, spec, tally, .. } = self;
        let wanted = usize::try_from(tally.wanted(spec)).unwrap_or_default();
        // While a pod is on its way out it may still run; who must not have two waits for its end.
        let only_failed = spec.pod_replacement_policy.as_deref() == Some("Failed");
        let held = if only_failed { tally.going.len() } else { 0 };
        let have = tally.active.len();
        if have > wanted {
            let mut active = tally.active.clone();
            pods::least_missed(&mut active, tally.active.iter().copied(), scene.now);
            plan.effects.extend(active.iter().take(have - wanted).map(|it| delete_pod(it)));
            return;
        }
        let missing = wanted.saturating_sub(have + held);
        if missing == 0 {
            return;
        }
        if let Some(at) = self.retry_at().filter(|it| *it > scene.now) {
            plan.again_at(at);
            return;
        }
        let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
        if is_indexed {
            let free = tally.free_indexes(spec, only_failed);
            plan.effects.extend(free.take(missing).map(|index| create_pod(&self.pod(Some(index)))));
        } else {
            let pod = self.pod(None);
            plan.effects.extend((0..missing).map(|_| create_pod(&pod)));
        }
    }

    /// When the next pod may be made after failures in a row.
    fn retry_at(&self) -> Option<Timestamp> {
        let (failures, last) = self.tally.failures_in_a_row()?;
        let factor = 1_i32.checked_shl(failures.saturating_sub(1)).filter(|it| *it > 0).unwrap_or(i32::MAX);
        let wait = FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY);
        Some(last.saturating_add(wait).unwrap_or(Timestamp::MAX))
    }

    fn pod(&self, index: Option<i32>) -> Pod {
        const INDEX: &str = indexes::ANNOTATION;
        let mut pod = template::pod(self.scene.owner.as_ref(), &self.spec.template);
        pod.metadata.finalizers.get_or_insert_default().push(TRACKING.to_owned());
        let Some(index) = index else { return pod };
        let name = self.scene.name();
        pod.metadata.generate_name = Some(format!("{name}-{index}-"));
        pod.metadata.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
        template::labels(&mut pod.metadata).insert(INDEX.to_owned(), index.to_string());
        if let Some(spec) = &mut pod.spec {
            spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
            let initial = spec.init_containers.iter_mut().flatten();
            for container in initial.chain(&mut spec.containers) {
                let env = container.env.get_or_insert_default();
                if !env.iter().any(|it| it.name == "JOB_COMPLETION_INDEX") {
                    env.push(EnvVar {
                        name: "JOB_COMPLETION_INDEX".to_owned(),
                        value: Some(index.to_string()),
                        value_from: None,
                    });
                }
            }
        }
        pod
    }
}

/// The time a pod ended: of its last container, or when it was last known not to be ready.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ends = containers.filter_map(|it| it.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()).map(|it| it.0);
    ends.max().or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|it| it.0)).map(|it| stamp(it).0)
}
