//! The loop, seen from outside: it works with `up` and with `supple controller`, says what it does, and stands back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::cluster::{Kubectl, SUPPLE, Up, eventually, good, signal};

const OVERSIZED: &str = "{requests: {cpu: 900m, memory: 1Gi}, limits: {cpu: 1800m, memory: 2Gi}}";

/// Lets moments show what otherwise takes days.
const QUICK: &str = "
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: quick, namespace: default}
spec:
  startup: 0s
  learn: 0s
  minConfidence: 0
  settle: 3s
  coolDown: {up: 1s, down: 1s}
";

/// `supple controller` on the cluster, looking every second.
fn controller(up: &Up) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(SUPPLE)
        .args(["controller", "--interval", "1s", "--listen-metrics", "none", "--listen-probes", "none"])
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
    kubectl.create(QUICK);
    kubectl.pod("a", OVERSIZED);
    kubectl.pod("b", OVERSIZED.replace("900m", "800m").as_str());
    kubectl.good(["label", "pod", "a", "supple.dev/mode=in-place"]);
    let (child, mut lines) = controller(&up);
    let line = lines.find(|it| it.contains("Resized")).unwrap();
    assert!(line.contains("default/a app"), "{line}");
    let event = eventually("the event is there", || {
        let events = kubectl.good([
            "get",
            "events",
            "-o",
            "jsonpath={range .items[*]}{.reason} {.involvedObject.name} {.message}{\"\\n\"}{end}",
        ]);
        let first = |it: &&str| it.starts_with("Resize a ") && it.contains("cpu 900m:1800m → ");
        events.lines().find(first).map(str::to_owned)
    });
    assert!(event.contains(" by "), "the rule is told: {event}");
    let reason = eventually("what was decided is written down", || {
        let reason = kubectl.path("rightsizing/pod-b", "{.status.decision.code}");
        (!reason.is_empty()).then_some(reason)
    });
    assert_eq!(reason, "ModeOff", "it has not been let");
    end(child);
    assert_eq!(kubectl.path("pod/b", "{.metadata.generation}"), "1");
    assert!(
        kubectl.path("pod/a", "{.metadata.annotations.supple\\.dev/last-resize}").contains("\"by\":\"controller\"")
    );
    let restored = up.supple(["uninstall", "--restore"]);
    good(&restored);
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "900m");
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.memory}"), "1Gi");
}

#[test]
fn it_stands_back_from_a_persons_resize() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.pod("a", OVERSIZED);
    kubectl.good(["label", "namespace", "default", "supple.dev/mode=in-place"]);
    good(&up.supple(["resize", "pod/a", "--cpu", "850m"]));
    let (child, mut lines) = controller(&up);
    let line = lines.find(|it| it.contains("OtherHand")).unwrap();
    assert!(line.contains("a person resized it"), "{line}");
    end(child);
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "850m");
}

#[test]
fn it_stands_back_from_another_program() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.pod("a", OVERSIZED);
    kubectl.good(["label", "pod", "a", "supple.dev/mode=in-place"]);
    let (child, mut lines) = controller(&up);
    assert!(lines.any(|it| it.contains("Resized")));
    let patch =
        r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"333m"}, "limits":{"cpu":"666m"}}}]}}"#;
    kubectl.good(["patch", "pod", "a", "--subresource", "resize", "--field-manager=other-tool", "-p", patch]);
    let line = lines.find(|it| it.contains("OtherHand")).unwrap();
    assert!(line.contains("set its resources"), "{line}");
    end(child);
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "333m");
}

#[test]
fn plan_explain_and_doctor_say_what_would_be_done() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.pod("a", OVERSIZED);
    let plan = eventually("there is something to plan", || {
        let plan = good(&up.supple(["plan", "--all", "-o", "json"]));
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["workloads"][0]["containers"][0]["need"]["cpu"].is_object().then_some(plan)
    });
    let workload = &plan["workloads"][0];
    assert_eq!((workload["name"].as_str(), workload["code"].as_str()), (Some("a"), Some("ModeOff")));
    assert_eq!(workload["answer"]["word"], "accepted");
    assert_eq!(up.supple(["plan", "--fail-on", "change"]).status.code(), Some(1));
    let patch = good(&up.supple(["plan", "-o", "yaml"]));
    assert!(patch.contains("kind: Pod") && patch.contains("--subresource resize"), "{patch}");
    let table = good(&up.supple(["plan", "-o", "wide"]));
    assert!(table.lines().count() == 2 && table.contains("pod/a") && table.contains("900m:1800m → "), "{table}");
    let explained = good(&up.supple(["explain", "pod/a"]));
    for part in ["default/pod/a: ModeOff", "refuses Permission", "What would have to change", "set another mode"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    assert_eq!(up.supple(["explain", "pod/none"]).status.code(), Some(1));
    let doctor = good(&up.supple(["doctor"]));
    assert!(doctor.contains("ok    pods/resize") && doctor.contains("ok    definitions"), "{doctor}");
}

#[test]
fn up_runs_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), "simulated", &[]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(&super::cluster::pod("a", OVERSIZED));
    kubectl.good(["label", "pod", "a", "supple.dev/mode=in-place"]);
    let lines = up.read_until("default/a app");
    assert!(lines.last().is_some_and(|it| it.contains("cpu 900m:1800m → ")), "{lines:?}");
    assert_eq!(up.stop().1, Some(0));
}
