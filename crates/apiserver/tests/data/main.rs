//! The data side of the API server, without HTTP: decoding, patches, selectors, tables, discovery, OpenAPI, validation.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod apply;
mod conformance;
mod custom;
mod decoding;
mod discovery;
mod openapi;
mod patches;
mod protobuf;
mod selectors;
mod strategic;
mod tables;
mod validation;
mod workloads;
