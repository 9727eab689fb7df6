//! The loop, its webhook and a deployment together: what new pods start with under each brake, and that nobody is evicted for ever.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use supple_cluster::Seams;
use supple_cluster::webhook::{Answer, Call, Transport, TransportError};
use supple_controller::metrics::Metrics;
use supple_controller::once;
use supple_controller::webhook::publish::{Place, Wanted, configurations, registration};
use supple_controller::webhook::registration::Registered;
use supple_controller::webhook::{Approval, Knowledge, Sizing, server};
use supple_controller::world::Settings;
use supple_controller::world::knowledge::Shared;
use supple_decide::facts::PodFacts;
use supple_decide::hand::Hand;
use supple_decide::key::WorkloadKey;
use supple_decide::need::Uses;
use supple_decide::note::SizedAtCreation;
use tower::ServiceExt as _;

use super::autoscalers;
use super::lab::{Lab, Loop, generation, requests};

const OWN: &str = "supple-system";
const HOUR: Duration = Duration::from_secs(3600);

/// The webhook within this process: what is on the way to it is tested elsewhere, and sockets know no virtual time.
struct Near(Option<Router>);

impl Transport for Near {
    fn post(&self, call: Call) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let path = format!("/{}", call.endpoint.url.rsplit('/').next().unwrap_or_default());
        let router = self.0.clone();
        async move {
            if path == INJECTOR {
                return Ok(Answer { status: 200, body: inject(&call.body).into() });
            }
            let Some(router) = router else { return Err(TransportError::Broken("connection refused".to_owned())) };
            let request = Request::post(path).body(Body::from(call.body)).unwrap();
            let answer = router.oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            Ok(Answer { status, body: to_bytes(answer.into_body(), 1 << 20).await.unwrap() })
        }
        .boxed()
    }
}

/// Where another webhook is, that gives each pod a second container.
const INJECTOR: &str = "/inject";

/// Its answer.
fn inject(review: &[u8]) -> Vec<u8> {
    let review: Value = serde_json::from_slice(review).unwrap();
    let request = &review["request"];
    let there = request["object"]["spec"]["containers"].as_array().unwrap().len();
    let proxy = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "proxy", "image": "i"}}]);
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if there == 1 {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(proxy.to_string()).into();
    }
    json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).to_string().into()
}

/// Answers from what the loop that was begun last knows.
#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Shared>>);

impl Newest {
    fn get(&self) -> Shared {
        self.0.lock().unwrap().clone()
    }

    /// A loop is begun that knows nothing yet.
    fn anew(&self) -> Shared {
        *self.0.lock().unwrap() = Shared::default();
        self.get()
    }
}

impl Knowledge for Newest {
    fn used(&self, namespace: &str, pod: &str) -> Uses {
        self.get().used(namespace, pod)
    }

    fn approval(&self, namespace: &str, pod: &Pod) -> Approval {
        self.get().approval(namespace, pod)
    }

    fn sizes(&self, namespace: &str, pod: &Pod, now: Timestamp) -> Option<Sizing> {
        self.get().sizes(namespace, pod, now)
    }
}

struct Shop {
    lab: Lab,
    work: Loop,
    knowledge: Newest,
    registered: Registered,
}

impl Shop {
    /// A deployment that asks for much more than it uses, under this policy, in a cluster that was told this.
    async fn new(policy: Value, stop: Option<&str>) -> Self {
        Self::with(policy, stop, Some(json!({})), true).await
    }

