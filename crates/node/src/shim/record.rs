//! What runtime and shim tell each other through files: the spec going in, the state and the end coming out.
//!
//! Every file is replaced as a whole (written beside, then renamed), so a reader sees an old one or a new one, never a
//! half. They are read again after a crash or an upgrade: fields may be added, never change their meaning.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::cgroup::Group;

/// `spec.json`: everything the shim needs to run one container once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `spec.containers[].name`.
    pub container: String,
    /// Which run of it.
    pub attempt: u32,
    /// Image as written in the pod's spec, for messages.
    pub image: String,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where the command starts; the root directory if absent.
    pub working_dir: Option<String>,
    /// Host name inside: the pod's name.
    pub hostname: String,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: i32,
    /// The container's cgroup; it exists.
    pub group: Group,
    /// Whether to give it its own PID, mount and UTS namespaces.
    pub isolate: bool,
    /// Size at which the log is rotated, bytes.
    pub log_limit_bytes: u64,
}

/// `state.json`: who is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The shim.
    pub shim: ProcessId,
    /// The container's first process, once its command has been executed.
    pub container: Option<Started>,
}

/// A process, named for good: PIDs are given out again, a PID together with its start is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// On the machine (the shim's PID namespace).
    pub pid: u32,
    /// Clock ticks since boot, from `/proc/PID/stat`; 0 where that cannot be read.
    pub start_ticks: u64,
}

impl ProcessId {
    /// Name the process that has this PID now.
    pub fn of(pid: u32) -> Self {
        Self { pid, start_ticks: start_ticks(pid).unwrap_or(0) }
    }

    /// Whether the process that has the PID now is still this one (it may have ended and await its parent).
    pub fn is_still_there(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }
}

fn start_ticks(pid: u32) -> Option<u64> {
    crate::cgroup::parse::start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// When and as what a container's command began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Its first process.
    pub process: ProcessId,
    /// When the command was executed.
    pub at: jiff::Timestamp,
}

/// `exit.json`: how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Exit code; 128+n for signal n; 128 where it could not be started.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Kills by the OOM killer in its cgroup, in all.
    pub oom_kills: u64,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub finished_at: jiff::Timestamp,
    /// Why it could not be started.
    pub failed: Option<Failure>,
}

/// A container's command could not be executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Failure {
    /// Whether the container itself asks for something that is not there (command, directory), as opposed to the
    /// machine failing it.
    pub by_container: bool,
    /// What failed, in the words of OCI runtimes where they have some.
    pub message: String,
}

/// The directory of one run, and the files in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run whose files are in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// [`Spec`].
    pub fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    /// [`State`].
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// [`End`].
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// Locked (`flock`) by the shim for as long as it lives, and by the kernel's care not a moment longer.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What the container wrote.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The file before the newest [`RunDir::log`].
    pub fn older_log(&self) -> PathBuf {
        self.0.join("log.1")
    }
}

/// Read a record; `None` where there is none.
///
/// # Errors
/// Any other reason it cannot be read, and content that is not such a record (kind `InvalidData`).
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replace a record as a whole.
///
/// Not flushed to the disk: it has to outlive this process, not the machine, because no process outlives the machine.
///
/// # Errors
/// What the system says.
pub fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(&beside, path)
}

/// Room for an [`End`], its messages included.
const RESERVED: usize = 4096;

/// Take the room on the disk that [`write_reserved`] will need: a disk that fills up while a container runs must not
/// cost the knowledge of how it ended.
///
/// # Errors
/// What the system says: the disk is full now.
pub fn reserve(path: &Path) -> io::Result<()> {
    fs::write(path.with_extension("new"), [b' '; RESERVED])
}

/// Like [`write()`], into the room that [`reserve`] took. Blanks after a record are no part of it.
///
/// # Errors
/// What the system says.
pub fn write_reserved<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut text = serde_json::to_vec(record)?;
    if text.len() > RESERVED {
        return write(path, record);
    }
    text.resize(RESERVED, b' ');
    // In place: truncating would give the room back.
    match fs::OpenOptions::new().write(true).open(&beside) {
        Ok(mut file) => file.write_all(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return write(path, record),
        Err(error) => return Err(error),
    }
    fs::rename(&beside, path)
}
