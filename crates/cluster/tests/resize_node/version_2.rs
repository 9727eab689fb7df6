//! cgroup version 2: what the recordings, which were made on version 1, say in its words, and what its files hold.
//!
//! Read from the files themselves and not through the runtime, which would only undo its own translation.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use supple_node::cgroup::{Group, Hierarchies, Mounts};
use supple_node::runtime::{ContainerRef, PodRef};
use supple_resize::kernel;

/// The recorded values of each cgroup as version 2 has them, by the reference's formulas: a pod's weight is linear in its
/// shares, a container's follows the OCI runtimes' curve.
pub fn expected(mut expected: Value) -> Value {
    let cgroups = expected["cgroups"].as_object_mut();
    for (name, values) in cgroups.into_iter().flatten() {
        let shares = values["cpu.shares"].as_u64().unwrap_or_default();
        let weight = if name == "pod" { kernel::pod_weight(shares) } else { kernel::container_weight(shares) };
        let quota = match values["cpu.cfs_quota_us"].as_i64() {
            Some(quota) if quota >= 0 => quota.to_string(),
            _ => "max".to_owned(),
        };
        let memory = match &values["memory.limit_in_bytes"] {
            Value::Number(bytes) => bytes.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        *values = json!({
            "cpu.weight": weight.to_string(),
            "cpu.max": format!("{quota} {}", kernel::DEFAULT_PERIOD_US),
            "memory.max": memory,
        });
    }
    expected
}

/// Our own root, by the name that the process runtime keeps in its data directory; `None` on version 1.
pub fn root(data_dir: &Path) -> Option<PathBuf> {
    let hierarchies = Hierarchies::detect(&Mounts::of_this_machine()).ok()?;
    let name = std::fs::read_to_string(data_dir.join("cgroup")).ok()?;
    match &hierarchies {
        Hierarchies::V1(_) => None,
        Hierarchies::V2(_) => Some(Group::root(&hierarchies, name.trim()).memory_directory().to_owned()),
    }
}

/// What the pod's own cgroup below `root` holds; `None` where there is none.
pub fn pod(root: &Path, pod: &PodRef) -> Option<Value> {
    files(&root.join(format!("pod{}", pod.uid)))
}

/// What a container's cgroup below `root` holds; `None` where there is none.
pub fn container(root: &Path, id: &ContainerRef) -> Option<Value> {
    files(&root.join(format!("pod{}/{}-{}", id.pod.uid, id.container, id.attempt)))
}

fn files(cgroup: &Path) -> Option<Value> {
    let read = |name: &str| Some(std::fs::read_to_string(cgroup.join(name)).ok()?.trim().to_owned());
    Some(json!({
        "cpu.weight": read("cpu.weight")?, "cpu.max": read("cpu.max")?, "memory.max": read("memory.max")?,
    }))
}
