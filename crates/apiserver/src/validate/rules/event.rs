//! Events: `v1` and `events.k8s.io/v1` are two views of one stored object, which has the form of `v1`.

use serde_json::Value;

/// The fields that have different names: (`v1`, `events.k8s.io/v1`).
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From `events.k8s.io/v1` to `v1`.
pub fn to_core(event: Value) -> Value {
    rename(event, "v1", NAMES.iter().map(|(core, events)| (*events, *core)))
}

/// From `v1` to `events.k8s.io/v1`.
pub fn from_core(event: Value) -> Value {
    rename(event, "events.k8s.io/v1", NAMES.iter().copied())
}

fn rename(mut event: Value, api_version: &str, names: impl Iterator<Item = (&'static str, &'static str)>) -> Value {
    if let Some(fields) = event.as_object_mut() {
        for (from, to) in names {
            if let Some(value) = fields.remove(from) {
                fields.insert(to.to_owned(), value);
            }
        }
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    event
}
