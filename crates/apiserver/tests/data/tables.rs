//! Tables: columns as recorded from the reference, cells as its printers compute them.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::kinds::{self, Resource};
use supple_apiserver::table::{Form, Include, human_duration, negotiate, partial_metadata, table};

use crate::conformance;
use crate::decoding::value;

fn resource(group: &str, version: &str, plural: &str) -> &'static Resource {
    kinds::find(group, version, plural).expect("served")
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a timestamp")
}

/// The `n`-th second before now.
fn ago(seconds: i64) -> String {
    Timestamp::from_second(now().as_second() - seconds).expect("in range").to_string()
}

#[track_caller]
fn check(plural: &str, object: Value, expected: &[&str]) {
    check_in(resource("", "v1", plural), object, expected);
}

#[track_caller]
fn check_in(resource: &Resource, object: Value, expected: &[&str]) {
    let table = table(resource, [&object], json!({}), Include::None, true, now());
    let cells: Vec<String> = table["rows"][0]["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    assert_eq!(cells, expected, "{object}");
    assert_eq!(table["columnDefinitions"].as_array().expect("columns").len(), expected.len());
}

#[test]
fn columns_are_those_of_the_reference() {
    let Some(recorded) = conformance::load("tables.json") else { return };
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, expected) in recorded.as_object().expect("tables by name") {
        let path = expected["path"].as_str().expect("a path");
        let mut parts = path.trim_start_matches("/api/").trim_start_matches("/apis/").rsplit('/');
        let (plural, version) = (parts.next().expect("a resource"), parts.next().expect("a version"));
        let Some(resource) = kinds::find(parts.next().unwrap_or(""), version, plural) else { continue };
        let table = table(resource, [], json!({}), Include::Metadata, true, now());
        let (ours, theirs) = (&table["columnDefinitions"], &expected["columns"]);
        let differing = ours.as_array().into_iter().flatten().zip(theirs.as_array().into_iter().flatten());
        wrong.extend(differing.filter(|(ours, theirs)| ours != theirs).map(|it| (name, it.0.clone(), it.1)));
        assert_eq!(ours.as_array().map(Vec::len), theirs.as_array().map(Vec::len), "{name}");
        compared += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared >= 27, "only {compared} tables compared");
}

