//! The reference's recorded answers about resizes, asked of the library alone: no server, no HTTP.
//!
//! Each case goes through the same pure steps the server takes (see [`pipeline`]). What only a server can answer (methods,
//! content types, server-side apply, stale versions) is left to the server's own tests; how many cases ran is asserted.

mod api;
mod data;
mod merge;
mod pipeline;
mod validator;
