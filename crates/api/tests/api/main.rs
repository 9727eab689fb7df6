//! What our resources say and come to: definitions in an API server, policies resolved, schedules worked out, VPA's objects
//! read. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod autoscaler;
mod definitions;
mod resolve;
mod span;
