//! What a container suffers is noticed when the kernel tells, on the real kernel, and counted in its usage.
//!
//! Limits and throttling are version 2's in the virtual machine of `.ci/vm`; where cpu and memory are on version 1, what
//! that one can tell is tested.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

#[path = "support/soon.rs"]
mod soon;
mod support;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use soon::{print_latencies, rung};
use supple_node::cgroup::Hierarchies;
use supple_node::runtime::{ContainerRef, ContainerUsage, PodRef, Runtime as _, RuntimeEvent, Strain};
use supple_resize::kernel::CgroupResources;
use support::{Lab, PATIENCE, next, next_end, sh};

/// Fills 32 MiB each time it is told to, and gives it back.
const FILLS: &str = "while read go; do dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null; done < $PIPE";

impl Lab {
    async fn usage_of(&self, pod: &PodRef) -> ContainerUsage {
        self.runtime.usage(pod).await.unwrap().containers.pop().unwrap()
    }

    fn is_version_2(&self) -> bool {
        matches!(self.hierarchies(), Hierarchies::V2(_))
    }

    fn file(&self, id: &ContainerRef, name: &str) -> PathBuf {
        let container = format!("pod{}/{}-{}", id.pod.uid, id.container, id.attempt);
        self.runtime.root_directory().join(container).join(name)
    }
}

