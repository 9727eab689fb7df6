//! Server-side apply and the record of who wrote what, as a client meets them: the recorded conversation, then what it
//! does not touch.

use serde_json::{Value, json};

use crate::harness::{APPLY, Harness, JSON, JSON_PATCH, MERGE, Reply, STRATEGIC, TestClock, cpu, small};

const PODS: &str = "/api/v1/namespaces/n/pods";
const POD: &str = "/api/v1/namespaces/n/pods/a";
const RESIZE: &str = "/api/v1/namespaces/n/pods/a/resize";

/// `managedFields` as [manager, operation, subresource], as the transcripts list them.
fn managers(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|it| json!([it["manager"], it["operation"], it["subresource"]])).collect()
}

/// What one manager owns, as `FieldsV1`.
fn owned(object: &Value, manager: &str, operation: &str, subresource: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let found = entries.iter().find(|it| {
        text(it, "manager") == manager && text(it, "operation") == operation && text(it, "subresource") == subresource
    });
    found.map(|it| it["fieldsV1"].clone()).unwrap_or_default()
}

/// A request of the program `Python-urllib`.
async fn python(it: &Harness, method: &str, path: &str, content_type: &str, body: Value) -> Reply {
    it.call(method, path, &[("content-type", content_type), ("user-agent", "Python-urllib/3.12")], body.to_string())
        .await
}

fn config(requests: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "c1", "resources": {"requests": requests}}]},
    })
}

async fn apply(it: &Harness, path: &str, query: &str, config: Value) -> Reply {
    it.patch(&format!("{path}?{query}"), APPLY, config).await
}

#[tokio::test]
async fn the_recorded_conversation() {
    let it = Harness::new().await;
    let created = json!([["Python-urllib", "Update", null]]);
    let resized = json!([["Python-urllib", "Update", null], ["Python-urllib", "Update", "resize"]]);
    let applied =
        json!([["me", "Apply", "resize"], ["Python-urllib", "Update", null], ["Python-urllib", "Update", "resize"]]);
    let pod = python(&it, "POST", PODS, JSON, small("a")).await.expect(201);
    assert_eq!(managers(&pod), created);
    let pod = python(&it, "PATCH", RESIZE, STRATEGIC, cpu("150m")).await.expect(200);
    assert_eq!(managers(&pod), resized);
    let mut more = cpu("160m");
    more["metadata"] = json!({"labels": {"a": "changed"}});
    more["spec"]["containers"][0]["image"] = "registry.example/other:1".into();
    let pod = python(&it, "PATCH", RESIZE, STRATEGIC, more).await.expect(200);
    assert_eq!(managers(&pod), resized);
    let json_patch = json!([{"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": "180m"}]);
    let pod = python(&it, "PATCH", RESIZE, JSON_PATCH, json_patch).await.expect(200);
    assert_eq!(managers(&pod), resized);

    let wanted = config(json!({"cpu": "190m"}));
    let refused = apply(&it, RESIZE, "fieldManager=me", wanted.clone()).await;
    assert_eq!(refused.code, 409);
    assert_eq!(refused.body["reason"], "Conflict");
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"Python-urllib\" with subresource \"resize\" using v1: .spec.containers[name=\"c1\"].resources.requests.cpu"
    );
    assert_eq!(
        refused.body["details"],
        json!({"causes": [{
            "reason": "FieldManagerConflict",
            "message": "conflict with \"Python-urllib\" with subresource \"resize\" using v1",
            "field": ".spec.containers[name=\"c1\"].resources.requests.cpu",
        }]})
    );

    let pod = apply(&it, RESIZE, "fieldManager=me&force=true", wanted.clone()).await.expect(200);
    assert_eq!((&pod["metadata"]["generation"], managers(&pod)), (&json!(5), applied.clone()));
    let fields = json!({"f:spec": {"f:containers": {"k:{\"name\":\"c1\"}": {
        ".": {}, "f:name": {}, "f:resources": {"f:requests": {"f:cpu": {}}},
    }}}});
    assert_eq!(owned(&pod, "me", "Apply", "resize"), fields);
    let again = apply(&it, RESIZE, "fieldManager=me", wanted).await.expect(200);
    assert_eq!(again, pod, "an apply that changes nothing keeps the revision");

    // The request goes with its owner, and becomes the limit.
    let pod = apply(&it, RESIZE, "fieldManager=me", config(json!({}))).await.expect(200);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "200m", "memory": "100Mi"}),
        "removed, then defaulted"
    );
    assert_eq!((&pod["metadata"]["generation"], managers(&pod)), (&json!(6), applied));

    let mut labelled = config(json!({"cpu": "191m"}));
    labelled["metadata"]["labels"] = json!({"x": "y"});
    let pod = apply(&it, RESIZE, "fieldManager=me2&force=true", labelled).await.expect(200);
    assert_eq!(pod["metadata"]["labels"], json!({"app": "a"}), "a resize writes sizes alone");
    assert_eq!(
        owned(&pod, "me2", "Apply", "resize")["f:metadata"],
        json!({"f:labels": {"f:x": {}}}),
        "and owns all it was sent"
    );
    let everybody = json!([
        ["me", "Apply", "resize"],
        ["me2", "Apply", "resize"],
        ["Python-urllib", "Update", null],
        ["Python-urllib", "Update", "resize"]
    ]);
    assert_eq!(managers(&pod), everybody);

    let mut nope = config(json!({"cpu": "1"}));
    nope["metadata"]["name"] = "nope".into();
    let absent = apply(&it, &format!("{PODS}/nope/resize"), "fieldManager=me", nope).await;
    assert_eq!((absent.code, absent.message()), (404, "pods \"nope\" not found"));

    let status = json!({"status": {"phase": "Running"}});
    let pod = python(&it, "PATCH", &format!("{POD}/status"), MERGE, status).await.expect(200);
    assert_eq!(owned(&pod, "Python-urllib", "Update", "status"), json!({"f:status": {"f:phase": {}}}));
}

