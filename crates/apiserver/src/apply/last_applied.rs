//! Peace between the two ways of `kubectl apply`: the annotation in which the client side keeps what it last applied
//! stands for ownership when kubectl goes over to the server side, and is kept true afterwards.

use serde_json::Value;

use super::compare::Comparison;
use super::owned;
use super::place::Place;
use super::set::FieldSet;

/// The manager this is for; any other says by its name that it wants nothing of it.
pub const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Most bytes that all annotations of an object may have.
const MOST: usize = 256 << 10;

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that kubectl owned by the annotation: those it applied that are still as it applied them. It may take them
/// from whoever wrote them for it.
pub fn owned_by_annotation(place: Place, live: &Value) -> Option<FieldSet> {
    let applied: Value = serde_json::from_str(annotation(live)?).ok()?;
    if applied.get("apiVersion") != live.get("apiVersion") {
        return None;
    }
    let changed = Comparison::of(place, &applied, live);
    Some(owned::fields(place, &applied).difference(&changed.written()).difference(&changed.removed))
}

/// Brings the annotation, if there is one, up to what was applied now.
pub fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = config.clone();
    if let Some(annotations) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{applied}\n");
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    if text.len() > MOST {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), text.into());
    }
}
