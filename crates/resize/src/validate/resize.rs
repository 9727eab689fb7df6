//! The rules of a resize (reference §2.1): which of a pod's fields it may change, and how far.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

use super::{Options, meta, pod};
use crate::field::{FieldError, Path};
use crate::qos;
use crate::resources::{CPU, ContainerKind, MEMORY, WireList, init_containers, wire_quantity};
use crate::semantic;

const MUTABLE: &str = "only cpu and memory resources are mutable";

pub(super) fn resize(new: &Pod, old: &Pod, options: Options) -> Vec<FieldError> {
    // V2, V3: these replace everything else, even for a change of nothing.
    let mirror = old.metadata.annotations.as_ref().is_some_and(|it| it.contains_key("kubernetes.io/config.mirror"));
    if mirror {
        return vec![Path::WHOLE.forbidden("static pods cannot be resized")];
    }
    let windows = old.spec.as_ref().and_then(|spec| spec.os.as_ref()).is_some_and(|os| os.name == "windows");
    if windows {
        return vec![Path::WHOLE.forbidden("windows pods cannot be resized")];
    }
    // V1: what holds for every pod holds for a resized one.
    let mut errors = meta::update(&new.metadata, &old.metadata);
    errors.extend(pod::spec(new, Some(old), options));
    let spec = Path::root("spec");
    errors.extend(class_kept(new, old, &spec));
    errors.extend(node_can(old, &spec));
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return errors };
    let used = |spec: &PodSpec| spec.resources.as_ref().is_some_and(|it| stated(it) > 0);
    if !options.pod_level_resize && (used(new_spec) || used(old_spec)) {
        const TEXT: &str = "resize of pods with pod-level resources is forbidden when \
            InPlacePodLevelResourcesVerticalScalingEnabled feature gate is disabled";
        errors.push(Path::WHOLE.forbidden(TEXT));
        return errors;
    }
    errors.extend(pod_level(new_spec, old_spec, &spec));
    let claimed = old.status.as_ref().and_then(|status| status.node_allocatable_resource_claim_statuses.as_ref());
    if claimed.is_some_and(|it| !it.is_empty()) {
        errors.push(spec.forbidden("pods with node allocatable resource claims cannot be resized"));
    }
    let mismatches = mismatches(new_spec, old_spec, &spec);
    if !mismatches.is_empty() {
        errors.extend(mismatches);
        return errors;
    }
    errors.extend(containers(new_spec, old_spec, options, &spec));
    // V18: nothing else differs, which the strategy has seen to.
    if errors.is_empty() && !semantic::specs_equal_but_containers(new_spec, old_spec) {
        errors.push(spec.forbidden(MUTABLE));
    }
    errors
}

/// V4: the class is compared with the stored one, however that came about.
fn class_kept(new: &Pod, old: &Pod, path: &Path<'_>) -> Option<FieldError> {
    let stored = old.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or_default();
    let before = if stored.is_empty() { qos::compute(old).as_str() } else { stored };
    (before != qos::compute(new).as_str())
        .then(|| path.invalid(stored, "Pod QOS Class may not change as a result of resizing"))
}

/// V5: a node that knows resizes states what a running container has. The first running one decides.
fn node_can(old: &Pod, path: &Path<'_>) -> Option<FieldError> {
    let statuses = old.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut running = statuses.filter(|it| it.state.as_ref().is_some_and(|state| state.running.is_some()));
    running
        .next()
        .is_some_and(|it| it.resources.is_none())
        .then(|| path.forbidden("Pod running on node without support for resize"))
}

/// How many things are stated at all.
fn stated(own: &ResourceRequirements) -> usize {
    own.limits.as_ref().map_or(0, WireList::len)
        + own.requests.as_ref().map_or(0, WireList::len)
        + own.claims.as_ref().map_or(0, Vec::len)
}

/// V7 to V9: pod-level resources are added and changed, never taken away.
fn pod_level(new: &PodSpec, old: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let resources = path.child("resources");
    let Some(new) = &new.resources else {
        if old.resources.is_some() {
            errors.push(resources.forbidden("pod-level resources cannot be removed"));
        }
        return errors;
    };
    let nothing = ResourceRequirements::default();
    let old = old.resources.as_ref().unwrap_or(&nothing);
    if removed(new.requests.as_ref(), old.requests.as_ref()) {
        errors.push(resources.child("requests").forbidden("pod-level resource requests cannot be removed"));
    }
    if removed(new.limits.as_ref(), old.limits.as_ref()) {
        errors.push(resources.child("limits").forbidden("pod-level resource limits cannot be removed"));
    }
    if !same_but_cpu_and_memory(new, old) {
        errors.push(path.forbidden("only cpu and memory resources are mutable at pod-level"));
    }
    errors
}

