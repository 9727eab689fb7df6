//! One container: regular, init, sidecar or ephemeral.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, EnvVar, EphemeralContainer, Lifecycle, Probe,
};
use std::collections::BTreeSet;

use super::{Options, names, requirements};
use crate::field::{FieldError, Path};
use crate::resources::ContainerKind;

/// What a container is judged against.
pub(super) struct Surroundings<'a> {
    /// The pod's restart policy.
    pub(super) restart_policy: &'a str,
    /// Names of the pod's resource claims.
    pub(super) claims: &'a [&'a str],
    /// Names of the pod's volumes.
    pub(super) volumes: &'a [&'a str],
    /// Init containers of the stored pod: what stands there already is tolerated.
    pub(super) stored_init: &'a [Container],
    pub(super) options: Options,
}

/// What is wrong with one of `spec.containers`; names seen so far are in `seen`.
pub(super) fn regular<'a>(
    container: &'a Container,
    around: &Surroundings<'_>,
    seen: &mut BTreeSet<&'a str>,
    path: &Path<'_>,
) -> Vec<FieldError> {
    let mut errors = common(container, around, path);
    if !seen.insert(&container.name) {
        errors.push(path.child("name").duplicate(&container.name));
    }
    errors.extend(probes(container, path));
    if let Some(policy) = &container.restart_policy {
        let path = path.child("restartPolicy");
        if around.options.container_restart_policy {
            errors.extend(own_restart_policy(policy, around.options, &path));
        } else {
            errors.push(path.forbidden("may not be set for non-init containers"));
        }
    }
    errors
}

/// What is wrong with one of `spec.initContainers`.
pub(super) fn init<'a>(
    container: &'a Container,
    around: &Surroundings<'_>,
    seen: &mut BTreeSet<&'a str>,
    path: &Path<'_>,
) -> Vec<FieldError> {
    let mut errors = common(container, around, path);
    if let Some(policy) = &container.restart_policy {
        errors.extend(own_restart_policy(policy, around.options, &path.child("restartPolicy")));
    }
    if !seen.insert(&container.name) {
        errors.push(path.child("name").duplicate(&container.name));
    }
    if ContainerKind::of_init(container) == ContainerKind::Sidecar {
        errors.extend(probes(container, path));
        return errors;
    }
    for (field, set) in [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ] {
        if set {
            errors.push(path.child(field).forbidden("may not be set for init containers without restartPolicy=Always"));
        }
    }
    if !(around.options.tolerate_stored && already_restarts(container, around)) {
        let path = path.child("resizePolicy");
        for (index, policy) in container.resize_policy.iter().flatten().enumerate() {
            if policy.restart_policy == "RestartContainer" {
                errors.push(path.index(index).child("restartPolicy").invalid(
                    "RestartContainer",
                    "must not be set to 'RestartContainer' for non-sidecar initContainers",
                ));
            }
        }
    }
    errors
}

/// Whether the stored pod's container of this name has what is now refused.
fn already_restarts(container: &Container, around: &Surroundings<'_>) -> bool {
    let mut stored = around.stored_init.iter().filter(|it| it.name == container.name);
    stored.any(|it| it.resize_policy.iter().flatten().any(|policy| policy.restart_policy == "RestartContainer"))
}

/// What is wrong with an ephemeral container.
pub(super) fn ephemeral<'a>(
    container: &'a EphemeralContainer,
    seen: &mut BTreeSet<&'a str>,
    path: &Path<'_>,
) -> Vec<FieldError> {
    let mut errors = name(&container.name, path);
    errors.extend(image(container.image.as_deref(), path));
    if !seen.insert(&container.name) {
        errors.push(path.child("name").duplicate(&container.name));
    }
    let resources = container.resources.as_ref();
    let stated = resources.is_some_and(|it| it.limits.is_some() || it.requests.is_some() || it.claims.is_some());
    for (field, set) in [
        ("resources", stated),
        ("resizePolicy", container.resize_policy.as_ref().is_some_and(|it| !it.is_empty())),
        ("ports", container.ports.as_ref().is_some_and(|it| !it.is_empty())),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ] {
        if set {
            errors.push(path.child(field).forbidden("cannot be set for an Ephemeral Container"));
        }
    }
    errors
}

/// The rules for containers of every kind.
fn common(container: &Container, around: &Surroundings<'_>, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = name(&container.name, path);
    errors.extend(image(container.image.as_deref(), path));
    errors.extend(one_of(
        container.termination_message_policy.as_deref(),
        &["FallbackToLogsOnError", "File"],
        &path.child("terminationMessagePolicy"),
    ));
    errors.extend(ports(container.ports.as_deref().unwrap_or_default(), &path.child("ports")));
    errors.extend(env(container.env.as_deref().unwrap_or_default(), &path.child("env")));
    errors.extend(mounts(container, around.volumes, &path.child("volumeMounts")));
    errors.extend(one_of(
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
    ));
    if let Some(own) = &container.resources {
        errors.extend(requirements::container(own, around.claims, &path.child("resources")));
    }
    let policies = container.resize_policy.as_deref().unwrap_or_default();
    errors.extend(resize_policies(policies, around.restart_policy, &path.child("resizePolicy")));
    errors
}

fn name(name: &str, path: &Path<'_>) -> Vec<FieldError> {
    let path = path.child("name");
    if name.is_empty() {
        return vec![path.required("")];
    }
    names::dns_label(name).into_iter().map(|it| path.invalid(name, it)).collect()
}

