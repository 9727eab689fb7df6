//! What goes without anybody deleting it by hand: what is owned goes with its owners ([`owned`]), and what is left over
//! goes by age and count ([`leftovers`]).

mod graph;
mod leftovers;
mod owned;

pub(crate) use leftovers::run as run_leftovers;
pub(crate) use owned::run as run_owned;
