//! `supple resize` and `supple undo`: every outcome, its code, and what it leaves behind.

use serde_json::Value;

use super::cluster::{Kubectl, Up, bad, good};

const BURSTABLE: &str = "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}";
const GUARANTEED: &str = "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 100m, memory: 64Mi}}";

/// A cluster with one ready pod `a`; `None` where there is no kubectl to make it with.
fn with_pod(resources: &str) -> Option<(Up, Kubectl)> {
    let up = Up::new("simulated");
    let kubectl = Kubectl::of(&up)?;
    kubectl.pod("a", resources);
    Some((up, kubectl))
}

fn cpu(kubectl: &Kubectl) -> String {
    kubectl.path(
        "pod/a",
        "{.spec.containers[0].resources.requests.cpu}/{.status.containerStatuses[0].resources.requests.cpu}",
    )
}

#[track_caller]
fn check_refused(resources: &str, args: &[&str], code: i32, expect: &[&str]) {
    let Some((up, kubectl)) = with_pod(resources) else { return };
    let said = bad(&up.supple([&["resize"], args].concat()), code);
    for part in expect {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert_eq!(cpu(&kubectl), "100m/100m", "nothing has changed");
    assert_eq!(kubectl.path("pod/a", "{.metadata.generation}{.metadata.annotations}"), "1", "nothing has changed");
}

#[test]
fn accepted_and_settled() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    let said = good(&up.supple(["resize", "pod/a", "--cpu", "150m:300m", "--memory", "96Mi"]));
    assert_eq!(said, "pod/a Resized: app: cpu 100m:200m → 150m:300m, memory 64Mi:128Mi → 96Mi:128Mi (no restart)\n");
    assert_eq!(cpu(&kubectl), "150m/150m");
    assert_eq!(
        good(&up.supple(["resize", "pod/a", "--cpu", "0.15"])),
        "pod/a NothingToChange: it already has these sizes\n"
    );
}

#[test]
fn as_json() {
    let Some((up, _kubectl)) = with_pod(BURSTABLE) else { return };
    let said: Value =
        serde_json::from_str(&good(&up.supple(["resize", "pod/a", "--cpu", "150m", "-o", "json"]))).unwrap();
    assert_eq!(
        (&said["reason"], &said["namespace"], &said["pod"]),
        (&"Resized".into(), &"default".into(), &"a".into())
    );
    assert_eq!(said["containers"][0]["after"]["cpuRequest"], "150m");
    assert_eq!(said["containers"][0]["before"]["cpuRequest"], "100m");
    assert_eq!(said["containers"][0]["restartsAfter"], said["containers"][0]["restartsBefore"]);
    let refused = up.supple(["resize", "pod/a", "--cpu", "64", "-o", "json"]);
    assert_eq!(refused.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(said["reason"], "PredictedRefusal");
}

#[test]
fn refused_for_its_qos_class() {
    check_refused(GUARANTEED, &["pod/a", "--cpu", "50m"], 1, &["PredictedRefusal", "QOS"]);
    check_refused("{requests: {cpu: 100m}}", &["pod/a", "--cpu", "0"], 1, &["PredictedRefusal", "QOS"]);
}

#[test]
fn refused_above_its_own_limit() {
    check_refused(
        BURSTABLE,
        &["pod/a", "--cpu", "250m"],
        1,
        &["PredictedRefusal", "must be less than or equal to cpu limit of 200m"],
    );
}

#[test]
fn refused_beyond_the_node() {
    check_refused(
        BURSTABLE,
        &["pod/a", "--cpu", "3:3"],
        1,
        &["PredictedRefusal", "node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000"],
    );
}

#[test]
fn refused_for_what_does_not_exist() {
    check_refused(
        BURSTABLE,
        &["pod/a", "-c", "web", "--cpu", "150m"],
        1,
        &["BadRequest", "no container \"web\"; it has app"],
    );
    check_refused(BURSTABLE, &["pod/b", "--cpu", "150m"], 1, &["NoSuchPod", "there is no pod b in namespace"]);
    check_refused(
        BURSTABLE,
        &["pod/a", "-n", "elsewhere", "--cpu", "150m"],
        1,
        &["NoSuchPod", "no pod a in namespace elsewhere"],
    );
}

#[test]
fn refused_by_a_quota_and_by_a_limit_range() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    kubectl.good(["create", "quota", "q", "--hard=requests.cpu=150m"]);
    kubectl.good(["wait", "--for=jsonpath={.status.used.requests\\.cpu}=100m", "quota/q", "--timeout=30s"]);
    let said = bad(&up.supple(["resize", "pod/a", "--cpu", "200m"]), 1);
    assert!(
        said.contains("PredictedRefusal") && said.contains("exceeded quota: q, requested: requests.cpu=100m"),
        "{said}"
    );
    kubectl.create("apiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\nspec: {limits: [{type: Container, max: {cpu: 250m}}]}\n");
    let said = bad(&up.supple(["resize", "pod/a", "--cpu", "110m:260m"]), 1);
    assert!(said.contains("PredictedRefusal") && said.contains("maximum cpu usage per Container is 250m"), "{said}");
    good(&up.supple(["resize", "pod/a", "--cpu", "140m:250m"]));
    // What the quota counts follows, also downwards.
    good(&up.supple(["resize", "pod/a", "--cpu", "60m"]));
    kubectl.good(["wait", "--for=jsonpath={.status.used.requests\\.cpu}=60m", "quota/q", "--timeout=30s"]);
}

