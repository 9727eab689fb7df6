//! Stock kubectl on the embedded cluster: the verbs people use every day.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::cluster::{Kubectl, Up, bad, eventually, lacking, text};

const SMALL: &str = "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}";

fn with_pod(runtime: &str) -> Option<(Up, Kubectl)> {
    let up = Up::new(runtime);
    let kubectl = Kubectl::of(&up)?;
    kubectl.pod("a", SMALL);
    Some((up, kubectl))
}

#[test]
fn get_in_every_form() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    let table = kubectl.good(["get", "pods"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(rows[1][..4], ["a", "1/1", "Running", "0"]);
    let wide = kubectl.good(["get", "pod", "a", "-o", "wide"]);
    assert!(wide.contains("NODE") && wide.lines().nth(1).is_some_and(|it| it.contains(" node ")), "{wide}");
    let json: Value = serde_json::from_str(&kubectl.good(["get", "pod", "a", "-o", "json"])).unwrap();
    assert_eq!((&json["kind"], &json["status"]["qosClass"]), (&"Pod".into(), &"Burstable".into()));
    assert!(kubectl.good(["get", "pods", "-o", "yaml"]).contains("kind: List"));
    assert_eq!(kubectl.path("pod/a", "{.status.containerStatuses[0].allocatedResources.cpu}"), "100m");
    assert_eq!(kubectl.good(["get", "pods", "-o", "name", "-A"]), "pod/a\n");
    let columns = kubectl.good([
        "get",
        "po",
        "a",
        "-o",
        "custom-columns=N:.metadata.name,C:.spec.containers[0].resources.requests.cpu",
    ]);
    assert_eq!(columns.lines().nth(1).map(|it| it.split_whitespace().collect::<Vec<_>>()), Some(vec!["a", "100m"]));
    assert!(kubectl.good(["get", "nodes"]).contains("Ready"));
    assert!(kubectl.good(["get", "pods", "--field-selector=status.phase=Running", "-o", "name"]).contains("pod/a"));
    assert_eq!(kubectl.good(["get", "pods", "-l", "no=such", "-o", "name"]), "");
    assert!(bad(&kubectl.run(["get", "pod", "b"]), 1).contains("pods \"b\" not found"));
    assert!(bad(&kubectl.run(["get", "gadgets"]), 1).contains("the server doesn't have a resource type"));
}

#[test]
fn get_watch_follows() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    let mut watch = kubectl.command(["get", "pods", "-w", "--no-headers"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("a "));
    kubectl.good(["label", "pod", "a", "seen=yes"]);
    assert!(lines.next().unwrap().unwrap().starts_with("a "), "the change is shown");
    kubectl.create(&super::cluster::pod("b", SMALL));
    assert!(lines.any(|it| it.unwrap().starts_with("b ")), "the new pod is shown");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn create_and_delete() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    kubectl.good(["run", "b", "--image=registry.example/b:1", "--restart=Never"]);
    kubectl.ready("b");
    assert!(bad(&kubectl.run(["run", "b", "--image=x"]), 1).contains("already exists"));
    kubectl.good(["delete", "pod", "b", "--timeout=60s"]);
    assert!(bad(&kubectl.run(["get", "pod", "b"]), 1).contains("not found"));
    kubectl.good(["create", "configmap", "c", "--from-literal=k=v"]);
    assert_eq!(kubectl.path("configmap/c", "{.data.k}"), "v");
    kubectl.good(["create", "namespace", "n"]);
    kubectl.good(["-n", "n", "run", "b", "--image=registry.example/b:1"]);
    kubectl.good(["-n", "n", "wait", "--for=create", "serviceaccount/default", "--timeout=60s"]);
    kubectl.good(["delete", "namespace", "n", "--timeout=60s"]);
    assert!(bad(&kubectl.run(["-n", "n", "get", "pod", "b"]), 1).contains("not found"));
    kubectl.good(["delete", "pods", "--all", "--timeout=60s"]);
    assert_eq!(kubectl.good(["get", "pods", "-o", "name"]), "");
}

/// `create KIND` of a built-in kind is sent as protobuf, and a list is validated by a document of its own.
#[test]
fn create_of_every_kind() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    kubectl.good(["create", "quota", "q", "--hard=cpu=1,pods=2"]);
    assert_eq!(kubectl.path("quota/q", "{.spec.hard}"), r#"{"cpu":"1","pods":"2"}"#);
    kubectl.good(["create", "secret", "generic", "s", "--from-literal=k=v"]);
    assert_eq!(kubectl.path("secret/s", "{.data.k}{.type}"), "dg==Opaque");
    kubectl.good(["create", "serviceaccount", "robot"]);
    kubectl.good(["create", "priorityclass", "urgent", "--value=7"]);
    assert_eq!(kubectl.path("priorityclass/urgent", "{.value}{.preemptionPolicy}"), "7PreemptLowerPriority");
    kubectl.create(
        "apiVersion: v1\nkind: List\nitems:\n\
         - {apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {k: v}}\n\
         - {apiVersion: v1, kind: ConfigMap, metadata: {name: two}, data: {k: w}}\n",
    );
    assert_eq!(kubectl.path("configmap/two", "{.data.k}"), "w");
}

#[test]
fn describe_and_events() {
    let Some((up, kubectl)) = with_pod("simulated") else { return };
    super::cluster::good(&up.supple(["resize", "pod/a", "--cpu", "150m"]));
    let events = eventually("the resize is among the events", || {
        let events = kubectl.good(["events", "--for=pod/a"]);
        events.contains("ResizeCompleted").then_some(events)
    });
    for part in ["Scheduled", "Successfully assigned default/a to node", "Started", "ResizeStarted"] {
        assert!(events.contains(part), "{part:?} is not in:\n{events}");
    }
    let described = kubectl.good(["describe", "pod", "a"]);
    for part in ["Node:             node", "QoS Class:", "Burstable", "cpu:        150m", "ResizeCompleted"] {
        assert!(described.contains(part), "{part:?} is not in:\n{described}");
    }
    let node = kubectl.good(["describe", "node", "node"]);
    assert!(node.contains("Allocated resources") && node.contains("150m"), "{node}");
}

#[test]
fn logs_and_top_of_real_processes() {
    let up = Up::new("auto");
    if !up.announced.iter().any(|it| it.starts_with("runtime     process")) {
        return lacking("writable cgroups");
    }
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let command = "{}\n    command: [sh, -c, 'echo one; echo two; while :; do :; done']";
    kubectl.pod("a", &command.replace("{}", SMALL));
    let logs = eventually("the log has its lines", || {
        let logs = kubectl.good(["logs", "a"]);
        (logs.lines().count() == 2).then_some(logs)
    });
    assert_eq!(logs, "one\ntwo\n");
    assert_eq!(kubectl.good(["logs", "a", "--tail=1"]), "two\n");
    assert!(kubectl.good(["logs", "a", "--timestamps"]).starts_with("20"));
    assert!(bad(&kubectl.run(["logs", "a", "-c", "no"]), 1).contains("container no is not valid for pod a"));
    let top = eventually("usage has been measured", || {
        let top = kubectl.run(["top", "pod", "a", "--no-headers"]);
        let row: Vec<String> = text(&top.stdout).split_whitespace().map(str::to_owned).collect();
        (row.len() == 3 && row[1] != "0m").then_some(row)
    });
    let milli: i64 = top[1].trim_end_matches('m').parse().unwrap();
    assert!((20..=260).contains(&milli), "it burns what its limit of 200m lets it: {top:?}");
}

#[test]
fn patches_of_every_kind() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    let full = |cpu: &str| {
        format!(
            r#"{{"name":"app","resources":{{"requests":{{"cpu":"{cpu}","memory":"64Mi"}},"limits":{{"cpu":"200m","memory":"128Mi"}}}}}}"#
        )
    };
    for (kind, patch, cpu) in [
        (
            "strategic",
            r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"110m"}}}]}}"#.to_owned(),
            "110m",
        ),
        ("merge", format!(r#"{{"spec":{{"containers":[{}]}}}}"#, full("120m")), "120m"),
        (
            "json",
            r#"[{"op":"replace","path":"/spec/containers/0/resources/requests/cpu","value":"130m"}]"#.to_owned(),
            "130m",
        ),
    ] {
        kubectl.good(["patch", "pod", "a", "--subresource", "resize", "--type", kind, "-p", &patch]);
        let settled = format!("--for=jsonpath={{.status.containerStatuses[0].resources.requests.cpu}}={cpu}");
        kubectl.good(["wait", "pod/a", &settled, "--timeout=60s"]);
    }
    assert_eq!(kubectl.path("pod/a", "{.metadata.generation}{.status.containerStatuses[0].restartCount}"), "40");
    let plain = r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"140m"}}}]}}"#;
    assert!(
        bad(&kubectl.run(["patch", "pod", "a", "-p", plain]), 1)
            .contains("pod updates may not change fields other than")
    );
    let removed = r#"{"spec":{"containers":[{"name":"app","resources":{"limits":null}}]}}"#;
    let said = bad(&kubectl.run(["patch", "pod", "a", "--subresource", "resize", "-p", removed]), 1);
    assert!(said.contains("resource limits cannot be removed"), "{said}");
}

