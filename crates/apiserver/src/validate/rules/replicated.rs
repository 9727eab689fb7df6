//! Workloads that keep pods running: deployments, replica sets, stateful sets, daemon sets, and the revisions of the latter
//! two.

use serde_json::Value;
use supple_resize::field::Path;

use super::{FieldError, count_from_zero, differs, each, fill, nonnegative, pod_template, within};
use crate::tree::{at, number, text};

/// How many former templates are kept for a rollback.
const HISTORY: i64 = 10;

/// Seconds after which a rollout that does not get on is said to be stuck.
const PROGRESS_DEADLINE: i64 = 600;

/// What a status always counts.
pub(super) const REPLICA_SET_COUNTS: [&str; 1] = ["replicas"];
/// What a status always counts.
pub(super) const STATEFUL_SET_COUNTS: [&str; 2] = ["replicas", "availableReplicas"];
/// What a status always counts.
pub(super) const DAEMON_SET_COUNTS: [&str; 4] =
    ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];

const SPEC: Path<'static> = Path::root("spec");
const STATUS: Path<'static> = Path::root("status");

pub(super) fn default_deployment(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", HISTORY);
    fill(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE);
    let strategy = within(spec, "strategy");
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = within(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
    pod_template::default(spec);
    count_from_zero(object, &[]);
}

pub(super) fn default_replica_set(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "replicas", 1);
    pod_template::default(spec);
    count_from_zero(object, &REPLICA_SET_COUNTS);
}

pub(super) fn default_stateful_set(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "podManagementPolicy", "OrderedReady");
    let strategy = within(spec, "updateStrategy");
    if text(strategy, "type").is_empty() {
        strategy["type"] = "RollingUpdate".into();
        within(strategy, "rollingUpdate");
    }
    if strategy["type"] == "RollingUpdate" && strategy["rollingUpdate"].is_object() {
        fill(within(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = within(spec, "persistentVolumeClaimRetentionPolicy");
    fill(retention, "whenDeleted", "Retain");
    fill(retention, "whenScaled", "Retain");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", HISTORY);
    pod_template::default(spec);
    for claim in each(spec, "volumeClaimTemplates") {
        fill(claim, "apiVersion", "v1");
        fill(claim, "kind", "PersistentVolumeClaim");
        fill(within(claim, "spec"), "volumeMode", "Filesystem");
        fill(within(claim, "status"), "phase", "Pending");
    }
    count_from_zero(object, &STATEFUL_SET_COUNTS);
}

pub(super) fn default_daemon_set(object: &mut Value) {
    let spec = within(object, "spec");
    let strategy = within(spec, "updateStrategy");
    fill(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = within(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", 1);
        fill(rolling, "maxSurge", 0);
    }
    fill(spec, "revisionHistoryLimit", HISTORY);
    pod_template::default(spec);
    count_from_zero(object, &DAEMON_SET_COUNTS);
}

pub(super) fn deployment(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors: Vec<FieldError> = nonnegative(spec, "replicas", &SPEC).into_iter().collect();
    errors.extend(pod_template::own_selector(spec, &SPEC, "empty selector is invalid for deployment"));
    errors.extend(pod_template::matches_labels(spec, &SPEC));
    errors.extend(pod_template::validate(spec, &SPEC));
    errors.extend(pod_template::runs_for_ever(spec, &SPEC, "ReplicaSet"));
    errors.extend(deployment_strategy(at(spec, "strategy")));
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        errors.extend(nonnegative(spec, field, &SPEC));
    }
    let deadline = number(spec, "progressDeadlineSeconds");
    if !at(spec, "progressDeadlineSeconds").is_null() && deadline <= number(spec, "minReadySeconds") {
        errors.push(SPEC.child("progressDeadlineSeconds").invalid(deadline, "must be greater than minReadySeconds"));
    }
    errors
}

fn deployment_strategy(strategy: &Value) -> Vec<FieldError> {
    let path = SPEC.child("strategy");
    let rolling = at(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "Recreate" if !rolling.is_null() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            vec![path.child("rollingUpdate").forbidden(detail)]
        }
        "Recreate" => Vec::new(),
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            let mut errors = share(rolling, "maxUnavailable", &path);
            errors.extend(share(rolling, "maxSurge", &path));
            if is_zero(at(rolling, "maxUnavailable")) && is_zero(at(rolling, "maxSurge")) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.push(path.child("maxUnavailable").invalid(at(rolling, "maxUnavailable"), detail));
            }
            errors.extend(at_most_all(rolling, "maxUnavailable", &path));
            errors
        }
        other => vec![path.child("type").not_supported(other, &["Recreate", "RollingUpdate"])],
    }
}

