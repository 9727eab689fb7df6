//! What a pod needs as a whole, and the class that follows from it.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use supple_resize::qos;
use supple_resize::resources::{
    AggregateOptions, ResourceList, pod_limits, pod_requests, pod_requests_with, pod_requests_with_status,
};

fn pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn shown(list: &ResourceList) -> String {
    list.iter().map(|(name, quantity)| format!("{name}={quantity}")).collect::<Vec<_>>().join(" ")
}

/// A container, or a sidecar with `restartPolicy` merged in.
fn asks(name: &str, cpu: &str) -> Value {
    json!({"name": name, "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}})
}

fn sidecar(name: &str, cpu: &str) -> Value {
    let mut container = asks(name, cpu);
    container["restartPolicy"] = json!("Always");
    container
}

#[track_caller]
fn check_spec(spec: Value, requests: &str, limits: &str) {
    let pod = pod(json!({"spec": spec}));
    assert_eq!((shown(&pod_requests(&pod)), shown(&pod_limits(&pod))), (requests.to_owned(), limits.to_owned()));
}

#[test]
fn init_containers_need_what_runs_beside_them() {
    let regular = || json!([asks("a", "1"), asks("b", "2")]);
    check_spec(json!({"containers": regular()}), "cpu=3", "cpu=3");
    check_spec(json!({"containers": regular(), "initContainers": [asks("i", "2")]}), "cpu=3", "cpu=3");
    check_spec(json!({"containers": regular(), "initContainers": [asks("i", "7")]}), "cpu=7", "cpu=7");
    check_spec(json!({"containers": regular(), "initContainers": [sidecar("s", "1")]}), "cpu=4", "cpu=4");
    // Only the sidecars before it run while an init container does.
    check_spec(
        json!({"containers": regular(), "initContainers": [sidecar("s", "1"), asks("i", "7")]}),
        "cpu=8",
        "cpu=8",
    );
    check_spec(
        json!({"containers": regular(), "initContainers": [asks("i", "7"), sidecar("s", "1")]}),
        "cpu=7",
        "cpu=7",
    );
}

#[test]
fn pod_level_replaces_and_overhead_adds() {
    let spec = json!({
        "containers": [asks("a", "1")],
        "resources": {"requests": {"cpu": "3", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "overhead": {"cpu": "250m", "memory": "10Mi"},
    });
    check_spec(spec.clone(), "cpu=3250m memory=1034Mi", "cpu=1250m memory=2058Mi");
    let pod = pod(json!({"spec": spec}));
    let bare = AggregateOptions { without_overhead: true, without_pod_level: true, ..Default::default() };
    assert_eq!(shown(&pod_requests_with(&pod, bare)), "cpu=1");
}

/// CPU of a pod whose container asks for `spec`, has `actual` and was promised `allocated`; with `reason` the resize is pending.
#[track_caller]
fn check_status(list: &str, spec: &str, actual: Option<&str>, allocated: Option<&str>, reason: &str, expected: &str) {
    let mut container = asks("a", spec);
    if list == "initContainers" {
        container["restartPolicy"] = json!("Always");
    }
    let mut status = json!({"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0});
    if let Some(cpu) = actual {
        status["resources"] = json!({"requests": {"cpu": cpu}});
    }
    if let Some(cpu) = allocated {
        status["allocatedResources"] = json!({"cpu": cpu});
    }
    let statuses = if list == "containers" { "containerStatuses" } else { "initContainerStatuses" };
    let conditions = json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    let pod = pod(
        json!({"spec": {"containers": [], list: [container]}, "status": {statuses: [status], "conditions": conditions}}),
    );
    assert_eq!(shown(&pod_requests_with_status(&pod)), expected);
}

#[test]
fn what_is_held_counts_until_it_is_given_back() {
    for list in ["containers", "initContainers"] {
        check_status(list, "4", Some("2"), None, "Infeasible", "cpu=2");
        check_status(list, "6", Some("2"), Some("4"), "Infeasible", "cpu=4");
        check_status(list, "4", Some("2"), None, "Deferred", "cpu=4");
        check_status(list, "30m", Some("20m"), Some("10m"), "Deferred", "cpu=30m");
        check_status(list, "10m", Some("30m"), Some("20m"), "Deferred", "cpu=30m");
        check_status(list, "10m", Some("20m"), Some("30m"), "Deferred", "cpu=30m");
        // A status without resources comes from a node that does not know resizes.
        check_status(list, "4", None, Some("2"), "Infeasible", "cpu=4");
    }
}

#[test]
fn pod_level_is_held_too() {
    let pod = pod(json!({
        "spec": {"containers": [], "resources": {"requests": {"cpu": "1"}}},
        "status": {"resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "3"}},
    }));
    assert_eq!(shown(&pod_requests_with_status(&pod)), "cpu=3");
    // Quota looks at the spec alone there.
    let quota = AggregateOptions { use_status: true, ..Default::default() };
    assert_eq!(shown(&pod_requests_with(&pod, quota)), "cpu=1");
}

#[track_caller]
fn check_class(spec: Value, expected: &str) {
    assert_eq!(qos::compute(&pod(json!({"spec": spec}))).as_str(), expected);
}

#[test]
fn classes() {
    let of =
        |requests: Value, limits: Value| json!({"name": "a", "resources": {"requests": requests, "limits": limits}});
    let full = || json!({"cpu": "1", "memory": "1Gi"});
    check_class(json!({"containers": [of(json!({}), json!({}))]}), "BestEffort");
    check_class(json!({"containers": [of(json!({"cpu": "0"}), json!({}))]}), "BestEffort");
    check_class(json!({"containers": [of(json!({"ephemeral-storage": "1Gi"}), json!({}))]}), "BestEffort");
    check_class(json!({"containers": [of(full(), full())]}), "Guaranteed");
    check_class(json!({"containers": [of(json!({"cpu": "1000m", "memory": "1024Mi"}), full())]}), "Guaranteed");
    check_class(json!({"containers": [of(full(), full()), of(json!({}), json!({}))]}), "Burstable");
    check_class(json!({"containers": [of(full(), full())], "initContainers": [of(json!({}), json!({}))]}), "Burstable");
    check_class(json!({"containers": [of(json!({"cpu": "1"}), json!({"cpu": "1"}))]}), "Burstable");
    // Pod-level resources decide alone.
    let own = |own: Value| json!({"containers": [of(json!({"cpu": "1"}), json!({}))], "resources": own});
    check_class(own(json!({"requests": full(), "limits": full()})), "Guaranteed");
    check_class(own(json!({"requests": full()})), "Burstable");
    check_class(own(json!({})), "BestEffort");
}
