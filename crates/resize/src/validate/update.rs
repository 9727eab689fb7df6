//! Plain updates of a pod: the few fields that may change, and the refusal of all others.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::{Options, container, meta, pod};
use crate::field::{Absent, FieldError, Path};
use crate::resources::init_containers;
use crate::strategy::specs_equal;

/// The list of what may change, as the refusal names it.
const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set \
    to 1 if it was previously negative)";

pub(super) fn update(new: &Pod, old: &Pod, options: Options) -> Vec<FieldError> {
    let mut errors = meta::update(&new.metadata, &old.metadata);
    errors.extend(pod::spec(new, Some(old), options));
    let path = Path::root("spec");
    let (Some(spec), Some(stored)) = (&new.spec, &old.spec) else { return errors };
    let lists = [
        ("containers", spec.containers.as_slice(), stored.containers.as_slice()),
        ("initContainers", init_containers(spec), init_containers(stored)),
    ];
    for (field, new, old) in lists {
        if new.len() != old.len() {
            errors.push(path.child(field).forbidden("pod updates may not add or remove containers"));
            return errors;
        }
        let path = path.child(field);
        for (index, it) in new.iter().enumerate() {
            errors.extend(container::image(it.image.as_deref(), &path.index(index)));
        }
    }
    match deadline(spec, stored, &path) {
        Deadline::Refused(error) => {
            errors.push(error);
            return errors;
        }
        Deadline::Removed(error) => errors.push(error),
        Deadline::Fine => {}
    }
    let path_of_tolerations = path.child("tolerations");
    let tolerations = |spec: &PodSpec| spec.tolerations.clone().unwrap_or_default();
    let kept = tolerations(spec);
    // Only the seconds of one that stands already may change.
    let missing = tolerations(stored).into_iter().any(|old| {
        !kept.iter().any(|new| {
            let mut same = new.clone();
            same.toleration_seconds = old.toleration_seconds;
            same == old
        })
    });
    if missing {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(path_of_tolerations.forbidden(detail));
    }
    let path_of_gates = path.child("schedulingGates");
    let stored_gates = stored.scheduling_gates.as_deref().unwrap_or_default();
    let gates = spec.scheduling_gates.iter().flatten().enumerate();
    if let Some((index, _)) = gates.into_iter().find(|(_, gate)| !stored_gates.contains(gate)) {
        let detail = "only deletion is allowed, but found new scheduling gate";
        errors.push(path_of_gates.index(index).forbidden(detail));
    }
    if !specs_equal(&munged(spec, stored, !stored_gates.is_empty()), stored) {
        errors.push(path.forbidden(format!("pod updates may not change fields other than {UPDATABLE}\n")));
    }
    errors
}

enum Deadline {
    Fine,
    /// Noted, and the other rules are looked at too.
    Removed(FieldError),
    /// Ends validation.
    Refused(FieldError),
}

/// A deadline may be set and brought nearer.
fn deadline(new: &PodSpec, old: &PodSpec, path: &Path<'_>) -> Deadline {
    let path = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            Deadline::Refused(path.invalid(seconds, format!("must be between 0 and {}, inclusive", i32::MAX)))
        }
        (Some(new), Some(old)) if old < new => {
            Deadline::Refused(path.invalid(new, "must be less than or equal to previous value"))
        }
        (None, Some(_)) => {
            Deadline::Removed(path.invalid(Absent, "must not update from a positive integer to nil value"))
        }
        _ => Deadline::Fine,
    }
}

/// The new spec with what may change taken from the stored one: what then differs may not.
fn munged(new: &PodSpec, old: &PodSpec, gated: bool) -> PodSpec {
    let mut munged = new.clone();
    let images = |new: &mut [Container], old: &[Container]| {
        for (new, old) in new.iter_mut().zip(old) {
            new.image.clone_from(&old.image);
        }
    };
    images(&mut munged.containers, &old.containers);
    images(munged.init_containers.as_deref_mut().unwrap_or_default(), init_containers(old));
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|it| it < 0) && new.termination_grace_period_seconds == Some(1)
    {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if gated && only_adds_node_selectors(new, old) {
        // A pod that is not to be scheduled yet may still be told where it may go.
        munged.node_selector.clone_from(&old.node_selector);
    }
    munged
}

fn only_adds_node_selectors(new: &PodSpec, old: &PodSpec) -> bool {
    let new = new.node_selector.clone().unwrap_or_default();
    old.node_selector.iter().flatten().all(|(key, value)| new.get(key) == Some(value))
}
