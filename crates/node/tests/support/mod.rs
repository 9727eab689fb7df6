//! A process runtime on this machine's real cgroups, below a root of its own that is gone afterwards, come what may.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a lab that cannot be set up is a failed test")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use supple_node::cgroup::{Group, Hierarchies, Mounts};
use supple_node::runtime::process::{ProcessOptions, ProcessRuntime};
use supple_node::runtime::{ContainerConfig, ContainerRef, Exit, LogOptions, PodConfig, PodRef, Runtime, RuntimeEvent};
use supple_resize::kernel::CgroupResources;
use supple_resize::qos::QosClass;

/// Longer than anything here takes, on an emulated processor too; a test that waits as long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Options for this test binary's shim in `dir`.
pub fn options(dir: PathBuf) -> ProcessOptions {
    let mut options = ProcessOptions::new(dir);
    options.shim = vec![env!("CARGO_BIN_EXE_supple-shim").into()];
    options.usage_window = Duration::from_secs(1);
    options
}

/// Say that a test could not be run, or fail if it had to.
#[track_caller]
pub fn skipped(why: &str) {
    assert!(std::env::var_os("SUPPLE_REQUIRE_ALL").is_none(), "must not be skipped: {why}");
    println!("skipped: {why}");
}

/// A runtime in a temporary data directory.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub runtime: Arc<ProcessRuntime>,
}

impl Lab {
    /// `None` (after saying so) where this machine has no cgroups to write.
    pub fn new() -> Option<Self> {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ProcessOptions)) -> Option<Self> {
        Self::on_with(tempfile::tempdir().unwrap(), change)
    }

    /// In a data directory that may have been used before.
    pub fn on(dir: tempfile::TempDir) -> Option<Self> {
        Self::on_with(dir, |_| {})
    }

    fn on_with(dir: tempfile::TempDir, change: impl FnOnce(&mut ProcessOptions)) -> Option<Self> {
        let mut options = options(dir.path().to_owned());
        change(&mut options);
        match ProcessRuntime::new(options) {
            Ok(runtime) => Some(Self { dir, runtime: Arc::new(runtime) }),
            Err(error) => {
                skipped(&format!("cannot run processes here: {error}"));
                None
            }
        }
    }

    /// Our own root, also after the runtime is gone.
    pub fn root(&self) -> Option<Group> {
        let name = std::fs::read_to_string(self.dir.path().join("cgroup")).ok()?;
        Some(Group::root(&Hierarchies::detect(&Mounts::of_this_machine()).ok()?, &name))
    }

    /// What this machine has.
    pub fn hierarchies(&self) -> Hierarchies {
        Hierarchies::detect(&Mounts::of_this_machine()).unwrap()
    }

    pub async fn pod(&self, name: &str) -> PodRef {
        let pod = PodRef { uid: format!("uid-{name}"), namespace: "default".into(), name: name.into() };
        let resources = CgroupResources { cpu_shares: Some(2), ..Default::default() };
        self.runtime.create_pod(&pod_config(&pod, resources)).await.unwrap();
        pod
    }

    /// Start `sh -c script` as the container `c`.
    pub async fn sh(&self, pod: &PodRef, script: &str) -> ContainerRef {
        let config = sh(pod, script);
        self.runtime.start_container(&config).await.unwrap();
        config.id
    }

    /// Run `sh -c script` to its end.
    pub async fn run(&self, script: &str) -> (Exit, String) {
        let pod = self.pod("run").await;
        let id = self.sh(&pod, script).await;
        let exit = self.end_of(&id).await;
        (exit, self.log(&id).await)
    }

    /// Wait for the end of a container.
    pub async fn end_of(&self, id: &ContainerRef) -> Exit {
        // Stopping with a grace that is never used is waiting.
        let mut events = self.runtime.events();
        loop {
            match next(&mut events).await {
                RuntimeEvent::Exited(ended, exit) if ended == *id => return exit,
                _ => {}
            }
        }
    }

    pub async fn log(&self, id: &ContainerRef) -> String {
        let mut stream = self.runtime.logs(id, LogOptions::default()).await.unwrap();
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    /// Wait until the container has written `line`.
    pub async fn says(&self, id: &ContainerRef, line: &str) {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = self.runtime.logs(id, options).await.unwrap();
        let mut text = String::new();
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(chunk) = stream.next().await {
                text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
                if text.lines().any(|it| it == line) {
                    return;
                }
            }
            panic!("the container ended and said only {text:?}");
        });
        assert!(found.await.is_ok(), "waited for {line:?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(root) = self.root()
            && let Err(error) = root.end()
        {
            eprintln!("the test left a cgroup behind: {error}");
        }
    }
}

/// The root cgroup of a CRI runtime, gone from every hierarchy when the test is over, come what may.
#[derive(Debug)]
pub struct OwnRoot(std::ffi::OsString);

impl OwnRoot {
    /// The one whose directory this is in one of them.
    pub fn of(directory: PathBuf) -> Self {
        Self(directory.file_name().unwrap().to_owned())
    }
}

impl Drop for OwnRoot {
    fn drop(&mut self) {
        for point in supple_node::cgroup::mounted(&Mounts::of_this_machine()).unwrap_or_default() {
            if let Err(error) = supple_node::cgroup::remove_tree(&point.join(&self.0)) {
                eprintln!("the test left a cgroup behind: {error}");
            }
        }
    }
}

/// A pod without labels, of the class most have.
pub fn pod_config(pod: &PodRef, resources: CgroupResources) -> PodConfig {
    PodConfig::new(pod.clone(), QosClass::Burstable, resources)
}

/// The container `c` of `pod`, running `sh -c script`.
pub fn sh(pod: &PodRef, script: &str) -> ContainerConfig {
    ContainerConfig {
        id: ContainerRef { pod: pod.clone(), container: "c".into(), attempt: 0 },
        image: "busybox:1.35".into(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        args: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        resources: CgroupResources::default(),
        oom_score_adj: 500,
        annotations: BTreeMap::new(),
    }
}

pub async fn next(events: &mut BoxStream<'static, RuntimeEvent>) -> RuntimeEvent {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event comes").expect("events go on")
}

/// The next event, which is the end of a container. On a busy machine one that is quite innocent waits for CPU, and that is
/// told, too.
pub async fn next_end(events: &mut BoxStream<'static, RuntimeEvent>) -> (ContainerRef, Exit) {
    loop {
        match next(events).await {
            RuntimeEvent::Exited(id, exit) => return (id, exit),
            RuntimeEvent::Strained { .. } => {}
            other @ RuntimeEvent::OomKill(_) => panic!("{other:?}"),
        }
    }
}
