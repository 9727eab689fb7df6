//! What a request may touch: which parts of the incoming pod are kept, which are put back from the stored one, and when the
//! generation moves.
//!
//! Each function makes of the incoming pod what will be validated and stored (reference §1.2). All are idempotent.

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::resources::init_containers;
use crate::{qos, semantic};

/// A new pod: generation 1, and the only status a client does not write itself: pending, with its QoS class.
pub fn prepare_for_create(pod: &mut Pod) {
    pod.metadata.generation = Some(1);
    let gated = pod.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|it| !it.is_empty()));
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos::compute(pod).as_str().to_owned()),
        conditions: gated.then(|| vec![scheduling_gated()]),
        ..PodStatus::default()
    });
}

fn scheduling_gated() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    }
}

/// A plain update: the status stays, the generation moves with the spec.
pub fn prepare_for_update(new: &mut Pod, old: &Pod) {
    new.status.clone_from(&old.status);
    let same = match (&new.spec, &old.spec) {
        (Some(new), Some(old)) => specs_equal(new, old),
        (new, old) => new.is_some() == old.is_some(),
    };
    new.metadata.generation = next_generation(old, !same);
}

/// A resize: only resources and resize policies are taken, container by container in order. Where the containers do not match
/// the stored ones one by one, they are left as they came, for validation to refuse.
pub fn prepare_for_resize(new: &mut Pod, old: &Pod) {
    keep_metadata(&mut new.metadata, &old.metadata);
    keep(&mut new.status, &old.status);
    let (Some(spec), Some(stored)) = (&mut new.spec, &old.spec) else {
        new.metadata.generation = next_generation(old, new.spec.is_some() != old.spec.is_some());
        return;
    };
    let changed = if same_number(spec, stored) { take_resources(spec, stored) } else { true };
    new.metadata.generation = next_generation(old, changed);
}

/// A status update: the spec stays; so do QoS class and observed generation where the writer leaves them out.
pub fn prepare_for_status(new: &mut Pod, old: &Pod) {
    keep(&mut new.spec, &old.spec);
    new.metadata.generation = old.metadata.generation;
    new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    let stored = old.status.as_ref();
    let status = new.status.get_or_insert_default();
    if status.qos_class.as_deref().unwrap_or_default().is_empty() {
        status.qos_class = stored.and_then(|it| it.qos_class.clone());
    }
    if status.observed_generation.unwrap_or(0) == 0 {
        status.observed_generation = stored.and_then(|it| it.observed_generation);
    }
}

/// Comparing is cheaper than copying, and what may not change seldom does.
fn keep<T: Clone + PartialEq>(new: &mut T, old: &T) {
    if new != old {
        new.clone_from(old);
    }
}

fn next_generation(old: &Pod, changed: bool) -> Option<i64> {
    match old.metadata.generation {
        Some(generation) if changed => Some(generation.saturating_add(1)),
        None if changed => Some(1),
        kept => kept,
    }
}

/// What a write to a subresource may not touch. `resourceVersion` and `managedFields` are the request's business.
fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    new.generation = old.generation;
    new.self_link.clone_from(&old.self_link);
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}

fn same_number(a: &PodSpec, b: &PodSpec) -> bool {
    a.containers.len() == b.containers.len() && init_containers(a).len() == init_containers(b).len()
}

/// Makes `spec` the stored one with its own resources; whether that says something else than the stored one.
fn take_resources(spec: &mut PodSpec, stored: &PodSpec) -> bool {
    let containers = std::mem::take(&mut spec.containers);
    let init_containers = spec.init_containers.take();
    let resources = spec.resources.take();
    let mut changed = !semantic::requirements_equal(resources.as_ref(), stored.resources.as_ref());
    changed |= resources.is_some() != stored.resources.is_some();
    let (containers, differ) = take_containers(containers, &stored.containers);
    changed |= differ;
    let init_containers = match (init_containers, &stored.init_containers) {
        (Some(own), Some(stored)) => {
            let (taken, differ) = take_containers(own, stored);
            changed |= differ;
            Some(taken)
        }
        // Both are empty then: absent or an empty list, which says the same.
        (_, stored) => stored.clone(),
    };
    if !semantic::specs_identical_but_containers(spec, stored) {
        *spec = stored.clone();
    }
    (spec.containers, spec.init_containers, spec.resources) = (containers, init_containers, resources);
    changed
}

/// The stored containers with the resources and policies of the incoming ones, or the incoming ones as they are if their
/// names differ; and whether that says something else than the stored ones.
fn take_containers(incoming: Vec<Container>, stored: &[Container]) -> (Vec<Container>, bool) {
    if incoming.iter().zip(stored).any(|(new, old)| new.name != old.name) {
        return (incoming, true);
    }
    let mut changed = false;
    let taken = incoming.into_iter().zip(stored).map(|(new, old)| {
        changed |= !semantic::requirements_equal(new.resources.as_ref(), old.resources.as_ref());
        // Comparing is cheaper than copying, and a resize seldom brings anything else.
        if semantic::containers_identical_but_resources(&new, old) {
            return new;
        }
        changed |= !semantic::equal(&new.resize_policy, &old.resize_policy);
        Container { resources: new.resources, resize_policy: new.resize_policy, ..old.clone() }
    });
    (taken.collect(), changed)
}

/// Whether two specs say the same, amounts by value.
pub(crate) fn specs_equal(a: &PodSpec, b: &PodSpec) -> bool {
    if a == b {
        return true;
    }
    let mut a = a.clone();
    semantic::borrow_equal_resources(&mut a, b);
    semantic::equal(&a, b)
}
