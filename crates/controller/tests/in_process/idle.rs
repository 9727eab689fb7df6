//! What is said of workloads that have no pods now, or none that runs yet.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use supple_controller::account::{Account, AnswerWord};
use supple_controller::once;
use supple_controller::world::Settings;
use supple_decide::code::Code;

use super::lab::Lab;

async fn deployment(lab: &Lab, name: &str, replicas: u32, cpu: &str) {
    let object = json!({"metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"supple.dev/usage-pattern": "cpu=50m memory=100Mi"}},
            "spec": {"containers": [{"name": "app", "image": "i",
                "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}}]}}}});
    let api = Api::<Deployment>::default_namespaced(lab.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// What `plan` and `explain` are made of.
async fn accounts(lab: &Lab) -> Vec<Account> {
    let patience = Duration::from_secs(60);
    let mut world = once::look(&lab.client, Settings::default(), &*lab.clock, patience).await.unwrap();
    world.judge_those_without_pods((lab.clock)());
    world.accounts()
}

#[tokio::test(start_paused = true)]
async fn a_workload_without_pods_has_a_row_with_what_was_learned_of_those_it_had() {
    let lab = Lab::new().await;
    lab.policy(
        "quick",
        json!({"resourcePolicy": {"containerPolicies": [{"containerName": "app", "minAllowed": {"cpu": "120m"}}]}}),
    )
    .await;
    deployment(&lab, "web", 1, "500m").await;
    deployment(&lab, "never", 0, "500m").await;
    deployment(&lab, "large", 1, "100").await;
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    let learned = lab.rightsizing("deployment-web").await.recommendation.remove(0);
    work.end().await;
    let api = Api::<Deployment>::default_namespaced(lab.client.clone());
    api.patch("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 0}}))).await.unwrap();
    while !lab.pods().list(&ListParams::default().labels("app=web")).await.unwrap().items.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let accounts = accounts(&lab).await;
    let names: Vec<(&str, Code, u32)> = accounts.iter().map(|it| (it.name.as_str(), it.code, it.pods)).collect();
    assert_eq!(names, [("large", Code::NotRunning, 1), ("never", Code::NoPods, 0), ("web", Code::NoPods, 0)]);
    let [large, never, web] = &accounts[..] else { unreachable!() };
    assert_eq!(large.message, "its pod does not run yet: it is pending");
    assert_eq!(never.message, "it is scaled to zero: there is no history of earlier pods");
    assert!(never.containers.len() == 1 && !never.differs(), "{never:#?}");

    let began = "it is scaled to zero: the sizes are from the history up to 2026-01-01T0";
    assert!(web.message.starts_with(began), "{}", web.message);
    let app = &web.containers[0];
    assert_eq!(app.now.cpu_request.map(|it| it.to_string()).as_deref(), Some("500m"), "as its template has it");
    let needs = app.need.as_ref().and_then(|it| it.memory.as_ref()).map(|it| it.target.to_string());
    assert_eq!(needs, learned.memory.map(|it| it.target), "as it was saved");
    let proposed = app.proposed.cpu_request.map(|it| it.to_string());
    assert_eq!(proposed.as_deref(), Some("120m"), "within the bounds of the policy, like any other");
    assert!(app.proposed.memory_request < app.now.memory_request, "{:?}", app.proposed);
    let new = &web.new_pod;
    assert_eq!((new.code, new.containers[0].sizes), (Code::ModeOff, app.now), "a new pod of it has its template's");
    assert!(web.differs() && !web.is_change() && web.patches.is_empty() && web.answer.word == AnswerWord::Nothing);
    let written = serde_json::to_value(web).unwrap();
    assert_eq!((&written["code"], &written["pods"], &written["pod"]), (&json!("NoPods"), &json!(0), &json!("")));
    lab.cluster.stop().await;
}
