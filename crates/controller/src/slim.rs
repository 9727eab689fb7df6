//! A pod as it is read from the wire: what the loop looks at, and nothing else. Most of a pod is never looked at (half of it says
//! who owns which field), and building that for twenty thousand pods was most of the time that a start took.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerResizePolicy, ContainerState, ContainerStatus, NodeAllocatableResourceClaimStatus, Pod,
    PodCondition, PodOS, PodSpec, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::api::Resize;
use serde::{Deserialize, Deserializer};
use supple_decide::hand::RESIZE;

type Texts = BTreeMap<String, String>;
type Amounts = BTreeMap<String, Quantity>;

/// A pod of which only what the loop looks at has been read: the facts made of it are those of the whole pod.
#[derive(Clone, Debug)]
pub struct SlimPod(pub Pod);

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = <Pod as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

impl Resize for SlimPod {}

impl<'de> Deserialize<'de> for SlimPod {
    fn deserialize<D: Deserializer<'de>>(pod: D) -> Result<Self, D::Error> {
        let Wire { metadata, spec, status } = Wire::deserialize(pod)?;
        Ok(Self(Pod {
            metadata: metadata.unwrap_or_default().into(),
            spec: spec.map(PodSpec::from),
            status: status.map(PodStatus::from),
        }))
    }
}

/// Fields are told apart by these structs; a field that is in none of them is passed over.
#[derive(Deserialize)]
struct Wire {
    metadata: Option<Meta>,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<Texts>,
    annotations: Option<Texts>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<Vec<Managed>>,
}

/// Who manages some fields; of them only who resized it matters.
#[derive(Deserialize)]
struct Managed {
    manager: Option<String>,
    subresource: Option<String>,
    time: Option<Time>,
}

