//! What a node does, told as scenarios on a [`Stage`]: a scripted runtime, an API that echoes, a disk that keeps a journal.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testing::Stage;

const QUIET: Duration = Duration::from_millis(50);

/// One container `app` of this size; limits only where given.
fn app(requests: [&str; 2], limits: Option<[&str; 2]>) -> Value {
    let list = |[cpu, memory]: [&str; 2]| json!({ "cpu": cpu, "memory": memory });
    let mut resources = json!({ "requests": list(requests) });
    if let Some(limits) = limits {
        resources["limits"] = list(limits);
    }
    json!({ "containers": [{ "name": "app", "resources": resources }] })
}

fn small() -> Value {
    app(["100m", "64Mi"], Some(["200m", "128Mi"]))
}

async fn running(stage: &mut Stage, name: &str) {
    stage.until("running", |it| it.status(name, "/phase") == "Running").await;
    stage.quiet(QUIET).await;
}

/// No condition of a resize stands, and the node has seen the newest spec.
fn settled(stage: &Stage, name: &str) -> bool {
    stage.condition(name, "PodResizePending").is_none()
        && stage.condition(name, "PodResizeInProgress").is_none()
        && stage.status(name, "/observedGeneration") == stage.pod(name)["metadata"]["generation"]
}

fn set(pointer: &'static str, value: Value) -> impl FnOnce(&mut Value) {
    move |spec| *spec.pointer_mut(pointer).expect("the spec has it") = value
}

const CPU: &str = "/containers/0/resources/requests/cpu";
const LIMITS: &str = "/containers/0/resources/limits";

#[tokio::test(start_paused = true)]
async fn a_pod_starts() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    assert_eq!(
        stage.lines(&["disk", "create", "write", "start"]),
        [
            "disk uid-a allocated",
            "create a",
            "write a shares=102 quota=20000 memory=128Mi",
            "disk uid-a actuated",
            "disk uid-a actuated",
            "start a/app#0 memory=128Mi",
        ]
    );
    assert_eq!(stage.status("a", "/observedGeneration"), 1);
    let resources =
        json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "cpu": "200m", "memory": "128Mi" } });
    assert_eq!(stage.status("a", "/containerStatuses/0/resources"), resources);
    assert_eq!(stage.status("a", "/resources"), resources);
    for type_ in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(stage.condition("a", type_).map(|it| it["status"].clone()), Some(json!("True")), "{type_}");
    }
    assert_eq!(stage.events("a"), ["Created Container created", "Started Container started"]);
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_on_disk_before_it_is_in_the_kernel() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.clear();
    stage.resize(
        "a",
        set(
            "/containers/0/resources",
            json!({
                "requests": { "cpu": "150m", "memory": "64Mi" }, "limits": { "cpu": "300m", "memory": "256Mi" }
            }),
        ),
    );
    stage.until("resized", |it| settled(it, "a")).await;
    stage.quiet(QUIET).await;
    let lines = stage.lines(&["disk", "write", "stop", "start"]);
    assert_eq!(lines.first().map(String::as_str), Some("disk uid-a allocated"));
    let writes: Vec<_> = stage.lines(&["write"]);
    assert_eq!(
        writes,
        [
            "write a memory=256Mi",
            "write a/app#0 memory=256Mi",
            "write a quota=30000",
            "write a shares=153",
            "write a/app#0 shares=153 quota=30000",
        ]
    );
    assert!(stage.lines(&["stop", "start"]).is_empty());
    assert_eq!(stage.status("a", "/containerStatuses/0/resources/limits/memory"), "256Mi");
    assert_eq!(stage.status("a", "/resources/limits/cpu"), "300m");
    let reasons: Vec<String> =
        stage.events("a")[2..].iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["ResizeStarted", "ResizeCompleted"]);
}

