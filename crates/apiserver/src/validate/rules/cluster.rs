//! Namespaces, nodes, leases and priority classes.

use serde_json::{Value, json};
use supple_quantity::Quantity;
use supple_resize::field::Path;
use supple_resize::validate::names;

use super::FieldError;
use crate::tree::{at, items, text};

/// The label that names a namespace, so that selectors can.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The largest priority a person may give.
const MAX_PRIORITY: i64 = 1_000_000_000;

/// The classes the system brings, which alone may use its prefix.
const SYSTEM_CLASSES: &[(&str, i64)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) fn default_namespace(object: &mut Value) {
    let name = text(object, "metadata.name").to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"][NAME_LABEL] = name.into();
    }
}

/// A new namespace is active and is emptied before it goes.
pub(super) fn open_namespace(object: &mut Value) {
    object["status"] = json!({"phase": "Active"});
    let mut finalizers = items(object, "spec.finalizers").to_vec();
    if !finalizers.iter().any(|it| it == "kubernetes") {
        finalizers.push("kubernetes".into());
    }
    object["spec"] = json!({"finalizers": finalizers});
}

pub(super) fn namespace_status(object: &Value) -> Vec<FieldError> {
    let phase = text(object, "status.phase");
    let (only, detail) = if at(object, "metadata.deletionTimestamp").is_null() {
        ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
    } else {
        ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    };
    if phase == only { Vec::new() } else { vec![Path::root("status").child("phase").invalid(phase, detail)] }
}

/// A node that says what it has but not what it gives away gives away all.
pub(super) fn default_node(object: &mut Value) {
    let capacity = at(object, "status.capacity").clone();
    if !capacity.is_null() && at(object, "status.allocatable").is_null() {
        object["status"]["allocatable"] = capacity;
    }
}

pub(super) fn node(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = Path::root("spec");
    let path = spec.child("taints");
    let taints = items(object, "spec.taints");
    for (index, taint) in taints.iter().enumerate() {
        let path = path.index(index);
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        errors.extend(names::qualified(key).into_iter().map(|it| path.child("key").invalid(key, it)));
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(path.child("value").invalid(value, wrong.join(";")));
        }
        match effect {
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            "" => errors.push(path.child("effect").required("")),
            other => {
                errors.push(path.child("effect").not_supported(other, &["NoSchedule", "PreferNoSchedule", "NoExecute"]))
            }
        }
        let same = |it: &&Value| text(it, "key") == key && text(it, "effect") == effect;
        if taints.iter().take(index).any(|it| same(&it)) {
            errors.push(path.duplicate(&format!("{key}:{effect}")));
        }
    }
    let status = Path::root("status");
    for list in ["capacity", "allocatable"] {
        let path = status.child(list);
        for (name, amount) in at(at(object, "status"), list).as_object().into_iter().flatten() {
            let Some(amount) = amount.as_str().and_then(|it| it.parse::<Quantity>().ok()) else { continue };
            if amount.sign() < 0 {
                errors.push(path.key(name).invalid(&amount, "must be greater than or equal to 0"));
            }
        }
    }
    errors
}

pub(super) fn node_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = node(new);
    let spec = Path::root("spec");
    let (provider, stored) = (text(new, "spec.providerID"), text(old, "spec.providerID"));
    if provider != stored && !stored.is_empty() {
        errors.push(
            spec.child("providerID").forbidden("node updates may not change providerID except from \"\" to valid"),
        );
    }
    let ranges = items(old, "spec.podCIDRs");
    if !ranges.is_empty() && ranges != items(new, "spec.podCIDRs") {
        errors.push(spec.child("podCIDRs").forbidden("node updates may not change podCIDR except from \"\" to valid"));
    }
    errors
}

pub(super) fn lease(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = Path::root("spec");
    if let Some(seconds) = at(object, "spec.leaseDurationSeconds").as_i64()
        && seconds <= 0
    {
        errors.push(spec.child("leaseDurationSeconds").invalid(seconds, "must be greater than 0"));
    }
    if let Some(count) = at(object, "spec.leaseTransitions").as_i64()
        && count < 0
    {
        errors.push(spec.child("leaseTransitions").invalid(count, "must be greater than or equal to 0"));
    }
    errors
}

pub(super) fn default_priority_class(object: &mut Value) {
    if text(object, "preemptionPolicy").is_empty() {
        object["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
}

pub(super) fn priority_class(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, value) = (text(object, "metadata.name"), at(object, "value").as_i64().unwrap_or_default());
    if name.starts_with("system-") {
        let metadata = Path::root("metadata");
        let path = metadata.child("name");
        let reserved = "priority class names with 'system-' prefix are reserved for system use only. error";
        match SYSTEM_CLASSES.iter().find(|(it, _)| *it == name) {
            None => errors.push(path.forbidden(format!("{reserved}: {name} is not a known system priority class"))),
            Some((_, system)) if *system != value => {
                errors.push(path.forbidden(format!("{reserved}: value of {name} PriorityClass must be {system}")));
            }
            Some(_) => {}
        }
    } else if value > MAX_PRIORITY {
        errors.push(
            Path::root("value")
                .forbidden(format!("maximum allowed value of a user defined priority is {MAX_PRIORITY}")),
        );
    }
    let policy = text(object, "preemptionPolicy");
    if !matches!(policy, "PreemptLowerPriority" | "Never") {
        errors.push(Path::root("preemptionPolicy").not_supported(policy, &["Never", "PreemptLowerPriority"]));
    }
    errors
}

pub(super) fn priority_class_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(new, "value") != at(old, "value") {
        errors.push(Path::root("value").forbidden("may not be changed in an update."));
    }
    if at(new, "preemptionPolicy") != at(old, "preemptionPolicy") {
        errors.push(Path::root("preemptionPolicy").invalid(text(new, "preemptionPolicy"), "field is immutable"));
    }
    errors
}
