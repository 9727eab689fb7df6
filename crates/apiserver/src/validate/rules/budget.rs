//! Disruption budgets: how many of a set of pods may be away at once.

use serde_json::Value;
use supple_resize::field::Path;

use super::replicated::{at_most_all, share};
use super::{FieldError, at, count_from_zero, nonnegative, pod_template, within};
use crate::tree::text;

/// What a status always counts.
pub(super) const COUNTS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

pub(super) fn default(object: &mut Value) {
    within(object, "spec");
    count_from_zero(object, &COUNTS);
}

pub(super) fn validate(object: &Value) -> Vec<FieldError> {
    const SPEC: Path<'static> = Path::root("spec");
    let spec = at(object, "spec");
    let mut errors = Vec::new();
    if !at(spec, "minAvailable").is_null() && !at(spec, "maxUnavailable").is_null() {
        errors.push(SPEC.invalid(spec, "minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        errors.extend(share(spec, field, &SPEC));
        errors.extend(at_most_all(spec, field, &SPEC));
    }
    errors.extend(pod_template::selector(at(spec, "selector"), &SPEC.child("selector")));
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    if !matches!(policy, "" | "AlwaysAllow" | "IfHealthyBudget") {
        let path = SPEC.child("unhealthyPodEvictionPolicy");
        errors.push(path.not_supported(policy, &["AlwaysAllow", "IfHealthyBudget"]));
    }
    errors
}

pub(super) fn status(object: &Value) -> Vec<FieldError> {
    let path = Path::root("status");
    COUNTS.iter().filter_map(|it| nonnegative(at(object, "status"), it, &path)).collect()
}
