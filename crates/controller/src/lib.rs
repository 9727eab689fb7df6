//! The loop on a cluster: watch, measure, decide, resize, settle, record.
//!
//! ```text
//!   pods, namespaces (watch) ─┐
//!   usage (metrics.k8s.io) ───┼─▶ Event ─▶ World::apply ─▶ Effect ─▶ act: predict ▶ note ▶ PATCH /resize ▶ settle
//!   the end of a resize ──────┘      │                                  │
//!            ▲                       └▶ Snapshot (a table)              └▶ Event::Ended ▶ event on the pod, log line
//!            └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! It has a `kube::Client` and nothing else, so that it cannot tell an embedded cluster from a real one. `supple resize`
//! and `supple undo` take the same way through [`act`].

pub mod act;
pub mod event;
pub mod forecast;
pub mod judge;
pub mod lease;
pub mod metrics;
pub mod outcome;
pub mod reason;
mod record;
pub mod run;
pub mod samples;
pub mod serve;
pub mod snapshot;
pub mod source;
pub mod surroundings;
pub mod usage;
pub mod webhook;
pub mod world;
