//! Horizontal autoscalers: defaults, validation, and the older form they are also served in (`autoscaling/v1`), which has
//! fields for CPU only and keeps the rest in annotations, so that a client of it loses nothing it does not know.

use k8s_openapi::api::autoscaling::v2;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use supple_resize::field::Path;

use super::{FieldError, at, count_from_zero, fill, nonnegative, within};
use crate::metadata;
use crate::tree::{items, number, text};

/// What an autoscaler without metrics aims at: CPU in use, in percent of what is requested.
const CPU_TARGET: i64 = 80;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

const SPEC: Path<'static> = Path::root("spec");

/// What a status always counts.
pub(super) const COUNTS: [&str; 1] = ["desiredReplicas"];

pub(super) fn default(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "minReplicas", 1);
    if items(spec, "metrics").is_empty() {
        spec["metrics"] = json!([cpu(CPU_TARGET)]);
    }
    if spec["behavior"].is_object() {
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let up = within(within(spec, "behavior"), "scaleUp");
        fill(up, "stabilizationWindowSeconds", 0);
        fill(up, "selectPolicy", "Max");
        fill(up, "policies", json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]));
        let down = within(within(spec, "behavior"), "scaleDown");
        fill(down, "selectPolicy", "Max");
        fill(down, "policies", json!([percent]));
    }
    count_from_zero(object, &COUNTS);
}

fn cpu(utilization: i64) -> Value {
    json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": utilization}},
    })
}

pub(super) fn validate(object: &Value) -> Vec<FieldError> {
    let spec = at(object, "spec");
    let mut errors = Vec::new();
    let (least, most) = (at(spec, "minReplicas").as_i64(), number(spec, "maxReplicas"));
    if let Some(least) = least.filter(|it| *it < 1) {
        errors.push(SPEC.child("minReplicas").invalid(least, "must be greater than or equal to 1"));
    }
    if most < 1 {
        errors.push(SPEC.child("maxReplicas").invalid(most, "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        errors.push(SPEC.child("maxReplicas").invalid(most, "must be greater than or equal to `minReplicas`"));
    }
    errors.extend(reference(at(spec, "scaleTargetRef"), &SPEC.child("scaleTargetRef")));
    let path = SPEC.child("metrics");
    for (index, metric) in items(spec, "metrics").iter().enumerate() {
        errors.extend(self::metric(metric, &path.index(index)));
    }
    let path = SPEC.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        errors.extend(scaling(at(at(spec, "behavior"), direction), &path.child(direction)));
    }
    errors
}

/// What is referred to has a kind and a name that can stand in a path.
fn reference(target: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["kind", "name"] {
        let given = text(target, field);
        let place = path.child(field);
        if given.is_empty() {
            errors.push(place.required(""));
        } else {
            errors.extend(crate::validate::path_segment(given).into_iter().map(|it| place.invalid(given, it)));
        }
    }
    errors
}

/// The kinds of metrics, and the field in which each stands.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn metric(metric: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = text(metric, "type");
    let known = SOURCES.map(|(kind, _)| kind);
    if kind.is_empty() {
        errors.push(path.child("type").required("must specify a metric source type"));
    }
    let Some((_, own)) = SOURCES.into_iter().find(|(it, _)| *it == kind) else {
        errors.push(path.child("type").not_supported(kind, &known));
        return errors;
    };
    let source = at(metric, own);
    let place = path.child(own);
    if source.is_null() {
        errors.push(place.required("must populate information for the given metric source"));
    }
    for (_, other) in SOURCES.into_iter().filter(|(_, field)| *field != own && !at(metric, field).is_null()) {
        errors.push(path.child(other).forbidden("must populate the given metric source only"));
    }
    if source.is_null() {
        return errors;
    }
    if matches!(own, "resource" | "containerResource") {
        if text(source, "name").is_empty() {
            errors.push(place.child("name").required("must specify a resource name"));
        }
        if own == "containerResource" && text(source, "container").is_empty() {
            errors.push(place.child("container").required("must specify a container name"));
        }
    } else if text(source, "metric.name").is_empty() {
        let metric = place.child("metric");
        errors.push(metric.child("name").required("must specify a metric name"));
    }
    if own == "object" {
        errors.extend(reference(at(source, "describedObject"), &place.child("describedObject")));
    }
    errors.extend(goal(at(source, "target"), own, &place));
    errors
}