#[tokio::test]
async fn what_a_request_must_say() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    let check = async |path: String, content_type: &str, body: Value, code: u16, message: &str| {
        let reply = it.patch(&path, content_type, body).await;
        assert_eq!((reply.code, reply.message()), (code, message), "{path}");
    };
    let wanted = || config(json!({"cpu": "100m"}));
    let options = "PatchOptions.meta.k8s.io \"\" is invalid: ";
    check(
        RESIZE.into(),
        APPLY,
        wanted(),
        422,
        &format!("{options}fieldManager: Required value: is required for apply patch"),
    )
    .await;
    check(
        format!("{RESIZE}?force=true"),
        STRATEGIC,
        cpu("1m"),
        422,
        &format!("{options}force: Forbidden: may not be specified for non-apply patch"),
    )
    .await;
    let long = "m".repeat(129);
    check(
        format!("{RESIZE}?fieldManager={long}"),
        STRATEGIC,
        cpu("1m"),
        422,
        &format!("{options}fieldManager: Too long: may not be more than 128 bytes"),
    )
    .await;
    let me = format!("{POD}?fieldManager=me");
    check(me.clone(), APPLY, json!({}), 400, "invalid object type: /, Kind=").await;
    check(
        me.clone(),
        APPLY,
        json!({"apiVersion": "apps/v1", "kind": "Pod"}),
        400,
        "invalid object type: apps/v1, Kind=Pod",
    )
    .await;
    let mut other = wanted();
    other["metadata"]["managedFields"] = json!([]);
    check(me.clone(), APPLY, other, 400, "metadata.managedFields must be nil").await;
    let mut other = wanted();
    other["metadata"]["name"] = "b".into();
    check(me.clone(), APPLY, other, 400, "the name of the object (b) does not match the name on the URL (a)").await;
    let mut other = wanted();
    other["spec"]["containers"][0]["bogus"] = 1.into();
    check(me.clone(), APPLY, other, 500, "failed to create typed patch object (/a; /v1, Kind=Pod): .spec.containers[name=\"c1\"].bogus: field not declared in schema").await;
    let mut other = wanted();
    other["spec"]["containers"][0].as_object_mut().unwrap().remove("name");
    check(me.clone(), APPLY, other, 500, "failed to create typed patch object (/a; /v1, Kind=Pod): .spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)").await;
    let mut stale = wanted();
    stale["metadata"]["resourceVersion"] = "1".into();
    check(me.clone(), APPLY, stale, 409, "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again").await;
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    x: \"1\"\n";
    let reply = it.call("PATCH", &me, &[("content-type", APPLY)], yaml).await.expect(200);
    assert_eq!(reply["metadata"]["labels"]["x"], "1");
}

#[tokio::test]
async fn an_apply_creates_changes_and_prunes() {
    let it = Harness::new().await;
    let maps = "/api/v1/namespaces/n/configmaps/m";
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let dry = apply(&it, maps, "fieldManager=a&dryRun=All", map(json!({"x": "1"}))).await;
    assert_eq!(dry.code, 201);
    assert_eq!(it.get(maps).await.code, 404);
    let made = apply(&it, maps, "fieldManager=a", map(json!({"x": "1", "y": "1"}))).await.expect(201);
    assert_eq!(owned(&made, "a", "Apply", ""), json!({"f:data": {"f:x": {}, "f:y": {}}}));
    // A second owner of the same value; then the first lets go of it.
    apply(&it, maps, "fieldManager=b", map(json!({"x": "1"}))).await.expect(200);
    let left = apply(&it, maps, "fieldManager=a", map(json!({}))).await.expect(200);
    assert_eq!(left["data"], json!({"x": "1"}), "what nobody owns any more is gone");
    assert_eq!(managers(&left), json!([["a", "Apply", null], ["b", "Apply", null]]));
    let conflict = apply(&it, maps, "fieldManager=a", map(json!({"x": "2"}))).await;
    assert_eq!(
        (conflict.code, conflict.message()),
        (409, "Apply failed with 1 conflict: conflict with \"b\": .data.x")
    );
    let taken = apply(&it, maps, "fieldManager=a&force=true", map(json!({"x": "2"}))).await.expect(200);
    assert_eq!(managers(&taken), json!([["a", "Apply", null]]));
    // A plain write takes without asking.
    let merged = it.patch(&format!("{maps}?fieldManager=c"), MERGE, json!({"data": {"x": "3"}})).await.expect(200);
    assert_eq!(managers(&merged), json!([["c", "Update", null]]));

    let pod = apply(&it, POD, "fieldManager=a", small("a")).await.expect(201);
    assert_eq!(managers(&pod), json!([["a", "Apply", null]]));
    assert_eq!(apply(&it, POD, "fieldManager=a", small("a")).await.expect(200), pod);
}

