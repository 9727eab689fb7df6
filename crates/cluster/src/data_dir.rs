//! The directory everything durable lives in, and the lock that makes sure one process at a time has it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Names below the directory.
const LOCK: &str = "lock";
const STORE: &str = "store.redb";
const TOKEN: &str = "token";
const KUBECONFIG: &str = "kubeconfig";
const NODE: &str = "node";
const TLS: &str = "tls";

/// An open data directory; it stays ours until this is dropped or the process ends, however it ends.
///
/// `flock` and not the PID in the file decides who owns it: a lock of the kernel cannot survive its owner, a PID can be
/// somebody else's by now. The PID is only there to be read by people.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "data directory {} is in use by process {pid}: stop that process first, or choose another directory with \
         --data-dir",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it; `unknown` where the owner has not written its number yet.
        pid: String,
    },
    /// The file system refused.
    #[error("cannot {operation} {}: {source}; choose a writable directory with --data-dir", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// Open `path`, made with mode 0700 if absent, and lock it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] with the owner's PID when another process has it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create data directory", path))?;
        let path = std::path::absolute(path).map_err(failed("find data directory", path))?;
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false) // the owner's PID is in there until we are the owner
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The number is a courtesy; without it the refusal still stands.
                let _ = lock.read_to_string(&mut pid);
                let pid = match pid.trim() {
                    "" => "unknown".to_owned(),
                    pid => pid.to_owned(),
                };
                return Err(DataDirError::InUse { path, pid });
            }
            Err(errno) => return Err(failed("lock", &lock_path)(errno.into())),
        }
        let write_pid = |lock: &mut File| -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write_pid(&mut lock).map_err(failed("write", &lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The API server's objects.
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// The kubeconfig for stock kubectl.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_in(&self.path)
    }

    /// The bearer token.
    pub fn token(&self) -> PathBuf {
        self.path.join(TOKEN)
    }

    /// The node's checkpoints, run records and logs.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn node(&self) -> Result<PathBuf, DataDirError> {
        self.below(NODE)
    }

    /// The server's certificate authority.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn tls(&self) -> Result<PathBuf, DataDirError> {
        self.below(TLS)
    }

    fn below(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let path = self.path.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create directory", &path))?;
        Ok(path)
    }
}

/// Where a cluster with this data directory writes its kubeconfig.
pub fn kubeconfig_in(data_dir: &Path) -> PathBuf {
    data_dir.join(KUBECONFIG)
}

/// Write a file only its owner may read, so that it is there whole or not at all.
///
/// # Errors
/// [`DataDirError::Io`] naming the file.
pub fn write_private(path: &Path, text: &str) -> Result<(), DataDirError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(failed("write", path))
}

/// For `map_err`: which operation on which path failed.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn an_unusable_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err().to_string();
        assert!(error.contains("cannot create data directory") && error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn private_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "old").unwrap();
        write_private(&path, "new").unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o600));
    }
}
