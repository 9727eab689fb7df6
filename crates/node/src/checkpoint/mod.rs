//! What the node has promised and done, on disk: per pod the resources it *allocated* and those it last *actuated*.
//!
//! The two records are all a restarted node needs: `allocated` is what a pod runs with whatever its spec says by now,
//! and where `actuated` differs from it a resize was interrupted and goes on.
//!
//! ```text
//!   workers ── Change ──▶ writer thread ── one commit for everything that waits ──▶ Backing (redb file | memory)
//!      ▲                        │
//!      └──── oneshot result ◀───┘
//! ```

mod file;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use supple_resize::actuate::Actuated;
use supple_resize::allocate::Allocation;
use supple_resize::condition::ResizeConditions;

pub(crate) use writer::{Checkpoints, Pending};

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

/// What the node promised a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Allocated {
    /// The resources.
    pub(crate) allocation: Arc<Allocation>,
    /// What was pending and in progress, so that generation and age survive a restart.
    #[serde(default)]
    pub(crate) conditions: ResizeConditions,
}

/// Both records of one pod, as read at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Records {
    /// The last promise.
    pub(crate) allocated: Option<Allocated>,
    /// The last deed.
    pub(crate) actuated: Option<Actuated>,
}

/// One change to the records of one pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The node promises these resources.
    Allocated(Allocated),
    /// These resources are in the kernel.
    Actuated(Actuated),
    /// The pod is gone, and so are its records.
    Forgotten,
}

/// Where changes are made durable. A commit is all or nothing, and durable when it returns.
pub(crate) trait Backing: Send + 'static {
    /// Make all these changes durable, in order.
    fn commit(&mut self, changes: &[(String, Change)]) -> Result<(), CheckpointError>;
}
