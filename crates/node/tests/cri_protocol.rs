//! The CRI runtime against a container runtime that behaves as CRI-O does, and one that does not behave.
#![allow(clippy::unwrap_used, reason = "a lab that cannot be set up is a failed test")]

#[path = "support/fake_cri.rs"]
mod fake_cri;
#[path = "support/seeds.rs"]
mod seeds;
mod support;
#[path = "support/tally.rs"]
mod tally;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use fake_cri::{FakeCri, Serving, Trouble};
use futures::stream::BoxStream;
use seeds::{Dice, Seeds};
use supple_node::runtime::cri::call::{CallFaults, Deadlines, Fate};
use supple_node::runtime::cri::{CriOptions, CriRequest, CriRuntime, NewError, PodNetwork};
use supple_node::runtime::{
    ContainerConfig, ContainerRef, Exit, PodRef, RunState, Runtime as _, RuntimeError, RuntimeEvent,
};
use supple_resize::kernel::CgroupResources;
use support::{OwnRoot, PATIENCE, next_end, pod_config, skipped};
use tally::Tally;
use tonic::Status;

/// Short enough for a test, long enough for a busy machine's answer.
const SHORT: Duration = Duration::from_millis(500);

struct Lab {
    dir: tempfile::TempDir,
    fake: FakeCri,
    serving: Option<Serving>,
    runtime: CriRuntime,
    events: BoxStream<'static, RuntimeEvent>,
    root: OwnRoot,
}

impl Lab {
    /// `None` (after saying so) where this machine has no cgroups to write.
    async fn new() -> Option<Self> {
        Self::with(FakeCri::new(), |_| {}).await
    }

