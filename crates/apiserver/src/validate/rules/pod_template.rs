//! The part of a workload that says what its pods are to be: its selector and its pod template.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};
use supple_resize::field::Path;
use supple_resize::validate::names;
use supple_resize::{defaults, validate};

use super::{FieldError, within};
use crate::selector::LabelSelector;
use crate::tree::{at, items, text};

/// Fills in the spec of the template that stands in `object`.
pub(super) fn default(object: &mut Value) {
    let template = within(object, "template");
    within(template, "metadata");
    let spec = within(template, "spec");
    // What stands there has been normalised, so it is a pod spec; else validation will say what it is not.
    let Ok(mut pod) = serde_json::from_value::<PodSpec>(spec.clone()) else { return };
    defaults::template(&mut pod);
    if let Ok(filled) = serde_json::to_value(&pod) {
        *spec = filled;
    }
}

/// What is wrong with the template in `object`, whose place is `path`.
pub(super) fn validate(object: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let place = path.child("template");
    let template = at(object, "template");
    match serde_json::from_value::<Pod>(template.clone()) {
        Ok(pod) => validate::template(&pod).into_iter().map(|it| it.within(&place.to_string())).collect(),
        Err(error) => vec![place.invalid(template, error.to_string())],
    }
}

/// What is wrong with a workload's selector: that there is none, its form, that it selects everything.
pub(super) fn own_selector(spec: &Value, path: &Path<'_>, empty: &str) -> Vec<FieldError> {
    let place = path.child("selector");
    let given = at(spec, "selector");
    if given.is_null() {
        return vec![place.required("")];
    }
    let mut errors = selector(given, &place);
    if is_empty(given) {
        errors.push(place.invalid(given, empty));
    }
    errors
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    at(selector, "matchLabels").as_object().is_none_or(serde_json::Map::is_empty)
        && items(selector, "matchExpressions").is_empty()
}

/// Pods made from the template must be found by the selector, or each round would make new ones.
pub(super) fn matches_labels(spec: &Value, path: &Path<'_>) -> Option<FieldError> {
    let selector = LabelSelector::of(at(spec, "selector")).ok()?;
    let template = at(spec, "template");
    // No selector selects nothing, an empty one is refused elsewhere.
    if at(spec, "selector").is_object() && (selector.is_empty() || selector.matches(template)) {
        return None;
    }
    let nothing = json!({});
    let labels = at(template, "metadata.labels");
    let labels = if labels.is_null() { &nothing } else { labels };
    let place = path.child("template");
    let place = place.child("metadata");
    Some(place.child("labels").invalid(labels, "`selector` does not match template `labels`"))
}

/// Pods that a workload keeps running are restarted for ever.
pub(super) fn runs_for_ever(spec: &Value, path: &Path<'_>, kind: &str) -> Vec<FieldError> {
    let place = path.child("template");
    let place = place.child("spec");
    let mut errors = Vec::new();
    let policy = text(spec, "template.spec.restartPolicy");
    if policy != "Always" {
        errors.push(place.child("restartPolicy").not_supported(policy, &["Always"]));
    }
    if !at(spec, "template.spec.activeDeadlineSeconds").is_null() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(place.child("activeDeadlineSeconds").forbidden(detail));
    }
    errors
}

/// What is wrong with the form of a label selector.
pub(super) fn selector(selector: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let place = path.child("matchLabels");
    for (key, value) in at(selector, "matchLabels").as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        errors.extend(names::qualified(key).into_iter().map(|it| place.invalid(key, it)));
        errors.extend(names::label_value(value).into_iter().map(|it| place.invalid(value, it)));
    }
    let place = path.child("matchExpressions");
    for (index, requirement) in items(selector, "matchExpressions").iter().enumerate() {
        let place = place.index(index);
        let values = items(requirement, "values");
        match text(requirement, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(place.child("values").required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(place.child("values").forbidden(detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(place.child("operator").invalid(other, "not a valid selector operator")),
        }
        let key = text(requirement, "key");
        errors.extend(names::qualified(key).into_iter().map(|it| place.child("key").invalid(key, it)));
        let place = place.child("values");
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
            errors.extend(names::label_value(value).into_iter().map(|it| place.index(index).invalid(value, it)));
        }
    }
    errors
}
