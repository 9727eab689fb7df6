//! A program that was killed left its containers running: the next one finds them as they are, and their exact ends.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use supple_node::cgroup::{Group, Role};
use supple_node::runtime::process::ProcessRuntime;
use supple_node::runtime::{ContainerRef, FoundPod, PodRef, RunState, Runtime as _};
use supple_resize::kernel::CgroupResources;
use support::{Lab, next_end, pod_config, sh};

/// Set for the program that is to be killed: its data directory.
const PREDECESSOR: &str = "SUPPLE_TEST_PREDECESSOR";

fn pod() -> PodRef {
    PodRef { uid: "uid-1".into(), namespace: "default".into(), name: "survivor".into() }
}

fn container(name: &str, attempt: u32) -> ContainerRef {
    ContainerRef { pod: pod(), container: name.into(), attempt }
}

/// Not a test by itself: what the tests below start as another program and kill. It runs these containers and says
/// so: one that goes on, one that ends with code 7 when the file `end` appears, one that has ended.
#[test]
fn predecessor() {
    let Some(dir) = std::env::var_os(PREDECESSOR) else { return };
    let dir = std::path::PathBuf::from(dir);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let runtime = ProcessRuntime::new(support::options(dir.clone())).unwrap();
        let values = CgroupResources { memory_limit_bytes: Some(64 << 20), ..Default::default() };
        runtime.create_pod(&pod_config(&pod(), values)).await.unwrap();
        let wait = format!("until [ -e {}/end ]; do sleep 0.01; done; exit 7", dir.display());
        for (id, script) in [
            (container("on", 0), "exit 1"),
            (container("on", 1), "echo begun; exec sleep 1000"),
            (container("ends", 0), &wait),
            (container("over", 0), "exit 3"),
        ] {
            let mut config = sh(&pod(), script);
            config.id = id;
            runtime.start_container(&config).await.unwrap();
        }
        let mut events = runtime.events();
        for _ in 0..2 {
            next_end(&mut events).await;
        }
        println!("\nready");
        std::future::pending::<()>().await;
    });
}

/// Like [`predecessor`]: starts containers one after the other, to be killed at any moment of it.
#[test]
fn busy_predecessor() {
    let Some(dir) = std::env::var_os(PREDECESSOR) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let runtime = ProcessRuntime::new(support::options(dir.into())).unwrap();
        runtime.create_pod(&pod_config(&pod(), CgroupResources::default())).await.unwrap();
        println!("\nready");
        for attempt in 0.. {
            let mut config = sh(&pod(), "exec sleep 1000");
            config.id = container("c", attempt);
            runtime.start_container(&config).await.unwrap();
            runtime.stop_container(&config.id, Duration::ZERO).await.unwrap();
        }
    });
}

/// Run the predecessor in `dir` until it is ready.
fn predecessor_in(dir: &Path, which: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", which, "--nocapture"]).env(PREDECESSOR, dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the predecessor failed");
    child
}

fn by_name(found: &[FoundPod]) -> BTreeMap<(&str, u32), &RunState> {
    assert_eq!(found.iter().map(|it| &it.pod).collect::<Vec<_>>(), [&pod()]);
    found[0].containers.iter().map(|(id, state)| ((id.container.as_str(), id.attempt), state)).collect()
}

/// A lab whose predecessor has been killed; the lab's runtime has not recovered yet.
fn lab_after_kill(meanwhile: impl FnOnce(&Path)) -> Option<Lab> {
    let dir = tempfile::tempdir().unwrap();
    // Where no cgroups can be written the predecessor could not run either.
    let lab = Lab::on(dir)?;
    let mut child = predecessor_in(lab.dir.path(), "predecessor");
    child.kill().unwrap();
    child.wait().unwrap();
    meanwhile(lab.dir.path());
    Some(lab)
}