impl From<Meta> for ObjectMeta {
    fn from(it: Meta) -> Self {
        let resizers = it.managed_fields.map(|all| {
            let resizers = all.into_iter().filter(|it| it.subresource.as_deref() == Some(RESIZE));
            let entry = |Managed { manager, subresource, time }| ManagedFieldsEntry {
                manager,
                subresource,
                time,
                ..ManagedFieldsEntry::default()
            };
            resizers.map(entry).collect()
        });
        Self {
            name: it.name,
            namespace: it.namespace,
            uid: it.uid,
            resource_version: it.resource_version,
            generation: it.generation,
            creation_timestamp: it.creation_timestamp,
            deletion_timestamp: it.deletion_timestamp,
            deletion_grace_period_seconds: it.deletion_grace_period_seconds,
            labels: it.labels,
            annotations: it.annotations,
            owner_references: it.owner_references,
            managed_fields: resizers,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    containers: Option<Vec<SpecContainer>>,
    init_containers: Option<Vec<SpecContainer>>,
    resources: Option<ResourceRequirements>,
    overhead: Option<Amounts>,
    priority: Option<i32>,
    priority_class_name: Option<String>,
    restart_policy: Option<String>,
    active_deadline_seconds: Option<i64>,
    os: Option<PodOS>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecContainer {
    name: Option<String>,
    resources: Option<ResourceRequirements>,
    resize_policy: Option<Vec<ContainerResizePolicy>>,
    restart_policy: Option<String>,
}

impl From<Spec> for PodSpec {
    fn from(it: Spec) -> Self {
        let container = |it: SpecContainer| Container {
            name: it.name.unwrap_or_default(),
            resources: it.resources,
            resize_policy: it.resize_policy,
            restart_policy: it.restart_policy,
            ..Container::default()
        };
        let all = |list: Vec<SpecContainer>| list.into_iter().map(container).collect::<Vec<_>>();
        Self {
            node_name: it.node_name,
            containers: it.containers.map(all).unwrap_or_default(),
            init_containers: it.init_containers.map(all),
            resources: it.resources,
            overhead: it.overhead,
            priority: it.priority,
            priority_class_name: it.priority_class_name,
            restart_policy: it.restart_policy,
            active_deadline_seconds: it.active_deadline_seconds,
            os: it.os,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    start_time: Option<Time>,
    qos_class: Option<String>,
    observed_generation: Option<i64>,
    resources: Option<ResourceRequirements>,
    allocated_resources: Option<Amounts>,
    container_statuses: Option<Vec<StatusContainer>>,
    init_container_statuses: Option<Vec<StatusContainer>>,
    node_allocatable_resource_claim_statuses: Option<Vec<NodeAllocatableResourceClaimStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusContainer {
    name: Option<String>,
    ready: Option<bool>,
    restart_count: Option<i32>,
    state: Option<ContainerState>,
    last_state: Option<ContainerState>,
    resources: Option<ResourceRequirements>,
    allocated_resources: Option<Amounts>,
}

impl From<Status> for PodStatus {
    fn from(it: Status) -> Self {
        let container = |it: StatusContainer| ContainerStatus {
            name: it.name.unwrap_or_default(),
            ready: it.ready.unwrap_or_default(),
            restart_count: it.restart_count.unwrap_or_default(),
            state: it.state,
            last_state: it.last_state,
            resources: it.resources,
            allocated_resources: it.allocated_resources,
            ..ContainerStatus::default()
        };
        let all = |list: Vec<StatusContainer>| list.into_iter().map(container).collect::<Vec<_>>();
        Self {
            phase: it.phase,
            reason: it.reason,
            message: it.message,
            conditions: it.conditions,
            start_time: it.start_time,
            qos_class: it.qos_class,
            observed_generation: it.observed_generation,
            resources: it.resources,
            allocated_resources: it.allocated_resources,
            container_statuses: it.container_statuses.map(all),
            init_container_statuses: it.init_container_statuses.map(all),
            node_allocatable_resource_claim_statuses: it.node_allocatable_resource_claim_statuses,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use supple_decide::facts::PodFacts;
    use supple_decide::key::WorkloadKey;

    use super::*;

    fn run(second: u32, reason: &str) -> Value {
        json!({"terminated": {"exitCode": 137, "reason": reason, "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": format!("2026-01-01T00:00:{second:02}Z")}})
    }

    /// A pod with everything that facts are made of, and much beside it.
    fn rich() -> Value {
        let sizes = json!({"requests": {"cpu": "100m", "memory": "100Mi", "hugepages-2Mi": "4Mi"},
            "limits": {"cpu": "1", "memory": "200Mi"}, "claims": [{"name": "gpu"}]});
        let note = json!({"by": "controller", "at": "2026-01-01T00:00:00Z", "generation": 3,
            "before": {"app": {"memoryRequest": "50Mi"}}, "after": {"app": {"memoryRequest": "100Mi"}}});
        let entry = |manager: &str, subresource: &str, time: &str| {
            json!({"manager": manager, "operation": "Update",
            "subresource": subresource, "time": time, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:containers": {}}}})
        };
        let status = |name: &str, state: Value| {
            json!({"name": name, "image": "i", "imageID": "x", "containerID": "c://1",
            "ready": true, "started": true, "restartCount": 2, "state": state, "lastState": run(9, "OOMKilled"),
            "resources": sizes, "allocatedResources": {"cpu": "100m", "memory": "90Mi"}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
        };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-7d4-x", "generateName": "web-7d4-", "namespace": "shop", "uid": "u1", "resourceVersion": "17",
                "generation": 4, "creationTimestamp": "2025-12-31T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "deletionGracePeriodSeconds": 30, "finalizers": ["x/y"],
                "labels": {"app": "web", "pod-template-hash": "7d4", "supple.dev/mode": "in-place"},
                "annotations": {"supple.dev/last-resize": note.to_string(), "karpenter.sh/do-not-disrupt": "true",
                    "kubernetes.io/config.mirror": "m", "other": "o"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4", "uid": "2", "controller": true}],
                "managedFields": [
                    entry("kubectl", "", "2026-01-01T00:00:00Z"), entry("supple", "resize", "2026-01-01T00:00:01Z"),
                    entry("vpa", "resize", "2026-01-01T00:00:02Z"), entry("kubelet", "status", "2026-01-01T00:00:03Z"),
                ],
            },
            "spec": {
                "nodeName": "n1", "priority": 7, "priorityClassName": "high", "restartPolicy": "Never",
                "activeDeadlineSeconds": 600, "os": {"name": "windows"}, "overhead": {"cpu": "10m", "memory": "1Mi"},
                "resources": {"requests": {"cpu": "2"}}, "serviceAccountName": "s", "volumes": [{"name": "v", "emptyDir": {}}],
                "initContainers": [
                    {"name": "setup", "image": "i", "resources": sizes},
                    {"name": "side", "image": "i", "restartPolicy": "Always", "resources": sizes},
                ],
                "containers": [{"name": "app", "image": "i", "env": [{"name": "A", "value": "B"}], "resources": sizes,
                    "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}],
                "ephemeralContainers": [{"name": "debug", "image": "i"}],
            },
            "status": {
                "phase": "Running", "reason": "Evicted", "qosClass": "Burstable", "observedGeneration": 4,
                "message": "The node was low on resource: memory. Container app was using 9Mi, request is 0, has larger consumption of memory. ",
                "startTime": "2025-12-31T00:00:05Z", "hostIP": "10.0.0.1", "podIPs": [{"ip": "10.1.0.1"}],
                "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "2"},
                "conditions": [
                    {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:06Z"},
                    {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room",
                        "observedGeneration": 4, "lastTransitionTime": "2026-01-01T00:00:07Z"},
                    {"type": "PodResizeInProgress", "status": "True", "reason": "Error", "message": "failed"},
                    {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"},
                ],
                "initContainerStatuses": [status("setup", run(8, "Completed")), status("side", json!({"running": {"startedAt": "2026-01-01T00:00:04Z"}}))],
                "containerStatuses": [status("app", json!({"waiting": {"reason": "CrashLoopBackOff"}}))],
                "nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "c", "containers": ["app"], "resources": {"cpu": "1"}}],
            },
        })
    }

    /// Facts, and what is read beside them: whose it is, its labels, and its revision for the watch.
    fn of(pod: &Pod) -> (PodFacts, WorkloadKey, Option<Texts>, Option<String>) {
        let workload = crate::view::owner::workload_of(pod, |_, _| None);
        let meta = &pod.metadata;
        (PodFacts::of(pod, workload.clone()), workload, meta.labels.clone(), meta.resource_version.clone())
    }

    #[track_caller]
    fn check(pod: &Value, what: &str) {
        let text = pod.to_string();
        let Ok(whole) = serde_json::from_str::<Pod>(&text) else { return };
        let slim = serde_json::from_str::<SlimPod>(&text).unwrap();
        assert_eq!(of(&slim.0), of(&whole), "{what}");
        assert!(slim.0.metadata.managed_fields.iter().flatten().all(|it| it.fields_v1.is_none()));
    }

    /// Every place in a value.
    fn places(value: &Value, path: &str, into: &mut Vec<String>) {
        let one = |key: String| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, it)| {
                into.push(one(key.clone()));
                places(it, &one(key.clone()), into);
            }),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, it)| places(it, &one(index.to_string()), into))
            }
            _ => {}
        }
    }

    #[test]
    fn its_facts_are_those_of_the_whole_pod_whatever_is_missing() {
        let rich = rich();
        check(&rich, "all of it");
        let mut all = Vec::new();
        places(&rich, "", &mut all);
        assert!(all.len() > 150, "{}", all.len());
        for place in all {
            let (parent, key) = place.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/").replace("~0", "~");
            let mut without = rich.clone();
            without.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(&key);
            check(&without, &format!("without {place}"));
            let mut null = rich.clone();
            *null.pointer_mut(&place).unwrap() = Value::Null;
            check(&null, &format!("null at {place}"));
        }
    }
}
