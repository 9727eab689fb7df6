//! How many pods may be disturbed now: the way of a PodDisruptionBudget (reference: `pkg/controller/disruption`). The
//! eviction of a pod spends what this grants.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use supple_resize::rolling::{Round, resolve};

use super::claim;
use super::plan::{Effect, Plan, Scene, Told};
use super::pods;
use super::view::{Key, Kind, controller_of};

/// How long a pod whose eviction was granted may take to begin to go; then it is taken to stay.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// What a budget needs done.
pub(super) fn plan(scene: &Scene<'_, PodDisruptionBudget>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = scene.owner.spec.clone() else { return plan };
    let selector = spec.selector.as_ref().and_then(claim::selector);
    let all = scene.view.pods.within(scene.namespace());
    let covered: Vec<&Arc<Pod>> =
        all.filter(|it| selector.as_ref().is_some_and(|selector| claim::selects(selector, &it.metadata))).collect();

    let old = scene.owner.status.clone().unwrap_or_default();
    let disrupted = still_disrupted(scene, &old, &covered, &mut plan);
    let healthy = count(covered.iter().filter(|it| is_healthy(it, &disrupted)));
    let (expected, desired) = expectation(scene, &spec, &covered);
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: scene.meta().generation,
        conditions: old.conditions.clone(),
    };
    set_condition(scene, &mut status, allowed > 0);
    if scene.owner.status.as_ref() != Some(&status) {
        if covered.is_empty() && old.observed_generation != status.observed_generation {
            plan.push(Effect::tell(Told::normal("NoPods", "No matching pods found")));
        }
        plan.push(Effect::status(&PodDisruptionBudget {
            status: Some(status),
            ..PodDisruptionBudget::clone(scene.owner)
        }));
    }
    plan
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

type Disrupted = BTreeMap<String, k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>;

fn is_healthy(pod: &Pod, disrupted: &Disrupted) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    !pods::is_going(pod) && !disrupted.contains_key(name) && pods::is_ready(pod)
}

/// Granted evictions that are still on their way: not those whose pod is gone or going, nor those that never came.
fn still_disrupted(
    scene: &Scene<'_, PodDisruptionBudget>,
    old: &PodDisruptionBudgetStatus,
    covered: &[&Arc<Pod>],
    plan: &mut Plan,
) -> Disrupted {
    let mut kept = Disrupted::new();
    for (name, granted) in old.disrupted_pods.iter().flatten() {
        let there = covered.iter().any(|it| it.metadata.name.as_ref() == Some(name) && !pods::is_going(it));
        let until = granted.0.saturating_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX);
        if !there {
            continue;
        }
        if until < scene.now {
            let text =
                format!("Pod was expected by PDB {}/{} to be deleted but it wasn't", scene.namespace(), scene.name());
            plan.push(Effect::tell(Told::warning("NotDeleted", text)));
        } else {
            plan.again_at(until);
            kept.insert(name.clone(), granted.clone());
        }
    }
    kept
}

/// How many pods there should be, and how many of them must stay healthy. A percentage, and `maxUnavailable`, are of
/// what the pods' owners want, not of what is there; pods without an owner count for nothing then.
fn expectation(
    scene: &Scene<'_, PodDisruptionBudget>,
    spec: &PodDisruptionBudgetSpec,
    covered: &[&Arc<Pod>],
) -> (i32, i32) {
    if let Some(most) = &spec.max_unavailable {
        let scale = expected_scale(scene, covered);
        return (scale, (scale - resolve(most, scale, Round::Up)).max(0));
    }
    match &spec.min_available {
        Some(least @ IntOrString::String(_)) => {
            let scale = expected_scale(scene, covered);
            (scale, resolve(least, scale, Round::Up))
        }
        Some(IntOrString::Int(least)) => (count(covered.iter()), *least),
        None => (count(covered.iter()), 1),
    }
}

/// The sum of the replicas of the pods' owners, each counted once.
fn expected_scale(scene: &Scene<'_, PodDisruptionBudget>, covered: &[&Arc<Pod>]) -> i32 {
    let mut owners: BTreeSet<(Kind, Key)> = BTreeSet::new();
    let namespace = scene.namespace();
    for pod in covered {
        let Some(owner) = controller_of(&pod.metadata) else { continue };
        let Some(kind) = Kind::of_reference(owner) else { continue };
        let key = Key::new(namespace, &owner.name);
        let above = (kind == Kind::ReplicaSet)
            .then(|| controller_of(&scene.view.replica_sets.get(&key)?.metadata))
            .flatten()
            .filter(|it| Kind::of_reference(it) == Some(Kind::Deployment));
        owners.insert(match above {
            Some(deployment) => (Kind::Deployment, Key::new(namespace, &deployment.name)),
            None => (kind, key),
        });
    }
    let view = scene.view;
    let replicas = |(kind, key): &(Kind, Key)| match kind {
        Kind::Deployment => view.deployments.get(key)?.spec.as_ref()?.replicas,
        Kind::ReplicaSet => view.replica_sets.get(key)?.spec.as_ref()?.replicas,
        Kind::StatefulSet => view.stateful_sets.get(key)?.spec.as_ref()?.replicas,
        _ => None,
    };
    owners.iter().filter_map(replicas).sum()
}

fn set_condition(scene: &Scene<'_, PodDisruptionBudget>, status: &mut PodDisruptionBudgetStatus, allowed: bool) {
    const TYPE: &str = "DisruptionAllowed";
    let (is, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let conditions = status.conditions.get_or_insert_default();
    let since =
        conditions.iter().find(|it| it.type_ == TYPE && it.status == is).map(|it| it.last_transition_time.clone());
    let condition = Condition {
        type_: TYPE.to_owned(),
        status: is.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: scene.meta().generation,
        last_transition_time: since.unwrap_or_else(|| scene.stamp()),
    };
    match conditions.iter_mut().find(|it| it.type_ == TYPE) {
        Some(there) => *there = condition,
        None => conditions.push(condition),
    }
}
