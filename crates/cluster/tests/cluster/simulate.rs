//! Many simulated nodes in one process, on a clock that nobody waits for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use supple_cluster::simulate::{Fleet, population, suitable};
use supple_cluster::{Cluster, ClusterClock, ClusterOptions, NodeRuntime, Requested, Speed, StartError, manifest};

use super::lab::{create, pod};

const NODES: u32 = 4;
const PODS: u32 = 40;

#[tokio::test(start_paused = true)]
async fn an_hour_of_many_nodes() {
    let began = tokio::time::Instant::now();
    let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock: ClusterClock = Arc::new(move || base + began.elapsed());
    let population = population(PODS, 1);
    let capacity = suitable(NODES, population.demand());
    let fleet = Fleet { prefix: "node".to_owned(), count: NODES, capacity, seed: 1, recording: None };
    let nodes = fleet.nodes(&clock, Speed::REAL);
    let cluster = Cluster::start(ClusterOptions::in_memory(nodes, clock.clone())).await.unwrap();
    let client = cluster.client();
    manifest::apply(&client, &population.manifests()).await.unwrap();
    let mut leak = pod("leak", "10m", "64Mi", json!({}));
    leak.metadata.annotations =
        Some([("supple.dev/usage-pattern".to_owned(), "memory=ramp(32Mi,256Mi,40m)".to_owned())].into());
    leak.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap().limits =
        serde_json::from_value(json!({"memory": "128Mi"})).unwrap();
    create(&client, &leak).await;
    tokio::time::sleep(Duration::from_secs(3600)).await; // virtual

    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.len(), usize::try_from(PODS).unwrap() + 1);
    for pod in &pods {
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        assert_eq!(phase, Some("Running"), "{}", pod.name_any());
    }
    let used: BTreeSet<&str> = pods.iter().filter_map(|it| it.spec.as_ref()?.node_name.as_deref()).collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["node-1", "node-2", "node-3", "node-4"]);
    // It grows by 5.6Mi a minute and is killed at 128Mi, every seventeen minutes or so.
    let leak = pods.iter().find(|it| it.name_any() == "leak").unwrap();
    let status = &leak.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0];
    assert_eq!(status.restart_count, 3);
    let last = status.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(last.reason.as_deref(), Some("OOMKilled"));

    let get = |path: &str| http::Request::get(path).body(Vec::new()).unwrap();
    let nodes: Value = client.request(get("/apis/metrics.k8s.io/v1beta1/nodes")).await.unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 4);
    let measured: Value = client.request(get("/apis/metrics.k8s.io/v1beta1/pods")).await.unwrap();
    assert_eq!(measured["items"].as_array().unwrap().len(), pods.len());
    let cadvisor = client.request_text(get("/api/v1/nodes/node-3/proxy/metrics/cadvisor")).await.unwrap();
    assert!(cadvisor.contains("container_cpu_usage_seconds_total"), "{cadvisor}");
    for lease in Api::<Lease>::namespaced(client, "kube-node-lease").list(&ListParams::default()).await.unwrap() {
        let spec = lease.spec.as_ref().unwrap();
        let age = clock().duration_since(spec.renew_time.as_ref().unwrap().0).as_secs();
        assert!(age <= i64::from(spec.lease_duration_seconds.unwrap()), "{}: {age} s", lease.name_any());
    }
    cluster.stop().await;
}

#[tokio::test]
async fn only_one_node_can_have_the_machine() {
    let clock: ClusterClock = Arc::new(Timestamp::now);
    let capacity = suitable(2, population(1, 1).demand());
    let fleet = Fleet { prefix: "node".to_owned(), count: 2, capacity, seed: 1, recording: None };
    let mut nodes = fleet.nodes(&clock, Speed::REAL);
    nodes[1].runtime = NodeRuntime::Requested(Requested::Process);
    let error = Cluster::start(ClusterOptions::in_memory(nodes, clock)).await.err().unwrap();
    assert!(matches!(&error, StartError::OneMachine { node } if node == "node-2"), "{error}");
}
