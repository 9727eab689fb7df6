//! The dashboard and the alerts against a real Prometheus, which scrapes a controller at work: every query of every panel has
//! an answer, every alert can be asked, and none of them names a metric that does not exist.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Kubectl, SUPPLE, Up, good, lacking, signal};

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A panel that shows nothing for so long shows nothing; far beyond what it takes, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Queries that have no series on a good day; that they can be asked is checked all the same.
const GOOD_DAY: [&str; 1] = ["code!~\"2..\""];

/// Pods to which everything happens that a panel shows, within a minute.
const STAGE: &str = r#"
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: quick, namespace: default}
spec:
  startup: 0s
  learn: 0s
  minConfidence: 0
  settle: 3s
  coolDown: {up: 1s, down: 1s}
---
# One step down, watched for long: what comes later is its harm.
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: fragile, namespace: default}
spec:
  targetRef: {apiVersion: v1, kind: Pod, name: fragile}
  settle: 10m
  steps: {cpuDown: 100, memoryDown: 100}
---
apiVersion: v1
kind: Pod
metadata: {name: large, labels: {supple.dev/mode: in-place}, annotations: {supple.dev/usage-pattern: "cpu=20m memory=50Mi"}}
spec:
  containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 400m, memory: 512Mi}, limits: {cpu: 800m, memory: 1Gi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: short, annotations: {supple.dev/usage-pattern: "cpu=100m memory=300Mi"}}
spec:
  containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 800m, memory: 1Gi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: spare, annotations: {supple.dev/usage-pattern: "cpu=20m memory=50Mi"}}
spec:
  containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 200m, memory: 512Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: fragile, labels: {supple.dev/mode: in-place}, annotations: {supple.dev/usage-pattern: "cpu=20m memory=burst(30Mi,500Mi,60s,30s)"}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 50m, memory: 512Mi}, limits: {cpu: 100m, memory: 600Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: waits, annotations: {supple.dev/usage-pattern: "cpu=20m memory=20Mi"}}
spec:
  containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 50m, memory: 32Mi}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {supple.dev/mode: Recreate}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {supple.dev/usage-pattern: "cpu=10m memory=30Mi"}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, image: registry.example/app:1, resources: {requests: {cpu: 100m, memory: 256Mi}}}]
"#;

/// What the chart makes for the webhook, with its address in place of what routes to services.
fn webhook(port: u16) -> String {
    let registration = |kind: &str, hook: &str, path: &str, operation: &str, resource: &str| {
        format!(
            r#"
---
apiVersion: admissionregistration.k8s.io/v1
kind: {kind}
metadata: {{name: supple}}
webhooks:
- name: {hook}.supple.dev
  clientConfig: {{service: {{name: supple-webhook, namespace: supple-system, path: {path}}}}}
  rules: [{{apiGroups: [""], apiVersions: [v1], operations: [{operation}], resources: [{resource}]}}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]"#
        )
    };
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: supple-system}}
---
apiVersion: v1
kind: Service
metadata: {{name: supple-webhook, namespace: supple-system, annotations: {{supple.dev/address: "127.0.0.1:{port}"}}}}
spec: {{ports: [{{port: 443}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: supple-webhook, namespace: supple-system}}{}{}"#,
        registration("ValidatingWebhookConfiguration", "resize", "/validate-resize", "UPDATE", "pods/resize"),
        registration("MutatingWebhookConfiguration", "create", "/mutate-pods", "CREATE", "pods"),
    )
}

/// A port that was free a moment ago: who listens does not say which one it took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(i32::try_from(self.0.id()).unwrap(), "TERM");
            let _ = self.0.wait();
        }
    }
}

