//! What the node has promised and done, on disk: `allocated` and `actuated` resources per pod.

use std::path::PathBuf;

/// A checkpoint that could not be opened, read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {path}: {message}", path = path.display())]
pub struct CheckpointError {
    /// What was being done.
    pub operation: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What went wrong and what to do about it.
    pub message: String,
}
