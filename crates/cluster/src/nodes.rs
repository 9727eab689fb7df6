//! The nodes' way into the cluster: one, or many that do not speak all at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::PodStatus;
use kube::Client;
use supple_apiserver::ApiServer;
use supple_node::runtime::{Chosen, PodRef, Requested};
use supple_node::{Beat, CrashPoints, Desk, Fed, Keep, Node, NodeOptions, Speed};

use crate::kubelet::Nodes;
use crate::{ClusterClock, NodeRuntime, NodeSettings, StartError};

/// How many nodes are registered side by side.
const AT_ONCE: usize = 32;

/// On the machine's clock, there is at least so much between two signs of life of all nodes together. Five hundred nodes
/// with a kubelet's ten seconds would do nothing else, and nobody in this cluster waits for them.
const BETWEEN_BEATS: Duration = Duration::from_millis(100);

/// Whether these can be in one process.
pub(crate) fn check(nodes: &[NodeSettings]) -> Result<(), StartError> {
    let uses_the_machine =
        |it: &&NodeSettings| matches!(&it.runtime, NodeRuntime::Requested(it) if *it != Requested::Simulated);
    match nodes.iter().find(uses_the_machine) {
        Some(node) if nodes.len() > 1 => Err(StartError::OneMachine { node: node.name.clone() }),
        _ => Ok(()),
    }
}

/// What each is started with. Checkpoints are for one that is alone: of many, nothing outlives the process.
pub(crate) fn options(
    settings: Vec<NodeSettings>,
    chosen: Vec<Chosen>,
    checkpoints: Keep,
    clock: &ClusterClock,
    speed: Speed,
    crash_points: &CrashPoints,
) -> Vec<NodeOptions> {
    let count = u32::try_from(settings.len()).unwrap_or(u32::MAX);
    let checkpoints = if count > 1 { Keep::Nowhere } else { checkpoints };
    let pairs = (0..).zip(settings.into_iter().zip(chosen));
    pairs
        .map(|(index, (NodeSettings { name, capacity, memory_qos, .. }, chosen))| NodeOptions {
            name,
            capacity,
            checkpoints: checkpoints.clone(),
            memory_qos,
            runtime: chosen.runtime,
            clock: clock.clone(),
            speed,
            beat: beat(index, count, speed),
            crash_points: crash_points.clone(),
        })
        .collect()
}

/// One of many lives as often as all together may say so, and each has its turn.
fn beat(index: u32, count: u32, speed: Speed) -> Beat {
    let usual = Beat::default();
    let every = usual.every.max(speed.passed(BETWEEN_BEATS.saturating_mul(count)));
    Beat { every, first: every / count.max(1) * index }
}

/// The API server, where nodes of the same process say how their pods are.
pub(crate) struct AtServer(pub(crate) ApiServer);

impl Desk for AtServer {
    fn status<'a>(
        &'a self,
        pod: &'a PodRef,
        status: &'a PodStatus,
        fields: &'a [&'a str],
    ) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(self.0.report((&pod.namespace, &pod.name, &pod.uid), status, fields))
    }
}

/// Start them, each with what it hears of its pods.
pub(crate) async fn start(
    nodes: &Nodes,
    client: &Client,
    desk: Option<Arc<dyn Desk>>,
    options: Vec<(Fed, NodeOptions)>,
) -> Result<(), StartError> {
    let desk = &desk;
    let starts = options.into_iter().map(|(pods, options)| async {
        let name = options.name.clone();
        Ok::<_, StartError>((name, Node::start_fed(client.clone(), options, pods, desk.clone()).await?))
    });
    let mut started = futures::stream::iter(starts).buffer_unordered(AT_ONCE);
    while let Some(node) = started.next().await {
        let (name, node) = node?;
        nodes.put(name, node).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[track_caller]
    fn check_beat(index: u32, count: u32, speed: u32, expect: (u64, u64)) {
        let Beat { every, first } = beat(index, count, Speed::times(NonZeroU32::new(speed).unwrap()));
        assert_eq!((every.as_secs(), first.as_secs()), expect, "{index} of {count} at {speed}");
    }

    #[test]
    fn many_nodes_take_turns() {
        check_beat(0, 1, 1, (10, 0));
        check_beat(3, 5, 1, (10, 6));
        check_beat(250, 500, 1, (50, 25));
        check_beat(250, 500, 60, (3000, 1500));
    }
}