/// Whether a resource that was stated no longer is. A zero is a statement.
fn removed(new: Option<&WireList>, old: Option<&WireList>) -> bool {
    old.into_iter().flatten().any(|(name, _)| new.is_none_or(|new| !new.contains_key(name)))
}

/// Whether two statements differ at most in CPU and memory.
fn same_but_cpu_and_memory(new: &ResourceRequirements, old: &ResourceRequirements) -> bool {
    // The reference compares a copy rebuilt without claims, so that claims in the old statement never compare as equal.
    let claims = old.claims.as_ref().is_some_and(|claims| !claims.is_empty());
    !claims
        && others_equal(new.requests.as_ref(), old.requests.as_ref())
        && others_equal(new.limits.as_ref(), old.limits.as_ref())
}

fn others_equal(new: Option<&WireList>, old: Option<&WireList>) -> bool {
    let others = |list: Option<&'_ WireList>| {
        let entries = list.into_iter().flatten().filter(|(name, _)| *name != CPU && *name != MEMORY);
        entries.map(|(name, quantity)| (name.clone(), wire_quantity(quantity))).collect::<Vec<_>>()
    };
    new == old || others(new) == others(old)
}

/// V11, V12: the containers are the same ones, in the same order.
fn mismatches(new: &PodSpec, old: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let lists = [
        ("containers", new.containers.as_slice(), old.containers.as_slice()),
        ("initContainers", init_containers(new), init_containers(old)),
    ];
    for (field, _, _) in lists.iter().filter(|(_, new, old)| new.len() != old.len()) {
        errors.push(path.child(field).forbidden(format!("{field} may not be added or removed on resize")));
    }
    for (field, new, old) in lists.into_iter().filter(|(_, new, old)| new.len() == old.len()) {
        let path = path.child(field);
        for (index, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
            let detail = format!("{field} may not be renamed or reordered on resize");
            errors.push(path.index(index).child("name").forbidden(detail));
        }
    }
    errors
}

/// V13 to V17, container by container.
fn containers(new: &PodSpec, old: &PodSpec, options: Options, path: &Path<'_>) -> Vec<FieldError> {
    let mut removals = Vec::new();
    let mut changes = Vec::new();
    let list = path.child("initContainers");
    let init = init_containers(new).iter().zip(init_containers(old)).enumerate();
    for (index, (new, old)) in init {
        let own = list.index(index);
        let kind = ContainerKind::of_init(new);
        if kind == ContainerKind::Sidecar || options.init_container_resize {
            removals.extend(removals_of(new, old, &own));
        }
        let changed = !semantic::requirements_equal(new.resources.as_ref(), old.resources.as_ref());
        if kind == ContainerKind::Init && changed && !options.init_container_resize {
            changes.push(path.forbidden("resources for non-sidecar init containers are immutable"));
            continue;
        }
        if !differs_only_in_cpu_and_memory(new, old) {
            changes.push(own.forbidden("only cpu and memory resources for init or sidecar containers are mutable"));
        }
        let restarts = new.resize_policy.iter().flatten().any(|it| it.restart_policy == "RestartContainer");
        if kind == ContainerKind::Init && changed && restarts {
            const TEXT: &str = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            changes.push(own.forbidden(TEXT));
        }
    }
    let list = path.child("containers");
    let mut regular_changes = Vec::new();
    for (index, (new, old)) in new.containers.iter().zip(&old.containers).enumerate() {
        removals.extend(removals_of(new, old, &list.index(index)));
        if !differs_only_in_cpu_and_memory(new, old) {
            regular_changes.push(path.forbidden(MUTABLE));
        }
    }
    removals.extend(regular_changes);
    removals.extend(changes);
    removals
}

/// V13.
fn removals_of(new: &Container, old: &Container, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = path.child("resources");
    let (new, old) = (new.resources.as_ref(), old.resources.as_ref());
    if removed(new.and_then(|it| it.requests.as_ref()), old.and_then(|it| it.requests.as_ref())) {
        errors.push(path.child("requests").forbidden("resource requests cannot be removed"));
    }
    if removed(new.and_then(|it| it.limits.as_ref()), old.and_then(|it| it.limits.as_ref())) {
        errors.push(path.child("limits").forbidden("resource limits cannot be removed"));
    }
    errors
}

/// V14, V15.
fn differs_only_in_cpu_and_memory(new: &Container, old: &Container) -> bool {
    let nothing = ResourceRequirements::default();
    if !same_but_cpu_and_memory(new.resources.as_ref().unwrap_or(&nothing), old.resources.as_ref().unwrap_or(&nothing))
    {
        return false;
    }
    semantic::containers_equal_but_resources(new, old)
}
