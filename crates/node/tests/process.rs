//! The process runtime on this machine's real cgroups: containers run, end, are limited, resized and killed.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use supple_node::cgroup::{Hierarchies, Role};
use supple_node::runtime::cri::CriOptions;
use supple_node::runtime::process::ProcessOptions;
use supple_node::runtime::simulated::SimulatedOptions;
use supple_node::runtime::{
    ContainerRef, ContainerUsage, LogOptions, Requested, RunState, Runtime as _, RuntimeEvent, choose,
};
use supple_quantity::Bytes;
use supple_resize::kernel::{self, CgroupResources};
use supple_resize::memory_qos::MemoryTiers;
use support::{Lab, next, next_end, pod_config, sh};

const MIB: i64 = 1 << 20;

/// A container runs `script` to its end: this exit code, signal and log.
async fn check(script: &str, code: i32, signal: Option<i32>, log: &str) {
    let Some(lab) = Lab::new() else { return };
    let (exit, said) = lab.run(script).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (code, signal, false), "{script}");
    assert_eq!(said, log, "{script}");
    assert!(exit.started_at <= exit.finished_at);
}

#[tokio::test]
async fn the_exit_code_is_exact() {
    check("echo out; exit 0", 0, None, "out\n").await;
    check("echo err >&2; exit 37", 37, None, "err\n").await;
    check("printf 'no line end'; exit 1", 1, None, "no line end\n").await;
}

#[tokio::test]
async fn what_a_container_left_running_ends_with_it() {
    // Its output pipe stays open in the background process: the end must not wait for it.
    check("sleep 1000 & exit 4", 4, None, "").await;
}

#[tokio::test]
async fn its_environment_is_its_own() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("named").await;
    let mut config = sh(&pod, "echo $HOSTNAME $(hostname) $A ${HOME-unset}; pwd; umask; readlink /proc/self/fd/0");
    config.env = vec![("A".into(), "b c".into())];
    config.working_dir = Some("/usr".into());
    lab.runtime.start_container(&config).await.unwrap();
    assert_eq!(lab.end_of(&config.id).await.code, 0);
    let log = lab.log(&config.id).await;
    if lab.runtime.describe().ends_with("namespaces") && log.starts_with("named named ") {
        assert_eq!(log, "named named b c unset\n/usr\n0022\n/dev/null\n");
    } else {
        support::skipped("no namespaces of its own");
    }
}

#[tokio::test]
async fn files_of_the_programs_parent_are_not_passed_on() {
    // Without the flag that closes it: any program started from here would get it.
    let inherited = rustix::io::dup(std::io::stdin()).unwrap();
    check("ls /proc/self/fd | tr '\\n' ' '", 0, None, "0 1 2 3 \n").await;
    drop(inherited);
}

#[tokio::test]
async fn huge_pages_are_as_the_machine_has_them() {
    // As the program does for itself.
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    check("grep THP_enabled /proc/self/status", 0, None, "THP_enabled:\t1\n").await;
}

