//! The rules of an in-place resize, as Kubernetes v1.36.2 has them. Pure: no IO, no clock, no randomness.

pub mod actuate;
pub mod admission;
pub mod allocate;
pub mod amounts;
pub mod condition;
pub mod defaults;
pub mod event;
pub mod field;
pub mod guard;
pub mod kernel;
pub mod predict;
pub mod qos;
pub mod queue;
pub mod resources;
pub mod status;
pub mod strategy;
pub mod validate;

mod semantic;