#[tokio::test]
async fn times_move_with_what_is_written() {
    let clock = TestClock::new();
    let it =
        Harness::with(supple_apiserver::Options { clock: clock.clone(), ..supple_apiserver::Options::in_memory() })
            .await;
    let times = |pod: &Value| -> Vec<String> {
        let entries = pod["metadata"]["managedFields"].as_array().unwrap().iter();
        entries.map(|it| it["time"].as_str().unwrap().get(14..19).unwrap().to_owned()).collect()
    };
    let pod = it.post(PODS, small("a")).await.expect(201);
    assert_eq!(times(&pod), ["00:00"]);
    clock.advance(1);
    let pod = python(&it, "PATCH", RESIZE, STRATEGIC, cpu("150m")).await.expect(200);
    assert_eq!(times(&pod), ["00:00", "00:01"]);
    clock.advance(1);
    let same = python(&it, "PATCH", RESIZE, STRATEGIC, cpu("150m")).await.expect(200);
    assert_eq!(same, pod);
    let pod = python(&it, "PATCH", RESIZE, STRATEGIC, cpu("160m")).await.expect(200);
    assert_eq!(times(&pod), ["00:00", "00:02"]);
    clock.advance(1);
    // 0.16 is 160m. To whom the text belongs changes once; the object does not change at all.
    let wanted = config(json!({"cpu": "0.16"}));
    let pod = apply(&it, RESIZE, "fieldManager=me&force=true", wanted.clone()).await.expect(200);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "160m");
    clock.advance(1);
    assert_eq!(apply(&it, RESIZE, "fieldManager=me", wanted).await.expect(200), pod);
}

#[tokio::test]
async fn clients_may_rewrite_the_record() {
    let it = Harness::new().await;
    let pod = python(&it, "POST", PODS, JSON, small("a")).await.expect(201);
    // What kubectl does when it goes over from client-side to server-side apply.
    let rename = json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "kubectl"},
        {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": pod["metadata"]["resourceVersion"]}]);
    let pod = it.patch(POD, JSON_PATCH, rename.clone()).await.expect(200);
    assert_eq!(managers(&pod), json!([["kubectl", "Apply", null]]));
    // A subresource does not.
    let other = json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "x"}]);
    assert_eq!(it.patch(RESIZE, JSON_PATCH, other).await.expect(200), pod);
    let reset = it.patch(POD, MERGE, json!({"metadata": {"managedFields": [{}]}})).await.expect(200);
    assert_eq!(managers(&reset), json!([]));
    let kept = python(&it, "PATCH", RESIZE, STRATEGIC, cpu("150m")).await.expect(200);
    assert_eq!(managers(&kept), json!([]), "what is not tracked stays so");
    let mut wanted = config(json!({"cpu": "160m"}));
    let conflict = apply(&it, POD, "fieldManager=me", wanted.clone()).await;
    assert_eq!(
        conflict.message(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .spec.containers[name=\"c1\"].resources.requests.cpu"
    );
    wanted["spec"] = json!({});
    wanted["metadata"]["labels"] = json!({"x": "y"});
    let pod = apply(&it, POD, "fieldManager=me", wanted).await.expect(200);
    assert_eq!(managers(&pod), json!([["me", "Apply", null], ["before-first-apply", "Update", null]]));
}

#[tokio::test]
async fn an_object_that_many_write_remembers_the_last() {
    let it = Harness::new().await;
    let maps = "/api/v1/namespaces/n/configmaps";
    it.post(maps, json!({"metadata": {"name": "m"}, "data": {"x": "0"}})).await.expect(201);
    let mut last = Value::Null;
    for writer in 0..25 {
        let path = format!("{maps}/m?fieldManager=w{writer:02}");
        let mut data = serde_json::Map::new();
        data.insert(format!("k{writer}"), "1".into());
        last = it.patch(&path, MERGE, json!({"data": data})).await.expect(200);
    }
    let managers = managers(&last);
    assert_eq!(managers.as_array().unwrap().len(), 10);
    assert!(managers.as_array().unwrap().contains(&json!(["ancient-changes", "Update", null])));
    assert!(managers.as_array().unwrap().contains(&json!(["w24", "Update", null])));
}
