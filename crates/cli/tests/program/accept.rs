//! The first day on a cluster, as the pages tell it, step by step: on the embedded cluster, or, the same steps, on any that
//! `SUPPLE_ACCEPT_KUBECONFIG` names. See docs/acceptance.md.
//!
//! Containers do the same on both: a real node runs the shell script, a simulated one plays the annotation.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use supple_quantity::{Bytes, MilliCpu, Quantity};
use tempfile::TempDir;

use super::chart::helm_program;
use super::cluster::{Kubectl, SUPPLE, Up, bad, good, text};

/// What is asked of a cluster at most, where nothing announces it: images are pulled, and usage is measured by others.
const PATIENCE: Duration = Duration::from_secs(300);

/// The release of the chart, whose account the controller has, and by which everything is found again.
const RELEASE: &str = "supple-accept";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/supple");

/// Lets minutes show what otherwise takes days.
const QUICK: &str = "
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: quick}
spec:
  startup: 0s
  learn: 0s
  minConfidence: 0
  settle: 8s
  coolDown: {up: 1s, down: 1s}
  resourcePolicy: {containerPolicies: [{containerName: \"*\", minAllowed: {memory: 28Mi}}]}
";

/// What is to come to harm is watched until it has.
const WATCHFUL: &str = "
apiVersion: supple.dev/v1alpha1
kind: RightsizePolicy
metadata: {name: watchful}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: fragile}
  settle: 120s
";

/// What a workload does: its name, replicas, requests, limits, the pattern a simulated node plays, and the script of a real one.
struct Workload {
    name: &'static str,
    replicas: u32,
    requests: (&'static str, &'static str),
    limits: (&'static str, &'static str),
    pattern: &'static str,
    script: &'static str,
}

/// `/dev/shm` is memory of the container, and outlives it within its pod: it is emptied at the start.
const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "idle",
        replicas: 2,
        requests: ("200m", "128Mi"),
        limits: ("400m", "256Mi"),
        pattern: "cpu=3m memory=2Mi",
        script: "while :; do sleep 5; done",
    },
    Workload {
        name: "growing",
        replicas: 1,
        requests: ("50m", "24Mi"),
        limits: ("500m", "72Mi"),
        pattern: "cpu=20m memory=ramp(4Mi,50Mi,30s)",
        script: "rm -f /dev/shm/*; n=0; while [ $n -lt 50 ]; do dd if=/dev/zero of=/dev/shm/$n bs=1M count=1; n=$((n+1)); \
                 sleep 1; done; while :; do sleep 5; done",
    },
    // Looks idle until its limit has been lowered, or for forty seconds, and needs more than that from then on.
    Workload {
        name: "fragile",
        replicas: 1,
        requests: ("50m", "40Mi"),
        limits: ("500m", "52Mi"),
        pattern: "cpu=3m memory=burst(4Mi,46Mi,70s,30s)",
        // A pipe that nobody reads keeps `dd` where it is, with its buffer full. `/dev/shm` would outlive the kill, and on
        // Kubernetes up to 1.36.2 the pod's own cgroup stays as small as it was while nothing runs in it: nothing could start.
        script: "limit() { cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes; }; \
                 first=$(limit); while [ \"$(limit)\" = \"$first\" ]; do sleep 1; done; sleep 3; mkfifo /tmp/full; \
                 sleep 1000000 < /tmp/full & dd if=/dev/zero of=/tmp/full bs=46M count=1 || exit 137; while :; do sleep 5; done",
    },
    // In nobody's hand but a person's.
    Workload {
        name: "holding",
        replicas: 1,
        requests: ("20m", "48Mi"),
        limits: ("500m", "64Mi"),
        pattern: "cpu=3m memory=40Mi",
        script: "rm -f /dev/shm/*; dd if=/dev/zero of=/dev/shm/x bs=1M count=40; while :; do sleep 5; done",
    },
];

