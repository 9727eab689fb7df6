//! Status updates: what a node may not take back.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::meta;
use crate::field::{FieldError, Path};

pub(super) fn update(new: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = meta::update(&new.metadata, &old.metadata);
    let path = Path::root("status");
    let nothing = PodStatus::default();
    let (new_status, old_status) = (new.status.as_ref().unwrap_or(&nothing), old.status.as_ref().unwrap_or(&nothing));
    let class = new_status.qos_class.as_deref().unwrap_or_default();
    if class != old_status.qos_class.as_deref().unwrap_or_default() {
        errors.push(path.child("qosClass").invalid(class, "field is immutable"));
    }
    let restart_policy = old.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or_default();
    errors.extend(transitions(
        new_status.container_statuses.as_deref().unwrap_or_default(),
        old_status.container_statuses.as_deref().unwrap_or_default(),
        restart_policy,
        &path.child("containerStatuses"),
    ));
    errors
}

/// A container that ended stays ended where nothing restarts it.
fn transitions(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    restart_policy: &str,
    path: &Path<'_>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for before in old {
        let Some(ended) = before.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        let restarts = match restart_policy {
            "Never" => false,
            "OnFailure" => ended.exit_code != 0,
            _ => true,
        };
        if restarts {
            continue;
        }
        let after = new.iter().enumerate().find(|(_, it)| it.name == before.name);
        if let Some((index, after)) = after
            && after.state.as_ref().is_none_or(|state| state.terminated.is_none())
        {
            let path = path.index(index);
            errors.push(path.child("state").forbidden("may not be transitioned to non-terminated state"));
        }
    }
    errors
}
