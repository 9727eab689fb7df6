//! What a prediction needs beside the pod: its node and who else is on it, the namespace's rules, the usage. What may
//! not be read, or is not there, is noted and left out: a prediction with gaps is better than none, and the server
//! decides in any case.

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::usage::{self, PodUse};

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub enum NodeKnown {
    /// The pod is bound to none, or it could not be read.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    /// It exists.
    Present {
        /// The object.
        node: Box<Node>,
        /// The other pods there; `None` where they could not be read.
        neighbours: Option<Vec<Pod>>,
    },
}

/// Everything around one pod.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The node it is bound to.
    pub node: NodeKnown,
    /// The namespace's limit ranges.
    pub limit_ranges: Vec<LimitRange>,
    /// The namespace's quotas.
    pub quotas: Vec<ResourceQuota>,
    /// What the pod uses now.
    pub usage: Option<PodUse>,
    /// What could not be read, a sentence each.
    pub gaps: Vec<String>,
}

impl Surroundings {
    /// Read them.
    ///
    /// # Errors
    /// Only when the cluster cannot be reached; a refusal is a gap.
    pub async fn of(client: &Client, pod: &Pod) -> Result<Self, kube::Error> {
        let mut all = Self::default();
        let namespace = pod.namespace().unwrap_or_default();
        let everything = ListParams::default();
        let node_name = pod.spec.as_ref().and_then(|it| it.node_name.clone()).filter(|it| !it.is_empty());
        let nodes = Api::<Node>::all(client.clone());
        let pods = Api::<Pod>::all(client.clone());
        let limit_ranges = Api::<LimitRange>::namespaced(client.clone(), &namespace);
        let quotas = Api::<ResourceQuota>::namespaced(client.clone(), &namespace);
        let pod_name = pod.name_any();
        let on_node = async {
            let Some(name) = &node_name else { return None };
            let there = ListParams::default().fields(&format!("spec.nodeName={name}"));
            Some(tokio::join!(nodes.get_opt(name), pods.list(&there)))
        };
        let (on_node, limit_ranges, quotas, usage) = tokio::join!(
            on_node,
            limit_ranges.list(&everything),
            quotas.list(&everything),
            usage::of_pod(client, &namespace, &pod_name),
        );
        if let Some((node, neighbours)) = on_node {
            let node = all.take("its node", node)?;
            let neighbours = all.take("the node's other pods", neighbours)?.map(|it| it.items);
            all.node = match node {
                None => NodeKnown::Unknown,
                Some(None) => NodeKnown::Missing,
                Some(Some(node)) => {
                    let others = |it: Vec<Pod>| it.into_iter().filter(|it| it.uid() != pod.uid()).collect();
                    NodeKnown::Present { node: Box::new(node), neighbours: neighbours.map(others) }
                }
            };
        }
        all.limit_ranges =
            all.take("the namespace's limit ranges", limit_ranges)?.map(|it| it.items).unwrap_or_default();
        all.quotas = all.take("the namespace's quotas", quotas)?.map(|it| it.items).unwrap_or_default();
        all.usage = all.take("what it uses (metrics.k8s.io)", usage)?.flatten();
        Ok(all)
    }

    /// An answer of the server that is not the object is a gap; no answer is an error.
    fn take<T>(&mut self, what: &str, result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) => {
                self.gaps.push(format!("cannot read {what}: {}", status.message));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
