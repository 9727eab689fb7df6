//! The controllers that keep pods for people: deployments, replica sets and their like, on a `kube::Client` alone, as on
//! any cluster.
//!
//! ```text
//!  watches ─▶ view ─▶ row (a table) ─▶ plan (pure) ─▶ effects ─▶ API
//!    ▲                                                            │
//!    └──────────── expectations: not again before it is seen ─────┘
//! ```
//!
//! What a kind does is a pure function of its owner, what is seen, and the time; what all kinds share stands once.

mod backoff;
mod budget;
mod carry;
mod claim;
mod cordon;
mod expect;
mod history;
mod ordinals;
mod per_node;
mod plan;
mod pods;
mod replicas;
mod rollout;
mod row;
mod runner;
#[cfg(test)]
mod simulated;
mod template;
mod until_done;
mod view;

pub(crate) use runner::run;
