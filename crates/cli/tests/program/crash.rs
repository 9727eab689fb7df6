//! kill -9 at every durable step of store and node: whatever was acknowledged is there after the next start, a resize
//! that was interrupted goes on, no container is restarted by it, and nothing is orphaned.
//!
//! The program kills itself where `SUPPLE_CRASH_AT=STEP:COUNT` says, while pods are created, resized and deleted.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::cluster::{Up, lacking, up_command};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Resizes after which a step that was to be passed has been passed, or never will be.
const ROUNDS: i64 = 30;

#[track_caller]
fn check(step: &str, counts: &[u32]) {
    let caller = std::panic::Location::caller();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for count in counts {
        let at = format!("{step}:{count}");
        println!("{caller}: {at}");
        if !runtime.block_on(killed_and_gone_on(&at)) {
            return lacking("writable cgroups");
        }
    }
}

#[test]
fn before_the_store_commits() {
    check("store-before-commit", &[1, 4, 9, 14, 19, 26]);
}

#[test]
fn after_the_store_committed() {
    check("store-after-commit", &[1, 4, 9, 14, 19, 26]);
}

#[test]
fn after_the_store_told_its_watchers() {
    check("store-published", &[1, 9, 19]);
}

#[test]
fn around_the_record_of_an_allocation() {
    check("node.allocated.before", &[1, 2, 3]);
    check("node.allocated.after", &[1, 2, 3]);
}

#[test]
fn around_the_record_of_an_actuation() {
    check("node.actuated.before", &[1, 2, 3, 5]);
    check("node.actuated.after", &[1, 2, 3, 5]);
}

#[test]
fn around_the_forgetting_of_a_pod() {
    check("node.forgotten.before", &[1]);
    check("node.forgotten.after", &[1]);
}

/// What was asked of the cluster, and what of it was acknowledged.
#[derive(Default, Debug)]
struct Asked {
    /// CPU limits of `a` in thousandths, in order; all but perhaps the last were acknowledged.
    limits: Vec<i64>,
    last_acknowledged: bool,
    /// Whether `b` was asked for, or asked to go, and whether that was acknowledged.
    b: Option<(Wish, bool)>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Wish {
    There,
    Gone,
}

/// Whether it could be tried here.
async fn killed_and_gone_on(at: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), "auto", &["--no-loop"]);
    if !up.announced.iter().any(|it| it.starts_with("runtime     process")) {
        return false;
    }
    let pods = pods(dir.path()).await;
    pods.create(&PostParams::default(), &pod("a")).await.unwrap();
    let uid = until(&pods, "a", "running", |pod| running_at(pod, 200)).await["metadata"]["uid"].clone();
    kill(up);

    let mut asked = Asked { limits: vec![200], last_acknowledged: true, b: None };
    let mut command = Command::from(up_command(dir.path(), "auto", &["--no-loop"]));
    command.env("SUPPLE_CRASH_AT", at).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    ask_until_dead(dir.path(), command.spawn().unwrap(), &mut asked).await;

    let up = Up::start(dir.path(), "auto", &["--no-loop"]);
    let pods = self::pods(dir.path()).await;
    // What was acknowledged is there; what was not may be.
    let a = pods.get("a").await.unwrap();
    let a = serde_json::to_value(a).unwrap();
    assert_eq!(a["metadata"]["uid"], uid);
    let possible = &asked.limits[asked.limits.len() - if asked.last_acknowledged { 1 } else { 2 }..];
    let limit = possible.iter().find(|it| a["spec"]["containers"][0]["resources"]["limits"]["cpu"] == format!("{it}m"));
    let limit = *limit.unwrap_or_else(|| panic!("{at}: {asked:?}, and the spec is {}", a["spec"]));
    let settled = until(&pods, "a", "resized", |pod| running_at(pod, limit)).await;
    assert_eq!(settled["status"]["containerStatuses"][0]["restartCount"], 0, "{at}: {settled}");
    assert_eq!(quotas(uid.as_str().unwrap()), [limit * 100; 2], "{at}: of the pod and of its container");
    let b = pods.get_opt("b").await.unwrap();
    match asked.b {
        Some((Wish::There, true)) => {
            assert!(b.is_some(), "{at}: {asked:?}");
            until(&pods, "b", "running", |pod| running_at(pod, 200)).await;
        }
        Some((Wish::Gone, true)) => assert!(b.is_none(), "{at}: {asked:?}"),
        _ => {}
    }
    // And it can be resized as if nothing had been.
    resize(&pods, 777).await.unwrap();
    until(&pods, "a", "resized again", |pod| running_at(pod, 777)).await;
    let pods_left = pods.list(&Default::default()).await.unwrap().items;
    let expected = pods_left.len();
    // Looked for again and again: the end of a process that is not one's child is told to nobody.
    let pods_with_shims = || shims(dir.path()).len();
    let end = tokio::time::Instant::now() + PATIENCE;
    while pods_with_shims() != expected {
        assert!(tokio::time::Instant::now() < end, "{at}: {expected} pods, and {:#?}", shims(dir.path()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, code) = up.stop();
    assert_eq!(code, Some(0), "{at}");
    assert_eq!(shims(dir.path()), Vec::<String>::new(), "{at}");
    assert_eq!(quotas(uid.as_str().unwrap()), [] as [i64; 0], "{at}");
    true
}

fn kill(mut up: Up) {
    up.kill();
}

/// Create, resize and delete until the program has killed itself.
async fn ask_until_dead(dir: &Path, mut child: Child, asked: &mut Asked) {
    // Held until it has ended: a program whose output nobody reads ends by itself.
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let announced = async { while said.next_line().await.unwrap().is_some_and(|it| !it.is_empty()) {} };
    tokio::time::timeout(PATIENCE, announced).await.expect("it neither came up nor died");
    let pods = self::pods(dir).await;
    for round in 0..ROUNDS {
        let limit = 210 + round;
        asked.limits.push(limit);
        asked.last_acknowledged = resize(&pods, limit).await.is_ok();
        if !asked.last_acknowledged {
            break;
        }
        let (wish, answer) = if round % 2 == 0 {
            asked.b = Some((Wish::There, false));
            (Wish::There, pods.create(&PostParams::default(), &pod("b")).await.is_ok())
        } else {
            asked.b = Some((Wish::Gone, false));
            (Wish::Gone, pods.delete("b", &DeleteParams::default()).await.is_ok())
        };
        asked.b = Some((wish, answer));
        if !answer {
            break;
        }
        if wish == Wish::There {
            // Running before it goes, so that its end is an end of something.
            let _ = tokio::time::timeout(PATIENCE, comes_to(&pods, "b", |pod| running_at(pod, 200))).await;
        }
    }
    let died = tokio::time::timeout(PATIENCE, child.wait()).await;
    died.expect("the step was never passed so often").unwrap();
}

async fn resize(pods: &Api<Pod>, milli: i64) -> Result<Pod, kube::Error> {
    let patch = json!({ "spec": { "containers": [{ "name": "app", "resources": { "limits": { "cpu": format!("{milli}m") } } }] } });
    pods.patch_resize("a", &PatchParams::default(), &Patch::Strategic(patch)).await
}

fn pod(name: &str) -> Pod {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "terminationGracePeriodSeconds": 0, "nodeName": "node", "containers": [{
            "name": "app", "image": "busybox:1.35", "command": ["sleep", "100000"],
            "resources": { "requests": { "cpu": "50m", "memory": "32Mi" }, "limits": { "cpu": "200m", "memory": "64Mi" } },
        }] },
    });
    serde_json::from_value(pod).unwrap()
}

