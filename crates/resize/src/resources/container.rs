//! Which containers a pod has, of which kind, and which of them a resize may change.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// What a container is for, which decides how its resources count and when it can be resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// Runs from start to end before the regular ones.
    Init,
    /// An init container that is kept running (`restartPolicy: Always`).
    Sidecar,
    /// One of `spec.containers`.
    Regular,
}

impl ContainerKind {
    /// The kind of an entry of `spec.initContainers`.
    #[must_use]
    pub fn of_init(container: &Container) -> Self {
        if container.restart_policy.as_deref() == Some("Always") { Self::Sidecar } else { Self::Init }
    }

    /// The list of the spec such a container stands in.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Init | Self::Sidecar => "initContainers",
            Self::Regular => "containers",
        }
    }
}

/// A container with what its place in the pod says about it.
#[derive(Clone, Copy, Debug)]
pub struct ContainerRef<'a> {
    /// What it is for.
    pub kind: ContainerKind,
    /// Its place in its list.
    pub index: usize,
    /// The container.
    pub container: &'a Container,
}

/// Init containers and sidecars of a spec; absent is none.
pub(crate) fn init_containers(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// Init containers and sidecars in order, then the regular ones: the order in which they start.
pub fn containers(pod: &Pod) -> impl Iterator<Item = ContainerRef<'_>> {
    let spec = pod.spec.as_ref();
    let init = spec.map(init_containers).unwrap_or_default();
    let regular = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = init.iter().enumerate().map(|(index, container)| ContainerRef {
        kind: ContainerKind::of_init(container),
        index,
        container,
    });
    let regular = regular.iter().enumerate().map(|(index, container)| ContainerRef {
        kind: ContainerKind::Regular,
        index,
        container,
    });
    init.chain(regular)
}

/// The containers a resize may change: all of them in 1.36 (non-sidecar init containers since then; ephemeral ones never
/// have resources).
pub fn resizable_containers(pod: &Pod) -> impl Iterator<Item = ContainerRef<'_>> {
    containers(pod)
}
