//! How what went wrong below is told above: one constructor per kind, reasons in one place.

use std::io;
use std::path::Path;

use crate::cgroup::CgroupError;
use crate::runtime::{CONTAINER_NOT_FOUND, ContainerRef, PodRef, RuntimeError};

/// A cgroup could not be made, read, written or removed.
pub fn cgroup(error: &CgroupError) -> RuntimeError {
    let (reason, operation) = match error {
        CgroupError::NoHierarchy(_) => ("CgroupMissing", "find"),
        CgroupError::Create { .. } => ("CgroupCreate", "create"),
        CgroupError::Read { .. } | CgroupError::Malformed { .. } => ("CgroupRead", "read"),
        CgroupError::Write { .. } => ("CgroupWrite", "write to"),
        CgroupError::Remove { .. } => ("CgroupRemove", "remove"),
    };
    RuntimeError { reason, operation: operation.into(), object: "a cgroup".into(), message: error.to_string() }
}

/// A record or log could not be read, written or removed.
pub fn record(operation: &str, path: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError {
        reason: "RecordFailed",
        operation: operation.into(),
        object: path.display().to_string(),
        message: error.to_string(),
    }
}

/// A container that this runtime does not have.
pub fn no_container(id: &ContainerRef) -> RuntimeError {
    RuntimeError {
        reason: CONTAINER_NOT_FOUND,
        operation: "find".into(),
        object: describe(id),
        message: "this runtime has no such container; it has not been started or is gone".into(),
    }
}

/// A run that cannot be removed yet.
pub fn still_running(id: &ContainerRef) -> RuntimeError {
    RuntimeError {
        reason: "StillRunning",
        operation: "remove".into(),
        object: describe(id),
        message: "stop it first".into(),
    }
}

/// A pod or container whose name cannot be a file name.
pub fn bad_name(pod: &PodRef, name: &str) -> RuntimeError {
    RuntimeError {
        reason: "InvalidName",
        operation: "use".into(),
        object: format!("name {name:?} of pod {}/{}", pod.namespace, pod.name),
        message: "letters, digits, '-', '_' and '.' are allowed, at most 255, not beginning with '.'".into(),
    }
}

/// A task of ours died: it was cancelled because the program ends, or it has a defect.
pub fn task(error: &tokio::task::JoinError) -> RuntimeError {
    RuntimeError {
        reason: "Interrupted",
        operation: "finish".into(),
        object: "an operation of the runtime".into(),
        message: error.to_string(),
    }
}

/// A container in words.
pub fn describe(id: &ContainerRef) -> String {
    format!("container {:?} (attempt {}) of pod {}/{}", id.container, id.attempt, id.pod.namespace, id.pod.name)
}