#[tokio::test]
async fn it_sees_its_own_pid_namespace() {
    let Some(lab) = Lab::new() else { return };
    if !lab.runtime.describe().ends_with("PID, mount and UTS namespaces") {
        return support::skipped("no right to make namespaces");
    }
    let (_, log) = lab.run("echo $$; echo /proc/[0-9]*").await;
    assert_eq!(log, "1\n/proc/1\n");
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_is_a_start_error() {
    #[track_caller]
    fn expect(error: &supple_node::runtime::RuntimeError, message: &str) {
        assert_eq!((error.reason, error.message.as_str()), ("StartError", message));
    }
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("broken").await;
    let mut config = sh(&pod, "");
    let mut refused = async |command: &[&str], dir: Option<&str>| {
        config.command = command.iter().map(|&it| it.to_owned()).collect();
        config.working_dir = dir.map(str::to_owned);
        lab.runtime.start_container(&config).await.unwrap_err()
    };
    expect(&refused(&["nope"], None).await, r#"exec: "nope": executable file not found in $PATH"#);
    expect(&refused(&["/nope"], None).await, r#"exec: "/nope": stat /nope: no such file or directory"#);
    expect(&refused(&["/etc/passwd"], None).await, r#"exec: "/etc/passwd": permission denied"#);
    let no_dir = r#"chdir to cwd ("/nope") set in config.json failed: no such file or directory"#;
    expect(&refused(&["true"], Some("/nope")).await, no_dir);
    // Nothing of those attempts is left, and the name is free.
    assert_eq!(lab.root().unwrap().child("poduid-broken", Role::Pod).children().unwrap(), [""; 0]);
    let id = lab.sh(&pod, "exit 5").await;
    assert_eq!(lab.end_of(&id).await.code, 5);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let Some(lab) = Lab::new() else { return };
    let mut pod = lab.pod("ok").await;
    let mut config = sh(&pod, "true");
    for name in ["../../x", "", ".", "a/b", "a\0b"] {
        config.id.container = name.into();
        assert_eq!(lab.runtime.start_container(&config).await.unwrap_err().reason, "InvalidName", "{name:?}");
        pod.uid = name.into();
        let created = lab.runtime.create_pod(&pod_config(&pod, CgroupResources::default())).await;
        assert_eq!(created.unwrap_err().reason, "InvalidName", "{name:?}");
        assert_eq!(lab.runtime.forget_pod(&pod).await.unwrap_err().reason, "InvalidName", "{name:?}");
    }
}

#[tokio::test]
async fn sigterm_first_and_sigkill_after_the_grace() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("stops").await;
    let polite = lab.sh(&pod, "trap 'echo bye; exit 6' TERM; echo ready; sleep 1000 & wait").await;
    lab.says(&polite, "ready").await;
    let exit = lab.runtime.stop_container(&polite, Duration::from_secs(20)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (6, None));
    assert_eq!(lab.log(&polite).await, "ready\nbye\n");
    // Asked again it says the same.
    assert_eq!(lab.runtime.stop_container(&polite, Duration::ZERO).await.unwrap(), exit);

    let mut config = sh(&pod, "trap '' TERM; echo ready; (trap '' TERM; sleep 1000) & wait; wait");
    config.id.attempt = 1;
    lab.runtime.start_container(&config).await.unwrap();
    lab.says(&config.id, "ready").await;
    let exit = lab.runtime.stop_container(&config.id, Duration::from_millis(50)).await.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), false));
}

#[tokio::test]
async fn the_oom_killer_is_seen() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("oom").await;
    // The shell itself holds the memory.
    let mut config = sh(&pod, "x=$(head -c 60000000 /dev/zero | tr '\\0' x); sleep 1000");
    config.resources = CgroupResources { memory_limit_bytes: Some(20 * MIB), ..Default::default() };
    lab.runtime.start_container(&config).await.unwrap();
    let exit = lab.end_of(&config.id).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
}

#[tokio::test]
async fn an_oom_kill_that_the_container_survives_is_told() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("survivor").await;
    let mut events = lab.runtime.events();
    let go = lab.dir.path().join("go");
    let child = "echo 1000 > /proc/self/oom_score_adj; x=$(head -c 60000000 /dev/zero | tr \\\\0 x)";
    let script =
        format!("until [ -e {} ]; do sleep 0.01; done; sh -c '{child}'; echo child $?; sleep 1000", go.display());
    let mut config = sh(&pod, &script);
    config.resources = CgroupResources { memory_limit_bytes: Some(30 * MIB), ..Default::default() };
    config.oom_score_adj = 0;
    lab.runtime.start_container(&config).await.unwrap();
    if let Hierarchies::V2(_) = lab.hierarchies() {
        // There one kill takes the whole container, as under the reference, unless this is switched off.
        let group = lab.root().unwrap().child("poduid-survivor", Role::Pod).child("c-0", Role::Container);
        std::fs::write(group.memory_directory().join("memory.oom.group"), "0").unwrap();
    }
    std::fs::write(go, "").unwrap();
    let mut event = next(&mut events).await;
    while let RuntimeEvent::Strained { .. } = event {
        // On version 2 meeting the limit is told before, too.
        event = next(&mut events).await;
    }
    assert!(matches!(&event, RuntimeEvent::OomKill(id) if *id == config.id), "{event:?}");
    lab.says(&config.id, "child 137").await;
    assert!(lab.runtime.usage(&pod).await.unwrap().containers[0].oom_kills >= 1);
    // At its end it counts as OOM-killed, as containerd has it.
    assert!(lab.runtime.stop_container(&config.id, Duration::ZERO).await.unwrap().oom_killed);
}

