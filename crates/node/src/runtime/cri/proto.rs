//! The CRI's messages and its client, generated from `proto/cri.proto`.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated; the CRI documents them")]

include!(concat!(env!("OUT_DIR"), "/client/runtime.v1.rs"));
