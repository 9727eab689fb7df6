//! A whole cluster that is only computed: any number of nodes in one process, and the workloads on them. Same numbers and
//! seed, same cluster.
//!
//! ```text
//!   population(pods, seed) ─┐                         ┌─▶ Fleet::nodes ──▶ ClusterOptions.nodes
//!                           ├─▶ Population ─ demand ──┤
//!   a recording ────────────┘                         └─▶ manifests ─────▶ the API, as anybody would apply them
//! ```

mod dice;
mod lives;
mod population;

use std::sync::Arc;

pub use lives::BEHAVIOUR;
pub use population::{Kind, Part, Population, Size, Workload, population};
use supple_node::Capacity;
use supple_node::runtime::simulated::{SimulatedOptions, SimulatedRuntime};
use supple_quantity::{Bytes, MilliCpu};

use crate::{ClusterClock, MemoryQos, NodeRuntime, NodeSettings, Speed};
pub use supple_node::runtime::simulated::recorded::{Course, Reading, Recording};

/// Pods a node takes, as in the reference (`--max-pods`).
pub const PODS_PER_NODE: u32 = 110;

/// The smallest machine a simulated node is; each larger one is twice as large.
const SMALLEST: (i64, i64) = (8_000, 32 << 30);

/// How much of all nodes the pods of a population may ask for where the nodes are made to suit it, percent: resizes need
/// room.
const FILLED: i128 = 60;

/// Simulated nodes, all of them alike.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Their names are this and a number.
    pub prefix: String,
    /// How many.
    pub count: u32,
    /// What each has.
    pub capacity: Capacity,
    /// Which of the many possible worlds: same seed, same usage.
    pub seed: u64,
    /// What was recorded of some or all containers.
    pub recording: Option<Arc<Recording>>,
}

impl Fleet {
    /// The nodes, for [`crate::ClusterOptions::nodes`] of a cluster with this clock and speed.
    pub fn nodes(&self, clock: &ClusterClock, speed: Speed) -> Vec<NodeSettings> {
        let digits = self.count.to_string().len();
        let nodes = (1..=self.count).map(|number| {
            let options = SimulatedOptions {
                speed,
                seed: self.seed,
                recording: self.recording.clone(),
                is_known: true,
                ..SimulatedOptions::new(clock.clone())
            };
            NodeSettings {
                name: format!("{}-{number:0digits$}", self.prefix),
                capacity: self.capacity,
                memory_qos: MemoryQos::default(),
                runtime: NodeRuntime::Given(Arc::new(SimulatedRuntime::new(options))),
                stand_in: Vec::new(),
            }
        });
        nodes.collect()
    }
}

/// What each of so many nodes must have, so that pods which ask for this much together fill them to six tenths: the
/// smallest of the machines one can usually have.
pub fn suitable(nodes: u32, demand: (MilliCpu, Bytes)) -> Capacity {
    let (mut cpu, mut memory) = SMALLEST;
    let enough = |each: i64, wanted: i64| i128::from(each) * i128::from(nodes) * FILLED / 100 >= i128::from(wanted);
    while !(enough(cpu, demand.0.0) && enough(memory, demand.1.0)) && memory < 1 << 60 {
        (cpu, memory) = (cpu * 2, memory * 2);
    }
    Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), pods: PODS_PER_NODE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_suitable(nodes: u32, cores: i64, gib: i64, expect: (i64, i64)) {
        let Capacity { cpu, memory, pods } = suitable(nodes, (MilliCpu(cores * 1000), Bytes(gib << 30)));
        assert_eq!((cpu.0 / 1000, memory.0 >> 30), expect, "{nodes} nodes for {cores} cores and {gib} GiB");
        assert_eq!(pods, PODS_PER_NODE);
    }

    #[test]
    fn nodes_suit_what_is_asked_of_them() {
        check_suitable(10, 0, 0, (8, 32));
        check_suitable(10, 48, 1, (8, 32));
        check_suitable(10, 49, 1, (16, 64));
        check_suitable(10, 1, 1000, (64, 256));
        check_suitable(0, 1, 1, (1 << 28, 1 << 30));
    }

    #[test]
    fn names_are_in_order() {
        let capacity = suitable(1, (MilliCpu(1), Bytes(1)));
        let fleet = Fleet { prefix: "node".to_owned(), count: 12, capacity, seed: 1, recording: None };
        let clock: ClusterClock = Arc::new(jiff::Timestamp::now);
        let names: Vec<String> = fleet.nodes(&clock, Speed::REAL).into_iter().map(|it| it.name).collect();
        assert_eq!((names[0].as_str(), names[11].as_str()), ("node-01", "node-12"));
        assert!(names.is_sorted());
    }
}
