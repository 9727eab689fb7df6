//! Plain updates and status updates: what they may change.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::pipeline::{Door, World, create, update};

fn stored() -> Pod {
    let spec = json!({
        "containers": [{"name": "app", "image": "i", "resources": {"requests": {"cpu": "100m"}}}],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
        "activeDeadlineSeconds": 100,
    });
    create(&World::default(), json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

/// The stored pod with `change` (a merge patch) written through `door`: its generation, or the first line of the refusal.
#[track_caller]
fn check(door: Door, change: Value, expected: &str) {
    let stored = stored();
    let mut body = serde_json::to_value(&stored).unwrap();
    json_patch::merge(&mut body, &change);
    let got = match update(&World::default(), &stored, body, door) {
        Ok(pod) => format!("generation {}", pod.metadata.generation.unwrap()),
        Err(refusal) => refusal.message().lines().next().unwrap_or_default().to_owned(),
    };
    assert_eq!(got.strip_prefix("Pod \"p\" is invalid: ").unwrap_or(&got), expected);
}

const OTHERS: &str = "spec: Forbidden: pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions \
    to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

#[test]
fn plain_updates() {
    let app = |change: Value| {
        let mut container = serde_json::to_value(&stored().spec.unwrap().containers[0]).unwrap();
        json_patch::merge(&mut container, &change);
        json!({"spec": {"containers": [container]}})
    };
    check(Door::Main, json!({"metadata": {"labels": {"a": "b"}}}), "generation 1");
    check(Door::Main, app(json!({"image": "other"})), "generation 2");
    // The same amount in other words is no change.
    check(Door::Main, app(json!({"resources": {"requests": {"cpu": "0.1"}}})), "generation 1");
    check(Door::Main, app(json!({"resources": {"requests": {"cpu": "110m"}}})), OTHERS);
    check(Door::Main, app(json!({"command": ["other"]})), OTHERS);
    check(Door::Main, json!({"spec": {"hostname": "h"}}), OTHERS);
    check(
        Door::Main,
        json!({"spec": {"containers": [{"name": "app", "image": "i"}, {"name": "b", "image": "i"}]}}),
        "spec.containers: Forbidden: pod updates may not add or remove containers",
    );
    check(Door::Main, json!({"spec": {"activeDeadlineSeconds": 50}}), "generation 2");
    check(
        Door::Main,
        json!({"spec": {"activeDeadlineSeconds": 150}}),
        "spec.activeDeadlineSeconds: Invalid value: 150: must be less than or equal to previous value",
    );
    check(
        Door::Main,
        json!({"spec": {"activeDeadlineSeconds": null}}),
        "spec.activeDeadlineSeconds: Invalid value: \"null\": must not update from a positive integer to nil value",
    );
    let toleration = |effect: &str| json!({"key": "k", "operator": "Exists", "effect": effect});
    check(
        Door::Main,
        json!({"spec": {"tolerations": [toleration("NoExecute"), toleration("NoSchedule")]}}),
        "generation 2",
    );
    check(
        Door::Main,
        json!({"spec": {"tolerations": []}}),
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
    );
    check(
        Door::Main,
        json!({"metadata": {"uid": "other"}}),
        "metadata.uid: Invalid value: \"other\": field is immutable",
    );
}

#[test]
fn status_updates() {
    check(Door::Status, json!({"status": {"phase": "Running"}}), "generation 1");
    check(Door::Status, json!({"status": {"qosClass": null}}), "generation 1");
    check(
        Door::Status,
        json!({"status": {"qosClass": "Guaranteed"}}),
        "status.qosClass: Invalid value: \"Guaranteed\": field is immutable",
    );
    // The spec is not this door's, so nothing about it is refused.
    check(Door::Status, json!({"spec": {"hostname": "h"}}), "generation 1");
}

#[test]
fn status_keeps_what_its_writer_leaves_out() {
    let mut stored = stored();
    stored.status.as_mut().unwrap().observed_generation = Some(3);
    let mut body = serde_json::to_value(&stored).unwrap();
    body["status"] = json!({"phase": "Running", "resize": "Deferred", "conditions":
        [{"type": "PodResizePending", "status": "True", "reason": "Whatever"}]});
    let status = update(&World::default(), &stored, body, Door::Status).unwrap().status.unwrap();
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.qos_class.as_deref(), Some("Burstable"));
    assert_eq!(status.resize.as_deref(), Some("Deferred"));
    assert_eq!(status.conditions.unwrap()[0].reason.as_deref(), Some("Whatever"));
}

#[test]
fn what_ended_for_good_stays_ended() {
    let pod = json!({"metadata": {"name": "p"}, "spec":
        {"restartPolicy": "Never", "containers": [{"name": "app", "image": "i"}]}});
    let mut stored = create(&World::default(), pod).unwrap();
    let status = |state: Value| json!([{"name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    let ended = status(json!({"terminated": {"exitCode": 0}}));
    stored.status.as_mut().unwrap().container_statuses = serde_json::from_value(ended).unwrap();
    let mut body = serde_json::to_value(&stored).unwrap();
    body["status"]["containerStatuses"] = status(json!({"running": {}}));
    let refusal = update(&World::default(), &stored, body, Door::Status).unwrap_err();
    assert_eq!(
        refusal.message(),
        "Pod \"p\" is invalid: status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    );
}
