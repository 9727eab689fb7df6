//! The rules of an in-place resize, as Kubernetes v1.36.2 has them. Pure: no IO, no clock, no randomness.

pub mod actuate;
pub mod allocate;
pub mod amounts;
pub mod condition;
pub mod event;
pub mod guard;
pub mod kernel;
pub mod queue;
pub mod status;
