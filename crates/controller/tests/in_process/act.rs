//! One resize from wish to outcome, for the outcomes that need a hand in the cluster while it is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;
use supple_api::names::LAST_RESIZE;
use supple_controller::act::{Order, Wish, carry_out};
use supple_controller::outcome::Outcome;
use supple_controller::reason::Reason;
use supple_decide::hand::{Hand, hand};
use supple_decide::note::Author;
use supple_decide::progress::Progress;
use supple_resize::predict::Sizes;
use tower::{BoxError, service_fn};

use super::lab::{Lab, generation, requests};

fn cpu(request: &str) -> Wish {
    Wish::One { container: None, sizes: Sizes { cpu_request: request.parse().ok(), ..Sizes::default() } }
}

fn order(pod: &str, wish: Wish) -> Order {
    let wait = Some(Duration::from_secs(60));
    Order { namespace: "default".into(), pod: pod.into(), uid: None, wish, by: Author::Resize, wait, dry_run: false }
}

async fn carry(lab: &Lab, order: &Order) -> Outcome {
    carry_out(&lab.client, order, lab.clock.as_ref(), &mut |_| {}).await.unwrap()
}

async fn running(lab: &Lab, name: &str) {
    lab.pod(name, "500m/64Mi", "4/128Mi", "cpu=20m memory=30Mi").await;
    let mut rows = lab.begin();
    rows.until("the pod runs", |it| it.rows.iter().any(|it| it.pod == name && it.used.is_some())).await;
    rows.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_the_waiting() {
    let lab = Lab::new().await;
    lab.pod("neighbour", "3/64Mi", "", "cpu=1 memory=30Mi").await;
    running(&lab, "a").await;
    let pods = lab.pods();
    let mut seen = |progress: &Progress| {
        if matches!(progress, Progress::Deferred(_)) {
            let pods = pods.clone();
            tokio::spawn(async move { pods.delete("a", &DeleteParams::default().grace_period(0)).await });
        }
    };
    let outcome = carry_out(&lab.client, &order("a", cpu("3")), lab.clock.as_ref(), &mut seen).await.unwrap();
    assert_eq!(outcome.reason, Reason::PodGone, "{}", outcome.message);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_who_changes_it_again_is_noticed() {
    let lab = Lab::new().await;
    lab.pod("neighbour", "3/64Mi", "", "cpu=1 memory=30Mi").await;
    running(&lab, "a").await;
    let pods = lab.pods();
    let mut seen = |progress: &Progress| {
        if matches!(progress, Progress::Deferred(_)) {
            let pods = pods.clone();
            let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "600m"}}}]}});
            tokio::spawn(
                async move { pods.patch_resize("a", &PatchParams::default(), &Patch::Strategic(&patch)).await },
            );
        }
    };
    let outcome = carry_out(&lab.client, &order("a", cpu("3")), lab.clock.as_ref(), &mut seen).await.unwrap();
    assert_eq!(outcome.reason, Reason::Overtaken, "{}", outcome.message);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_node_has_is_not_said_to_run_with_its_new_sizes() {
    let lab = Lab::new().await;
    lab.pod("big", "100/64Mi", "", "cpu=1 memory=30Mi").await;
    let dry = carry(&lab, &Order { dry_run: true, ..order("big", cpu("90")) }).await;
    let done = carry(&lab, &order("big", cpu("90"))).await;
    assert_eq!((dry.reason, done.reason), (Reason::WouldResize, Reason::Accepted), "{} {}", dry.message, done.message);
    assert!([&dry, &done].iter().all(|it| it.message.contains("has no node yet")), "{}", done.message);
    assert_eq!(requests(&lab.pods().get("big").await.unwrap()), "90/64Mi");
    lab.cluster.stop().await;
}