#[test]
fn edit_with_an_editor() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    let dir = tempfile::tempdir().unwrap();
    // An editor that replaces everywhere changes the status too, in fields that kubectl before 1.35 does not know.
    kubectl.good(["wait", "pod/a", "--for=jsonpath={.status.allocatedResources.cpu}=100m", "--timeout=60s"]);
    let editor = dir.path().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/cpu: 100m/cpu: 115m/' \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut edit = kubectl.command(["edit", "pod", "a", "--subresource", "resize"]);
    super::cluster::good(&edit.env("KUBE_EDITOR", &editor).output().unwrap());
    kubectl.good([
        "wait",
        "pod/a",
        "--for=jsonpath={.status.containerStatuses[0].resources.requests.cpu}=115m",
        "--timeout=60s",
    ]);
}

#[test]
fn wait_for_conditions() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    kubectl.good(["wait", "--for=condition=PodScheduled", "pod/a", "--timeout=60s"]);
    let beyond =
        r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"1900m"},"limits":{"cpu":"1900m"}}}]}}"#;
    kubectl.pod("neighbour", "{requests: {cpu: 500m}}");
    kubectl.good(["patch", "pod", "a", "--subresource", "resize", "-p", beyond]);
    kubectl.good(["wait", "--for=condition=PodResizePending", "pod/a", "--timeout=60s"]);
    kubectl.good(["delete", "pod", "a", "--wait=false"]);
    kubectl.good(["wait", "--for=delete", "pod/a", "--timeout=60s"]);
}

