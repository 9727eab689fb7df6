//! The Node object: what the node has and is, that it lives, and the lease by which others notice when it does not.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::api::core::v1::{NodeAddress, NodeCondition, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use supple_quantity::Quantity;

use crate::options::{Beat, Capacity, NodeOptions};

/// What this node can do beyond what every node can; without them the API refuses the resizes they stand for.
const DECLARED_FEATURES: [&str; 2] =
    ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"];

/// The version whose rules the node follows, as `kubectl get nodes` shows it.
const VERSION: &str = concat!("v1.36.2-supple.", env!("CARGO_PKG_VERSION"));

const LEASE_NAMESPACE: &str = "kube-node-lease";
/// A lease is good for so many renewals (the kubelet's values: 40 and 10 seconds).
const BEATS_PER_LEASE: u32 = 4;
/// How often the node's status is written though nothing has changed (the kubelet's value), in renewals.
const STATUS_EVERY: u32 = 30;

/// Create or refresh the Node object.
pub(crate) async fn register(client: &kube::Client, options: &NodeOptions) -> Result<(), kube::Error> {
    let api = Api::<NodeObject>::all(client.clone());
    let labels = labels(&options.name);
    let node = NodeObject {
        metadata: ObjectMeta {
            name: Some(options.name.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        ..NodeObject::default()
    };
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // It was here before: what others put on it (labels, cordon) stays.
            let patch = json!({ "metadata": { "labels": labels } });
            api.patch(&options.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        Err(error) => return Err(error),
    }
    report(client, options).await
}

/// Write the node's status.
async fn report(client: &kube::Client, options: &NodeOptions) -> Result<(), kube::Error> {
    let api = Api::<NodeObject>::all(client.clone());
    let old = api.get(&options.name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
    let status = status(options, &old, (options.clock)());
    let patch = json!({ "status": status });
    api.patch_status(&options.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Keep lease and status fresh until the task is dropped. Failures are logged and tried again at the next beat: that is
/// what a missed beat is for.
pub(crate) async fn heartbeat(client: kube::Client, options: NodeOptions) {
    let leases = Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE);
    let Beat { every, first } = options.beat;
    tokio::time::sleep(options.speed.wait(first)).await;
    for beat in 0_u32.. {
        if let Err(error) = renew(&leases, &options).await {
            tracing::debug!(%error, "the node's lease could not be renewed");
        }
        if beat.is_multiple_of(STATUS_EVERY)
            && beat > 0
            && let Err(error) = report(&client, &options).await
        {
            tracing::warn!(%error, "the node's status could not be written");
        }
        tokio::time::sleep(options.speed.wait(every)).await;
    }
}

async fn renew(leases: &Api<Lease>, options: &NodeOptions) -> Result<(), kube::Error> {
    let now = MicroTime((options.clock)());
    let lasts = options.beat.every.saturating_mul(BEATS_PER_LEASE).as_secs();
    let lasts = i32::try_from(lasts).unwrap_or(i32::MAX);
    let patch = json!({ "spec": { "renewTime": now, "holderIdentity": options.name, "leaseDurationSeconds": lasts } });
    match leases.patch(&options.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(options.name.clone()), ..ObjectMeta::default() },
                spec: Some(LeaseSpec {
                    holder_identity: Some(options.name.clone()),
                    lease_duration_seconds: Some(lasts),
                    renew_time: Some(now),
                    ..LeaseSpec::default()
                }),
            };
            leases.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        result => result.map(|_| ()),
    }
}

/// Go's name of this machine's architecture, which is Kubernetes' too.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn resources(capacity: Capacity) -> BTreeMap<String, WireQuantity> {
    let Capacity { cpu, memory, pods } = capacity;
    [("cpu", Quantity::from(cpu)), ("memory", Quantity::from(memory)), ("pods", Quantity::units(i64::from(pods)))]
        .map(|(key, quantity)| (key.to_owned(), WireQuantity(quantity.to_string())))
        .into()
}

fn status(options: &NodeOptions, old: &[NodeCondition], now: Timestamp) -> NodeStatus {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(
            old.iter()
                .find(|it| it.type_ == type_ && it.status == status)
                .and_then(|it| it.last_transition_time.clone())
                .unwrap_or(Time(now)),
        ),
    };
    let kernel = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    NodeStatus {
        capacity: Some(resources(options.capacity)),
        allocatable: Some(resources(options.capacity)),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]),
        addresses: Some(vec![
            NodeAddress { type_: "InternalIP".into(), address: "127.0.0.1".into() },
            NodeAddress { type_: "Hostname".into(), address: options.name.clone() },
        ]),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().into(),
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into(),
            container_runtime_version: options.runtime.version(),
            kernel_version: text(kernel.release()),
            kubelet_version: VERSION.into(),
            operating_system: "linux".into(),
            os_image: concat!("Supple ", env!("CARGO_PKG_VERSION")).into(),
            ..NodeSystemInfo::default()
        }),
        declared_features: Some(DECLARED_FEATURES.map(Into::into).to_vec()),
        ..NodeStatus::default()
    }
}
