//! Whether a pod is one the API accepts: on creation, in a plain update, in a resize, in a status update.
//!
//! Every function returns all that is wrong, in the reference's order; an empty list is a yes. They look at pods that
//! were [defaulted](crate::defaults) and went through their [strategy](crate::strategy).
//!
//! Deliberately not looked at: the insides of volumes, affinity, topology spread, DNS settings and security contexts. Nothing
//! here acts on them; they are stored as they came.

mod container;
mod fields;
pub mod meta;
pub mod names;
mod pod;
mod requirements;
mod resize;
mod status;
mod update;

use k8s_openapi::api::core::v1::Pod;

use crate::field::{FieldError, Path};

/// What of the reference's rules depends on how its server is set up. The default is v1.36 as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `InPlacePodLevelResourcesVerticalScaling`: pod-level resources can be resized.
    pub pod_level_resize: bool,
    /// `InPlacePodVerticalScalingInitContainers`: plain init containers can be resized.
    pub init_container_resize: bool,
    /// `ContainerRestartRules`: every container may have a restart policy of its own.
    pub container_restart_policy: bool,
    /// What newer rules refuse is tolerated where the stored pod has it already.
    pub tolerate_stored: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pod_level_resize: true,
            init_container_resize: true,
            container_restart_policy: true,
            tolerate_stored: true,
        }
    }
}

/// What is wrong with a new pod.
#[must_use]
pub fn create(pod: &Pod) -> Vec<FieldError> {
    let mut errors = meta::object(&pod.metadata);
    errors.extend(pod::spec(pod, None, Options::default()));
    errors.extend(pod::only_later(pod));
    errors
}

/// What is wrong with the template of a workload: paths begin at the template.
#[must_use]
pub fn template(template: &Pod) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(labels) = &template.metadata.labels {
        errors.extend(meta::labels(labels, &Path::root("labels")));
    }
    if let Some(annotations) = &template.metadata.annotations {
        errors.extend(meta::annotations(annotations, &Path::root("annotations")));
    }
    errors.extend(pod::spec(template, None, Options::default()));
    let spec = Path::root("spec");
    if template.spec.as_ref().is_some_and(|it| it.ephemeral_containers.as_ref().is_some_and(|it| !it.is_empty())) {
        errors.push(spec.child("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template"));
    }
    errors
}

/// What is wrong with a plain update: only images, deadlines, additional tolerations and fewer scheduling gates may change, never resources.
#[must_use]
pub fn update(new: &Pod, old: &Pod) -> Vec<FieldError> {
    update::update(new, old, Options::default())
}

/// What is wrong with a resize (reference §2.1, rules V1 to V18 in their order).
#[must_use]
pub fn resize(new: &Pod, old: &Pod) -> Vec<FieldError> {
    resize_with(new, old, Options::default())
}

/// As [`resize()`], on a server with other options.
#[must_use]
pub fn resize_with(new: &Pod, old: &Pod, options: Options) -> Vec<FieldError> {
    resize::resize(new, old, options)
}

/// What is wrong with a status update. Conditions are taken as they are, whatever their reasons.
#[must_use]
pub fn status_update(new: &Pod, old: &Pod) -> Vec<FieldError> {
    status::update(new, old)
}
