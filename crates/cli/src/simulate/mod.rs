//! `supple up --simulate`: which nodes and workloads the flags mean, and the clock they live by.

pub mod flag;
mod recorded;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use supple_cluster::simulate::{Fleet, Kind, Population, population, suitable};
use supple_cluster::{Capacity, ClusterClock, Speed};

use crate::exit::Failure;
use crate::values::CapacityFlag;
use flag::SimulateFlag;
use recorded::Staged;

/// What nodes are called where nobody says.
const PREFIX: &str = "node";

/// A simulated cluster, ready to be started.
pub struct Simulation {
    /// Its nodes.
    pub fleet: Fleet,
    /// What runs on them.
    pub population: Population,
    /// What is to be said of that, a line each: a word, and the rest.
    pub lines: Vec<(&'static str, String)>,
}

/// A clock that begins now and goes so many times as fast as the machine's.
pub fn clock(speed: Speed) -> ClusterClock {
    if speed == Speed::REAL {
        return Arc::new(Timestamp::now);
    }
    let (began, start) = (Instant::now(), Timestamp::now());
    Arc::new(move || {
        let passed = SignedDuration::try_from(speed.passed(began.elapsed())).unwrap_or(SignedDuration::MAX);
        start.saturating_add(passed).unwrap_or(Timestamp::MAX)
    })
}

/// What the flags mean.
pub fn simulation(
    flag: SimulateFlag,
    usage: Option<&Path>,
    capacity: CapacityFlag,
    prefix: Option<String>,
    origin: Timestamp,
) -> Result<Simulation, Failure> {
    let SimulateFlag { nodes, pods, seed } = flag;
    let most = capacity.pods.unwrap_or(supple_cluster::simulate::PODS_PER_NODE);
    let (population, recording) = match usage {
        Some(path) => {
            // Refused before a long file is read, where that can be known.
            pods.map_or(Ok(()), |pods| flag::fits(nodes, pods, most)).map_err(Failure::Usage)?;
            let recorded = recorded::read(path)?;
            let pods = pods.unwrap_or_else(|| recorded.pods());
            flag::fits(nodes, pods, most).map_err(Failure::Usage)?;
            let Staged { population, recording } = recorded.staged(pods, origin);
            (population, Some(Arc::new(recording)))
        }
        None => {
            let pods = pods.ok_or_else(|| {
                Failure::Usage(
                    "--simulate needs pods=NUMBER, unless --usage names a recording that says which pods there are"
                        .to_owned(),
                )
            })?;
            flag::fits(nodes, pods, most).map_err(Failure::Usage)?;
            (population(pods, seed), None)
        }
    };
    let demand = population.demand();
    let own = suitable(nodes, demand);
    let capacity =
        Capacity { cpu: capacity.cpu.unwrap_or(own.cpu), memory: capacity.memory.unwrap_or(own.memory), pods: most };
    let is_short = |each: i64, wanted: i64| i128::from(each) * i128::from(nodes) < i128::from(wanted);
    if is_short(capacity.cpu.0, demand.0.0) || is_short(capacity.memory.0, demand.1.0) {
        crate::say("note: the pods request more than the nodes have, so some pods will stay pending");
    }
    let fleet = Fleet { prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()), count: nodes, capacity, seed, recording };
    let lines = vec![("workloads", told(&population))];
    Ok(Simulation { fleet, population, lines })
}

/// What there is, for people.
fn told(population: &Population) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for workload in &population.workloads {
        let what = match workload.kind {
            Kind::Deployment => "deployment",
            Kind::StatefulSet => "stateful set",
            Kind::Pod => "single pod",
        };
        *counts.entry(what).or_default() += 1;
    }
    let counts = counts.into_iter().map(|(what, count)| plural(count, what)).collect::<Vec<_>>().join(", ");
    let pods = usize::try_from(population.pods()).unwrap_or(usize::MAX);
    format!("{counts}: {} in {}", plural(pods, "pod"), plural(population.namespaces().len(), "namespace"))
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
