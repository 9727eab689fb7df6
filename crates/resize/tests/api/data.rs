//! Reading the recorded data, or saying that it is not there.

use std::path::PathBuf;

/// The text of a file of the conformance folder, or `None` (said so) where it is absent; with `SUPPLE_REQUIRE_ALL` its
/// absence fails.
pub fn read(name: &str) -> Option<String> {
    let folder = std::env::var_os("SUPPLE_CONFORMANCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance")),
        PathBuf::from,
    );
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if std::env::var_os("SUPPLE_REQUIRE_ALL").is_some() => panic!("{}: {error}", path.display()),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// Fails with every difference at once.
pub fn report(differences: &[String], ran: usize, expected: usize) {
    assert!(differences.is_empty(), "{} of {ran} cases differ:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(ran, expected, "cases that ran");
}