    async fn with(fake: FakeCri, change: impl FnOnce(&mut CriOptions)) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let serving = fake.serve(&dir.path().join("cri.sock"));
        let options = options(&dir, change);
        let runtime = match CriRuntime::connect(options).await {
            Ok(runtime) => runtime,
            Err(error @ (NewError::Cgroup(_) | NewError::NotAtTheTop { .. })) => {
                skipped(&error.to_string());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        assert!(runtime.recover().await.unwrap().is_empty(), "nothing is left of anything");
        let events = runtime.events();
        let root = OwnRoot::of(runtime.root_directory());
        Some(Self { dir, fake, serving: Some(serving), runtime, events, root })
    }

    /// This program is killed and started again.
    async fn again(self) -> (Self, Vec<supple_node::runtime::FoundPod>) {
        let Self { dir, fake, serving, runtime, root, .. } = self;
        drop(runtime);
        let runtime = CriRuntime::connect(options(&dir, |_| {})).await.unwrap();
        let found = runtime.recover().await.unwrap();
        let events = runtime.events();
        (Self { dir, fake, serving, runtime, events, root }, found)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("cri.sock")
    }

    /// What systemd was told.
    fn told(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("systemctl.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    async fn pod(&self, name: &str) -> PodRef {
        let pod = PodRef { uid: format!("uid-{name}"), namespace: "default".into(), name: name.into() };
        self.runtime.create_pod(&pod_config(&pod, limits(50_000, 64))).await.unwrap();
        pod
    }

    async fn start(&self, pod: &PodRef, attempt: u32) -> Result<ContainerRef, RuntimeError> {
        let config = container(pod, attempt);
        self.runtime.start_container(&config).await.map(|_| config.id)
    }

    async fn ended(&mut self) -> (ContainerRef, Exit) {
        next_end(&mut self.events).await
    }

    /// Nobody tells when the fake has been asked something.
    async fn until(&self, what: &str, reached: impl Fn(&FakeCri) -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while !reached(&self.fake) {
            assert!(tokio::time::Instant::now() < end, "waited for {what}: {:?}", self.fake.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything goes, and nothing stays.
    async fn close(self) {
        self.runtime.shutdown().await.unwrap();
        assert_eq!(self.fake.counts(), (0, 0));
        assert!(!self.runtime.root_directory().exists(), "our root cgroup is gone");
    }
}

fn options(dir: &tempfile::TempDir, change: impl FnOnce(&mut CriOptions)) -> CriOptions {
    let systemctl = dir.path().join("systemctl");
    let log = dir.path().join("systemctl.log");
    std::fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" >> {}\n", log.display())).unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = CriOptions::new(CriRequest::new(dir.path().join("cri.sock")), dir.path().join("data"));
    options.systemctl = systemctl;
    options.deadlines = Deadlines { ask: SHORT, act: SHORT, pull: SHORT };
    options.relist = Duration::from_millis(20);
    change(&mut options);
    options
}

fn container(pod: &PodRef, attempt: u32) -> ContainerConfig {
    let mut config = support::sh(pod, "true");
    config.id.attempt = attempt;
    config.resources = limits(20_000, 32);
    config
}

fn limits(quota: i64, mebibytes: i64) -> CgroupResources {
    CgroupResources {
        cpu_shares: Some(102),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(mebibytes << 20),
        ..CgroupResources::default()
    }
}

fn unavailable() -> Status {
    Status::unavailable("the server is shutting down")
}

#[tokio::test]
async fn pods_are_slices_and_systemd_is_told_of_them() {
    let Some(lab) = Lab::new().await else { return };
    assert!(lab.runtime.describe().starts_with("cri-o 1.31.2 at "), "{}", lab.runtime.describe());
    assert!(lab.runtime.describe().contains("driver systemd"), "{}", lab.runtime.describe());
    assert_eq!(lab.runtime.version(), "cri-o://1.31.2");
    let root =
        lab.runtime.root_directory().file_name().unwrap().to_str().unwrap().trim_end_matches(".slice").to_owned();
    let pod = lab.pod("a").await;
    let class = format!("{root}-kubepods-burstable");
    let slice = format!("{class}-poduid_a.slice");
    assert_eq!(lab.fake.cgroup_parents(), [format!("/{root}.slice/{root}-kubepods.slice/{class}.slice/{slice}")]);
    lab.runtime.update_pod(&pod, &limits(60_000, 96)).await.unwrap();
    lab.runtime.remove_pod(&pod).await.unwrap();
    let told = lab.told();
    let of_pod: Vec<&str> = told.iter().map(String::as_str).filter(|it| it.contains(&slice)).collect();
    assert_eq!(
        of_pod,
        [
            format!("start {slice}"),
            format!("set-property --runtime {slice} CPUWeight=4 CPUQuota=50% MemoryMax=67108864"),
            format!("set-property --runtime {slice} CPUWeight=4 CPUQuota=60% MemoryMax=100663296"),
            format!("stop {slice}"),
        ]
    );
    // The class has as many shares as its pods together, and the least when there are none.
    let of_class: Vec<&str> =
        told.iter().map(String::as_str).filter(|it| it.contains(&format!(" {class}.slice"))).collect();
    assert_eq!(of_class.last().unwrap(), &format!("set-property --runtime {class}.slice CPUWeight=1"));
    lab.close().await;
}

#[tokio::test]
async fn an_event_tells_of_an_end() {
    // No listing comes to help.
    let Some(mut lab) = Lab::with(FakeCri::new(), |it| it.relist = Duration::from_secs(3600)).await else { return };
    let pod = lab.pod("a").await;
    lab.until("the stream", |it| !it.calls(&["GetContainerEvents"]).is_empty()).await;
    let id = lab.start(&pod, 0).await.unwrap();
    lab.fake.end("c", 3, "Error");
    let (ended, exit) = lab.ended().await;
    assert_eq!((ended, exit.code, exit.oom_killed), (id, 3, false));
    lab.close().await;
}

#[tokio::test]
async fn without_events_a_listing_finds_the_end() {
    let fake = FakeCri::new();
    fake.without_events();
    let Some(mut lab) = Lab::with(fake, |_| {}).await else { return };
    let pod = lab.pod("a").await;
    let id = lab.start(&pod, 0).await.unwrap();
    lab.fake.end("c", 137, "OOMKilled");
    let (ended, exit) = lab.ended().await;
    assert_eq!((ended, exit.code, exit.oom_killed), (id, 137, true));
    lab.close().await;
}

#[tokio::test]
async fn a_torn_stream_costs_nothing() {
    let Some(mut lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    lab.start(&pod, 0).await.unwrap();
    lab.until("a stream", |it| !it.calls(&["GetContainerEvents"]).is_empty()).await;
    lab.fake.trouble("GetContainerEvents", Trouble::Fail(unavailable()));
    lab.fake.tear_streams();
    lab.until("another stream", |it| it.calls(&["GetContainerEvents"]).len() >= 3).await;
    lab.fake.end("c", 1, "Error");
    assert_eq!(lab.ended().await.1.code, 1);
    lab.close().await;
}

#[tokio::test]
async fn sizes_are_written_and_read_back() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    let id = lab.start(&pod, 0).await.unwrap();
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), limits(20_000, 32));
    lab.runtime.update_container(&id, &limits(40_000, 48)).await.unwrap();
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), limits(40_000, 48));
    // Parts of a size leave the rest as it was.
    let quota = CgroupResources { cpu_quota_us: Some(30_000), ..CgroupResources::default() };
    lab.runtime.update_container(&id, &quota).await.unwrap();
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), limits(30_000, 48));
    let usage = lab.runtime.usage(&pod).await.unwrap();
    assert_eq!(usage.containers.len(), 1);
    assert_eq!(
        (usage.containers[0].cpu_usage_nanos, usage.containers[0].memory_working_set.0),
        (1_500_000_000, 8 << 20)
    );
    assert_eq!(
        usage.containers[0].memory_usage.0,
        8 << 20,
        "a runtime that does not say it is not believed to use none"
    );
    lab.close().await;
}

