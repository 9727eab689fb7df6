//! The program as a black box: one directory and one cluster a test, spoken to as a person would, with `supple` and
//! stock kubectl.

mod bad_input;
mod cluster;
mod examples;
mod kubectl;
mod life;
mod looped;
mod resize;
