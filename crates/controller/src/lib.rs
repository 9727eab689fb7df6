//! The loop on a cluster: watch, measure, decide, resize, settle, record.
//!
//! ```text
//!   pods, nodes, workloads, … (watch) ─▶ view ─┐
//!   policies, VPA objects (watch) ─────▶ rules ┼─▶ world ─▶ decide ─▶ Effect ─▶ carry: dry run ▶ note ▶ PATCH /resize
//!   usage (metrics.k8s.io, …) ──────▶ history ─┘     ▲                  │  └─▶ record: event, log line, audit line
//!                                                    │                  └────▶ Rightsizing, VPA status
//!                                                    └── what came of it, told by the watches
//! ```
//!
//! It has a `kube::Client` and nothing else, so that it cannot tell an embedded cluster from a real one. A person's
//! `supple resize` and `supple undo` take the way through [`act`], which waits for the end.

pub mod account;
pub mod act;
pub mod again;
mod audit;
pub mod carry;
mod caught;
pub mod deadline;
pub mod event;
pub mod forecast;
pub mod history;
pub mod history_file;
pub mod lease;
pub mod lists;
pub mod metrics;
pub mod once;
pub mod outcome;
pub mod reason;
mod record;
pub mod rules;
pub mod run;
pub mod serve;
pub mod slim;
pub mod snapshot;
pub mod source;
pub mod surroundings;
pub mod usage;
pub mod view;
pub mod webhook;
pub mod world;
