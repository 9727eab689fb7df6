//! The rules of an in-place resize, as Kubernetes v1.36.2 has them. Pure: no IO, no clock, no randomness.
//!
//! A resize passes through here twice: once on its way into the store, once on its way into the cgroups.
//!
//! ```text
//! request ─▶ defaults ─▶ strategy ─▶ validate ─▶ admission ─▶ stored                        the API's side
//!                        (what may    (422, with   (403: limit range,
//!                         change)      causes)      node, quota)
//!
//! stored ─▶ allocate ─▶ actuate ─▶ guard ─▶ kernel ─▶ status, condition, event              the node's side
//!           (queue)     (steps)             (memory_qos)
//! ```
//!
//! `predict` runs both without a server and a node. `disruption` and `rolling` are what is asked where a pod has to be made anew instead. `resources`, `qos` and `field` are what all of them speak. Every function
//! takes pods by reference and returns a value; who calls decides what to do with it. "Reference §…" in these docs is the
//! project's specification of in-place resizes.

pub mod actuate;
pub mod admission;
pub mod allocate;
pub mod amounts;
pub mod condition;
pub mod defaults;
pub mod differences;
pub mod disruption;
pub mod event;
pub mod few;
pub mod field;
pub mod guard;
pub mod kernel;
pub mod memory_qos;
pub mod predict;
pub mod qos;
pub mod queue;
pub mod resources;
pub mod rolling;
pub mod status;
pub mod strategy;
pub mod validate;

mod semantic;
