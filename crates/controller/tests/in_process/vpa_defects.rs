//! Nine defects of the Vertical Pod Autoscaler, each played in a cluster: what it would do there, and that it is not done here. The numbers
//! are those of the project's baseline of VPA; `docs/from-vpa.md` has them as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use supple_api::VerticalPodAutoscaler;
use supple_controller::webhook::registration::{CREATE_HOOK, Registered, Registration};
use supple_controller::world::Settings;
use supple_decide::code::Code;
use supple_quantity::{Bytes, MilliCpu, Quantity};

use super::autoscalers;
use super::lab::{Lab, generation, requests};
use super::looped::is;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// With what a pod that is recreated would get right sizes: where somebody is to be evicted, nothing else keeps it from that.
fn recreates() -> Settings {
    let registration: MutatingWebhookConfiguration =
        serde_json::from_value(json!({"metadata": {"name": "supple"}, "webhooks": [{
        "name": CREATE_HOOK, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": "YQ=="},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}]}))
        .unwrap();
    let registered = Registered::default();
    registered.set(Registration::of([&registration]));
    Settings { registered, ..Settings::default() }
}

/// A template of pods that are called by the name of their workload.
fn template(name: &str, requests: Value, usage: &str, resize_policy: Value) -> Value {
    json!({"metadata": {"labels": {"app": name}, "annotations": {"supple.dev/usage-pattern": usage}},
        "spec": {"containers": [{"name": "app", "image": "i", "resources": {"requests": requests}, "resizePolicy": resize_policy}]}})
}

async fn deployment(lab: &Lab, name: &str, replicas: u32, template: Value) {
    let object = json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}});
    let api = Api::<Deployment>::default_namespaced(lab.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// The pods of a workload that run.
async fn pods(lab: &Lab, name: &str) -> Vec<Pod> {
    let all = lab.pods().list(&ListParams::default().labels(&format!("app={name}"))).await.unwrap();
    let runs = |it: &Pod| it.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running"));
    all.into_iter().filter(runs).collect()
}

/// Names and UIDs: the same as long as nobody has been evicted.
async fn identities(lab: &Lab, name: &str) -> BTreeMap<String, String> {
    pods(lab, name).await.into_iter().map(|it| (it.name_any(), it.uid().unwrap_or_default())).collect()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.iter().flat_map(|it| it.container_statuses.iter().flatten()).map(|it| it.restart_count).sum()
}

fn cpu(pod: &Pod) -> i64 {
    MilliCpu::from(&requests(pod).split_once('/').unwrap().0.parse::<Quantity>().unwrap()).0
}

async fn memory_recommended(lab: &Lab, rightsizing: &str) -> i64 {
    let memory = lab.rightsizing(rightsizing).await.recommendation.remove(0).memory.unwrap();
    Bytes::from(&memory.target.parse::<Quantity>().unwrap()).0 >> 20
}

/// VPA: in mode InPlace a decision to wait falls through into the patch. All five pods are patched at once, restarts included, though their
/// disruption budget allows none, and patched again every minute.
#[tokio::test(start_paused = true)]
async fn d1_what_the_budget_forbids_is_not_patched_in_any_mode() {
    for mode in ["InPlace", "InPlaceOrRecreate"] {
        let lab = Lab::new().await;
        lab.policy("quick", json!({"updatePolicy": {"updateMode": mode}})).await;
        let restarting = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        let requests = json!({"cpu": "500m", "memory": "200Mi"});
        deployment(&lab, "web", 5, template("web", requests, "cpu=100m memory=150Mi", restarting)).await;
        let budgets = Api::<PodDisruptionBudget>::default_namespaced(lab.client.clone());
        let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
        budgets.create(&PostParams::default(), &serde_json::from_value(budget).unwrap()).await.unwrap();
        let work = lab.begin_set(recreates());
        tokio::time::sleep(3 * HOUR).await;
        let all = pods(&lab, "web").await;
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|it| cpu(it) == 500 && restarts(it) == 0), "{mode}: nobody is disturbed");
        // The budget goes. Where the mode allows a restart, each has one, and one at a time; mode InPlace restarts nobody still.
        budgets.delete("web", &DeleteParams::default()).await.unwrap();
        let mut most = 0;
        for _ in 0..6 * 60 * 4 {
            tokio::time::sleep(MINUTE / 4).await;
            let unready = |it: &&Pod| {
                let conditions = it.status.iter().flat_map(|it| it.conditions.iter().flatten());
                !conditions.filter(|it| it.type_ == "Ready").any(|it| it.status == "True")
            };
            most = most.max(5 - all.len() + pods(&lab, "web").await.iter().filter(unready).count());
        }
        let all = pods(&lab, "web").await;
        let expect = i32::from(mode == "InPlaceOrRecreate");
        assert!(
            all.len() == 5 && all.iter().all(|it| restarts(it) == expect && (cpu(it) < 500) == (expect == 1)),
            "{mode}: {all:?}"
        );
        assert!(most <= 1, "{mode}: {most} at once");
        work.end().await;
        lab.cluster.stop().await;
    }
}

/// What is left of the node is taken by somebody who is not ours to size, all but a little.
async fn fill(lab: &Lab) {
    let all = lab.pods().list(&ListParams::default()).await.unwrap();
    let left = 4000 - all.iter().map(cpu).sum::<i64>() - 20;
    let filler = json!({"metadata": {"name": "filler", "labels": {"supple.dev/mode": "recommend"}},
        "spec": {"containers": [{"name": "app", "image": "i", "resources": {"requests": {"cpu": format!("{left}m"), "memory": "1Gi"}}}]}});
    lab.create(filler).await;
}

/// Since when one of the stateful set's pods has found no room, once that is so, or is not so any more.
async fn waits(lab: &Lab, wanted: bool) -> Option<jiff::Timestamp> {
    for _ in 0..24 * 60 {
        tokio::time::sleep(MINUTE).await;
        let since = lab.rightsizing("statefulset-db").await.record.and_then(|it| it.no_room_since);
        if since.is_some() == wanted {
            return since;
        }
    }
    panic!("it never came to that within a day: {wanted}");
}

/// VPA: the clock of a deferral begins at the first one ever of a pod of that name and is never set again, so that a pod of a stateful set
/// which once had to wait is evicted at the first sight of its next wait.
#[tokio::test(start_paused = true)]
async fn d2_each_wait_for_room_has_a_clock_of_its_own() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "InPlaceOrRecreate"}})).await;
    let usage = "cpu=ramp(100m,1200m,12h) memory=150Mi";
    let object = json!({"metadata": {"name": "db"}, "spec": {
        "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": template("db", json!({"cpu": "200m", "memory": "200Mi"}), usage, json!([]))}});
    let api = Api::<StatefulSet>::default_namespaced(lab.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let began = identities(&lab, "db").await;
    assert_eq!(began.len(), 2);
    let work = lab.begin_set(recreates());
    for wait in ["the first", "the second"] {
        fill(&lab).await;
        let since = waits(&lab, true).await.unwrap();
        let patience = Duration::try_from((since + 28 * MINUTE).duration_since((lab.clock)())).unwrap();
        tokio::time::sleep(patience).await;
        assert_eq!(identities(&lab, "db").await, began, "{wait} has gone on for 28 minutes of thirty");
        if wait == "the first" {
            lab.pods().delete("filler", &DeleteParams::default().grace_period(0)).await.unwrap();
            assert_eq!(waits(&lab, false).await, None);
            tokio::time::sleep(2 * HOUR).await;
            assert_eq!(identities(&lab, "db").await, began);
        }
    }
    // Its own time is up then: so much for what kept them from being evicted.
    tokio::time::sleep(30 * MINUTE).await;
    assert_ne!(identities(&lab, "db").await, began);
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: twelve hours after a pod's start every loop may resize it again, because a resize in place does not begin that time anew.
#[tokio::test(start_paused = true)]
async fn d3_the_pause_after_a_resize_holds_however_old_the_pod_is() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"coolDown": {"up": "2h", "down": "2h"}})).await;
    lab.pod("old", "2/200Mi", "4/400Mi", "cpu=ramp(1500m,50m,20h) memory=150Mi").await;
    tokio::time::sleep(12 * HOUR).await;
    let work = lab.begin();
    tokio::time::sleep(10 * HOUR).await;
    let record = lab.rightsizing("pod-old").await.record.unwrap();
    let times: Vec<_> = record.last_resizes.iter().map(|it| it.at).collect();
    assert!(times.len() >= 2, "its use falls all the while: {times:?}");
    assert!(times.windows(2).all(|it| it[1].duration_since(it[0]).as_hours() >= 2), "{times:?}");
    work.end().await;
    lab.cluster.stop().await;
}

