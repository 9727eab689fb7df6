//! cgroup version 2: what the recordings, which were made on version 1, say in its words, and what its files hold.
//!
//! Read from the files themselves and not through the runtime, which would only undo its own translation.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use supple_node::cgroup::{Group, Hierarchies, Mounts};
use supple_node::runtime::{ContainerRef, PodRef, Runtime};
use supple_resize::kernel;

use crate::ground::Ground;

/// Where a node's cgroups are on version 2.
pub struct Files {
    root: PathBuf,
    places: Places,
    container_weight: fn(u64) -> u64,
}

/// How a runtime lays them out below its root.
enum Places {
    /// As the process runtime does.
    Process,
    /// As the reference does, below which containers have the names that the container runtime gives them.
    Cri,
}

impl Files {
    /// Below our own root, by the name that a runtime keeps in its data directory; `None` on version 1.
    pub fn of(ground: &Ground, data_dir: &Path) -> Option<Self> {
        let hierarchies = Hierarchies::detect(&Mounts::of_this_machine()).ok()?;
        let name = std::fs::read_to_string(data_dir.join("cgroup")).ok()?;
        let root = match &hierarchies {
            Hierarchies::V1(_) => return None,
            Hierarchies::V2(_) => Group::root(&hierarchies, name.trim()).memory_directory().to_owned(),
        };
        Some(match ground {
            Ground::Process => Self { root, places: Places::Process, container_weight: kernel::container_weight },
            Ground::Cri(containerd) => Self {
                root,
                places: Places::Cri,
                container_weight: match containerd.weighs_by_the_curve() {
                    true => kernel::container_weight,
                    false => kernel::pod_weight,
                },
            },
        })
    }

    /// The recorded values of each cgroup as version 2 has them, by the reference's formulas: a pod's weight is linear in
    /// its shares, a container's follows the OCI runtime's curve.
    pub fn expected(&self, mut expected: Value) -> Value {
        let cgroups = expected["cgroups"].as_object_mut();
        for (name, values) in cgroups.into_iter().flatten() {
            let shares = values["cpu.shares"].as_u64().unwrap_or_default();
            let weight = if name == "pod" { kernel::pod_weight(shares) } else { (self.container_weight)(shares) };
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

    /// What the own cgroup of a pod of this class holds; `None` where there is none.
    pub fn pod(&self, pod: &PodRef, qos: &str) -> Option<Value> {
        files(&self.directory(pod, qos))
    }

    /// What a container's cgroup holds; `None` where there is none.
    pub fn container(&self, runtime: &dyn Runtime, id: &ContainerRef, qos: &str) -> Option<Value> {
        let name = match self.places {
            Places::Process => format!("{}-{}", id.container, id.attempt),
            Places::Cri => runtime.container_id(id).rsplit('/').next()?.to_owned(),
        };
        files(&self.directory(&id.pod, qos).join(name))
    }

    fn directory(&self, pod: &PodRef, qos: &str) -> PathBuf {
        let above = match (&self.places, qos) {
            (Places::Process, _) => "",
            (Places::Cri, "Burstable") => "kubepods/burstable",
            (Places::Cri, "BestEffort") => "kubepods/besteffort",
            (Places::Cri, _) => "kubepods",
        };
        self.root.join(above).join(format!("pod{}", pod.uid))
    }
}

fn files(cgroup: &Path) -> Option<Value> {
    let read = |name: &str| Some(std::fs::read_to_string(cgroup.join(name)).ok()?.trim().to_owned());
    Some(json!({
        "cpu.weight": read("cpu.weight")?, "cpu.max": read("cpu.max")?, "memory.max": read("memory.max")?,
    }))
}
