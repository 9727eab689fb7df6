//! Recorded use replayed: what would have happened, under any strategy, and at the least.
//!
//! ```text
//!            ┌─ Workload ──────────────────────────────────────────┐
//! samples ──▶│ Strategy ─▶ Decide ─▶ size in force ─▶ Figures ─▶ J │
//!      └────▶│ Bound: the same cost with the future known          │
//!            └─────────────────────────────────────────────────────┘
//! ```
//!
//! Nothing here reads a clock or a file, and nothing grows with the length of a recording.

pub mod bound;
pub mod decide;
pub mod figures;
pub mod workload;