#[tokio::test]
async fn the_runtime_may_refuse_a_size() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    let before = lab.runtime.read_pod(&pod).await.unwrap();
    lab.fake.veto(Some("plugin \"quota\" says no"));
    let refused = lab.runtime.update_pod(&pod, &limits(50_000, 128)).await.unwrap_err();
    assert_eq!(refused.reason, "SandboxUpdateRefused");
    assert!(refused.to_string().contains("plugin \"quota\" says no"), "{refused}");
    assert_eq!(lab.runtime.read_pod(&pod).await.unwrap(), before, "a veto comes before the write");
    lab.fake.veto(None);
    lab.runtime.update_pod(&pod, &limits(50_000, 128)).await.unwrap();
    assert_eq!(lab.runtime.read_pod(&pod).await.unwrap(), limits(50_000, 128));
    lab.close().await;
}

#[tokio::test]
async fn a_runtime_without_the_method_refuses_nothing_and_is_asked_once() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    lab.fake.trouble("UpdatePodSandboxResources", Trouble::Fail(Status::unimplemented("unknown method")));
    for mebibytes in [128, 96, 256] {
        lab.runtime.update_pod(&pod, &limits(50_000, mebibytes)).await.unwrap();
    }
    assert_eq!(lab.fake.calls(&["UpdatePodSandboxResources"]), ["UpdatePodSandboxResources memory=128"]);
    lab.close().await;
}

#[tokio::test]
async fn a_size_that_cannot_be_written_is_taken_back() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    lab.start(&pod, 0).await.unwrap();
    // Less CPU than a child has: cgroup v1 refuses that, v2 does not mind.
    match lab.runtime.update_pod(&pod, &limits(10_000, 96)).await {
        Err(failed) => {
            assert_eq!(failed.reason, "CgroupWrite");
            let told = lab.fake.calls(&["UpdatePodSandboxResources"]);
            assert_eq!(told, ["UpdatePodSandboxResources memory=96", "UpdatePodSandboxResources memory=64"]);
        }
        Ok(()) => assert_eq!(lab.runtime.read_pod(&pod).await.unwrap(), limits(10_000, 96)),
    }
    lab.close().await;
}

#[tokio::test]
async fn a_call_that_hangs_fails_in_time_and_the_next_one_works() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    let id = lab.start(&pod, 0).await.unwrap();
    lab.fake.trouble("UpdateContainerResources", Trouble::Hang);
    let late = lab.runtime.update_container(&id, &limits(40_000, 48)).await.unwrap_err().to_string();
    assert!(late.contains("no answer to UpdateContainerResources within 500ms"), "{late}");
    lab.runtime.update_container(&id, &limits(40_000, 48)).await.unwrap();
    lab.fake.trouble("ListContainerStats", Trouble::Hang);
    assert!(lab.runtime.usage(&pod).await.is_err(), "usage that is not known is not guessed");
    lab.runtime.usage(&pod).await.unwrap();
    lab.close().await;
}

