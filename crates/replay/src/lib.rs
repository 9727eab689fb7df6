//! Recorded use replayed: what would have happened, under any strategy, and at the least.
//!
//! ```text
//!            ┌─ Workload ──────────────────────────────────────────┐
//! samples ──▶│ Strategy ─▶ Decide ─▶ size in force ─▶ Figures ─▶ J │
//!      └────▶│ Bound: the same cost with the future known          │
//!            └─────────────────────────────────────────────────────┘
//! ```
//!
//! * [`workload`], [`decide`], [`figures`]: the open loop. Use is as recorded whatever is done, so all strategies and the
//!   [`bound`] meet the same, and their figures can be compared.
//! * [`closed`], [`node`], [`life`]: the closed loop. Resizes go through the rules of `supple-resize` on a model node, and sizes
//!   have effects: late work, kills, restarts.
//!
//! Nothing here reads a clock or a file, and nothing grows with the length of a recording.

pub mod bound;
pub mod closed;
pub mod decide;
pub mod figures;
pub mod life;
pub mod node;
pub mod workload;
