//! A pod as the recordings describe one: from its object in the API and the files of its cgroups.

use serde_json::{Map, Value, json};
use supple_node::runtime::{ContainerRef, PodRef, Runtime};
use supple_resize::kernel::CgroupResources;

use crate::expected::comparable;
use crate::version_2::Files;

/// What is to be seen of a pod now, on version 2 in these files; `null` is one that the API does not have.
pub async fn observed(pod: &Value, runtime: &dyn Runtime, files: Option<&Files>) -> Value {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if pod.is_null() {
        return Value::Null;
    }
    let id = PodRef {
        uid: text("/metadata/uid").into(),
        namespace: text("/metadata/namespace").into(),
        name: text("/metadata/name").into(),
    };
    let status = &pod["status"];
    let qos = text("/status/qosClass");
    let mut containers = Map::new();
    let mut cgroups = Map::new();
    if let Some(values) = pod_cgroup(runtime, files, &id, qos).await {
        cgroups.insert("pod".into(), values);
    }
    let lists = [&status["initContainerStatuses"], &status["containerStatuses"]];
    for container in lists.into_iter().filter_map(Value::as_array).flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        let state = container["state"].as_object().and_then(|it| it.iter().next());
        containers.insert(
            name.into(),
            json!({
                "resources": container["resources"],
                "allocatedResources": container["allocatedResources"],
                "restartCount": container["restartCount"],
                "state": state.map(|(state, _)| state),
                "reason": state.map(|(_, it)| &it["reason"]),
                "lastTermination": container.pointer("/lastState/terminated/reason"),
            }),
        );
        let attempt = container["restartCount"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
        let id = ContainerRef { pod: id.clone(), container: name.into(), attempt };
        if let (Some("running"), Some(values)) =
            (state.map(|it| it.0.as_str()), container_cgroup(runtime, files, &id, qos).await)
        {
            cgroups.insert(name.into(), values);
        }
    }
    json!({
        "generation": pod["metadata"]["generation"],
        "phase": status["phase"],
        "qosClass": status["qosClass"],
        "resizeConditions": conditions(status, &id.name),
        "podResources": status["resources"],
        "podAllocated": status["allocatedResources"],
        "containers": containers,
        "cgroups": if cgroups.is_empty() { Value::Null } else { cgroups.into() },
    })
}

async fn pod_cgroup(runtime: &dyn Runtime, files: Option<&Files>, id: &PodRef, qos: &str) -> Option<Value> {
    match files {
        Some(files) => files.pod(id, qos),
        None => runtime.read_pod(id).await.ok().map(|it| cgroup(&it)),
    }
}

async fn container_cgroup(runtime: &dyn Runtime, files: Option<&Files>, id: &ContainerRef, qos: &str) -> Option<Value> {
    match files {
        Some(files) => files.container(runtime, id, qos),
        None => runtime.read_container(id).await.ok().map(|it| cgroup(&it)),
    }
}

fn conditions(status: &Value, pod: &str) -> Vec<Value> {
    let all = status["conditions"].as_array().into_iter().flatten();
    let resize = all.filter(|it| it["type"].as_str().is_some_and(|it| it.starts_with("PodResize")));
    resize
        .map(|it| {
            let mut out = Map::new();
            for key in ["type", "status", "reason", "observedGeneration"] {
                if let Some(value) = it.get(key) {
                    out.insert(key.into(), value.clone());
                }
            }
            if let Some(message) = it["message"].as_str() {
                out.insert("message".into(), json!(comparable(message, pod)));
            }
            Value::Object(out)
        })
        .collect()
}

fn cgroup(values: &CgroupResources) -> Value {
    let memory = values.memory_limit().map_or(json!("max"), |limit| json!(limit.0));
    json!({ "cpu.shares": values.cpu_shares, "cpu.cfs_quota_us": values.cpu_quota_us, "memory.limit_in_bytes": memory })
}
