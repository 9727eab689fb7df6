//! What does not answer, and what panics, keeps nothing back: the loop goes on, or ends so that it is begun anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;
use supple_controller::deadline::InTime;
use supple_controller::source::kubelet::{self, sweep::Pace};
use supple_decide::code::Code;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer as _, service_fn};

use super::lab::{Lab, generation};
use super::looped::is;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It comes to nobody.
    Silent,
    /// It is done, and the answer never comes.
    Unanswered,
    /// Whoever asks panics.
    Panics,
}

/// A client that answers in time, some of whose requests have another fate.
fn client(lab: &Lab, fate: impl Fn(&Request<Body>) -> Fate + Send + Sync + 'static) -> Client {
    let (inner, fate) = (lab.client.clone(), Arc::new(fate));
    let service = service_fn(move |request: Request<Body>| {
        let (inner, fate) = (inner.clone(), fate(&request));
        async move {
            match fate {
                Fate::Answered | Fate::Unanswered => {}
                Fate::Silent => std::future::pending().await,
                Fate::Panics => panic!("on purpose"),
            }
            let answer = inner.send(request).await?;
            if fate == Fate::Unanswered {
                std::future::pending::<()>().await;
            }
            Ok::<Response<Answer>, BoxError>(answer.map(Answer::new))
        }
    });
    Client::new(InTime.layer(service), "default")
}

/// Whether it resizes a pod, in earnest.
fn resizes(request: &Request<Body>) -> bool {
    let is_dry = request.uri().query().is_some_and(|it| it.contains("dryRun"));
    request.method() == Method::PATCH && request.uri().path().ends_with("/resize") && !is_dry
}

/// The first of them has this fate, all others are answered; and how many there were.
fn first(of: fn(&Request<Body>) -> bool, fate: Fate) -> (impl Fn(&Request<Body>) -> Fate, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let of = move |request: &Request<Body>| {
        let is_first = of(request) && counted.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { fate } else { Fate::Answered }
    };
    (of, count)
}

async fn oversized() -> Lab {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    lab
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_was_made_and_not_answered_is_looked_for_and_not_made_again() {
    let lab = oversized().await;
    let (fate, count) = first(resizes, Fate::Unanswered);
    let mut work = lab.begin_with(client(&lab, fate), supple_controller::lease::elect::alone());
    work.until("how it ended is known", is("big", Code::Resized)).await;
    assert_eq!((count.load(Ordering::Relaxed), generation(&lab.pods().get("big").await.unwrap())), (1, 2));
    let record = lab.rightsizing("pod-big").await.record.unwrap();
    assert_eq!(record.originals["app"].cpu_request.as_deref(), Some("2"), "what was before is remembered");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_came_to_nobody_or_panicked_is_made_later() {
    for fate in [Fate::Silent, Fate::Panics] {
        let lab = oversized().await;
        let (fate, count) = first(resizes, fate);
        let mut work = lab.begin_with(client(&lab, fate), supple_controller::lease::elect::alone());
        work.until("it is resized all the same", is("big", Code::Resized)).await;
        assert_eq!((count.load(Ordering::Relaxed), generation(&lab.pods().get("big").await.unwrap())), (2, 2));
        work.end().await;
        lab.cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn usage_that_does_not_come_is_asked_for_again() {
    for fate in [Fate::Silent, Fate::Panics] {
        let lab = oversized().await;
        let (fate, _) = first(|it| it.uri().path().contains("/metrics.k8s.io/"), fate);
        let mut work = lab.begin_with(client(&lab, fate), supple_controller::lease::elect::alone());
        work.until("it is resized all the same", is("big", Code::Resized)).await;
        work.end().await;
        lab.cluster.stop().await;
    }
}

/// How old the newest measurement is after an hour, in seconds, as an alert asks for it.
async fn age_after_an_hour(lab: &Lab, metrics_api: Fate) -> f64 {
    let fate = move |it: &Request<Body>| {
        if it.uri().path().contains("/metrics.k8s.io/") { metrics_api } else { Fate::Answered }
    };
    let work = lab.begin_with(client(lab, fate), supple_controller::lease::elect::alone());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let now = (lab.clock)();
    let text = work.metrics.render(now);
    let series = r#"supple_source_newest_timestamp_seconds{source="metrics-api"} "#;
    let newest: f64 = text.lines().find_map(|it| it.strip_prefix(series)).unwrap().parse().unwrap();
    assert!(!text.contains(r#"{source="kubelet"}"#), "what is not read is not old");
    work.end().await;
    now.duration_since(jiff::Timestamp::UNIX_EPOCH).as_secs_f64() - newest
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_told_anything_is_old_and_one_without_pods_is_not() {
    let lab = Lab::new().await;
    let empty = age_after_an_hour(&lab, Fate::Answered).await;
    lab.pod("web", "100m/128Mi", "200m/256Mi", "cpu=50m memory=100Mi").await;
    let silent = age_after_an_hour(&lab, Fate::Panics).await;
    let told = age_after_an_hour(&lab, Fate::Answered).await;
    assert!(empty < 300.0 && silent > 3500.0 && told < 300.0, "{empty}, {silent}, {told}");
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_ends_the_loop_with_an_error() {
    for path in ["/api/v1/nodes", "/apis/supple.dev/v1alpha1/rightsizings"] {
        let lab = oversized().await;
        let work = lab.begin_with(
            client(&lab, move |it| if it.uri().path() == path { Fate::Panics } else { Fate::Answered }),
            supple_controller::lease::elect::alone(),
        );
        let why = work.broken().await.to_string();
        assert!(why.contains("a watch of the loop failed") && why.contains("restart it"), "{why}");
        lab.cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_say_which_replica_reports() {
    let lab = oversized().await;
    let mut work = lab.begin();
    work.until("the pod is resized", is("big", Code::Resized)).await;
    assert!(!lab.told("big").await.is_empty());
    let events = Api::<Event>::default_namespaced(lab.client.clone()).list(&ListParams::default()).await.unwrap();
    let ours = events.iter().filter(|it| it.reporting_controller.as_deref() == Some("supple.dev/controller"));
    assert!(ours.map(|it| it.reporting_instance.as_deref()).all(|it| it == Some("replica-1")));
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_about_which_a_task_panicked_is_asked_again() {
    let lab = oversized().await;
    // Each turn asks for two things.
    let count = Arc::new(AtomicUsize::new(0));
    let client = client(&lab, move |it| {
        let is_early = it.uri().path().contains("/proxy/") && count.fetch_add(1, Ordering::Relaxed) < 2;
        if is_early { Fate::Panics } else { Fate::Answered }
    });
    let (_nodes, watched) = watch::channel(vec!["node".into()]);
    let ((_hurry, hurried), (sender, mut swept)) = (mpsc::channel(1), mpsc::channel(1));
    let stop = CancellationToken::new();
    let task =
        tokio::spawn(kubelet::run(client, Pace::default(), lab.clock.clone(), watched, hurried, sender, stop.clone()));
    let why = swept.recv().await.unwrap().readings.unwrap_err().to_string();
    assert!(why.contains("failed because of a bug in Supple"), "{why}");
    let again = async { while swept.recv().await.unwrap().readings.is_err() {} };
    tokio::time::timeout(Duration::from_secs(3600), again).await.expect("it is asked again");
    stop.cancel();
    task.await.unwrap();
    lab.cluster.stop().await;
}
