//! What a container needs, and how sure we are.
pub mod advise;
pub mod baseline;
pub mod codec;
pub mod cpu;
pub mod digest;
pub mod explain;
pub mod fast;
pub mod forecast;
pub mod memory;
pub mod past;
pub mod policy;
pub mod resource;
pub mod sample;
pub mod state;
pub mod strategy;
pub mod supple;
