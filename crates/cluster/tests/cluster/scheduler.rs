//! Which pod goes where, and what is said of those that go nowhere.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::lab::{bound, cluster, create, events, pod, pods, ready, start, unscheduled, until};

#[tokio::test]
async fn a_pod_that_fits_is_bound_and_said_to_be() {
    let cluster = cluster().await;
    let client = cluster.client();
    create(&client, &pod("a", "500m", "64Mi", json!({}))).await;
    assert_eq!(until(pods(&client), "a", bound).await, "node");
    until(pods(&client), "a", ready).await;
    assert!(events(&client, "a").await.contains(&"Scheduled: Successfully assigned default/a to node".to_owned()));
    cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_does_not_fit_waits_until_there_is_room() {
    let cluster = cluster().await;
    let client = cluster.client();
    create(&client, &pod("first", "1500m", "64Mi", json!({"terminationGracePeriodSeconds": 0}))).await;
    until(pods(&client), "first", ready).await;
    create(&client, &pod("second", "1", "8Gi", json!({}))).await;
    let why = until(pods(&client), "second", unscheduled).await;
    assert_eq!(why, "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.");
    create(&client, &pod("third", "1", "64Mi", json!({}))).await;
    let why = until(pods(&client), "third", unscheduled).await;
    assert_eq!(why, "0/1 nodes are available: 1 Insufficient cpu.");
    pods(&client).delete("first", &DeleteParams::default()).await.unwrap();
    assert_eq!(until(pods(&client), "third", bound).await, "node");
    cluster.stop().await;
}

#[tokio::test]
async fn shrinking_a_pod_in_place_makes_room() {
    let cluster = cluster().await;
    let client = cluster.client();
    create(&client, &pod("first", "1500m", "64Mi", json!({}))).await;
    until(pods(&client), "first", ready).await;
    create(&client, &pod("second", "1", "64Mi", json!({}))).await;
    until(pods(&client), "second", unscheduled).await;
    let smaller = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "500m"}}}]}});
    pods(&client).patch_resize("first", &PatchParams::default(), &Patch::Strategic(&smaller)).await.unwrap();
    assert_eq!(until(pods(&client), "second", bound).await, "node");
    cluster.stop().await;
}

#[tokio::test]
async fn the_reason_is_told_once() {
    let cluster = cluster().await;
    let client = cluster.client();
    create(&client, &pod("big", "9", "64Mi", json!({}))).await;
    until(pods(&client), "big", unscheduled).await;
    // Other pods come and go; the reason stays the same.
    create(&client, &pod("small", "1m", "1Mi", json!({"terminationGracePeriodSeconds": 0}))).await;
    until(pods(&client), "small", ready).await;
    pods(&client).delete("small", &DeleteParams::default()).await.unwrap();
    until(pods(&client), "small", |it| it.is_none().then_some(())).await;
    let told = events(&client, "big").await;
    assert_eq!(told.iter().filter(|it| it.starts_with("FailedScheduling: ")).count(), 1, "{told:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn without_a_node_it_says_so() {
    let cluster = start(Vec::new()).await;
    let client = cluster.client();
    create(&client, &pod("a", "1m", "1Mi", json!({}))).await;
    assert_eq!(until(pods(&client), "a", unscheduled).await, "no nodes available to schedule pods");
    cluster.stop().await;
}