/// Wait until this strain of a container of the pod (or of the pod itself) has been told.
async fn told(events: &mut BoxStream<'static, RuntimeEvent>, pod: &PodRef, of: Option<&str>, strain: Strain) {
    loop {
        match next(events).await {
            RuntimeEvent::Strained { pod: told, container, strain: what } if what == strain && told == *pod => {
                assert_eq!(container.as_deref(), of);
                return;
            }
            RuntimeEvent::Exited(id, exit) => panic!("{id:?} has ended: {exit:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn waiting_for_cpu_is_told() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("busy").await;
    let mut config = sh(&pod, "while :; do :; done");
    config.resources = CgroupResources { cpu_quota_us: Some(5000), cpu_period_us: Some(100_000), ..Default::default() };
    lab.runtime.start_container(&config).await.unwrap();
    told(&mut lab.runtime.events(), &pod, Some("c"), Strain::CpuStall).await;
    let usage = lab.usage_of(&pod).await;
    assert!(usage.strains[&Strain::CpuStall].times >= 1, "{usage:?}");
    // From now on it waits no more: what it has waited for it had waited for when that was told. The kernel sums for its
    // triggers on its own, and the sum that is read follows.
    let unlimited = CgroupResources { cpu_quota_us: Some(-1), ..CgroupResources::default() };
    lab.runtime.update_container(&config.id, &unlimited).await.unwrap();
    let waited = async {
        while lab.usage_of(&pod).await.cpu_pressure.unwrap().some.total < 250_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.expect("it waited for half of a window");
    assert!(usage.cpu_periods >= usage.throttled_periods && usage.throttled_periods >= 2, "{usage:?}");
}

#[tokio::test]
async fn an_idle_container_suffers_nothing() {
    let Some(lab) = Lab::new() else { return };
    let pod = lab.pod("idle").await;
    let id = lab.sh(&pod, "echo up; sleep 1000").await;
    lab.says(&id, "up").await;
    let other = lab.sh_named(&pod, "other", "exit 3").await;
    assert_eq!(lab.end_of(&other).await.code, 3);
    assert_eq!(lab.usage_of(&pod).await.strains, Default::default());
}

#[tokio::test]
async fn going_over_memory_high_is_told() {
    let Some(lab) = Lab::new() else { return };
    if !lab.is_version_2() {
        return; // there is no such limit on version 1
    }
    let pod = lab.pod("high").await;
    let (id, mut pipe) = lab.filling(&pod).await;
    fs::write(lab.file(&id, "memory.high"), "8388608").unwrap();
    let mut events = lab.runtime.events();
    pipe.go();
    told(&mut events, &pod, Some("c"), Strain::MemoryHigh).await;
    told(&mut events, &pod, Some("c"), Strain::MemoryStall).await;
    let usage = lab.usage_of(&pod).await;
    assert!(usage.memory_high_hits >= 1 && usage.strains.contains_key(&Strain::MemoryHigh), "{usage:?}");
    assert!(usage.memory_pressure.unwrap().some.total > 0, "being held back is waiting for memory: {usage:?}");
}

#[tokio::test]
async fn meeting_a_limit_is_told_of_whose_it_is() {
    let Some(lab) = Lab::new() else { return };
    if !lab.is_version_2() {
        return; // version 1 counts it (`memory_max_hits`) and does not tell
    }
    let mut events = lab.runtime.events();
    let limit = CgroupResources { memory_limit_bytes: Some(16 << 20), ..Default::default() };
    let pod = lab.pod("max").await;
    let (id, mut pipe) = lab.filling(&pod).await;
    lab.runtime.update_container(&id, &limit).await.unwrap();
    pipe.go();
    told(&mut events, &pod, Some("c"), Strain::MemoryMax).await;
    let usage = lab.runtime.usage(&pod).await.unwrap();
    assert_eq!(usage.strains, Default::default(), "the pod has no limit: {usage:?}");
    assert!(usage.containers[0].memory_max_hits >= 1, "{usage:?}");

    let pod = lab.pod("max-of-pod").await;
    let (_, mut pipe) = lab.filling(&pod).await;
    lab.runtime.update_pod(&pod, &limit).await.unwrap();
    pipe.go();
    told(&mut events, &pod, None, Strain::MemoryMax).await;
    let usage = lab.runtime.usage(&pod).await.unwrap();
    assert!(usage.strains[&Strain::MemoryMax].times >= 1, "{usage:?}");
}

/// How long after the kernel rang for a breach the node told of it. Printed, not judged: `.ci/vm strain` shows it.
#[tokio::test]
async fn breaches_are_told_soon() {
    const BREACHES: usize = 50;
    let Some(lab) = Lab::new() else { return };
    if !lab.is_version_2() {
        return;
    }
    let pod = lab.pod("soon").await;
    let mut events = lab.runtime.events();
    let mut latencies = Vec::new();
    for attempt in 0..BREACHES {
        let (id, mut pipe) = lab.filling_as(&pod, u32::try_from(attempt).unwrap()).await;
        fs::write(lab.file(&id, "memory.high"), "8388608").unwrap();
        let rung = rung(&lab.file(&id, "memory.events"), None);
        pipe.go();
        told(&mut events, &pod, Some("c"), Strain::MemoryHigh).await;
        let heard = Instant::now();
        latencies.push(heard.saturating_duration_since(rung.join().unwrap()));
        lab.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        next_end(&mut events).await;
        lab.runtime.remove_container(&id).await.unwrap();
    }
    print_latencies("memory.high breached and the kernel rings, to told", latencies);
}

/// How long after half of a window was lost to waiting for CPU the kernel rang, and how long after that the node told of
/// it. Printed, not judged.
#[tokio::test]
async fn pressure_is_told_soon() {
    const STALLS: u32 = 20;
    /// Half of the half second that the trigger looks at, in microseconds.
    const LOST: u64 = 250_000;
    let Some(lab) = Lab::new() else { return };
    // Where cgroups are on version 1 tests rarely have CAP_SYS_RESOURCE, without which windows are two seconds long.
    if !lab.is_version_2() {
        return;
    }
    let pod = lab.pod("pressed").await;
    let mut events = lab.runtime.events();
    let (mut until_rung, mut until_told) = (Vec::new(), Vec::new());
    for attempt in 0..STALLS {
        let (id, mut pipe) = lab.piped(&pod, attempt, "echo up; read go < $PIPE; while :; do :; done").await;
        let file = lab.file(&id, "cpu.pressure");
        lab.says(&id, "up").await;
        let limit =
            CgroupResources { cpu_quota_us: Some(5000), cpu_period_us: Some(100_000), ..CgroupResources::default() };
        lab.runtime.update_container(&id, &limit).await.unwrap();
        // On a machine that is busy it has waited already while it started, and is told of again only after a while.
        if lab.usage_of(&pod).await.strains.is_empty() {
            let rung = rung(&file, Some("some 250000 500000\0"));
            let total = move || {
                let text = fs::read_to_string(&file).unwrap();
                supple_node::cgroup::parse::pressure(&text, "some").map_or(0, |it| it.total)
            };
            let before = total();
            // From now on it waits nearly all the time, so that what it waits for in all is within one window.
            let lost = std::thread::spawn(move || {
                let end = Instant::now() + PATIENCE;
                while total() < before + LOST && Instant::now() < end {
                    // The kernel tells of no event at this amount: that is what is measured against.
                    #[expect(clippy::disallowed_methods, reason = "a file is read until it says so")]
                    std::thread::sleep(Duration::from_millis(1));
                }
                Instant::now()
            });
            pipe.go();
            told(&mut events, &pod, Some("c"), Strain::CpuStall).await;
            let heard = Instant::now();
            let rung = rung.join().unwrap();
            until_rung.push(rung.saturating_duration_since(lost.join().unwrap()));
            until_told.push(heard.saturating_duration_since(rung));
        }
        lab.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        next_end(&mut events).await;
        lab.runtime.remove_container(&id).await.unwrap();
    }
    print_latencies("half of a window lost to waiting for CPU, to the kernel rings", until_rung);
    print_latencies("the kernel rings for waiting, to told", until_told);
}

/// The writing end of the pipe that a container of [`FILLS`] reads.
struct Pipe(fs::File);

impl Pipe {
    fn go(&mut self) {
        self.0.write_all(b"go\n").unwrap();
    }
}

impl Lab {
    async fn filling(&self, pod: &PodRef) -> (ContainerRef, Pipe) {
        self.filling_as(pod, 0).await
    }

    async fn filling_as(&self, pod: &PodRef, attempt: u32) -> (ContainerRef, Pipe) {
        let (id, pipe) = self.piped(pod, attempt, FILLS).await;
        if self.is_version_2() {
            // What is too much is killed alone, and the container goes on.
            fs::write(self.file(&id, "memory.oom.group"), "0").unwrap();
        }
        (id, pipe)
    }

    /// A container whose script has the path of a pipe in `PIPE`.
    async fn piped(&self, pod: &PodRef, attempt: u32, script: &str) -> (ContainerRef, Pipe) {
        let path = self.dir.path().join(format!("{}-{attempt}", pod.uid));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let mut config = sh(pod, script);
        config.env = vec![("PIPE".into(), path.display().to_string())];
        config.id.attempt = attempt;
        self.runtime.start_container(&config).await.unwrap();
        // Opened for both, so that it does not wait for the other end.
        let pipe = fs::File::options().read(true).write(true).open(&path).unwrap();
        (config.id, Pipe(pipe))
    }

    async fn sh_named(&self, pod: &PodRef, name: &str, script: &str) -> ContainerRef {
        let mut config = sh(pod, script);
        config.id.container = name.into();
        self.runtime.start_container(&config).await.unwrap();
        config.id
    }
}
