//! The loop over hours: what it follows, what it leaves alone, and that it never does two things at once.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use supple_controller::reason::Reason;
use supple_controller::snapshot::Snapshot;

use super::lab::{Lab, generation, requests};

fn resized(pod: &str) -> impl Fn(&Snapshot) -> bool {
    let pod = pod.to_owned();
    move |snapshot| {
        let mut rows = snapshot.rows.iter().filter(|it| it.pod == pod);
        rows.any(|it| it.last.as_ref().is_some_and(|it| it.reason == Reason::Resized))
    }
}

#[tokio::test(start_paused = true)]
async fn an_oversized_pod_is_shrunk_once_and_left_alone_when_it_fits() {
    let lab = Lab::new().await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the pod is resized", resized("big")).await;
    let pod = lab.pods().get("big").await.unwrap();
    assert_eq!((requests(&pod).as_str(), generation(&pod)), ("250m/390Mi", 2));
    let status = pod.status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.allocated_resources.unwrap()["cpu"].0, "250m");
    assert_eq!(status.restart_count, 0);
    assert_eq!(lab.told("big").await, ["Resized"]);
    // Not before it was ten minutes old.
    let age = (lab.clock)().duration_since(pod.metadata.creation_timestamp.unwrap().0);
    assert!((600..660).contains(&age.as_secs()), "{age}");

    tokio::time::sleep(std::time::Duration::from_secs(2 * 3600)).await;
    assert_eq!(generation(&lab.pods().get("big").await.unwrap()), 2, "it fits, for two hours");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn growth_is_followed_step_by_step() {
    let lab = Lab::new().await;
    let start = lab.pod("grows", "100m/128Mi", "200m/1Gi", "cpu=50m memory=ramp(100Mi,900Mi,2h)").await;
    let mut work = lab.begin();
    work.until("the pod asks for more than a gigabyte", |it| {
        it.rows.iter().any(|it| it.asked.memory_request.is_some_and(|it| it.0 > 1 << 30))
    })
    .await;
    let steps = generation(&lab.pods().get("grows").await.unwrap()) - generation(&start);
    assert!((5..40).contains(&steps), "each step is at least a tenth: {steps}");
    let told = lab.told("grows").await;
    assert!(told.iter().all(|it| it == "Resized"), "{told:?}");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bursts_are_answered_and_remembered_for_the_window() {
    let lab = Lab::new().await;
    lab.pod("bursts", "100m/64Mi", "2/128Mi", "cpu=burst(20m,1,5m,1m) memory=40Mi").await;
    let mut work = lab.begin();
    work.until("the burst is in the request", |it| {
        it.rows.iter().any(|it| it.asked.cpu_request.is_some_and(|it| it.0 >= 1000))
    })
    .await;
    let at_first = generation(&lab.pods().get("bursts").await.unwrap());
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(generation(&lab.pods().get("bursts").await.unwrap()), at_first, "it does not breathe with the bursts");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pods_without_the_label_are_left_alone() {
    let lab = Lab::new().await;
    lab.pod("ours", "2/4Gi", "", "cpu=200m memory=300Mi").await;
    let theirs = json!({
        "metadata": {"name": "theirs", "annotations": {"supple.dev/usage-pattern": "cpu=1m memory=1Mi"}},
        "spec": {"containers": [{"name": "app", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
    });
    lab.create(theirs).await;
    let mut work = lab.begin();
    work.until("ours is resized", resized("ours")).await;
    assert_eq!(lab.requests("theirs").await, "1/1Gi");
    assert_eq!(work.rows.borrow().rows.iter().filter(|it| it.pod == "theirs").count(), 0);
    // Its namespace opts in: now it is ours too.
    let label = json!({"metadata": {"labels": {"supple.dev/enabled": "true"}}});
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(lab.client.clone());
    namespaces.patch("default", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    work.until("theirs is resized", resized("theirs")).await;
    assert_eq!(lab.requests("theirs").await, "50m/64Mi");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_namespace_forbids_is_predicted_told_and_tried_later() {
    let lab = Lab::new().await;
    let limits =
        json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "min": {"memory": "512Mi"}}]}});
    let ranges = kube::Api::<k8s_openapi::api::core::v1::LimitRange>::default_namespaced(lab.client.clone());
    ranges.create(&Default::default(), &serde_json::from_value(limits).unwrap()).await.unwrap();
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    work.until("it is refused", |it| {
        it.rows.iter().any(|it| it.last.as_ref().is_some_and(|it| it.reason == Reason::PredictedRefusal))
    })
    .await;
    let message = work.rows.borrow().rows[0].last.clone().unwrap().message;
    assert!(
        message.contains("LimitRange: minimum memory usage per Container is 512Mi, but request is 390Mi"),
        "{message}"
    );
    assert_eq!(generation(&lab.pods().get("big").await.unwrap()), 1, "nothing was sent");
    ranges.delete("l", &Default::default()).await.unwrap();
    work.until("it is resized", resized("big")).await;
    assert_eq!(lab.told("big").await, ["PredictedRefusal", "Resized"]);
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_finds_no_room_ends_as_deferred_and_is_not_repeated_at_once() {
    let lab = Lab::new().await;
    lab.pod("neighbour", "3/64Mi", "", "cpu=3 memory=64Mi").await;
    lab.pod("wants", "500m/64Mi", "2/128Mi", "cpu=1600m memory=40Mi").await;
    let mut work = lab.begin();
    work.until("it is deferred", |it| {
        it.rows.iter().any(|it| it.pod == "wants" && it.last.as_ref().is_some_and(|it| it.reason == Reason::Deferred))
    })
    .await;
    let told = lab.told("wants").await;
    assert_eq!(told, ["Deferred"]);
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_controller_goes_on_where_the_first_ended() {
    let lab = Lab::new().await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=ramp(200m,1500m,3h) memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the first has resized it", resized("big")).await;
    work.end().await;
    let before = generation(&lab.pods().get("big").await.unwrap());
    // It finds the first one's note and numbers on the pod, and takes them for its own.
    let mut work = lab.begin();
    work.until("the second has resized it", resized("big")).await;
    assert!(generation(&lab.pods().get("big").await.unwrap()) > before);
    let told = lab.told("big").await;
    assert!(!told.contains(&"StoodBack".to_owned()), "{told:?}");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_else_is_noticed_in_the_middle_of_it() {
    let lab = Lab::new().await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the pod is resized", resized("big")).await;
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}});
    let other = PatchParams { field_manager: Some("vpa-updater".to_owned()), ..PatchParams::default() };
    lab.pods().patch_resize("big", &other, &Patch::Strategic(&patch)).await.unwrap();
    work.until("it stands back", |it| it.rows[0].last.as_ref().is_some_and(|it| it.reason == Reason::StoodBack)).await;
    tokio::time::sleep(std::time::Duration::from_secs(1800)).await;
    assert_eq!(lab.requests("big").await, "1/390Mi");
    assert_eq!(lab.told("big").await, ["Resized", "StoodBack"], "said once, not every round");
    work.end().await;
    lab.cluster.stop().await;
}
