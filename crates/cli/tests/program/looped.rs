//! The loop, seen from outside: it works with `up` and with `supple controller`, says what it does, and stands back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use super::cluster::{Kubectl, SUPPLE, Up, eventually, good, signal, text};

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

/// A deployment with an autoscaler that aims at so much of what its pod asks for, with these annotations.
fn scaled(cpu: &str, percent: u32, annotations: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: "registry.example/app:1", resources: {{requests: {{cpu: {cpu}, memory: 64Mi}}}}}}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web, namespace: default, annotations: {{{annotations}}}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  maxReplicas: 3
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: {percent}}}}}}}]
"#
    )
}

/// Noted on an autoscaler whose target was halved when the request of its pod was doubled.
const ADJUSTED: &str = r#"supple.dev/adjusted-target: '{"percent":70,"milliCpu":250,"pods":1,"to":35}'"#;

/// `supple controller` on the cluster, looking every second.
fn controller(up: &Up) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(SUPPLE)
        .args(["controller", "--interval", "1s", "--listen-metrics", "none", "--listen-probes", "none"])
        .env("KUBECONFIG", up.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

/// For a controller that was started by hand, of which nothing in the cluster says where it runs.
const RESTORE: [&str; 4] = ["uninstall", "--restore", "--namespace", "supple-system"];

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
}

#[test]
fn beside_the_loop_of_a_cluster_no_second_one_begins() {
    let own = tempfile::tempdir().unwrap();
    let up = Up::start(own.path(), "simulated", &[]);
    let Output { status, stderr, .. } =
        up.supple(["controller", "--listen-metrics", "none", "--listen-probes", "none"]);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("already acts on this cluster") && stderr.contains("supple up --no-loop"), "{stderr}");
}

