//! The rules of an in-place resize, as Kubernetes v1.36.2 has them. Pure: no IO, no clock, no randomness.

pub mod kernel;
