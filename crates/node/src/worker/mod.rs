//! One worker per pod.

mod lifecycle;
mod runs;