#[test]
fn an_uninstall_beside_a_running_controller_puts_back_what_was_and_keeps_it_so() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    for pod in ["a", "b", "c"] {
        kubectl.pod(pod, OVERSIZED.replace("900m", "500m").as_str());
    }
    kubectl.good(["label", "pod", "a", "b", "supple.dev/mode=in-place"]);
    kubectl.create(&scaled("500m", 35, ADJUSTED));
    let (child, lines) = controller(&up);
    // What it prints is read all the while, or it would wait for whoever reads.
    let reader = std::thread::spawn(move || lines.count());
    let touched = |pod: &str| {
        let note = kubectl.path(&format!("pod/{pod}"), "{.metadata.annotations.supple\\.dev/last-resize}");
        note.contains("controller").then_some(())
    };
    eventually("a is resized", || touched("a"));
    eventually("b is resized", || touched("b"));
    let theirs =
        r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"333m"},"limits":{"cpu":"1"}}}]}}"#;
    kubectl.good(["patch", "pod", "b", "--subresource", "resize", "--field-manager=other-tool", "-p", theirs]);

    let would = good(&up.supple(["uninstall"]));
    assert!(
        would.contains("default/hpa/web")
            && would.contains("default/pod/a")
            && would.contains("would be restored")
            && would.contains(" → 500m:"),
        "{would}"
    );
    assert!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}") != "500m", "it was only told");

    // This controller was started by hand: nothing in the cluster says where it runs, and a guess would stop nothing.
    let refused = up.supple(["uninstall", "--restore"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("supple.dev/component=controller") && said.contains("--namespace"), "{said}");
    assert!(!kubectl.run(["get", "namespace/supple-system"]).status.success(), "none was made for it");

    let restored = good(&up.supple(RESTORE));
    let line =
        |pod: &str| restored.lines().find(|it| it.starts_with(&format!("default/pod/{pod} "))).unwrap_or_default();
    assert!(line("a").contains("restored") && line("a").contains("→ 500m:"), "{restored}");
    assert!(line("b").contains("unchanged"), "{restored}");
    assert!(restored.contains("default/hpa/web ") && restored.contains("cpu target 35 % → 70 %"), "{restored}");
    let hpa = kubectl.path("hpa/web", "{.spec.metrics[0].resource.target.averageUtilization}{.metadata.annotations}");
    assert_eq!(hpa, "70", "the target is as before, and our note is off");
    assert_eq!(line("c"), "", "it was never touched: {restored}");
    assert!(restored.contains("helm uninstall supple --namespace supple-system"), "{restored}");
    let stop = kubectl.path("namespace/supple-system", "{.metadata.annotations.supple\\.dev/stop}");
    assert!(stop.starts_with("supple uninstall --restore, "), "{stop}");

    let state = || {
        let fields =
            "{.spec.containers[0].resources}{.metadata.generation}{.metadata.annotations.supple\\.dev/last-resize}";
        kubectl.path("pod/a", fields)
    };
    let after = state();
    assert!(after.contains(r#""cpu":"500m","memory":"1Gi""#) && !after.contains("controller"), "{after}");
    // The controller is there all the while, and has judged the pod since.
    eventually("it says why it does nothing", || {
        (kubectl.path("rightsizing/pod-a", "{.status.decision.code}") == "Stopped").then_some(())
    });
    assert_eq!(state(), after);
    end(child);
    reader.join().unwrap();

    // Who does it again finds nothing to do, and what is left stays.
    let again = good(&up.supple(RESTORE));
    assert!(again.contains("0 pods restored") && again.contains("unchanged"), "{again}");
}

/// No resize is behind these sizes: only the webhook's note on the pod says what it would have had.
#[test]
fn an_uninstall_gives_pods_that_were_sized_at_creation_what_their_template_asks_for() {
    let own = tempfile::tempdir().unwrap();
    let up = Up::start(own.path(), "simulated", &["--webhook"]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.create(&format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default, labels: {{supple.dev/mode: Initial}}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{supple.dev/usage-pattern: "cpu=20m memory=100Mi"}}}}
    spec: {{containers: [{{name: app, image: "registry.example/app:1", resources: {OVERSIZED}}}]}}
"#
    ));
    let pods = || {
        let fields = "{range .items[*]}{.metadata.name} {.spec.containers[0].resources.requests.cpu} \
                      {.metadata.annotations.supple\\.dev/sized-at-creation}{\"\\n\"}{end}";
        let args = ["get", "pods", "--field-selector=status.phase=Running", "-o", &format!("jsonpath={fields}")];
        kubectl.good(args).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    eventually("it is known what its pods need", || {
        let known =
            kubectl.run(["get", "rightsizing/deployment-web", "-o", "jsonpath={.status.recommendation[0].cpu.target}"]);
        (!text(&known.stdout).is_empty()).then_some(())
    });
    let note = eventually("a new pod is sized as it is created", || {
        let pods = pods();
        let [pod] = pods.as_slice() else { return None };
        let [name, cpu, note] = pod.splitn(3, ' ').collect::<Vec<_>>()[..] else { return None };
        if cpu == "900m" {
            kubectl.good(["delete", "pod", name, "--now"]);
            return None;
        }
        Some(note.to_owned())
    });
    assert!(note.contains(r#""before":{"app":{"cpuRequest":"900m""#), "{note}");
    let would = good(&up.supple(["uninstall"]));
    assert!(would.contains("→ 900m:1800m") && would.contains("1 pod would be restored"), "{would}");

    let restored = good(&up.supple(["uninstall", "--restore"]));
    let line = restored.lines().find(|it| it.starts_with("default/pod/web-")).unwrap_or_default();
    assert!(line.contains("restored") && line.contains("→ 900m:1800m"), "{restored}");
    assert!(restored.contains("1 pod restored; Supple's annotations removed from 1 pod"), "{restored}");
    let now = pods();
    assert!(now.len() == 1 && now[0].ends_with(" 900m "), "{now:?}");
}

/// Pods without a template, whose records went with the definitions: what puts them back stands on themselves, and where it does not,
/// the note that says the rest stays.
#[test]
fn an_uninstall_goes_by_what_stands_on_the_pods_where_everything_else_has_been_deleted() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    for pod in ["a", "b"] {
        kubectl.pod(pod, OVERSIZED.replace("900m", "500m").as_str());
    }
    kubectl.good(["label", "pod", "a", "b", "supple.dev/mode=in-place"]);
    let (child, lines) = controller(&up);
    let reader = std::thread::spawn(move || lines.count());
    let note = |pod: &str| kubectl.path(&format!("pod/{pod}"), "{.metadata.annotations.supple\\.dev/last-resize}");
    for pod in ["a", "b"] {
        eventually("it is resized", || note(pod).contains("controller").then_some(()));
    }
    end(child);
    reader.join().unwrap();
    // As an older program left it, which did not say what was before all resizes.
    let mut old: serde_json::Value = serde_json::from_str(&note("b")).unwrap();
    old.as_object_mut().unwrap().remove("first").expect("what was at first is noted");
    kubectl.good(["annotate", "--overwrite", "pod/b", &format!("supple.dev/last-resize={old}")]);
    let definitions = ["rightsizings", "rightsizepolicies", "clusterrightsizepolicies"];
    let definitions = definitions.map(|it| format!("crd/{it}.supple.dev"));
    kubectl.good(["delete"].into_iter().chain(definitions.iter().map(String::as_str)).collect::<Vec<_>>());

    let restored = up.supple(RESTORE);
    let (said, why) = (text(&restored.stdout), text(&restored.stderr));
    assert_eq!(restored.status.code(), Some(1), "{said}{why}");
    let line = |pod: &str| said.lines().find(|it| it.starts_with(&format!("default/pod/{pod} "))).unwrap_or_default();
    assert!(line("a").contains("  restored  ") && line("a").contains("→ 500m:"), "{said}");
    assert!(line("b").contains("NOT restored") && line("b").contains("supple undo pod/b -n default"), "{said}");
    assert!(said.contains("1 pod restored") && said.contains("--leave default/b"), "{said}");
    assert!(why.contains("1 pod could not be fully restored"), "{why}");
    assert_eq!(note("a"), "");
    assert!(note("b").contains("controller"), "it is all that is known");

    good(&up.supple(RESTORE.into_iter().chain(["--leave", "default/b"])));
    assert_eq!(note("b"), "");
}

#[test]
fn what_uses_more_than_its_former_limit_goes_back_in_part_or_is_left_as_it_is() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    let grower = super::cluster::pod("a", "{requests: {cpu: 500m, memory: 64Mi}, limits: {cpu: 1, memory: 128Mi}}");
    let pattern = "metadata: {annotations: {supple.dev/usage-pattern: \"cpu=20m memory=ramp(100Mi,200Mi,20s)\"}, ";
    kubectl.create(&grower.replacen("metadata: {", pattern, 1));
    kubectl.ready("a");
    kubectl.good(["label", "pod", "a", "supple.dev/mode=in-place"]);
    let (child, lines) = controller(&up);
    let reader = std::thread::spawn(move || lines.count());
    let asks = |what: &str| kubectl.path("pod/a", &format!("{{.spec.containers[0].resources.{what}}}"));
    let note = || kubectl.path("pod/a", "{.metadata.annotations.supple\\.dev/last-resize}");
    // It uses 200Mi in the end, and has been given less CPU than it had.
    eventually("it has grown, and shrunk", || {
        let limit = asks("limits.memory").trim_end_matches("Mi").parse::<u32>().unwrap_or(0);
        let used = kubectl.good(["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/a"]);
        let used: serde_json::Value = serde_json::from_str(&used).ok()?;
        let used = used["containers"][0]["usage"]["memory"].as_str()?.parse::<supple_quantity::Quantity>().ok()?;
        let used = supple_quantity::Bytes::from(&used).0;
        (limit > 205 && used > 150 << 20 && asks("requests.cpu") != "500m").then_some(())
    });
    end(child);
    reader.join().unwrap();

    let restored = up.supple(RESTORE);
    let said = text(&restored.stdout);
    assert_eq!(restored.status.code(), Some(1), "{said}");
    let line = |what: &str| said.lines().any(|it| it.starts_with("default/pod/a ") && it.contains(what));
    assert!(line("limit kept") && line("partly restored"), "{said}");
    assert!(said.contains("supple uninstall --restore --leave default/a"), "{said}");
    assert_eq!((asks("requests.cpu").as_str(), asks("requests.memory").as_str()), ("500m", "64Mi"), "{said}");
    assert!(!note().is_empty(), "the rest is still to be put back");

    good(&up.supple(["uninstall", "--restore", "--leave", "default/a"]));
    assert_eq!(note(), "", "it is nobody's any more");
    assert_ne!(asks("limits.memory"), "128Mi");
}

