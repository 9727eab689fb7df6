//! The admission webhook: it refuses resizes that would do harm, and sizes pods as they are created.
//!
//! ```text
//!   API server ──TLS──▶ server ─▶ review (bounded, tolerant) ─▶ resize · create (pure) ─▶ answer
//!                         ▲               Knowledge ──────────────┘
//!   Secret ◀── certificate ── publish ──▶ the two webhook configurations (caBundle), unless a certificate is given
//! ```
//!
//! It asks nobody while it answers: what it knows is [`Knowledge`], which the loop puts up beside it. What it cannot read
//! of a pod, or does not know, it lets pass, with a warning. What is no review has no answer either: the API server is told so,
//! and does with it what `failurePolicy` says. It is never asked about its own namespace or `kube-system`, and would let them
//! pass.

pub mod certificate;
pub mod create;
pub mod knowledge;
pub mod publish;
pub mod registration;
pub mod resize;
pub mod review;
pub mod server;

pub use knowledge::{Approval, Knowledge, Sizing};
