//! The program as a black box: one directory and one cluster a test, spoken to as a person would, with `supple` and
//! stock kubectl.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod accept;
mod bad_input;
mod chart;
mod cluster;
mod connect;
mod crash;
mod custom;
mod demo;
mod examples;
mod guards;
mod kubectl;
mod life;
mod looped;
mod monitoring;
mod recompute;
mod replay;
mod resize;
mod simulate;
mod webhook;
mod workloads;
