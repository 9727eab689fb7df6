//! The facts about lists that the derived schemas lack: which are merged by which key. They are the `patchStrategy` and
//! `patchMergeKey` marks of Kubernetes v1.36 (`x-kubernetes-patch-*` in its OpenAPI documents) for the types we serve;
//! a list that is not named here is replaced as a whole.

use super::{ListMerge, Merge};

/// How one field of one type is merged.
#[derive(Clone, Copy, Debug)]
pub struct MergeKey {
    /// Name of the type without `io.k8s.`.
    pub type_name: &'static str,
    /// Name of the field.
    pub field: &'static str,
    /// How it is merged.
    pub merge: Merge,
    /// The fields that tell items apart in a server-side apply (`x-kubernetes-list-map-keys`); empty for sets.
    pub list_map_keys: &'static [&'static str],
}

const fn by_key(
    type_name: &'static str,
    field: &'static str,
    key: &'static str,
    list_map_keys: &'static [&'static str],
) -> MergeKey {
    MergeKey { type_name, field, merge: Merge { list: ListMerge::ByKey(key), ..Merge::DEFAULT }, list_map_keys }
}

const fn retaining(type_name: &'static str, field: &'static str, key: &'static str) -> MergeKey {
    MergeKey {
        type_name,
        field,
        merge: Merge { list: ListMerge::ByKey(key), retain_keys: true, ..Merge::DEFAULT },
        list_map_keys: &["name"],
    }
}

const fn set(type_name: &'static str, field: &'static str) -> MergeKey {
    MergeKey { type_name, field, merge: Merge { list: ListMerge::Set, ..Merge::DEFAULT }, list_map_keys: &[] }
}

const CONTAINER: &str = "api.core.v1.Container";
const EPHEMERAL: &str = "api.core.v1.EphemeralContainer";
const CONTAINER_STATUS: &str = "api.core.v1.ContainerStatus";
const POD_SPEC: &str = "api.core.v1.PodSpec";
const POD_STATUS: &str = "api.core.v1.PodStatus";
const NODE_STATUS: &str = "api.core.v1.NodeStatus";
const OBJECT_META: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Every merged list of the types we serve.
pub const MERGE_KEYS: &[MergeKey] = &[
    by_key("api.admissionregistration.v1.MutatingWebhook", "matchConditions", "name", &["name"]),
    by_key("api.admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", "name", &["name"]),
    by_key("api.admissionregistration.v1.ValidatingAdmissionPolicySpec", "matchConditions", "name", &["name"]),
    by_key("api.admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", "name", &["name"]),
    by_key("api.admissionregistration.v1.ValidatingWebhook", "matchConditions", "name", &["name"]),
    by_key("api.admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", "name", &["name"]),
    by_key("api.apps.v1.DaemonSetStatus", "conditions", "type", &["type"]),
    MergeKey {
        type_name: "api.apps.v1.DeploymentSpec",
        field: "strategy",
        merge: Merge { retain_keys: true, ..Merge::DEFAULT },
        list_map_keys: &[],
    },
    by_key("api.apps.v1.DeploymentStatus", "conditions", "type", &["type"]),
    by_key("api.apps.v1.ReplicaSetStatus", "conditions", "type", &["type"]),
    by_key("api.apps.v1.StatefulSetStatus", "conditions", "type", &["type"]),
    by_key("api.autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", "type", &["type"]),
    by_key("api.batch.v1.JobStatus", "conditions", "type", &[]),
    by_key(CONTAINER, "env", "name", &["name"]),
    by_key(CONTAINER, "ports", "containerPort", &["containerPort", "protocol"]),
    by_key(CONTAINER, "volumeDevices", "devicePath", &["devicePath"]),
    by_key(CONTAINER, "volumeMounts", "mountPath", &["mountPath"]),
    by_key(EPHEMERAL, "env", "name", &["name"]),
    by_key(EPHEMERAL, "ports", "containerPort", &["containerPort", "protocol"]),
    by_key(EPHEMERAL, "volumeDevices", "devicePath", &["devicePath"]),
    by_key(EPHEMERAL, "volumeMounts", "mountPath", &["mountPath"]),
    by_key(CONTAINER_STATUS, "allocatedResourcesStatus", "name", &["name"]),
    by_key(CONTAINER_STATUS, "volumeMounts", "mountPath", &["mountPath"]),
    by_key("api.core.v1.NamespaceStatus", "conditions", "type", &["type"]),
    set("api.core.v1.NodeSpec", "podCIDRs"),
    by_key(NODE_STATUS, "addresses", "type", &["type"]),
    by_key(NODE_STATUS, "conditions", "type", &["type"]),
    by_key("api.core.v1.PersistentVolumeClaimStatus", "conditions", "type", &["type"]),
    by_key(POD_SPEC, "containers", "name", &["name"]),
    by_key(POD_SPEC, "ephemeralContainers", "name", &["name"]),
    by_key(POD_SPEC, "hostAliases", "ip", &["ip"]),
    by_key(POD_SPEC, "imagePullSecrets", "name", &["name"]),
    by_key(POD_SPEC, "initContainers", "name", &["name"]),
    retaining(POD_SPEC, "resourceClaims", "name"),
    by_key(POD_SPEC, "schedulingGates", "name", &["name"]),
    by_key(POD_SPEC, "topologySpreadConstraints", "topologyKey", &["topologyKey", "whenUnsatisfiable"]),
    retaining(POD_SPEC, "volumes", "name"),
    by_key(POD_STATUS, "conditions", "type", &["type"]),
    by_key(POD_STATUS, "hostIPs", "ip", &[]),
    by_key(POD_STATUS, "podIPs", "ip", &["ip"]),
    retaining(POD_STATUS, "resourceClaimStatuses", "name"),
    by_key("api.core.v1.ServiceAccount", "secrets", "name", &["name"]),
    by_key("api.core.v1.ServiceSpec", "ports", "port", &["port", "protocol"]),
    by_key("api.core.v1.ServiceStatus", "conditions", "type", &["type"]),
    MergeKey {
        type_name: "api.policy.v1.PodDisruptionBudgetSpec",
        field: "selector",
        merge: Merge { whole: true, ..Merge::DEFAULT },
        list_map_keys: &[],
    },
    by_key("api.policy.v1.PodDisruptionBudgetStatus", "conditions", "type", &["type"]),
    set(OBJECT_META, "finalizers"),
    by_key(OBJECT_META, "ownerReferences", "uid", &["uid"]),
];
