//! Defaults of everything that is no resource.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle,
    ObjectFieldSelector, PodSpec, Probe, Volume,
};

/// Mode of files made from secrets, config maps and the downward API: 0644.
const FILE_MODE: i32 = 0o644;

fn default_to(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

/// `host_ports`: ports of the pod are ports of the machine.
pub(super) fn spec(spec: &mut PodSpec, host_ports: bool) {
    default_to(&mut spec.restart_policy, "Always");
    default_to(&mut spec.dns_policy, "ClusterFirst");
    default_to(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    // The old name of the field follows the new one.
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name = spec.service_account.take().filter(|name| !name.is_empty());
    }
    spec.service_account.clone_from(&spec.service_account_name);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        self::container(container, host_ports);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        ephemeral(container);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        self::volume(volume);
    }
}

fn container(container: &mut Container, host_ports: bool) {
    default_to(&mut container.termination_message_path, "/dev/termination-log");
    default_to(&mut container.termination_message_policy, "File");
    let image = container.image.as_deref().unwrap_or_default();
    default_to(&mut container.image_pull_policy, pull_policy(image));
    ports(container.ports.as_mut(), host_ports);
    env(container.env.as_mut());
    for it in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        it.iter_mut().for_each(probe);
    }
    container.lifecycle.iter_mut().for_each(lifecycle);
}

fn ephemeral(container: &mut EphemeralContainer) {
    default_to(&mut container.termination_message_path, "/dev/termination-log");
    default_to(&mut container.termination_message_policy, "File");
    let image = container.image.as_deref().unwrap_or_default();
    default_to(&mut container.image_pull_policy, pull_policy(image));
    env(container.env.as_mut());
}

/// An image that may change under its name is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn ports(ports: Option<&mut Vec<ContainerPort>>, host_ports: bool) {
    for port in ports.into_iter().flatten() {
        default_to(&mut port.protocol, "TCP");
        if host_ports && port.host_port.unwrap_or(0) == 0 {
            port.host_port = Some(port.container_port);
        }
    }
}

fn env(env: Option<&mut Vec<EnvVar>>) {
    let sources = env.into_iter().flatten().filter_map(|it| it.value_from.as_mut());
    sources.filter_map(|it| it.field_ref.as_mut()).for_each(field_ref);
}

fn field_ref(field: &mut ObjectFieldSelector) {
    default_to(&mut field.api_version, "v1");
}

fn probe(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    }
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn lifecycle(lifecycle: &mut Lifecycle) {
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        handler.http_get.iter_mut().for_each(http_get);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    default_to(&mut action.path, "/");
    default_to(&mut action.scheme, "HTTP");
}

fn volume(volume: &mut Volume) {
    if (Volume { name: volume.name.clone(), ..Volume::default() }) == *volume {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        source.items.iter_mut().flatten().filter_map(|it| it.field_ref.as_mut()).for_each(field_ref);
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(FILE_MODE);
        for source in source.sources.iter_mut().flatten() {
            if let Some(token) = &mut source.service_account_token {
                token.expiration_seconds.get_or_insert(3600);
            }
            if let Some(downward) = &mut source.downward_api {
                downward.items.iter_mut().flatten().filter_map(|it| it.field_ref.as_mut()).for_each(field_ref);
            }
        }
    }
}
