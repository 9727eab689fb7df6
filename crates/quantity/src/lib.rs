//! Exact Kubernetes quantities: parsed, compared, summed and printed as the API server does.
//!
//! ```text
//! text ──parse──▶ Quantity { amount, format, text } ──print──▶ canonical text
//!                    │ amount: Small (i64 × 10^e, no allocation) or Big (any size, exact)
//!                    └ value() / milli() ──▶ Bytes, MilliCpu   (64-bit views, rounded up)
//! ```
//!
//! Numbers are decimal throughout: no binary floating point touches a value, because a size that is off by one
//! byte is a different size. Reference for every rule: `k8s.io/apimachinery/pkg/api/resource` of v1.36.2, as recorded in
//! the conformance data.

mod amount;
mod parse;
mod print;
mod quantity;
mod units;
mod wire;

pub use parse::ParseError;
pub use quantity::{Format, Quantity};
pub use units::{Bytes, MilliCpu};
