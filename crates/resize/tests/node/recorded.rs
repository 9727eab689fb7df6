//! Recorded data of the reference: where it lies, and what happens where it is absent.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

/// A file of the conformance folder; `None`, with a word about it, where the folder is absent.
///
/// # Panics
/// Where it is absent and `SUPPLE_REQUIRE_ALL` is set, or where it cannot be read.
pub fn read<T: DeserializeOwned>(name: &str) -> Option<T> {
    let folder = std::env::var_os("SUPPLE_CONFORMANCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        assert!(std::env::var_os("SUPPLE_REQUIRE_ALL").is_none(), "{} is absent", path.display());
        println!("skipped: {} is absent", path.display());
        return None;
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("decode {}: {error}", path.display())))
}