/// Kubernetes counts a quota down only once a pod has what it asks for: whoever is refused for its sake is asked again after others
/// have given back. The one that grew gives its request back at the second try only, because it keeps its limit.
#[test]
fn what_a_quota_refuses_is_put_back_once_others_have_made_room() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    let usage = |name: &str, pattern: &str, resources: &str| {
        let pattern = format!(
            "metadata: {{labels: {{supple.dev/mode: in-place}}, annotations: {{supple.dev/usage-pattern: \"{pattern}\"}}, "
        );
        kubectl.create(&super::cluster::pod(name, resources).replacen("metadata: {", &pattern, 1));
        kubectl.ready(name);
    };
    let sizes = "{requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 1, memory: 128Mi}}";
    usage("grows", "cpu=40m memory=ramp(60Mi,200Mi,15s)", sizes);
    usage("idle", "cpu=20m memory=9Mi", "{requests: {cpu: 50m, memory: 256Mi}, limits: {cpu: 1, memory: 512Mi}}");
    let (child, lines) = controller(&up);
    let reader = std::thread::spawn(move || lines.count());
    let asks = |pod: &str| {
        let path = "{.spec.containers[0].resources.requests.memory}";
        let asked = kubectl.path(&format!("pod/{pod}"), path).parse::<supple_quantity::Quantity>().unwrap();
        supple_quantity::Bytes::from(&asked).0 >> 20
    };
    eventually("one has grown, the other shrunk", || (asks("grows") >= 200 && asks("idle") <= 180).then_some(()));
    end(child);
    reader.join().unwrap();
    // Room for what they ask for, and for what they had: but what was shrunk has none before the other has given back.
    let hard = (asks("grows") + asks("idle")).max(64 + 256) + 8;
    kubectl.create(&format!(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: q}}\nspec: {{hard: {{requests.memory: {hard}Mi}}}}\n"
    ));
    eventually("it is counted", || (!kubectl.path("quota/q", "{.status.used}").is_empty()).then_some(()));

    let restored = up.supple(RESTORE);
    let said = text(&restored.stdout);
    let line = |pod: &str, what: &str| {
        said.lines().any(|it| it.starts_with(&format!("default/pod/{pod} ")) && it.contains(what))
    };
    assert!(line("grows", "partly restored") && line("idle", "restored"), "{said}");
    assert!(!said.contains("NOT restored"), "{said}");
    assert_eq!((asks("grows"), asks("idle")), (64, 256), "{said}");
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
    assert!(patch.contains("kind: Pod"), "{patch}");
    let command = patch.lines().find_map(|it| it.strip_prefix("# kubectl ")).unwrap();
    let (start, body) = command.split_once(" -p '").unwrap();
    let words = start.split(' ').chain(["-p", body.trim_end_matches('\''), "--dry-run=server"]);
    kubectl.good(words.collect::<Vec<_>>());
    let wide = up.supple(["plan", "-o", "wide"]);
    let (table, total) = (good(&wide), text(&wide.stderr));
    assert!(table.lines().count() == 2 && table.contains("pod/a") && table.contains("900m:1800m → "), "{table}");
    for part in ["Permission refuses", "accepted", "ModeOff", "PER MONTH", "saves "] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(total.contains("cores less") && total.contains("a month at 0.031 a core"), "{total}");
    assert!(workload["savesAMonth"].as_f64().is_some_and(|it| it > 0.0), "{workload}");
    let one = good(&up.supple(["plan", "pod/a"]));
    for part in [
        "Checks\n",
        "refuses   Permission",
        "passes    ",
        "What the cluster would answer\n  Accepted, and applied at once",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
    let name = good(&up.supple(["plan", "-A", "-o", "name"]));
    assert_eq!(name, "default/pod/a\n");
}

