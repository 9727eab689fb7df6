//! What is to be done about the sizes of a cluster's pods, and why: recommendation, cluster state and policy in; actions
//! and reasons out.
//!
//! ```text
//!   Pod objects ──▶ facts (small, comparable) ─┐
//!   usage ────────▶ need, use ─────────────────┤
//!   policies ─────▶ policy (resolved) ─────────┼─▶ Scene ─▶ check … check ─▶ Proposal ─▶ ledger ─▶ Round: actions, decisions,
//!   what we did ──▶ record ────────────────────┘    (one pod at a time)      (across pods)       the next record
//! ```
//!
//! * [`facts`], [`need`], [`record`], [`policy`]: what is known, plain data. [`extract`] makes facts of API objects; [`rebuild`]
//!   makes a pod of them again for the rules of a resize; [`held`] sums what it holds of its node.
//! * [`scene`]: all of it at one moment. [`round`]: what comes of it, and [`round::decide`].
//! * [`create`]: the same for a pod that is about to be created, alone. [`recreated`]: whether one that was recreated came back as it was to.
//!   [`refused`]: what need not be asked for again yet. [`guard`]: what of a policy's guards is harm, and of which resize.
//! * [`check`]: the named checks in their published order; [`code`]: the codes they speak in; [`page`]: both as a document.
//! * [`hand`], [`note`], [`progress`], [`numbers`]: what can be read off a pod itself. [`names`]: our labels and annotations.
//!   [`few`]: a map that is small; [`at`]: a moment that is.
//!
//! Pure: time is an argument, nothing is read but what is passed in, and the same scene gives the same round whatever order
//! it was put together in. Whoever carries the actions out decides nothing.

pub mod at;
pub mod check;
pub mod code;
pub mod create;
mod engine;
pub mod extract;
pub mod facts;
pub mod guard;
pub mod hand;
pub mod held;
mod innocent;
pub mod key;
mod ledger;
pub mod names;
pub mod need;
pub mod note;
pub mod numbers;
pub mod page;
pub mod policy;
pub mod progress;
pub mod rebuild;
pub mod record;
pub mod recreated;
pub mod refused;
pub mod round;
pub mod scaler;
pub mod scene;
mod settle;
mod size;
mod words;

pub use supple_resize::few;
