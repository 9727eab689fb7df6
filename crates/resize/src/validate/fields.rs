//! The spec's fields that have a form of their own and nothing to do with containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Toleration};

use super::{meta, names};
use crate::field::{FieldError, Path};
use crate::resources::{ResourceList, is_pod_level_resource};

/// What is wrong with them, in the order of the reference.
pub(super) fn check(spec: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(selector) = &spec.node_selector {
        errors.extend(meta::labels(selector, &path.child("nodeSelector")));
    }
    errors.extend(gates(spec, &path.child("schedulingGates")));
    let subdomains = [("serviceAccountName", &spec.service_account_name), ("nodeName", &spec.node_name)];
    for (field, value) in subdomains {
        errors.extend(form(value.as_deref(), names::dns_subdomain, &path.child(field)));
    }
    if let Some(seconds) = spec.active_deadline_seconds.filter(|it| !(1..=i64::from(i32::MAX)).contains(it)) {
        let detail = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.push(path.child("activeDeadlineSeconds").invalid(seconds, detail));
    }
    for (field, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        errors.extend(form(value.as_deref(), names::dns_label, &path.child(field)));
    }
    errors.extend(tolerations(spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations")));
    for (field, value) in
        [("priorityClassName", &spec.priority_class_name), ("runtimeClassName", &spec.runtime_class_name)]
    {
        errors.extend(form(value.as_deref(), names::dns_subdomain, &path.child(field)));
    }
    if let Some(policy) = spec.preemption_policy.as_deref() {
        let path = path.child("preemptionPolicy");
        match policy {
            "" => errors.push(path.required("")),
            "Never" | "PreemptLowerPriority" => {}
            other => errors.push(path.not_supported(other, &["Never", "PreemptLowerPriority"])),
        }
    }
    errors.extend(overhead(spec, &path.child("overhead")));
    if let Some(os) = &spec.os {
        let path = path.child("os");
        let path = path.child("name");
        match os.name.as_str() {
            "" => errors.push(path.required("cannot be empty")),
            "linux" | "windows" => {}
            other => errors.push(path.not_supported(other, &["linux", "windows"])),
        }
    }
    errors
}

fn form(value: Option<&str>, wrong: fn(&str) -> Vec<String>, path: &Path<'_>) -> Vec<FieldError> {
    match value {
        None | Some("") => Vec::new(),
        Some(value) => wrong(value).into_iter().map(|it| path.invalid(value, it)).collect(),
    }
}

fn gates(spec: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.index(index);
        errors.extend(names::qualified(&gate.name).into_iter().map(|it| path.invalid(&gate.name, it)));
        if !seen.insert(&gate.name) {
            errors.push(path.duplicate(&gate.name));
        }
    }
    errors
}

fn tolerations(tolerations: &[Toleration], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (key, operator, value) = (text(&toleration.key), text(&toleration.operator), text(&toleration.value));
        let effect = text(&toleration.effect);
        if !key.is_empty() {
            errors.extend(names::qualified(&key).into_iter().map(|it| path.child("key").invalid(&key, it)));
        } else if operator != "Exists" {
            const TEXT: &str =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(path.child("operator").invalid(&operator, TEXT));
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            const TEXT: &str = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(path.child("effect").invalid(&effect, TEXT));
        }
        match operator.as_str() {
            "" | "Equal" => {
                let wrong = names::label_value(&value);
                errors.extend(wrong.into_iter().map(|it| path.child("operator").invalid(&value, it)));
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(path.child("operator").invalid(&value, detail));
            }
            "Exists" => {}
            other => errors.push(path.child("operator").not_supported(other, &["Equal", "Exists"])),
        }
        const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        if !effect.is_empty() && !EFFECTS.contains(&effect.as_str()) {
            errors.push(path.child("effect").not_supported(&effect, &EFFECTS));
        }
    }
    errors
}

fn overhead(spec: &PodSpec, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, quantity) in ResourceList::read(spec.overhead.as_ref()).iter() {
        let path = path.key(name);
        if quantity.sign() < 0 {
            errors.push(path.invalid(quantity, "must be greater than or equal to 0"));
        }
        if !is_pod_level_resource(name) && name != "ephemeral-storage" && !name.contains('/') {
            errors.push(path.invalid(name, "must be a standard resource for containers"));
        }
    }
    errors
}