#[test]
fn a_container_at_risk_is_named_and_ends_a_pipeline() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    let hungry = super::cluster::pod("hungry", "{requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 1, memory: 1Gi}}");
    let pattern = "metadata: {annotations: {supple.dev/usage-pattern: \"cpu=200m memory=300Mi\"}, ";
    kubectl.create(&hungry.replacen("metadata: {", pattern, 1));
    kubectl.ready("hungry");
    let bare = super::cluster::pod("bare", "{requests: {cpu: 300m}}");
    kubectl.create(&bare.replacen("metadata: {", pattern, 1));
    kubectl.ready("bare");
    let said = eventually("their use is known", || {
        let failed = up.supple(["plan", "--fail-on", "risk"]);
        let said = text(&failed.stderr);
        (failed.status.code() == Some(1) && !said.contains("note: nothing is known")).then_some(said)
    });
    let expect = "risk: default/pod/hungry: app requests 16Mi of memory and ";
    assert!(said.contains(expect) && said.contains("needs at least"), "{said}");
    assert!(said.contains("risk: default/pod/bare: app requests no memory and needs at least"), "{said}");
    assert_eq!(up.supple(["plan", "--fail-on", "refused"]).status.code(), Some(0));

    // A reader that has seen enough does not make the pipeline pass.
    let mut unread = Command::new(SUPPLE)
        .args(["plan", "--fail-on", "risk"])
        .env("KUBECONFIG", up.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(unread.stdout.take());
    assert_eq!(unread.wait().unwrap().code(), Some(1));

    // What has never run has never been measured: nothing is known of it, and that is not for the best.
    kubectl.good(["create", "namespace", "new"]);
    let waits = super::cluster::pod("waits", "{requests: {cpu: 10m}}");
    kubectl.create(&waits.replacen("{name: waits}", "{name: waits, namespace: new}", 1).replacen(
        "spec:\n",
        "spec:\n  nodeSelector: {no: such}\n",
        1,
    ));
    for on in ["risk", "change", "refused"] {
        let unknown = super::cluster::bad(&up.supple(["plan", "-n", "new", "--fail-on", on]), 3);
        assert!(unknown.contains("no container of these workloads has been measured"), "{unknown}");
    }
    assert_eq!(up.supple(["plan", "-n", "new"]).status.code(), Some(0), "without a threshold it is only shown");
    let said = text(&up.supple(["plan", "-A", "--fail-on", "risk"]).stderr);
    assert!(said.contains("note: nothing is known of 1 of 3 workloads") && said.contains("(new/pod/waits)"), "{said}");

    // A quota holds it where it is: what it should ask for is told all the same, and that it would be refused.
    kubectl.create(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: full, namespace: default}\nspec: {hard: {requests.memory: 20Mi}}\n",
    );
    let said = eventually("the quota is seen", || {
        let failed = up.supple(["plan", "--fail-on", "refused"]);
        (failed.status.code() == Some(1)).then_some(failed)
    });
    let (table, why) = (text(&said.stdout), text(&said.stderr));
    assert!(table.contains("16Mi:1Gi → ") && table.contains("refused"), "{table}");
    assert!(why.contains("refused: default/pod/hungry: ") && why.contains("exceeded quota"), "{why}");
}