    /// With what is different of the registration, if there is one, and of whether the webhook answers.
    async fn with(policy: Value, stop: Option<&str>, change: Option<Value>, answers: bool) -> Self {
        let knowledge = Newest::default();
        let known = knowledge.clone();
        let lab = Lab::with(|clock| {
            let router = server::router(Arc::new(known), Metrics::default(), clock.clone(), OWN);
            Seams { webhooks: Some(Arc::new(Near(answers.then_some(router)))), ..Seams::default() }
        })
        .await;
        let stop = stop.map_or(json!({}), |why| json!({"supple.dev/stop": why}));
        let own: Namespace = serde_json::from_value(json!({"metadata": {"name": OWN, "annotations": stop}})).unwrap();
        Api::all(lab.client.clone()).create(&PostParams::default(), &own).await.unwrap();
        let place = Place::Address { host: "webhook".to_owned(), port: 443 };
        let name = "supple".to_owned();
        let wanted =
            Wanted { namespace: OWN.to_owned(), name, place, fail_closed: false, sizes_new_pods: true, given: None };
        let mut hook = configurations(&wanted, "an authority").1.unwrap();
        if let Some(change) = change {
            json_patch::merge(&mut hook["webhooks"][0], &change);
            let all = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
            all.create(&PostParams::default(), &serde_json::from_value(hook).unwrap()).await.unwrap();
        }
        let registered = Registered::default();
        registered.set(registration(&lab.client, "supple").await.unwrap());
        lab.policy("quick", policy).await;
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}});
        let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"},
                    "annotations": {"supple.dev/usage-pattern": "cpu=50m memory=100Mi"}},
                "spec": {"containers": [{"name": "app", "image": "i", "resources": resources}]}}}});
        let api = Api::<Deployment>::default_namespaced(lab.client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
        let work = lab.begin_beside(knowledge.anew(), registered.clone());
        tokio::time::sleep(Duration::from_secs(20)).await; // virtual: its pods are made
        let shop = Self { lab, work, knowledge, registered };
        assert_eq!(shop.names().await.len(), 3);
        shop
    }

    async fn pods(&self) -> Vec<Pod> {
        let pods = self.lab.pods().list(&ListParams::default()).await.unwrap().items;
        pods.into_iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect()
    }

    async fn names(&self) -> BTreeSet<String> {
        self.pods().await.into_iter().filter_map(|it| it.metadata.name).collect()
    }

    /// One more pod, as it was created.
    async fn one_more(&self) -> Pod {
        let before = self.names().await;
        self.scale(before.len() + 1).await;
        tokio::time::sleep(Duration::from_secs(20)).await; // virtual
        let mut new = self.pods().await;
        new.retain(|it| !before.contains(it.metadata.name.as_deref().unwrap_or_default()));
        assert_eq!(new.len(), 1);
        new.remove(0)
    }

    async fn scale(&self, replicas: usize) {
        let api = Api::<Deployment>::default_namespaced(self.lab.client.clone());
        let more = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch("web", &PatchParams::default(), &more).await.unwrap();
    }

    /// Another loop takes the place of this one, which has ended.
    async fn restart(self) -> Self {
        let Self { lab, work, knowledge, registered } = self;
        work.end().await;
        let work = lab.begin_beside(knowledge.anew(), registered.clone());
        tokio::time::sleep(HOUR / 60).await;
        Self { lab, work, knowledge, registered }
    }

    async fn end(self) {
        self.work.end().await;
        self.lab.cluster.stop().await;
    }
}

/// What a pod starts with that is created after half an hour: by the rules of the loop, or by its template.
#[track_caller]
fn check_sizes(pod: &Pod, is_sized: bool, case: &Value) {
    assert_eq!(requests(pod) != "1/1Gi", is_sized, "{case}: {}", requests(pod));
}

#[tokio::test(start_paused = true)]
async fn a_brake_is_one_for_new_pods_too() {
    let mode = |mode: &str| json!({"updatePolicy": {"updateMode": mode}});
    let and = |mut policy: Value, more: Value| {
        json_patch::merge(&mut policy, &more);
        policy
    };
    for (policy, stop, is_sized) in [
        (mode("Off"), None, false),
        (mode("Initial"), None, true),
        (mode("InPlace"), None, true),
        (mode("Initial"), Some("drill"), false),
        (and(mode("Initial"), json!({"learn": "24h"})), None, false),
        (and(mode("Initial"), json!({"minConfidence": 99})), None, false),
        (and(mode("Initial"), json!({"paused": {"until": "2026-01-02T00:00:00Z", "reason": "peace"}})), None, false),
        (and(mode("Initial"), json!({"paused": {"until": "2026-01-01T00:20:00Z", "reason": "over"}})), None, true),
    ] {
        let shop = Shop::new(policy.clone(), stop).await;
        tokio::time::sleep(HOUR / 2).await;
        check_sizes(&shop.one_more().await, is_sized, &json!([policy, stop]));
        shop.end().await;
    }
}

