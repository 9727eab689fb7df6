//! The kernel's control groups as plain files: where the hierarchies are, what is written to them and read from them.
//!
//! ```text
//!   detect ──▶ Hierarchies ──▶ tree (our own root) ──▶ group (one directory per hierarchy)
//!                                                        ├── v1, v2: resources to files and back, in the right order
//!                                                        └── file (one read or write) ── parse (text to numbers)
//! ```

mod detect;
mod error;

pub use detect::Mounts;
pub use error::CgroupError;
