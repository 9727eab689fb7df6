//! CEL: rules of webhooks and of custom resources, within what they may cost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use supple_apiserver::cel::{Budget, Program};

fuzz_target!(|data: &[u8]| {
    let Ok(program) = Program::condition(&String::from_utf8_lossy(data), &["object"]) else { return };
    let object = json!({"a": [1, 2, {"b": "text"}], "m": {"k": 1.5}, "t": true, "n": null});
    let _ = program.test_json(&[("object", &object)], &mut Budget::new(100_000));
});