impl Workload {
    fn manifest(&self) -> String {
        let image = std::env::var("SUPPLE_ACCEPT_IMAGE").unwrap_or_else(|_| "busybox:1".to_owned());
        let mode = if self.name == "holding" { "off" } else { "in-place" };
        let amounts = |(cpu, memory)| json!({"cpu": cpu, "memory": memory});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.name, "labels": {"supple.dev/mode": mode}},
            "spec": {
                "replicas": self.replicas, "selector": {"matchLabels": {"app": self.name}},
                "template": {
                    "metadata": {
                        "labels": {"app": self.name},
                        "annotations": {"supple.dev/usage-pattern": self.pattern},
                    },
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "app", "image": image, "imagePullPolicy": "IfNotPresent",
                            "command": ["sh", "-c", self.script],
                            "resources": {"requests": amounts(self.requests), "limits": amounts(self.limits)},
                        }],
                    },
                },
            },
        })
        .to_string()
    }
}

/// Try until it succeeds, as long as a slow cluster may take.
#[track_caller]
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    println!("  … until {what}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        #[expect(clippy::disallowed_methods, reason = "another machine is asked again; it announces nothing")]
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// A pod of a workload, as the API server has it.
struct Seen(Value);

impl Seen {
    fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    fn restarts(&self) -> i64 {
        self.0["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default()
    }

    /// What it asks for.
    fn asks(&self, what: &str) -> Quantity {
        let path = format!("/spec/containers/0/resources/{what}");
        self.0.pointer(&path).and_then(Value::as_str).unwrap().parse().unwrap()
    }

    fn memory(&self) -> i64 {
        Bytes::from(&self.asks("requests/memory")).0
    }

    /// Whether it has what it asks for, and no resize is under way.
    fn is_settled(&self) -> bool {
        let conditions = self.0["status"]["conditions"].as_array().into_iter().flatten();
        let mut resizes = conditions.filter_map(|it| it["type"].as_str()).filter(|it| it.starts_with("PodResize"));
        let has = self.0.pointer("/status/containerStatuses/0/resources");
        resizes.next().is_none() && has.is_some() && has == self.0.pointer("/spec/containers/0/resources")
    }
}

/// A cluster, and what was put into it.
struct Day {
    kubectl: Kubectl,
    kubeconfig: PathBuf,
    /// Where the controller is at home, and where workloads are.
    home: String,
    shop: String,
    /// The account's kubeconfig; the person's own where the cluster knows no tokens.
    account: PathBuf,
    /// Whether our definitions were there before.
    defined: bool,
    controllers: Vec<Child>,
    place: TempDir,
    /// The embedded cluster; `None`: somebody's.
    up: Option<Up>,
}

impl Day {
    /// Install what the chart installs, but for the deployment: the controller is run from here, with the account's own rights.
    fn begin() -> Option<Self> {
        let helm = helm_program()?;
        let place = tempfile::tempdir().unwrap();
        let named = std::env::var_os("SUPPLE_ACCEPT_KUBECONFIG").map(PathBuf::from);
        let up = named.is_none().then(|| Up::new("simulated"));
        let kubeconfig = named.or_else(|| Some(up.as_ref()?.kubeconfig())).unwrap();
        let kubectl = Kubectl::with(&kubeconfig)?;
        let number = std::process::id();
        let (home, shop) = (format!("{RELEASE}-{number}"), format!("{RELEASE}-{number}-shop"));
        let installed = kubectl.good(["get", "deployments", "-A", "-l", "app.kubernetes.io/name=supple", "-o", "name"]);
        assert_eq!(installed, "", "Supple runs on this cluster already; two of them would undo each other");
        let defined = kubectl.run(["get", "crd/rightsizings.supple.dev"]).status.success();
        let account = place.path().join("account");
        let day = Self { kubectl, kubeconfig, home, shop, account, defined, controllers: Vec::new(), place, up };

        day.kubectl.good(["create", "namespace", &day.home]);
        day.kubectl.good(["create", "namespace", &day.shop]);
        // Those that are there may be newer than ours, or older: they are somebody's.
        if !day.defined {
            day.kubectl.good(["apply", "-f", &format!("{CHART}/crds")]);
        }
        day.kubectl.good(["wait", "--for=condition=established", "crd/rightsizings.supple.dev", "--timeout=60s"]);
        let mut helm = Command::new(helm);
        helm.args(["template", RELEASE, CHART, "--namespace", &day.home, "--kube-version", "1.36.2"]);
        for part in ["serviceaccount", "rbac", "guardrails"] {
            helm.arg(format!("--show-only=templates/{part}.yaml"));
        }
        day.kubectl.apply(&good(&helm.env("HOME", day.place.path()).output().unwrap()), &[]);
        day.write_account();
        Some(day)
    }

    /// A kubeconfig with a token of the account that the chart has made.
    fn write_account(&self) {
        // The chart names it after the release.
        let token = self.kubectl.run(["create", "token", RELEASE, "-n", &self.home, "--duration=4h"]);
        if !token.status.success() {
            assert!(self.up.is_some(), "no token of the account can be had: {}", text(&token.stderr));
            println!("  the embedded cluster has no accounts: the controller has the rights of whoever started it");
            std::fs::copy(&self.kubeconfig, &self.account).unwrap();
            return;
        }
        let config = self.kubectl.good(["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config["users"][0]["user"] = json!({"token": text(&token.stdout).trim()});
        std::fs::write(&self.account, config.to_string()).unwrap();
    }

    /// Start a replica under this name.
    fn replica(&mut self, name: &str) {
        let log = std::fs::File::create(self.place.path().join(name)).unwrap();
        let child = Command::new(SUPPLE)
            .args([
                "controller",
                "--interval=3s",
                "--leader-election",
                "--kubelet-stats=false",
                "--namespace",
                &self.home,
            ])
            .args(["--listen-metrics=none", "--listen-probes=none"])
            .env("POD_NAME", name)
            .env("KUBECONFIG", &self.account)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.controllers.push(child);
    }

    /// Who leads.
    fn leader(&self) -> String {
        let path = "jsonpath={.spec.holderIdentity}";
        text(&self.kubectl.run(["get", "lease", "supple-controller", "-n", &self.home, "-o", path]).stdout)
    }

    /// `supple ARGUMENTS`, by the person.
    fn supple(&self, arguments: &[&str]) -> Output {
        Command::new(SUPPLE).args(arguments).env("KUBECONFIG", &self.kubeconfig).output().unwrap()
    }

    /// kubectl in the namespace of the workloads.
    fn here(&self, arguments: &[&str]) -> Output {
        self.kubectl.command(arguments).args(["-n", &self.shop]).output().unwrap()
    }

    /// The running pods of a workload, which are all of it.
    fn pods(&self, workload: &Workload) -> Option<Vec<Seen>> {
        let list = good(&self.here(&["get", "pods", "-l", &format!("app={}", workload.name), "-o", "json"]));
        let list: Value = serde_json::from_str(&list).unwrap();
        let pods: Vec<Seen> = list["items"].as_array().unwrap().iter().cloned().map(Seen).collect();
        let ready = |it: &Seen| it.0.pointer("/status/containerStatuses/0/ready") == Some(&Value::Bool(true));
        (pods.len() == workload.replicas as usize && pods.iter().all(ready)).then_some(pods)
    }

    /// Messages of events about this pod that have this reason.
    fn events(&self, pod: &str, reason: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={pod},reason={reason}");
        let path = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        good(&self.here(&["get", "events", "--field-selector", &selector, "-o", path]))
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Day {
    /// Whatever came before, nothing is left.
    fn drop(&mut self) {
        for controller in &mut self.controllers {
            let _ = controller.kill();
            let _ = controller.wait();
        }
        if std::thread::panicking() {
            for name in ["first", "second"] {
                println!("--- {name}\n{}", std::fs::read_to_string(self.place.path().join(name)).unwrap_or_default());
            }
            println!("{}", text(&self.here(&["get", "pods,rightsizings,events"]).stdout));
        }
        let mine = format!("app.kubernetes.io/instance={RELEASE}");
        let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
        let _ = self.kubectl.run(["delete", kinds, "-l", &mine]);
        let _ = self.kubectl.run(["delete", "namespace", &self.shop, &self.home, "--timeout=300s"]);
        if !self.defined {
            let _ = self.kubectl.run(["delete", "-f", &format!("{CHART}/crds"), "--timeout=60s"]);
        }
    }
}

fn path_of(named: &Path) -> String {
    named.display().to_string()
}

#[test]
fn the_first_day_on_a_cluster() {
    let Some(mut day) = Day::begin() else { return };
    let [idle, growing, fragile, holding] = &WORKLOADS;
    println!("{}", text(&day.kubectl.run(["version"]).stdout));

    println!("The definitions say what they mean, and refuse what means nothing.");
    let explained = day.kubectl.good(["explain", "rightsizepolicy.spec.updatePolicy"]);
    assert!(explained.contains("updateMode"), "{explained}");
    for (wrong, why) in [
        (QUICK.replace("8s", "soon"), "spec.settle"),
        (QUICK.replace("startup: 0s", "updatePolicy: {updateMode: Sideways}"), "Unsupported value: \"Sideways\""),
        (QUICK.replace("startup", "start"), "unknown field \"spec.start\""),
    ] {
        let file = day.place.path().join("wrong.yaml");
        std::fs::write(&file, wrong).unwrap();
        let said = bad(&day.here(&["create", "-f", &path_of(&file)]), 1);
        assert!(said.contains(why), "{why}: {said}");
    }

    println!("Workloads run, and are measured.");
    let shop = day.shop.clone();
    for policy in [QUICK, WATCHFUL] {
        day.kubectl.apply(policy, &["-n", &shop]);
    }
    for workload in [idle, growing, holding] {
        day.kubectl.apply(&workload.manifest(), &["-n", &shop]);
    }
    for workload in [idle, growing, holding] {
        until(&format!("{} runs", workload.name), || day.pods(workload));
    }
    until("they are measured", || {
        let said = day.supple(&["doctor"]);
        let said = text(&said.stdout);
        assert!(said.contains("ok    pods/resize  is served"), "{said}");
        assert!(said.contains("ok    access"), "{said}");
        let measured = said.lines().find(|it| it.starts_with("ok    usage"))?;
        (!measured.contains(" 0 of ")).then_some(())
    });

    println!("What would be done is said before.");
    until("the plan shrinks what is idle", || {
        let plan = good(&day.supple(&["plan", "-n", &shop, "-o", "json"]));
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let workloads = plan["workloads"].as_array().unwrap();
        let found = workloads.iter().find(|it| it["name"] == idle.name)?;
        (found["answer"]["word"] == "accepted").then_some(())
    });

    println!("What is idle is shrunk, what grows is raised, in place.");
    day.replica("first");
    until("the first replica leads", || day.leader().starts_with("first").then_some(()));
    day.replica("second");
    let smaller =
        |it: &Seen| it.is_settled() && MilliCpu::from(&it.asks("requests/cpu")).0 < 200 && it.memory() < 128 << 20;
    let shrunk = until("both idle pods are smaller", || day.pods(idle).filter(|pods| pods.iter().all(smaller)));
    assert_eq!(shrunk.iter().map(Seen::restarts).sum::<i64>(), 0, "nothing is restarted");
    for pod in &shrunk {
        until("an event says so", || {
            day.events(pod.name(), "Resize").iter().find(|it| it.contains("200m:400m → ")).cloned()
        });
    }
    let grown = until("the growing pod has more memory", || {
        day.pods(growing).filter(|pods| pods.iter().all(|it| it.is_settled() && it.memory() >= 50 << 20))
    });
    assert_eq!(grown[0].restarts(), 0, "nothing is restarted");
    // The pod has its new size before it is written down what was done.
    until("it is explained with what was done", || {
        let explained = good(&day.supple(&["explain", "-n", &shop, "deployment/growing"]));
        ["Needs", "Actions, newest first", "24Mi"].iter().all(|it| explained.contains(it)).then_some(())
    });

    println!("A leader that is killed is followed by the other one, which takes a bad shrink back.");
    day.controllers[0].kill().unwrap();
    day.controllers[0].wait().unwrap();
    until("the second replica leads", || day.leader().starts_with("second").then_some(()));
    day.kubectl.apply(&fragile.manifest(), &["-n", &shop]);
    until("fragile has been shrunk", || day.pods(fragile).filter(|it| it[0].memory() < 40 << 20));
    let back = until("it has its former sizes back", || {
        let pods = day.pods(fragile)?;
        let told = day.events(pods[0].name(), "RollBack").iter().any(|it| it.contains("OOM-killed"));
        (told && pods[0].is_settled() && pods[0].memory() >= 40 << 20).then_some(pods)
    });
    assert!(back[0].restarts() >= 1, "it was killed, or there would be nothing to take back");

    println!("What the cluster refuses is foreseen, and said as the cluster says it.");
    let pod = until("holding runs", || day.pods(holding)).remove(0);
    let name = format!("pod/{}", pod.name());
    let resize = |more: &[&str]| day.supple(&[&["resize", &name, "-n", &shop, "--timeout=20s"], more].concat());
    let patch = |requests: Value, limits: Value| {
        let body =
            json!({"spec": {"containers": [{"name": "app", "resources": {"requests": requests, "limits": limits}}]}});
        day.here(&["patch", &name, "--subresource=resize", "-p", &body.to_string()])
    };
    let node = format!("node/{}", pod.0["spec"]["nodeName"].as_str().unwrap());
    let has = day.kubectl.path(&node, "{.status.allocatable.cpu}").parse::<Quantity>().unwrap();
    let has = MilliCpu::from(&has).0;
    let too_much = format!("{}m:{}m", has + 1000, has + 1000);
    let said = bad(&resize(&["--cpu", &too_much]), 1);
    assert!(said.contains("NodeCapacity"), "{said}");
    let cpu = json!({"cpu": format!("{}m", has + 1000)});
    let said = bad(&patch(cpu.clone(), cpu), 1);
    assert!(said.contains("node didn't have enough allocatable resources: cpu, requested: "), "{said}");
    let said = bad(&resize(&["--memory", "16Mi:24Mi"]), 1);
    assert!(said.contains("MemoryBelowUsage"), "{said}");
    good(&patch(json!({"memory": "16Mi"}), json!({"memory": "24Mi"})));
    until("the node refuses to take away what is in use", || {
        let conditions = good(&day.here(&["get", &name, "-o", "jsonpath={.status.conditions}"]));
        conditions.contains("cannot decrease memory limits: ").then_some(())
    });
    good(&patch(json!({"memory": "48Mi"}), json!({"memory": "64Mi"})));
    until("it has its sizes back", || day.pods(holding).filter(|it| it[0].is_settled()));
    let nearly = format!("{}m:{}m", has - 1, has);
    let said = bad(&resize(&["--cpu", &nearly]), 1);
    assert!(said.contains("Deferred"), "{said}");
    good(&day.supple(&["undo", &name, "-n", &shop]));

    println!("Limit ranges and quotas hold, for resizes as for pods.");
    let bounds = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "bounds"},
             "spec": {"limits": [{"type": "Container", "max": {"memory": "256Mi"}}]}},
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "share"},
             "spec": {"hard": {"requests.cpu": "1"}}},
        ],
    });
    day.kubectl.apply(&bounds.to_string(), &["-n", &shop]);
    until("the quota is counted", || {
        let used = good(&day.here(&["get", "quota/share", "-o", "jsonpath={.status.used}"]));
        used.contains("requests.cpu").then_some(())
    });
    let said = bad(&patch(json!({"memory": "300Mi"}), json!({"memory": "300Mi"})), 1);
    assert!(said.contains("maximum memory usage per Container is 256Mi, but limit is 300Mi"), "{said}");
    let said = bad(&patch(json!({"cpu": "1"}), json!({"cpu": "1"})), 1);
    assert!(said.contains("exceeded quota: share, requested: requests.cpu=980m"), "{said}");
    good(&day.here(&["delete", "limitrange/bounds", "quota/share"]));

    println!("Whoever removes it has back what was.");
    let restored = day.supple(&["uninstall", "--restore", "--namespace", &day.home]);
    let said = text(&restored.stdout);
    let pods = until("the idle pods have what their template asks for", || {
        let original = |it: &Seen| {
            it.is_settled() && it.memory() == 128 << 20 && MilliCpu::from(&it.asks("requests/cpu")).0 == 200
        };
        day.pods(idle).filter(|pods| pods.iter().all(original))
    });
    assert_eq!(pods.iter().map(Seen::restarts).sum::<i64>(), 0, "{said}");
    // The one that grew uses more than the limit it came with: that much it keeps, and whoever asked is told.
    assert!(said.contains("restored"), "{said}\n{}", text(&restored.stderr));
    let switch = day.kubectl.path(&format!("namespace/{}", day.home), "{.metadata.annotations.supple\\.dev/stop}");
    assert!(!switch.is_empty(), "the switch stays pulled");
}
