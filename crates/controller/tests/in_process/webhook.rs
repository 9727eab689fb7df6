//! The webhook as the embedded API server asks it: over HTTPS, found by its configurations. In real time: sockets know no other.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use supple_controller::lease::elect::{Leadership, alone};
use supple_controller::metrics::Metrics;
use supple_controller::serve::serve;
use supple_controller::webhook::publish::{Place, Told, Wanted, once, run, withdraw};
use supple_controller::webhook::registration::Registered;
use supple_controller::webhook::{Approval, Knowledge, Sizing, server};
use supple_decide::code::Code;
use supple_decide::need::{Use, Uses};
use supple_decide::numbers::Numbers;
use supple_quantity::{Bytes, MilliCpu};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lab::{Lab, requests};

const NAME: &str = "supple";

/// Every container uses 90Mi, needs 250m, and may shrink without being asked.
struct Known;

impl Knowledge for Known {
    fn used(&self, _: &str, _: &str) -> Uses {
        let used = Use {
            at: Timestamp::now(),
            cpu: None,
            memory: Some(Bytes(90 << 20)),
            memory_peak: None,
            details_at: None,
            memory_charged: None,
            swap: None,
            memory_pressure_permille: None,
            cpu_pressure_permille: None,
            throttled_permille: None,
        };
        [("app".into(), used)].into()
    }

    fn approval(&self, _: &str, _: &Pod) -> Approval {
        Approval::NotNeeded
    }

    fn sizes(&self, _: &str, pod: &Pod, _: Timestamp) -> Option<Sizing> {
        // Sized by what a deployment is known to need, and this one is nobody's.
        if pod.metadata.name.as_deref() != Some("sized") {
            return None;
        }
        let numbers = Numbers { cpu_request: Some(MilliCpu(250)), ..Numbers::default() };
        let (of, why) = ("deployment/web".to_owned(), String::new());
        Some(Sizing { containers: [("app".into(), numbers)].into(), of, code: Code::Resize, why })
    }
}

struct Hook {
    lab: Lab,
    wanted: Wanted,
    metrics: Metrics,
    registered: Registered,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Hook {
    /// A cluster with the webhook in it, set up by its own hand.
    async fn new() -> Self {
        let lab = Lab::new().await;
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "supple-system"}})).unwrap();
        Api::all(lab.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::Address { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let namespace = "supple-system".to_owned();
        let (name, given) = (NAME.to_owned(), None);
        let wanted = Wanted { namespace, name, place, fail_closed: false, sizes_new_pods: true, given };
        let (metrics, stop, registered) = (Metrics::default(), CancellationToken::new(), Registered::default());
        let clock: supple_controller::run::Clock = Arc::new(Timestamp::now);
        let (sender, mut tls) = watch::channel(None);
        let (client, leads) = (lab.client.clone(), alone());
        let told = Told { tls: sender, registered: registered.clone(), metrics: metrics.clone() };
        let setting_up = tokio::spawn(run(client, wanted.clone(), clock.clone(), leads, told, stop.clone()));
        let router = server::router(Arc::new(Known), metrics.clone(), clock, "supple-system");
        tls.wait_for(Option::is_some).await.unwrap();
        let serving = tokio::spawn(serve(listener, Some(tls), router, server::bounds(), stop.clone()));
        Self { lab, wanted, metrics, registered, stop, tasks: vec![setting_up, serving] }
    }

    /// The webhook is down from now on.
    async fn goes_down(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    async fn create(&self, namespace: &str, name: &str) -> Result<Pod, kube::Error> {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": "a",
            "resources": {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}}]}});
        let api: Api<Pod> = Api::namespaced(self.lab.client.clone(), namespace);
        api.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await
    }

    async fn limit(&self, namespace: &str, name: &str, memory: &str) -> Result<Pod, kube::Error> {
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": memory}}}]}});
        let api: Api<Pod> = Api::namespaced(self.lab.client.clone(), namespace);
        api.patch_resize(name, &PatchParams::default(), &Patch::Strategic(patch)).await
    }

    async fn end(mut self) {
        self.goes_down().await;
        self.lab.cluster.stop().await;
    }
}