pub(super) fn replica_set(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors = Vec::new();
    for field in ["replicas", "minReadySeconds"] {
        errors.extend(nonnegative(spec, field, &SPEC));
    }
    errors.extend(pod_template::own_selector(spec, &SPEC, "empty selector is invalid for deployment"));
    errors.extend(pod_template::matches_labels(spec, &SPEC));
    errors.extend(pod_template::validate(spec, &SPEC));
    errors.extend(pod_template::runs_for_ever(spec, &SPEC, "ReplicaSet"));
    errors
}

pub(super) fn stateful_set(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors = Vec::new();
    match text(spec, "podManagementPolicy") {
        "OrderedReady" | "Parallel" => {}
        other => {
            let path = SPEC.child("podManagementPolicy");
            errors.push(path.invalid(other, "must be 'OrderedReady' or 'Parallel'"));
        }
    }
    let strategy = at(spec, "updateStrategy");
    let path = SPEC.child("updateStrategy");
    let rolling = at(strategy, "rollingUpdate");
    match text(strategy, "type") {
        "OnDelete" if !rolling.is_null() => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(path.child("rollingUpdate").invalid(rolling, detail));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            errors.extend(nonnegative(rolling, "partition", &path));
            errors.extend(share(rolling, "maxUnavailable", &path));
            let most = at(rolling, "maxUnavailable");
            if !most.is_null() && is_zero(most) {
                errors.push(path.child("maxUnavailable").invalid(most, "cannot be 0"));
            }
            errors.extend(at_most_all(rolling, "maxUnavailable", &path));
        }
        _ => errors.push(path.invalid(strategy, "must be 'RollingUpdate' or 'OnDelete'")),
    }
    let retention = SPEC.child("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let policy = text(at(spec, "persistentVolumeClaimRetentionPolicy"), field);
        if !matches!(policy, "Retain" | "Delete") {
            errors.push(retention.child(field).not_supported(policy, &["Delete", "Retain"]));
        }
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        errors.extend(nonnegative(spec, field, &SPEC));
    }
    errors.extend(nonnegative(at(spec, "ordinals"), "start", &SPEC.child("ordinals")));
    errors.extend(pod_template::own_selector(spec, &SPEC, "empty selector is invalid for statefulset"));
    errors.extend(pod_template::matches_labels(spec, &SPEC));
    errors.extend(pod_template::runs_for_ever(spec, &SPEC, "StatefulSet"));
    errors
}

/// The fields of a stateful set's spec that an update may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn stateful_set_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = stateful_set(new);
    let fixed = |object: &Value| {
        let mut spec = at(object, "spec").clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !MUTABLE.contains(&name.as_str()));
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(SPEC.forbidden(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
    errors
}

pub(super) fn daemon_set(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let selector = at(spec, "selector");
    let path = SPEC.child("selector");
    let mut errors = pod_template::selector(selector, &path);
    errors.extend(pod_template::matches_labels(spec, &SPEC));
    if !selector.is_null() && pod_template::is_empty(selector) {
        errors.push(path.invalid(selector, "empty selector is invalid for daemonset"));
    }
    errors.extend(pod_template::validate(spec, &SPEC));
    errors.extend(pod_template::runs_for_ever(spec, &SPEC, "DaemonSet"));
    errors.extend(nonnegative(spec, "minReadySeconds", &SPEC));
    errors.extend(daemon_set_strategy(at(spec, "updateStrategy")));
    errors.extend(nonnegative(spec, "revisionHistoryLimit", &SPEC));
    errors
}

fn daemon_set_strategy(strategy: &Value) -> Vec<FieldError> {
    let path = SPEC.child("updateStrategy");
    match text(strategy, "type") {
        "OnDelete" => Vec::new(),
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            let rolling = at(strategy, "rollingUpdate");
            let mut errors = Vec::new();
            for field in ["maxUnavailable", "maxSurge"] {
                errors.extend(share(rolling, field, &path));
                errors.extend(at_most_all(rolling, field, &path));
            }
            match (is_zero(at(rolling, "maxUnavailable")), is_zero(at(rolling, "maxSurge"))) {
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    errors.push(path.child("maxSurge").invalid(at(rolling, "maxSurge"), detail));
                }
                (true, true) => {
                    errors.push(path.child("maxUnavailable").required("cannot be 0 when maxSurge is 0"));
                }
                _ => {}
            }
            errors
        }
        other => vec![path.child("type").not_supported(other, &["RollingUpdate", "OnDelete"])],
    }
}

