//! What was learned survives the end of the process, whatever the end: in the cluster, and in a file.

use std::time::Duration;

use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use supple_api::Rightsizing;
use supple_api::rightsizing::ContainerRecommendation;

use super::lab::Lab;

/// A cluster in which a loop with a history file has been at work for hours, and was killed.
async fn killed(path: &std::path::Path) -> Lab {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("web", "1/1Gi", "2/2Gi", "cpu=200m memory=300Mi").await;
    let work = lab.begin_keeping(path);
    // Not on the hour: what the cluster has may be minutes older than what the file has.
    tokio::time::sleep(Duration::from_secs(2 * 3600 + 1800)).await;
    work.kill().await;
    lab
}

async fn learned(lab: &Lab) -> ContainerRecommendation {
    tokio::time::sleep(Duration::from_secs(60)).await;
    lab.rightsizing("pod-web").await.recommendation.remove(0)
}

#[tokio::test(start_paused = true)]
async fn killed_it_goes_on_from_the_file_where_the_cluster_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let lab = killed(&path).await;
    let api = Api::<Rightsizing>::default_namespaced(lab.client.clone());
    let before = lab.rightsizing("pod-web").await.recommendation.remove(0);
    api.delete("pod-web", &DeleteParams::default()).await.unwrap();
    let work = lab.begin_keeping(&path);
    let after = learned(&lab).await;
    assert!(before.hours >= 2, "{before:?}");
    assert_eq!((after.hours, after.cpu.map(|it| it.target)), (before.hours, before.cpu.map(|it| it.target)));
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_file_and_cluster_the_fresher_is_gone_on_from_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let lab = killed(&path).await;
    let before = lab.rightsizing("pod-web").await.recommendation.remove(0);
    // Once with both, which must not count twice; then with the cluster's alone, which another replica has gone on writing.
    for file in [&path, &folder.path().join("another")] {
        let work = lab.begin_keeping(file);
        let after = learned(&lab).await;
        assert_eq!(after.hours, before.hours, "{before:?} {after:?}");
        work.end().await;
    }
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_can_never_be_written_is_as_old_as_the_program() {
    let lab = Lab::new().await;
    lab.pod("web", "1/1Gi", "2/2Gi", "cpu=200m memory=300Mi").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone").join("history");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let begun = (lab.clock)().as_second();
    let work = lab.begin_keeping(&path);
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap(); // before it has done anything
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let text = work.metrics.render((lab.clock)());
    let kept = text.lines().find_map(|it| it.strip_prefix("supple_history_file_timestamp_seconds ")).unwrap();
    let kept: i64 = kept.split('.').next().unwrap().parse().unwrap();
    assert!((begun..begun + 60).contains(&kept), "{kept}, begun at {begun}");
    work.end().await;
    lab.cluster.stop().await;
}
