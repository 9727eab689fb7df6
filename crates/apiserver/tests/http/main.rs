//! The API over HTTP: what a client sees. One binary, so that it links once; a file for each thing a client relies on.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod access;
mod apply;
mod concurrency;
mod conformance;
mod custom;
mod deletion;
mod differences;
mod doubt;
mod durability;
mod fuzz;
mod harness;
mod lists;
mod policies;
mod sockets;
mod subresources;
mod transcripts;
mod usual;
mod watches;
mod webhooks;
mod workloads;
mod writes;
