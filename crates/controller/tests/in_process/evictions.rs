//! What a kubelet writes when it evicts a pod, read from its event: also of a pod that is gone, after a restart, and without the right
//! to read events.

use std::time::Duration;

use axum::body::Body as Answer;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Event;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::json;
use supple_controller::lease::elect::alone;
use supple_controller::metrics::Metrics;
use supple_decide::code::Code;
use tower::service_fn;

use super::lab::Lab;
use super::looped::is;

/// What a kubelet of v1.36 writes about a pod that used 700 MiB of its node's memory when that was short.
async fn evict(lab: &Lab, pod: &str, uid: &str) {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time((lab.clock)());
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 91244Ki. \
                   Container app was using 716800Ki, request is 100Mi, has larger consumption of memory. ";
    let event = json!({
        "metadata": {"name": format!("{pod}.{uid}"), "namespace": "default", "annotations": {
            "offending_containers": "app", "offending_containers_usage": "716800Ki", "starved_resource": "memory"}},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": "default", "uid": uid},
        "reason": "Evicted", "message": message, "type": "Warning", "source": {"component": "kubelet", "host": "node"},
        "reportingComponent": "kubelet", "reportingInstance": "node", "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    let events = Api::<Event>::default_namespaced(lab.client.clone());
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
}

fn counted(lab: &Lab, metrics: &Metrics) -> u64 {
    let text = metrics.render((lab.clock)());
    let line = text.lines().find_map(|it| it.strip_prefix(r#"supple_incidents_total{incident="evicted"} "#));
    line.map_or(0, |it| it.parse().unwrap())
}

async fn memory(lab: &Lab) -> i64 {
    let recommended = lab.rightsizing("pod-web").await.recommendation.remove(0).memory.unwrap();
    let target: supple_quantity::Quantity = recommended.target.parse().unwrap();
    supple_quantity::Bytes::from(&target).0 >> 20
}

#[tokio::test(start_paused = true)]
async fn an_eviction_teaches_once_also_of_a_pod_that_is_gone_and_over_a_restart() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("web", "100m/100Mi", "200m/1Gi", "cpu=50m memory=80Mi").await;
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let before = memory(&lab).await;
    // The first pod of that name used too much on a node far away; the one that is there is its successor.
    evict(&lab, "web", "another").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(counted(&lab, &work.metrics), 1);
    let taught = memory(&lab).await;
    assert!(before < 200 && taught >= 700, "{before} MiB, then {taught} MiB");
    work.end().await;
    // Its event is still there, and is told again.
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(counted(&lab, &work.metrics), 0);
    let after = memory(&lab).await;
    assert!((taught - after).abs() * 10 <= taught, "{taught} MiB, then {after} MiB");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_while_nobody_looked_is_learned_afterwards() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("web", "100m/100Mi", "200m/1Gi", "cpu=50m memory=80Mi").await;
    evict(&lab, "web", "another").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(counted(&lab, &work.metrics), 1);
    assert!(memory(&lab).await >= 700);
    work.end().await;
    lab.cluster.stop().await;
}

/// A client whose account may not read events.
#[derive(Clone)]
struct Deaf(Client);

impl Deaf {
    async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        if request.uri().path() != "/api/v1/events" {
            return Ok(self.0.clone().send(request).await?.map(Answer::new));
        }
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
            "code": 403, "message": "events is forbidden: User \"system:serviceaccount:supple-system:supple\" cannot list resource \"events\""});
        let answer = Response::builder().status(StatusCode::FORBIDDEN).header("content-type", "application/json");
        Ok(answer.body(Answer::from(status.to_string()))?)
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_events_does_everything_else() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let deaf = Deaf(lab.client.clone());
    let client = Client::new(service_fn(move |request| deaf.clone().answer(request)), "default");
    let mut work = lab.begin_with(client, alone());
    work.until("the pod is resized", is("big", Code::Resized)).await;
    work.end().await;
    lab.cluster.stop().await;
}