#[test]
fn a_pod_that_does_not_fit_says_why() {
    let Some((_up, kubectl)) = with_pod("simulated") else { return };
    kubectl.create(&super::cluster::pod("big", "{requests: {cpu: '1950m'}}"));
    kubectl.good(["wait", "--for=condition=PodScheduled=false", "pod/big", "--timeout=60s"]);
    let why = kubectl.path("pod/big", "{.status.conditions[?(@.type==\"PodScheduled\")].message}");
    assert!(why.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{why}");
    kubectl.good(["delete", "pod", "a", "--timeout=60s"]);
    kubectl.ready("big");
}

#[test]
fn api_resources() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let listed = kubectl.good(["api-resources", "--no-headers", "-o", "name"]);
    for name in [
        "pods",
        "namespaces",
        "nodes",
        "limitranges",
        "resourcequotas",
        "events",
        "configmaps",
        "secrets",
        "serviceaccounts",
        "leases.coordination.k8s.io",
        "priorityclasses.scheduling.k8s.io",
        "events.events.k8s.io",
        "pods.metrics.k8s.io",
    ] {
        assert!(listed.lines().any(|it| it == name), "{name} is not in:\n{listed}");
    }
    assert!(kubectl.good(["version"]).contains("v1.36"));
}

#[test]
fn what_one_may_do_can_be_asked() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    assert_eq!(kubectl.good(["auth", "can-i", "patch", "pods", "--subresource=resize", "-A"]), "yes\n");
    assert_eq!(kubectl.good(["auth", "can-i", "get", "/healthz"]), "yes\n");
    let all = kubectl.good(["auth", "can-i", "--list"]);
    let rows: Vec<Vec<&str>> = all.lines().map(|it| it.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["*.*", "[]", "[]", "[*]"]), "{all}");
    assert!(kubectl.good(["api-resources", "-o", "name"]).contains("selfsubjectaccessreviews.authorization.k8s.io"));
}
