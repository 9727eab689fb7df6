//! OOM kills in a container that goes on running: the kernel tells, the counter proves.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error;
use super::machine::Machine;
use super::run::Run;
use crate::cgroup::file::{self, File as Name};
use crate::cgroup::{CgroupError, Group};
use crate::kernel::readiness;
use crate::runtime::RuntimeEvent;

/// Version 1 tells *before* it kills, and tells of kills in the whole pod: the counter is looked at again after these
/// pauses. Together they are longer than a kill takes; a later one is seen at the next notice or at the end.
const LOOKS: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
];
/// If the killed process was the container's first one, its end is told instead, within this time.
const END_OF_CONTAINER: Duration = Duration::from_millis(300);

/// Tell of every kill after the first `seen` ones that the container survives. Runs until it is aborted or the cgroup
/// is gone.
pub async fn watch(machine: Arc<Machine>, run: Arc<Run>, seen: u64) {
    if let Err(it) = follow(&machine, &run, seen).await
        && !it.is_gone()
    {
        tracing::warn!(container = %error::describe(&run.id), error = %it, "OOM kills in a running container will be noticed only at its end");
    }
}

async fn follow(machine: &Machine, run: &Run, mut seen: u64) -> Result<(), CgroupError> {
    let mut notices = Notices::of(&run.group)?;
    // What was killed before the notices were asked for is found by the counter.
    let mut now = run.group.oom_kills()?;
    loop {
        if now > seen {
            seen = now;
            if tokio::time::timeout(END_OF_CONTAINER, run.ended()).await.is_err() {
                machine.tell(RuntimeEvent::OomKill(run.id.clone()));
            }
        }
        notices.next().await?;
        let mut pauses = LOOKS.into_iter();
        now = loop {
            let now = run.group.oom_kills()?;
            match pauses.next() {
                Some(pause) if now == seen => tokio::time::sleep(pause).await,
                _ => break now,
            }
        };
    }
}

/// Where the kernel tells that the OOM killer was at work.
struct Notices {
    fd: AsyncFd<OwnedFd>,
    interest: Interest,
}

impl Notices {
    /// v1: an eventfd registered for `memory.oom_control`. v2: `memory.events` itself, by poll.
    fn of(group: &Group) -> Result<Self, CgroupError> {
        let (dir, name) = group.oom_file();
        let failed = |source: io::Error| CgroupError::Read { path: name.of(dir), source };
        let file = File::open(name.of(dir)).map_err(failed)?;
        if name == Name::MEMORY_EVENTS {
            let fd = readiness(file.into(), Interest::PRIORITY).map_err(failed)?;
            return Ok(Self { fd, interest: Interest::PRIORITY });
        }
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|it| failed(it.into()))?;
        file::write(dir, Name::EVENT_CONTROL, format!("{} {}", event.as_raw_fd(), file.as_raw_fd()))?;
        let fd = readiness(event, Interest::READABLE).map_err(failed)?;
        // The counter's file need not stay open: the registration lasts as long as the eventfd.
        Ok(Self { fd, interest: Interest::READABLE })
    }

    async fn next(&mut self) -> Result<(), CgroupError> {
        let failed = |source: io::Error| CgroupError::Read { path: "notices of OOM kills".into(), source };
        let mut ready = self.fd.ready(self.interest).await.map_err(failed)?;
        // An eventfd is taken back to zero by reading it; how often it was raised does not matter. The files of v2
        // tell of each change once, read or not.
        if self.interest == Interest::READABLE {
            let _ = rustix::io::read(self.fd.get_ref(), &mut [0_u8; 8]);
        }
        ready.clear_ready();
        Ok(())
    }
}
