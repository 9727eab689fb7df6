//! Creating, replacing and patching objects of every kind: names, namespaces, formats, limits, what is refused.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Harness, JSON, JSON_PATCH, MERGE, STRATEGIC, small};

const PODS: &str = "/api/v1/namespaces/n/pods";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

#[tokio::test]
async fn a_new_object_gets_what_the_server_gives() {
    let it = Harness::new().await;
    let given = json!({"metadata": {
        "name": "m", "uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "x",
        "deletionTimestamp": "2001-01-01T00:00:00Z", "managedFields": [{"manager": "me"}],
    }, "data": {"a": "b"}});
    let created = it.post(MAPS, given).await.expect(201);
    assert_eq!((&created["apiVersion"], &created["kind"]), (&json!("v1"), &json!("ConfigMap")));
    let metadata = created["metadata"].as_object().unwrap();
    let fields: Vec<&str> = metadata.keys().map(String::as_str).collect();
    assert_eq!(fields, ["creationTimestamp", "managedFields", "name", "namespace", "resourceVersion", "uid"]);
    assert_eq!(metadata["namespace"], "n");
    assert_ne!(metadata["uid"], "mine");
    assert_ne!(metadata["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert_eq!(it.get(&format!("{MAPS}/m")).await.expect(200), created);
}

#[tokio::test]
async fn names_are_generated_or_refused() {
    let it = Harness::new().await;
    let mut names = Vec::new();
    for _ in 0..50 {
        let created = it.post(MAPS, json!({"metadata": {"generateName": "web-"}})).await.expect(201);
        let name = created["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 50);
    let again = it.post(MAPS, json!({"metadata": {"name": names[0]}})).await;
    assert_eq!((again.code, again.message()), (409, format!("configmaps \"{}\" already exists", names[0]).as_str()));
    assert_eq!(again.body["reason"], "AlreadyExists");
    let nameless = it.post(PODS, json!({"spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
    assert_eq!(
        (nameless.code, nameless.message()),
        (422, "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required")
    );
    it.post(MAPS, json!({"metadata": {"name": "x", "resourceVersion": "5"}})).await.expect(400);
}

#[tokio::test]
async fn namespaces_must_be_there_and_match() {
    let it = Harness::new().await;
    let nowhere = it.post("/api/v1/namespaces/nowhere/configmaps", json!({"metadata": {"name": "m"}})).await;
    assert_eq!((nowhere.code, nowhere.message()), (404, "namespaces \"nowhere\" not found"));
    let other = it.post(MAPS, json!({"metadata": {"name": "m", "namespace": "other"}})).await;
    assert_eq!(
        (other.code, other.message()),
        (400, "the namespace of the provided object does not match the namespace sent on the request")
    );
    let namespace = it.get("/api/v1/namespaces/n").await.expect(200);
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        it.get(&format!("/api/v1/namespaces/{name}")).await.expect(200);
    }
}

#[tokio::test]
async fn what_the_server_begins_with_is_its_own_and_later_writers_are_recorded() {
    let it = Harness::new().await;
    let path = "/api/v1/namespaces/default";
    let born = it.get(path).await.expect(200)["metadata"]["managedFields"].clone();
    assert_eq!(born[0]["manager"], "kube-apiserver");
    let owned = json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}});
    assert_eq!(born[0]["fieldsV1"], owned, "spec and status are filled in, and nobody's");
    let class = it.get("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical").await.expect(200);
    let owned = json!({"f:description": {}, "f:preemptionPolicy": {}, "f:value": {}});
    assert_eq!(class["metadata"]["managedFields"][0]["fieldsV1"], owned);
    let note = r#"{"metadata": {"annotations": {"a": "b"}}}"#;
    let path = format!("{path}?fieldManager=somebody");
    let noted = it.call("PATCH", &path, &[("content-type", "application/merge-patch+json")], note).await.expect(200);
    let managers: Vec<_> = noted["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["manager"].as_str().unwrap())
        .collect();
    assert_eq!(managers, ["kube-apiserver", "somebody"]);
}

#[tokio::test]
async fn bodies_come_in_the_formats_that_are_read() {
    let it = Harness::new().await;
    let yaml = "metadata:\n  name: conf\ndata:\n  a: b\n";
    for content_type in ["application/yaml", "application/yaml; charset=utf-8"] {
        let path = format!("{MAPS}?dryRun=All");
        let created = it.call("POST", &path, &[("content-type", content_type)], yaml).await.expect(201);
        assert_eq!(created["data"], json!({"a": "b"}));
    }
    for content_type in ["application/cbor", "text/html"] {
        let reply = it.call("POST", MAPS, &[("content-type", content_type)], yaml).await;
        assert_eq!((reply.code, reply.body["reason"].as_str()), (415, Some("UnsupportedMediaType")));
    }
    let not_json = it.call("POST", MAPS, &[("content-type", JSON)], "{\"a\":").await;
    assert_eq!(not_json.code, 400);
    assert_eq!(
        not_json.message(),
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input (7b2261223a)"
    );
    it.post(MAPS, json!([])).await.expect(400);
    let kind = it.post(MAPS, json!({"kind": "Secret", "metadata": {"name": "m"}})).await;
    assert_eq!(kind.code, 400, "{}", kind.text);
    let version = it.post(MAPS, json!({"apiVersion": "v2", "metadata": {"name": "m"}})).await;
    assert_eq!(version.message(), "the API version in the data (v2) does not match the expected API version (v1)");
    let wrong = it.post(PODS, json!({"metadata": {"name": "p"}, "spec": {"containers": "c"}})).await;
    assert_eq!(wrong.code, 400);
    assert!(wrong.message().starts_with("Pod in version \"v1\" cannot be handled as a Pod: "), "{}", wrong.text);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let it = Harness::new().await;
    let big = json!({"metadata": {"name": "m"}, "data": {"a": "x".repeat(3 << 20)}}).to_string();
    let reply = it.call("POST", MAPS, &[("content-type", JSON)], big.clone()).await;
    assert_eq!((reply.code, reply.message()), (413, "Request entity too large: limit is 3145728"));
    // The same without a length announced beforehand.
    let pieces = futures::stream::iter(
        big.into_bytes().chunks(64 << 10).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
    );
    let reply = it.call("POST", MAPS, &[("content-type", JSON)], axum::body::Body::from_stream(pieces)).await;
    assert_eq!(reply.code, 413);
}

#[tokio::test]
async fn what_does_not_exist_is_said() {
    let it = Harness::new().await;
    for path in ["/api/v1/gizmos", "/api/v1/namespaces/n/pods/p/exec"] {
        let reply = it.get(path).await;
        assert_eq!(
            (reply.code, reply.body["kind"].as_str(), reply.body["reason"].as_str()),
            (404, Some("Status"), Some("NotFound")),
            "{path}"
        );
    }
    for method in [Method::OPTIONS, Method::POST, Method::PATCH] {
        let reply = it.call(method.as_str(), "/api", &[], "").await;
        assert_eq!(reply.code, 405, "{method}");
    }
    let reply = it.call("GET", &format!("{PODS}/p"), &[("accept", "application/vnd.kubernetes.protobuf")], "").await;
    assert_eq!(reply.code, 406);
    for path in ["/healthz", "/livez", "/readyz", "/livez/ping"] {
        let reply = it.get(path).await;
        assert_eq!((reply.code, reply.text.as_str()), (200, "ok"));
    }
    assert_eq!(
        it.get("/version").await.expect(200)["gitVersion"].as_str().map(|it| it.starts_with("v1.36")),
        Some(true)
    );
}

#[tokio::test]
async fn leases_and_events_are_made_by_a_put() {
    let it = Harness::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/n/leases/l";
    let lease = |holder: &str| json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
    it.put(path, lease("a")).await.expect(201);
    let unversioned = it.put(path, lease("b")).await;
    assert_eq!(
        (unversioned.code, unversioned.message()),
        (
            422,
            "Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )
    );
    let mut stored = it.get(path).await.expect(200);
    stored["spec"]["holderIdentity"] = "b".into();
    it.put(path, stored.clone()).await.expect(200);
    it.put(path, stored).await.expect(409);
    it.put(&format!("{MAPS}/absent"), json!({"metadata": {"name": "absent"}})).await.expect(404);
}

#[tokio::test]
async fn one_event_two_views() {
    let it = Harness::new().await;
    let event = json!({
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "namespace": "n", "name": "p", "uid": "u"},
        "reason": "ResizeCompleted", "note": "done", "type": "Normal", "action": "Resize",
        "eventTime": "2030-01-01T00:00:00.000001Z", "reportingController": "supple.dev/node", "reportingInstance": "lab",
    });
    let created = it.post("/apis/events.k8s.io/v1/namespaces/n/events", event).await.expect(201);
    assert_eq!((&created["apiVersion"], &created["note"]), (&json!("events.k8s.io/v1"), &json!("done")));
    let core = it.get("/api/v1/namespaces/n/events/e").await.expect(200);
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("done")));
    assert_eq!(core["involvedObject"]["name"], "p");
    assert_eq!(core["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let found = it
        .get("/api/v1/namespaces/n/events?fieldSelector=involvedObject.name%3Dp,involvedObject.uid%3Du")
        .await
        .expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let none = it.get("/api/v1/namespaces/n/events?fieldSelector=involvedObject.name%3Dq").await.expect(200);
    assert_eq!(none["items"], json!([]));
    let patched = it
        .patch(
            "/apis/events.k8s.io/v1/namespaces/n/events/e",
            MERGE,
            json!({"series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:01.000000Z"}}),
        )
        .await
        .expect(200);
    assert_eq!(patched["series"]["count"], 2);
    assert_eq!(it.get("/api/v1/namespaces/n/events/e").await.expect(200)["series"]["count"], 2);
    let listed = it.get("/apis/events.k8s.io/v1/events").await.expect(200);
    assert_eq!((&listed["kind"], &listed["items"][0]["note"]), (&json!("EventList"), &json!("done")));
}

#[tokio::test]
async fn pods_get_what_admission_gives() {
    let it = Harness::new().await;
    it.post("/apis/scheduling.k8s.io/v1/priorityclasses", json!({"metadata": {"name": "high"}, "value": 1000}))
        .await
        .expect(201);
    let mut pod = small("a");
    pod["spec"]["priorityClassName"] = "high".into();
    let created = it.post(PODS, pod.clone()).await.expect(201);
    let spec = &created["spec"];
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(1000), &json!("PreemptLowerPriority")));
    assert_eq!((&spec["serviceAccountName"], &spec["restartPolicy"]), (&json!("default"), &json!("Always")));
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    pod["metadata"]["name"] = "b".into();
    pod["spec"]["priorityClassName"] = "none".into();
    let reply = it.post(PODS, pod.clone()).await;
    assert_eq!(
        (reply.code, reply.message()),
        (403, "pods \"b\" is forbidden: no PriorityClass with name none was found")
    );
    pod["spec"]["priorityClassName"] = "system-node-critical".into();
    assert_eq!(it.post(PODS, pod).await.expect(201)["spec"]["priority"], 2_000_001_000);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_writes_nothing() {
    let it = Harness::new().await;
    it.post(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await.expect(201);
    let path = format!("{MAPS}/m");
    let before = it.get(&path).await.text;
    for content_type in [MERGE, STRATEGIC] {
        it.patch(&path, content_type, json!({"data": {"a": "b"}})).await.expect(200);
    }
    let stored: Value = serde_json::from_str(&before).unwrap();
    it.put(&path, stored).await.expect(200);
    assert_eq!(it.get(&path).await.text, before);
}

#[tokio::test]
async fn a_patch_of_everything_is_refused() {
    let it = Harness::new().await;
    it.post(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await.expect(201);
    let path = format!("{MAPS}/m");
    for value in [json!([]), json!("x"), json!(null), json!(5)] {
        let patch = json!([{"op": "replace", "path": "", "value": value}]);
        let reply = it.patch(&path, JSON_PATCH, patch).await;
        assert!((400..500).contains(&reply.code) && reply.body["kind"] == "Status", "{}", reply.text);
        for content_type in [MERGE, STRATEGIC, JSON_PATCH] {
            let reply = it.patch(&path, content_type, value.clone()).await;
            assert!(reply.code < 500, "{}", reply.text);
        }
    }
    assert_eq!(it.get(&path).await.expect(200)["data"], json!({"a": "b"}));
}