/// What a metric is to be: of the numbers, those that its kind of metric can have.
fn goal(target: &Value, source: &str, path: &Path<'_>) -> Vec<FieldError> {
    let place = path.child("target");
    let mut errors = Vec::new();
    match text(target, "type") {
        "Utilization" | "Value" | "AverageValue" => {}
        "" => errors.push(place.child("type").required("must specify a metric target type")),
        other => {
            errors.push(place.child("type").not_supported(other, &["AverageValue", "Utilization", "Value"]));
        }
    }
    let positive = |field: &str| {
        let given = at(target, field);
        let amount = given.as_str().and_then(|it| it.parse::<supple_quantity::Quantity>().ok())?;
        (amount.sign() <= 0).then(|| place.child(field).invalid(given, "must be positive"))
    };
    errors.extend(positive("value"));
    errors.extend(positive("averageValue"));
    let share = at(target, "averageUtilization");
    if let Some(share) = share.as_i64().filter(|it| *it < 1) {
        errors.push(place.child("averageUtilization").invalid(share, "must be greater than 0"));
    }
    let has = |field: &str| !at(target, field).is_null();
    match source {
        "resource" | "containerResource" => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                errors.push(place.child("averageUtilization").required(detail));
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                errors.push(place.child("averageValue").forbidden(detail));
            }
            _ => {}
        },
        "pods" if !has("averageValue") => {
            errors.push(place.child("averageValue").required("must specify a positive target averageValue"));
        }
        "object" | "external" if !has("value") && !has("averageValue") => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(place.child("averageValue").required(detail));
        }
        "external" if has("value") && has("averageValue") => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(place.child("value").forbidden(detail));
        }
        _ => {}
    }
    errors
}

/// The longest time, in seconds, that past recommendations may hold back.
const LONGEST_WINDOW: i64 = 3600;
/// The longest time, in seconds, over which a policy may count.
const LONGEST_PERIOD: i64 = 1800;

