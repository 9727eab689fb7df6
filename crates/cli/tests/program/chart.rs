//! The chart on a cluster: everything it renders is accepted, what it grants is what its page says, and its guardrails hold.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::cluster::{Kubectl, SUPPLE, Up, bad, good, lacking, text};

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/supple");

/// The kinds that an embedded cluster does not know.
const FOREIGN: &str =
    "networkPolicy.enabled=false,metrics.serviceMonitor.enabled=false,metrics.prometheusRule.enabled=false";

/// An autoscaler with metrics that may be changed, and others.
const AUTOSCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 3
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  - {type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 70}}}
  - {type: ContainerResource, containerResource: {name: cpu, container: web, target: {type: Utilization, averageUtilization: 80}}}
";

/// Helm: `$SUPPLE_HELM`, or the one in the path. `None`, with a message, where there is none.
pub fn helm_program() -> Option<PathBuf> {
    let program = std::env::var_os("SUPPLE_HELM").map_or_else(|| PathBuf::from("helm"), PathBuf::from);
    if Command::new(&program).arg("version").output().is_ok_and(|it| it.status.success()) {
        return Some(program);
    }
    lacking("helm (name one with SUPPLE_HELM)");
    None
}

/// A cluster with a namespace for Supple, and helm to render for it.
struct Installer {
    helm: PathBuf,
    kubectl: Kubectl,
    up: Up,
}

impl Installer {
    fn new() -> Option<Self> {
        let helm = helm_program()?;
        let up = Up::new("simulated");
        let kubectl = Kubectl::of(&up)?;
        kubectl.good(["create", "namespace", "supple-system"]);
        Some(Self { helm, kubectl, up })
    }

    /// `helm VERB supple … ARGUMENTS`, without a person's own settings.
    #[track_caller]
    fn helm(&self, verb: &[&str], arguments: &[&str]) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(&self.helm);
        command.args(verb).args(["--namespace", "supple-system"]).args(arguments);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, home.path());
        }
        good(&command.env("HOME", home.path()).env("KUBECONFIG", self.up.kubeconfig()).output().unwrap())
    }

    /// What `helm template` makes with these arguments.
    #[track_caller]
    fn render(&self, arguments: &[&str]) -> String {
        self.helm(&["template", "supple", CHART, "--kube-version", "1.36.2"], arguments)
    }

    /// The rules of a role, as JSON.
    fn rules(&self, role: &str) -> Vec<Value> {
        let role: Value = serde_json::from_str(&self.kubectl.good(["get", role, "-o", "json"])).unwrap();
        role["rules"].as_array().unwrap().clone()
    }
}

fn list(rule: &Value, field: &str) -> Vec<String> {
    let items = rule[field].as_array().into_iter().flatten();
    items.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// The blocks of YAML in `docs/` that are objects of ours, by page.
fn documented_objects() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for page in std::fs::read_dir(format!("{ROOT}/docs")).unwrap() {
        let page = page.unwrap().path();
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(content) = std::fs::read_to_string(&page) else { continue };
        let mut lines = content.lines().peekable();
        while let Some(line) = lines.next() {
            if line.trim_end() != "    apiVersion: supple.dev/v1alpha1" {
                continue;
            }
            let mut object = line[4..].to_owned();
            while let Some(more) = lines.next_if(|it| it.starts_with("    ") && it.trim() != "YAML") {
                object.push('\n');
                object.push_str(&more[4..]);
            }
            found.push((name.clone(), object));
        }
    }
    found
}

