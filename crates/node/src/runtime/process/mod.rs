//! Containers as processes of this machine, each in a cgroup of its own.

mod options;

pub use options::{NewError, ProcessOptions};
