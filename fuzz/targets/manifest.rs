//! Manifests of `supple up -f`: any text is read or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = supple_cluster::manifest::parse("fuzzed.yaml", &String::from_utf8_lossy(data));
});