#[tokio::test]
async fn a_runtime_that_goes_away_is_found_again() {
    let Some(mut lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    let id = lab.start(&pod, 0).await.unwrap();
    lab.serving = None;
    // Its connections break one after another, a moment later.
    let lost = loop {
        if let Err(lost) = lab.runtime.update_container(&id, &limits(40_000, 48)).await {
            break lost.to_string();
        }
    };
    assert!(lost.contains("the container runtime cannot be reached"), "{lost}");
    // It ends while nobody listens.
    lab.fake.end("c", 7, "Error");
    lab.serving = Some(lab.fake.serve(&lab.socket()));
    assert_eq!(lab.ended().await.1.code, 7);
    lab.start(&pod, 1).await.unwrap();
    lab.close().await;
}

#[tokio::test]
async fn a_lost_answer_makes_nothing_twice() {
    let Some(lab) = Lab::new().await else { return };
    lab.fake.trouble("RunPodSandbox", Trouble::FailAfter(unavailable()));
    let pod = lab.pod("a").await;
    assert_eq!(lab.fake.calls(&["RunPodSandbox"]), ["RunPodSandbox a#0"]);
    lab.fake.trouble("CreateContainer", Trouble::FailAfter(unavailable()));
    lab.fake.trouble("StartContainer", Trouble::FailAfter(unavailable()));
    let id = lab.start(&pod, 0).await.unwrap();
    assert_eq!(lab.fake.counts(), (1, 1));
    lab.fake.trouble("StopContainer", Trouble::FailAfter(unavailable()));
    let exit = lab.runtime.stop_container(&id, Duration::from_secs(5)).await.unwrap();
    assert_eq!(exit.code, 143);
    assert_eq!(lab.fake.calls(&["StopContainer"]), ["StopContainer grace=5"]);
    lab.close().await;
}

#[tokio::test]
async fn a_container_that_did_not_start_is_not_left_behind() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    let said = "failed to create containerd task: write /proc/self/oom_score_adj: permission denied";
    lab.fake.trouble("StartContainer", Trouble::Fail(Status::unknown(said)));
    let failed = lab.start(&pod, 0).await.unwrap_err();
    assert_eq!(failed.reason, "StartError");
    assert!(failed.to_string().contains("restrict_oom_score_adj = true"), "{failed}");
    assert_eq!(lab.fake.counts(), (0, 1));
    // Its removal fails too: it is found and removed later, and not before its successor runs.
    lab.fake.trouble("StartContainer", Trouble::Fail(Status::unknown("no")));
    lab.fake.trouble("RemoveContainer", Trouble::Fail(unavailable()));
    lab.start(&pod, 1).await.unwrap_err();
    let id = lab.start(&pod, 2).await.unwrap();
    lab.until("the stray's end", |it| it.counts() == (1, 1)).await;
    assert_eq!(lab.runtime.read_container(&id).await.unwrap(), limits(20_000, 32));
    lab.close().await;
}

#[tokio::test]
async fn what_a_killed_program_left_is_adopted() {
    let Some(lab) = Lab::new().await else { return };
    let (a, b) = (lab.pod("a").await, lab.pod("b").await);
    lab.start(&a, 0).await.unwrap();
    lab.start(&b, 0).await.unwrap();
    lab.fake.end("c", 4, "Error");
    let (mut lab, found) = lab.again().await;
    let mut states: Vec<(String, String)> = found
        .iter()
        .map(|it| {
            let state = it.containers.iter().map(|(_, state)| match state {
                RunState::Running { .. } => "runs".to_owned(),
                RunState::Exited(exit) => format!("exited {}", exit.code),
            });
            (it.pod.name.clone(), state.collect())
        })
        .collect();
    states.sort();
    assert_eq!(states, [("a".into(), "exited 4".into()), ("b".into(), "runs".to_owned())]);
    // What was adopted is watched, resized and stopped as before.
    let id = container(&b, 0).id;
    lab.runtime.update_container(&id, &limits(40_000, 48)).await.unwrap();
    lab.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(lab.ended().await.0, id);
    lab.close().await;
}

#[tokio::test]
async fn a_sandbox_that_died_is_made_anew() {
    let Some(lab) = Lab::new().await else { return };
    let pod = lab.pod("a").await;
    lab.start(&pod, 0).await.unwrap();
    lab.fake.lose_sandboxes();
    let (lab, found) = lab.again().await;
    assert!(matches!(found[0].containers[0].1, RunState::Exited(_)), "{found:?}");
    lab.start(&pod, 1).await.unwrap();
    assert_eq!(lab.fake.calls(&["RunPodSandbox"]), ["RunPodSandbox a#0", "RunPodSandbox a#1"]);
    assert_eq!(lab.fake.counts(), (1, 1));
    lab.close().await;
}