#[tokio::test(start_paused = true)]
async fn restart_container_stops_resizes_and_starts() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["containers"][0]["resizePolicy"] = json!([{ "resourceName": "memory", "restartPolicy": "RestartContainer" }]);
    spec["terminationGracePeriodSeconds"] = json!(5);
    stage.create("a", spec);
    running(&mut stage, "a").await;
    stage.clear();
    stage.resize("a", set("/containers/0/resources/limits/memory", json!("256Mi")));
    stage.until("restarted", |it| settled(it, "a") && it.status("a", "/containerStatuses/0/restartCount") == 1).await;
    assert_eq!(
        stage.lines(&["write", "stop", "start"]),
        ["stop a/app#0 grace=5", "write a memory=256Mi", "start a/app#1 memory=256Mi"]
    );
    assert_eq!(stage.status("a", "/containerStatuses/0/lastState/terminated/reason"), "Error");
    let events = stage.events("a");
    let reasons: Vec<&str> = events[2..].iter().map(|it| it.split(' ').next().unwrap()).collect();
    // Created and Started are the events of the first start again, with a higher count.
    assert_eq!(reasons, ["ResizeStarted", "Killing", "ResizeCompleted"]);
    assert_eq!(events[3], "Killing Container app resize requires restart");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_waits_until_room_is_freed() {
    let mut stage = Stage::new();
    stage.create("big", app(["900m", "64Mi"], None));
    stage.create("b", app(["300m", "64Mi"], None));
    running(&mut stage, "big").await;
    running(&mut stage, "b").await;
    stage.resize("b", set(CPU, json!("1500m")));
    stage.until("deferred", |it| it.condition("b", "PodResizePending").is_some()).await;
    let pending = stage.condition("b", "PodResizePending").unwrap();
    assert_eq!(pending["reason"], "Deferred");
    assert_eq!(pending["message"], "Node didn't have enough resource: cpu, requested: 1500, used: 900, capacity: 2000");
    assert_eq!(pending["observedGeneration"], 2);
    assert_eq!(stage.status("b", "/containerStatuses/0/allocatedResources/cpu"), "300m");
    stage.delete("big", 0);
    stage.until("resized", |it| settled(it, "b")).await;
    assert_eq!(stage.status("b", "/containerStatuses/0/allocatedResources/cpu"), "1500m");
    assert_eq!(stage.pod("big"), Value::Null);
    // Room is free only when nothing of the other runs any more.
    let lines = stage.lines(&["remove big", "write b"]);
    assert!(lines.iter().position(|it| it == "remove big") < lines.iter().position(|it| it.contains("shares=1536")));
}

#[tokio::test(start_paused = true)]
async fn a_shrink_frees_room_for_those_that_wait() {
    let mut stage = Stage::new();
    stage.create("a", app(["1500m", "64Mi"], None));
    stage.create("b", app(["300m", "64Mi"], None));
    running(&mut stage, "a").await;
    running(&mut stage, "b").await;
    stage.resize("b", set(CPU, json!("1")));
    stage.until("deferred", |it| it.condition("b", "PodResizePending").is_some()).await;
    stage.resize("a", set(CPU, json!("1")));
    stage.until("both resized", |it| settled(it, "a") && settled(it, "b")).await;
    let lines = stage.lines(&["write"]);
    let at = |line: &str| lines.iter().rposition(|it| it == line).unwrap();
    assert!(at("write a shares=1024") < at("write b shares=1024"));
}

#[tokio::test(start_paused = true)]
async fn a_revert_clears_what_is_pending() {
    let mut stage = Stage::new();
    stage.create("a", app(["300m", "64Mi"], None));
    running(&mut stage, "a").await;
    stage.resize("a", set(CPU, json!("3")));
    stage.until("deferred", |it| it.condition("a", "PodResizePending").is_some()).await;
    stage.resize("a", set(CPU, json!("300m")));
    stage.until("settled", |it| settled(it, "a")).await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_not_cut_below_usage_but_once_it_has_fallen() {
    let mut stage = Stage::new();
    stage.create("a", app(["100m", "64Mi"], Some(["200m", "256Mi"])));
    running(&mut stage, "a").await;
    stage.uses("app", 60_000_000);
    stage.clear();
    stage.resize(
        "a",
        set(
            "/containers/0/resources",
            json!({
                "requests": { "cpu": "100m", "memory": "20Mi" }, "limits": { "cpu": "200m", "memory": "30Mi" }
            }),
        ),
    );
    stage
        .until("refused by the guard", |it| {
            it.condition("a", "PodResizeInProgress").is_some_and(|it| it["reason"] == "Error")
        })
        .await;
    let condition = stage.condition("a", "PodResizeInProgress").unwrap();
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.contains("attempting to set container \"app\" memory limit (31457280) below current usage (60000000)"),
        "{message}"
    );
    assert!(stage.lines(&["write"]).is_empty());
    assert_eq!(stage.status("a", "/containerStatuses/0/resources/limits/memory"), "256Mi");
    assert_eq!(stage.status("a", "/containerStatuses/0/allocatedResources/memory"), "20Mi");
    stage.uses("app", 10_000_000);
    stage.until("resized", |it| settled(it, "a")).await;
    assert_eq!(stage.status("a", "/containerStatuses/0/resources/limits/memory"), "30Mi");
    let errors = stage.events("a").iter().filter(|it| it.starts_with("ResizeError")).count();
    assert_eq!(errors, 1, "{:?}", stage.events("a"));
}

