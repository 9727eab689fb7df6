//! Why a cluster could not be started: one variant a step, each with what to do about it.

use std::io;
use std::net::SocketAddr;

use supple_node::runtime::{ChooseError, Requested};

use crate::data_dir::DataDirError;

/// Why a cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used, or another process has it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] supple_apiserver::OpenError),
    /// The server's certificate cannot be made or read.
    #[error(transparent)]
    Identity(#[from] supple_apiserver::tls::IdentityError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen, or 127.0.0.1:0 for any free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The runtime asked for cannot run here.
    #[error(transparent)]
    Runtime(#[from] ChooseError),
    /// A runtime with processes was asked for in a cluster that lives in memory.
    #[error("runtime {0} records its processes and requires a data directory")]
    NoDirectory(Requested),
    /// Several nodes, one of which wants this machine.
    #[error("only one node can run containers on this machine; use the simulated runtime for node {node:?}")]
    OneMachine {
        /// Which.
        node: String,
    },
    /// The nodes of earlier starts could not be removed.
    #[error("cannot remove the nodes of earlier starts: {0}")]
    Nodes(#[source] Box<kube::Error>),
    /// The node could not be started.
    #[error("cannot start the node: {0}")]
    Node(#[from] supple_node::StartError),
}
