//! A disk that is full stops no container and loses no exit code; what cannot start says why, and starts when there is
//! room again.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use supple_node::runtime::Runtime as _;
use support::{Lab, sh};

/// A small disk of its own, mounted below a temporary directory.
struct Disk(PathBuf);

impl Disk {
    fn at(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        match mount("none", &path, "tmpfs", MountFlags::empty(), Some(c"size=1m")) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                support::skipped(&format!("a disk cannot be mounted: {error}"));
                None
            }
        }
    }

    /// Fill it to the last byte; the answer is what to remove.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("fill");
        let mut file = File::create(&path).unwrap();
        let mut size = 64 << 10;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is left in it is of no interest, and a file may still be open for a moment.
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("the test left a mount behind: {error}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_stops_nothing_and_loses_no_exit_code() {
    let outside = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::at(outside.path().join("disk")) else { return };
    // The lab's directory is on the disk; the cgroups end with the lab, before the disk is unmounted.
    let Some(lab) = Lab::on(tempfile::tempdir_in(&disk.0).unwrap()) else { return };
    let pod = lab.pod("full").await;
    let go = |name: &str| outside.path().join(name);
    let wait = |path: &Path| format!("until [ -e {} ]; do sleep 0.01; done", path.display());
    let script = format!("echo before; {}; seq 100000; {}; echo after; exit 7", wait(&go("talk")), wait(&go("end")));
    let id = lab.sh(&pod, &script).await;
    lab.says(&id, "before").await;

    let fill = disk.fill();
    fs::write(go("talk"), "").unwrap();
    let mut second = sh(&pod, "exit 0");
    second.id.container = "second".into();
    let refused = lab.runtime.start_container(&second).await.unwrap_err();
    assert_eq!(refused.reason, "RecordFailed");
    assert!(refused.message.contains("No space left on device"), "{refused}");

    fs::write(go("end"), "").unwrap();
    let mut events = lab.runtime.events();
    let (_, exit) = support::next_end(&mut events).await;
    assert_eq!((exit.code, exit.signal), (7, None));
    assert!(lab.log(&id).await.starts_with("before\n"));

    fs::remove_file(fill).unwrap();
    lab.runtime.start_container(&second).await.unwrap();
}
