//! Every write to a cgroup may be refused, hang, be carried out without saying so, or twice: a pod comes to the sizes that
//! were wanted all the same, each value is at any time the old one or the new one, and nothing is left at the end.
//!
//! A program of its own, because faults are those of the whole process. `SUPPLE_FAULT_SEEDS=2000` runs so many lives.
#![allow(clippy::unwrap_used, reason = "a lab that cannot be set up is a failed test")]

#[path = "support/seeds.rs"]
mod seeds;
mod support;
#[path = "support/tally.rs"]
mod tally;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use seeds::{Dice, Seeds};
use supple_node::cgroup::fault::{self, Fate};
use supple_node::runtime::{PodRef, Runtime as _, RuntimeError};
use supple_resize::kernel::CgroupResources;
use support::{Lab, pod_config, sh};
use tally::Tally;

/// Sizes that pods are given, from small to large.
const SIZES: [(i64, i64); 4] = [(20_000, 32), (50_000, 64), (90_000, 96), (-1, -1)];

fn size(dice: &Dice) -> CgroupResources {
    let (quota, mebibytes) = SIZES[usize::try_from(dice.roll(4)).unwrap()];
    CgroupResources {
        cpu_shares: Some([2, 102, 1024][usize::try_from(dice.roll(3)).unwrap()]),
        cpu_quota_us: Some(quota),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(if mebibytes < 0 { -1 } else { mebibytes << 20 }),
        ..CgroupResources::default()
    }
}

/// What becomes of writes, by the name of the fate.
static WRITES: Tally = Tally::new();

/// Who decides about the writes below a root, by the root's name. Where nobody does, nothing goes wrong.
static DICE: Mutex<BTreeMap<OsString, Arc<Dice>>> = Mutex::new(BTreeMap::new());

fn fate(path: &Path) -> Fate {
    let dice = DICE.lock().unwrap();
    let Some(dice) = path.components().find_map(|it| dice.get(it.as_os_str())) else { return Fate::Carry };
    let (fate, name) = match dice.roll(10) {
        0 => (Fate::Refuse, "refused"),
        1 => (Fate::Lose, "lost"),
        2 => (Fate::Repeat, "repeated"),
        3 => (Fate::Hang(Duration::from_millis(dice.roll(20))), "hung"),
        _ => return Fate::Carry,
    };
    WRITES.count("cgroup write", name);
    fate
}

// What hangs holds a thread, as it does where the kernel takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn a_life_under_faults_at_every_write_ends_as_one_without() {
    // One is enough to say what this machine lacks.
    if Lab::new().is_none() {
        return;
    }
    fault::install(fate).unwrap();
    let (played, all) = Seeds::of("cgroup_faults").play(16, faulty_life).await;
    WRITES.close(played, &[("cgroup write", &["refused", "lost", "repeated", "hung"])], all);
}

async fn faulty_life(seed: u64) {
    let lab = Lab::new().expect("there was one before");
    let root = lab.runtime.root_directory();
    let name = root.file_name().unwrap().to_owned();
    DICE.lock().unwrap().insert(name.clone(), Arc::new(Dice::new(seed)));
    life(&lab, &Dice::new(!seed), seed).await;
    DICE.lock().unwrap().remove(&name);
    assert!(!root.exists(), "seed {seed}: cgroups are left");
}

async fn life(lab: &Lab, dice: &Dice, seed: u64) {
    let runtime = &lab.runtime;
    let pod = PodRef { uid: "uid-a".into(), namespace: "default".into(), name: "a".into() };
    let first = size(dice);
    let config = pod_config(&pod, first);
    until_ok(seed, "create the pod", || runtime.create_pod(&config)).await;
    // What is there already keeps what it has; the worker writes what is missing, as it does after a start.
    until_ok(seed, "set the pod right", || runtime.update_pod(&pod, &first)).await;
    let mut attempt = 0;
    let id = loop {
        // A start that failed is a run that was: the next one has another number, as with the worker.
        let mut config = sh(&pod, "exec sleep 1000");
        config.id.attempt = attempt;
        config.resources = CgroupResources { memory_limit_bytes: Some(24 << 20), ..CgroupResources::default() };
        match runtime.start_container(&config).await {
            Ok(_) => break config.id,
            Err(_) => attempt += 1,
        }
        assert!(attempt < 50, "seed {seed}: it never starts");
    };
    for _ in 0..4 {
        let (before, wanted) = (runtime.read_pod(&pod).await.unwrap(), size(dice));
        for tries in 0.. {
            let written = runtime.update_pod(&pod, &wanted).await;
            let now = runtime.read_pod(&pod).await.unwrap();
            assert!(between(&before, &now, &wanted), "seed {seed}: {now:?} is neither {before:?} nor {wanted:?}");
            if written.is_ok() {
                break;
            }
            assert!(tries < 100, "seed {seed}: the pod never has its size: {written:?}");
        }
        let now = runtime.read_pod(&pod).await.unwrap();
        assert!(between(&wanted, &now, &wanted), "seed {seed}: {now:?} and not {wanted:?}");
    }
    let wanted = CgroupResources { cpu_quota_us: Some(20_000), cpu_period_us: Some(100_000), ..Default::default() };
    until_ok(seed, "slow the container down", || runtime.update_container(&id, &wanted)).await;
    assert_eq!(runtime.read_container(&id).await.unwrap().cpu_quota_us, Some(20_000), "seed {seed}");
    until_ok(seed, "stop the container", || runtime.stop_container(&id, Duration::ZERO)).await;
    until_ok(seed, "remove the pod", || runtime.remove_pod(&pod)).await;
    until_ok(seed, "shut down", || runtime.shutdown()).await;
}

/// Whether each value is one of the two. Shares may have been rounded by a weight.
fn between(before: &CgroupResources, now: &CgroupResources, wanted: &CgroupResources) -> bool {
    let one = |of: fn(&CgroupResources) -> Option<i64>| [of(before), of(wanted)].contains(&of(now));
    one(|it| it.cpu_quota_us) && one(|it| it.memory_limit_bytes)
}

/// As the worker does: again until it works, but not for ever.
async fn until_ok<'a, T>(seed: u64, what: &str, once: impl Fn() -> BoxFuture<'a, Result<T, RuntimeError>> + Send) -> T {
    let mut last = None;
    for _ in 0..100 {
        match once().await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("seed {seed}: {what} never works: {last:?}");
}
