//! Watches, in virtual time: where they begin, what they show, when they remind, when they end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Harness, MERGE, Watch, small};

const MAPS: &str = "/api/v1/namespaces/n/configmaps";

async fn map(it: &Harness, name: &str, labels: Value) -> u64 {
    let created = it.post(MAPS, json!({"metadata": {"name": name, "labels": labels}})).await.expect(201);
    revision(&created)
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_where_it_is_told() {
    for (query, expected) in [
        ("watch=1", ["ADDED a", "ADDED b"].as_slice()),
        ("watch=true&resourceVersion=0", &["ADDED a", "ADDED b"]),
        ("watch=1&resourceVersion=FIRST", &["ADDED b"]),
        ("watch=1&resourceVersion=NEWEST", &[]),
    ] {
        let it = Harness::new().await;
        let first = map(&it, "a", json!({})).await;
        map(&it, "b", json!({})).await;
        let query = query.replace("FIRST", &first.to_string()).replace("NEWEST", &it.server.revision().to_string());
        let mut watch = Watch::begin(&it, &format!("{MAPS}?{query}"), &[]).await;
        assert_eq!(watch.words(expected.len()).await, expected, "{query}");
        map(&it, "c", json!({})).await;
        assert_eq!(watch.word().await, "ADDED c", "{query}");
        assert!(watch.is_quiet().await);
        it.delete(&format!("{MAPS}/c")).await.expect(200);
        assert_eq!(watch.word().await, "DELETED c");
    }
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_says_when_it_is_complete() {
    let it = Harness::new().await;
    map(&it, "a", json!({})).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::begin(&it, &format!("{MAPS}?{query}"), &[]).await;
    assert_eq!(watch.word().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(revision(&bookmark["object"]), it.server.revision());
    map(&it, "b", json!({})).await;
    assert_eq!(watch.word().await, "ADDED b");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_to_the_quiet_and_before_the_end() {
    let it = Harness::new().await;
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=150&resourceVersion=0");
    let mut watch = Watch::begin(&it, &path, &[]).await;
    let began = Instant::now();
    // Written elsewhere: nothing for this watch, but its bookmark moves.
    it.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.expect(201);
    for after in [60, 120, 148] {
        let bookmark = watch.next().await.unwrap();
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(began.elapsed(), Duration::from_secs(after));
        assert_eq!(revision(&bookmark["object"]), it.server.revision());
    }
    assert_eq!(watch.word().await, "end");
    assert_eq!(began.elapsed(), Duration::from_secs(150));

    let mut plain = Watch::begin(&it, &format!("{MAPS}?watch=1&timeoutSeconds=90"), &[]).await;
    assert_eq!(plain.word().await, "end");
    assert_eq!(began.elapsed(), Duration::from_secs(240), "without bookmarks only the end comes");
}

#[tokio::test(start_paused = true)]
async fn a_selector_makes_its_own_additions_and_deletions() {
    let it = Harness::new().await;
    let mut watch = Watch::begin(&it, &format!("{MAPS}?watch=1&labelSelector=in%3Dyes"), &[]).await;
    let label = |value: &'static str| json!({"metadata": {"labels": {"in": value}}});
    map(&it, "a", json!({"in": "no"})).await;
    map(&it, "b", json!({"in": "yes"})).await;
    let path = format!("{MAPS}/a");
    it.patch(&path, MERGE, label("yes")).await.expect(200);
    it.patch(&path, MERGE, json!({"data": {"x": "y"}})).await.expect(200);
    it.patch(&path, MERGE, label("no")).await.expect(200);
    it.delete(&path).await.expect(200);
    it.delete(&format!("{MAPS}/b")).await.expect(200);
    assert_eq!(watch.words(3).await, ["ADDED b", "ADDED a", "MODIFIED a"]);
    let left = watch.next().await.unwrap();
    assert_eq!((&left["type"], &left["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("a")));
    assert_eq!(left["object"]["metadata"]["labels"], json!({"in": "yes"}), "as it was when it still matched");
    assert_eq!(watch.word().await, "DELETED b");
    assert!(watch.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn fields_namespaces_and_single_objects() {
    let it = Harness::new().await;
    it.post("/api/v1/namespaces", json!({"metadata": {"name": "m"}})).await.expect(201);
    let pods = |namespace: &str| format!("/api/v1/namespaces/{namespace}/pods");
    let from = it.server.revision();
    let watch = |path: String| {
        let it = it.clone();
        async move { Watch::begin(&it, &format!("{path}watch=1&resourceVersion={from}"), &[]).await }
    };
    let mut on_lab = watch("/api/v1/pods?fieldSelector=spec.nodeName%3Dlab&".into()).await;
    let mut in_m = watch(format!("{}?", pods("m"))).await;
    let mut only = watch(format!("{}/a?", pods("n"))).await;
    it.post(&pods("n"), small("a")).await.expect(201);
    it.post(&pods("m"), small("b")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "lab"}});
    it.post(&format!("{}/a/binding", pods("n")), binding).await.expect(201);
    assert_eq!(on_lab.word().await, "ADDED a");
    assert_eq!(in_m.word().await, "ADDED b");
    assert_eq!(only.words(2).await, ["ADDED a", "MODIFIED a"]);
    for watch in [&mut on_lab, &mut in_m, &mut only] {
        assert!(watch.is_quiet().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_history_has_passed_is_told_so() {
    let it = Harness::new().await;
    let old = map(&it, "a", json!({})).await;
    let mut slow = Watch::begin(&it, &format!("{MAPS}?watch=1&resourceVersion={old}"), &[]).await;
    let path = format!("{MAPS}/a");
    // More events than any history keeps.
    for round in 0..=supple_apiserver::WATCH_HISTORY {
        it.patch(&path, MERGE, json!({"data": {"round": round.to_string()}})).await.expect(200);
    }
    let mut late = Watch::begin(&it, &format!("{MAPS}?watch=1&resourceVersion={old}"), &[]).await;
    for watch in [&mut slow, &mut late] {
        let error = watch.next().await.unwrap();
        assert_eq!(error["type"], "ERROR");
        let status = &error["object"];
        assert_eq!(
            (&status["kind"], &status["code"], &status["reason"]),
            (&json!("Status"), &json!(410), &json!("Expired"))
        );
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("too old resource version: {old} (")), "{message}");
        assert_eq!(watch.word().await, "end");
    }
    let listed = it.get(&format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact")).await;
    assert_eq!((listed.code, listed.body["reason"].as_str()), (410, Some("Expired")));
}

#[tokio::test(start_paused = true)]
async fn a_watch_in_the_form_of_a_table() {
    let it = Harness::new().await;
    map(&it, "a", json!({})).await;
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let mut watch = Watch::begin(&it, &format!("{MAPS}?watch=1"), &[table]).await;
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(first["object"]["columnDefinitions"].as_array().is_some_and(|columns| !columns.is_empty()));
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    map(&it, "b", json!({})).await;
    let second = watch.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].as_array().is_none_or(Vec::is_empty), "columns are sent once");
    let metadata = ("accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
    let mut watch = Watch::begin(&it, &format!("{MAPS}?watch=1"), &[metadata]).await;
    let first = watch.next().await.unwrap();
    assert_eq!(
        (&first["object"]["kind"], &first["object"]["metadata"]["name"]),
        (&json!("PartialObjectMetadata"), &json!("a"))
    );
}

#[tokio::test(start_paused = true)]
async fn both_views_of_events_are_watched() {
    let it = Harness::new().await;
    let mut watch = Watch::begin(&it, "/apis/events.k8s.io/v1/events?watch=1", &[]).await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "n", "name": "p"}, "reason": "R", "message": "m", "type": "Normal"});
    it.post("/api/v1/namespaces/n/events", event).await.expect(201);
    let seen = watch.next().await.unwrap();
    assert_eq!((&seen["object"]["note"], &seen["object"]["regarding"]["name"]), (&json!("m"), &json!("p")));
}

#[tokio::test(start_paused = true)]
async fn a_revision_of_another_server_is_no_place_to_begin() {
    let it = Harness::new().await;
    let query = format!("watch=1&resourceVersion={}", it.server.revision() + 1000);
    let mut watch = Watch::begin(&it, &format!("{MAPS}?{query}"), &[]).await;
    assert_eq!(watch.next().await.unwrap()["object"]["code"], 410);
    assert_eq!(watch.word().await, "end");
}