#[tokio::test]
async fn a_limit_throttles_and_a_greater_one_does_not() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("busy").await;
    let mut config = sh(&pod, "while :; do :; done");
    config.resources =
        CgroupResources { cpu_quota_us: Some(20_000), cpu_period_us: Some(100_000), ..Default::default() };
    lab.runtime.start_container(&config).await.unwrap();
    let usage = async || lab.runtime.usage(&pod).await.unwrap().containers.remove(0);
    let until = async |what: &dyn Fn(&ContainerUsage) -> bool| {
        let reached = async {
            loop {
                let usage = usage().await;
                if what(&usage) {
                    return usage;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(support::PATIENCE, reached).await.expect("it gets there")
    };
    let first = until(&|it| it.throttled_periods >= 5 && it.cpu_nano_cores.is_some()).await;
    assert!(first.throttled_nanos > 0);
    // A fifth of a core, and not a whole one, however busy or slow this machine is.
    let cores = first.cpu_nano_cores.expect("waited for");
    assert!((1_000_000..=800_000_000).contains(&cores), "{cores}");

    let unlimited = CgroupResources { cpu_quota_us: Some(-1), ..Default::default() };
    lab.runtime.update_container(&config.id, &unlimited).await.unwrap();
    let before = usage().await;
    // Much more CPU than a throttled second would have given, and no throttling meanwhile.
    let after = until(&|it| it.cpu_usage_nanos >= before.cpu_usage_nanos + 400_000_000).await;
    assert!(after.throttled_periods <= before.throttled_periods + 1);
}

#[tokio::test]
async fn a_resize_is_in_the_kernels_files() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("sized").await;
    let id = lab.sh(&pod, "echo ready; sleep 1000").await;
    lab.says(&id, "ready").await;
    let all = |shares, quota, memory| CgroupResources {
        cpu_shares: Some(shares),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(memory),
        ..CgroupResources::default()
    };
    for wanted in [all(512, 50_000, 64 * MIB), all(102, 10_000, 32 * MIB), all(2048, -1, -1), all(2, 1000, 128 * MIB)] {
        // The parent first, as a growing one must be; then it fits whatever comes.
        lab.runtime.update_pod(&pod, &all(wanted.cpu_shares.unwrap(), -1, -1)).await.unwrap();
        lab.runtime.update_container(&id, &wanted).await.unwrap();
        assert_eq!(lab.runtime.read_container(&id).await.unwrap(), read_back(&lab, wanted, Role::Container));
    }
    // What is not said stays.
    let only = CgroupResources { cpu_quota_us: Some(30_000), ..Default::default() };
    lab.runtime.update_container(&id, &only).await.unwrap();
    let kept = read_back(&lab, all(2, 30_000, 128 * MIB), Role::Container);
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), kept);
    let wanted = all(1024, 40_000, 256 * MIB);
    lab.runtime.update_pod(&pod, &wanted).await.unwrap();
    assert_eq!(lab.runtime.read_pod(&pod).await.unwrap(), read_back(&lab, wanted, Role::Pod));
}

/// What is read after this was written: a weight of version 2 is coarser than shares.
fn read_back(lab: &Lab, written: CgroupResources, role: Role) -> CgroupResources {
    let rounded = |shares| match role {
        Role::Root | Role::Pod => kernel::shares_from_pod_weight(kernel::pod_weight(shares)),
        Role::Container => kernel::shares_from_container_weight(kernel::container_weight(shares)),
    };
    match lab.hierarchies() {
        Hierarchies::V1(_) => written,
        Hierarchies::V2(_) => {
            CgroupResources { cpu_shares: written.cpu_shares.map(rounded), tiers: MemoryTiers::NONE, ..written }
        }
    }
}