#[test]
fn example_rows_are_those_of_the_reference() {
    let Some(recorded) = conformance::load("tables.json") else { return };
    let cells = |name: &str| -> Vec<String> {
        let cells = recorded[name]["exampleCells"].as_array().expect("cells");
        cells.iter().map(|it| it.as_str().expect("text").to_owned()).collect()
    };
    let pod = json!({"metadata": {"name": "p", "creationTimestamp": ago(5 * 60 + 41)}, "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Pending"}});
    let expected = cells("pods");
    check("pods", pod, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    let node = json!({"metadata": {"name": "fake1", "creationTimestamp": ago(50 * 60)}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let expected = cells("nodes");
    check("nodes", node, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn durations_are_short() {
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (659, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (10_860, "3h1m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_199, "7d23h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
        (283_824_000, "9y"),
    ] {
        assert_eq!(human_duration(seconds), expected, "{seconds}");
    }
}

/// A pod of `spec.containers` a, b, … with these statuses.
fn pod(status: Value) -> Value {
    let names = status["containerStatuses"].as_array().map_or(1, Vec::len);
    let containers: Vec<_> = (0..names).map(|it| json!({"name": it.to_string()})).collect();
    json!({"metadata": {"name": "p", "creationTimestamp": ago(30)}, "spec": {"nodeName": "n", "containers": containers}, "status": status})
}

#[track_caller]
fn check_pod(pod: Value, ready: &str, status: &str, restarts: &str) {
    let table = table(resource("", "v1", "pods"), [&pod], json!({}), Include::None, true, now());
    let cells = &table["rows"][0]["cells"];
    assert_eq!([&cells[1], &cells[2], &cells[3]], [ready, status, restarts], "{pod}");
}

#[test]
fn a_pod_says_what_its_containers_do() {
    let running = json!({"ready": true, "restartCount": 0, "state": {"running": {}}});
    let done = |reason: &str, code: i64| json!({"ready": false, "restartCount": 0, "state": {"terminated": {"reason": reason, "exitCode": code}}});
    check_pod(pod(json!({"phase": "Running", "containerStatuses": [running]})), "1/1", "Running", "0");
    check_pod(
        pod(json!({"phase": "Running", "containerStatuses": [running, done("Completed", 0)]})),
        "1/2",
        "NotReady",
        "0",
    );
    check_pod(
        pod(
            json!({"phase": "Running", "containerStatuses": [running, done("Completed", 0)], "conditions": [{"type": "Ready", "status": "True"}]}),
        ),
        "1/2",
        "Running",
        "0",
    );
    check_pod(pod(json!({"phase": "Succeeded", "containerStatuses": [done("Completed", 0)]})), "0/1", "Completed", "0");
    check_pod(pod(json!({"phase": "Running", "containerStatuses": [done("OOMKilled", 137)]})), "0/1", "OOMKilled", "0");
    check_pod(pod(json!({"phase": "Failed", "containerStatuses": [done("", 3)]})), "0/1", "ExitCode:3", "0");
    check_pod(
        pod(
            json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
        ),
        "0/1",
        "Signal:9",
        "0",
    );
    check_pod(
        pod(json!({"phase": "Running", "containerStatuses": [
            {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": ago(130)}}}]})),
        "0/1",
        "CrashLoopBackOff",
        "3 (2m10s ago)",
    );
    check_pod(
        pod(json!({"phase": "Running", "containerStatuses": [
            {"ready": true, "state": {"running": {}}, "restartCount": 1, "lastState": {"terminated": {"finishedAt": ago(120)}}},
            {"ready": true, "state": {"running": {}}, "restartCount": 2, "lastState": {"terminated": {"finishedAt": ago(60)}}}]})),
        "2/2",
        "Running",
        "3 (60s ago)",
    );
    check_pod(
        pod(
            json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}),
        ),
        "0/1",
        "ContainerCreating",
        "0",
    );
    check_pod(pod(json!({"phase": "Failed", "reason": "Evicted"})), "0/1", "Evicted", "0");
    check_pod(
        pod(
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated", "status": "False"}]}),
        ),
        "0/1",
        "SchedulingGated",
        "0",
    );
    let mut going = pod(json!({"phase": "Running", "containerStatuses": [running]}));
    going["metadata"]["deletionTimestamp"] = json!(ago(1));
    check_pod(going.clone(), "1/1", "Terminating", "0");
    going["status"]["reason"] = json!("NodeLost");
    check_pod(going, "1/1", "Unknown", "0");
    let mut gone = pod(json!({"phase": "Succeeded", "containerStatuses": [done("Completed", 0)]}));
    gone["metadata"]["deletionTimestamp"] = json!(ago(1));
    check_pod(gone, "0/1", "Completed", "0");
}

#[test]
fn a_pod_that_initialises_says_so() {
    let with_init = |policies: &[Option<&str>], init: Value, containers: Value, phase: &str| {
        let mut pod = pod(json!({"phase": phase, "initContainerStatuses": init, "containerStatuses": containers}));
        pod["spec"]["initContainers"] = policies
            .iter()
            .enumerate()
            .map(|(index, policy)| match policy {
                Some(policy) => json!({"name": format!("i{index}"), "restartPolicy": policy}),
                None => json!({"name": format!("i{index}")}),
            })
            .collect();
        pod
    };
    let waiting = json!([{"state": {"waiting": {"reason": "PodInitializing"}}}]);
    let running = json!([{"ready": true, "state": {"running": {}}}]);
    let done = json!({"name": "i0", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    check_pod(
        with_init(&[None, None], json!([{"name": "i0", "state": {"running": {}}}]), waiting.clone(), "Pending"),
        "0/1",
        "Init:0/2",
        "0",
    );
    check_pod(
        with_init(
            &[None, None],
            json!([done, {"name": "i1", "state": {"waiting": {"reason": "PodInitializing"}}}]),
            waiting.clone(),
            "Pending",
        ),
        "0/1",
        "Init:1/2",
        "0",
    );
    check_pod(
        with_init(
            &[None],
            json!([{"name": "i0", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": ago(5)}}}]),
            waiting.clone(),
            "Pending",
        ),
        "0/1",
        "Init:CrashLoopBackOff",
        "2 (5s ago)",
    );
    check_pod(
        with_init(
            &[None],
            json!([{"name": "i0", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]),
            waiting.clone(),
            "Failed",
        ),
        "0/1",
        "Init:Error",
        "0",
    );
    check_pod(
        with_init(
            &[None],
            json!([{"name": "i0", "state": {"terminated": {"exitCode": 1}}}]),
            waiting.clone(),
            "Failed",
        ),
        "0/1",
        "Init:ExitCode:1",
        "0",
    );
    check_pod(
        with_init(
            &[None],
            json!([{"name": "i0", "state": {"terminated": {"exitCode": 1, "signal": 11}}}]),
            waiting,
            "Failed",
        ),
        "0/1",
        "Init:Signal:11",
        "0",
    );
    // An init container's restarts are forgotten once it is done; a sidecar's are not, and it counts as a container.
    check_pod(
        with_init(
            &[None],
            json!([{"name": "i0", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}}]),
            running.clone(),
            "Running",
        ),
        "1/1",
        "Running",
        "0",
    );
    check_pod(
        with_init(
            &[Some("Always")],
            json!([{"name": "i0", "started": true, "ready": true, "restartCount": 4, "state": {"running": {}}}]),
            running,
            "Running",
        ),
        "2/2",
        "Running",
        "4",
    );
}

#[test]
fn wide_columns_of_pods() {
    let mut wide = pod(
        json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "::1"}], "nominatedNodeName": "m", "conditions": [{"type": "x", "status": "True"}]}),
    );
    wide["spec"]["readinessGates"] = json!([{"conditionType": "x"}, {"conditionType": "y"}]);
    check("pods", wide, &["p", "0/1", "Running", "0", "30s", "10.0.0.1", "n", "m", "1/2"]);
}

#[test]
fn other_kinds_have_their_cells() {
    let meta = json!({"name": "x", "creationTimestamp": ago(7200)});
    check("namespaces", json!({"metadata": meta, "status": {"phase": "Active"}}), &["x", "Active", "120m"]);
    check(
        "configmaps",
        json!({"metadata": meta, "data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
        &["x", "3", "120m"],
    );
    check("secrets", json!({"metadata": meta, "type": "Opaque", "data": {"a": ""}}), &["x", "Opaque", "1", "120m"]);
    check("serviceaccounts", json!({"metadata": meta}), &["x", "120m"]);
    check("limitranges", json!({"metadata": meta}), &["x", &ago(7200)]);
    check(
        "resourcequotas",
        json!({"metadata": meta, "status": {"hard": {"requests.cpu": "4", "limits.cpu": "8", "pods": "10"}, "used": {"requests.cpu": "1500m", "pods": "2"}}}),
        &["x", "pods: 2/10, requests.cpu: 1500m/4", "limits.cpu: 0/8", "120m"],
    );
    check_in(
        resource("coordination.k8s.io", "v1", "leases"),
        json!({"metadata": meta, "spec": {"holderIdentity": "h"}}),
        &["x", "h", "120m"],
    );
    check_in(
        resource("scheduling.k8s.io", "v1", "priorityclasses"),
        json!({"metadata": meta, "value": 7, "preemptionPolicy": "Never"}),
        &["x", "7", "false", "120m", "Never"],
    );
    check(
        "nodes",
        json!({"metadata": {"name": "x", "creationTimestamp": ago(7200), "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "b"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "os", "kernelVersion": "6", "containerRuntimeVersion": "process://1"}}}),
        &[
            "x",
            "Ready,SchedulingDisabled",
            "b,worker",
            "120m",
            "v1.36.2",
            "127.0.0.1",
            "<none>",
            "os",
            "6",
            "process://1",
        ],
    );
    check_in(
        resource("metrics.k8s.io", "v1beta1", "pods"),
        json!({"metadata": meta, "window": "10s", "containers": [{"usage": {"cpu": "100m", "memory": "1Mi"}}, {"usage": {"cpu": "1", "memory": "2Mi"}}]}),
        &["x", "1100m", "3Mi", "10s"],
    );
}

#[test]
fn events_look_the_same_in_both_versions() {
    let expected =
        ["60s", "Normal", "ResizeCompleted", "pod/p", "spec.containers{a}", "kubelet, n", "done", "2m", "3", "e"];
    check(
        "events",
        json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "ResizeCompleted", "message": " done\n", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"}, "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": ago(120), "lastTimestamp": ago(60)}),
        &expected,
    );
    check_in(
        resource("events.k8s.io", "v1", "events"),
        json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "ResizeCompleted", "note": "done", "regarding": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "reportingController": "kubelet", "reportingInstance": "n", "eventTime": ago(120), "series": {"count": 3, "lastObservedTime": ago(60)}}),
        &expected,
    );
    check(
        "events",
        json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Node"}}),
        &["<unknown>", "", "", "node", "", "", "", "<unknown>", "1", "e"],
    );
}

#[test]
fn rows_carry_what_is_asked_for() {
    let pod = json!({"kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": []}, "status": {"phase": "Failed"}});
    let with =
        |include| table(resource("", "v1", "pods"), [&pod], json!({"resourceVersion": "7"}), include, false, now());
    assert_eq!(with(Include::None)["rows"][0]["object"], Value::Null);
    assert_eq!(with(Include::Metadata)["rows"][0]["object"], partial_metadata(&pod));
    assert_eq!(with(Include::Object)["rows"][0]["object"], pod);
    assert_eq!(with(Include::Object)["rows"][0]["conditions"][0]["reason"], "Failed");
    assert_eq!(with(Include::Object)["columnDefinitions"], Value::Null);
    assert_eq!(with(Include::Object)["metadata"]["resourceVersion"], "7");
    assert_eq!(Include::parse(""), Some(Include::Metadata));
    assert_eq!(Include::parse("All"), None);
}

#[test]
fn accept_headers_choose_the_form() {
    for (accept, expected) in [
        ("", Some(Form::Plain)),
        ("*/*", Some(Form::Plain)),
        ("application/json", Some(Form::Plain)),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(Form::Table),
        ),
        ("application/json;as=Table;v=v2;g=meta.k8s.io, application/json", Some(Form::Plain)),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::PartialMetadata)),
        ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Plain)),
        (
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            Some(Form::AggregatedDiscovery),
        ),
        ("application/json;q=0.5,application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9", Some(Form::Table)),
        ("application/json;stream=watch", Some(Form::Plain)),
        ("application/vnd.kubernetes.protobuf", None),
        ("text/html", None),
        ("application/json;q=0", None),
    ] {
        assert_eq!(negotiate(accept), expected, "{accept}");
    }
}

proptest! {
    /// Whatever an object holds: no printer panics, and every row has a cell for every column.
    #[test]
    fn rows_are_as_wide_as_the_table(object in value()) {
        for resource in kinds::TABLE {
            let table = table(resource, [&object], json!({}), Include::Object, true, now());
            let columns = table["columnDefinitions"].as_array().map(Vec::len);
            prop_assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), columns, "{}", resource.qualified());
        }
    }

    #[test]
    fn no_accept_header_panics(accept in "[a-zA-Z/*;=,. 0-9]{0,60}") {
        let _ = negotiate(&accept);
    }

    #[test]
    fn every_duration_is_short(seconds in any::<i64>()) {
        let text = human_duration(seconds);
        prop_assert!(seconds > 300_000_000_000 || text.len() <= 9, "{text}");
    }
}