/// Nothing was resized: what was created with other sizes is watched for harm and handed over as little as one with its own. What it
/// would have had is all that is known of it besides, and that the next step is counted, and waited for, from there.
#[tokio::test(start_paused = true)]
async fn the_webhooks_note_says_what_a_pod_would_have_had_and_nothing_else() {
    let shop = Shop::new(json!({"updatePolicy": {"updateMode": "Initial"}}), None).await;
    tokio::time::sleep(HOUR / 2).await;
    let mut pod = shop.one_more().await;
    let sized = SizedAtCreation::read(&pod.metadata).expect("it is noted");
    assert_eq!(sized.before["app"].cpu_request, "1".parse().ok());
    let facts = |pod: &Pod| {
        let workload = WorkloadKey { namespace: "default".into(), kind: "Deployment".into(), name: "web".into() };
        PodFacts::of(pod, workload)
    };
    let mut noted = facts(&pod);
    assert_eq!((&noted.hand, noted.note.is_none()), (&Hand::Free, true));
    pod.metadata.annotations.as_mut().unwrap().remove("supple.dev/sized-at-creation").unwrap();
    assert_eq!(noted.given("app").cpu_request.map(|it| it.0), Some(1000));
    noted.sized = None;
    assert_eq!(noted, facts(&pod), "it is in no other fact");
    shop.end().await;
}

/// Another webhook changes the pod after ours, which is then asked once more: it takes the step that it took, and not another from there.
#[tokio::test(start_paused = true)]
async fn asked_again_about_a_pod_it_takes_the_same_step() {
    let policy = json!({"updatePolicy": {"updateMode": "Initial"}, "steps": {"cpuDown": 50, "memoryDown": 30}});
    let shop = Shop::new(policy, None).await;
    tokio::time::sleep(HOUR / 2).await;
    let place = Place::Address { host: "webhook".to_owned(), port: 443 };
    let (namespace, name) = (OWN.to_owned(), "zz".to_owned());
    let wanted = Wanted { namespace, name, place, fail_closed: false, sizes_new_pods: true, given: None };
    let mut hook = configurations(&wanted, "an authority").1.unwrap();
    hook["metadata"]["name"] = "zz".into();
    hook["webhooks"][0]["clientConfig"]["url"] = format!("https://webhook:443{INJECTOR}").into();
    let all = Api::<MutatingWebhookConfiguration>::all(shop.lab.client.clone());
    all.create(&PostParams::default(), &serde_json::from_value(hook).unwrap()).await.unwrap();
    let pod = shop.one_more().await;
    assert_eq!(pod.spec.as_ref().unwrap().containers.len(), 2);
    assert_eq!(requests(&pod), "500m/717Mi");
    let sized = SizedAtCreation::read(&pod.metadata).expect("it is noted");
    assert_eq!(sized.before["app"].cpu_request, "1".parse().ok());
    shop.end().await;
}

/// As with VPA's own webhook, a `VerticalPodAutoscaler` sizes new pods in every mode but `Off`.
#[tokio::test(start_paused = true)]
async fn an_autoscaler_sizes_new_pods_as_it_does_with_vpa() {
    for (mode, is_sized) in [("Off", false), ("Initial", true), ("InPlaceOrRecreate", true)] {
        let shop = Shop::new(json!({}), None).await;
        autoscalers::kinds(&shop.lab).await;
        autoscalers::autoscaler(&shop.lab, "web", "Deployment", "web", mode).await;
        tokio::time::sleep(HOUR / 2).await;
        check_sizes(&shop.one_more().await, is_sized, &json!(mode));
        shop.end().await;
    }
}

/// Scaled to zero and back: what was learned stands, and the brakes as they are by then.
#[tokio::test(start_paused = true)]
async fn what_comes_back_from_nothing_is_sized_by_what_was_known() {
    for (then, is_sized) in [("Initial", true), ("Off", false)] {
        let shop = Shop::new(json!({"updatePolicy": {"updateMode": "Initial"}}), None).await;
        tokio::time::sleep(HOUR / 2).await;
        shop.scale(0).await;
        tokio::time::sleep(HOUR / 2).await;
        let mode = json!({"spec": {"updatePolicy": {"updateMode": then}}});
        let policies = Api::<supple_api::RightsizePolicy>::default_namespaced(shop.lab.client.clone());
        policies.patch("quick", &PatchParams::default(), &Patch::Merge(&mode)).await.unwrap();
        tokio::time::sleep(HOUR / 60).await;
        check_sizes(&shop.one_more().await, is_sized, &json!(then));
        shop.end().await;
    }
}