/// Prometheus on loopback. `None`, with a message, where the machine has none.
pub struct Prometheus {
    _process: Ended,
    /// Where it listens.
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes this port every second.
    pub fn start(target: u16) -> Option<Self> {
        let program = std::env::var_os("SUPPLE_PROMETHEUS").map_or_else(|| PathBuf::from("prometheus"), PathBuf::from);
        if !Command::new(&program).arg("--version").output().is_ok_and(|it| it.status.success()) {
            lacking("prometheus (name one with SUPPLE_PROMETHEUS)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let rules = std::fs::canonicalize(format!("{ROOT}/deploy/monitoring/alerts.yaml")).unwrap();
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "supple", "honor_labels": true,
                "static_configs": [{"targets": [format!("127.0.0.1:{target}")]}],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let port = free_port();
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { _process: Ended(process), port, _folder: folder })
    }

    /// An answer of its API; `None` while it does not answer.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // The old version, whose answers end with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// The numbers that a query has now; `None` while it does not answer. A query that cannot be read fails the test.
    fn numbers(&self, query: &str) -> Option<Vec<f64>> {
        let encoded: String = query.bytes().map(|it| format!("%{it:02X}")).collect();
        let answer = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        if answer["status"] == "error" {
            assert_ne!(answer["errorType"], "bad_data", "{query}: {answer}");
            return None;
        }
        let series = answer["data"]["result"].as_array()?;
        Some(series.iter().filter_map(|it| it["value"][1].as_str()?.parse().ok()).collect())
    }
}

/// Ask until there is an answer: another process, which announces nothing.
#[track_caller]
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        #[expect(clippy::disallowed_methods, reason = "another process is asked again; it announces nothing")]
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Title and query of every panel, with the dashboard's variables filled in.
fn panels() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("{ROOT}/deploy/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let all = dashboard["panels"].as_array().unwrap();
    let mut found = Vec::new();
    for panel in all.iter().chain(all.iter().flat_map(|it| it["panels"].as_array().into_iter().flatten())) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$namespace", ".*").replace("$workload", ".*").replace("$__range", "5m");
            assert!(!query.contains('$'), "a variable that nobody fills in: {query}");
            found.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    found
}

/// The metrics of docs/metrics.md, which is generated from the code.
fn known() -> BTreeSet<String> {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/metrics.md")).unwrap();
    let names = page.lines().filter_map(|it| it.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// The metrics of ours in a query that do not exist.
fn unknown<'a>(query: &'a str, known: &BTreeSet<String>) -> Vec<&'a str> {
    let words = query.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let named = words.filter(|it| it.starts_with("supple_") || it.starts_with("kube_"));
    let base = |it: &str| ["_bucket", "_count", "_sum"].iter().find_map(|end| it.strip_suffix(end).map(str::to_owned));
    named.filter(|it| !known.contains(*it) && !base(it).is_some_and(|it| known.contains(&it))).collect()
}

#[test]
fn no_panel_and_no_alert_names_a_metric_that_does_not_exist() {
    let known = known();
    assert!(known.len() > 20 && known.contains("kube_pod_status_resize"), "{known:?}");
    let panels = panels();
    assert!(panels.len() > 30, "{panels:?}");
    for (title, query) in &panels {
        assert_eq!(unknown(query, &known), Vec::<&str>::new(), "{title}");
    }
    let alerts = std::fs::read_to_string(format!("{ROOT}/deploy/monitoring/alerts.yaml")).unwrap();
    for line in alerts.lines().filter(|it| !it.trim_start().starts_with("runbook:")) {
        assert_eq!(unknown(line, &known), Vec::<&str>::new(), "{line}");
    }
    let shown: String = panels.into_iter().map(|it| it.1).collect();
    let told = ["supple_build_info", "supple_leader_changes_total"]; // which version, and how restless: not for a panel
    for metric in known.iter().filter(|it| !told.contains(&it.as_str())) {
        assert!(shown.contains(metric.as_str()) || alerts.contains(metric.as_str()), "nobody looks at {metric}");
    }
}

#[test]
fn every_panel_shows_something_and_every_alert_can_be_asked() {
    let (metrics, review) = (free_port(), free_port());
    let Some(prometheus) = Prometheus::start(metrics) else { return };
    let up = Up::new("simulated");
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.create(&webhook(review));
    kubectl.create(STAGE);
    let controller = Command::new(SUPPLE)
        .args(["controller", "--interval", "1s", "--listen-probes", "none"])
        .arg(format!("--listen-metrics=127.0.0.1:{metrics}"))
        .arg(format!("--listen-webhook=127.0.0.1:{review}"))
        .args(["--webhook-service=supple-system/supple-webhook", "--namespace=supple-system"])
        .env("KUBECONFIG", up.kubeconfig())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _controller = Ended(controller);
    // What the node has no room for waits: `kube_pod_status_resize` and the panels of what waits show it.
    kubectl.ready("waits");
    let patch = r#"{"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1900m"}}}]}}"#;
    kubectl.good(["patch", "pod", "waits", "--subresource=resize", "-p", patch]);

    for (title, query) in panels() {
        let is_good_day = GOOD_DAY.iter().any(|it| query.contains(it));
        eventually(&format!("{title} shows numbers: {query}"), || {
            let numbers = prometheus.numbers(&query)?;
            (is_good_day || numbers.iter().any(|it| !it.is_nan())).then_some(())
        });
    }

    let rules = eventually("every rule has been evaluated", || {
        let answer = prometheus.ask("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array()?;
        let rules: Vec<Value> = groups.iter().flat_map(|it| it["rules"].as_array().unwrap().clone()).collect();
        (!rules.is_empty() && rules.iter().all(|it| it["health"] != "unknown")).then_some(rules)
    });
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let version = good(&up.supple(["version", "-o", "json"]));
    let version: Value = serde_json::from_str(&version).unwrap();
    let running = format!("supple_build_info{{version={}}}", version["version"]);
    assert_eq!(prometheus.numbers(&running), Some(vec![1.0]));
}
