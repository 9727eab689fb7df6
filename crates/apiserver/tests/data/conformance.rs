//! Where the recorded behaviour of the reference is found.

use std::path::PathBuf;

use serde_json::Value;

/// The recorded file `name`, or `None` where the recordings are absent (then the test says so and passes, unless
/// `SUPPLE_REQUIRE_ALL` forbids skipping).
#[track_caller]
pub fn load(name: &str) -> Option<Value> {
    let folder = std::env::var_os("SUPPLE_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("the recording is JSON")),
        Err(error) => {
            assert!(
                std::env::var_os("SUPPLE_REQUIRE_ALL").is_none(),
                "{}: {error}; nothing may be skipped here",
                path.display()
            );
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}