#[test]
fn explain_tells_every_value_with_its_unit_and_its_origin() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.create(
        "apiVersion: supple.dev/v1alpha1\nkind: ClusterRightsizePolicy\nmetadata: {name: base}\nspec:\n  podsAtOnce: 7\n  \
         startup: 90s\n  resourcePolicy: {containerPolicies: [{containerName: app, minAllowed: {memory: 32Mi}}]}\n",
    );
    kubectl.pod("a", OVERSIZED);
    let explained = eventually("there is something to explain", || {
        let said = good(&up.supple(["explain", "pod/a"]));
        said.contains("needs    ").then_some(said)
    });
    let row = |name: &str| {
        let found = explained.lines().find(|it| it.trim_start().starts_with(&format!("{name} ")));
        found.unwrap_or_default().split("  ").map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(row("updatePolicy.updateMode"), ["updatePolicy.updateMode", "Off: recommend only", "built in"]);
    assert_eq!(row("podsAtOnce"), ["podsAtOnce", "7 pods", "clusterrightsizepolicy/base"]);
    assert_eq!(row("startup"), ["startup", "none", "rightsizepolicy/quick"], "the more particular wins");
    assert_eq!(row("coolDown.up"), ["coolDown.up", "1s", "rightsizepolicy/quick"]);
    assert_eq!(row("minConfidence"), ["minConfidence", "0 %", "rightsizepolicy/quick"]);
    let least = "containers[app].minAllowed.memory";
    assert_eq!(row(least), [least, "32Mi", "clusterrightsizepolicy/base"]);
    for part in [
        "default/pod/a: ModeOff",
        "refuses   Permission",
        "What must change before Supple acts\n  ModeOff: set another mode",
        "      kubectl label --overwrite pod/a -n default supple.dev/mode=in-place",
        "now        900m cpu, limit 1800m; uses ",
        "confidence 0 %: the history is short",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    for code in ["{ ", "Some(", "None", "cpu_up", "SignedDuration", "PT"] {
        assert!(!explained.contains(code), "{code:?} is no plain word: {explained}");
    }
    let json: serde_json::Value = serde_json::from_str(&good(&up.supple(["explain", "pod/a", "-o", "json"]))).unwrap();
    assert_eq!(json[0]["toAct"][0]["code"], "ModeOff");
    assert_eq!(json[0]["toAct"][0]["command"], "kubectl label --overwrite pod/a -n default supple.dev/mode=in-place");
    let settings = json[0]["settings"].as_array().unwrap();
    let of = |name: &str| settings.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(
        (&of("podsAtOnce")["value"], &of("podsAtOnce")["origin"]),
        (&"7 pods".into(), &"clusterrightsizepolicy/base".into())
    );
    assert!(json[0]["containers"][0]["explanation"]["cpu"]["averageMillicores"].is_number(), "{json}");
    assert_eq!(up.supple(["explain", "pod/none"]).status.code(), Some(1));
}

#[test]
fn doctor_says_what_is_wrong_and_how_to_cure_it() {
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let report = || {
        let output = up.supple(["doctor", "-o", "json"]);
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), findings)
    };
    let of = |findings: &[serde_json::Value], what: &str| -> Vec<(String, String, String)> {
        let word = |it: &serde_json::Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
        let mine = findings.iter().filter(|it| it["what"] == what);
        mine.map(|it| (word(it, "state"), word(it, "says"), word(it, "cure"))).collect()
    };
    let (code, well) = report();
    assert_eq!(code, Some(0), "{well:?}");
    for what in
        ["version", "pods/resize", "access", "webhooks", "usage", "definitions", "switch", "autoscalers", "nodes"]
    {
        let state: Vec<String> = of(&well, what).into_iter().map(|it| it.0).collect();
        assert_eq!(state, ["good"], "{what}: {well:?}");
    }

    // A controller that does not run, a webhook that nobody answers, somebody else's webhook, an autoscaler, the switch.
    kubectl.create(BROKEN);
    kubectl.create(&scaled("100m", 70, ""));
    let (code, ill) = report();
    assert_eq!(code, Some(1), "{ill:?}");
    let controller = of(&ill, "controller");
    assert!(controller[0].0 == "bad" && controller[0].1.starts_with("elsewhere/supple: 0 of 1"), "{controller:?}");
    assert!(of(&ill, "access")[0].1.starts_with("system:serviceaccount:elsewhere:robot may do all"), "{ill:?}");
    let webhooks = of(&ill, "webhooks");
    assert!(webhooks.iter().any(|it| it.0 == "bad" && it.1.contains("has no CA bundle yet")), "{webhooks:?}");
    assert!(webhooks.iter().any(|it| it.0 == "note" && it.1.contains("memory.databases.example")), "{webhooks:?}");
    let switch = of(&ill, "switch");
    assert!(
        switch[0].1.contains("incident 4711") && switch[0].2.contains("namespace elsewhere supple.dev/stop-"),
        "{switch:?}"
    );
    let scaler =
        eventually("its pods are seen", || of(&report().1, "autoscalers").into_iter().find(|it| it.0 == "note"));
    assert!(scaler.1.contains("horizontalpodautoscaler/web scales at 70 % of requested CPU"), "{scaler:?}");
    assert!(scaler.2.contains("hpa: Adjust"), "{scaler:?}");
    let said = text(&up.supple(["doctor"]).stdout);
    assert!(
        said.lines().any(|it| it.starts_with("BAD   controller")) && said.contains(" → kubectl describe "),
        "{said}"
    );
}