#[tokio::test(start_paused = true)]
async fn a_cgroup_that_cannot_be_written_is_tried_again_and_others_go_on() {
    let mut stage = Stage::new();
    stage.create("a", small());
    stage.create("b", small());
    running(&mut stage, "a").await;
    running(&mut stage, "b").await;
    stage.failing("write a/app", 3);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage.resize("b", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage
        .until("b resized, a not", |it| {
            settled(it, "b") && it.condition("a", "PodResizeInProgress").is_some_and(|it| it["reason"] == "Error")
        })
        .await;
    let message = stage.condition("a", "PodResizeInProgress").unwrap()["message"].clone();
    assert_eq!(message, "write /sys/fs/cgroup/x: Permission denied");
    stage.until("a resized", |it| settled(it, "a")).await;
    assert_eq!(stage.lines(&["write a/app"]).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_a_resize_before_the_kernel() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.clear();
    stage.disk_full(true);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage
        .until("refused by the disk", |it| {
            it.condition("a", "PodResizeInProgress").is_some_and(|it| it["reason"] == "Error")
        })
        .await;
    let condition = stage.condition("a", "PodResizeInProgress").unwrap();
    assert_eq!(condition["message"], "write node-checkpoints.redb: No space left on device");
    assert_eq!(condition["observedGeneration"], 2);
    assert!(stage.lines(&["write"]).is_empty());
    assert!(stage.events("a").iter().any(|it| it.starts_with("ResizeError")));
    stage.disk_full(false);
    stage.until("resized", |it| settled(it, "a")).await;
    assert_eq!(stage.status("a", "/containerStatuses/0/resources/limits/cpu"), "300m");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_fails_and_never_starts() {
    let mut stage = Stage::new();
    stage.create("a", app(["1500m", "64Mi"], None));
    running(&mut stage, "a").await;
    stage.create("b", app(["1", "64Mi"], None));
    stage.until("rejected", |it| it.status("b", "/phase") == "Failed").await;
    assert_eq!(stage.status("b", "/reason"), "OutOfcpu");
    let message = "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000";
    assert_eq!(stage.status("b", "/message"), format!("Pod was rejected: {message}"));
    stage.quiet(QUIET).await;
    assert_eq!(stage.events("b"), [format!("OutOfcpu {message}")]);
    assert!(stage.lines(&["create b", "start b"]).is_empty());
    stage.delete("b", 30);
    stage.until("gone", |it| it.pod("b") == Value::Null).await;
}

#[tokio::test(start_paused = true)]
async fn deletion_stops_reports_deletes_and_forgets() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.clear();
    stage.delete("a", 30);
    stage.until("forgotten", |it| !it.lines(&["disk uid-a forgotten"]).is_empty()).await;
    assert_eq!(
        stage.lines(&["stop", "remove", "status", "delete", "forget", "disk"]),
        ["stop a/app#0 grace=30", "remove a", "status a", "delete a", "forget a", "disk uid-a forgotten"]
    );
    assert_eq!(stage.events("a").last().map(String::as_str), Some("Killing Stopping container app"));
}

#[tokio::test(start_paused = true)]
async fn a_second_delete_shortens_the_grace() {
    let mut stage = Stage::new();
    stage.stubborn("app");
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.clear();
    stage.delete("a", 3000);
    stage.until("stopping", |it| !it.lines(&["stop a"]).is_empty()).await;
    stage.delete("a", 1);
    let began = (stage.clock)();
    stage.until("gone", |it| it.pod("a") == Value::Null).await;
    assert_eq!(stage.lines(&["stop"]), ["stop a/app#0 grace=3000", "stop a/app#0 grace=1"]);
    assert!(((stage.clock)() - began).get_seconds() < 10);
}

#[tokio::test(start_paused = true)]
async fn removal_by_force_leaves_nothing() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.delete_by_force("a");
    stage.until("forgotten", |it| !it.lines(&["disk uid-a forgotten"]).is_empty()).await;
    assert_eq!(stage.lines(&["stop", "remove", "delete", "forget"]), ["stop a/app#0 grace=0", "remove a", "forget a"]);
}

#[tokio::test(start_paused = true)]
async fn init_containers_and_sidecars_in_their_order() {
    let mut stage = Stage::new();
    stage.create(
        "a",
        json!({
            "initContainers": [{ "name": "first" }, { "name": "proxy", "restartPolicy": "Always" }],
            "containers": [{ "name": "app" }], "restartPolicy": "Never", "qos": "BestEffort",
        }),
    );
    stage.until("first runs", |it| !it.lines(&["start a/first"]).is_empty()).await;
    stage.quiet(QUIET).await;
    assert_eq!(stage.status("a", "/phase"), "Pending");
    assert_eq!(stage.lines(&["start"]), ["start a/first#0"]);
    stage.exits("a", "first", 0, false);
    running(&mut stage, "a").await;
    assert_eq!(stage.lines(&["start"]), ["start a/first#0", "start a/proxy#0", "start a/app#0"]);
    stage.exits("a", "app", 0, false);
    stage.until("succeeded", |it| it.status("a", "/phase") == "Succeeded").await;
    assert_eq!(stage.lines(&["stop", "remove"]), ["stop a/proxy#0 grace=30", "remove a"]);
    assert_eq!(stage.status("a", "/containerStatuses/0/state/terminated/reason"), "Completed");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_and_a_resize_gives_it_another_chance() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.exits("a", "app", 1, false);
    stage.until("restarted", |it| !it.lines(&["start a/app#1"]).is_empty()).await;
    stage.exits("a", "app", 137, true);
    let waiting = "/containerStatuses/0/state/waiting";
    stage.until("backing off", |it| it.status("a", &format!("{waiting}/reason")) == "CrashLoopBackOff").await;
    assert_eq!(
        stage.status("a", &format!("{waiting}/message")),
        "back-off 10s restarting failed container=app pod=a_ns(uid-a)"
    );
    assert_eq!(stage.status("a", "/containerStatuses/0/lastState/terminated/reason"), "OOMKilled");
    assert_eq!(
        (stage.status("a", "/phase"), stage.status("a", "/containerStatuses/0/restartCount")),
        (json!("Running"), json!(1))
    );
    stage.quiet(QUIET).await;
    assert!(
        stage.events("a").iter().any(|it| it == "BackOff Back-off restarting failed container app in pod a_ns(uid-a)")
    );
    stage.clear();
    stage.resize("a", set("/containers/0/resources/limits/memory", json!("400Mi")));
    stage.until("started with more", |it| !it.lines(&["start"]).is_empty()).await;
    // The pod's own cgroup first: otherwise the container dies again under the old limit.
    assert_eq!(stage.lines(&["write", "start"]), ["write a memory=400Mi", "start a/app#2 memory=400Mi"]);
    stage.until("completed", |it| settled(it, "a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_restarted_when_its_wait_is_over() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    for attempt in 1..=3 {
        stage.exits("a", "app", 1, false);
        let line = format!("start a/app#{attempt}");
        stage.until("restarted", |it| !it.lines(&[&line]).is_empty()).await;
    }
    let now = (stage.clock)();
    stage.exits("a", "app", 1, false);
    stage.until("restarted", |it| !it.lines(&["start a/app#4"]).is_empty()).await;
    assert_eq!(((stage.clock)() - now).get_seconds(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_waits_and_its_pod_can_be_resized() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["containers"][0]["image"] = json!("missing");
    stage.create("a", spec);
    let reason = "/containerStatuses/0/state/waiting/reason";
    stage.until("waiting", |it| it.status("a", reason) == "ErrImageNeverPull").await;
    assert_eq!(stage.status("a", "/phase"), "Pending");
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "256Mi" })));
    stage.until("resized", |it| settled(it, "a")).await;
    assert_eq!(stage.lines(&["write a"]).last().map(String::as_str), Some("write a quota=30000"));
    assert_eq!(stage.status("a", reason), "ErrImageNeverPull");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_is_tried_less_and_less_often() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["containers"][0]["image"] = json!("unreachable");
    stage.create("a", spec);
    let reason = "/containerStatuses/0/state/waiting/reason";
    stage.until("failed", |it| it.status("a", reason) == "ErrImagePull").await;
    stage.until("waits", |it| it.status("a", reason) == "ImagePullBackOff").await;
    assert_eq!(
        stage.status("a", "/containerStatuses/0/state/waiting/message"),
        "Back-off pulling image \"unreachable\": ErrImagePull: failed to pull and unpack image: no route to host"
    );
    // Tried again, in vain again.
    stage.until("failed again", |it| it.status("a", reason) == "ErrImagePull").await;
    stage.until("waits again", |it| it.status("a", reason) == "ImagePullBackOff").await;
    let told = stage.events("a");
    for expected in [
        "Failed Failed to pull image \"unreachable\": failed to pull and unpack image: no route to host",
        "Failed Error: ErrImagePull",
        "BackOff Back-off pulling image \"unreachable\"",
        "Failed Error: ImagePullBackOff",
    ] {
        assert!(told.iter().any(|it| it == expected), "{expected:?} is not among {told:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_image_is_being_pulled_can_be_deleted() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["containers"][0]["image"] = json!("slow");
    stage.create("a", spec);
    stage.until("creating", |it| it.status("a", "/phase") == "Pending").await;
    stage.delete("a", 30);
    stage.until("gone", |it| it.lines(&["forget"]) == ["forget a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_critical_pod_pushes_another_out() {
    let mut stage = Stage::new();
    stage.create("c1", app(["1200m", "64Mi"], None));
    stage.create("c2", app(["200m", "64Mi"], None));
    let mut spec = app(["200m", "64Mi"], None);
    spec["priority"] = json!(2_000_001_000);
    stage.create("c3", spec);
    for name in ["c1", "c2", "c3"] {
        running(&mut stage, name).await;
    }
    stage.resize("c2", set(CPU, json!("1200m")));
    stage.until("deferred", |it| it.condition("c2", "PodResizePending").is_some()).await;
    stage.resize("c3", set(CPU, json!("1200m")));
    stage.until("c3 resized", |it| settled(it, "c3")).await;
    stage.until("c1 failed", |it| it.status("c1", "/phase") == "Failed").await;
    assert_eq!(stage.status("c1", "/reason"), "Preempting");
    assert_eq!(stage.status("c1", "/containerStatuses/0/state/terminated/reason"), "Error");
    assert!(stage.condition("c2", "PodResizePending").is_some());
    assert!(!stage.events("c3").iter().any(|it| it.starts_with("ResizeDeferred")));
}

#[tokio::test(start_paused = true)]
async fn an_init_container_is_resized_while_it_runs() {
    let mut stage = Stage::new();
    let size =
        json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "cpu": "200m", "memory": "128Mi" } });
    stage.create(
        "a",
        json!({
            "initContainers": [{ "name": "first", "resources": size }], "containers": [{ "name": "app", "resources": size }],
        }),
    );
    stage.until("first runs", |it| !it.lines(&["start a/first"]).is_empty()).await;
    stage.quiet(QUIET).await;
    stage.clear();
    stage.resize("a", set("/initContainers/0/resources/limits", json!({ "cpu": "400m", "memory": "128Mi" })));
    stage.until("resized", |it| settled(it, "a")).await;
    // The pod needs the most that any of its phases does, so its own cgroup grows too.
    assert_eq!(stage.lines(&["write"]), ["write a quota=40000", "write a/first#0 shares=102 quota=40000"]);
    assert_eq!(stage.status("a", "/initContainerStatuses/0/resources/limits/cpu"), "400m");
    stage.exits("a", "first", 0, false);
    running(&mut stage, "a").await;
    assert_eq!(stage.lines(&["start"]), ["start a/app#0 memory=128Mi"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarting_sidecar_starts_in_an_enlarged_pod() {
    let mut stage = Stage::new();
    let size =
        json!({ "requests": { "cpu": "100m", "memory": "64Mi" }, "limits": { "cpu": "200m", "memory": "128Mi" } });
    let restart = json!([{ "resourceName": "memory", "restartPolicy": "RestartContainer" }]);
    stage.create(
        "a",
        json!({
            "initContainers": [{ "name": "proxy", "restartPolicy": "Always", "resources": size, "resizePolicy": restart }],
            "containers": [{ "name": "app", "resources": size }],
        }),
    );
    running(&mut stage, "a").await;
    stage.clear();
    stage.resize("a", set("/initContainers/0/resources/limits/memory", json!("512Mi")));
    stage.until("resized", |it| settled(it, "a") && it.status("a", "/initContainerStatuses/0/restartCount") == 1).await;
    assert_eq!(
        stage.lines(&["write", "stop", "start"]),
        ["stop a/proxy#0 grace=30", "write a memory=640Mi", "start a/proxy#1 memory=512Mi"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_newer_resize_replaces_one_that_cannot_be_finished() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.failing("write a/app", u32::MAX);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage.until("stuck", |it| it.condition("a", "PodResizeInProgress").is_some_and(|it| it["reason"] == "Error")).await;
    stage.failing("write a/app", 0);
    stage.resize("a", set(LIMITS, json!({ "cpu": "200m", "memory": "128Mi" })));
    stage.until("back", |it| settled(it, "a")).await;
    let reasons: Vec<String> =
        stage.events("a")[2..].iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["ResizeStarted", "ResizeError", "ResizeStarted", "ResizeCompleted"]);
    assert_eq!(stage.status("a", "/resources/limits/cpu"), "200m");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_pod() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["activeDeadlineSeconds"] = json!(60);
    stage.create("a", spec);
    running(&mut stage, "a").await;
    stage.until("failed", |it| it.status("a", "/phase") == "Failed").await;
    assert_eq!(stage.status("a", "/reason"), "DeadlineExceeded");
    assert_eq!(stage.lines(&["stop", "remove"]), ["stop a/app#0 grace=30", "remove a"]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_node_adopts_what_runs() {
    let mut stage = Stage::new();
    stage.create("a", small());
    stage.create("b", small());
    running(&mut stage, "a").await;
    running(&mut stage, "b").await;
    stage.clear();
    // Removed while no node was there to see it.
    stage.delete_by_force("b");
    let mut stage = stage.restarted();
    stage.until("orphan removed", |it| !it.lines(&["forget b"]).is_empty()).await;
    stage.quiet(QUIET).await;
    assert_eq!(stage.lines(&["start", "create", "write", "stop", "remove"]), ["stop b/app#0 grace=0", "remove b"]);
    assert!(!stage.lines(&["disk uid-b forgotten"]).is_empty());
    assert_eq!(stage.status("a", "/containerStatuses/0/restartCount"), 0);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage.until("resized", |it| settled(it, "a")).await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_resize_goes_on() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.failing("write a/app", 1000);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    stage.until("half done", |it| !it.lines(&["write a/app"]).is_empty()).await;
    stage.clear();
    let mut stage = stage.restarted();
    stage.until("completed", |it| it.events("a").iter().any(|it| it.starts_with("ResizeCompleted"))).await;
    stage.until("settled", |it| settled(it, "a")).await;
    assert!(
        stage.lines(&["write a/app#0"]).contains(&"write a/app#0 shares=102 quota=30000".to_owned()),
        "{:?}",
        stage.lines(&["write"])
    );
    assert!(stage.lines(&["start", "stop"]).is_empty());
    let completed = stage.events("a").into_iter().find(|it| it.starts_with("ResizeCompleted")).unwrap();
    assert!(completed.contains("\"generation\":2"), "{completed}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_recorded_is_taken_back_with_its_resize() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    let before = stage.pod("a")["spec"].pointer(LIMITS).cloned().unwrap();
    // Every step is written, and the record of none reaches the disk.
    stage.forgets_what_is_actuated(true);
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "256Mi" })));
    stage.until("resized", |it| settled(it, "a")).await;
    stage.resize("a", set(LIMITS, before));
    stage.clear();
    let mut stage = stage.restarted();
    stage
        .until("completed", |it| it.events("a").iter().filter(|it| it.starts_with("ResizeCompleted")).count() == 2)
        .await;
    assert_eq!(stage.lines(&["write a/app#0"]), ["write a/app#0 memory=128Mi", "write a/app#0 shares=102 quota=20000"]);
    assert_eq!(stage.lines(&["start", "stop"]), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn age_among_those_that_wait_survives_a_restart() {
    let mut stage = Stage::new();
    stage.create("big", app(["1200m", "64Mi"], None));
    stage.create("y", app(["200m", "64Mi"], None));
    stage.create("x", app(["200m", "64Mi"], None));
    for name in ["big", "x", "y"] {
        running(&mut stage, name).await;
    }
    for name in ["y", "x"] {
        stage.resize(name, set(CPU, json!("1200m")));
        stage.until("deferred", |it| it.condition(name, "PodResizePending").is_some()).await;
        stage.quiet(Duration::from_millis(5)).await;
    }
    let since = stage.condition("y", "PodResizePending").unwrap()["lastTransitionTime"].clone();
    let mut stage = stage.restarted();
    stage.quiet(QUIET).await;
    assert_eq!(stage.condition("y", "PodResizePending").unwrap()["lastTransitionTime"], since);
    stage.delete("big", 0);
    stage.until("the older one resized", |it| settled(it, "y")).await;
    assert!(stage.condition("x", "PodResizePending").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_desired_size_that_came_while_no_node_was_there_is_allocated() {
    let mut stage = Stage::new();
    stage.create("a", small());
    running(&mut stage, "a").await;
    stage.resize("a", set(LIMITS, json!({ "cpu": "300m", "memory": "128Mi" })));
    let mut stage = stage.restarted();
    stage.until("resized", |it| settled(it, "a")).await;
    assert_eq!(stage.status("a", "/containerStatuses/0/resources/limits/cpu"), "300m");
    assert!(stage.events("a").iter().any(|it| it.starts_with("ResizeStarted")));
}

#[tokio::test(start_paused = true)]
async fn statuses_reach_an_api_that_was_away() {
    let mut stage = Stage::new();
    stage.create("a", small());
    stage.api_unavailable(5);
    running(&mut stage, "a").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acted_on_is_said_once() {
    let mut stage = Stage::new();
    let mut spec = small();
    spec["volumes"] = json!([{ "name": "v", "emptyDir": {} }]);
    stage.create("a", spec);
    running(&mut stage, "a").await;
    let mut stage = stage.restarted();
    stage.quiet(QUIET).await;
    let said: Vec<_> = stage.events("a").into_iter().filter(|it| it.starts_with("NotActedOn")).collect();
    assert_eq!(said, ["NotActedOn The scripted runtime stores but does not act on: volumes"]);
}

#[tokio::test(start_paused = true)]
async fn weird_pods_harm_nobody() {
    let mut stage = Stage::new();
    let pods = [
        json!({ "metadata": { "name": "no-spec", "namespace": "ns", "uid": "1" } }),
        json!({ "metadata": { "name": "no-uid", "namespace": "ns" }, "spec": { "containers": [] } }),
        json!({ "metadata": { "name": "no-containers", "namespace": "ns", "uid": "2" }, "spec": { "containers": [] } }),
        json!({ "metadata": { "name": "twins", "namespace": "ns", "uid": "3" },
            "spec": { "containers": [{ "name": "a" }, { "name": "a" }], "terminationGracePeriodSeconds": -5 } }),
        json!({ "metadata": { "name": "numbers", "namespace": "ns", "uid": "4", "generation": -1 },
            "spec": { "containers": [{ "name": "a", "resources": { "requests": { "cpu": "-1", "memory": "9e99" } } }],
                "activeDeadlineSeconds": i64::MAX, "priority": i32::MAX },
            "status": { "containerStatuses": [{ "name": "a", "restartCount": -7, "ready": false, "image": "", "imageID": "" }] } }),
        json!({ "metadata": { "name": "words", "namespace": "ns", "uid": "5" },
            "spec": { "containers": [{ "name": "a", "resources": { "limits": { "cpu": "many" } } }] } }),
    ];
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        stage.apply(&name, pod);
    }
    stage.create("fine", small());
    running(&mut stage, "fine").await;
}
