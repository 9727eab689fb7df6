//! Every right of the controller's account, held against what is really asked of the API server: none is missing, and none is there
//! that nobody uses.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supple_controller::carry::{Order, carry};
use supple_controller::lease::candidate::Times;
use supple_controller::lease::elect::{self, Election, elect};
use supple_controller::lease::mandate::Mandate;
use supple_controller::run::{Options, Outlets, run};
use supple_controller::snapshot::Snapshot;
use supple_controller::source::kubelet::sweep::Pace;
use supple_controller::webhook::publish::{self, Wanted};
use supple_controller::world::Settings;
use supple_decide::code::Code;
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::round::{Action, What};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn};

use super::lab::Lab;
use super::{autoscalers, scaler};

/// `group resource verb`, each alone.
type Rights = BTreeSet<String>;

const OWN: &str = "supple-system";

/// Granted, and not asked for here: why.
const EXCEPTIONS: [(&str, &str); 3] = [
    (" pods list", "a cluster that does not stream lists (WatchList) is listed in pages"),
    ("argoproj.io rollouts get", "asked for where there is one: owners.rs"),
    ("supple.dev rightsizings list", "the same"),
];

/// The rights that a request needs; what is no resource, and how the kinds of a group are found out, is everybody's.
fn needs(request: &Request<Body>) -> Vec<String> {
    let uri = request.uri();
    let mut parts = uri.path().trim_matches('/').split('/').map(str::to_owned);
    let group = match parts.next().as_deref() {
        Some("api") => String::new(),
        Some("apis") => parts.next().unwrap_or_default(),
        _ => return Vec::new(),
    };
    let mut rest: Vec<String> = parts.skip(1).collect();
    if rest.len() > 2 && rest[0] == "namespaces" {
        rest.drain(..2);
    }
    let (resource, is_named) = match rest.as_slice() {
        [] => return Vec::new(),
        [resource] => (resource.clone(), false),
        [resource, _] => (resource.clone(), true),
        [resource, _, subresource, ..] => (format!("{resource}/{subresource}"), true),
    };
    let is_watch = uri.query().unwrap_or_default().contains("watch=true");
    let is_apply = request.headers().get("content-type").is_some_and(|it| it == "application/apply-patch+yaml");
    let verbs: &[&str] = match *request.method() {
        Method::GET if is_watch => &["watch"],
        Method::GET if is_named => &["get"],
        Method::GET => &["list"],
        Method::POST => &["create"],
        Method::PUT => &["update"],
        // An object that is applied may have to be made. A part of one never is.
        Method::PATCH if is_apply && !resource.contains('/') => &["patch", "create"],
        Method::PATCH => &["patch"],
        Method::DELETE => &["delete"],
        _ => &["other"],
    };
    verbs.iter().map(|verb| format!("{group} {resource} {verb}")).collect()
}

/// A client, and the rights that it has needed.
fn recorded(inner: &Client) -> (Client, Arc<Mutex<Rights>>) {
    let (inner, sent) = (inner.clone(), Arc::<Mutex<Rights>>::default());
    let recorder = sent.clone();
    let service = service_fn(move |request: Request<Body>| {
        recorder.lock().unwrap().extend(needs(&request));
        let inner = inner.clone();
        async move { Ok::<Response<Answer>, BoxError>(inner.send(request).await?.map(Answer::new)) }
    });
    (Client::new(service, "default"), sent)
}

/// What the roles of the controller grant in a file, values of the chart or not.
fn granted(file: &str) -> Rights {
    let text = std::fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let is_role = |it: &&str| it.contains("\nkind: ClusterRole\n") || it.contains("\nkind: Role\n");
    let list = |line: &str, field: &str| -> Option<Vec<String>> {
        let list = line.trim().trim_start_matches("- ").strip_prefix(field)?.strip_prefix(": [")?.strip_suffix(']')?;
        Some(list.split(", ").map(|it| it.trim_matches('"').to_owned()).collect())
    };
    let (mut found, mut groups, mut resources) = (Rights::new(), Vec::new(), Vec::new());
    let roles = text.split("\n---\n").filter(is_role).filter(|it| !it.contains("Not for Supple"));
    for line in roles.flat_map(str::lines) {
        groups = list(line, "apiGroups").unwrap_or(groups);
        resources = list(line, "resources").unwrap_or(resources);
        for verb in list(line, "verbs").unwrap_or_default() {
            for group in &groups {
                found.extend(resources.iter().map(|resource| format!("{group} {resource} {verb}")));
            }
        }
    }
    found
}