#[tokio::test]
async fn memory_in_use_is_not_taken_away() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("full").await;
    let id = lab.sh(&pod, "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ready; sleep 1000 & wait").await;
    lab.says(&id, "ready").await;
    let used = lab.runtime.usage(&pod).await.unwrap();
    let container = &used.containers[0];
    assert!(container.memory_working_set >= Bytes(30_000_000), "{container:?}");
    assert!(container.memory_peak >= Bytes(30_000_000) && used.memory_usage >= Bytes(30_000_000), "{used:?}");

    let before = lab.runtime.read_container(&id).await.unwrap();
    let low = CgroupResources { memory_limit_bytes: Some(10 * MIB), ..Default::default() };
    let error = lab.runtime.update_container(&id, &low).await.unwrap_err();
    assert_eq!(error.reason, "CgroupWrite");
    assert!(error.message.contains("(os error 16)") && error.message.contains("10485760"), "{error}");
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), before);
    assert!(matches!(lab.runtime.stop_container(&id, Duration::ZERO).await, Ok(exit) if !exit.oom_killed));
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    let Some(lab) = Lab::with(|options| options.log_limit_bytes = 4000) else { return };
    let pod = lab.pod("talks").await;
    let id = lab.sh(&pod, "read go < /proc/1/environ; for i in $(seq 300); do echo line $i; done; exit 0").await;
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let stream = lab.runtime.logs(&id, options).await.unwrap();
    let chunks: Vec<_> = tokio::time::timeout(support::PATIENCE, stream.collect()).await.unwrap();
    let followed = String::from_utf8(chunks.into_iter().flat_map(Result::unwrap).collect()).unwrap();
    assert!(followed.ends_with("line 299\nline 300\n"), "{followed}");

    // Each line is about 45 bytes in the file: two files of 4000 hold the newest hundred, not all.
    let kept = lab.log(&id).await;
    assert!(kept.ends_with("line 300\n") && kept.lines().count() > 80 && !kept.contains("line 50\n"), "{kept}");
    let tail = LogOptions { tail_lines: Some(2), timestamps: true, ..LogOptions::default() };
    let chunks: Vec<_> = lab.runtime.logs(&id, tail).await.unwrap().collect().await;
    let tail = String::from_utf8(chunks.into_iter().flat_map(Result::unwrap).collect()).unwrap();
    let lines: Vec<(&str, &str)> = tail.lines().filter_map(|it| it.split_once(' ')).collect();
    assert_eq!(lines.iter().map(|it| it.1).collect::<Vec<_>>(), ["line 299", "line 300"]);
    assert!(lines.iter().all(|it| it.0.parse::<jiff::Timestamp>().is_ok()), "{tail}");
}

#[tokio::test]
async fn shutdown_leaves_nothing() {
    let Some(lab) = Lab::new() else { return };
    let (root, pod) = (lab.root().unwrap(), lab.pod("left").await);
    let id = lab.sh(&pod, "trap '' TERM; echo ready; sleep 1000 & wait").await;
    lab.says(&id, "ready").await;
    let RunState::Running { pid: Some(pid), .. } = lab.runtime.start_container(&sh_attempt(&pod, 1)).await.unwrap()
    else {
        panic!("not running")
    };
    assert_eq!(root.processes().unwrap().len(), 3);
    lab.runtime.shutdown().await.unwrap();
    assert!(root.directories().into_iter().all(|it| !it.exists()));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(std::fs::read_dir(lab.dir.path()).unwrap().count(), 0);
}

fn sh_attempt(pod: &supple_node::runtime::PodRef, attempt: u32) -> supple_node::runtime::ContainerConfig {
    let mut config = sh(pod, "exec sleep 1000");
    config.id.attempt = attempt;
    config
}