fn scaling(rules: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if rules.is_null() {
        return errors;
    }
    errors.extend(nonnegative(rules, "stabilizationWindowSeconds", path));
    let window = number(rules, "stabilizationWindowSeconds");
    if window > LONGEST_WINDOW {
        let detail = format!("must be less than or equal to {LONGEST_WINDOW}");
        errors.push(path.child("stabilizationWindowSeconds").invalid(window, detail));
    }
    let policy = text(rules, "selectPolicy");
    if !matches!(policy, "" | "Disabled" | "Max" | "Min") {
        errors.push(path.child("selectPolicy").not_supported(policy, &["Disabled", "Max", "Min"]));
    }
    let place = path.child("policies");
    if items(rules, "policies").is_empty() {
        errors.push(place.required("must specify at least one Policy"));
    }
    for (index, policy) in items(rules, "policies").iter().enumerate() {
        let place = place.index(index);
        let kind = text(policy, "type");
        if !matches!(kind, "Pods" | "Percent") {
            errors.push(place.child("type").not_supported(kind, &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let given = number(policy, field);
            if given <= 0 {
                errors.push(place.child(field).invalid(given, "must be greater than zero"));
            }
        }
        let period = number(policy, "periodSeconds");
        if period > LONGEST_PERIOD {
            let detail = format!("must be less than or equal to {LONGEST_PERIOD}");
            errors.push(place.child("periodSeconds").invalid(period, detail));
        }
    }
    errors
}

pub(super) fn status(object: &Value) -> Vec<FieldError> {
    let path = Path::root("status");
    let counts = ["currentReplicas", "desiredReplicas"];
    counts.iter().filter_map(|it| nonnegative(at(object, "status"), it, &path)).collect()
}

/// Whether a metric, or the status of one, is what the old form has fields for.
fn is_cpu_share(metric: &Value, share: &str) -> bool {
    text(metric, "resource.name") == "cpu" && !at(metric, share).is_null()
}

/// From the old form to the stored one.
pub fn to_v2(mut object: Value) -> Value {
    metadata::fields(&mut object).insert("apiVersion".to_owned(), "autoscaling/v2".into());
    let mut spec = at(&object, "spec").as_object().cloned().unwrap_or_default();
    let mut metrics = Vec::new();
    if let Some(share) = spec.remove("targetCPUUtilizationPercentage").and_then(|it| it.as_i64()) {
        metrics.push(cpu(share));
    }
    metrics.extend(noted::<Vec<v2::MetricSpec>>(&mut object, METRICS).and_then(list).unwrap_or_default());
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), metrics.into());
    }
    if let Some(behavior) = noted::<v2::HorizontalPodAutoscalerBehavior>(&mut object, BEHAVIOR) {
        spec.insert("behavior".to_owned(), behavior);
    }
    metadata::fields(&mut object).insert("spec".to_owned(), spec.into());

    let mut status = at(&object, "status").as_object().cloned().unwrap_or_default();
    let share = status.remove("currentCPUUtilizationPercentage").and_then(|it| it.as_i64());
    let noted_metrics = noted::<Vec<v2::MetricStatus>>(&mut object, CURRENT_METRICS);
    let current = noted_metrics.or_else(|| {
        let share = share?;
        Some(json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": share}}}]))
    });
    let conditions = noted::<Vec<v2::HorizontalPodAutoscalerCondition>>(&mut object, CONDITIONS);
    for (field, value) in [("currentMetrics", current), ("conditions", conditions)] {
        if let Some(value) = value {
            status.insert(field.to_owned(), value);
        }
    }
    if !status.is_empty() {
        metadata::fields(&mut object).insert("status".to_owned(), status.into());
    }
    object
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// Takes what an annotation holds out of the object. What cannot be read is dropped, as the reference does.
fn noted<T: DeserializeOwned + Serialize>(object: &mut Value, annotation: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.remove(annotation)?;
    if annotations.is_empty() {
        metadata::of(object).remove("annotations");
    }
    let typed: T = serde_json::from_str(text.as_str()?).ok()?;
    serde_json::to_value(typed).ok()
}

/// From the stored form to the old one.
pub fn from_v2(mut object: Value) -> Value {
    metadata::fields(&mut object).insert("apiVersion".to_owned(), "autoscaling/v1".into());
    let mut notes = Map::new();
    let mut note = |annotation: &str, value: Value| {
        if !value.is_null() && value.as_array().is_none_or(|it| !it.is_empty()) {
            notes.insert(annotation.to_owned(), value.to_string().into());
        }
    };
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let share = "resource.target.averageUtilization";
        let metrics = spec.remove("metrics").and_then(list).unwrap_or_default();
        let (mut cpus, mut others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(|it| is_cpu_share(it, share));
        if !cpus.is_empty() {
            let first = cpus.remove(0);
            spec.insert("targetCPUUtilizationPercentage".to_owned(), at(&first, share).clone());
        }
        others.extend(cpus);
        note(METRICS, others.into());
        note(BEHAVIOR, spec.remove("behavior").unwrap_or_default());
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let share = "resource.current.averageUtilization";
        let current = status.remove("currentMetrics").unwrap_or_default();
        if let Some(cpu) = current.as_array().into_iter().flatten().find(|it| is_cpu_share(it, share)) {
            status.insert("currentCPUUtilizationPercentage".to_owned(), at(cpu, share).clone());
        }
        note(CURRENT_METRICS, current);
        note(CONDITIONS, status.remove("conditions").unwrap_or_default());
        status.entry("currentReplicas").or_insert_with(|| 0.into());
    }
    if !notes.is_empty() {
        metadata::fields(within(within(&mut object, "metadata"), "annotations")).extend(notes);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_loses_nothing() {
        let new = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {
                "minReplicas": 1, "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [cpu(70), {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "3"}}}],
                "behavior": {"scaleDown": {"selectPolicy": "Max"}},
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 55}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        });
        let old = from_v2(new.clone());
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 70);
        assert_eq!(old["status"]["currentCPUUtilizationPercentage"], 55);
        assert_eq!(old["metadata"]["annotations"].as_object().map(Map::len), Some(4));
        assert_eq!(to_v2(old), new);
    }

    #[test]
    fn an_annotation_that_holds_something_else_is_dropped() {
        let old = json!({"metadata": {"annotations": {METRICS: "[{\"type\": 3}]", BEHAVIOR: "x"}}, "spec": {"maxReplicas": 2}});
        let new = to_v2(old);
        assert_eq!(new, json!({"apiVersion": "autoscaling/v2", "metadata": {}, "spec": {"maxReplicas": 2}}));
    }
}
