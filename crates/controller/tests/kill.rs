//! A process that writes its history file is killed again and again, at any instruction: what it said is durable is there.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use supple_controller::history_file::{HistoryFile, Page};
use supple_decide::key::WorkloadKey;

/// Where the process that is to be killed writes.
const PATH: &str = "SUPPLE_TEST_HISTORY_FILE";

/// Enough for many writes to the disk each time.
const PAGES: u64 = 300;

fn pages(number: u64) -> Vec<Page> {
    let page = |index: u64| Page {
        workload: WorkloadKey { namespace: "n".into(), kind: "Deployment".into(), name: format!("w{index:03}").into() },
        container: "app".into(),
        fresh: None,
        state: number.to_le_bytes().repeat(60),
    };
    (0..PAGES).map(page).collect()
}

/// The number that the file was last written with: all of it the same.
fn number(path: &Path) -> u64 {
    let (_, found) = HistoryFile::open(path).unwrap();
    assert_eq!(found.set_aside, None);
    let number = found.pages.first().map_or(0, |it| u64::from_le_bytes(it.state[..8].try_into().unwrap()));
    assert!(found.pages.is_empty() || found.pages == pages(number), "{number}");
    number
}

/// Not a test of its own: the process that is killed. Without its place to write it has nothing to do.
#[test]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let (file, found) = HistoryFile::open(Path::new(&path)).unwrap();
    let first = found.pages.first().map_or(0, |it| u64::from_le_bytes(it.state[..8].try_into().unwrap()));
    for number in first + 1.. {
        file.save(&pages(number), Timestamp::UNIX_EPOCH).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "kept {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_it_said_is_kept_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    for life in 0..12_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = said.filter_map(|it| it.split_once("kept ")?.1.parse::<u64>().ok());
        // It goes on writing while the signal is on its way: each life ends somewhere else.
        let mut last = said.nth(life % 5).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = said.last().unwrap_or(last);
        let kept = number(&path);
        assert!(kept == last || kept == last + 1, "{kept} is kept, {last} was said");
    }
}
