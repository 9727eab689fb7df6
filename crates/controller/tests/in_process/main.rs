//! The loop and its actions against the embedded cluster, in one process and in virtual time: hours pass in moments.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod accounts;
mod act;
mod autoscalers;
mod born;
mod broken;
mod edges;
mod evictions;
mod faults;
mod handover;
mod idle;
mod kept;
mod kubelet;
mod lab;
mod lease;
mod looped;
mod owners;
mod policies;
mod prometheus;
mod refusals;
mod rights;
mod scaler;
mod serve;
mod streams;
mod vpa_defects;
mod webhook;