/// As of a virtual kubelet, or one before 1.33.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_node_that_does_not_say_what_runs() {
    let lab = Lab::new().await;
    let node = json!({"metadata": {"name": "virtual", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": {"cpu": "8", "memory": "8Gi", "pods": "9"}, "conditions": [{"type": "Ready", "status": "True"}]}});
    let nodes = Api::<Node>::all(lab.client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let sizes = json!({"requests": {"cpu": "500m", "memory": "64Mi"}});
    lab.create(json!({"metadata": {"name": "a"},
        "spec": {"nodeName": "virtual", "containers": [{"name": "app", "image": "i", "resources": sizes}]}}))
        .await;
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": "i", "imageID": "",
        "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
    lab.pods().patch_status("a", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let outcome = carry(&lab, &order("a", cpu("400m"))).await;
    assert_eq!(outcome.reason, Reason::PredictedRefusal, "{}", outcome.message);
    assert!(outcome.message.contains("node without support for resize"), "{}", outcome.message);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_was_is_told_with_where_it_was_looked_for() {
    let lab = Lab::new().await;
    let outcome = carry(&lab, &order("nosuch", cpu("1"))).await;
    assert_eq!(outcome.reason, Reason::NoSuchPod);
    assert!(outcome.message.starts_with("there is no pod nosuch in namespace default"), "{}", outcome.message);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_pod_of_the_same_name_is_not_touched() {
    let lab = Lab::new().await;
    running(&lab, "a").await;
    let outcome = carry(&lab, &Order { uid: Some("another".into()), ..order("a", cpu("600m")) }).await;
    assert_eq!(outcome.reason, Reason::PodGone);
    assert_eq!(requests(&lab.pods().get("a").await.unwrap()), "500m/64Mi");
    lab.cluster.stop().await;
}

/// A client whose first patch of a pod comes too late: the pod has been replaced by another of its name, as a stateful set does.
fn too_late(lab: &Lab) -> Client {
    let (inner, pods) = (lab.client.clone(), lab.pods());
    let late = Arc::new(AtomicBool::new(true));
    let service = service_fn(move |request: Request<Body>| {
        let (inner, pods, late) = (inner.clone(), pods.clone(), late.clone());
        async move {
            if request.method() == Method::PATCH && late.swap(false, Ordering::SeqCst) {
                let mut pod = pods.get("a").await.unwrap();
                pods.delete("a", &DeleteParams::default().grace_period(0)).await.unwrap();
                pod.metadata =
                    ObjectMeta { name: pod.metadata.name, annotations: pod.metadata.annotations, ..Default::default() };
                pod.status = None;
                pods.create(&PostParams::default(), &pod).await.unwrap();
            }
            Ok::<Response<Answer>, BoxError>(inner.send(request).await?.map(Answer::new))
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_its_name_meanwhile_is_not_touched() {
    let lab = Lab::new().await;
    running(&lab, "a").await;
    let outcome = carry_out(&too_late(&lab), &order("a", cpu("600m")), lab.clock.as_ref(), &mut |_| {}).await.unwrap();
    assert_eq!(outcome.reason, Reason::PodGone, "{}", outcome.message);
    assert_eq!(requests(&lab.pods().get("a").await.unwrap()), "500m/64Mi");
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn memory_in_use_is_not_taken_away() {
    let lab = Lab::new().await;
    running(&lab, "a").await;
    let wish = Wish::One {
        container: None,
        sizes: Sizes { memory_request: "16Mi".parse().ok(), memory_limit: "20Mi".parse().ok(), ..Sizes::default() },
    };
    let outcome = carry(&lab, &order("a", wish)).await;
    assert_eq!(outcome.reason, Reason::PredictedRefusal);
    assert!(outcome.message.contains("MemoryBelowUsage"), "{}", outcome.message);
    assert_eq!(generation(&lab.pods().get("a").await.unwrap()), 1);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_server_leaves_the_older_note() {
    let lab = Lab::new().await;
    running(&lab, "a").await;
    assert_eq!(carry(&lab, &order("a", cpu("600m"))).await.reason, Reason::Resized);
    let note = |pod: k8s_openapi::api::core::v1::Pod| pod.metadata.annotations.unwrap()[LAST_RESIZE].clone();
    let before = note(lab.pods().get("a").await.unwrap());
    // Refused by prediction: the note is not touched at all.
    assert_eq!(carry(&lab, &order("a", cpu("5"))).await.reason, Reason::PredictedRefusal);
    assert_eq!(note(lab.pods().get("a").await.unwrap()), before);
    assert_eq!(carry(&lab, &order("a", Wish::Undo)).await.reason, Reason::Resized);
    assert_eq!(requests(&lab.pods().get("a").await.unwrap()), "500m/64Mi");
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_webhook_did_not_let_pass_is_noted_nowhere() {
    let lab = Lab::new().await;
    running(&lab, "a").await;
    lab.silent_webhook("Fail").await;
    let outcome = carry(&lab, &order("a", cpu("600m"))).await;
    assert_eq!(outcome.reason, Reason::Refused, "{}", outcome.message);
    assert!(outcome.message.contains("failed calling webhook"), "{}", outcome.message);
    // A note of a person's would say for ever that the pod is in that person's hand.
    let pod = lab.pods().get("a").await.unwrap();
    assert_eq!((requests(&pod).as_str(), hand(&pod)), ("500m/64Mi", Hand::Free));
    lab.cluster.stop().await;
}
