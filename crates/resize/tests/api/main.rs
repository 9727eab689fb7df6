//! The rules of the API's side of a resize, asked of the library alone: no server, no HTTP.
//!
//! Each case goes through the same pure steps the server takes (see [`pipeline`]). What only a server can answer (methods,
//! content types, server-side apply, stale versions) is left to the server's own tests; how many cases ran is asserted.

#![allow(clippy::unwrap_used, reason = "helpers of tests: what cannot be read fails the test that asked")]

mod admission;
mod aggregates;
mod creation;
mod data;
mod merge;
mod pipeline;
mod properties;
mod recorded;
#[path = "../node/times.rs"]
mod times;
mod updates;
mod validator;