#[tokio::test]
async fn images_by_their_policy() {
    let Some(lab) = Lab::new().await else { return };
    lab.fake.publish("pulled:1");
    #[track_caller]
    fn check(got: Result<(), RuntimeError>, expect: Result<(), (&str, &str)>) {
        match (&got, expect) {
            (Ok(()), Ok(())) => {}
            (Err(got), Err((reason, part))) => {
                assert!(got.reason == reason && got.message.contains(part), "{got:?}, not {reason} {part}");
            }
            _ => panic!("{got:?}, not {expect:?}"),
        }
    }
    let image = |name, policy| lab.runtime.check_image(name, policy);
    check(image("present:1", None).await, Ok(()));
    check(image("present:1", Some("Never")).await, Ok(()));
    check(
        image("absent:1", Some("Never")).await,
        Err(("ErrImageNeverPull", "is not present with pull policy of Never")),
    );
    check(image("absent:1", Some("IfNotPresent")).await, Err(("ErrImagePull", "no such host")));
    check(image("present:1", Some("Always")).await, Err(("ErrImagePull", "no such host")));
    check(image("a b", None).await, Err(("InvalidImageName", "couldn't parse image name")));
    check(image("pulled:1", None).await, Ok(()));
    check(image("pulled:1", None).await, Ok(()));
    assert_eq!(lab.fake.calls(&["PullImage"]).last().unwrap(), "PullImage pulled:1");
    lab.fake.trouble("ImageStatus", Trouble::Fail(unavailable()));
    check(image("present:1", None).await, Err(("ImageInspectError", "cannot be reached")));
    lab.fake.trouble("PullImage", Trouble::Hang);
    check(image("slow:1", None).await, Err(("ErrImagePull", "no answer to PullImage")));
    lab.close().await;
}

#[tokio::test]
async fn a_log_that_is_too_long_is_put_aside() {
    let Some(lab) = Lab::with(FakeCri::new(), |it| it.log_limit_bytes = 100).await else { return };
    let pod = lab.pod("a").await;
    let id = lab.start(&pod, 0).await.unwrap();
    let log = lab.dir.path().join("data/containers/uid-a/c/0/log");
    std::fs::write(&log, format!("2026-01-01T00:00:01Z stdout F {}\n", "x".repeat(200))).unwrap();
    lab.until("a new log", |it| !it.calls(&["ReopenContainerLog"]).is_empty()).await;
    let mut stream = lab.runtime.logs(&id, Default::default()).await.unwrap();
    let first = futures::StreamExt::next(&mut stream).await.unwrap().unwrap();
    assert!(first.starts_with(b"xxx"), "what was put aside is still read");
    lab.close().await;
}

#[tokio::test]
async fn what_cannot_work_says_what_to_do() {
    let fake = FakeCri::new();
    let dir = tempfile::tempdir().unwrap();
    let connect = |change: fn(&mut CriOptions)| CriRuntime::connect(options(&dir, change));
    let said = connect(|_| {}).await.unwrap_err().to_string();
    assert!(said.contains("no container runtime listens at ") && said.contains("start it"), "{said}");
    let _serving = fake.serve(&dir.path().join("cri.sock"));
    fake.trouble("Version", Trouble::Fail(Status::unimplemented("unknown service runtime.v1.RuntimeService")));
    let said = connect(|_| {}).await.unwrap_err().to_string();
    assert!(said.contains("does not speak CRI v1") && said.contains("disabled_plugins"), "{said}");
    fake.trouble("Version", Trouble::Hang);
    let said = connect(|_| {}).await.unwrap_err().to_string();
    assert!(said.contains("ask ") && said.contains("for its version: no answer to Version"), "{said}");
    let said = connect(|it| it.request.network = PodNetwork::Cni).await.unwrap_err().to_string();
    assert!(said.contains("NetworkReady is false") && said.contains("/etc/cni/net.d/"), "{said}");
    let said = connect(|it| it.request.cgroup_root = Some("../up".into())).await.unwrap_err().to_string();
    assert!(said.contains("\"../up\" cannot be the name of a cgroup"), "{said}");
}

