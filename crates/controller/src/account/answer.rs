//! What the cluster would answer to the change of a pod, by the rules with which it would.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use supple_decide::facts::PodFacts;
use supple_decide::scene::Scene;
use supple_quantity::Bytes;
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{Change, NamespaceSight, NodeSight, Obstacle, Reason, Stage, predict};

/// What a cluster would answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// In a word.
    pub word: AnswerWord,
    /// What stands in the way.
    pub obstacle: Option<Obstacle>,
    /// Containers that would restart.
    pub restarts: Vec<String>,
    /// What could not be foreseen.
    pub unforeseen: Vec<String>,
}

/// What a cluster would answer, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerWord {
    /// Nothing is to be asked.
    Nothing,
    /// Taken, and done at once.
    Accepted,
    /// Taken, and done when there is room.
    Deferred,
    /// Taken, with a restart.
    Restart,
    /// Taken, and never done.
    Infeasible,
    /// Refused.
    Refused,
}

impl Answer {
    /// Nothing is asked.
    pub(super) const fn nothing() -> Self {
        Self { word: AnswerWord::Nothing, obstacle: None, restarts: Vec::new(), unforeseen: Vec::new() }
    }
}

impl AnswerWord {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "-",
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Restart => "restart",
            Self::Infeasible => "infeasible",
            Self::Refused => "refused",
        }
    }
}

/// Foresees changes, one by one. What is on each node is worked out once for all of them.
pub(super) struct Oracle<'a> {
    scene: &'a Scene,
    /// Each node with all of its pods.
    nodes: BTreeMap<&'a str, NodeSight>,
}

impl<'a> Oracle<'a> {
    /// Of a cluster as it is now.
    pub fn of(scene: &'a Scene) -> Self {
        let mut on_nodes: BTreeMap<&str, Vec<&PodFacts>> = BTreeMap::new();
        for pod in scene.pods.values() {
            if let Some(node) = &pod.node {
                on_nodes.entry(node).or_default().push(pod);
            }
        }
        let sight = |(name, node): (&'a std::sync::Arc<str>, &supple_decide::facts::NodeFacts)| {
            let pods = on_nodes.get(&**name).into_iter().flatten();
            let pods: Vec<Pod> = pods.map(|it| it.to_pod()).collect();
            (&**name, NodeSight::from_api(&node.object(), &pods))
        };
        Self { scene, nodes: scene.nodes.iter().map(sight).collect() }
    }

    /// What would be answered, were this the only change.
    pub fn foresee(&self, pod: &PodFacts, change: &Change) -> Answer {
        if change.is_empty() {
            return Answer::nothing();
        }
        let scene = self.scene;
        let object = pod.to_pod();
        let known = pod.node.as_ref().and_then(|it| self.nodes.get(&**it));
        let sight = known.map_or_else(NodeSight::default, |it| it.without(&object));
        let namespace = scene.namespaces.get(&pod.key.namespace);
        let namespace = namespace.map_or_else(NamespaceSight::default, |it| NamespaceSight {
            limit_ranges: it.limit_ranges.clone(),
            quotas: it.quotas.clone(),
        });
        let usage = scene.uses.get(&pod.key).map(|uses| MemoryUsage {
            pod: Some(Bytes(uses.values().filter_map(|it| it.memory).map(|it| it.0).sum())),
            containers: uses.iter().filter_map(|(name, it)| Some((name.to_string(), it.memory?))).collect(),
        });
        let forecast = predict(&object, change, &sight, &namespace, usage.as_ref());
        let word = match forecast.obstacle.as_ref().map(|it| (it.reason, it.reason.stage())) {
            None if forecast.restarts.is_empty() => AnswerWord::Accepted,
            None => AnswerWord::Restart,
            Some((Reason::Deferred, _)) => AnswerWord::Deferred,
            Some((Reason::NothingToDo, _)) => AnswerWord::Nothing,
            Some((_, Stage::Allocation | Stage::Actuation)) => AnswerWord::Infeasible,
            Some(_) => AnswerWord::Refused,
        };
        Answer { word, obstacle: forecast.obstacle, restarts: forecast.restarts, unforeseen: forecast.unforeseen }
    }
}
