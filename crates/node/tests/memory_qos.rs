//! Memory QoS in the kernel's files: what is asked for is there, and our own root protects what its pods do together.
#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::fs;

use supple_node::cgroup::Hierarchies;
use supple_node::runtime::{PodConfig, PodRef, Runtime as _};
use supple_resize::kernel::CgroupResources;
use supple_resize::memory_qos::MemoryTiers;
use supple_resize::qos::QosClass;
use support::{Lab, sh};

const MIB: i64 = 1 << 20;

fn tiers(min: i64, low: i64, high: Option<i64>) -> CgroupResources {
    let tiers = MemoryTiers { min_bytes: Some(min * MIB), low_bytes: Some(low * MIB), high_bytes: high };
    CgroupResources::default().tiered(tiers)
}

/// `memory.min`, `memory.low` and `memory.high` of the cgroup at `path` below our root.
#[track_caller]
fn check(lab: &Lab, path: &str, expect: [&str; 3]) {
    let read = |name: &str| fs::read_to_string(lab.runtime.root_directory().join(path).join(name)).unwrap();
    let found = ["memory.min", "memory.low", "memory.high"].map(|name| read(name).trim().to_owned());
    assert_eq!(found, expect, "{path:?}");
}

#[tokio::test]
async fn what_is_asked_for_is_in_the_kernels_files() {
    let Some(lab) = Lab::new() else { return };
    if !matches!(lab.hierarchies(), Hierarchies::V2(_)) {
        assert!(!lab.runtime.has_memory_qos(), "version 1 has no such files");
        return;
    }
    assert!(lab.runtime.has_memory_qos());
    let pod = |name: &str| PodRef { uid: format!("uid-{name}"), namespace: "default".into(), name: name.into() };
    let (a, b) = (pod("a"), pod("b"));
    lab.runtime.create_pod(&PodConfig::new(a.clone(), QosClass::Guaranteed, tiers(64, 0, None))).await.unwrap();
    lab.runtime.create_pod(&PodConfig::new(b.clone(), QosClass::Burstable, tiers(0, 32, None))).await.unwrap();
    let mut config = sh(&b, "sleep 1000");
    config.resources = CgroupResources { memory_limit_bytes: Some(64 * MIB), ..tiers(0, 32, Some(56 * MIB)) };
    lab.runtime.start_container(&config).await.unwrap();
    check(&lab, "", ["67108864", "33554432", "max"]);
    check(&lab, "poduid-a", ["67108864", "0", "max"]);
    check(&lab, "poduid-b/c-0", ["0", "33554432", "58720256"]);
    assert_eq!(lab.runtime.read_container(&config.id).await.unwrap().tiers, config.resources.tiers);

    let resized = CgroupResources { memory_limit_bytes: Some(128 * MIB), ..tiers(0, 48, Some(-1)) };
    lab.runtime.update_pod(&b, &tiers(0, 48, None)).await.unwrap();
    lab.runtime.update_container(&config.id, &resized).await.unwrap();
    check(&lab, "", ["67108864", "50331648", "max"]);
    check(&lab, "poduid-b/c-0", ["0", "50331648", "max"]);
    lab.runtime.remove_pod(&a).await.unwrap();
    check(&lab, "", ["0", "50331648", "max"]);
}