/// Whether the pod's one container runs under this CPU limit, and no resize stands open.
fn running_at(pod: &Value, milli: i64) -> bool {
    let status = &pod["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let open = conditions.into_iter().any(|it| it["type"].as_str().is_some_and(|it| it.starts_with("PodResize")));
    let container = &status["containerStatuses"][0];
    !open
        && status["observedGeneration"] == pod["metadata"]["generation"]
        && container["state"]["running"].is_object()
        && container["resources"]["limits"]["cpu"] == format!("{milli}m")
}

/// A client without retries: what was not acknowledged must not be sent again.
async fn pods(dir: &Path) -> Api<Pod> {
    let kubeconfig = Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Api::namespaced(kube::Client::try_from(config).unwrap(), "default")
}

/// The pod as it holds; `None` where the watch of it breaks before.
async fn comes_to(pods: &Api<Pod>, name: &str, holds: impl Fn(&Value) -> bool) -> Option<Value> {
    let value = |pod: Option<&Pod>| pod.and_then(|it| serde_json::to_value(it).ok());
    let found = await_condition(pods.clone(), name, |pod: Option<&Pod>| value(pod).is_some_and(|it| holds(&it))).await;
    value(found.ok()?.as_ref())
}

async fn until(pods: &Api<Pod>, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    match tokio::time::timeout(PATIENCE, comes_to(pods, name, holds)).await {
        Ok(Some(pod)) => pod,
        _ => panic!("{name} was never {what}: {:?}", pods.get(name).await.map(|it| (it.spec, it.status))),
    }
}

/// CPU quotas of all cgroups of a pod, from the kernel.
fn quotas(uid: &str) -> Vec<i64> {
    let mut found = Vec::new();
    let mut dirs = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            } else if path.to_string_lossy().contains(uid) && path.ends_with("cpu.cfs_quota_us")
                || path.to_string_lossy().contains(uid) && path.ends_with("cpu.max")
            {
                // It may go away meanwhile.
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.extend(text.split_whitespace().next().and_then(|it| it.parse::<i64>().ok()));
            }
        }
    }
    found
}

/// Command lines of the shims of this cluster: one a running container.
fn shims(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&dir) && line.contains("supervise") {
            found.push(line);
        }
    }
    found
}
