//! Deleting: at once, gracefully, held by finalizers, on conditions, whole collections, namespaces.

use serde_json::{Value, json};
use supple_apiserver::Options;

use crate::harness::{Harness, JSON, MERGE, TestClock, small};

const PODS: &str = "/api/v1/namespaces/n/pods";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

async fn delete(it: &Harness, path: &str, options: Value) -> crate::harness::Reply {
    it.call("DELETE", path, &[("content-type", JSON)], options.to_string()).await
}

async fn placed(it: &Harness, name: &str) -> String {
    let mut pod = small(name);
    pod["spec"]["nodeName"] = "lab".into();
    it.post(PODS, pod).await.expect(201);
    format!("{PODS}/{name}")
}

#[tokio::test]
async fn a_placed_pod_waits_for_its_node() {
    let clock = TestClock::new();
    let it = Harness::with(Options { clock: clock.clone(), ..Options::in_memory() }).await;
    let path = placed(&it, "a").await;
    let marked = it.delete(&path).await.expect(200);
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2030-01-01T00:00:30Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["generation"], 2);
    clock.advance(5);
    let again = it.delete(&path).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], marked["metadata"]["resourceVersion"]);
    let shortened = delete(&it, &path, json!({"gracePeriodSeconds": 10})).await.expect(200);
    assert_eq!(shortened["metadata"]["deletionTimestamp"], "2030-01-01T00:00:10Z");
    // What the node does in the end.
    let uid = &marked["metadata"]["uid"];
    let other = delete(&it, &path, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}})).await;
    assert_eq!(other.code, 409, "{}", other.text);
    delete(&it, &path, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})).await.expect(200);
    it.get(&path).await.expect(404);
}

#[tokio::test]
async fn an_unplaced_or_ended_pod_goes_at_once() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    assert_eq!(it.delete(&format!("{PODS}/a")).await.expect(200)["kind"], "Pod");
    it.get(&format!("{PODS}/a")).await.expect(404);
    let path = placed(&it, "b").await;
    it.set_status(&path, json!({"phase": "Failed"})).await;
    it.delete(&path).await.expect(200);
    it.get(&path).await.expect(404);
    let path = placed(&it, "c").await;
    it.delete(&format!("{path}?gracePeriodSeconds=0")).await.expect(200);
    it.get(&path).await.expect(404);
}

#[tokio::test]
async fn finalizers_hold() {
    let it = Harness::new().await;
    it.post(MAPS, json!({"metadata": {"name": "m", "finalizers": ["a.example/x"]}})).await.expect(201);
    let path = format!("{MAPS}/m");
    let held = it.delete(&path).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    it.get(&path).await.expect(200);
    it.patch(&path, MERGE, json!({"metadata": {"finalizers": null}})).await.expect(200);
    it.get(&path).await.expect(404);
}

#[tokio::test]
async fn answers_and_conditions() {
    let it = Harness::new().await;
    let created = it.post(MAPS, json!({"metadata": {"name": "m"}})).await.expect(201);
    let path = format!("{MAPS}/m");
    delete(&it, &path, json!({"dryRun": ["All"]})).await.expect(200);
    delete(&it, &path, json!({"preconditions": {"resourceVersion": "1"}})).await.expect(409);
    delete(&it, &path, json!({"propagationPolicy": "Never"})).await.expect(422);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let gone = delete(&it, &path, options).await.expect(200);
    let details = json!({"name": "m", "kind": "configmaps", "uid": created["metadata"]["uid"]});
    assert_eq!(
        gone,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    );
    let absent = it.delete(&path).await;
    assert_eq!((absent.code, absent.message()), (404, "configmaps \"m\" not found"));
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    let it = Harness::new().await;
    for (name, tier) in [("a", "x"), ("b", "x"), ("c", "y")] {
        it.post(MAPS, json!({"metadata": {"name": name, "labels": {"tier": tier}}})).await.expect(201);
    }
    let gone = it.delete(&format!("{MAPS}?labelSelector=tier%3Dx")).await.expect(200);
    assert_eq!(gone["items"].as_array().map(Vec::len), Some(2));
    let left = it.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
}

#[tokio::test]
async fn a_namespace_closes_before_it_goes() {
    let it = Harness::new().await;
    it.post("/api/v1/namespaces", json!({"metadata": {"name": "tmp"}})).await.expect(201);
    let path = "/api/v1/namespaces/tmp";
    let marked = it.delete(path).await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = it.post("/api/v1/namespaces/tmp/configmaps", json!({"metadata": {"name": "m"}})).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "configmaps \"m\" is forbidden: unable to create new content in namespace tmp because it is being terminated"
        )
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut finalized = it.get(path).await.expect(200);
    finalized["spec"]["finalizers"] = json!([]);
    it.put(&format!("{path}/finalize"), finalized).await.expect(200);
    it.get(path).await.expect(404);
    let immortal = it.delete("/api/v1/namespaces/default").await;
    assert_eq!(
        (immortal.code, immortal.message()),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );
}