/// What a doctor is called for.
const BROKEN: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere, annotations: {supple.dev/stop: incident 4711}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: supple, namespace: elsewhere, labels: {app.kubernetes.io/name: supple}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      serviceAccountName: robot
      nodeSelector: {no: such-node}
      containers: [{name: supple, image: "registry.example/supple:1", args: [controller]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: supple}
webhooks:
- name: resize.supple.dev
  clientConfig: {service: {name: supple-webhook, namespace: elsewhere}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/resize]}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
- name: memory.databases.example
  clientConfig: {url: "https://127.0.0.1:1/judge"}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: ["pods/*"]}]
  namespaceSelector: {matchLabels: {no: such}}
  sideEffects: None
  admissionReviewVersions: [v1]
"#;

#[test]
fn up_runs_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), "simulated", &[]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(QUICK);
    kubectl.create(&super::cluster::pod("a", OVERSIZED));
    kubectl.good(["label", "pod", "a", "supple.dev/mode=in-place"]);
    let lines = up.read_until("default/a app");
    assert!(lines.last().is_some_and(|it| it.contains("cpu ") && it.contains("900m:1800m → ")), "{lines:?}");
    // Who looks from outside finds the loop, and takes the same objects for its own.
    let said = text(&up.supple(["doctor"]).stdout);
    assert!(said.contains("ok    controller") && said.contains("the loop of `supple up` runs"), "{said}");
    assert!(said.contains("(--vpa all)"), "{said}");
    assert_eq!(up.supple(["plan", "-n", "nope"]).status.code(), Some(1));
    assert_eq!(up.supple(["plan", "foo"]).status.code(), Some(1));
    assert_eq!(up.stop().1, Some(0));
}
