//! What a container is started with: its command line and environment, resolved from the pod spec, and its OOM score.
//!
//! Two phases, so that resolving is pure: [`references`] says which ConfigMaps and Secrets are needed, the worker reads
//! them, [`resolve`] does the rest.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod, ResourceFieldSelector};
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_resize::amounts::Amounts;

use crate::options::Capacity;

/// A ConfigMap or Secret that an environment refers to, by name, in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    /// A ConfigMap.
    ConfigMap(String),
    /// A Secret.
    Secret(String),
}

/// What was read of them; an object that does not exist is missing.
pub(crate) type Sources = BTreeMap<Reference, BTreeMap<String, String>>;

/// How a container is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// `command`, variables replaced.
    pub(crate) command: Vec<String>,
    /// `args`, likewise.
    pub(crate) args: Vec<String>,
    /// The environment, in the order of the spec.
    pub(crate) env: Vec<(String, String)>,
}

/// Which objects the environment of this container needs.
pub(crate) fn references(container: &Container) -> BTreeSet<Reference> {
    let from = container.env_from.iter().flatten().flat_map(|from| {
        let map = from.config_map_ref.as_ref().map(|it| Reference::ConfigMap(it.name.clone()));
        let secret = from.secret_ref.as_ref().map(|it| Reference::Secret(it.name.clone()));
        map.into_iter().chain(secret)
    });
    let single = container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()).flat_map(|source| {
        let map = source.config_map_key_ref.as_ref().map(|it| Reference::ConfigMap(it.name.clone()));
        let secret = source.secret_key_ref.as_ref().map(|it| Reference::Secret(it.name.clone()));
        map.into_iter().chain(secret)
    });
    from.chain(single).collect()
}

/// Command line and environment of a container. `pod` has its allocated resources.
///
/// # Errors
/// What is missing, in the kubelet's words: the message of a container waiting with `CreateContainerConfigError`.
pub(crate) fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    capacity: Capacity,
) -> Result<Resolved, String> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut known = BTreeMap::<String, String>::new();
    let set = |env: &mut Vec<(String, String)>, known: &mut BTreeMap<String, String>, name: String, value: String| {
        known.insert(name.clone(), value.clone());
        match env.iter_mut().find(|(other, _)| *other == name) {
            Some(entry) => entry.1 = value,
            None => env.push((name, value)),
        }
    };
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let map = from.config_map_ref.as_ref().map(|it| (Reference::ConfigMap(it.name.clone()), it.optional));
        let secret = from.secret_ref.as_ref().map(|it| (Reference::Secret(it.name.clone()), it.optional));
        for (reference, optional) in map.into_iter().chain(secret) {
            match sources.get(&reference) {
                Some(data) => {
                    for (key, value) in data {
                        set(&mut env, &mut known, format!("{prefix}{key}"), value.clone());
                    }
                }
                None if optional == Some(true) => {}
                None => return Err(missing(&reference)),
            }
        }
    }
    for EnvVar { name, value, value_from } in container.env.iter().flatten() {
        let value = match (value, value_from) {
            (Some(value), _) => Some(expand(value, &known)),
            (None, Some(source)) => from_source(pod, container, source, sources, capacity)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            set(&mut env, &mut known, name.clone(), value);
        }
    }
    let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, &known)).collect();
    Ok(Resolved { command: expanded(&container.command), args: expanded(&container.args), env })
}

fn missing(reference: &Reference) -> String {
    match reference {
        Reference::ConfigMap(name) => format!("configmap {name:?} not found"),
        Reference::Secret(name) => format!("secret {name:?} not found"),
    }
}

/// The value a source stands for; `None` where it is optional and absent.
fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    capacity: Capacity,
) -> Result<Option<String>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let key_of = |reference: Reference, key: &str, optional: Option<bool>, kind: &str, name: &str| {
        let optional = optional == Some(true);
        match sources.get(&reference).map(|data| data.get(key)) {
            Some(Some(value)) => Ok(Some(value.clone())),
            _ if optional => Ok(None),
            Some(None) => Err(format!("couldn't find key {key} in {kind} {namespace}/{name}")),
            None => Err(missing(&reference)),
        }
    };
    if let Some(it) = &source.config_map_key_ref {
        return key_of(Reference::ConfigMap(it.name.clone()), &it.key, it.optional, "ConfigMap", &it.name);
    }
    if let Some(it) = &source.secret_key_ref {
        return key_of(Reference::Secret(it.name.clone()), &it.key, it.optional, "Secret", &it.name);
    }
    if let Some(it) = &source.field_ref {
        return field(pod, &it.field_path).map(Some).ok_or_else(|| format!("unsupported fieldPath: {}", it.field_path));
    }
    if let Some(it) = &source.resource_field_ref {
        return resource(pod, container, it, capacity).map(Some);
    }
    Err("an environment variable has a source of a kind this node does not know".into())
}

