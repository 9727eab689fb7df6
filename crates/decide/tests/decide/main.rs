//! Scenes and what comes of them: a table of cases a check, and what pods have of each other.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod budgets;
mod cluster;
mod evictions;
mod haste;
mod innocent;
mod memory;
mod nodes;
mod one_budget;
mod ownership;
mod permission;
mod recreated;
mod replicas;
mod rollout;
mod settling;
mod sizes;
mod stage;
