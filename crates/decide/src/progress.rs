//! How far a resize has come, read from the pod alone (reference §1.6: the client-side completion test). Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodStatus};
use supple_resize::amounts::{Amounts, Requirement, Resource, containers, requests_of};
use supple_resize::resources::WireList;

use crate::facts::Noted;
use crate::hand::RESIZE;

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
    if status.observed_generation.is_some_and(|seen| seen < generation) {
        return Progress::Underway;
    }
    // Whoever is not scheduled yet has nothing but what is desired. A node that has looked at the resize, has promised all of it and
    // says of no resize that it waits or goes on, is done with it: where something else runs all the same, that is no resize, but
    // the doing of somebody on the node, and no waiting ends it. Kubelets of 1.33 say of no pod what they have looked at; there what
    // runs alone must do.
    let is_done = || status.observed_generation.is_some() && is_promised(pod);
    if is_unbound(pod) || is_done() || shows_what_is_desired(pod) { Progress::Settled } else { Progress::Underway }
}

/// Whether it is bound to no node: whatever it asks for it begins with.
pub fn is_unbound(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|it| it.node_name.as_deref()).is_none_or(str::is_empty)
}

/// Since when a resize whose node says nothing of it has been asked for: the newest that somebody asked for, or our note speaks of;
/// where nobody is known to have asked, since the pod is there.
pub fn asked_at(pod: &Pod, note: Option<&Noted>) -> Option<Timestamp> {
    let metadata = &pod.metadata;
    let resizes = metadata.managed_fields.iter().flatten().filter(|it| it.subresource.as_deref() == Some(RESIZE));
    let noted = note.filter(|it| it.generation < metadata.generation.unwrap_or_default()).map(|it| it.at);
    let asked = resizes.filter_map(|it| it.time.as_ref()).map(|it| it.0).chain(noted).max();
    let started = || pod.status.as_ref().and_then(|it| it.start_time.as_ref());
    asked.or_else(|| started().or(metadata.creation_timestamp.as_ref()).map(|it| it.0))
}

/// The containers that run, each with its status. Those that do not take the new numbers when they start.
fn running(pod: &Pod) -> impl Iterator<Item = (&Container, &ContainerStatus)> {
    containers(pod).filter_map(|container| {
        let status = container_status(pod, &container.name)?;
        status.state.as_ref().is_some_and(|it| it.running.is_some()).then_some((container, status))
    })
}

/// Whether the node has promised every container that runs the requests of its spec, as far as it says.
fn is_promised(pod: &Pod) -> bool {
    running(pod).all(|(container, status)| {
        let Some(promised) = status.allocated_resources.as_ref() else { return true };
        let asked = container.resources.as_ref().and_then(|it| it.requests.as_ref());
        has(&requests_of(Some(promised)), &requests_of(asked), Requirement::Request, asked)
    })
}

/// Whether every container that runs has in its status what the spec says, as far as its node says what it has.
///
/// Amounts that the spec does not name are nobody's wish, and still there may be one in the status: a container without a limit of its
/// own runs under that of its pod (`spec.resources`), and that is what a kubelet reads from the cgroup and reports.
fn shows_what_is_desired(pod: &Pod) -> bool {
    running(pod).all(|(container, status)| {
        let (Some(now), spec) = (status.resources.as_ref(), container.resources.as_ref()) else { return true };
        let (now, wanted) = (Amounts::of(Some(now)), Amounts::of(spec));
        has(&now, &wanted, Requirement::Request, spec.and_then(|it| it.requests.as_ref()))
            && has(&now, &wanted, Requirement::Limit, spec.and_then(|it| it.limits.as_ref()))
    })
}

/// Whether the amounts that are named are as they are wanted.
fn has(now: &Amounts, wanted: &Amounts, requirement: Requirement, named: Option<&WireList>) -> bool {
    let is_named = |resource: Resource| named.is_some_and(|it| it.contains_key(resource.as_str()));
    let equal = |resource| now.get(resource, requirement) == wanted.get(resource, requirement);
    [Resource::Cpu, Resource::Memory].into_iter().all(|resource| !is_named(resource) || equal(resource))
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
    fn settled_is_what_its_node_has_looked_at_and_says_no_more_of() {
        check(&pod(2, json!([]), "250m"), Progress::Settled);
        check(&pod(2, json!([]), "0.25"), Progress::Settled);
        check(&pod(1, json!([]), "250m"), Progress::Underway);
        check(&pod(2, json!([condition("PodResizeInProgress", "", 2)]), "250m"), Progress::Underway);
    }

    #[test]
    fn what_runs_otherwise_is_no_resize_once_its_node_has_promised_what_was_asked() {
        let told = |observed: Option<i64>, promised: Option<&str>, actual: Option<&str>| {
            let mut pod = pod(2, json!([]), actual.unwrap_or("250m"));
            let status = pod.status.as_mut().unwrap();
            status.observed_generation = observed;
            let container = &mut status.container_statuses.as_mut().unwrap()[0];
            container.allocated_resources =
                promised.map(|it| [("cpu".to_owned(), Quantity(it.to_owned()))].into_iter().collect());
            container.resources = container.resources.take().filter(|_| actual.is_some());
            pod
        };
        check(&told(Some(2), Some("250m"), Some("100m")), Progress::Settled);
        check(&told(Some(2), Some("0.25"), Some("1")), Progress::Settled);
        check(&told(Some(2), None, Some("100m")), Progress::Settled);
        check(&told(Some(2), Some("100m"), Some("100m")), Progress::Underway);
        check(&told(Some(1), Some("250m"), Some("250m")), Progress::Underway);
        // A kubelet of 1.33 does not say what it has looked at: what runs alone tells.
        check(&told(None, Some("250m"), Some("250m")), Progress::Settled);
        check(&told(None, Some("250m"), Some("100m")), Progress::Underway);
        // One that does not say what runs either resizes nothing.
        check(&told(None, None, None), Progress::Settled);
        check(&told(Some(2), None, None), Progress::Settled);
    }

    #[test]
    fn a_resize_that_nothing_is_said_of_has_been_asked_for_at_some_time() {
        let entry = |manager: &str, subresource: &str, time: &str| json!({"manager": manager, "subresource": subresource, "time": time});
        let asked = |entries: Value, noted: Option<(i64, &str)>| {
            let mut pod = pod(1, json!([]), "100m");
            pod.metadata.generation = Some(2);
            pod.metadata.managed_fields = serde_json::from_value(entries).unwrap();
            pod.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
            let note = noted.map(|(generation, at)| Noted {
                by: crate::note::Author::Controller,
                at: at.parse().unwrap(),
                generation,
                containers: [].into(),
                urgent: false,
                lowered: None,
                first: None,
            });
            asked_at(&pod, note.as_ref()).map(|it| it.to_string())
        };
        let at = |time: &str| Some(time.to_owned());
        let (one, two) = ("2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z");
        assert_eq!(asked(json!([entry("supple", "resize", one), entry("kubelet", "status", two)]), None), at(one));
        assert_eq!(asked(json!([entry("supple", "resize", one), entry("kubectl", "resize", two)]), None), at(two));
        assert_eq!(asked(json!([entry("supple", "resize", one)]), Some((1, two))), at(two));
        assert_eq!(asked(json!([]), Some((1, one))), at(one));
        // A note of a write that was never made; nobody is known to have asked.
        assert_eq!(asked(json!([]), Some((2, one))), at("2026-01-01T00:00:00Z"));
        assert_eq!(asked(json!([]), None), at("2026-01-01T00:00:00Z"));
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
        pod.status.as_mut().unwrap().observed_generation = None;
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
