//! The life of `supple up`: announced, locked, stopped without a trace, killed and gone on.

use std::process::{Command, Stdio};

use super::cluster::{Kubectl, SUPPLE, Up, bad, eventually, good, lacking, pod, text, up_command};

const SMALL: &str = "{requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 100m, memory: 64Mi}}";

#[test]
fn it_announces_itself_and_lets_only_the_token_in() {
    let up = Up::new("simulated");
    let announced = up.announced.join("\n");
    for part in [
        "API server  https://127.0.0.1:",
        "kubeconfig  ",
        "runtime     simulated: ",
        "node        node: cpu 2, memory 4Gi, 20 pods",
    ] {
        assert!(announced.contains(part), "{part:?} in {announced}");
    }
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(up.data_dir.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("kubeconfig"), mode("token"), mode("")), (0o600, 0o600, 0o700));
    let Some(kubectl) = Kubectl::of(&up) else { return };
    assert_eq!(kubectl.good(["get", "namespaces", "-o", "name"]).lines().count(), 4);
    let refused = kubectl.run(["get", "pods", "--token=wrong"]);
    assert!(
        text(&refused.stderr).contains("Unauthorized") || text(&refused.stderr).contains("logged in"),
        "{refused:?}"
    );
}

#[test]
fn a_second_one_on_the_same_directory_is_refused() {
    let up = Up::new("simulated");
    let second = up_command(&up.data_dir, "simulated", &[]).output().unwrap();
    let said = bad(&second, 3);
    assert!(said.contains(&format!("in use by process {}", up.pid())), "{said}");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(SUPPLE).args(["up", "--listen", &address, "--data-dir"]).arg(dir.path()).output();
    let said = bad(&output.unwrap(), 3);
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"), "{said}");
    assert!(!dir.path().join("node").exists(), "a start that fails makes no mark on the machine");
}

#[test]
fn it_stops_when_asked() {
    for signal in ["TERM", "INT", "HUP"] {
        let mut up = Up::new("simulated");
        super::cluster::signal(up.pid(), signal);
        assert!(up.wait().success(), "after SIG{signal}");
    }
}

#[test]
fn one_wish_to_stop_may_arrive_twice() {
    // As from `timeout`, which signals its child and then the whole group.
    let mut up = Up::new("auto");
    super::cluster::signal(up.pid(), "TERM");
    super::cluster::signal(up.pid(), "TERM");
    assert!(up.wait().success());
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = up_command(dir.path(), "simulated", &[]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let mut child = Command::new(SUPPLE).args(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn nothing_is_left_of_real_processes() {
    let up = Up::new("auto");
    if !up.announced.iter().any(|it| it.starts_with("runtime     process")) {
        return lacking("writable cgroups");
    }
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", SMALL);
    kubectl.pod("b", SMALL);
    let uid = kubectl.path("pod/a", "{.metadata.uid}");
    assert!(!cgroups_of(&uid).is_empty(), "the pod has a cgroup");
    let data_dir = up.data_dir.display().to_string();
    let (_, code) = up.stop();
    assert_eq!(code, Some(0));
    assert_eq!(cgroups_of(&uid), Vec::<String>::new());
    assert_eq!(processes_naming(&data_dir), Vec::<String>::new());
}

#[test]
fn killed_it_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path(), "auto", &["--no-loop"]);
    let real = up.announced.iter().any(|it| it.starts_with("runtime     process"));
    if !real {
        lacking("writable cgroups");
    }
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", SMALL);
    good(&up.supple(["resize", "pod/a", "--cpu", "70m:140m"]));
    let seen = |kubectl: &Kubectl| {
        let path = "{.metadata.uid} {.metadata.generation} {.spec.containers[0].resources} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}";
        kubectl.path("pod/a", path)
    };
    let before = seen(&kubectl);
    let token = std::fs::read_to_string(up.data_dir.join("token")).unwrap();
    up.kill();

    let up = Up::start(dir.path(), "auto", &["--no-loop"]);
    assert_eq!(std::fs::read_to_string(up.data_dir.join("token")).unwrap(), token);
    let kubectl = Kubectl::of(&up).unwrap();
    kubectl.ready("a");
    if real {
        // The container ran on while nobody watched it, and was adopted: not even restarted.
        assert_eq!(seen(&kubectl), before);
    }
    good(&up.supple(["resize", "pod/a", "--cpu", "80m:160m"]));
    let uid = kubectl.path("pod/a", "{.metadata.uid}");
    up.stop();
    assert_eq!(cgroups_of(&uid), Vec::<String>::new());
}

#[test]
fn pods_come_back_after_an_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(dir.path(), "simulated", &["--no-loop"]);
    let Some(kubectl) = Kubectl::of(&up) else { return };
    kubectl.pod("a", SMALL);
    up.stop();
    let up = Up::start(dir.path(), "simulated", &["--no-loop"]);
    Kubectl::of(&up).unwrap().ready("a");
}

#[test]
fn manifests_are_applied_and_applied_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pods.yaml");
    std::fs::write(&file, format!("{}---\n{}", pod("a", SMALL), pod("b", SMALL))).unwrap();
    let start = || Up::start(&dir.path().join("data"), "simulated", &["--no-loop", "-f", file.to_str().unwrap()]);
    let up = start();
    let Some(kubectl) = Kubectl::of(&up) else { return };
    eventually("both pods are there", || {
        (kubectl.good(["get", "pods", "-o", "name"]).lines().count() == 2).then_some(())
    });
    kubectl.ready("b");
    good(&up.supple(["resize", "pod/a", "--cpu", "70m:140m"]));
    up.stop();
    // Resized meanwhile: the manifest is not what the pod asks for any more, and must not be forced on it.
    let up = start();
    let kubectl = Kubectl::of(&up).unwrap();
    kubectl.ready("a");
    assert_eq!(kubectl.path("pod/a", "{.spec.containers[0].resources.requests.cpu}"), "70m");
}

/// Cgroup directories whose path names this pod.
fn cgroups_of(uid: &str) -> Vec<String> {
    let output =
        Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-path", &format!("*{uid}*")]).output().unwrap();
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// Command lines of processes that name this directory.
fn processes_naming(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = text(&line).replace('\0', " ");
        if line.contains(path) {
            found.push(line);
        }
    }
    found
}
