//! The end of a cgroup: everything inside is killed, then the directories go. Blocking; callers put it on a thread.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use supple_resize::kernel;

use super::file::{self, File};
use super::group::subdirectories;
use super::{CgroupError, Group, Hierarchies, V1, parse};

/// How long to wait for one round of killed processes before looking again: new ones may have been forked meanwhile.
const ROUND: Duration = Duration::from_millis(50);
/// How long to try. A process that outlives this is stuck in the kernel (a dead network file system).
const PATIENCE: Duration = Duration::from_secs(20);

impl Group {
    /// Processes inside, descendants included.
    ///
    /// # Errors
    /// [`CgroupError::Read`]; a group that is not there is empty.
    pub fn processes(&self) -> Result<BTreeSet<u32>, CgroupError> {
        let mut found = BTreeSet::new();
        for dir in self.directories() {
            collect(dir, &mut found)?;
        }
        Ok(found)
    }

    /// Kill everything inside and return when nothing is left there.
    ///
    /// Where the kernel has `cgroup.kill` (v2, and hybrid machines through their v2 side) nothing escapes by forking.
    /// Elsewhere the list is killed again and again until it is empty, and while it is read and worked through the group
    /// gets next to no CPU, so that who forks and exits faster than one can look does not get away. (A container with its
    /// own PID namespace ends as a whole with its first process anyway.)
    ///
    /// # Errors
    /// [`CgroupError::Read`], or [`CgroupError::Remove`] with ETIMEDOUT where a process cannot be killed.
    pub fn kill(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Absent before Linux 5.14, or gone with the group: the list below does the work.
            let killed = self.killable().is_some_and(|dir| file::write(dir, File::KILL, 1).is_ok());
            if !killed {
                self.hold_still(true);
            }
            let inside = self.processes()?;
            let dying: Vec<OwnedFd> = inside.iter().copied().filter_map(kill_one).collect();
            if !killed {
                // Dying takes CPU too.
                self.hold_still(false);
            }
            if inside.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.stuck());
            }
            wait_for_any(&dying);
        }
    }

    /// Kill everything inside, then remove it with its descendants; nothing if it is gone already.
    ///
    /// # Errors
    /// As [`Group::kill`], and [`CgroupError::Remove`].
    pub fn end(&self) -> Result<(), CgroupError> {
        self.kill()?;
        self.directories().into_iter().try_for_each(remove_tree)
    }

    /// Take its CPU away, or give it all back. Best effort: nobody measures a group that ends.
    fn hold_still(&self, still: bool) {
        if let Hierarchies::V1(V1 { cpu, .. }) = &self.at {
            let _ = file::write(cpu, File::CPU_QUOTA, if still { kernel::MIN_QUOTA_US } else { kernel::UNLIMITED });
        }
    }

    fn killable(&self) -> Option<&Path> {
        match &self.at {
            Hierarchies::V1(V1 { unified, .. }) => unified.as_deref(),
            Hierarchies::V2(dir) => Some(dir),
        }
    }

    fn stuck(&self) -> CgroupError {
        CgroupError::Remove {
            path: self.memory_directory().to_owned(),
            source: io::Error::from_raw_os_error(Errno::TIMEDOUT.raw_os_error()),
        }
    }
}

fn collect(dir: &Path, found: &mut BTreeSet<u32>) -> Result<(), CgroupError> {
    match file::read(dir, File::PROCS) {
        Ok(text) => found.extend(parse::pids(&text)),
        Err(error) if error.is_gone() => return Ok(()),
        Err(error) => return Err(error),
    }
    subdirectories(dir)?.iter().try_for_each(|child| collect(child, found))
}

/// Kill one process and return what tells of its end; `None` if it is gone already.
fn kill_one(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    pidfd_send_signal(&pidfd, Signal::KILL).ok()?;
    Some(pidfd)
}

/// Return when one of them has ended, or after a round.
fn wait_for_any(dying: &[OwnedFd]) {
    let mut polled: Vec<PollFd<'_>> = dying.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let round = Timespec { tv_sec: 0, tv_nsec: i64::from(ROUND.subsec_nanos()) };
    // An interrupted wait is a short round.
    let _ = poll(&mut polled, Some(&round));
}

/// Remove the cgroup at `dir`, its descendants first, in this one hierarchy; nothing if it is gone already. Blocking: a
/// directory is busy for a moment after its last process has ended.
///
/// # Errors
/// [`CgroupError::Remove`] where a process is inside, [`CgroupError::Read`].
pub fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    for child in subdirectories(dir)? {
        remove_tree(&child)?;
    }
    // For each of its own: to remove hundreds takes a busy kernel longer than one may be waited for.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) && Instant::now() < deadline => {
                let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
            }
            Err(source) => return Err(CgroupError::Remove { path: dir.to_owned(), source }),
        }
    }
}