#[test]
fn what_the_chart_renders_is_accepted_and_what_the_docs_show_is_too() {
    let Some(it) = Installer::new() else { return };
    it.kubectl.apply(&it.render(&["--include-crds"]), &[]);
    it.kubectl.good(["wait", "--for=condition=established", "crd", "--all", "--timeout=60s"]);
    let kinds = it.kubectl.good(["api-resources", "--api-group=supple.dev", "-o", "name"]);
    for kind in ["clusterrightsizepolicies", "rightsizepolicies", "rightsizings"] {
        assert!(kinds.contains(&format!("{kind}.supple.dev")), "{kinds}");
    }
    it.kubectl.good(["-n", "supple-system", "get", "deployment/supple", "service/supple-metrics", "pdb/supple"]);

    it.kubectl.good(["create", "namespace", "shop"]);
    let objects = documented_objects();
    assert!(objects.len() >= 3, "{objects:?}");
    for (page, object) in objects {
        let said = it.kubectl.apply(&object, &["--server-side"]);
        assert!(said.contains("serverside-applied"), "{page}: {said}");
    }

    // An upgrade changes nothing that did not change, and takes away nothing that is Supple's.
    // (kubectl replaces the selector of a budget at every apply, as its patch strategy says.)
    let again = it.kubectl.apply(&it.render(&["--include-crds"]), &[]);
    let mut others = again.lines().filter(|it| !it.starts_with("poddisruptionbudget"));
    assert!(others.all(|it| it.ends_with(" unchanged")), "{again}");
}

