//! How far a resize has come, read from the pod alone (reference §1.6: the client-side completion test). Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus, ResourceRequirements};
use supple_resize::amounts::{Amounts, Requirement, Resource, containers};

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The node has not looked at it yet, or is at it.
    Underway,
    /// The node has no room now and will try again.
    Deferred(String),
    /// The node cannot do it.
    Infeasible(String),
    /// The node tries and fails, and tries again.
    Failing(String),
    /// The pod runs with what was asked for.
    Settled,
    /// The pod has ended: nothing will be resized any more.
    Ended,
}

impl Progress {
    /// Whether waiting longer can bring no other answer.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Infeasible(_) | Self::Settled | Self::Ended)
    }
}

/// How far the resize that made generation `generation` of the pod has come.
pub fn progress(pod: &Pod, generation: i64) -> Progress {
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Progress::Ended;
    }
    let condition = |kind: &str| status.conditions.iter().flatten().find(|it| it.type_ == kind && it.status == "True");
    let text = |it: &PodCondition| it.message.clone().unwrap_or_default();
    // Conditions carry the generation they speak of; what is said of an older one does not answer this resize.
    let speaks = |it: &PodCondition| it.observed_generation.is_none_or(|seen| seen >= generation);
    let pending = condition("PodResizePending").filter(|it| speaks(it));
    match pending.map(|it| (it.reason.as_deref().unwrap_or_default(), text(it))) {
        Some(("Infeasible", message)) => return Progress::Infeasible(message),
        Some((_, message)) => return Progress::Deferred(message),
        None => {}
    }
    if let Some(underway) = condition("PodResizeInProgress") {
        return match underway.reason.as_deref() {
            Some("Error") => Progress::Failing(text(underway)),
            _ => Progress::Underway,
        };
    }
    // Clusters before 1.35 do not write observedGeneration; there the resources alone must do.
    let observed = status.observed_generation.is_none_or(|seen| seen >= generation);
    if observed && is_unbound(pod) {
        return Progress::Settled; // not scheduled yet: what is desired is all there is
    }
    if observed && shows_what_is_desired(pod) { Progress::Settled } else { Progress::Underway }
}

/// Whether it is bound to no node: whatever it asks for it begins with.
pub fn is_unbound(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|it| it.node_name.as_deref()).is_none_or(str::is_empty)
}

/// Whether every container that runs has in its status what the spec says. Containers that do not run take the new
/// numbers when they start.
///
/// Amounts that the spec does not name are nobody's wish, and still there may be one in the status: a container without a limit of its
/// own runs under that of its pod (`spec.resources`), and that is what a kubelet reads from the cgroup and reports.
fn shows_what_is_desired(pod: &Pod) -> bool {
    containers(pod).all(|container| {
        let Some(status) = container_status(pod, &container.name) else { return true };
        let runs = status.state.as_ref().is_some_and(|it| it.running.is_some());
        !runs || has_what_it_names(status.resources.as_ref(), container.resources.as_ref())
    })
}

fn has_what_it_names(actual: Option<&ResourceRequirements>, spec: Option<&ResourceRequirements>) -> bool {
    let (now, wanted) = (Amounts::of(actual), Amounts::of(spec));
    [Requirement::Request, Requirement::Limit].into_iter().all(|requirement| {
        let named = spec.and_then(|it| match requirement {
            Requirement::Request => it.requests.as_ref(),
            Requirement::Limit => it.limits.as_ref(),
        });
        let is_named = |resource: Resource| named.is_some_and(|it| it.contains_key(resource.as_str()));
        let equal = |resource| now.get(resource, requirement) == wanted.get(resource, requirement);
        [Resource::Cpu, Resource::Memory].into_iter().all(|resource| !is_named(resource) || equal(resource))
    })
}

/// The status of a container, init or not.
pub fn container_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.into_iter().find(|it| it.name == name)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::{Value, json};

    use super::*;

    fn pod(observed: i64, conditions: Value, actual: &str) -> Pod {
        serde_json::from_value(json!({
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}}}]},
            "status": {
                "phase": "Running", "observedGeneration": observed, "conditions": conditions,
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {}}, "resources": {"requests": {"cpu": actual}}}],
            },
        }))
        .unwrap()
    }

    fn condition(kind: &str, reason: &str, generation: i64) -> Value {
        json!({"type": kind, "status": "True", "reason": reason, "message": "why", "observedGeneration": generation})
    }

    #[track_caller]
    fn check(pod: &Pod, expect: Progress) {
        assert_eq!(progress(pod, 2), expect);
    }

    #[test]
    fn settled_needs_all_three() {
        check(&pod(2, json!([]), "250m"), Progress::Settled);
        check(&pod(2, json!([]), "0.25"), Progress::Settled);
        check(&pod(1, json!([]), "250m"), Progress::Underway);
        check(&pod(2, json!([]), "100m"), Progress::Underway);
        check(&pod(2, json!([condition("PodResizeInProgress", "", 2)]), "250m"), Progress::Underway);
    }

    #[test]
    fn the_limit_of_its_pod_is_not_a_resize() {
        // As a kubelet of 1.36.2 reports it, of a pod that nobody has resized.
        let sized = json!({"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}},
            "resources": {"requests": {"cpu": "30m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "96Mi"}}});
        let mut pod: Pod = serde_json::from_value(json!({
            "spec": {
                "nodeName": "n", "resources": {"limits": {"cpu": "200m", "memory": "128Mi"}},
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "30m", "memory": "64Mi"}, "limits": {"memory": "96Mi"}}}],
            },
            "status": {"phase": "Running", "observedGeneration": 2, "containerStatuses": [sized]},
        }))
        .unwrap();
        check(&pod, Progress::Settled);
        let resources = pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
        resources.limits.as_mut().unwrap().insert("cpu".to_owned(), Quantity("100m".to_owned()));
        check(&pod, Progress::Underway);
    }

    #[test]
    fn conditions_speak() {
        check(&pod(2, json!([condition("PodResizePending", "Deferred", 2)]), "1"), Progress::Deferred("why".into()));
        check(
            &pod(2, json!([condition("PodResizePending", "Infeasible", 2)]), "1"),
            Progress::Infeasible("why".into()),
        );
        check(&pod(2, json!([condition("PodResizeInProgress", "Error", 2)]), "1"), Progress::Failing("why".into()));
        // Said of the resize before this one.
        check(&pod(1, json!([condition("PodResizePending", "Infeasible", 1)]), "1"), Progress::Underway);
    }

    #[test]
    fn pods_that_do_not_run() {
        let mut ended = pod(2, json!([]), "1");
        ended.status.as_mut().unwrap().phase = Some("Failed".into());
        check(&ended, Progress::Ended);
        let unbound = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        check(&unbound, Progress::Settled);
    }
}
