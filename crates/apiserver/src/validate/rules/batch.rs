//! Jobs and cron jobs.

use serde_json::{Value, json};
use supple_resize::field::Path;

use super::{FieldError, at, count_from_zero, differs, each, fill, nonnegative, pod_template, within};
use crate::selector::LabelSelector;
use crate::tree::{items, number, text};

/// Labels that tell the pods of one job from those of any other; the short ones are the names of old.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// How many failures a job bears unless it says otherwise.
const BACKOFF_LIMIT: i64 = 6;

/// More pods of an indexed job side by side cannot be accounted for in its status.
const MAX_INDEXED: i64 = 100_000;

/// The name of a cron job leaves room for what its jobs are called after it: a dash and ten digits.
const CRON_JOB_NAME: usize = 52;

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn default_job(object: &mut Value) {
    let spec = within(object, "spec");
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        spec["completions"] = 1.into();
    }
    fill(spec, "parallelism", 1);
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    fill(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let failures_matter = !spec["podFailurePolicy"].is_null();
    fill(spec, "podReplacementPolicy", if failures_matter { "Failed" } else { "TerminatingOrFailed" });
    pod_template::default(spec);
    default_failure_policy(spec);
    let labels = at(object, "spec.template.metadata.labels").clone();
    if labels.is_object() && at(object, "metadata.labels").is_null() {
        object["metadata"]["labels"] = labels;
    }
    count_from_zero(object, &[]);
}

fn default_failure_policy(spec: &mut Value) {
    let Some(policy) = spec.get_mut("podFailurePolicy") else { return };
    for rule in each(policy, "rules") {
        each(rule, "onPodConditions").for_each(|pattern| fill(pattern, "status", "True"));
    }
}

/// Unless the job selects its pods itself, it selects by its own UID.
pub(super) fn select_own_pods(object: &mut Value) {
    if at(object, "spec.manualSelector") == true {
        return;
    }
    let uid = at(object, "metadata.uid").clone();
    let name = at(object, "metadata.name").clone();
    let spec = within(object, "spec");
    let labels = within(within(within(spec, "template"), "metadata"), "labels");
    for (keys, value) in [(NAME_LABELS, name), (UID_LABELS, uid.clone())] {
        for key in keys {
            // What is there already and differs is refused in validation.
            fill(labels, key, value.clone());
        }
    }
    fill(within(within(spec, "selector"), "matchLabels"), UID_LABELS[0], uid);
}

pub(super) fn job(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors = own_labels(object);
    errors.extend(job_spec(spec, &SPEC));
    let path = SPEC.child("selector");
    let selector = at(spec, "selector");
    if selector.is_null() {
        errors.push(path.required(""));
    } else {
        errors.extend(pod_template::selector(selector, &path));
    }
    errors.extend(pod_template::matches_labels(spec, &SPEC));
    errors
}

/// Where the server chose the labels, they must still be those it chose.
fn own_labels(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(object, "spec.manualSelector") == true || at(object, "spec.selector").is_null() {
        return errors;
    }
    let (uid, name) = (text(object, "metadata.uid"), text(object, "metadata.name"));
    let template = SPEC.child("template");
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    let given = at(object, "spec.template.metadata.labels");
    let mut expected = json!({});
    for (key, value) in UID_LABELS.into_iter().map(|it| (it, uid)).chain(NAME_LABELS.into_iter().map(|it| (it, name))) {
        expected[key] = value.into();
        match given.get(key).and_then(Value::as_str) {
            None => errors.push(labels.key(key).required(format!("must be '{value}'"))),
            Some(other) if other != value => {
                errors.push(labels.key(key).invalid(given, format!("must be '{value}'")));
            }
            Some(_) => {}
        }
    }
    let chosen = json!({"metadata": {"labels": expected}});
    let selector = at(object, "spec.selector");
    if LabelSelector::of(selector).is_ok_and(|it| !it.matches(&chosen)) {
        errors.push(SPEC.child("selector").invalid(selector, "`selector` not auto-generated"));
    }
    errors
}

fn job_spec(spec: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.extend(nonnegative(spec, field, path));
    }
    match text(spec, "completionMode") {
        "NonIndexed" | "" => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                let given = at(spec, field);
                if !given.is_null() {
                    errors.push(path.child(field).invalid(given, "requires indexed completion mode"));
                }
            }
        }
        "Indexed" => {
            if at(spec, "completions").is_null() {
                errors.push(path.child("completions").required("when completion mode is Indexed"));
            }
            let parallel = number(spec, "parallelism");
            if parallel > MAX_INDEXED {
                let detail = format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
                errors.push(path.child("parallelism").invalid(parallel, detail));
            }
        }
        other => errors.push(path.child("completionMode").not_supported(other, &["Indexed", "NonIndexed"])),
    }
    let replacement = text(spec, "podReplacementPolicy");
    let policy = at(spec, "podFailurePolicy");
    let replacements: &[&str] = if policy.is_null() { &["Failed", "TerminatingOrFailed"] } else { &["Failed"] };
    if !replacement.is_empty() && !replacements.contains(&replacement) {
        errors.push(path.child("podReplacementPolicy").not_supported(replacement, replacements));
    }
    errors.extend(pod_template::validate(spec, path));
    errors.extend(restart_policy(spec, path));
    errors
}

