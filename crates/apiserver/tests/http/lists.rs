//! Lists: pages of one revision, selectors, revisions asked for, forms.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Harness, MERGE, small};

const MAPS: &str = "/api/v1/namespaces/n/configmaps";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_are_of_one_revision_whatever_is_written_meanwhile() {
    let it = Harness::new().await;
    let map = |name: String| json!({"metadata": {"name": name}, "data": {"round": "0"}});
    let expected: Vec<String> = (0..25).map(|index| format!("m{index:02}")).collect();
    for name in &expected {
        it.post(MAPS, map(name.clone())).await.expect(201);
    }
    let (mut seen, mut token, mut revision) = (Vec::new(), String::new(), Value::Null);
    for page in 0.. {
        let list = it.get(&format!("{MAPS}?limit=10&continue={token}")).await.expect(200);
        if page == 0 {
            revision = list["metadata"]["resourceVersion"].clone();
            assert_eq!(list["metadata"]["remainingItemCount"], 15);
        }
        assert_eq!(list["metadata"]["resourceVersion"], revision);
        for item in list["items"].as_array().unwrap() {
            assert_eq!(item["data"]["round"], "0");
            assert_eq!((item.get("kind"), item.get("apiVersion")), (None, None));
            seen.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        // Between pages everything changes: one goes, one comes, all are written.
        it.delete(&format!("{MAPS}/m{:02}", 23 - page)).await.expect(200);
        it.post(MAPS, map(format!("m99-{page}"))).await.expect(201);
        for name in ["m12", "m14", "m20"] {
            it.patch(&format!("{MAPS}/{name}"), MERGE, json!({"data": {"round": format!("{page}+")}}))
                .await
                .expect(200);
        }
        token = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let bad = it.get(&format!("{MAPS}?limit=10&continue=nonsense")).await;
    assert_eq!(bad.code, 400);
}

#[tokio::test]
async fn selectors_choose() {
    let it = Harness::new().await;
    for (name, phase) in [("a", "Running"), ("b", "Pending"), ("c", "Running")] {
        it.post("/api/v1/namespaces/n/pods", small(name)).await.expect(201);
        it.set_status(&format!("/api/v1/namespaces/n/pods/{name}"), json!({"phase": phase})).await;
    }
    for (query, expected) in [
        ("", vec!["a", "b", "c"]),
        ("fieldSelector=status.phase%3DRunning", vec!["a", "c"]),
        ("fieldSelector=status.phase!%3DRunning", vec!["b"]),
        ("fieldSelector=metadata.name%3Da", vec!["a"]),
        ("labelSelector=app%20in%20(a,b)", vec!["a", "b"]),
        ("labelSelector=!app", vec![]),
        ("labelSelector=app%3Dc&fieldSelector=status.phase%3DRunning", vec!["c"]),
    ] {
        for path in ["/api/v1/pods", "/api/v1/namespaces/n/pods"] {
            let list = it.get(&format!("{path}?{query}")).await.expect(200);
            assert_eq!(names(&list), expected, "{query}");
        }
        let elsewhere = it.get(&format!("/api/v1/namespaces/default/pods?{query}")).await.expect(200);
        assert_eq!(elsewhere["items"], json!([]));
    }
    it.get("/api/v1/pods?fieldSelector=spec.bogus%3Dx").await.expect(400);
    it.get("/api/v1/pods?labelSelector=%3D%3D").await.expect(400);
    let page = it.get("/api/v1/pods?limit=1&fieldSelector=status.phase%3DRunning").await.expect(200);
    assert_eq!((names(&page), page["metadata"].get("remainingItemCount")), (vec!["a"], None));
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = it
        .get(&format!("/api/v1/pods?limit=5&fieldSelector=status.phase%3DRunning&continue={token}"))
        .await
        .expect(200);
    assert_eq!(names(&rest), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_revision_can_be_asked_for() {
    let it = Harness::new().await;
    let create = |name: &'static str| {
        let it = it.clone();
        async move {
            it.post(MAPS, json!({"metadata": {"name": name}})).await.expect(201)["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned()
        }
    };
    let first = create("a").await;
    create("b").await;
    let at = |query: String| {
        let it = it.clone();
        async move { it.get(&format!("{MAPS}?{query}")).await }
    };
    let exact = at(format!("resourceVersion={first}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), &exact["metadata"]["resourceVersion"]), (vec!["a"], &json!(first)));
    for query in [
        format!("resourceVersion={first}"),
        format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"),
        "resourceVersion=0".into(),
    ] {
        assert_eq!(names(&at(query).await.expect(200)), ["a", "b"]);
    }
    let began = Instant::now();
    let future = at("resourceVersion=100000".into()).await;
    assert_eq!((future.code, future.body["reason"].as_str()), (504, Some("Timeout")));
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    // One that comes while it is waited for.
    let next = it.server.revision() + 1;
    let (list, _) = tokio::join!(at(format!("resourceVersion={next}")), create("c"));
    assert_eq!(names(&list.expect(200)), ["a", "b", "c"]);
}

#[tokio::test]
async fn forms_of_a_list() {
    let it = Harness::new().await;
    it.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "y"}})).await.expect(201);
    let in_form = |accept: &'static str| {
        let it = it.clone();
        async move { it.call("GET", MAPS, &[("accept", accept)], "").await.expect(200) }
    };
    let plain = in_form("application/json").await;
    assert_eq!((&plain["kind"], &plain["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    let table = in_form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(table["metadata"]["resourceVersion"], plain["metadata"]["resourceVersion"]);
    let partial = in_form("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await;
    assert_eq!((&partial["kind"], partial["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
    assert_eq!(names(&partial), ["a"]);
}
