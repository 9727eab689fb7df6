//! Two calls whose bindings ask for a promise that their callers here can always keep: the only `unsafe` of the crate.
#![allow(unsafe_code, reason = "each block's promise is kept by the type of the wrapper's argument")]

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
