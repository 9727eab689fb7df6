//! Calls whose bindings ask for a promise that their callers here can always keep: the only `unsafe` of the crate.
#![allow(unsafe_code, reason = "each block says who keeps its promise")]

use std::io;
use std::os::fd::OwnedFd;

use rustix::thread::UnshareFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wait for `fd` on tokio's reactor: a pidfd, an eventfd, an inotify or kernel file.
///
/// # Errors
/// What the reactor says: the file cannot be waited for (a regular file), or too many are.
pub fn readiness(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and stays the same one, for as long as it is owned, which is now the `AsyncFd`'s
    // whole life; nothing here takes it out again while it is registered.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Which namespaces to leave; not the table of open files, whose splitting is what makes the call unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Children live in a PID namespace of their own.
    Pid,
    /// This process gets its own mounts and its own host name.
    MountAndUts,
}

/// Leave the machine's namespaces.
///
/// # Errors
/// What the kernel says: EPERM without CAP_SYS_ADMIN.
pub fn unshare(namespaces: Namespaces) -> rustix::io::Result<()> {
    let flags = match namespaces {
        Namespaces::Pid => UnshareFlags::NEWPID,
        Namespaces::MountAndUts => UnshareFlags::NEWNS | UnshareFlags::NEWUTS,
    };
    // SAFETY: the promise is about CLONE_FILES alone (descriptors seen by threads of another table), and no value of
    // `Namespaces` has it.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Close every file that this process was started with, but for standard input, output and error: what the program's
/// own parent left open (a terminal, a build's pipe) is nothing a container may see, nor a helper keep open for days.
///
/// Only for the first moment of a process that has opened nothing itself; that is why it is called in one place, the
/// helper's `main`. Best effort: without `/proc` everything stays open, as it would without this.
pub fn close_inherited() {
    let Ok(listing) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The listing's own is among them, and closed by now.
    let still_open = |fd: &i32| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok();
    for fd in open.into_iter().filter(|fd| *fd > 2).filter(still_open) {
        // SAFETY: nothing in this process owns a descriptor above 2 yet, and no other thread could open one now.
        unsafe { rustix::io::close(fd) };
    }
}
