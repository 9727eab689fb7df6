//! What a container needs, how sure we are, and why: from samples of its use alone.
//!
//! ```text
//!              ┌─ State ───────────────────────────────┐
//! Sample ─────▶│ CpuPast      MemoryPast   Rehearsal   │──▶ Views ──▶ plan, by the way ──▶ Outlook ──▶ Advice
//! OutOfMemory ▶│ (lately, day, (a week of  (what each  │    (of the   that cost least      (least      (request, limit,
//!              │  ever, daily)  peaks)      way cost)  │     past)    so far)               cost)       bounds, account)
//!              └───────────────────────────────────────┘
//! latest sample ────────────────────────────────────────▶ react ──▶ raise now · veto · nothing
//! ```
//!
//! Whoever sizes pods holds one [`supple::Supple`] for each (workload, container); its documentation says when to call what.
//!
//! * [`resource`], [`sample`]: the scale of sizes, and what is said here and back.
//! * [`digest`], [`past`], [`cpu`], [`course`], [`weekly`], [`memory`], [`state`], [`codec`], [`import`]: what is remembered, how it is
//!   kept, and how what a VPA knows is taken over.
//! * [`atoms`], [`forecast`], [`ways`], [`advise`]: the slow path, which chooses the size. [`fast`]: the one that cannot wait.
//! * [`strategy`], [`supple`], [`baseline`]: both paths, and what others do, behind one trait.
//! * [`policy`], [`explain`]: what a person may say, and what is said to a person.
//!
//! Pure: no clock, no randomness, no IO. `docs/recommender.md` has the reasons, a worked example and the measurements.

pub mod advise;
pub mod atoms;
pub mod baseline;
pub mod codec;
pub mod course;
pub mod cpu;
pub mod digest;
pub mod explain;
pub mod fast;
pub mod forecast;
pub mod import;
pub mod memory;
pub mod past;
mod pods;
pub mod policy;
pub mod resource;
pub mod sample;
mod small;
pub mod state;
pub mod strategy;
pub mod supple;
pub mod ways;
pub mod weekly;