#[test]
fn helm_installs_upgrades_and_uninstalls_and_leaves_what_is_supples_alone() {
    let Some(it) = Installer::new() else { return };
    let kubectl = &it.kubectl;
    // `supple up` has brought the definitions itself.
    let arguments = ["--skip-crds", "--set=webhook.enabled=true", "--wait", "--timeout=60s"];
    it.helm(&["install", "supple", CHART], &arguments);
    // What Supple would write: its certificate, and the authority of it.
    kubectl.good(["-n", "supple-system", "patch", "secret/supple-webhook", "-p", r#"{"data": {"tls.crt": "eA=="}}"#]);
    let authority = r#"{"webhooks": [{"name": "resize.supple.dev", "clientConfig": {"caBundle": "eA=="}}]}"#;
    kubectl.good(["patch", "validatingwebhookconfiguration/supple", "-p", authority]);

    it.helm(&["upgrade", "supple", CHART], &["--reuse-values", "--set=permissions.recreate=true,replicaCount=3"]);
    let secret = kubectl.good(["-n", "supple-system", "get", "secret/supple-webhook", "-o", "jsonpath={.data}"]);
    assert_eq!(secret, r#"{"tls.crt":"eA=="}"#);
    assert_eq!(kubectl.path("validatingwebhookconfiguration/supple", "{.webhooks[0].clientConfig.caBundle}"), "eA==");
    assert!(it.rules("clusterrole/supple").iter().any(|it| list(it, "resources") == ["pods/eviction"]));

    // Without an election the next replica waits for the end of this one; and with one again it does not.
    let strategy = |set: &str| {
        it.helm(&["upgrade", "supple", CHART], &["--reuse-values", set]);
        kubectl.good(["-n", "supple-system", "get", "deployment/supple", "-o", "jsonpath={.spec.strategy.type}"])
    };
    assert_eq!(strategy("--set=leaderElection.enabled=false,replicaCount=1"), "Recreate");
    assert_eq!(strategy("--set=leaderElection.enabled=true"), "RollingUpdate");

    it.helm(&["uninstall", "supple"], &["--wait", "--timeout=60s"]);
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingwebhookconfigurations";
    assert_eq!(kubectl.good(["get", kinds, "-o", "name"]), "");
    assert!(
        kubectl.good(["get", "crds", "-o", "name"]).contains("rightsizings.supple.dev"),
        "policies and history stay"
    );
}

/// `nameOverride` changes the labels that Helm's own rules are about, so the program looks for one that nothing changes.
#[test]
fn a_controller_is_found_whatever_the_chart_calls_it() {
    let Some(it) = Installer::new() else { return };
    it.kubectl.apply(&it.render(&["--set=nameOverride=rightsizer"]), &[]);
    let labels = |path: &str| {
        let path = format!("jsonpath={path}");
        it.kubectl.good(["get", "deployment/supple-rightsizer", "-n", "supple-system", "-o", &path])
    };
    let found = it.kubectl.good([
        "get",
        "deployments",
        "-n",
        "supple-system",
        "-l",
        "supple.dev/component=controller",
        "-o",
        "name",
    ]);
    assert_eq!(found, "deployment.apps/supple-rightsizer\n");
    let said = text(&it.up.supple(["doctor"]).stdout);
    assert!(said.contains("supple-system/supple-rightsizer: "), "{said}");
    let of_pods = labels("{.spec.template.metadata.labels}");
    assert!(of_pods.contains("\"supple.dev/component\":\"controller\""), "{of_pods}");
    let selector = labels("{.spec.selector.matchLabels}");
    assert!(!selector.contains("supple.dev"), "what is selected by can never change: {selector}");
    let second = it.up.supple(["controller", "--listen-metrics", "none", "--listen-probes", "none"]);
    assert!(bad(&second, 1).contains("deployment supple-system/supple-rightsizer already acts"));
}

#[test]
fn the_plain_manifests_install_with_one_command() {
    let Some(it) = Installer::new() else { return };
    it.kubectl.good(["delete", "namespace", "supple-system", "--timeout=60s"]);
    it.kubectl.good(["apply", "-f", &format!("{ROOT}/deploy/")]);
    it.kubectl.good(["wait", "--for=condition=established", "crd", "--all", "--timeout=60s"]);
    let container = "{.spec.template.spec.containers[0]['image','args','securityContext']}";
    let said =
        it.kubectl.good(["-n", "supple-system", "get", "deployment/supple", "-o", &format!("jsonpath={container}")]);
    for part in ["\"controller\"", "--leader-election=true", "\"readOnlyRootFilesystem\":true", "\"drop\":[\"ALL\"]"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn the_controller_understands_the_arguments_that_the_chart_gives_it() {
    let Some(it) = Installer::new() else { return };
    for set in ["default", "recommend-only", "given-certificate", "everything"] {
        let values = format!("{ROOT}/charts/supple/ci/{set}-values.yaml");
        it.kubectl.apply(&it.render(&["--values", &values, "--set", FOREIGN]), &[]);
        let name = if set == "everything" { "rightsizer" } else { "supple" };
        let path = "jsonpath={.spec.template.spec.containers[0].args}";
        let arguments = it.kubectl.good(["-n", "supple-system", "get", &format!("deployment/{name}"), "-o", path]);
        let arguments: Vec<String> = serde_json::from_str(&arguments).unwrap();
        // There is no cluster behind it: 3 says that all was understood and nothing was reached, 2 that something was not.
        let nowhere = it.up.data_dir.join("nowhere");
        let output = Command::new(SUPPLE).args(&arguments).arg("--kubeconfig").arg(nowhere).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{set}: {arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn everything_that_can_be_switched_on_is_accepted_and_granted_as_documented() {
    let Some(it) = Installer::new() else { return };
    let values = format!("{ROOT}/charts/supple/ci/everything-values.yaml");
    it.kubectl.apply(&it.render(&["--values", &values, "--set", FOREIGN]), &[]);

    let page = std::fs::read_to_string(format!("{ROOT}/docs/security.md")).unwrap();
    let rules = [it.rules("clusterrole/rightsizer"), {
        let role = it.kubectl.good(["-n", "supple-system", "get", "role/rightsizer", "-o", "json"]);
        serde_json::from_str::<Value>(&role).unwrap()["rules"].as_array().unwrap().clone()
    }];
    for rule in rules.iter().flatten() {
        let groups: Vec<_> =
            list(rule, "apiGroups").into_iter().map(|it| if it.is_empty() { "core".into() } else { it }).collect();
        let by_name = if rule["resourceNames"].is_array() { ", by name" } else { "" };
        let (resources, verbs) = (list(rule, "resources").join(", "), list(rule, "verbs").join(", "));
        let row = format!("| {} | {resources}{by_name} | {verbs} |", groups.join(", "));
        assert!(page.contains(&row), "docs/security.md has no row {row}");
        assert!(!row.contains('*'), "{row}");
    }

    for kind in ["validating", "mutating"] {
        let exempt = it.kubectl.path(
            &format!("{kind}webhookconfiguration/rightsizer"),
            "{.webhooks[0].namespaceSelector.matchExpressions[0]['operator','values']}",
        );
        assert_eq!(exempt, r#"NotIn ["kube-system","supple-system","payments","vault"]"#);
    }
}

#[test]
fn who_may_only_recommend_may_write_to_no_pod() {
    let Some(it) = Installer::new() else { return };
    it.kubectl.apply(&it.render(&["--values", &format!("{ROOT}/charts/supple/ci/recommend-only-values.yaml")]), &[]);
    for rule in it.rules("clusterrole/supple") {
        let reads = list(&rule, "verbs").iter().all(|it| ["get", "list", "watch"].contains(&it.as_str()));
        let own = list(&rule, "apiGroups").iter().all(|it| it == "supple.dev");
        let told = list(&rule, "resources").iter().all(|it| it == "events" || it == "verticalpodautoscalers/status");
        assert!(reads || own || told, "{rule}");
        assert!(!list(&rule, "resources").iter().any(|it| it == "secrets" || it == "configmaps"), "{rule}");
    }
}

#[test]
fn guardrails_let_pass_what_is_needed_and_nothing_else() {
    let Some(it) = Installer::new() else { return };
    let kubectl = &it.kubectl;
    // Here everybody is one and the same: the condition that it is Supple's account is made true for all.
    let mine = it.render(&[
        "--show-only=templates/guardrails.yaml",
        "--set=permissions.recreate=true,permissions.adjustAutoscalers=true",
    ]);
    let account = "request.userInfo.username == \"system:serviceaccount:supple-system:supple\"";
    assert_eq!(mine.matches(account).count(), 3, "{mine}");
    kubectl.pod("a", "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 128Mi}}");
    kubectl.good(["create", "deployment", "web", "--image=registry.example/web:1"]);
    kubectl.create(AUTOSCALER);
    let daemon = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    \
                  metadata: {labels: {a: b}}\n    spec: {containers: [{name: d, image: \"registry.example/d:1\"}]}\n";
    kubectl.create(daemon);
    kubectl.create(&daemon.replace("DaemonSet", "StatefulSet").replace("name: d}", "name: s}"));
    let annotated = daemon.replace("DaemonSet", "Deployment").replace("name: d}", "name: annotated}");
    kubectl.create(&annotated.replace("{labels: {a: b}}", "{labels: {a: b}, annotations: {a: b}}"));
    it.kubectl.apply(&mine.replace(account, "'true'"), &[]);

    let refused = |why: &str, arguments: &[&str]| {
        let said = bad(&kubectl.run(arguments), 1);
        assert!(said.contains(why), "{arguments:?}: {said}");
    };
    super::cluster::eventually("the policies are in force", || {
        let tried = kubectl.run(["label", "pod/a", "a=b", "--dry-run=server"]);
        text(&tried.stderr).contains("Supple may not change labels of pods").then_some(())
    });
    kubectl.good(["annotate", "pod/a", "supple.dev/last-resize=x"]);
    kubectl.good(["annotate", "pod/a", "supple.dev/last-resize-"]);
    let size = r#"{"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "150m"}}}]}}"#;
    kubectl.good(["patch", "pod/a", "--subresource=resize", "-p", size]);
    refused("no annotations of pods but its own", &["annotate", "pod/a", "a=b"]);
    refused("and nothing else of its spec", &["set", "image", "pod/a", "app=registry.example/other:1"]);
    let finalizer = r#"{"metadata": {"finalizers": ["example.com/never"]}}"#;
    refused("finalizers or owners", &["patch", "pod/a", "-p", finalizer]);

    check_workloads(kubectl, &refused);
    check_autoscalers(kubectl, &refused);
}

/// Of workloads the annotation of a template that restarts them is theirs, and nothing else.
fn check_workloads(kubectl: &Kubectl, refused: &dyn Fn(&str, &[&str])) {
    let template = |it: &str| format!(r#"{{"spec": {{"template": {{"metadata": {{"annotations": {it}}}}}}}}}"#);
    let others = [
        (r#"{"spec": {"template": {"spec": {"serviceAccountName": "other"}}}}"#, "change nothing else of it"),
        (r#"{"spec": {"template": {"metadata": {"labels": {"c": "d"}}}}}"#, "change nothing else of it"),
        (r#"{"spec": {"revisionHistoryLimit": 1}}"#, "change nothing else of it"),
        (r#"{"spec": {"minReadySeconds": 30}}"#, "change nothing else of it"),
        (r#"{"metadata": {"labels": {"c": "d"}}}"#, "labels, finalizers or owners of workloads"),
        (r#"{"metadata": {"annotations": {"supple.dev/mode": "Off"}}}"#, "annotations of workloads"),
        (r#"{"metadata": {"finalizers": ["example.com/never"]}}"#, "labels, finalizers or owners of workloads"),
    ];
    let injected = template(r#"{"sidecar.istio.io/proxyImage": "registry.example/other:1"}"#);
    for workload in ["deployment/web", "daemonset/d", "statefulset/s"] {
        for rollout in
            [r#"{"supple.dev/rollout": "1"}"#, r#"{"supple.dev/rollout": "2"}"#, r#"{"supple.dev/rollout": null}"#]
        {
            kubectl.good(["patch", workload, "-p", &template(rollout)]);
        }
        refused("of a template but its own", &["patch", workload, "-p", &injected]);
        for (patch, why) in others {
            refused(why, &["patch", workload, "-p", patch]);
        }
    }
    // Which an API server counts up by itself, with every change of a template.
    let counted = r#"{"metadata": {"annotations": {"deprecated.daemonset.template.generation": "2"}}}"#;
    kubectl.good(["patch", "daemonset/d", "-p", counted]);
    // What stands in a template already stays there, and the field that comes with the first annotation may go with it.
    let kept = template(r#"{"a": "c"}"#);
    let taken = template(r#"{"a": null, "supple.dev/rollout": "1"}"#);
    for patch in [&kept, &taken] {
        refused("of a template but its own", &["patch", "deployment/annotated", "-p", patch]);
    }
    kubectl.good(["patch", "deployment/annotated", "-p", &template(r#"{"supple.dev/rollout": "1"}"#)]);
    for (workload, patch) in [
        ("deployment/web", r#"{"spec": {"replicas": 5}}"#),
        ("deployment/web", r#"{"spec": {"paused": true}}"#),
        ("deployment/web", r#"{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}"#),
        ("statefulset/s", r#"{"spec": {"replicas": 5}}"#),
        ("statefulset/s", r#"{"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}"#),
        ("daemonset/d", r#"{"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}"#),
    ] {
        refused("change nothing else of it", &["patch", workload, "-p", patch]);
    }
}

/// Of horizontal autoscalers the percentages of CPU are, and annotations of ours.
fn check_autoscalers(kubectl: &Kubectl, refused: &dyn Fn(&str, &[&str])) {
    let set = |path: &str, value: &str| format!(r#"[{{"op": "replace", "path": "/spec/{path}", "value": {value}}}]"#);
    let patch = |it: &str| kubectl.good(["patch", "hpa/web", "--type=json", "-p", it]);
    patch(&set("metrics/0/resource/target/averageUtilization", "60"));
    patch(&set("metrics/2/containerResource/target/averageUtilization", "40"));
    kubectl.good(["annotate", "hpa/web", "supple.dev/adjusted-target=x"]);
    kubectl.good(["annotate", "hpa/web", "supple.dev/adjusted-target-"]);
    let memory = r#"{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}}"#;
    let others = "nothing else of its metrics";
    for (patch, why) in [
        (set("metrics/1/resource/target/averageUtilization", "60"), others),
        (set("metrics/0/resource/target", r#"{"type": "AverageValue", "averageValue": "1m"}"#), others),
        (set("metrics/0", memory), others),
        (set("metrics/2/containerResource/container", r#""other""#), others),
        (r#"[{"op": "remove", "path": "/spec/metrics/0"}]"#.to_owned(), others),
        (r#"[{"op": "copy", "from": "/spec/metrics/0", "path": "/spec/metrics/-"}]"#.to_owned(), others),
        (set("maxReplicas", "9"), "not what it scales"),
        (set("scaleTargetRef/name", r#""other""#), "not what it scales"),
        (r#"[{"op": "add", "path": "/spec/minReplicas", "value": 2}]"#.to_owned(), "not what it scales"),
        (
            r#"[{"op": "add", "path": "/spec/behavior", "value": {"scaleDown": {"selectPolicy": "Disabled"}}}]"#
                .to_owned(),
            "not what it scales",
        ),
    ] {
        refused(why, &["patch", "hpa/web", "--type=json", "-p", &patch]);
    }
    refused("no annotations of autoscalers but its own", &["annotate", "hpa/web", "a=b"]);
    refused("labels, finalizers or owners of autoscalers", &["label", "hpa/web", "a=b"]);
}
