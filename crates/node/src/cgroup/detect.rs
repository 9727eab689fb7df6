//! Where the cgroup hierarchies are: the mount table in, typed hierarchies out.

use std::path::PathBuf;

/// Where to look for the mount table and this process's own cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// A file in the format of `/proc/self/mountinfo`.
    pub mountinfo: PathBuf,
    /// A file in the format of `/proc/self/cgroup`.
    pub own: PathBuf,
}

impl Mounts {
    /// `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn of_this_machine() -> Self {
        Self { mountinfo: "/proc/self/mountinfo".into(), own: "/proc/self/cgroup".into() }
    }
}
