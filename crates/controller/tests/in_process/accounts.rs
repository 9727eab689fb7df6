//! What `plan` and `explain` say of workloads whose pods are not all alike, or have a word of their own.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use supple_controller::account::{Account, AnswerWord, ToAct};
use supple_controller::once;
use supple_controller::world::Settings;
use supple_decide::code::Code;
use supple_decide::policy::Mode;

use super::lab::Lab;

/// A deployment `web` in this namespace whose pods ask for half a core and have these labels.
async fn deployment(lab: &Lab, namespace: &str, replicas: u32, labels: Value, usage: &str) {
    let mut of_pods = json!({"app": "web"});
    json_patch::merge(&mut of_pods, &labels);
    let object = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": of_pods, "annotations": {"supple.dev/usage-pattern": usage}},
            "spec": {"containers": [{"name": "app", "image": "i",
                "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}}}]}}}});
    let api = Api::<Deployment>::namespaced(lab.client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// The account of `web` in this namespace, once so many of its pods are to change.
async fn account(lab: &Lab, namespace: &str, changing: u32) -> Account {
    for _ in 0..120 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let world = once::look(&lab.client, Settings::default(), &*lab.clock, Duration::from_secs(60)).await.unwrap();
        let found = world.accounts().into_iter().find(|it| it.namespace == namespace && it.name == "web");
        if let Some(account) = found.filter(|it| it.changing == changing) {
            return account;
        }
    }
    panic!("its pods are never to change");
}

#[tokio::test(start_paused = true)]
async fn every_pod_has_its_own_answer_and_all_of_them_count() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    deployment(&lab, "default", 2, json!({}), "cpu=1800m memory=200Mi").await;
    lab.pod("filler", "1200m/256Mi", "", "cpu=1 memory=200Mi").await;
    let pods = loop {
        let pods = lab.pods().list(&ListParams::default().labels("app=web")).await.unwrap().items;
        if pods.iter().filter(|it| it.spec.as_ref().is_some_and(|it| it.node_name.is_some())).count() == 2 {
            break pods;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    // One of them by hand has nearly what it needs, for which there is room; for what the other one lacks there is none.
    let name = pods[1].metadata.name.as_deref().unwrap();
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1500m"}}}]}});
    lab.pods().patch_resize(name, &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();

    let account = account(&lab, "default", 2).await;
    let mut words: Vec<AnswerWord> = account.patches.iter().map(|it| it.answer.word).collect();
    words.sort_unstable();
    assert_eq!(words, [AnswerWord::Accepted, AnswerWord::Deferred], "{:#?}", account.patches);
    let shown = account.patches.iter().find(|it| it.pod == account.pod).unwrap();
    assert_eq!(account.answer.word, shown.answer.word);
    let cpu = account.risks.iter().find(|it| it.resource.as_str() == "cpu").unwrap();
    assert_eq!((cpu.pods, cpu.container.as_str(), cpu.requests.as_str()), (2, "app", "500m"), "the least of both");
    let target = account.containers[0].proposed.cpu_request.unwrap().0;
    assert_eq!(account.containers[0].released.milli_cpu, 2000 - 2 * target, "of both, each by its own");
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_says_itself_is_told_as_its_own_with_what_would_change_it() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "InPlace"}})).await;
    deployment(&lab, "default", 1, json!({"supple.dev/mode": "none"}), "cpu=1 memory=200Mi").await;
    deployment(&lab, "kube-system", 1, json!({"supple.dev/mode": "in-place"}), "cpu=1 memory=200Mi").await;

    let own = account(&lab, "default", 1).await;
    assert_eq!((own.mode, own.code), (Mode::Off, Code::ModeOff));
    assert!(own.message.contains("\"none\" is not a mode"), "{}", own.message);
    let mode = own.settings.iter().find(|it| it.name == "updatePolicy.updateMode").unwrap();
    assert_eq!((mode.value.as_str(), mode.origin.as_str()), ("Off: recommend only", "label or annotation of the pod"));
    let act = own.to_act.iter().find(|it| it.code == Code::ModeOff).unwrap();
    assert_eq!(act.setting.as_deref(), Some("updateMode (label or annotation of the pod)"));
    let command = format!("kubectl label --overwrite pod/{} -n default supple.dev/mode=in-place", own.pod);
    assert_eq!(act.command.as_ref(), Some(&command));
    let label = json!({"metadata": {"labels": {"supple.dev/mode": "in-place"}}});
    lab.pods().patch(&own.pod, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    assert_eq!(account(&lab, "default", 1).await.code, Code::Resize, "the command does what it is shown for");

    let system = account(&lab, "kube-system", 1).await;
    assert_eq!((system.mode, system.code), (Mode::Off, Code::ProtectedNamespace));
    let cure = Code::ProtectedNamespace.cure();
    let act = ToAct { code: Code::ProtectedNamespace, change: cure, setting: None, command: None };
    assert_eq!(system.to_act, [act], "nothing that would not help is shown");
    lab.cluster.stop().await;
}