#[tokio::test]
async fn only_the_logs_of_two_runs_are_kept() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("again").await;
    let mut events = lab.runtime.events();
    for attempt in 0..4 {
        let mut config = sh(&pod, "echo run");
        config.id.attempt = attempt;
        lab.runtime.start_container(&config).await.unwrap();
        next_end(&mut events).await;
        lab.runtime.remove_container(&config.id).await.unwrap();
    }
    let mut kept = Vec::new();
    for attempt in 0..4 {
        let id = ContainerRef { pod: pod.clone(), container: "c".into(), attempt };
        if lab.runtime.logs(&id, LogOptions::default()).await.is_ok() {
            assert_eq!(lab.log(&id).await, "run\n");
            kept.push(attempt);
        }
    }
    assert_eq!(kept, [2, 3]);
    lab.runtime.remove_pod(&pod).await.unwrap();
    lab.runtime.remove_pod(&pod).await.unwrap();
    lab.runtime.forget_pod(&pod).await.unwrap();
    assert_eq!(lab.root().unwrap().children().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_container_without_a_command_runs_the_stand_in() {
    let Some(lab) = Lab::with(|options| options.stand_in = vec!["echo".into(), "standing in".into()]) else { return };
    let pod = lab.pod("image").await;
    let mut config = sh(&pod, "");
    config.command = Vec::new();
    lab.runtime.start_container(&config).await.unwrap();
    lab.end_of(&config.id).await;
    assert_eq!(lab.log(&config.id).await, "standing in\n");
}

#[tokio::test]
async fn auto_takes_processes_where_it_can_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = || SimulatedOptions::new(std::sync::Arc::new(jiff::Timestamp::now));
    let mut nowhere = ProcessOptions::new(dir.path());
    nowhere.mounts.mountinfo = "/dev/null".into();
    let cri = |request| CriOptions::new(request, dir.path());
    let chosen = choose(Requested::Auto, nowhere.clone(), simulated(), cri).await.unwrap();
    assert_eq!(chosen.runtime.name(), "simulated");
    assert_eq!(chosen.why, "cannot run processes here: no cgroup hierarchy has both cpu and memory: none is mounted");
    let refused = choose(Requested::Process, nowhere.clone(), simulated(), cri).await.unwrap_err().to_string();
    assert!(refused.contains("none is mounted; use --runtime simulated"), "{refused}");
    let absent = "cri=unix:///nonexistent/containerd.sock".parse::<Requested>().unwrap();
    let refused = choose(absent, nowhere, simulated(), cri).await.unwrap_err().to_string();
    assert!(
        refused.contains("no container runtime listens at /nonexistent/containerd.sock")
            && refused.contains("start it"),
        "{refused}"
    );

    let Some(lab) = Lab::new() else { return };
    let chosen = choose(Requested::Auto, support::options(dir.path().to_owned()), simulated(), cri).await.unwrap();
    assert_eq!((chosen.runtime.name(), chosen.why), ("process", lab.runtime.describe()));
    chosen.runtime.shutdown().await.unwrap();
}

/// A user has 128 of them, and the rest of the machine lives on those.
#[tokio::test]
async fn a_container_takes_no_inotify_instance() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("few").await;
    let id = lab.sh(&pod, "echo up; sleep 1000").await;
    lab.says(&id, "up").await;
    let own = lab.dir.path().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|it| it.path());
    let is_shim = |it: &PathBuf| {
        let words = std::fs::read(it.join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.contains(&own) && words.contains("supervise")
    };
    let shims: Vec<PathBuf> = processes.filter(is_shim).collect();
    assert_eq!(shims.len(), 1, "{shims:?}");
    let open = std::fs::read_dir(shims[0].join("fd")).unwrap().flatten();
    let open: Vec<PathBuf> = open.filter_map(|it| std::fs::read_link(it.path()).ok()).collect();
    assert!(!open.iter().any(|it| it.to_string_lossy().contains("inotify")), "{open:?}");
}
