//! The rules of what is stored only: services, volume claims, roles and their bindings. Defaults are the reference's, so that
//! what clients read back is what they know; of validation there is what keeps an object well-formed.

use serde_json::{Value, json};
use supple_resize::field::Path;

use super::{FieldError, NONE, Rules, at, differs, drop_status, each, fill, keep, within};
use crate::tree::{items, text};

/// Services. No address is given out: they are without one, unless they say otherwise.
pub static SERVICE: Rules = Rules {
    default: default_service,
    prepare_create: |new| {
        drop_status(new);
        within(within(new, "status"), "loadBalancer");
    },
    prepare_update: |new, old| keep(new, old, "status"),
    validate_create: service,
    validate_update: |new, _| service(new),
    ..NONE
};

/// Volume claims. They stay pending: nothing here has volumes.
pub static VOLUME_CLAIM: Rules = Rules {
    default: |object| fill(within(object, "spec"), "volumeMode", "Filesystem"),
    prepare_create: |new| new["status"] = json!({"phase": "Pending"}),
    prepare_update: |new, old| keep(new, old, "status"),
    validate_create: claim,
    validate_update: claim_update,
    ..NONE
};

/// Roles of a namespace.
pub static ROLE: Rules =
    Rules { validate_create: |object| role(object, false), validate_update: |new, _| role(new, false), ..NONE };

/// Roles of the cluster, which may also be about paths.
pub static CLUSTER_ROLE: Rules =
    Rules { validate_create: |object| role(object, true), validate_update: |new, _| role(new, true), ..NONE };

/// Role bindings, of a namespace and of the cluster.
pub static ROLE_BINDING: Rules =
    Rules { default: default_binding, validate_create: binding, validate_update: binding_update, ..NONE };

fn default_service(object: &mut Value) {
    let spec = within(object, "spec");
    fill(spec, "sessionAffinity", "None");
    fill(spec, "type", "ClusterIP");
    if spec["sessionAffinity"] == "ClientIP" {
        let client = within(within(spec, "sessionAffinityConfig"), "clientIP");
        fill(client, "timeoutSeconds", 10_800);
    }
    for port in each(spec, "ports") {
        fill(port, "protocol", "TCP");
        let target = &port["targetPort"];
        if target.is_null() || *target == 0 || *target == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    let outside = matches!(text(spec, "type"), "NodePort" | "LoadBalancer");
    if outside {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if text(spec, "type") == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if text(spec, "type") != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    within(within(object, "status"), "loadBalancer");
}

fn service(object: &Value) -> Vec<FieldError> {
    let spec = Path::root("spec");
    let mut errors = Vec::new();
    let kind = text(object, "spec.type");
    if !matches!(kind, "ClusterIP" | "ExternalName" | "LoadBalancer" | "NodePort") {
        let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.push(spec.child("type").not_supported(kind, &known));
    }
    let ports = items(object, "spec.ports");
    let headless = text(object, "spec.clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(spec.child("ports").required(""));
    }
    let path = spec.child("ports");
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let number = at(port, "port").as_i64().unwrap_or_default();
        if !(1..=65_535).contains(&number) {
            errors.push(path.child("port").invalid(number, "must be between 1 and 65535, inclusive"));
        }
        if text(port, "name").is_empty() && ports.len() > 1 {
            errors.push(path.child("name").required(""));
        }
        let protocol = text(port, "protocol");
        if !matches!(protocol, "SCTP" | "TCP" | "UDP") {
            errors.push(path.child("protocol").not_supported(protocol, &["SCTP", "TCP", "UDP"]));
        }
        let same = |it: &&Value| !differs(it, port, "port") && !differs(it, port, "protocol");
        if ports.iter().take(index).any(|it| same(&it)) {
            errors.push(path.duplicate(&json!({"protocol": protocol, "port": number})));
        }
    }
    errors
}

fn claim(object: &Value) -> Vec<FieldError> {
    let spec = Path::root("spec");
    let mut errors = Vec::new();
    if items(object, "spec.accessModes").is_empty() {
        errors.push(spec.child("accessModes").required("at least 1 access mode is required"));
    }
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in items(object, "spec.accessModes").iter().filter_map(Value::as_str) {
        if !known.contains(&mode) {
            errors.push(spec.child("accessModes").not_supported(mode, &known));
        }
    }
    if at(object, "spec.resources.requests.storage").is_null() {
        let resources = spec.child("resources");
        errors.push(resources.key("storage").required(""));
    }
    errors
}

fn claim_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = claim(new);
    // Only how much is asked for may change, and what the cluster fills in.
    let fixed = |object: &Value| {
        let mut spec = at(object, "spec").clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "resources" | "volumeName" | "volumeAttributesClassName"));
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(Path::root("spec").forbidden(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ));
    }
    errors
}

fn role(object: &Value, paths_allowed: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::root("rules");
    for (index, rule) in items(object, "rules").iter().enumerate() {
        let path = path.index(index);
        if items(rule, "verbs").is_empty() {
            errors.push(path.child("verbs").required("verbs must contain at least one value"));
        }
        if !items(rule, "nonResourceURLs").is_empty() {
            if !paths_allowed {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(path.child("nonResourceURLs").invalid(at(rule, "nonResourceURLs"), detail));
            }
            continue;
        }
        if items(rule, "apiGroups").is_empty() {
            errors.push(path.child("apiGroups").required("resource rules must supply at least one api group"));
        }
        if items(rule, "resources").is_empty() {
            errors.push(path.child("resources").required("resource rules must supply at least one resource"));
        }
    }
    errors
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn default_binding(object: &mut Value) {
    fill(within(object, "roleRef"), "apiGroup", RBAC);
    for subject in each(object, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            fill(subject, "apiGroup", RBAC);
        }
    }
}

fn binding(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let role = Path::root("roleRef");
    let group = text(object, "roleRef.apiGroup");
    if group != RBAC {
        errors.push(role.child("apiGroup").not_supported(group, &[RBAC]));
    }
    let cluster_wide = text(object, "metadata.namespace").is_empty();
    let kinds: &[&str] = if cluster_wide { &["ClusterRole"] } else { &["ClusterRole", "Role"] };
    let kind = text(object, "roleRef.kind");
    if !kinds.contains(&kind) {
        errors.push(role.child("kind").not_supported(kind, kinds));
    }
    if text(object, "roleRef.name").is_empty() {
        errors.push(role.child("name").required(""));
    }
    let path = Path::root("subjects");
    for (index, subject) in items(object, "subjects").iter().enumerate() {
        let path = path.index(index);
        if text(subject, "name").is_empty() {
            errors.push(path.child("name").required(""));
        }
        match text(subject, "kind") {
            "ServiceAccount" if cluster_wide && text(subject, "namespace").is_empty() => {
                errors.push(path.child("namespace").required(""));
            }
            "ServiceAccount" | "User" | "Group" => {}
            other => errors.push(path.child("kind").not_supported(other, &["ServiceAccount", "User", "Group"])),
        }
    }
    errors
}

fn binding_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = binding(new);
    if differs(new, old, "roleRef") {
        errors.push(Path::root("roleRef").invalid(at(new, "roleRef"), "cannot change roleRef"));
    }
    errors
}