/// What becomes of calls, by the name of the fate.
static CALLS: Tally = Tally::new();

/// A whole life under faults at every call: whatever they are, it comes to the end that was wanted, and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_under_faults_ends_as_one_without() {
    // One is enough to say what this machine lacks.
    let Some(lab) = Lab::new().await else { return };
    lab.close().await;
    let seeds = Seeds::of("cri_protocol a_life_under_faults_ends_as_one_without");
    let (played, all) = seeds.play(48, |seed| lives(seed, faults(seed))).await;
    CALLS.close(played, &[("CRI call", &["refused", "hung", "lost", "repeated", "torn"])], all);
}

fn faults(seed: u64) -> CallFaults {
    let dice = Dice::new(seed);
    CallFaults::new(move |method| {
        let (fate, name) = match (method, dice.roll(12)) {
            // What the runtime is has been asked before anything could fail for a pod.
            ("Version" | "Status" | "RuntimeConfig", _) | (_, 5..) => return Fate::Carry,
            (_, 0) => (Fate::Refuse, "refused"),
            (_, 1) => (Fate::Hang, "hung"),
            (_, 2) => (Fate::Lose, "lost"),
            (_, 3) => (Fate::Repeat, "repeated"),
            (_, 4) => (Fate::Tear, "torn"),
        };
        CALLS.count("CRI call", name);
        fate
    })
}

async fn lives(seed: u64, faults: CallFaults) {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeCri::new();
    let _serving = fake.serve(&dir.path().join("cri.sock"));
    // What is carried out is answered within this even while many others are; what hangs is waited for as long.
    let within = Duration::from_secs(1);
    let change = |it: &mut CriOptions| {
        it.faults = faults;
        it.deadlines = Deadlines { ask: within, act: within, pull: within };
    };
    let runtime = CriRuntime::connect(options(&dir, change)).await.unwrap();
    let _root = OwnRoot::of(runtime.root_directory());
    let pod = PodRef { uid: "uid-a".into(), namespace: "default".into(), name: "a".into() };
    let config = pod_config(&pod, limits(50_000, 64));
    until_ok(seed, "recover", || runtime.recover()).await;
    until_ok(seed, "create the pod", || runtime.create_pod(&config)).await;
    let mut attempt = 0;
    let id = loop {
        // A start that failed is a run that was: the next one has another number, as with the worker.
        let config = container(&pod, attempt);
        match runtime.start_container(&config).await {
            Ok(_) => break config.id,
            Err(_) => attempt += 1,
        }
        assert!(attempt < 50, "seed {seed}: it never starts");
    };
    until_ok(seed, "grow the pod", || runtime.update_pod(&pod, &POD)).await;
    until_ok(seed, "grow the container", || runtime.update_container(&id, &CONTAINER)).await;
    assert_eq!(runtime.read_container(&id).await.unwrap(), limits(40_000, 96), "seed {seed}");
    assert_eq!(runtime.read_pod(&pod).await.unwrap(), limits(80_000, 128), "seed {seed}");
    until_ok(seed, "stop", || runtime.stop_container(&id, Duration::from_secs(1))).await;
    until_ok(seed, "remove the pod", || runtime.remove_pod(&pod)).await;
    until_ok(seed, "shut down", || runtime.shutdown()).await;
    assert_eq!(fake.counts(), (0, 0), "seed {seed}");
    assert!(!runtime.root_directory().exists(), "seed {seed}");
}

const POD: CgroupResources = CgroupResources {
    cpu_shares: Some(102),
    cpu_quota_us: Some(80_000),
    cpu_period_us: Some(100_000),
    memory_limit_bytes: Some(128 << 20),
    tiers: supple_resize::memory_qos::MemoryTiers { min_bytes: None, low_bytes: None, high_bytes: None },
};

const CONTAINER: CgroupResources =
    CgroupResources { cpu_quota_us: Some(40_000), memory_limit_bytes: Some(96 << 20), ..POD };

/// As the worker does: again until it works, but not for ever.
async fn until_ok<'a, T>(
    seed: u64,
    what: &str,
    once: impl Fn() -> futures::future::BoxFuture<'a, Result<T, RuntimeError>> + Send,
) -> T {
    let mut last = None;
    for _ in 0..50 {
        match once().await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("seed {seed}: {what} never works: {last:?}");
}