#[test]
fn still_deferred_when_the_time_is_up() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    kubectl.pod("neighbour", "{requests: {cpu: '1'}}");
    let said = bad(&up.supple(["resize", "pod/a", "--cpu", "1500m:1500m", "--timeout", "1s"]), 1);
    assert!(said.contains("pod/a Deferred: still deferred after 1 s"), "{said}");
    assert!(
        said.contains("Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"),
        "{said}"
    );
    let predicted = bad(&up.supple(["resize", "pod/a", "--cpu", "1400m", "--dry-run"]), 1);
    assert!(predicted.contains("pod/a Deferred: would be accepted, but"), "{predicted}");
    // Once the neighbour is gone the node does it by itself.
    kubectl.good(["delete", "pod", "neighbour", "--wait=true"]);
    kubectl.good([
        "wait",
        "pod/a",
        "--for=jsonpath={.status.containerStatuses[0].resources.requests.cpu}=1500m",
        "--timeout=60s",
    ]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    let said = good(&up.supple(["resize", "pod/a", "--cpu", "150m", "--dry-run"]));
    assert_eq!(said, "pod/a WouldResize: would be resized: app: cpu 100m:200m → 150m:200m (no restart)\n");
    assert_eq!(cpu(&kubectl), "100m/100m");
    assert_eq!(kubectl.path("pod/a", "{.metadata.generation}{.metadata.annotations}"), "1");
}

#[test]
fn without_waiting_it_is_only_accepted() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    assert!(good(&up.supple(["resize", "pod/a", "--cpu", "150m", "--wait=false"])).starts_with("pod/a Accepted: "));
    kubectl.good([
        "wait",
        "pod/a",
        "--for=jsonpath={.status.containerStatuses[0].resources.requests.cpu}=150m",
        "--timeout=60s",
    ]);
}

#[test]
fn a_restart_is_predicted_and_counted() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let policy = format!("{BURSTABLE}\n    resizePolicy: [{{resourceName: memory, restartPolicy: RestartContainer}}]");
    kubectl.pod("a", &policy);
    let would = good(&up.supple(["resize", "pod/a", "--memory", "100Mi", "--dry-run"]));
    assert!(would.contains("(restarts app)"), "{would}");
    assert!(good(&up.supple(["resize", "pod/a", "--memory", "100Mi"])).contains("(restarted app)"));
    assert!(good(&up.supple(["resize", "pod/a", "--cpu", "120m"])).contains("(no restart)"));
    assert_eq!(kubectl.path("pod/a", "{.status.containerStatuses[0].restartCount}"), "1");
}

#[test]
fn several_containers_want_a_name() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let two = format!("{BURSTABLE}\n  - name: log\n    image: registry.example/log:1\n    resources: {BURSTABLE}");
    kubectl.pod("a", &two);
    let said = bad(&up.supple(["resize", "pod/a", "--cpu", "150m"]), 1);
    assert!(
        said.contains("BadRequest") && said.contains("several containers (app, log): choose one with -c"),
        "{said}"
    );
    assert!(
        good(&up.supple(["resize", "pod/a", "-c", "log", "--cpu", "150m"])).contains("log: cpu 100m:200m → 150m:200m")
    );
}

#[test]
fn undo_puts_back_and_only_once() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    let nothing = bad(&up.supple(["undo", "pod/a"]), 1);
    assert!(nothing.contains("pod/a NothingToUndo: it has no record of a resize by supple"), "{nothing}");
    good(&up.supple(["resize", "pod/a", "--cpu", "150m:300m", "--memory", "96Mi"]));
    let undone = good(&up.supple(["undo", "pod/a"]));
    assert_eq!(undone, "pod/a Resized: app: cpu 150m:300m → 100m:200m, memory 96Mi:128Mi → 64Mi:128Mi (no restart)\n");
    assert_eq!(cpu(&kubectl), "100m/100m");
    assert!(bad(&up.supple(["undo", "pod/a"]), 1).contains("already undone"));
}

#[test]
fn undo_does_not_undo_other_peoples_work() {
    let Some((up, kubectl)) = with_pod(BURSTABLE) else { return };
    good(&up.supple(["resize", "pod/a", "--cpu", "150m"]));
    let patch = r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"160m"}}}]}}"#;
    kubectl.good(["patch", "pod", "a", "--subresource", "resize", "-p", patch]);
    assert!(bad(&up.supple(["undo", "pod/a"]), 1).contains("someone else has changed"));
    assert!(cpu(&kubectl).starts_with("160m/"));
}

#[test]
fn undo_says_what_cannot_be_taken_away() {
    let Some((up, _kubectl)) = with_pod("{requests: {cpu: 100m, memory: 64Mi}}") else { return };
    good(&up.supple(["resize", "pod/a", "--cpu", ":300m"]));
    assert!(bad(&up.supple(["undo", "pod/a"]), 1).contains("added limits.cpu to container \"app\""));
}
