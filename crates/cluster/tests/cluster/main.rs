//! The cluster in one process and in memory: its own controllers at work, without a socket, a directory or a process.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod lab;
mod namespaces;
mod node;
mod quota;
mod scheduler;
mod simulate;
mod workloads;
