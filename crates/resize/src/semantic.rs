//! Equality as the API means it: amounts by value, absent and empty the same.

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use serde::Serialize;
use serde_json::Value;

use crate::resources::{ResourceList, WireList, init_containers};

/// Whether two parts of an object say the same.
///
/// What is equal field by field, the usual case, is found without building anything.
pub(crate) fn equal<T: PartialEq + Serialize>(a: &T, b: &T) -> bool {
    a == b || matches!((pruned(a), pruned(b)), (Some(a), Some(b)) if a == b)
}

/// Whether all fields but the named ones are equal. Every field of the type is named, so that one that a later version
/// adds does not compile here until somebody has decided about it.
macro_rules! equal_but {
    ($a:expr, $b:expr, $type:ident, [$($but:ident),*], [$($field:ident),* $(,)?]) => {{
        let $type { $($but: _,)* $($field: _),* } = $a;
        $($a.$field == $b.$field)&&*
    }};
}

/// Whether two containers say the same but for their resources. Copies them only where they seem to differ, which they do
/// for none of the requests that are accepted.
pub(crate) fn containers_equal_but_resources(a: &Container, b: &Container) -> bool {
    containers_identical_but_resources(a, b)
        || equal(&Container { resources: None, ..a.clone() }, &Container { resources: None, ..b.clone() })
}

/// As [`containers_equal_but_resources`], word by word.
pub(crate) fn containers_identical_but_resources(a: &Container, b: &Container) -> bool {
    equal_but!(
        a,
        b,
        Container,
        [resources],
        [
            args,
            command,
            env,
            env_from,
            image,
            image_pull_policy,
            lifecycle,
            liveness_probe,
            name,
            ports,
            readiness_probe,
            resize_policy,
            restart_policy,
            restart_policy_rules,
            security_context,
            startup_probe,
            stdin,
            stdin_once,
            termination_message_path,
            termination_message_policy,
            tty,
            volume_devices,
            volume_mounts,
            working_dir,
        ]
    )
}

/// Whether two specs say the same but for their containers and resources.
pub(crate) fn specs_equal_but_containers(a: &PodSpec, b: &PodSpec) -> bool {
    let without = |spec: &PodSpec| {
        let mut spec = spec.clone();
        (spec.containers, spec.init_containers, spec.resources) = (Vec::new(), None, None);
        spec
    };
    specs_identical_but_containers(a, b) || equal(&without(a), &without(b))
}

/// As [`specs_equal_but_containers`], word by word.
pub(crate) fn specs_identical_but_containers(a: &PodSpec, b: &PodSpec) -> bool {
    equal_but!(
        a,
        b,
        PodSpec,
        [containers, init_containers, resources],
        [
            active_deadline_seconds,
            affinity,
            automount_service_account_token,
            dns_config,
            dns_policy,
            enable_service_links,
            ephemeral_containers,
            host_aliases,
            host_ipc,
            host_network,
            host_pid,
            host_users,
            hostname,
            hostname_override,
            image_pull_secrets,
            node_name,
            node_selector,
            os,
            overhead,
            preemption_policy,
            priority,
            priority_class_name,
            readiness_gates,
            resource_claims,
            restart_policy,
            runtime_class_name,
            scheduler_name,
            scheduling_gates,
            scheduling_group,
            security_context,
            service_account,
            service_account_name,
            set_hostname_as_fqdn,
            share_process_namespace,
            subdomain,
            termination_grace_period_seconds,
            tolerations,
            topology_spread_constraints,
            volumes,
        ]
    )
}

/// Whether two lists state the same amounts.
pub(crate) fn lists_equal(a: Option<&WireList>, b: Option<&WireList>) -> bool {
    a == b || ResourceList::read(a) == ResourceList::read(b)
}

/// Whether requests, limits and claims are the same.
pub(crate) fn requirements_equal(a: Option<&ResourceRequirements>, b: Option<&ResourceRequirements>) -> bool {
    let claims = |it: Option<&ResourceRequirements>| it.and_then(|it| it.claims.clone()).unwrap_or_default();
    a == b
        || lists_equal(a.and_then(|it| it.requests.as_ref()), b.and_then(|it| it.requests.as_ref()))
            && lists_equal(a.and_then(|it| it.limits.as_ref()), b.and_then(|it| it.limits.as_ref()))
            && claims(a) == claims(b)
}

/// Writes `b`'s resources over `a`'s wherever they state the same amounts in other words, so that a comparison of texts
/// finds only what differs.
pub(crate) fn borrow_equal_resources(a: &mut PodSpec, b: &PodSpec) {
    fn borrow(a: &mut Option<ResourceRequirements>, b: &Option<ResourceRequirements>) {
        if requirements_equal(a.as_ref(), b.as_ref()) {
            a.clone_from(b);
        }
    }
    fn containers(a: &mut [Container], b: &[Container]) {
        for (a, b) in a.iter_mut().zip(b) {
            borrow(&mut a.resources, &b.resources);
        }
    }
    borrow(&mut a.resources, &b.resources);
    containers(&mut a.containers, &b.containers);
    containers(a.init_containers.as_deref_mut().unwrap_or_default(), init_containers(b));
    if lists_equal(a.overhead.as_ref(), b.overhead.as_ref()) {
        a.overhead.clone_from(&b.overhead);
    }
}

/// The part as JSON without anything absent or empty. `None` where it cannot be written as JSON, which no API type is.
fn pruned<T: Serialize>(part: &T) -> Option<Value> {
    let mut value = serde_json::to_value(part).ok()?;
    prune(&mut value);
    Some(value)
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !says_nothing(value));
        }
        Value::Array(entries) => entries.iter_mut().for_each(prune),
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
