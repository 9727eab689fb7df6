//! What a container suffers is noticed when the kernel tells, on the real kernel, and counted in its usage.
//!
//! Limits and throttling are version 2's in the virtual machine of `.ci/vm`; where cpu and memory are on version 1, what
//! that one can tell is tested.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use supple_node::cgroup::Hierarchies;
use supple_node::runtime::{ContainerRef, ContainerUsage, PodRef, Runtime as _, RuntimeEvent, Strain};
use supple_resize::kernel::CgroupResources;
use support::{Lab, PATIENCE, next, sh};

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
    let pressure = usage.cpu_pressure.unwrap();
    assert!(pressure.some.total >= 250_000, "it waited for half of a window: {pressure:?}");
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

/// How long after the kernel counted a breach the node told of it. Printed, not judged: `.ci/vm strain` shows it.
#[tokio::test]
async fn breaches_are_told_soon() {
    const BREACHES: usize = 40;
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
        let file = lab.file(&id, "memory.events");
        let counted = std::thread::spawn(move || {
            let end = Instant::now() + PATIENCE;
            while fs::read_to_string(&file).unwrap().lines().any(|line| line == "high 0") && Instant::now() < end {
                std::thread::yield_now();
            }
            Instant::now()
        });
        pipe.go();
        told(&mut events, &pod, Some("c"), Strain::MemoryHigh).await;
        let heard = Instant::now();
        latencies.push(heard.saturating_duration_since(counted.join().unwrap()));
        lab.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        while !matches!(next(&mut events).await, RuntimeEvent::Exited(..)) {}
        lab.runtime.remove_container(&id).await.unwrap();
    }
    print_latencies("memory.high breached to told", latencies);
}

/// How long after half of a window was lost to waiting for CPU the node told of it. Printed, not judged.
#[tokio::test]
async fn pressure_is_told_soon() {
    const STALLS: u32 = 20;
    /// Half of the half second that the trigger looks at, in microseconds.
    const LOST: u64 = 250_000;
    let Some(lab) = Lab::new() else { return };
    if !lab.is_version_2() {
        return;
    }
    let pod = lab.pod("pressed").await;
    let mut events = lab.runtime.events();
    let mut latencies = Vec::new();
    for attempt in 0..STALLS {
        let mut config = sh(&pod, "while :; do :; done");
        config.id.attempt = attempt;
        config.resources =
            CgroupResources { cpu_quota_us: Some(5000), cpu_period_us: Some(100_000), ..Default::default() };
        lab.runtime.start_container(&config).await.unwrap();
        let file = lab.file(&config.id, "cpu.pressure");
        // It waits nearly all the time, so that what it has waited for in all was within one window.
        let lost = std::thread::spawn(move || {
            let end = Instant::now() + PATIENCE;
            let total = || {
                let text = fs::read_to_string(&file).unwrap();
                supple_node::cgroup::parse::pressure(&text, "some").map_or(0, |it| it.total)
            };
            while total() < LOST && Instant::now() < end {
                // The kernel tells of no event at this amount: that is what is measured against.
                #[expect(clippy::disallowed_methods, reason = "a file is read until it says so")]
                std::thread::sleep(Duration::from_millis(1));
            }
            Instant::now()
        });
        told(&mut events, &pod, Some("c"), Strain::CpuStall).await;
        let heard = Instant::now();
        latencies.push(heard.saturating_duration_since(lost.join().unwrap()));
        lab.runtime.stop_container(&config.id, Duration::ZERO).await.unwrap();
        while !matches!(next(&mut events).await, RuntimeEvent::Exited(..)) {}
        lab.runtime.remove_container(&config.id).await.unwrap();
    }
    print_latencies("half of a window lost to waiting for CPU to told", latencies);
}

fn print_latencies(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() * percent).div_ceil(100).max(1) - 1];
    println!("{what}, {} times: p50 {:?}, p99 {:?}, worst {:?}", latencies.len(), at(50), at(99), at(100));
}

/// The writing end of the pipe that a container of [`FILLS`] reads.
struct Pipe(fs::File);

impl Pipe {
    fn go(&mut self) {
        std::io::Write::write_all(&mut self.0, b"go\n").unwrap();
    }
}

impl Lab {
    async fn filling(&self, pod: &PodRef) -> (ContainerRef, Pipe) {
        self.filling_as(pod, 0).await
    }

    async fn filling_as(&self, pod: &PodRef, attempt: u32) -> (ContainerRef, Pipe) {
        let path = self.dir.path().join(format!("{}-{attempt}", pod.uid));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let mut config = sh(pod, FILLS);
        config.env = vec![("PIPE".into(), path.display().to_string())];
        config.id.attempt = attempt;
        self.runtime.start_container(&config).await.unwrap();
        if self.is_version_2() {
            // What is too much is killed alone, and the container goes on.
            fs::write(self.file(&config.id, "memory.oom.group"), "0").unwrap();
        }
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
