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
    assert_eq!((alone.replicas, alone.uid.as_ref(), alone.can_roll_out), (1, "", false), "its object has not come yet");
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
    assert_eq!((facts.disruptions_allowed, facts.scalers.len(), facts.can_roll_out), (Some(1), 1, true));
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
