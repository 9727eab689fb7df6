//! News in, facts out.

use serde_json::{Value, json};

use super::*;

fn pod(name: &str, uid: &str, hash: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": {"pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("web-{hash}"), "uid": "r",
                "controller": true}]},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap()
}

fn of<K: serde::de::DeserializeOwned>(value: Value) -> watcher::Event<K> {
    watcher::Event::Apply(serde_json::from_value(value).unwrap())
}

fn web() -> WorkloadKey {
    WorkloadKey { namespace: Arc::from("shop"), kind: Arc::from("Deployment"), name: Arc::from("web") }
}

fn deployment() -> News {
    News::Deployment(of(json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "d", "labels": {"team": "a"}},
        "spec": {"replicas": 3, "selector": {}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c"}]}}},
        "status": {"readyReplicas": 2, "replicas": 3, "updatedReplicas": 3},
    })))
}

#[test]
fn a_workload_is_put_together_from_what_speaks_of_it() {
    let mut view = View::default();
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "1", "a"))));
    let alone = view.facts_of(&web());
    assert_eq!(
        (alone.replicas, alone.uid.as_ref(), alone.rollout.is_some()),
        (1, "", false),
        "its object has not come yet"
    );
    view.see(deployment());
    view.see(News::Budget(of(json!({
        "metadata": {"namespace": "shop", "name": "b"}, "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2},
    }))));
    view.see(News::Scaler(of(json!({
        "metadata": {"namespace": "shop", "name": "h"},
        "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    }))));
    assert_eq!(view.take_dirty(), BTreeSet::from([web()]));
    let facts = view.facts_of(&web());
    assert_eq!((facts.replicas, facts.ready, facts.uid.as_ref()), (3, 2, "d"));
    assert_eq!((facts.disruptions_allowed, facts.scalers.len(), facts.rollout.is_some()), (Some(1), 1, true));
    assert_eq!(view.said(&web()).labels["team"], "a");
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    let mut view = View::default();
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "1", "a"))));
    view.see(News::Pod(watcher::Event::Apply(pod("web-1", "2", "a"))));
    assert_eq!(view.scene.pods.keys().map(|it| it.uid.as_ref()).collect::<Vec<_>>(), ["2"]);
    // The first one's end is told late: it says nothing about the second.
    view.see(News::Pod(watcher::Event::Delete(pod("web-1", "1", "a"))));
    assert_eq!(view.members(&web()).count(), 1);
    view.see(News::Pod(watcher::Event::Delete(pod("web-1", "2", "a"))));
    assert_eq!((view.members(&web()).count(), view.scene.pods.len(), view.members.len()), (0, 0, 0));
}

#[test]
fn what_a_new_list_leaves_out_is_gone() {
    let mut view = View::default();
    for event in [
        watcher::Event::Init,
        watcher::Event::InitApply(pod("web-1", "1", "a")),
        watcher::Event::InitApply(pod("web-2", "2", "a")),
        watcher::Event::InitDone,
        watcher::Event::Init,
        watcher::Event::InitApply(pod("web-2", "2", "a")),
        watcher::Event::InitDone,
    ] {
        view.see(News::Pod(event));
    }
    assert_eq!(view.scene.pods.keys().map(|it| it.name.as_ref()).collect::<Vec<_>>(), ["web-2"]);
    assert!(!view.missing().contains(&"pods") && view.missing().contains(&"nodes"));
}

#[test]
fn the_switch_and_labels_of_a_namespace() {
    let mut view = View::default();
    view.see(News::Namespace(of(json!({"metadata": {
        "name": "supple-system", "labels": {"supple.dev/mode": "in-place"},
        "annotations": {"supple.dev/stop": "incident 7", "other": "x"}}}))));
    let own = Arc::from("supple-system");
    assert_eq!(view.namespace_words(&own).unwrap().get("supple.dev/stop").map(String::as_str), Some("incident 7"));
    assert_eq!(view.scene.namespaces[&own].mode.as_deref(), Some("in-place"));
}

/// A pod of a job, the job, which is of a cron job, and that.
fn run() -> [News; 3] {
    let of_kind = |kind: &str, name: &str| json!([{"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": "o", "controller": true}]);
    let meta =
        |name: &str, owners: Value| json!({"namespace": "shop", "name": name, "uid": "u", "ownerReferences": owners});
    [
        News::Pod(of(json!({"metadata": meta("report-1-x", of_kind("Job", "report-1")), "spec": {"containers": []}}))),
        News::Job(of(json!({"metadata": meta("report-1", of_kind("CronJob", "report"))}))),
        News::CronJob(of(json!({"metadata": meta("report", json!([]))}))),
    ]
}

/// Of which workload the only pod is, and which workloads there are.
fn whose(view: &View) -> (String, Vec<String>) {
    let pod = view.pod("shop", "report-1-x").unwrap();
    (pod.workload.to_string(), view.members.keys().map(ToString::to_string).collect())
}

#[test]
fn a_cron_jobs_pods_are_its_own_in_whatever_order_they_are_told_of() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut view = View::default();
        let mut news = run().map(Some);
        for at in order {
            view.see(news[at].take().unwrap());
        }
        let cron = "shop/cronjob/report".to_owned();
        assert_eq!(whose(&view), (cron.clone(), vec![cron]), "{order:?}");
        assert!(view.take_dirty().iter().any(|it| &*it.kind == "CronJob"), "{order:?}");
    }
}

#[test]
fn a_job_that_is_set_free_takes_its_pods_along() {
    let mut view = View::default();
    for news in run() {
        view.see(news);
    }
    view.see(News::Job(of(json!({"metadata": {"namespace": "shop", "name": "report-1"}}))));
    let job = "shop/job/report-1".to_owned();
    assert_eq!(whose(&view), (job.clone(), vec![job]));
    let pod = json!({"metadata": {"namespace": "shop", "name": "report-1-x", "uid": "u"}});
    view.see(News::Pod(watcher::Event::Delete(serde_json::from_value(pod).unwrap())));
    assert_eq!((view.members.len(), view.of_jobs.len()), (0, 0));
}

#[test]
fn a_job_that_is_gone_leaves_its_ending_pods_to_its_cron_job() {
    let job = || serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "report-1"}})).unwrap();
    let cron = "shop/cronjob/report".to_owned();
    for gone in [vec![watcher::Event::Delete(job())], vec![watcher::Event::Init, watcher::Event::InitDone]] {
        let mut view = View::default();
        for news in run() {
            view.see(news);
        }
        for event in gone {
            view.see(News::Job(event));
        }
        assert_eq!(whose(&view), (cron.clone(), vec![cron.clone()]));
        let [pod, ..] = run();
        view.see(pod); // a word of how it ends
        assert_eq!(whose(&view), (cron.clone(), vec![cron.clone()]));
    }
}

#[test]
fn nothing_is_decided_before_it_can_be_known_whose_pods_are() {
    let missing = View::default().missing();
    assert!(missing.contains(&"jobs") && missing.contains(&"cronjobs"), "{missing:?}");
}
