//! The simulated runtime: the same numbers from the same seed and clock, and limits that hold.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use supple_node::runtime::simulated::{SimulatedOptions, SimulatedRuntime};
use supple_node::runtime::{ContainerConfig, ContainerRef, LogOptions, PodConfig, PodRef, Runtime, RuntimeEvent};
use supple_quantity::Bytes;
use supple_resize::kernel::CgroupResources;
use supple_resize::qos::QosClass;

const MIB: i64 = 1 << 20;

/// A runtime whose clock stands still until it is moved.
struct Lab {
    runtime: SimulatedRuntime,
    millis: Arc<AtomicI64>,
    pod: PodRef,
}

impl Lab {
    async fn new(seed: u64, pod_limit: i64) -> Self {
        let millis = Arc::new(AtomicI64::new(1_700_000_000_000));
        let read = Arc::clone(&millis);
        let clock = move || jiff::Timestamp::from_millisecond(read.load(Ordering::Relaxed)).unwrap();
        let runtime = SimulatedRuntime::new(SimulatedOptions { seed, ..SimulatedOptions::new(Arc::new(clock)) });
        let pod = PodRef { uid: "u".into(), namespace: "default".into(), name: "p".into() };
        let resources = CgroupResources { memory_limit_bytes: Some(pod_limit), ..Default::default() };
        runtime.create_pod(&PodConfig::new(pod.clone(), QosClass::Burstable, resources)).await.unwrap();
        Self { runtime, millis, pod }
    }

    async fn start(&self, name: &str, pattern: &str, resources: CgroupResources) -> ContainerRef {
        let id = ContainerRef { pod: self.pod.clone(), container: name.into(), attempt: 0 };
        let config = ContainerConfig {
            id: id.clone(),
            image: "any".into(),
            command: vec!["serve".into()],
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            resources,
            oom_score_adj: 0,
            annotations: BTreeMap::from([("supple.dev/usage-pattern".to_owned(), pattern.to_owned())]),
        };
        self.runtime.start_container(&config).await.unwrap();
        id
    }

    fn pass(&self, time: Duration) {
        self.millis.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

fn limits(quota: i64, memory: i64) -> CgroupResources {
    CgroupResources { cpu_quota_us: Some(quota), memory_limit_bytes: Some(memory), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_used_depends_on_seed_and_clock_and_not_on_who_looks() {
    let mut readings = Vec::new();
    for (seed, looks) in [(1, 1), (1, 60), (2, 1)] {
        let lab = Lab::new(seed, -1).await;
        lab.start("c", "cpu=wave(100m,900m,40s) memory=ramp(1Mi,99Mi,2m) noise=20", limits(-1, -1)).await;
        for _ in 0..looks {
            lab.pass(Duration::from_secs(60 / looks));
            lab.runtime.usage(&lab.pod).await.unwrap();
        }
        let usage = lab.runtime.usage(&lab.pod).await.unwrap();
        readings.push((usage.containers[0].cpu_usage_nanos, usage.containers[0].memory_usage));
    }
    assert_eq!(readings[0], readings[1], "looking changed it");
    assert_eq!(readings[0].1, Bytes(50 * MIB));
    assert_ne!(readings[0].0, readings[2].0, "another seed is another world");
}

#[tokio::test(start_paused = true)]
async fn cpu_above_the_quota_is_throttled() {
    let lab = Lab::new(0, -1).await;
    let id = lab.start("c", "cpu=1 memory=1Mi", limits(25_000, -1)).await;
    lab.pass(Duration::from_secs(10));
    let used = &lab.runtime.usage(&lab.pod).await.unwrap().containers[0];
    assert_eq!(used.cpu_usage_nanos, 2_500_000_000);
    assert_eq!((used.throttled_periods, used.throttled_nanos), (100, 7_500_000_000));
    assert_eq!(used.cpu_nano_cores, Some(250_000_000));
    lab.runtime.update_container(&id, &limits(100_000, -1)).await.unwrap();
    lab.pass(Duration::from_secs(10));
    let used = &lab.runtime.usage(&lab.pod).await.unwrap().containers[0];
    assert_eq!((used.cpu_usage_nanos, used.throttled_periods), (12_500_000_000, 100));
}

#[tokio::test(start_paused = true)]
async fn memory_above_a_limit_is_an_oom_kill() {
    let lab = Lab::new(0, 150 * MIB).await;
    let mut events = lab.runtime.events();
    lab.start("small", "memory=60Mi", limits(-1, -1)).await;
    let grows = lab.start("grows", "memory=ramp(0,100Mi,100s)", limits(-1, 50 * MIB)).await;
    lab.pass(Duration::from_secs(50));
    assert_eq!(lab.runtime.usage(&lab.pod).await.unwrap().memory_usage, Bytes(110 * MIB));

    // Not below what it holds; above it, and it lives on until the pod is full.
    let refused = lab.runtime.update_container(&grows, &limits(-1, 49 * MIB)).await.unwrap_err();
    assert_eq!(refused.reason, "CgroupWrite");
    lab.runtime.update_container(&grows, &limits(-1, 120 * MIB)).await.unwrap();
    lab.pass(Duration::from_secs(60));
    let Some(RuntimeEvent::Exited(id, exit)) = events.next().await else { panic!("no event") };
    assert_eq!((id, exit.code, exit.oom_killed), (grows.clone(), 137, true));
    assert_eq!(exit.finished_at.duration_since(exit.started_at), jiff::SignedDuration::from_secs(91));
    let log: Vec<_> = lab.runtime.logs(&grows, LogOptions::default()).await.unwrap().collect().await;
    let log = String::from_utf8(log.into_iter().flat_map(Result::unwrap).collect()).unwrap();
    assert_eq!(log, "simulated, nothing is executed: serve\nsimulated end with code 137, out of memory\n");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_may_end_a_container() {
    let lab = Lab::new(0, -1).await;
    let mut events = lab.runtime.events();
    lab.start("c", "exit=3@2500ms", limits(-1, -1)).await;
    lab.pass(Duration::from_secs(9));
    let Some(RuntimeEvent::Exited(_, exit)) = events.next().await else { panic!("no event") };
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (3, None, false));
    assert_eq!(exit.finished_at.duration_since(exit.started_at), jiff::SignedDuration::from_millis(2500));
}

#[tokio::test(start_paused = true)]
async fn an_annotation_that_is_no_pattern_is_named() {
    let lab = Lab::new(0, -1).await;
    let id = ContainerRef { pod: lab.pod.clone(), container: "c".into(), attempt: 0 };
    let config = ContainerConfig {
        id,
        image: "any".into(),
        command: Vec::new(),
        args: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        resources: CgroupResources::default(),
        oom_score_adj: 0,
        annotations: BTreeMap::from([("supple.dev/usage-pattern".to_owned(), "cpu=lots".to_owned())]),
    };
    let error = lab.runtime.start_container(&config).await.unwrap_err();
    assert_eq!(error.reason, "StartError");
    assert!(error.to_string().contains(r#"usage pattern "cpu=lots": "lots" is no value of "cpu""#), "{error}");
}
