//! What will come of a change, said before it is sent: [`predict()`] over what could be read of the pod's surroundings,
//! put into the words of an outcome.

use k8s_openapi::api::core::v1::Pod;
use supple_quantity::Bytes;
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{self, Change, NamespaceSight, NodeObject, NodeSight, Obstacle, predict};

use crate::reason::Reason;
use crate::surroundings::{NodeKnown, Surroundings};

/// The prediction.
#[derive(Clone, Debug)]
pub struct Forecast(predict::Forecast);

/// Predict.
pub fn forecast(pod: &Pod, change: &Change, around: &Surroundings) -> Forecast {
    let node = match &around.node {
        NodeKnown::Unknown => NodeSight::default(),
        NodeKnown::Missing => NodeSight { object: NodeObject::Missing, ..NodeSight::default() },
        NodeKnown::Present { node, neighbours: Some(neighbours) } => NodeSight::from_api(node, neighbours),
        NodeKnown::Present { node, neighbours: None } => NodeSight { others: None, ..NodeSight::from_api(node, []) },
    };
    let namespace = NamespaceSight { limit_ranges: around.limit_ranges.clone(), quotas: around.quotas.clone() };
    // The metrics API tells the working set, the node's guard compares the whole charge: never less. So what is
    // foreseen as "below usage" is so, and the node may still refuse what is not.
    let usage = around.usage.as_ref().map(|used| MemoryUsage {
        pod: Some(Bytes(used.containers.values().filter_map(|it| it.memory).map(|it| it.0).sum())),
        containers: used.containers.iter().filter_map(|(name, it)| Some((name.to_string(), it.memory?))).collect(),
    });
    Forecast(predict(pod, change, &node, &namespace, usage.as_ref()))
}

impl Forecast {
    /// Why it must not be sent: the server would refuse it, or the node could never do it, or only by endangering what
    /// runs.
    pub fn refusal(&self) -> Option<&Obstacle> {
        self.0.obstacle.as_ref().filter(|it| it.reason != predict::Reason::Deferred)
    }

    /// Why the node would not do it at once.
    pub fn delay(&self) -> Option<(Reason, &Obstacle)> {
        self.0.obstacle.as_ref().filter(|it| it.reason == predict::Reason::Deferred).map(|it| (Reason::Deferred, it))
    }

    /// What could not be foreseen, and what will be set beside what was asked for.
    pub fn notes(&self) -> Vec<String> {
        self.0.unforeseen.iter().map(|it| format!("not predicted: {it}")).collect()
    }

    /// `no restart`, or which containers restart for it.
    pub fn restarts_in_words(&self) -> String {
        match self.0.restarts.as_slice() {
            [] => "no restart".to_owned(),
            names => format!("restarts {}", names.join(", ")),
        }
    }
}
