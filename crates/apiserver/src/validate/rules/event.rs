//! Events: `v1` and `events.k8s.io/v1` are two views of one stored object, which has the form of `v1`.

use serde_json::Value;
use supple_resize::field::Path;

use super::FieldError;
use crate::tree::{at, text};

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

/// Longest `note` of an event that has an `eventTime`.
const MAX_NOTE: usize = 1024;
/// Longest `reason`, `action` and `reportingInstance` of such an event.
const MAX_WORD: usize = 128;

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

/// What is wrong with a new event, in either form: it is in the namespace of what it is about, and one that has an
/// `eventTime` (those of the newer API) says who reports it, why and after which action.
pub(super) fn create(event: &Value) -> Vec<FieldError> {
    let new_form = !at(event, "regarding").is_null();
    let name = |core: &'static str| {
        let renamed = NAMES.iter().find(|(it, _)| new_form && *it == core);
        renamed.map_or(core, |(_, events)| *events)
    };
    let about = Path::root(name("involvedObject"));
    let mut errors = Vec::new();

    let namespace = text(event, "metadata.namespace");
    let about_namespace = text(at(event, name("involvedObject")), "namespace");
    // What has no namespace is reported in the default one.
    let agree =
        if about_namespace.is_empty() { matches!(namespace, "" | "default") } else { namespace == about_namespace };
    if !agree {
        errors.push(about.child("namespace").invalid(about_namespace, "does not match event.namespace"));
    }
    if at(event, "eventTime").is_null() {
        return errors;
    }
    let reporter = name("reportingComponent");
    for (field, max) in
        [(reporter, usize::MAX), ("reportingInstance", MAX_WORD), ("action", MAX_WORD), ("reason", MAX_WORD)]
    {
        let path = Path::root(field);
        match text(event, field) {
            "" => errors.push(path.required("")),
            word if word.len() > max => errors.push(path.invalid("", format!("can have at most {max} characters"))),
            _ => {}
        }
    }
    let note = name("message");
    if text(event, note).len() > MAX_NOTE {
        errors.push(Path::root(note).invalid("", format!("can have at most {MAX_NOTE} characters")));
    }
    errors
}
