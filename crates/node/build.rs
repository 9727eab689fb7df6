//! Compiles the node's part of the CRI: a client for the runtime, and server stubs for the tests' runtime.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "proto/cri.proto";
    println!("cargo:rerun-if-changed={PROTO}");
    // In Rust: nobody who builds this needs protoc.
    let descriptors = protox::compile([PROTO], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for (side, client) in [("client", true), ("server", false)] {
        let dir = out.join(side);
        std::fs::create_dir_all(&dir)?;
        tonic_prost_build::configure()
            .build_client(client)
            .build_server(!client)
            .build_transport(client)
            .btree_map(".")
            .out_dir(dir)
            .compile_fds(descriptors.clone())?;
    }
    Ok(())
}