/// The rules of a creation, and that the pods it has stay its own.
pub(super) fn same_selector(new: &Value, old: &Value, rules: fn(&Value) -> Vec<FieldError>) -> Vec<FieldError> {
    let mut errors = rules(new);
    if differs(new, old, "spec.selector") {
        errors.push(SPEC.child("selector").invalid(at(new, "spec.selector"), "field is immutable"));
    }
    errors
}

pub(super) fn deployment_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"];
    let mut errors = counted(new, &counts, &["updatedReplicas", "readyReplicas", "availableReplicas"]);
    errors.extend(collisions(new, old));
    errors
}

pub(super) fn replica_set_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let counts = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    counted(new, &counts, &counts[1..])
}

pub(super) fn stateful_set_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let counts = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    let mut errors = counted(new, &counts, &counts[1..]);
    errors.extend(collisions(new, old));
    errors
}

pub(super) fn daemon_set_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ];
    counted(new, &counts, &[])
}

/// Counts in a status: none below zero, `parts` no more than `replicas`, available ones no more than ready ones.
fn counted(object: &Value, counts: &[&str], parts: &[&str]) -> Vec<FieldError> {
    let status = at(object, "status");
    let mut errors: Vec<FieldError> = counts.iter().filter_map(|it| nonnegative(status, it, &STATUS)).collect();
    errors.extend(nonnegative(status, "observedGeneration", &STATUS));
    let more_than = |part: &str, whole: &str| {
        let count = number(status, part);
        let detail = format!("cannot be greater than {}{whole}", if whole == "replicas" { "status." } else { "" });
        (count > number(status, whole)).then(|| STATUS.child(part).invalid(count, detail))
    };
    errors.extend(parts.iter().filter_map(|it| more_than(it, "replicas")));
    if parts.contains(&"readyReplicas") && parts.contains(&"availableReplicas") {
        errors.extend(more_than("availableReplicas", "readyReplicas"));
    }
    errors
}

/// Names that were taken are counted up only, or they would be tried again.
fn collisions(new: &Value, old: &Value) -> Option<FieldError> {
    let count = number(new, "status.collisionCount");
    let path = STATUS.child("collisionCount");
    if let Some(error) = nonnegative(at(new, "status"), "collisionCount", &STATUS) {
        return Some(error);
    }
    (count < number(old, "status.collisionCount")).then(|| path.invalid(count, "cannot be decremented"))
}

pub(super) fn revision(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(object, "data").is_null() {
        errors.push(Path::root("data").required("data is mandatory"));
    }
    let revision = number(object, "revision");
    if revision < 0 {
        errors.push(Path::root("revision").invalid(revision, "must be greater than or equal to 0"));
    }
    errors
}

pub(super) fn revision_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = revision(new);
    if differs(new, old, "data") {
        errors.push(Path::root("data").invalid(at(new, "data"), "field is immutable"));
    }
    errors
}

pub(super) fn scale(object: &Value) -> Vec<FieldError> {
    nonnegative(at(object, "spec"), "replicas", &SPEC).into_iter().collect()
}

/// A number of pods or a share of them in percent.
pub(super) fn share(object: &Value, field: &str, path: &Path<'_>) -> Vec<FieldError> {
    let value = at(object, field);
    match value {
        Value::String(text) if percent(text).is_none() => vec![path.child(field).invalid(
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used \
             for validation is '[0-9]+%')",
        )],
        _ => nonnegative(object, field, path).into_iter().collect(),
    }
}

/// A share is no more than all.
pub(super) fn at_most_all(object: &Value, field: &str, path: &Path<'_>) -> Option<FieldError> {
    let value = at(object, field);
    let share = percent(value.as_str()?)?;
    (share > 100).then(|| path.child(field).invalid(value, "must not be greater than 100%"))
}

fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    let valid = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn is_zero(share: &Value) -> bool {
    match share {
        Value::String(text) => percent(text).is_none_or(|it| it == 0),
        other => other.as_i64().unwrap_or_default() == 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shares_have_a_form() {
        let check = |value: Value, expected: usize| {
            let object = json!({"it": value});
            let path = Path::root("p");
            let errors = share(&object, "it", &path).len() + usize::from(at_most_all(&object, "it", &path).is_some());
            assert_eq!(errors, expected, "{object}");
        };
        for good in [json!(0), json!(3), json!("0%"), json!("100%"), Value::Null] {
            check(good, 0);
        }
        for wrong in [json!(-1), json!("-1%"), json!("1"), json!("%"), json!("101%"), json!("99999999999999999999%")] {
            check(wrong, 1);
        }
    }
}
