//! The pod's spec as a whole: containers, volumes, resources, and the fields that have a form.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::container::{self, Surroundings, one_of};
use super::{Options, fields, names, requirements};
use crate::field::{FieldError, Path};
use crate::resources::init_containers;

/// What is wrong with the spec. `stored` is the pod it replaces: some things are tolerated where they stand already.
pub(super) fn spec(pod: &Pod, stored: Option<&Pod>, options: Options) -> Vec<FieldError> {
    let path = Path::root("spec");
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let mut errors = volumes(spec, &path.child("volumes"));
    errors.extend(all_containers(spec, stored, options, &path));
    errors.extend(requirements::pod(pod));
    errors.extend(one_of(
        spec.restart_policy.as_deref(),
        &["Always", "Never", "OnFailure"],
        &path.child("restartPolicy"),
    ));
    errors.extend(one_of(
        spec.dns_policy.as_deref(),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        &path.child("dnsPolicy"),
    ));
    errors.extend(fields::check(spec, &path));
    errors
}

/// What is added to a pod only once it exists.
pub(super) fn only_later(pod: &Pod) -> Vec<FieldError> {
    let path = Path::root("spec");
    let mut errors = Vec::new();
    let Some(spec) = &pod.spec else { return errors };
    if spec.ephemeral_containers.as_ref().is_some_and(|it| !it.is_empty()) {
        errors.push(path.child("ephemeralContainers").forbidden("cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|it| !it.is_empty());
    if gated && spec.node_name.as_ref().is_some_and(|it| !it.is_empty()) {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(path.child("nodeName").forbidden(detail));
    }
    errors
}

fn all_containers(spec: &PodSpec, stored: Option<&Pod>, options: Options, path: &Path<'_>) -> Vec<FieldError> {
    let claims: Vec<&str> = spec.resource_claims.iter().flatten().map(|it| it.name.as_str()).collect();
    let volumes: Vec<&str> = spec.volumes.iter().flatten().map(|it| it.name.as_str()).collect();
    let stored_init = stored.and_then(|pod| pod.spec.as_ref()).map(init_containers).unwrap_or_default();
    let around = Surroundings {
        restart_policy: spec.restart_policy.as_deref().unwrap_or_default(),
        claims: &claims,
        volumes: &volumes,
        stored_init,
        options,
    };
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    let list = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(list.required(""));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        errors.extend(container::regular(container, &around, &mut seen, &list.index(index)));
    }
    errors.extend(host_ports(&spec.containers, &list));
    let list = path.child("initContainers");
    for (index, container) in init_containers(spec).iter().enumerate() {
        errors.extend(container::init(container, &around, &mut seen, &list.index(index)));
    }
    let list = path.child("ephemeralContainers");
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        errors.extend(container::ephemeral(container, &mut seen, &list.index(index)));
    }
    errors
}

/// Two containers of a pod cannot have the same port of the machine.
fn host_ports(containers: &[Container], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|it| *it != 0) else { continue };
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let address = port.host_ip.as_deref().unwrap_or_default();
            if !seen.insert((number, protocol, address)) {
                let shown = format!("{number}//{protocol}");
                errors.push(path.index(index).child("hostPort").duplicate(&shown));
            }
        }
    }
    errors
}

fn volumes(spec: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let path = path.index(index);
        let path = path.child("name");
        if volume.name.is_empty() {
            errors.push(path.required(""));
        } else {
            errors.extend(names::dns_label(&volume.name).into_iter().map(|it| path.invalid(&volume.name, it)));
        }
        if !seen.insert(volume.name.as_str()) {
            errors.push(path.duplicate(&volume.name));
        }
    }
    errors
}
