//! What the kernel rings when something happens in a cgroup, awaited on the program's one reactor: no thread, no polling.
//!
//! ```text
//!                    memory at its limits              waiting for memory          waiting for CPU
//!   version 2        memory.events                     memory.pressure, a trigger  cpu.pressure, a trigger
//!   hybrid           memory.oom_control, an eventfd    as version 2, in its v2 side
//!   version 1        memory.oom_control, an eventfd    memory.pressure_level       not told
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Strain;
use crate::cgroup::file::{self, File as Name};
use crate::cgroup::{CgroupError, Group};
use crate::kernel::readiness;

/// A trigger: told when tasks waited for `stall` out of `window`, both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    stall: u64,
    window: u64,
}

impl Trigger {
    /// The kernel looks ten times a window and wants it to be at least half a second: so it tells within 50 ms.
    const SHORTEST_WINDOW: u64 = 500_000;
    /// How late it tells with that.
    #[cfg(test)]
    pub const LATEST: std::time::Duration = std::time::Duration::from_micros(Self::SHORTEST_WINDOW / 10);
    /// Without CAP_SYS_RESOURCE windows are multiples of two seconds (from Linux 6.5 on; before, there are none).
    const UNPRIVILEGED_WINDOW: u64 = 2_000_000;

    /// From which part of the time on a wait is a strain. Waiting for memory is never normal: a tenth of the time is a
    /// tenth of the work lost. Waiting for CPU is, on a machine that is well used: half of the time.
    fn of(strain: Strain, window: u64) -> Self {
        let part = if strain == Strain::CpuStall { 2 } else { 10 };
        Self { stall: window / part, window }
    }

    /// As the kernel wants it, with the zero byte that its parser looks for.
    fn text(self) -> String {
        format!("some {} {}\0", self.stall, self.window)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Bell {
    fd: AsyncFd<OwnedFd>,
    interest: Interest,
}

impl Bell {
    /// Rings when something happens at the memory limits of the group.
    ///
    /// # Errors
    /// The file cannot be opened or registered.
    pub fn memory(group: &Group) -> Result<Self, CgroupError> {
        let (dir, name) = group.oom_file();
        let file = open(dir, name, false)?;
        if name == Name::OOM_CONTROL { Self::eventfd(dir, name, &file, "") } else { Self::file(dir, name, file) }
    }

    /// Rings when a limit of the group itself, not one inside it, is met. `None` where the kernel does not say (version
    /// 1, and version 2 before Linux 5.2).
    ///
    /// # Errors
    /// The file cannot be opened or registered.
    pub fn own_memory(group: &Group) -> Result<Option<Self>, CgroupError> {
        let Some(dir) = group.version_2() else { return Ok(None) };
        match open(dir, Name::MEMORY_EVENTS_LOCAL, false) {
            Ok(file) => Self::file(dir, Name::MEMORY_EVENTS_LOCAL, file).map(Some),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Rings while tasks of the group wait for too long. `None` where the kernel does not tell or we may not ask.
    ///
    /// # Errors
    /// The file is there and cannot be opened or registered.
    pub fn stall(group: &Group, strain: Strain) -> Result<Option<Self>, CgroupError> {
        let name = if strain == Strain::CpuStall { Name::CPU_PRESSURE } else { Name::MEMORY_PRESSURE };
        if let Some(dir) = group.pressure_directory() {
            for window in [Trigger::SHORTEST_WINDOW, Trigger::UNPRIVILEGED_WINDOW] {
                match Self::trigger(dir, name, Trigger::of(strain, window)) {
                    Ok(bell) => return Ok(Some(bell)),
                    Err(error) if error.is_gone() || is_refusal(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        match group.version_1_memory() {
            Some(dir) if strain == Strain::MemoryStall => Self::level(dir).map(Some),
            _ => Ok(None),
        }
    }

    /// A pressure file with a trigger: it lasts as long as the descriptor it was written to.
    fn trigger(dir: &Path, name: Name, trigger: Trigger) -> Result<Self, CgroupError> {
        let file = open(dir, name, true)?;
        let text = trigger.text();
        rustix::io::write(&file, text.as_bytes()).map_err(|errno| CgroupError::Write {
            path: name.of(dir),
            value: text.trim_end_matches('\0').to_owned(),
            source: errno.into(),
        })?;
        Self::file(dir, name, file)
    }

    /// Version 1's own notion of pressure: reclaim makes "medium" progress.
    fn level(dir: &Path) -> Result<Self, CgroupError> {
        let file = open(dir, Name::PRESSURE_LEVEL, false)?;
        Self::eventfd(dir, Name::PRESSURE_LEVEL, &file, " medium")
    }

    /// A file that is itself awaited: it becomes "urgent".
    fn file(dir: &Path, name: Name, file: File) -> Result<Self, CgroupError> {
        let interest = Interest::PRIORITY;
        let fd = readiness(file.into(), interest).map_err(|source| CgroupError::Read { path: name.of(dir), source })?;
        Ok(Self { fd, interest })
    }

    /// Version 1: an eventfd that is registered for a file. The file need not stay open: the registration lasts as long
    /// as the eventfd.
    fn eventfd(dir: &Path, name: Name, file: &File, argument: &str) -> Result<Self, CgroupError> {
        let failed = |source: io::Error| CgroupError::Read { path: name.of(dir), source };
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|it| failed(it.into()))?;
        file::write(dir, Name::EVENT_CONTROL, format!("{} {}{argument}", event.as_raw_fd(), file.as_raw_fd()))?;
        let interest = Interest::READABLE;
        Ok(Self { fd: readiness(event, interest).map_err(failed)?, interest })
    }

    /// Return when it has rung, however often, since the last time.
    ///
    /// # Errors
    /// The reactor has ended.
    pub async fn rung(&mut self) -> io::Result<()> {
        let mut ready = self.fd.ready(self.interest).await?;
        // An eventfd is taken back to zero by reading it; how often it was raised does not matter. The files of
        // version 2 tell of each change once, read or not.
        if self.interest == Interest::READABLE {
            let _ = rustix::io::read(self.fd.get_ref(), &mut [0_u8; 8]);
        }
        ready.clear_ready();
        Ok(())
    }
}

fn open(dir: &Path, name: Name, write: bool) -> Result<File, CgroupError> {
    let path = name.of(dir);
    OpenOptions::new().read(true).write(write).open(&path).map_err(|source| CgroupError::Read { path, source })
}

/// Pressure is switched off, or such a window takes a capability.
fn is_refusal(error: &CgroupError) -> bool {
    let refusals = [Errno::OPNOTSUPP, Errno::INVAL, Errno::PERM, Errno::ACCESS];
    refusals.iter().any(|it| error.errno() == Some(it.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(strain: Strain, window: u64, expect: &str) {
        assert_eq!(Trigger::of(strain, window).text(), expect);
    }

    #[test]
    fn triggers_are_in_the_kernels_words() {
        check(Strain::MemoryStall, Trigger::SHORTEST_WINDOW, "some 50000 500000\0");
        check(Strain::CpuStall, Trigger::SHORTEST_WINDOW, "some 250000 500000\0");
        check(Strain::MemoryStall, Trigger::UNPRIVILEGED_WINDOW, "some 200000 2000000\0");
    }
}
