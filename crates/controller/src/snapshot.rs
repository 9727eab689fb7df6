//! What there is to see of the loop: rows for a table, as plain data.

use jiff::Timestamp;
use supple_decide::code::Code;
use supple_decide::key::WorkloadKey;
use supple_decide::numbers::Numbers;
use supple_quantity::{Bytes, MilliCpu};

/// More rows than this are counted, not shown: nobody reads them, and they are made four times a second.
pub const MOST_ROWS: usize = 500;

/// The loop at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// One a container of each pod that is opted in, by namespace and name.
    pub rows: Vec<Row>,
    /// Why there is no usage, while there is none.
    pub blind: Option<String>,
    /// How many rows there would be if there were no end to a screen.
    pub total: usize,
    /// How many pods there are, opted in or not.
    pub pods: usize,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Its workload, or itself.
    pub workload: WorkloadKey,
    /// Name of the container.
    pub container: String,
    /// What it asks for now.
    pub asked: Numbers,
    /// What it used when last measured.
    pub used: Option<(MilliCpu, Bytes)>,
    /// What it would ask for if it were resized now; absent where nothing would change.
    pub next: Option<Numbers>,
    /// What the loop makes of the pod at this moment, in words.
    pub state: String,
    /// Whether a resize of the pod is under way.
    pub in_flight: bool,
    /// Where its resize waits for room on its node, whoever asked for it.
    pub waits: Option<Waits>,
    /// The last thing that happened to the pod.
    pub last: Option<Last>,
}

/// A resize that its node has put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Since when, where the node says so.
    pub since: Option<Timestamp>,
    /// What the node says of it.
    pub why: String,
}

/// The last thing that happened to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The code.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}
