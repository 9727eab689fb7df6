//! What can go wrong with a cgroup: always with the path, the value and what the kernel said.

use std::io;
use std::path::{Path, PathBuf};

use super::file::File;

/// A cgroup could not be found, made, read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Nothing usable is mounted.
    #[error("no cgroup hierarchy has both cpu and memory: {0}")]
    NoHierarchy(String),
    /// A cgroup could not be made.
    #[error("create cgroup {}: {source}", path.display())]
    Create {
        /// Its directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file was read, and what it holds is not what the kernel documents.
    #[error("read {}: {content:?} is not {expected}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What it held, cut short.
        content: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A value could not be written.
    #[error("write {value:?} to {}: {source}{}", path.display(), hint(path, source))]
    Write {
        /// Which file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A cgroup could not be removed.
    #[error("remove cgroup {}: {source}", path.display())]
    Remove {
        /// Its directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::NoHierarchy(_) | Self::Malformed { .. } => None,
            Self::Create { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Remove { source, .. } => source.raw_os_error(),
        }
    }

    /// Whether the cgroup is not there (any more).
    pub fn is_gone(&self) -> bool {
        let gone = [rustix::io::Errno::NOENT.raw_os_error(), rustix::io::Errno::NODEV.raw_os_error()];
        self.errno().is_some_and(|errno| gone.contains(&errno))
    }
}

/// What the number means for this cgroup file; the system's own text ("Device or resource busy") does not say.
fn hint(path: &Path, error: &io::Error) -> &'static str {
    let is = |file: File| path.file_name() == file.of(Path::new("")).file_name();
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::BUSY) if is(File::SUBTREE_CONTROL) => {
            "; processes are in this cgroup itself, and only a cgroup without any may hand controllers on: \
             run this program in a child of it, or from the root cgroup"
        }
        Some(rustix::io::Errno::BUSY) => "; more than that is in use and could not be reclaimed",
        Some(rustix::io::Errno::INVAL) => {
            "; the kernel takes no such value here (a child may not have more CPU quota than its parent)"
        }
        _ => "",
    }
}
