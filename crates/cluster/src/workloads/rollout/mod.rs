//! From one template to the next, step by step: the way of a Deployment over its ReplicaSets (reference:
//! `pkg/controller/deployment`).
//!
//! A plan makes one step and waits for what it does to be seen; how many pods may be too many or too few at any moment
//! follows from what is seen alone, so that a plan made again, or after a kill, makes no further step.
//!
//! ```text
//! paused or resized ─▶ scale (proportionally, where several generations run)
//! else Recreate     ─▶ old down ─▶ old gone ─▶ new up
//!      Rolling      ─▶ new up as far as the surge lets ─▶ old down as far as what is available lets
//! then              ─▶ history, status
//! ```

mod fleet;
mod progress;
mod revision;
mod scale;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use supple_resize::rolling::Fence;

use super::plan::{Effect, Plan, Scene, Told};
use super::pods;
use fleet::Fleet;

/// Replicas where nothing is said.
const REPLICAS: i32 = 1;

/// What of a Deployment decides a step, read once.
struct Wanted<'a> {
    spec: &'a DeploymentSpec,
    replicas: i32,
    is_rolling: bool,
    fence: Fence,
}

impl<'a> Wanted<'a> {
    fn of(spec: &'a DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(REPLICAS);
        let strategy = spec.strategy.as_ref();
        let is_rolling = strategy.and_then(|it| it.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate";
        let fence = if is_rolling {
            Fence::of_deployment(strategy.and_then(|it| it.rolling_update.as_ref()), replicas)
        } else {
            Fence { surge: 0, unavailable: 0 }
        };
        Self { spec, replicas, is_rolling, fence }
    }

    /// Never more pods than this.
    fn ceiling(&self) -> i32 {
        self.replicas.saturating_add(self.fence.surge)
    }

    /// Never fewer available pods than this, if it can be helped.
    fn floor(&self) -> i32 {
        self.replicas - self.fence.unavailable
    }

    /// Seconds without progress after which a rollout has failed; `None`: never.
    fn deadline(&self) -> Option<i32> {
        self.spec.progress_deadline_seconds.filter(|it| *it != i32::MAX)
    }
}

/// What a Deployment needs done.
pub(super) fn plan(scene: &Scene<'_, Deployment>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = scene.owner.spec.clone() else { return plan };
    let wanted = Wanted::of(&spec);
    let mine = scene.claim::<ReplicaSet>(Some(&spec.selector), |_| true, &mut plan);
    let mut fleet = Fleet::of(&mine, &spec.template);
    let seen = fleet.clone();
    let mut deployment = Deployment::clone(scene.owner);
    let old_status = deployment.status.clone().unwrap_or_default();

    if scene.is_going() {
        revision::sync(scene, &mut deployment, &mut fleet);
        settle(scene, &wanted, &fleet, deployment, old_status, Judge::Nothing, &mut plan);
        return plan;
    }
    let mut status = old_status.clone();
    if wanted.deadline().is_some() && progress::note_pause(&mut status, spec.paused == Some(true), scene.stamp()) {
        plan.push(Effect::status(&Deployment { status: Some(status), ..deployment }));
        return plan;
    }
    revision::sync(scene, &mut deployment, &mut fleet);
    if spec.paused == Some(true) || fleet.is_being_scaled(wanted.replicas) {
        scale::proportionally(&wanted, &deployment, &mut fleet);
        fleet.write_out(&seen, &mut plan);
        if spec.paused == Some(true) {
            clean_up(&spec, &fleet, &mut plan);
        }
        settle(scene, &wanted, &fleet, deployment, old_status, Judge::Nothing, &mut plan);
        return plan;
    }
    if wanted.is_rolling {
        if fleet.new.is_none() && !revision::create(scene, &wanted, &mut deployment, &mut fleet, &mut plan) {
            return plan;
        }
        let moved = scale::new_up(&wanted, &mut fleet) || scale::old_down(&wanted, &mut fleet);
        fleet.write_out(&seen, &mut plan);
        if !moved {
            clean_up(&spec, &fleet, &mut plan);
        }
    } else {
        let moved = scale::old_to_zero(&wanted, &mut fleet);
        if !moved && !old_pods_run(scene, &mine, &fleet) {
            if fleet.new.is_none() && !revision::create(scene, &wanted, &mut deployment, &mut fleet, &mut plan) {
                return plan;
            }
            scale::new_up(&wanted, &mut fleet);
        }
        fleet.write_out(&seen, &mut plan);
        if !moved && progress::is_complete(&wanted, &progress::counts(scene, &wanted, &fleet, &old_status)) {
            clean_up(&spec, &fleet, &mut plan);
        }
    }
    settle(scene, &wanted, &fleet, deployment, old_status, Judge::Progress, &mut plan);
    plan
}

/// Whether progress is judged: not while the number of replicas is being changed, which says nothing about a rollout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judge {
    Nothing,
    Progress,
}

/// The status, last: it tells of steps that have been made.
fn settle(
    scene: &Scene<'_, Deployment>,
    wanted: &Wanted<'_>,
    fleet: &Fleet,
    deployment: Deployment,
    old: DeploymentStatus,
    judge: Judge,
    plan: &mut Plan,
) {
    // What `revision` noted in passing counts as the state before.
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = progress::counts(scene, wanted, fleet, &before);
    if judge == Judge::Progress {
        progress::judge(scene, wanted, fleet, &before, &mut status, plan);
    }
    let annotated = deployment.metadata.annotations != scene.owner.metadata.annotations;
    if annotated || status != old || scene.owner.status.is_none() {
        plan.push(Effect::status(&Deployment { status: Some(status), ..deployment }));
    }
}

/// Whether pods of earlier generations still run, also such as are on their way out.
fn old_pods_run(scene: &Scene<'_, Deployment>, mine: &[&std::sync::Arc<ReplicaSet>], fleet: &Fleet) -> bool {
    let new = fleet.new.as_ref().and_then(|it| it.metadata.uid.clone());
    let old = mine.iter().filter(|it| it.metadata.uid != new);
    old.into_iter().any(|set| {
        fleet::running(set) > 0
            || scene
                .view
                .pods
                .controlled_by(set.metadata.uid.as_deref().unwrap_or_default(), scene.namespace())
                .any(|pod| !pods::is_over(pod))
    })
}

/// Delete the oldest generations that nobody needs, beyond `revisionHistoryLimit`.
fn clean_up(spec: &DeploymentSpec, fleet: &Fleet, plan: &mut Plan) {
    let Some(limit) = spec.revision_history_limit.filter(|it| *it != i32::MAX) else { return };
    let mut past: Vec<&ReplicaSet> = fleet.old.iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
    let surplus = past.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    past.sort_by_key(|it| (revision::of(&it.metadata), it.metadata.creation_timestamp.clone()));
    for set in past.into_iter().take(surplus) {
        if fleet::running(set) == 0 && fleet::replicas(set) == 0 && fleet::is_observed(set) {
            plan.push(Effect::delete(set));
        }
    }
}

/// What is told of a new size.
fn scaled(name: &str, from: i32, to: i32) -> Told {
    let way = if from < to { "up" } else { "down" };
    Told::normal("ScalingReplicaSet", format!("Scaled {way} replica set {name} from {from} to {to}"))
}