/// The downward API's fields of a pod.
fn field(pod: &Pod, path: &str) -> Option<String> {
    let meta = &pod.metadata;
    let subscript = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Some(meta.labels.as_ref().and_then(|it| it.get(key)).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Some(meta.annotations.as_ref().and_then(|it| it.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    match path {
        "metadata.name" => Some(meta.name.clone().unwrap_or_default()),
        "metadata.namespace" => Some(meta.namespace.clone().unwrap_or_default()),
        "metadata.uid" => Some(meta.uid.clone().unwrap_or_default()),
        "spec.nodeName" => Some(spec.and_then(|it| it.node_name.clone()).unwrap_or_default()),
        "spec.serviceAccountName" => Some(spec.and_then(|it| it.service_account_name.clone()).unwrap_or_default()),
        // Pods share the machine's loopback address.
        "status.hostIP" | "status.podIP" | "status.hostIPs" | "status.podIPs" => Some("127.0.0.1".into()),
        _ => None,
    }
}

/// `limits.cpu` and its like, in units of the divisor, rounded up; a missing limit is what the node has.
fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    capacity: Capacity,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().unwrap_or(&own.name);
    let container = supple_resize::amounts::containers(pod)
        .find(|it| it.name == name)
        .ok_or_else(|| format!("container {name} not found"))?;
    let amounts = Amounts::of(container.resources.as_ref());
    let (amount, milli) = match selector.resource.as_str() {
        "requests.cpu" => (amounts.cpu_request.0, true),
        "limits.cpu" => (positive(amounts.cpu_limit.0).unwrap_or(capacity.cpu.0), true),
        "requests.memory" => (amounts.memory_request.0, false),
        "limits.memory" => (positive(amounts.memory_limit.0).unwrap_or(capacity.memory.0), false),
        other => return Err(format!("unsupported container resource: {other}")),
    };
    let divisor = match &selector.divisor {
        Some(text) => {
            let quantity: Quantity =
                text.0.parse().map_err(|error| format!("divisor {:?} of {}: {error}", text.0, selector.resource))?;
            if milli { MilliCpu::from(&quantity).0 } else { Bytes::from(&quantity).0 }
        }
        None => 0,
    };
    // "0" is how an absent divisor is stored; it stands for one core or one byte.
    let divisor = positive(divisor).unwrap_or(if milli { 1000 } else { 1 });
    let whole = amount / divisor + i64::from(amount % divisor > 0);
    Ok(whole.to_string())
}

fn positive(n: i64) -> Option<i64> {
    (n > 0).then_some(n)
}

/// Replaces `$(NAME)` by what is known; `$$` is a plain `$`; what is not known stays as it was written.
fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|it| it.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// `/proc/PID/oom_score_adj`: the kernel kills the highest first. Critical and Guaranteed pods last, BestEffort first,
/// Burstable by the share of the machine's memory they did not ask for (the kubelet's formula).
pub(crate) fn oom_score(pod: &Pod, container: &Container, qos: Option<&str>, machine_memory: Bytes) -> i32 {
    /// Priorities from here on are the system's own.
    const CRITICAL: i32 = 2_000_000_000;
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    match qos {
        _ if priority >= CRITICAL => -997,
        Some("Guaranteed") => -997,
        Some("BestEffort") => 1000,
        _ => {
            let request = Amounts::of(container.resources.as_ref()).memory_request.0;
            let share = i128::from(request) * 1000 / i128::from(machine_memory.0.max(1));
            // 3 keeps it above Guaranteed pods, 999 below BestEffort ones.
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_expand(text: &str, expect: &str) {
        let known = BTreeMap::from([("A".to_owned(), "one".to_owned()), ("B".to_owned(), "$(A)".to_owned())]);
        assert_eq!(expand(text, &known), expect);
    }

    #[test]
    fn variables_are_replaced_once() {
        check_expand("x $(A) y", "x one y");
        check_expand("$(B)", "$(A)");
        check_expand("$$(A)", "$(A)");
        check_expand("$(C) $A $", "$(C) $A $");
        check_expand("$(A", "$(A");
        check_expand("ä$(A)ö", "äoneö");
    }

    fn pod() -> (Pod, Container) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "x"}},
            "spec": {"nodeName": "lab", "containers": [{
                "name": "c", "command": ["sh", "-c"], "args": ["echo $(GREETING)"],
                "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Mi"}},
                "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
                "env": [
                    {"name": "GREETING", "value": "hello $(P_key)"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "MILLI", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                    {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                    {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}
                ]
            }]}
        }))
        .unwrap();
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        (pod, container)
    }

    const CAPACITY: Capacity = Capacity { cpu: MilliCpu(4000), memory: Bytes(1 << 30), pods: 10 };

    #[test]
    fn an_environment_is_resolved() {
        let (pod, container) = pod();
        let map = Reference::ConfigMap("m".into());
        assert_eq!(references(&container), BTreeSet::from([map.clone(), Reference::Secret("s".into())]));
        let sources = Sources::from([(map, BTreeMap::from([("key".to_owned(), "world".to_owned())]))]);
        let resolved = resolve(&pod, &container, &sources, CAPACITY).unwrap();
        assert_eq!(
            (resolved.command, resolved.args),
            (vec!["sh".into(), "-c".into()], vec!["echo hello world".into()])
        );
        let env: Vec<_> = resolved.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            env,
            ["P_key=world", "GREETING=hello world", "NODE=lab", "APP=x", "CPU=2", "MILLI=1500", "MEMORY=1024"]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let (pod, container) = pod();
        let error = resolve(&pod, &container, &Sources::new(), CAPACITY).unwrap_err();
        assert_eq!(error, "configmap \"m\" not found");
    }

    #[test]
    fn oom_scores() {
        let (pod, container) = pod();
        let score = |qos| oom_score(&pod, &container, Some(qos), Bytes(1 << 30));
        assert_eq!((score("Guaranteed"), score("Burstable"), score("BestEffort")), (-997, 999, 1000));
        assert_eq!(oom_score(&pod, &container, Some("Burstable"), Bytes(2 << 20)), 500);
    }
}