async fn make<K>(api: Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// The webhook, where the chart has made what it makes; the half that sizes new pods can be switched off.
async fn publishes(lab: &Lab, client: &Client, sizes_new_pods: bool) {
    make(Api::<Secret>::namespaced(lab.client.clone(), OWN), json!({"metadata": {"name": "supple-webhook"}})).await;
    let wanted = Wanted::behind(OWN, OWN, "supple-webhook");
    let hook = |name: &str| {
        json!({"metadata": {"name": wanted.name}, "webhooks": [{"name": name, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {"service": {"namespace": OWN, "name": "supple-webhook"}}}]})
    };
    make(Api::<ValidatingWebhookConfiguration>::all(lab.client.clone()), hook("resize.supple.dev")).await;
    if sizes_new_pods {
        make(Api::<MutatingWebhookConfiguration>::all(lab.client.clone()), hook("create.supple.dev")).await;
    }
    publish::registration(client, &wanted.name).await.unwrap();
    assert!(publish::once(client, &wanted, true, (lab.clock)()).await.unwrap().is_some());
}

/// What is done to a workload whose pods are recreated: whoever carries it out asks, whatever the answer is.
async fn recreates(client: &Client, lab: &Lab) {
    for (kind, what) in [
        ("Deployment", What::Evict),
        ("Deployment", What::RollOut),
        ("StatefulSet", What::RollOut),
        ("DaemonSet", What::RollOut),
    ] {
        let workload = WorkloadKey { namespace: "default".into(), kind: kind.into(), name: "nobody".into() };
        let pod = PodKey::new("default", "nobody", "u");
        let action = Action { pod, workload, what, code: Code::Evict, why: String::new(), cannot_wait: false };
        let order = Order {
            action,
            pod: k8s_openapi::api::core::v1::Pod::default(),
            note: None,
            inherited: false,
            recreated: None,
            no_room_since: None,
        };
        carry(client, &order, &Mandate::alone(), (lab.clock)()).await;
    }
}

/// The loop for hours on everything that it reads and writes.
async fn works(lab: &Lab, client: &Client) {
    autoscalers::kinds(lab).await;
    lab.policy("quick", json!({"hpa": "Adjust"})).await;
    let everywhere = json!({"metadata": {"name": "everywhere"}, "spec": {}});
    make(Api::<supple_api::ClusterRightsizePolicy>::all(lab.client.clone()), everywhere).await;
    scaler::scaled(lab).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    autoscalers::autoscaler(lab, "first", "Pod", "big", "InPlaceOrRecreate").await;
    let election = elect::Options {
        namespace: OWN.to_owned(),
        name: supple_api::names::LEASE.to_owned(),
        identity: "replica-1".to_owned(),
        times: Times::default(),
    };
    let ended = CancellationToken::new();
    let Election { leadership, ended: given_back } = elect(client.clone(), election, lab.clock.clone(), ended.clone());
    let interval = Duration::from_secs(15);
    let options = Options {
        interval,
        settings: Settings::default(),
        instance: "replica-1".to_owned(),
        clock: lab.clock.clone(),
        audit: None,
        leadership,
        kubelets: Some(Pace::default()),
        prometheus: None,
        history: None,
        outlets: Outlets::new(interval),
    };
    let stop = CancellationToken::new();
    let (rows, _) = watch::channel(Snapshot::default());
    let work = tokio::spawn(run(client.clone(), options, rows, stop.clone()));
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    stop.cancel();
    work.await.unwrap().unwrap();
    ended.cancel();
    given_back.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_what_is_granted() {
    let lab = Lab::new().await;
    make(Api::<Namespace>::all(lab.client.clone()), json!({"metadata": {"name": OWN}})).await;
    let (client, sent) = recorded(&lab.client);
    works(&lab, &client).await;
    recreates(&client, &lab).await;
    publishes(&lab, &client, true).await;
    let sent = sent.lock().unwrap().clone();
    let granted = granted("charts/supple/templates/rbac.yaml");
    let missing: Vec<&String> = sent.difference(&granted).collect();
    assert!(missing.is_empty(), "asked for, and not granted: {missing:?}");
    let unused: Vec<&str> = granted.difference(&sent).map(String::as_str).collect();
    let excepted: Vec<&str> = EXCEPTIONS.iter().map(|it| it.0).collect();
    assert_eq!(unused, excepted, "granted, and not asked for");
    lab.cluster.stop().await;
}

/// What is looked for and not there is asked for too, again and again: a refusal of it would be an alert for good.
#[tokio::test(start_paused = true)]
async fn a_webhook_of_one_half_is_asked_for_by_both_and_the_chart_lets_it() {
    let lab = Lab::new().await;
    make(Api::<Namespace>::all(lab.client.clone()), json!({"metadata": {"name": OWN}})).await;
    let (client, sent) = recorded(&lab.client);
    publishes(&lab, &client, false).await;
    let of = |halves: &[&str], verb: &str| -> Vec<String> {
        halves.iter().map(|it| format!("admissionregistration.k8s.io {it}webhookconfigurations {verb}")).collect()
    };
    let own = [" secrets get", " secrets update"].map(str::to_owned);
    let needed = own.into_iter().chain(of(&["mutating", "validating"], "get")).chain(of(&["validating"], "patch"));
    assert_eq!(*sent.lock().unwrap(), needed.collect::<Rights>());
    lab.cluster.stop().await;
}
