//! Requests and the target of a horizontal autoscaler change together, wherever in between the loop is killed: in the end it
//! scales at the same use as before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;
use supple_api::names::ADJUSTED_TARGET;
use supple_controller::lease::elect::alone;
use supple_decide::scaler::Anchor;
use tokio::sync::Semaphore;
use tower::service_fn;

use super::lab::{Lab, requests};

/// Which request the client never comes back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The target has not been sent.
    BeforeTarget,
    /// The target stands, and its answer is never heard.
    AfterTarget,
    /// The first pod has its new size.
    AfterResize,
}

/// A client that hangs for good at one request.
#[derive(Clone)]
struct Hanging {
    inner: Client,
    at: At,
    /// It has come to that.
    dead: Arc<AtomicBool>,
    /// Gets two permits: the request has been sent, as far as it is, and the other pod's got no further.
    hangs: Arc<Semaphore>,
}

impl Hanging {
    /// Passes the request on, as far as it comes.
    async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let is_target = request.method() == Method::PUT && path.contains("/horizontalpodautoscalers/");
        let is_resize = path.ends_with("/resize") && !query.contains("dryRun");
        // Nothing that is sent after that one gets through.
        let is_last = match self.at {
            At::BeforeTarget | At::AfterTarget => is_target,
            At::AfterResize => is_resize,
        };
        let is_dead = (is_target || is_resize) && self.dead.fetch_or(is_last, Ordering::Relaxed);
        if is_dead || is_last && self.at == At::BeforeTarget {
            self.hangs.add_permits(1);
            std::future::pending::<()>().await;
        }
        let answer = self.inner.clone().send(request).await?;
        if is_last {
            self.hangs.add_permits(1);
            std::future::pending::<()>().await;
        }
        Ok(answer.map(Answer::new))
    }
}

/// Two pods that ask for 100m each and use twice as much, and an autoscaler that aims at 80 %.
pub async fn scaled(lab: &Lab) {
    let resources = json!({"requests": {"cpu": "100m", "memory": "400Mi"}});
    let deployment = json!({
        "metadata": {"name": "web", "labels": {"supple.dev/mode": "in-place"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {"supple.dev/usage-pattern": "cpu=200m memory=330Mi"}},
            "spec": {"containers": [{"name": "app", "image": "i", "resources": resources}]},
        }},
    });
    let deployments = Api::<Deployment>::default_namespaced(lab.client.clone());
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    let scaler = json!({
        "metadata": {"name": "web"},
        "spec": {"minReplicas": 2, "maxReplicas": 5,
                 "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    scalers(lab).create(&PostParams::default(), &serde_json::from_value(scaler).unwrap()).await.unwrap();
}

/// Its pods have grown, and it scales at the use it scaled at before, to the nearest percent: 80 % of 100m each.
pub async fn check_scale_point(lab: &Lab, case: &str) -> Option<Anchor> {
    let ((percent, anchor), asked) = (target(lab).await, asked(lab).await);
    assert!(asked.len() == 2 && asked.iter().all(|it| *it >= 200), "{case}: {asked:?}");
    let sum: i64 = asked.iter().sum();
    assert!((percent * sum - 16_000).abs() * 2 <= sum, "{case}: {percent} % of {asked:?}");
    anchor
}

async fn lab() -> Lab {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"hpa": "Adjust"})).await;
    scaled(&lab).await;
    lab
}

fn scalers(lab: &Lab) -> Api<HorizontalPodAutoscaler> {
    Api::default_namespaced(lab.client.clone())
}

/// What it aims at, in percent, and what is noted on it.
async fn target(lab: &Lab) -> (i64, Option<Anchor>) {
    let scaler = scalers(lab).get("web").await.unwrap();
    let noted = scaler.metadata.annotations.unwrap_or_default().remove(ADJUSTED_TARGET);
    let metric = scaler.spec.metrics.unwrap().remove(0).resource.unwrap();
    (metric.target.average_utilization.unwrap().into(), noted.map(|it| serde_json::from_str(&it).unwrap()))
}

/// What its pods ask for of CPU, in thousandths.
async fn asked(lab: &Lab) -> Vec<i64> {
    let pods = lab.pods().list(&ListParams::default().labels("app=web")).await.unwrap();
    let milli = |it: &str| supple_quantity::MilliCpu::from(&it.parse::<supple_quantity::Quantity>().unwrap()).0;
    pods.iter().map(|it| milli(requests(it).split_once('/').unwrap().0)).collect()
}

/// The loop at work until it hangs there, and killed.
async fn killed(lab: &Lab, at: At) {
    let hangs = Arc::new(Semaphore::new(0));
    let service = Hanging { inner: lab.client.clone(), at, dead: Arc::default(), hangs: hangs.clone() };
    let client = Client::new(service_fn(move |request| service.clone().answer(request)), "default");
    let work = lab.begin_with(client, alone());
    let hung = tokio::time::timeout(Duration::from_secs(6 * 3600), hangs.acquire_many(2)).await;
    assert!(hung.is_ok(), "{at:?} was never come to");
    work.kill().await;
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_killed_the_next_one_finishes_it_and_the_scale_point_stays() {
    for at in [At::BeforeTarget, At::AfterTarget, At::AfterResize] {
        let lab = lab().await;
        killed(&lab, at).await;
        let (percent, anchor) = target(&lab).await;
        let resized = asked(&lab).await.iter().filter(|it| **it != 100).count();
        assert_eq!((percent == 80, anchor.is_none()), (at == At::BeforeTarget, at == At::BeforeTarget), "{at:?}");
        assert_eq!(resized, usize::from(at == At::AfterResize), "{at:?}");
        let work = lab.begin();
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        let anchor = check_scale_point(&lab, &format!("{at:?}")).await.unwrap();
        assert_eq!((anchor.percent, anchor.milli_cpu, anchor.pods), (80, 200, 2), "{at:?}");
        work.end().await;
        lab.cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_resize_is_not_wanted_any_more_is_taken_back() {
    let lab = lab().await;
    killed(&lab, At::AfterTarget).await;
    let deployments = Api::<Deployment>::default_namespaced(lab.client.clone());
    let off = json!({"metadata": {"labels": {"supple.dev/mode": "recommend"}}});
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(off)).await.unwrap();
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((target(&lab).await, asked(&lab).await), ((80, None), vec![100, 100]));
    work.end().await;
    lab.cluster.stop().await;
}
