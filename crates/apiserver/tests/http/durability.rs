//! kill -9 at every durable step: what was acknowledged is there after the next start, whole; what was not is there whole
//! or not at all; and revisions go on where they were.
//!
//! The process that is killed is this test binary, run again with the variables below.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use supple_apiserver::{ApiServer, CrashPoints, Options, Storage};

use crate::harness::{Harness, MERGE};

const MAPS: &str = "/api/v1/namespaces/n/configmaps";
const FULL: &str = "SUPPLE_TEST_FULL_DISK";
const STORE: &str = "SUPPLE_TEST_STORE";
const POINT: &str = "SUPPLE_TEST_CRASH_POINT";
const PASSES: &str = "SUPPLE_TEST_CRASH_PASSES";

fn durable(path: &Path, crash_points: CrashPoints) -> Options {
    Options { storage: Storage::Durable(path.to_owned()), crash_points, ..Options::in_memory() }
}

/// What the killed process does: writes, and says of each write that it was acknowledged. Only acts in a child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let point = std::env::var(POINT).unwrap();
    let passes: u32 = std::env::var(PASSES).unwrap().parse().unwrap();
    let passed = AtomicU32::new(0);
    let crash_points = CrashPoints::new(move |name| {
        if name == point && passed.fetch_add(1, Ordering::SeqCst) + 1 == passes {
            // SIGKILL, as the kernel's OOM killer or a person would: no destructor, no flush.
            Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
            loop {
                std::thread::park();
            }
        }
    });
    let it = Harness::with(durable(path.as_ref(), crash_points)).await;
    // Two writers, so that commits carry more than one transaction.
    let writers = ["a", "b"].map(|writer| {
        let it = it.clone();
        tokio::spawn(async move {
            let path = format!("{MAPS}/{writer}");
            let created = it.post(MAPS, json!({"metadata": {"name": writer}, "data": {"n": "0"}})).await.expect(201);
            println!("ACK {writer} 0 {}", created["metadata"]["resourceVersion"].as_str().unwrap());
            for n in 1..40 {
                let data = json!({"data": {"n": n.to_string(), "copy": n.to_string()}});
                let written = it.patch(&path, MERGE, data).await.expect(200);
                println!("ACK {writer} {n} {}", written["metadata"]["resourceVersion"].as_str().unwrap());
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    println!("DONE");
}

/// Runs the child until it is killed at the nth pass of a point, then looks at what it left.
async fn check(point: &str, passes: u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut process = start(&path, point, passes);
    let lines: Vec<String> = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    let status = process.wait().unwrap();
    let about = format!("killed at pass {passes} of {point}");
    let done = lines.iter().any(|line| line == "DONE");
    assert!(!status.success() && !done, "{about}: it was not killed\n{}", lines.join("\n"));
    compare(&path, &lines, &about).await;
}

fn start(path: &Path, point: &str, passes: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::child", "--nocapture"])
        .env(STORE, path)
        .env(POINT, point)
        .env(PASSES, passes.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What was acknowledged in `lines` against what the file holds.
async fn compare(path: &Path, lines: &[String], about: &str) {
    let mut acknowledged = std::collections::BTreeMap::new();
    let mut newest = 0;
    for line in lines {
        // The test harness may print its own words before ours on the same line.
        let Some((_, rest)) = line.split_once("ACK ") else { continue };
        let [writer, n, revision] = rest.split(' ').collect::<Vec<_>>().try_into().unwrap();
        acknowledged.insert(writer.to_owned(), n.parse::<u32>().unwrap());
        newest = newest.max(revision.parse::<u64>().unwrap());
    }
    let it = Harness::with(durable(path, CrashPoints::none())).await;
    for (writer, n) in &acknowledged {
        let stored = it.get(&format!("{MAPS}/{writer}")).await.expect(200);
        let found: u32 = stored["data"]["n"].as_str().unwrap().parse().unwrap();
        assert!(found == *n || found == n + 1, "{about}: {writer} was acknowledged at {n} and is at {found}");
        if found > 0 {
            assert_eq!(stored["data"]["n"], stored["data"]["copy"], "{about}: half a write");
        }
    }
    let next = it.post(MAPS, json!({"metadata": {"generateName": "after-"}})).await.expect(201);
    let next: u64 = next["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(next > newest, "{about}: revision {next} comes after {newest}");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_at_any_step() {
    for point in ["store-before-commit", "store-after-commit", "store-published"] {
        for passes in [1, 2, 3, 7, 20] {
            check(point, passes).await;
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_wherever_the_kill_falls() {
    for acknowledged in [1, 2, 9, 23, 40, 61] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        let mut process = start(&path, "", 0);
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut lines = Vec::new();
        while lines.len() < acknowledged {
            lines.extend(output.by_ref().find(|line| line.contains("ACK ")));
        }
        // In the middle of whatever it is doing now.
        process.kill().unwrap();
        lines.extend(output);
        process.wait().unwrap();
        compare(&path, &lines, &format!("killed after {acknowledged} acknowledgements")).await;
    }
}

/// What a process does whose disk fills up: says what became of each write. Only acts in a child.
#[tokio::test]
async fn child_with_a_full_disk() {
    let Some(path) = std::env::var_os(FULL) else { return };
    let it = Harness::with(durable(path.as_ref(), CrashPoints::none())).await;
    let big = |index: usize| json!({"metadata": {"name": format!("m{index}")}, "data": {"x": "y".repeat(100 << 10)}});
    let mut written = 0;
    let refused = loop {
        let reply = it.post(MAPS, big(written)).await;
        if reply.code != 201 {
            break reply;
        }
        written += 1;
    };
    println!("REFUSED after {written}: {} {}", refused.code, refused.message());
    // What was there is there, and revisions move on once there is room again.
    let listed = it.get(MAPS).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(written));
    assert_ne!(it.post(MAPS, big(written)).await.code, 201);
    let room = ["--fsize=unlimited", "--pid"];
    assert!(Command::new("prlimit").args(room).arg(std::process::id().to_string()).status().unwrap().success());
    it.post(MAPS, big(written)).await.expect(201);
    let listed = it.get(MAPS).await.expect(200);
    println!("RECOVERED with {}", listed["items"].as_array().unwrap().len());
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    // The kernel refuses to make a file longer than this; it is the same to the store as a full disk.
    let script = "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" --exact durability::child_with_a_full_disk --nocapture";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FULL, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let number = |after: &str| -> usize {
        let rest = said.split_once(after).unwrap_or_else(|| panic!("{said}")).1;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    let written = number("REFUSED after ");
    assert!(said.contains(": 500 Internal error occurred: the write was not taken: write "), "{said}");
    assert_eq!(number("RECOVERED with "), written + 1);
    let it = Harness::with(durable(&path, CrashPoints::none())).await;
    assert_eq!(it.get(MAPS).await.expect(200)["items"].as_array().map(Vec::len), Some(written + 1));
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    {
        let it = Harness::with(durable(&path, CrashPoints::none())).await;
        for index in 0..20 {
            it.post(MAPS, json!({"metadata": {"name": format!("m{index}")}, "data": {"n": "x".repeat(500)}}))
                .await
                .expect(201);
        }
    }
    let sound = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for step in 0..120 {
        let mut damaged = sound.clone();
        let at = step * damaged.len() / 120 + 17;
        damaged[at] ^= 0xff;
        std::fs::write(&path, &damaged).unwrap();
        match ApiServer::open(durable(&path, CrashPoints::none())) {
            // The byte was in no page that is in use, or could be made good.
            Ok(server) => drop(server),
            Err(error) => {
                assert!(error.to_string().contains("store.redb"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "some of the bytes must have mattered");
    std::fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    assert!(ApiServer::open(durable(&path, CrashPoints::none())).is_err(), "half a file");
}

#[tokio::test]
async fn a_store_is_opened_again_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let (before, list) = {
        let it = Harness::with(durable(&path, CrashPoints::none())).await;
        for index in 0..50 {
            it.post(
                MAPS,
                json!({"metadata": {"name": format!("m{index}"), "labels": {"odd": (index % 2).to_string()}}}),
            )
            .await
            .expect(201);
        }
        it.delete(&format!("{MAPS}/m7")).await.expect(200);
        (it.server.revision(), it.get(MAPS).await.text)
    };
    let it = Harness::with(durable(&path, CrashPoints::none())).await;
    assert_eq!(it.server.revision(), before);
    assert_eq!(it.get(MAPS).await.text, list);
    let odd = it.get(&format!("{MAPS}?labelSelector=odd%3D1")).await.expect(200);
    assert_eq!(odd["items"].as_array().map(Vec::len), Some(24));
    // History does not outlive the process: a watch from before is told to list again, one from the end goes on.
    let reply = it.get(&format!("{MAPS}?watch=1&resourceVersion={}&timeoutSeconds=1", before - 1)).await;
    assert_eq!(reply.body["object"]["code"], 410, "{}", reply.text);
}

#[tokio::test]
async fn a_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, "this is not a database, but it is long enough to be looked at").unwrap();
    let error = ApiServer::open(durable(&path, CrashPoints::none())).err().unwrap().to_string();
    assert!(error.contains("store.redb"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let _first = ApiServer::open(durable(&path, CrashPoints::none())).unwrap();
    let error = ApiServer::open(durable(&path, CrashPoints::none())).err().unwrap().to_string();
    assert!(error.contains("another process has it open"), "{error}");
}