fn refusal(result: Result<Pod, kube::Error>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_decrease_below_use_is_refused_in_our_words() {
    let hook = Hook::new().await;
    hook.create("default", "web").await.unwrap();
    let (code, message) = refusal(hook.limit("default", "web", "80Mi").await);
    assert_eq!(code, 403);
    let words = "admission webhook \"resize.supple.dev\" denied the request: the memory limit of container \"app\" would go \
                 from 512Mi to 80Mi, and it uses 90Mi (measured 0 s ago)";
    assert!(message.starts_with(words) && message.ends_with("(BelowUse)"), "{message}");
    hook.limit("default", "web", "100Mi").await.unwrap();
    let told = hook.metrics.render(Timestamp::now());
    assert!(told.contains(r#"supple_webhook_reviews_total{review="resize",result="refused"} 1"#), "{told}");
    assert!(told.contains("supple_webhook_certificate_expiry_timestamp_seconds"), "{told}");
    hook.end().await;
}

#[tokio::test]
async fn a_new_pod_is_sized_and_our_own_namespace_is_let_alone() {
    let hook = Hook::new().await;
    let nothing = std::collections::BTreeMap::new();
    let asked = |namespace: &str| hook.registered.get().asks(namespace, &nothing, &nothing);
    assert_eq!(["default", "kube-system", "supple-system"].map(asked), [true, false, false], "by what is registered");
    assert_eq!(requests(&hook.create("default", "sized").await.unwrap()), "250m/64Mi");
    assert_eq!(requests(&hook.create("default", "unknown").await.unwrap()), "1/64Mi");
    for own in ["supple-system", "kube-system"] {
        assert_eq!(requests(&hook.create(own, "sized").await.unwrap()), "1/64Mi", "{own}");
        hook.limit(own, "sized", "80Mi").await.unwrap();
    }
    hook.end().await;
}

#[tokio::test]
async fn while_the_webhook_is_down_all_passes_unless_it_is_to_fail_closed() {
    let mut hook = Hook::new().await;
    hook.create("default", "web").await.unwrap();
    hook.goes_down().await;
    hook.limit("default", "web", "80Mi").await.unwrap();
    assert_eq!(requests(&hook.create("default", "sized").await.unwrap()), "1/64Mi");

    let closed = Wanted { fail_closed: true, ..hook.wanted.clone() };
    once(&hook.lab.client, &closed, true, Timestamp::now()).await.unwrap().unwrap();
    let (_, message) = refusal(hook.limit("default", "web", "70Mi").await);
    assert!(message.contains("failed calling webhook \"resize.supple.dev\""), "{message}");
    hook.create("default", "another").await.unwrap();

    assert!(withdraw(&hook.lab.client, NAME).await.unwrap());
    assert!(!withdraw(&hook.lab.client, NAME).await.unwrap());
    hook.limit("default", "web", "70Mi").await.unwrap();
    hook.end().await;
}

fn bundles<T: serde::Serialize>(configuration: &T) -> usize {
    let value: Value = serde_json::to_value(configuration).unwrap();
    let encoded = value["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
    let pem: k8s_openapi::ByteString = serde_json::from_value(encoded.into()).unwrap();
    String::from_utf8(pem.0).unwrap().matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn certificates_are_replaced_in_time_by_one_hand() {
    let mut hook = Hook::new().await;
    hook.goes_down().await;
    let client = &hook.lab.client;
    let now = Timestamp::now();
    let first = once(client, &hook.wanted, true, now).await.unwrap().unwrap();
    assert_eq!(once(client, &hook.wanted, true, now).await.unwrap(), Some(first.clone()));
    let later = now + SignedDuration::from_hours(61 * 24);
    assert_eq!(once(client, &hook.wanted, false, later).await.unwrap(), Some(first.clone()), "another replica does it");
    let second = once(client, &hook.wanted, true, later).await.unwrap().unwrap();
    assert_ne!(second.certificate, first.certificate);
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone()).get(NAME).await.unwrap();
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone()).get(NAME).await.unwrap();
    assert_eq!((bundles(&validating), bundles(&mutating)), (2, 2));

    // Without sizing there is nothing to ask of the other kind.
    let fewer = Wanted { sizes_new_pods: false, ..hook.wanted.clone() };
    assert_eq!(once(client, &fewer, true, later).await.unwrap(), Some(second));
    assert!(Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(NAME).await.unwrap().is_none());
    assert!(matches!(&*alone().borrow(), Leadership::Leads { .. }));
    hook.end().await;
}

#[tokio::test]
async fn behind_a_service_only_the_authorities_are_ours() {
    let mut hook = Hook::new().await;
    hook.goes_down().await;
    let client = &hook.lab.client;
    let behind = Wanted::behind("supple-system", "supple-system", "shop-webhook");
    let error = once(client, &behind, true, Timestamp::now()).await.unwrap_err().to_string();
    assert!(error.contains("\"shop\"") && error.contains("webhook.enabled"), "{error}");

    // As the chart has it: other webhooks beside ours, and a choice of its own for what happens in failure.
    let all = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let webhook = |name: &str| {
        json!({"name": name, "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "supple-system", "name": "shop-webhook", "path": server::RESIZE}},
            "rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/resize"]}]})
    };
    let configuration =
        json!({"metadata": {"name": "shop"}, "webhooks": [webhook("resize.supple.dev"), webhook("a.example.com")]});
    all.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    let pair = once(client, &behind, true, Timestamp::now()).await.unwrap().unwrap();
    assert_eq!(pair.names[0], "shop-webhook.supple-system.svc");
    let hooks = all.get("shop").await.unwrap().webhooks.unwrap();
    let told: Vec<_> = hooks
        .iter()
        .map(|it| {
            (it.name.as_str(), it.failure_policy.as_deref(), it.client_config.ca_bundle.as_ref().map(|it| it.0.clone()))
        })
        .collect();
    let authorities = Some(pair.authorities.clone().into_bytes());
    assert_eq!(told, [("resize.supple.dev", Some("Fail"), authorities), ("a.example.com", Some("Fail"), None)]);
    let before = all.get("shop").await.unwrap().metadata.resource_version;
    once(client, &behind, true, Timestamp::now()).await.unwrap();
    assert_eq!(
        all.get("shop").await.unwrap().metadata.resource_version,
        before,
        "nothing is written that is so already"
    );
    assert!(!withdraw(client, "shop").await.unwrap(), "it is whoever's who installed us");
    hook.end().await;
}
