//! Who owns which field of an object: server-side apply, and the record of every other write (`metadata.managedFields`).
//! Pure: objects, the list of entries and the time go in, the next ones come out. Semantics are those of Kubernetes
//! v1.36 (`structured-merge-diff` and apimachinery `managedfields`).
//!
//! ```text
//!            schema ─▶ place   what is owned apart, what as a whole
//!                        │
//!   old, new ─▶ compare ─┤                      ┌─▶ managers ⇄ codec   managedFields as stored
//!   config ───▶ owned ───┼─▶ set ─▶ updater ────┤
//!   live ─────▶ merge ───┘          remove      └─▶ conflict           409
//! ```

mod codec;
mod compare;
mod conflict;
mod last_applied;
mod managers;
mod merge;
mod owned;
mod place;
mod recall;
mod remove;
mod scope;
mod set;
mod text;
mod updater;

pub use codec::{decode, encode};
pub use compare::Comparison;
pub use conflict::{Conflict, Conflicts};
pub use managers::Writer;
pub use scope::Scope;
pub use set::{Element, ElementError, FieldSet};
pub use text::record_text;
pub use updater::{Applied, ApplyError, Edit, apply, changes, is_list, is_reset, record};