/// What a template says of its pods wins over the mode of the workload, also while there are none.
#[tokio::test(start_paused = true)]
async fn what_comes_back_from_nothing_is_sized_if_its_template_says_so() {
    let cases = [
        ("Off", "labels", "Initial", true),
        ("Off", "annotations", "Initial", true),
        ("Initial", "labels", "Off", false),
    ];
    for (mode, place, word, is_sized) in cases {
        let shop = Shop::new(json!({"updatePolicy": {"updateMode": mode}}), None).await;
        let template = json!({"metadata": {place: {"supple.dev/mode": word}}});
        let api = Api::<Deployment>::default_namespaced(shop.lab.client.clone());
        let patch = Patch::Merge(json!({"spec": {"template": template}}));
        api.patch("web", &PatchParams::default(), &patch).await.unwrap();
        tokio::time::sleep(HOUR / 2).await;
        shop.scale(0).await;
        tokio::time::sleep(HOUR / 60).await;
        let shop = shop.restart().await;
        tokio::time::sleep(HOUR / 60).await;
        check_sizes(&shop.one_more().await, is_sized, &json!([mode, place, word]));
        shop.end().await;
    }
}

/// Also where the loop that has seen its pods is not the one that answers, and as `explain` says.
#[tokio::test(start_paused = true)]
async fn what_comes_back_after_a_restart_is_sized_by_what_was_written_down() {
    for (mode, is_sized) in [("Initial", true), ("Off", false)] {
        let shop = Shop::new(json!({"updatePolicy": {"updateMode": mode}}), None).await;
        tokio::time::sleep(HOUR / 2).await;
        shop.scale(0).await;
        tokio::time::sleep(HOUR / 60).await;
        let shop = shop.restart().await;
        let settings = Settings { registered: shop.registered.clone(), ..Settings::default() };
        let clock = &*shop.lab.clock;
        let mut world = once::look(&shop.lab.client, settings, clock, HOUR).await.unwrap();
        world.judge_those_without_pods(clock());
        let said = world.accounts().remove(0).new_pod.containers[0].sizes;
        let [cpu, memory] = [said.cpu_request.map(|it| it.to_string()), said.memory_request.map(|it| it.to_string())]
            .map(Option::unwrap);
        let pod = shop.one_more().await;
        check_sizes(&pod, is_sized, &json!(mode));
        assert_eq!(requests(&pod), format!("{cpu}/{memory}"));
        shop.end().await;
    }
}

/// Headroom is counted where a pod is created as where it is judged, so that what comes back is what was wanted.
#[tokio::test(start_paused = true)]
async fn who_is_recreated_comes_back_for_good() {
    for steps in [json!({}), json!({"steps": {"cpuDown": 50, "memoryDown": 30}})] {
        let mut policy = json!({"updatePolicy": {"updateMode": "Recreate"}, "headroom": {"cpu": 50, "memory": 50}});
        json_patch::merge(&mut policy, &steps);
        let shop = Shop::new(policy, None).await;
        let first = shop.names().await;
        tokio::time::sleep(4 * HOUR).await;
        let settled = shop.names().await;
        assert!(settled.is_disjoint(&first), "all of them were recreated: {settled:?}");
        tokio::time::sleep(3 * HOUR).await;
        assert_eq!(shop.names().await, settled, "and nobody is for ever: {steps}");
        for pod in shop.pods().await {
            assert_eq!(generation(&pod), 1, "none was touched since: {}", requests(&pod));
            check_sizes(&pod, true, &steps);
        }
        shop.end().await;
    }
}

/// Where nobody sizes new pods nobody is recreated for sizes; and where somebody should and does not, it is tried once.
#[tokio::test(start_paused = true)]
async fn who_would_come_back_as_it_was_stays() {
    let elsewhere = json!({"namespaceSelector": {"matchLabels": {"team": "other"}}});
    let others = json!({"objectSelector": {"matchLabels": {"app": "db"}}});
    for (registration, answers, most) in
        [(None, true, 0), (Some(elsewhere), true, 0), (Some(others), true, 0), (Some(json!({})), false, 1)]
    {
        let policy = json!({"updatePolicy": {"updateMode": "Recreate"}});
        let shop = Shop::with(policy, None, registration.clone(), answers).await;
        let first = shop.names().await;
        tokio::time::sleep(2 * HOUR).await;
        let now = shop.names().await;
        assert_eq!(now.difference(&first).count(), most, "{registration:?}");
        shop.end().await;
    }
}