/// A cluster with VPA's kinds and a pod that asks for too much, of which this object speaks.
async fn with_autoscaler(update_policy: Value) -> Lab {
    let lab = autoscalers::lab().await;
    let object = json!({"metadata": {"name": "web"}, "spec": {"targetRef": {"kind": "Pod", "name": "web"},
        "recommenders": [{"name": "supple"}], "updatePolicy": update_policy}});
    let object: VerticalPodAutoscaler = serde_json::from_value(object).unwrap();
    autoscalers::autoscalers(&lab).create(&PostParams::default(), &object).await.unwrap();
    lab
}

/// VPA: while the lease of its admission webhook is stale, nothing is resized in place either.
#[tokio::test(start_paused = true)]
async fn d4_a_resize_in_place_needs_no_webhook() {
    let lab = with_autoscaler(json!({"updateMode": "InPlaceOrRecreate"})).await;
    let namespaces = Api::<Namespace>::all(lab.client.clone());
    if namespaces.get_opt("kube-system").await.unwrap().is_none() {
        let own = json!({"metadata": {"name": "kube-system"}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(own).unwrap()).await.unwrap();
    }
    let lease = json!({"metadata": {"name": "vpa-admission-controller"}, "spec": {
        "holderIdentity": "gone", "leaseDurationSeconds": 60, "renewTime": "2025-12-31T00:00:00.000000Z"}});
    let leases = Api::<Lease>::namespaced(lab.client.clone(), "kube-system");
    leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let mut work = lab.begin();
    work.until("the pod is resized", is("web", Code::Resized)).await;
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: what is required before a pod may be evicted is required before it is resized in place too, which disturbs nobody.
#[tokio::test(start_paused = true)]
async fn d5_what_an_eviction_requires_does_not_hold_up_a_resize() {
    let only_up = json!([{"resources": ["cpu", "memory"], "changeRequirement": "TargetHigherThanRequests"}]);
    let lab = with_autoscaler(json!({"updateMode": "InPlaceOrRecreate", "evictionRequirements": only_up})).await;
    let before = lab.pods().get("web").await.unwrap();
    let mut work = lab.begin();
    work.until("the pod is resized", is("web", Code::Resized)).await;
    let after = lab.pods().get("web").await.unwrap();
    assert!(after.uid() == before.uid() && cpu(&after) < cpu(&before), "it shrank where it was");
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: the highest use of the day that has not ended is forgotten when the recommender is restarted, and it recommends too little.
#[tokio::test(start_paused = true)]
async fn d6_what_the_hour_that_has_not_ended_taught_survives_a_kill() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "Off"}})).await;
    let usage = "cpu=50m memory=burst(100Mi,600Mi,40m,2m)";
    deployment(&lab, "web", 1, template("web", json!({"cpu": "100m", "memory": "800Mi"}), usage, json!([]))).await;
    let work = lab.begin();
    tokio::time::sleep(50 * MINUTE).await;
    let before = memory_recommended(&lab, "deployment-web").await;
    work.kill().await;
    let work = lab.begin();
    tokio::time::sleep(5 * MINUTE).await;
    let after = memory_recommended(&lab, "deployment-web").await;
    assert!(before >= 600 && after >= 600, "{before} MiB, then {after} MiB");
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: a first sample of zero bytes mutes memory for a day.
#[tokio::test(start_paused = true)]
async fn d7_a_container_that_began_with_no_memory_is_heard_all_the_same() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let work = lab.begin();
    lab.pod("web", "100m/100Mi", "200m/1Gi", "cpu=50m memory=burst(0,300Mi,1h,3570s)").await;
    tokio::time::sleep(HOUR).await;
    let recommended = memory_recommended(&lab, "pod-web").await;
    assert!(recommended >= 300, "{recommended} MiB");
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: when its rate limit runs out, the rest of the loop is given up, and the next one begins in another order: whoever is unlucky waits for
/// ever.
#[tokio::test(start_paused = true)]
async fn d8_with_one_place_for_all_of_them_everybody_has_a_turn() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        lab.pod(name, "500m/1Gi", "1/2Gi", "cpu=50m memory=100Mi").await;
    }
    let mut work = lab.begin_set(Settings { max_in_flight: 1, ..Settings::default() });
    for name in names {
        work.until("every pod is resized", is(name, Code::Resized)).await;
    }
    work.end().await;
    lab.cluster.stop().await;
}

/// VPA: any error of a patch, be it a conflict or a server that does not answer for a moment, puts the pod on the list of those to be evicted.
#[tokio::test(start_paused = true)]
async fn d9_an_error_that_passes_evicts_nobody() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "InPlaceOrRecreate"}})).await;
    let requests = json!({"cpu": "500m", "memory": "1Gi"});
    deployment(&lab, "web", 3, template("web", requests, "cpu=50m memory=150Mi", json!([]))).await;
    tokio::time::sleep(MINUTE).await;
    let began = identities(&lab, "web").await;
    assert_eq!(began.len(), 3);
    lab.silent_webhook("Fail").await;
    let work = lab.begin_set(recreates());
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(identities(&lab, "web").await, began);
    assert!(pods(&lab, "web").await.iter().all(|it| generation(it) == 1), "it was tried in vain");
    lab.no_webhook().await;
    tokio::time::sleep(3 * HOUR).await;
    assert_eq!(identities(&lab, "web").await, began);
    assert!(pods(&lab, "web").await.iter().all(|it| cpu(it) < 500), "and then done in place");
    work.end().await;
    lab.cluster.stop().await;
}
