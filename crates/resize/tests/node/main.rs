//! The node's half of the rules: unit tables of the reference (§4.8, §5.4, §5.5, §5.9, §6.1) as data, the invariants of
//! the design as properties, and the recorded scenarios replayed through the library alone.

mod actuate;
mod agreement;
mod allocate;
mod condition;
mod differences;
mod event;
mod extremes;
mod forecast;
mod guard;
mod kernel;
mod memory_qos;
mod predict;
mod properties;
mod queue;
mod recorded;
mod replay;
mod stage;
mod status;
mod support;
mod times;
