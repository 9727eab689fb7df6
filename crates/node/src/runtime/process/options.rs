//! What the process runtime is built from: plain data, and why it could not be built.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::{CgroupError, Mounts};
use crate::runtime::Images;

/// Everything the process runtime is built from. [`ProcessOptions::new`] fills in what a plain machine needs.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// Where run records and logs are kept; a runtime built later on the same directory adopts what is still running.
    pub data_dir: PathBuf,
    /// Where the kernel's cgroup hierarchies are; [`Mounts::of_this_machine`] unless a test says otherwise.
    pub mounts: Mounts,
    /// Program and first arguments that reach [`crate::shim::main`].
    pub shim: Vec<OsString>,
    /// What is run in place of an image's own entry point when a container has no `command`.
    pub stand_in: Vec<String>,
    /// Which images count as present.
    pub images: Images,
    /// Over how long CPU use is averaged.
    pub usage_window: Duration,
    /// A log file is rotated when it reaches this size, one older file is kept; so a container's log takes at most
    /// twice as much, in bytes.
    pub log_limit_bytes: u64,
}

impl ProcessOptions {
    /// The usual: this machine's cgroups, this very program as shim (`supple shim`), `sleep infinity` as stand-in,
    /// every image present, CPU over 10 s, logs up to 2 × 10 MiB.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            mounts: Mounts::of_this_machine(),
            // Not `current_exe()`: this link still leads to the running program after an upgrade replaced its file.
            shim: vec!["/proc/self/exe".into(), "shim".into()],
            stand_in: vec!["sleep".into(), "infinity".into()],
            images: Images::Any,
            usage_window: Duration::from_secs(10),
            log_limit_bytes: 10 << 20,
        }
    }
}

/// Why processes cannot be run in cgroups here.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// No usable cgroup hierarchy, or none that may be written.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The data directory cannot be used.
    #[error("{operation} {}: {source}", path.display())]
    DataDir {
        /// What was being done.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
