//! Whether the node a pod is bound to could hold it at all (reference §3.2, §3.3).
//!
//! Compared with the empty node, not with what is free: what does not fit *now* is the node's own decision.

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use supple_quantity::{Bytes, MilliCpu};

use super::Denial;
use crate::resources::{ContainerKind, ResourceList, init_containers, pod_requests};
use crate::semantic;

/// What a node must declare to have pod-level resources resized.
pub const POD_LEVEL_RESIZE: &str = "InPlacePodLevelResourcesVerticalScaling";
/// What a node must declare to have plain init containers resized.
pub const INIT_CONTAINER_RESIZE: &str = "InPlacePodVerticalScalingInitContainers";

/// Whether the resize asks nothing impossible of the pod's node. `node` is the one the pod names, if it exists; it is not looked at for
/// pods that are not bound.
///
/// # Errors
/// A feature the node does not declare; an unknown node, one that is not Linux, or one that is too small even when empty.
pub fn check(new: &Pod, old: &Pod, node: Option<&Node>) -> Result<(), Denial> {
    let Some(name) = new.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    // A resize to what the pod already is passes even where that is already too much.
    if new.metadata.generation == old.metadata.generation {
        return Ok(());
    }
    let Some(node) = node else {
        return Err(Denial::because(format!("node {name:?} not found")));
    };
    declared_features(new, old, name, node)?;
    platform(name, node)?;
    room(new, node)
}

fn declared_features(new: &Pod, old: &Pod, name: &str, node: &Node) -> Result<(), Denial> {
    let declared = node.status.as_ref().and_then(|status| status.declared_features.as_deref()).unwrap_or_default();
    let missing: Vec<&str> =
        required_features(new, old).into_iter().filter(|feature| !declared.iter().any(|it| it == feature)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Denial::because(format!(
        "pod update requires features {} which are not available on node {name:?}",
        missing.join(", ")
    )))
}

/// The features the change from `old` to `new` needs, in alphabetical order.
#[must_use]
pub fn required_features(new: &Pod, old: &Pod) -> Vec<&'static str> {
    let mut needed = Vec::new();
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return needed };
    if !semantic::requirements_equal(new.resources.as_ref(), old.resources.as_ref()) {
        needed.push(POD_LEVEL_RESIZE);
    }
    let mut init = init_containers(new).iter().zip(init_containers(old));
    let changed = |(new, old): (&Container, &Container)| {
        ContainerKind::of_init(new) == ContainerKind::Init
            && !semantic::requirements_equal(new.resources.as_ref(), old.resources.as_ref())
    };
    if init.any(changed) {
        needed.push(INIT_CONTAINER_RESIZE);
    }
    needed
}

fn platform(name: &str, node: &Node) -> Result<(), Denial> {
    let os = node.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    match os.map(String::as_str) {
        None | Some("linux") => Ok(()),
        Some(other) => Err(Denial {
            message: format!("pod resize is only supported on linux nodes, node {name:?} is {other:?}"),
            causes: vec!["UnsupportedPlatform".to_owned()],
        }),
    }
}

/// Requests against allocatable; limits do not count.
fn room(pod: &Pod, node: &Node) -> Result<(), Denial> {
    let requested = pod_requests(pod);
    let allocatable = ResourceList::read(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let (MilliCpu(cpu), MilliCpu(cpu_room)) = (requested.cpu(), allocatable.cpu());
    let (Bytes(memory), Bytes(memory_room)) = (requested.memory(), allocatable.memory());
    let short: Vec<String> = [("cpu", cpu, cpu_room), ("memory", memory, memory_room)]
        .into_iter()
        .filter(|(_, requested, allocatable)| requested > allocatable)
        .map(|(name, requested, allocatable)| format!("{name}, requested: {requested}, allocatable: {allocatable}"))
        .collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(Denial {
        message: format!("node didn't have enough allocatable resources: {}", short.join("; ")),
        causes: vec!["NodeCapacity".to_owned()],
    })
}
