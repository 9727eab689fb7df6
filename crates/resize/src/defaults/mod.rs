//! What the API server fills in before anything else looks at a pod: on creation and on every update alike.
//!
//! Resources first (a missing request takes the limit, §1.4), then the fields whose absence has a meaning. There is no default for
//! `resizePolicy`: absent stays absent, and the node reads it as `NotRequired`.

mod fields;
mod requirements;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Fills in every default. Doing it twice changes nothing more.
pub fn apply(pod: &mut Pod) {
    requirements::round(pod);
    // A pod without a spec is one with an empty spec: the reference has no absent one.
    let spec = pod.spec.get_or_insert_default();
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        // The reference has no "no resources": an empty object is stored and shown.
        requirements::request_from_limit(container.resources.get_or_insert_default());
    }
    requirements::pod_level(pod);
    if let Some(spec) = &mut pod.spec {
        spec.enable_service_links.get_or_insert(true);
        let host_ports = spec.host_network == Some(true);
        fields::spec(spec, host_ports);
    }
}

/// Fills in what a pod template leaves out. Requests are not taken from limits, ports not from the machine, and nothing is said
/// of service links: that is done to the pod that is made from it.
pub fn template(spec: &mut PodSpec) {
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container.resources.get_or_insert_default();
    }
    fields::spec(spec, false);
}