/// A job's pods end; a pod that never ends would be none of a job.
fn restart_policy(spec: &Value, path: &Path<'_>) -> Option<FieldError> {
    let template = path.child("template");
    let pod = template.child("spec");
    let place = pod.child("restartPolicy");
    match text(spec, "template.spec.restartPolicy") {
        "Always" | "" => Some(place.required("valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if !at(spec, "podFailurePolicy").is_null() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            Some(place.invalid("OnFailure", detail))
        }
        "OnFailure" | "Never" => None,
        other => Some(place.not_supported(other, &["OnFailure", "Never"])),
    }
}

pub(super) fn job_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = job(new);
    let (spec, stored) = (at(new, "spec"), at(old, "spec"));
    let immutable = |field: &str| {
        differs(spec, stored, field).then(|| SPEC.child(field).invalid(at(spec, field), "field is immutable"))
    };
    // An indexed job whose pods all run at once may grow and shrink.
    let grows = text(spec, "completionMode") == "Indexed"
        && at(spec, "completions") == at(spec, "parallelism")
        && !at(stored, "completions").is_null();
    if !grows {
        errors.extend(immutable("completions"));
    }
    errors.extend(immutable("selector"));
    if frozen_template(spec, stored, at(stored, "suspend") == true) != *at(stored, "template") {
        errors.push(SPEC.child("template").invalid(at(spec, "template"), "field is immutable"));
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        errors.extend(immutable(field));
    }
    errors
}

/// The new template with all put back that a suspended job may change: where its pods go and how large they are.
fn frozen_template(spec: &Value, stored: &Value, suspended: bool) -> Value {
    let mut template = at(spec, "template").clone();
    if !suspended {
        return template;
    }
    let before = at(stored, "template");
    for path in [
        "/metadata/annotations",
        "/metadata/labels",
        "/spec/affinity",
        "/spec/nodeSelector",
        "/spec/schedulingGates",
        "/spec/tolerations",
    ] {
        put_back(&mut template, before, path);
    }
    for list in ["containers", "initContainers"] {
        for index in 0..items(at(before, "spec"), list).len() {
            put_back(&mut template, before, &format!("/spec/{list}/{index}/resources"));
        }
    }
    template
}

fn put_back(object: &mut Value, stored: &Value, pointer: &str) {
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match stored.pointer(pointer) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

pub(super) fn job_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let status = Path::root("status");
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    counts.iter().filter_map(|it| nonnegative(at(new, "status"), it, &status)).collect()
}

pub(super) fn default_cron_job(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let template = within(spec, "jobTemplate");
    within(template, "metadata");
    let job = within(template, "spec");
    pod_template::default(job);
    default_failure_policy(job);
    count_from_zero(object, &[]);
}

pub(super) fn cron_job(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors = Vec::new();
    let schedule = text(spec, "schedule");
    let path = SPEC.child("schedule");
    if schedule.is_empty() {
        errors.push(path.required(""));
    } else if schedule.contains("TZ") {
        errors.push(path.invalid(schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
    } else if let Err(why) = super::schedule::check(schedule) {
        errors.push(path.invalid(schedule, why));
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.extend(nonnegative(spec, field, &SPEC));
    }
    errors.extend(time_zone(at(spec, "timeZone")));
    match text(spec, "concurrencyPolicy") {
        "Allow" | "Forbid" | "Replace" => {}
        "" => errors.push(SPEC.child("concurrencyPolicy").required("")),
        other => {
            let path = SPEC.child("concurrencyPolicy");
            errors.push(path.not_supported(other, &["Allow", "Forbid", "Replace"]));
        }
    }
    let template = SPEC.child("jobTemplate");
    let path = template.child("spec");
    let job = at(spec, "jobTemplate.spec");
    errors.extend(job_spec(job, &path));
    let selector = at(job, "selector");
    if !selector.is_null() {
        errors.push(path.child("selector").invalid(selector, "`selector` will be auto-generated"));
    }
    if at(job, "manualSelector") == true {
        errors.push(path.child("manualSelector").not_supported(true, &["nil", "false"]));
    }
    let name = text(object, "metadata.name");
    if name.len() > CRON_JOB_NAME {
        let metadata = Path::root("metadata");
        let detail = format!("must be no more than {CRON_JOB_NAME} characters");
        errors.push(metadata.child("name").invalid(name, detail));
    }
    errors
}

fn time_zone(zone: &Value) -> Option<FieldError> {
    let name = zone.as_str()?;
    let path = SPEC.child("timeZone");
    if name.is_empty() {
        return Some(path.invalid(name, "timeZone must be nil or non-empty string"));
    }
    if name.eq_ignore_ascii_case("local") {
        return Some(
            path.invalid(name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"),
        );
    }
    let unknown = jiff::tz::TimeZone::get(name).is_err();
    unknown.then(|| path.invalid(name, format!("unknown time zone {name}")))
}