#[tokio::test]
async fn what_runs_is_adopted_and_its_end_is_exact() {
    let Some(lab) = lab_after_kill(|_| {}) else { return };
    let mut events = lab.runtime.events();
    let found = lab.runtime.recover().await.unwrap();
    let states = by_name(&found);
    assert_eq!(states.keys().copied().collect::<Vec<_>>(), [("ends", 0), ("on", 1), ("over", 0)]);
    assert!(matches!(states[&("over", 0)], RunState::Exited(exit) if exit.code == 3));
    let RunState::Running { started_at, pid: Some(_) } = states[&("on", 1)] else { panic!("{states:?}") };

    std::fs::write(lab.dir.path().join("end"), "").unwrap();
    let (id, exit) = next_end(&mut events).await;
    assert_eq!((id, exit.code, exit.signal), (container("ends", 0), 7, None));

    // It is resized, read, stopped and measured like one of our own.
    let on = container("on", 1);
    lab.says(&on, "begun").await;
    let values = CgroupResources { memory_limit_bytes: Some(32 << 20), ..Default::default() };
    lab.runtime.update_container(&on, &values).await.unwrap();
    assert_eq!(lab.runtime.read_container(&on).await.unwrap().memory_limit_bytes, Some(32 << 20));
    assert_eq!(lab.runtime.usage(&pod()).await.unwrap().containers.len(), 1);
    let exit = lab.runtime.stop_container(&on, Duration::ZERO).await.unwrap();
    assert_eq!((exit.code, exit.started_at), (137, *started_at));
    lab.runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_end_while_nobody_was_there_is_exact_too() {
    let Some(lab) = lab_after_kill(|dir| {
        std::fs::write(dir.join("end"), "").unwrap();
        let exit = dir.join("containers/uid-1/ends/0/exit.json");
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while !exit.exists() {
            assert!(std::time::Instant::now() < deadline, "the shim recorded no end");
            std::thread::yield_now();
        }
    }) else {
        return;
    };
    let found = lab.runtime.recover().await.unwrap();
    assert!(matches!(by_name(&found)[&("ends", 0)], RunState::Exited(exit) if exit.code == 7));
}

#[tokio::test]
async fn killed_at_any_moment_of_a_start_it_leaves_nothing_unknown() {
    for moment in 0..12_u64 {
        let Some(lab) = Lab::new() else { return };
        let (root, mut child) = (lab.root().unwrap(), predecessor_in(lab.dir.path(), "busy_predecessor"));
        // Not an event but a moment is wanted: somewhere in the second or third start, another one in each round.
        tokio::time::sleep(Duration::from_micros(700 * moment)).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let found = lab.runtime.recover().await.unwrap();
        let known: Vec<Group> = found
            .iter()
            .flat_map(|it| &it.containers)
            .map(|(id, _)| root.child("poduid-1", Role::Pod).child(&format!("c-{}", id.attempt), Role::Container))
            .collect();
        let inside: Vec<u32> = known.iter().flat_map(|it| it.processes().unwrap()).collect();
        assert_eq!(root.processes().unwrap().into_iter().collect::<Vec<_>>(), inside, "at {moment}");
        // And it can go on from there.
        let attempt = found.iter().flat_map(|it| &it.containers).map(|(id, _)| id.attempt + 1).max().unwrap_or(0);
        let mut config = sh(&pod(), "exit 0");
        config.id = container("c", attempt);
        lab.runtime.create_pod(&pod_config(&pod(), CgroupResources::default())).await.unwrap();
        lab.runtime.start_container(&config).await.unwrap();
        lab.runtime.shutdown().await.unwrap();
        assert!(!root.exists(), "at {moment}");
    }
}

#[tokio::test]
async fn a_pod_whose_cgroup_is_not_there_gets_one_before_its_containers_are_started() {
    let Some(lab) = Lab::new() else { return };
    let root = lab.root().unwrap();
    // Killed between the record of the pod and its cgroup; or the machine was restarted.
    let dir = lab.dir.path().join("containers/uid-1");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("pod.json"), r#"{"namespace": "default", "name": "survivor"}"#).unwrap();
    let found = lab.runtime.recover().await.unwrap();
    assert!(by_name(&found).is_empty());
    // It is known to stand, so that nobody makes it again: it is read, and set right.
    assert!(lab.runtime.read_pod(&pod()).await.unwrap().memory_limit_bytes.is_none_or(|it| it < 0), "it is unlimited");
    let values = CgroupResources { memory_limit_bytes: Some(64 << 20), ..Default::default() };
    lab.runtime.update_pod(&pod(), &values).await.unwrap();
    let mut config = sh(&pod(), "echo begun; exec sleep 1000");
    config.id = container("c", 0);
    lab.runtime.start_container(&config).await.unwrap();
    lab.says(&config.id, "begun").await;
    assert_eq!(lab.runtime.read_pod(&pod()).await.unwrap().memory_limit_bytes, Some(64 << 20));
    lab.runtime.shutdown().await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_with_the_program_counts_as_killed() {
    let Some(lab) = lab_after_kill(|dir| {
        let state = std::fs::read_to_string(dir.join("containers/uid-1/on/1/state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let shim = state["shim"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap();
        let shim = rustix::process::Pid::from_raw(shim).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    }) else {
        return;
    };
    let mut events = lab.runtime.events();
    let found = lab.runtime.recover().await.unwrap();
    // Either it was dead already, or its death is noticed now.
    let exit = match by_name(&found)[&("on", 1)] {
        RunState::Exited(exit) => exit.clone(),
        RunState::Running { .. } => loop {
            let (id, exit) = next_end(&mut events).await;
            if id == container("on", 1) {
                break exit;
            }
        },
    };
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let group = lab.root().unwrap().child("poduid-1", Role::Pod).child("on-1", Role::Container);
    assert!(group.processes().unwrap().is_empty() && !group.exists());
}

#[tokio::test]
async fn cgroups_that_no_record_knows_are_removed() {
    let Some(lab) = lab_after_kill(|_| {}) else { return };
    let root = lab.root().unwrap();
    let orphans: Vec<Group> = vec![
        root.child("poduid-gone", Role::Pod),
        root.child("poduid-gone", Role::Pod).child("c-0", Role::Container),
        root.child("poduid-1", Role::Pod).child("on-7", Role::Container),
    ];
    for group in &orphans {
        group.create().unwrap();
    }
    // With something inside.
    let mut inside = Command::new("sleep").arg("1000").spawn().unwrap();
    for file in orphans[1].procs_files() {
        std::fs::write(file, inside.id().to_string()).unwrap();
    }
    std::fs::create_dir_all(lab.dir.path().join("containers/uid-half")).unwrap();

    let found = lab.runtime.recover().await.unwrap();
    assert_eq!(by_name(&found).len(), 3);
    assert!(orphans.iter().all(|it| !it.exists()));
    assert!(!inside.wait().unwrap().success());
    assert!(!lab.dir.path().join("containers/uid-half").exists());
}

#[tokio::test]
async fn a_removed_data_directory_ends_what_nobody_could_adopt_any_more() {
    let Some(lab) = lab_after_kill(|_| {}) else { return };
    let root = lab.root().unwrap();
    assert!(!root.processes().unwrap().is_empty());
    std::fs::remove_dir_all(lab.dir.path()).unwrap();
    let gone = async {
        while root.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, gone).await.expect("the shims end them");
}

#[tokio::test]
async fn records_that_cannot_be_read_stop_nothing() {
    let Some(lab) = lab_after_kill(|dir| {
        std::fs::write(dir.join("containers/uid-1/over/0/exit.json"), "{").unwrap();
        std::fs::write(dir.join("containers/uid-1/ends/0/spec.json"), "\0").unwrap();
        std::fs::create_dir_all(dir.join("containers/uid-2")).unwrap();
        std::fs::write(dir.join("containers/uid-2/pod.json"), "[]").unwrap();
    }) else {
        return;
    };
    let found = lab.runtime.recover().await.unwrap();
    let states = by_name(&found);
    assert_eq!(states.keys().copied().collect::<Vec<_>>(), [("on", 1), ("over", 0)]);
    assert!(matches!(states[&("over", 0)], RunState::Exited(exit) if exit.code == 137));
    // What runs without a spec that can be read is nobody's: it has been ended.
    let group = lab.root().unwrap().child("poduid-1", Role::Pod).child("ends-0", Role::Container);
    assert!(!group.exists());
}
