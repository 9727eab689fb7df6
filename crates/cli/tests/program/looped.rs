//! The loop, seen from outside: it works with `up` and with `supple controller`, says what it does, and stands back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::cluster::{Kubectl, SUPPLE, Up, eventually, good, signal};

const OVERSIZED: &str = "{requests: {cpu: 900m, memory: 1Gi}, limits: {cpu: 1800m, memory: 2Gi}}";

/// `supple controller` on the cluster, quick and without patience for age.
fn controller(up: &Up) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(SUPPLE)
        .args(["controller", "--interval", "1s", "--min-pod-age", "0s"])
        .env("KUBECONFIG", up.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn end(mut child: Child) {
    signal(i32::try_from(child.id()).unwrap(), "TERM");
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_oversized_pod_is_shrunk_and_told_about() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", OVERSIZED);
    kubectl.pod("b", OVERSIZED.replace("900m", "800m").as_str());
    kubectl.good(["label", "pod", "a", "supple.dev/enabled=true"]);
    let (child, mut lines) = controller(&up);
    let line = lines.find(|it| it.contains("Resized")).unwrap();
    assert!(line.contains("default/a app") && line.contains("cpu 900m:1800m → "), "{line}");
    let event = eventually("the event is there", || {
        let events = kubectl.good([
            "get",
            "events",
            "-o",
            "jsonpath={range .items[*]}{.reason} {.involvedObject.name} {.message}{\"\\n\"}{end}",
        ]);
        events.lines().find(|it| it.starts_with("Resized a ")).map(str::to_owned)
    });
    assert!(event.contains("cpu 900m:1800m → ") && event.contains("uses"), "{event}");
    end(child);
    assert_eq!(kubectl.path("pod/b", "{.metadata.generation}"), "1", "it has not opted in");
    assert!(
        kubectl.path("pod/a", "{.metadata.annotations.supple\\.dev/last-resize}").contains("\"by\":\"controller\"")
    );
    good(&up.supple(["undo", "pod/a"]));
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "900m");
}

#[test]
fn it_stands_back_from_a_persons_resize() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", OVERSIZED);
    kubectl.good(["label", "namespace", "default", "supple.dev/enabled=true"]);
    good(&up.supple(["resize", "pod/a", "--cpu", "850m"]));
    let (child, mut lines) = controller(&up);
    let line = lines.find(|it| it.contains("StoodBack")).unwrap();
    assert!(line.contains("stands back: a person resized it"), "{line}");
    end(child);
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "850m");
}

#[test]
fn it_stands_back_from_another_program() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", OVERSIZED);
    kubectl.good(["label", "pod", "a", "supple.dev/enabled=true"]);
    let (child, mut lines) = controller(&up);
    assert!(lines.any(|it| it.contains("Resized")));
    let patch =
        r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"333m"}, "limits":{"cpu":"666m"}}}]}}"#;
    kubectl.good(["patch", "pod", "a", "--subresource", "resize", "--field-manager=other-tool", "-p", patch]);
    let line = lines.find(|it| it.contains("StoodBack")).unwrap();
    assert!(line.contains("set its resources"), "{line}");
    end(child);
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "333m");
}

#[test]
fn up_runs_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), "simulated", &[]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(&super::cluster::pod("a", OVERSIZED));
    kubectl.good(["label", "pod", "a", "supple.dev/enabled=true"]);
    let lines = up.read_until("too young");
    assert!(lines.last().is_some_and(|it| it.contains("default/a app: cpu 900m:1800m → ")), "{lines:?}");
    assert_eq!(up.stop().1, Some(0));
}