pub(super) fn image(image: Option<&str>, path: &Path<'_>) -> Option<FieldError> {
    match image.unwrap_or_default() {
        "" => Some(path.child("image").required("")),
        image if image.trim() != image => {
            Some(path.child("image").invalid(image, "must not have leading or trailing whitespace"))
        }
        _ => None,
    }
}

/// A word out of a list (in alphabetical order), required.
pub(super) fn one_of(value: Option<&str>, supported: &[&str], path: &Path<'_>) -> Option<FieldError> {
    match value.unwrap_or_default() {
        "" => Some(path.required("")),
        value if supported.contains(&value) => None,
        value => Some(path.not_supported(value, supported)),
    }
}

fn own_restart_policy(policy: &str, options: Options, path: &Path<'_>) -> Option<FieldError> {
    let supported: &[&str] =
        if options.container_restart_policy { &["Always", "Never", "OnFailure"] } else { &["Always"] };
    (!supported.contains(&policy)).then(|| path.not_supported(policy, supported))
}

fn ports(ports: &[ContainerPort], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|it| !it.is_empty())
            && !seen.insert(name)
        {
            errors.push(path.child("name").duplicate(name));
        }
        const RANGE: &str = "must be between 1 and 65535, inclusive";
        match port.container_port {
            0 => errors.push(path.child("containerPort").required("")),
            number if !(1..=65535).contains(&number) => {
                errors.push(path.child("containerPort").invalid(number, RANGE));
            }
            _ => {}
        }
        if let Some(number) = port.host_port.filter(|it| *it != 0 && !(1..=65535).contains(it)) {
            errors.push(path.child("hostPort").invalid(number, RANGE));
        }
        errors.extend(one_of(port.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &path.child("protocol")));
    }
    errors
}

fn env(env: &[EnvVar], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, variable) in env.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.push(path.child("name").required(""));
        } else if !variable.name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            const TEXT: &str =
                "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(path.child("name").invalid(&variable.name, TEXT));
        }
        let literal = variable.value.as_deref().is_some_and(|value| !value.is_empty());
        if literal && variable.value_from.is_some() {
            errors.push(path.child("valueFrom").invalid("", "may not be specified when `value` is not empty"));
        }
    }
    errors
}

fn mounts(container: &Container, volumes: &[&str], path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(index);
        if mount.name.is_empty() {
            errors.push(path.child("name").required(""));
        } else if !volumes.contains(&mount.name.as_str()) {
            errors.push(path.child("name").not_found(&mount.name));
        }
        if mount.mount_path.is_empty() {
            errors.push(path.child("mountPath").required(""));
        } else if !seen.insert(&mount.mount_path) {
            errors.push(path.child("mountPath").invalid(&mount.mount_path, "must be unique"));
        }
    }
    errors
}

fn probes(container: &Container, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(Lifecycle { post_start, pre_stop, .. }) = &container.lifecycle {
        let path = path.child("lifecycle");
        for (field, handler) in [("postStart", post_start), ("preStop", pre_stop)] {
            let Some(handler) = handler else { continue };
            let set = [
                handler.exec.is_some(),
                handler.http_get.is_some(),
                handler.tcp_socket.is_some(),
                handler.sleep.is_some(),
            ];
            errors.extend(one_handler(&set, &path.child(field)));
        }
    }
    let all = [
        ("livenessProbe", &container.liveness_probe, true),
        ("readinessProbe", &container.readiness_probe, false),
        ("startupProbe", &container.startup_probe, true),
    ];
    for (field, probe, once) in all {
        if let Some(probe) = probe {
            errors.extend(self::probe(probe, once, &path.child(field)));
        }
    }
    errors
}

/// `once`: one success decides, as it must where a success cannot be taken back.
fn probe(probe: &Probe, once: bool, path: &Path<'_>) -> Vec<FieldError> {
    let set = [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    let mut errors: Vec<FieldError> = one_handler(&set, path).into_iter().collect();
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if let Some(value) = value.filter(|value| *value < 0) {
            errors.push(path.child(field).invalid(value, "must be greater than or equal to 0"));
        }
    }
    if let Some(value) = probe.success_threshold.filter(|value| once && *value != 1) {
        errors.push(path.child("successThreshold").invalid(value, "must be 1"));
    }
    errors
}

fn one_handler(set: &[bool], path: &Path<'_>) -> Option<FieldError> {
    match set.iter().filter(|it| **it).count() {
        0 => Some(path.required("must specify a handler type")),
        1 => None,
        _ => Some(path.forbidden("may not specify more than 1 handler type")),
    }
}

/// Resize policies: each resource once, known words, and no restart in a pod that never restarts (§2.2).
fn resize_policies(policies: &[ContainerResizePolicy], restart_policy: &str, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, policy) in policies.iter().enumerate() {
        if !seen.insert(policy.resource_name.as_str()) {
            errors.push(path.index(index).duplicate(&policy.resource_name));
        }
        errors.extend(one_of(Some(&policy.resource_name), &["cpu", "memory"], path));
        errors.extend(one_of(Some(&policy.restart_policy), &["NotRequired", "RestartContainer"], path));
        if restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(path.invalid(&policy.restart_policy, detail));
        }
    }
    errors
}
