//! The kernel's control groups as plain files: where the hierarchies are, what is written to them and read from them.
//!
//! ```text
//!   detect ──▶ Hierarchies ──▶ Group (our own root, then pods, then containers: one directory per hierarchy)
//!                                 ├── values  resources to files and back, in the order the kernel accepts
//!                                 ├── stat    counters and gauges of one moment
//!                                 ├── kill    end what is inside, remove the directories
//!                                 └── file (one read or write) ── parse (text to numbers)
//! ```
//!
//! Nothing here touches a cgroup it was not asked to make: a [`Group`] begins at our own root, and every other one is
//! a child of a `Group`.

mod detect;
mod error;
pub mod fault;
pub mod file;
mod group;
mod kill;
pub mod parse;
mod stat;
mod values;

pub use detect::{Hierarchies, Mounts, V1, mounted};
pub use error::CgroupError;
pub use group::{Group, Role};
pub use kill::remove_tree;
pub use parse::{Pressure, Psi};
pub use stat::{MemoryEvents, Stat};
