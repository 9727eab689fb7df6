//! So many pods of one template, no matter which: the way of a ReplicaSet (reference: `pkg/controller/replicaset`).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::claim::selects;
use super::plan::{Effect, Plan, Scene, Told, Trouble};
use super::pods::{self, Available};
use super::template;
use super::view::controller_of;

/// At most so many pods are made or ended in one plan; the next one goes on.
const BURST: usize = 500;

/// A pod to be made, with what is told of it.
pub(super) fn create_pod(pod: &Pod) -> Effect {
    Effect::create(pod)
        .done(Told::normal("SuccessfulCreate", "Created pod: {name}"))
        .failed(Told::warning("FailedCreate", "Error creating: {error}"))
}

/// A pod to be ended, with what is told of it.
pub(super) fn delete_pod(pod: &Pod) -> Effect {
    Effect::delete(pod)
        .done(Told::normal("SuccessfulDelete", "Deleted pod: {name}"))
        .failed(Told::warning("FailedDelete", "Error deleting: {error}"))
}

/// What a ReplicaSet needs done.
pub(super) fn plan(scene: &Scene<'_, ReplicaSet>) -> Plan {
    let mut plan = Plan::default();
    let spec = scene.owner.spec.clone().unwrap_or_default();
    let mine = scene.claim::<Pod>(Some(&spec.selector), |_| true, &mut plan);
    let active: Vec<&Arc<Pod>> = mine.iter().copied().filter(|it| pods::is_active(it)).collect();
    let status = status(scene, &spec, &mine, &active, &mut plan);
    if scene.owner.status.as_ref() != Some(&status) {
        plan.push(Effect::status(&ReplicaSet { status: Some(status), ..ReplicaSet::clone(scene.owner) }));
    }
    if !scene.is_going() {
        keep(scene, &spec, active, &mut plan);
    }
    plan
}

/// As many pods as are asked for.
fn keep(scene: &Scene<'_, ReplicaSet>, spec: &ReplicaSetSpec, mut active: Vec<&Arc<Pod>>, plan: &mut Plan) {
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let given = spec.template.clone().unwrap_or_default();
    if active.len() < wanted {
        let pod = template::pod(scene.owner.as_ref(), &given);
        plan.effects.extend((active.len()..wanted).take(BURST).map(|_| create_pod(&pod)));
    } else if active.len() > wanted {
        let surplus = active.len() - wanted;
        pods::least_missed(&mut active, siblings(scene), scene.now);
        plan.effects.extend(active.iter().take(surplus.min(BURST)).map(|it| delete_pod(it)));
    }
}

/// The pods of every ReplicaSet with the same owner, ours among them.
fn siblings<'a>(scene: &Scene<'a, ReplicaSet>) -> Vec<&'a Arc<Pod>> {
    let namespace = scene.namespace();
    let pods_of = |uid: &str| scene.view.pods.controlled_by(uid, namespace).collect::<Vec<_>>();
    match controller_of(scene.meta()) {
        None => pods_of(scene.uid()),
        Some(owner) => {
            let sets = scene.view.replica_sets.controlled_by(&owner.uid, namespace);
            sets.filter_map(|it| it.metadata.uid.as_deref()).flat_map(pods_of).collect()
        }
    }
}

fn status(
    scene: &Scene<'_, ReplicaSet>,
    spec: &ReplicaSetSpec,
    mine: &[&Arc<Pod>],
    active: &[&Arc<Pod>],
    plan: &mut Plan,
) -> ReplicaSetStatus {
    let labelled = spec.template.as_ref().and_then(|it| it.metadata.as_ref()?.labels.clone()).unwrap_or_default();
    let labelled = labelled.into_iter().collect::<kube::core::Selector>();
    let count =
        |is: &dyn Fn(&Pod) -> bool| i32::try_from(active.iter().filter(|it| is(it)).count()).unwrap_or(i32::MAX);
    let mut ripe = 0;
    for pod in active {
        match pods::available(pod, spec.min_ready_seconds.unwrap_or_default(), scene.now) {
            Available::Yes => ripe += 1,
            Available::At(at) => plan.again_at(at),
            Available::No => {}
        }
    }
    let some = |count: i32| (count > 0).then_some(count);
    let going = mine.iter().filter(|it| pods::is_going(it) && !pods::is_over(it)).count();
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(count(&|pod| selects(&labelled, &pod.metadata))),
        ready_replicas: some(count(&pods::is_ready)),
        available_replicas: some(ripe),
        terminating_replicas: Some(i32::try_from(going).unwrap_or(i32::MAX)),
        observed_generation: scene.meta().generation,
        conditions: conditions(scene),
    }
}

/// `ReplicaFailure` while pods cannot be made or ended.
fn conditions(scene: &Scene<'_, ReplicaSet>) -> Option<Vec<ReplicaSetCondition>> {
    let old = scene.owner.status.as_ref().and_then(|it| it.conditions.clone()).unwrap_or_default();
    let (failure, mut others): (Vec<_>, Vec<_>) = old.into_iter().partition(|it| it.type_ == "ReplicaFailure");
    if let Some(Trouble { reason, message }) = scene.trouble {
        others.push(failure.into_iter().next().unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            last_transition_time: Some(scene.stamp()),
        }));
    }
    (!others.is_empty()).then_some(others)
}
