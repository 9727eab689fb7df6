//! What the process runtime costs on this machine: a start, a cgroup write, a usage reading. `cargo bench -p supple-node
//! --bench process`; prints that it was skipped where cgroups cannot be written.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up measures nothing")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use divan::Bencher;
use supple_node::runtime::process::{ProcessOptions, ProcessRuntime};
use supple_node::runtime::{ContainerConfig, ContainerRef, PodConfig, PodRef, Runtime as _};
use supple_resize::kernel::CgroupResources;
use supple_resize::qos::QosClass;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// One running container in a pod of its own; everything is gone at the end.
struct Lab {
    _dir: tempfile::TempDir,
    tokio: Runtime,
    runtime: ProcessRuntime,
    pod: PodRef,
}

impl Lab {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ProcessOptions::new(dir.path());
        options.shim = vec![env!("CARGO_BIN_EXE_supple-shim").into()];
        let runtime = match ProcessRuntime::new(options) {
            Ok(runtime) => runtime,
            Err(error) => {
                println!("skipped: processes cannot be run here: {error}");
                return None;
            }
        };
        let pod = PodRef { uid: "bench".into(), namespace: "default".into(), name: "bench".into() };
        let lab = Self { _dir: dir, tokio: Runtime::new().unwrap(), runtime, pod };
        lab.tokio
            .block_on(lab.runtime.create_pod(&PodConfig::new(
                lab.pod.clone(),
                QosClass::Burstable,
                CgroupResources::default(),
            )))
            .unwrap();
        lab.start("measured", 0);
        Some(lab)
    }

    fn start(&self, name: &str, attempt: u32) -> ContainerRef {
        let id = ContainerRef { pod: self.pod.clone(), container: name.into(), attempt };
        let config = ContainerConfig {
            id: id.clone(),
            image: "none".into(),
            command: vec!["sleep".into(), "infinity".into()],
            args: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            resources: CgroupResources {
                cpu_shares: Some(102),
                memory_limit_bytes: Some(1 << 30),
                ..Default::default()
            },
            oom_score_adj: 1000,
            annotations: BTreeMap::new(),
        };
        self.tokio.block_on(self.runtime.start_container(&config)).unwrap();
        id
    }

    fn measured(&self) -> ContainerRef {
        ContainerRef { pod: self.pod.clone(), container: "measured".into(), attempt: 0 }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tokio.block_on(self.runtime.shutdown()).unwrap();
    }
}

/// From the call to "the command has been executed".
#[divan::bench(sample_count = 50)]
fn start_container(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let attempt = AtomicU32::new(0);
    bencher.bench_local(|| lab.start("c", attempt.fetch_add(1, Ordering::Relaxed)));
}

/// SIGKILL to "its end is known and its cgroup gone".
#[divan::bench(sample_count = 50)]
fn kill_container(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let attempt = AtomicU32::new(0);
    bencher
        .with_inputs(|| lab.start("c", attempt.fetch_add(1, Ordering::Relaxed)))
        .bench_local_values(|id| lab.tokio.block_on(lab.runtime.stop_container(&id, Duration::ZERO)).unwrap());
}

#[divan::bench]
fn write_cpu_quota(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let (id, mut quota) = (lab.measured(), 10_000);
    bencher.bench_local(|| {
        quota = 10_000 + (quota + 1) % 90_000;
        let values = CgroupResources { cpu_quota_us: Some(quota), ..Default::default() };
        lab.tokio.block_on(lab.runtime.update_container(&id, &values)).unwrap();
    });
}

#[divan::bench]
fn write_memory_limit(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let (id, mut limit) = (lab.measured(), 0);
    bencher.bench_local(|| {
        limit = (limit + 4096) % (1 << 30);
        let values = CgroupResources { memory_limit_bytes: Some((64 << 20) + limit), ..Default::default() };
        lab.tokio.block_on(lab.runtime.update_container(&id, &values)).unwrap();
    });
}

/// All values of one cgroup at once, as a start writes them.
#[divan::bench]
fn write_all_values(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let id = lab.measured();
    let values = CgroupResources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(1 << 30),
        ..CgroupResources::default()
    };
    bencher.bench_local(|| lab.tokio.block_on(lab.runtime.update_container(&id, &values)).unwrap());
}

#[divan::bench]
fn read_values(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    let id = lab.measured();
    bencher.bench_local(|| lab.tokio.block_on(lab.runtime.read_container(&id)).unwrap());
}

/// Usage of a pod of one container.
#[divan::bench]
fn usage_of_a_pod(bencher: Bencher<'_, '_>) {
    let Some(lab) = Lab::new() else { return };
    bencher.bench_local(|| lab.tokio.block_on(lab.runtime.usage(&lab.pod)).unwrap());
}
