//! Which parts of a pod's spec a runtime without images, volumes and networks stores but does not act on, in words
//! for one event.

use k8s_openapi::api::core::v1::{Container, Pod};

/// The parts that this pod uses, each once, in a fixed order.
pub fn ignored(pod: &Pod) -> Vec<String> {
    parts(pod, false)
}

/// The same of a runtime that has images.
pub fn with_images(pod: &Pod) -> Vec<String> {
    parts(pod, true)
}

fn parts(pod: &Pod, images: bool) -> Vec<String> {
    let user = if images { "their images say" } else { "this program does" };
    let security = format!("security contexts (everything runs as {user})");
    let Some(spec) = &pod.spec else { return Vec::new() };
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let any = |uses: fn(&Container) -> bool| containers().any(uses);
    let has = |it: bool, what: &str| it.then(|| what.to_owned());
    [
        has(
            !images && any(|it| it.command.as_ref().is_none_or(Vec::is_empty)),
            "the image's own entry point (a stand-in runs)",
        ),
        has(spec.volumes.as_ref().is_some_and(|it| !it.is_empty()), "volumes"),
        has(any(|it| it.volume_mounts.as_ref().is_some_and(|it| !it.is_empty())), "volume mounts"),
        has(any(|it| it.volume_devices.as_ref().is_some_and(|it| !it.is_empty())), "volume devices"),
        has(any(|it| it.startup_probe.is_some()), "startup probes"),
        has(any(|it| it.readiness_probe.is_some()), "readiness probes"),
        has(any(|it| it.liveness_probe.is_some()), "liveness probes"),
        has(any(|it| it.lifecycle.is_some()), "lifecycle hooks"),
        has(any(|it| it.ports.as_ref().is_some_and(|it| !it.is_empty())), "ports"),
        has(
            spec.dns_config.is_some() || spec.host_aliases.as_ref().is_some_and(|it| !it.is_empty()),
            "DNS settings and host aliases",
        ),
        has(some(&spec.host_pid) || some(&spec.host_ipc) || some(&spec.share_process_namespace), "shared namespaces"),
        has(
            any(|it| it.security_context.is_some())
                || spec.security_context.as_ref().is_some_and(|it| *it != Default::default()),
            &security,
        ),
        has(any(|it| some(&it.stdin) || some(&it.tty)), "standard input and terminals"),
        has(spec.ephemeral_containers.as_ref().is_some_and(|it| !it.is_empty()), "ephemeral containers"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn some(flag: &Option<bool>) -> bool {
    *flag == Some(true)
}

#[cfg(test)]
mod tests {
    use super::ignored;

    #[track_caller]
    fn check(spec: serde_json::Value, expect: &[&str]) {
        let pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        assert_eq!(ignored(&pod), expect);
    }

    #[test]
    fn only_what_a_pod_uses_is_named() {
        check(serde_json::json!({"containers": [{"name": "c", "command": ["sleep"]}]}), &[]);
        check(
            serde_json::json!({
                "volumes": [{"name": "v", "emptyDir": {}}],
                "securityContext": {},
                "containers": [
                    {"name": "a", "command": ["sleep"], "livenessProbe": {"exec": {"command": ["true"]}}},
                    {"name": "b", "ports": [{"containerPort": 80}], "livenessProbe": {"exec": {"command": ["true"]}}},
                ],
            }),
            &["the image's own entry point (a stand-in runs)", "volumes", "liveness probes", "ports"],
        );
        check(
            serde_json::json!({"containers": [], "initContainers": [{"name": "i", "command": ["x"], "tty": true}]}),
            &["standard input and terminals"],
        );
    }
}
