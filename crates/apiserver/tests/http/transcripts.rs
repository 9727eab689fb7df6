//! Facts of the recorded conversations (transcript-requests, transcript-admission): one request after another on one
//! server, each from the state the one before left.

use serde_json::{Value, json};

use crate::harness::{APPLY, Harness, JSON, JSON_PATCH, MERGE, Reply, STRATEGIC, cpu, pod, small};

const PODS: &str = "/api/v1/namespaces/n/pods";
const POD: &str = "/api/v1/namespaces/n/pods/a";
const RESIZE: &str = "/api/v1/namespaces/n/pods/a/resize";

/// An answer's code, and what the transcript shows of it: generation and CPU request, or the message.
#[track_caller]
fn shows(reply: &Reply, code: u16, expected: &str) {
    let shown = if reply.code < 300 {
        let at =
            |path: &str| reply.body.pointer(path).map(|value| value.to_string().replace('"', "")).unwrap_or_default();
        format!("gen={} cpu={}", at("/metadata/generation"), at("/spec/containers/0/resources/requests/cpu"))
    } else {
        reply.message().lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!((reply.code, shown.as_str()), (code, expected), "{}", reply.text);
}

#[tokio::test]
async fn the_conversation_about_requests() {
    let it = Harness::new().await;
    shows(&it.post(PODS, small("a")).await, 201, "gen=1 cpu=100m");
    assert_eq!(it.get(RESIZE).await.text, it.get(POD).await.text);
    let refused = "the server does not allow this method on the requested resource";
    for method in ["POST", "DELETE"] {
        let reply = it.call(method, RESIZE, &[("content-type", JSON)], "{}").await;
        shows(&reply, 405, refused);
        assert_eq!(reply.body["details"], json!({}));
    }
    shows(&it.patch(RESIZE, STRATEGIC, cpu("150m")).await, 200, "gen=2 cpu=150m");
    let before = it.get(POD).await.text;
    shows(&it.patch(RESIZE, STRATEGIC, cpu("150m")).await, 200, "gen=2 cpu=150m");
    assert_eq!(it.get(POD).await.text, before, "a resize to what is there changes nothing, not even the revision");

    let mut more = cpu("160m");
    more["metadata"] = json!({"labels": {"a": "changed"}, "annotations": {"x": "y"}});
    more["spec"]["containers"][0]["image"] = "registry.example/other:1".into();
    more["status"] = json!({"phase": "Failed"});
    let reply = it.patch(RESIZE, STRATEGIC, more).await;
    shows(&reply, 200, "gen=3 cpu=160m");
    assert_eq!(reply.body["metadata"]["labels"], json!({"app": "a"}));
    assert_eq!(reply.body["spec"]["containers"][0]["image"], "registry.example/app:1");
    assert_eq!(reply.body["status"]["phase"], "Pending");

    let merge = |requests: Value, limits: Value| json!({"spec": {"containers": [{"name": "c1", "resources": {"requests": requests, "limits": limits}}]}});
    let reply = it.patch(RESIZE, MERGE, merge(json!({"cpu": "170m"}), json!({"cpu": "200m"}))).await;
    shows(
        &reply,
        422,
        "Pod \"a\" is invalid: [spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed, spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed]",
    );
    assert_eq!(reply.body["details"]["kind"], "Pod");
    assert_eq!(
        reply.body["details"]["causes"][0],
        json!({
            "reason": "FieldValueForbidden", "message": "Forbidden: resource requests cannot be removed",
            "field": "spec.containers[0].resources.requests",
        })
    );
    let full = merge(json!({"cpu": "170m", "memory": "100Mi"}), json!({"cpu": "200m", "memory": "200Mi"}));
    shows(&it.patch(RESIZE, MERGE, full).await, 200, "gen=4 cpu=170m");
    let replace = json!([{"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": "180m"}]);
    shows(&it.patch(RESIZE, JSON_PATCH, replace).await, 200, "gen=5 cpu=180m");
    let test = json!([{"op": "test", "path": "/metadata/name", "value": "b"}]);
    let reply = it.patch(RESIZE, JSON_PATCH, test).await;
    shows(&reply, 422, "the server rejected our request due to an error in our request");
    assert_eq!(reply.body["details"], json!({}));

    for (method, content_type) in [("PATCH", STRATEGIC), ("PUT", JSON)] {
        let path = format!("{PODS}/nope/resize");
        let reply = it.call(method, &path, &[("content-type", content_type)], "{}").await;
        shows(&reply, 404, "pods \"nope\" not found");
        assert_eq!(reply.body["details"], json!({"name": "nope", "kind": "pods"}));
    }
}

#[tokio::test]
async fn identity_and_revisions() {
    let it = Harness::new().await;
    let created = it.post(PODS, small("a")).await.expect(201);
    let put = |change: &dyn Fn(&mut Value)| {
        let mut body = created.clone();
        body["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "110m".into();
        change(&mut body);
        body
    };
    shows(&it.patch(RESIZE, STRATEGIC, cpu("105m")).await, 200, "gen=2 cpu=105m");
    let modified = "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again";
    let stale = it.put(RESIZE, put(&|_| {})).await;
    shows(&stale, 409, modified);
    assert_eq!(stale.body["details"], json!({"name": "a", "kind": "pods"}));
    let mut stale_patch = cpu("110m");
    stale_patch["metadata"] = json!({"resourceVersion": "1"});
    shows(&it.patch(RESIZE, STRATEGIC, stale_patch).await, 409, modified);
    let unversioned = |body: &mut Value| drop(body["metadata"].as_object_mut().unwrap().remove("resourceVersion"));
    shows(&it.put(RESIZE, put(&unversioned)).await, 200, "gen=3 cpu=110m");

    let uid = created["metadata"]["uid"].as_str().unwrap();
    let other = it
        .put(
            RESIZE,
            put(&|body| {
                unversioned(body);
                body["metadata"]["uid"] = "bad".into();
            }),
        )
        .await;
    shows(
        &other,
        409,
        &format!(
            "Operation cannot be fulfilled on pods \"a\": StorageError: invalid object, Code: 4, Key: /registry/pods/n/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: bad, UID in object meta: {uid}"
        ),
    );
    let reply = it.put(RESIZE, put(&|body| body["metadata"]["name"] = "other".into())).await;
    shows(&reply, 400, "the name of the object (other) does not match the name on the URL (a)");
    assert_eq!(reply.body.get("details"), None);
    let generation = |body: &mut Value| {
        unversioned(body);
        body["metadata"]["generation"] = 99.into();
    };
    shows(&it.put(RESIZE, put(&generation)).await, 200, "gen=3 cpu=110m");
    let bare = |body: &mut Value| {
        unversioned(body);
        body["spec"]["containers"][0].as_object_mut().unwrap().remove("resources");
    };
    let reply = it.put(RESIZE, put(&bare)).await;
    shows(
        &reply,
        422,
        "Pod \"a\" is invalid: [spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing, spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed, spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed]",
    );
}

#[tokio::test]
async fn options_of_a_write() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    let with = |query: &str| format!("{RESIZE}?{query}");
    let bogus =
        json!({"spec": {"containers": [{"name": "c1", "resources": {"bogus": 1, "requests": {"cpu": "120m"}}}]}});
    let go_map = "map[spec:map[containers:[map[name:c1 resources:map[bogus:1 requests:map[cpu:120m]]]]]]";

    shows(&it.patch(&with("dryRun=All"), STRATEGIC, cpu("120m")).await, 200, "gen=2 cpu=120m");
    shows(&it.get(POD).await, 200, "gen=1 cpu=100m");
    shows(
        &it.patch(&with("dryRun=Some"), STRATEGIC, cpu("120m")).await,
        422,
        "PatchOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\"",
    );
    let reply = it.patch(&with("fieldValidation=Strict"), STRATEGIC, bogus.clone()).await;
    shows(
        &reply,
        422,
        &format!(
            " \"\" is invalid: patch: Invalid value: \"{go_map}\": strict decoding error: unknown field \"spec.containers[0].resources.bogus\""
        ),
    );
    assert_eq!(reply.body["details"]["causes"][0]["field"], "patch");
    let reply = it.patch(RESIZE, STRATEGIC, bogus.clone()).await;
    shows(&reply, 200, "gen=2 cpu=120m");
    assert_eq!(reply.warnings(), ["299 - \"unknown field \\\"spec.containers[0].resources.bogus\\\"\""]);
    let reply = it.patch(&with("fieldValidation=Ignore"), STRATEGIC, bogus).await;
    assert_eq!((reply.code, reply.warnings()), (200, Vec::new()));
    shows(
        &it.patch(RESIZE, STRATEGIC, cpu("abc")).await,
        422,
        " \"\" is invalid: patch: Invalid value: \"map[spec:map[containers:[map[name:c1 resources:map[requests:map[cpu:abc]]]]]]\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    let reply = it.patch(&with("fieldManager=me"), APPLY, json!({})).await;
    assert_eq!((reply.code, reply.body["reason"].as_str()), (400, Some("BadRequest")));

    let unknown = |query: &str| {
        let mut pod = small("b");
        pod["spec"]["bogus"] = 1.into();
        let path = format!("{PODS}?{query}");
        let it = it.clone();
        async move { it.post(&path, pod).await }
    };
    shows(
        &unknown("fieldValidation=Strict").await,
        400,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.bogus\"",
    );
    let reply = unknown("dryRun=All").await;
    assert_eq!((reply.code, reply.warnings()), (201, vec!["299 - \"unknown field \\\"spec.bogus\\\"\"".to_owned()]));
    it.get(&format!("{PODS}/b")).await.expect(404);
}

#[tokio::test]
async fn what_other_paths_do_with_resources() {
    let it = Harness::new().await;
    it.post(PODS, small("a")).await.expect(201);
    let reply = it.patch(POD, STRATEGIC, cpu("20m")).await;
    shows(
        &reply,
        422,
        "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    );
    shows(&it.patch(&format!("{POD}/status"), STRATEGIC, cpu("20m")).await, 200, "gen=1 cpu=100m");
    let image = json!({"spec": {"containers": [{"name": "c1", "image": "registry.example/app:2"}]}});
    shows(&it.patch(POD, STRATEGIC, image).await, 200, "gen=2 cpu=100m");
    let labels = json!({"metadata": {"labels": {"x": "y"}}});
    let reply = it.patch(POD, STRATEGIC, labels).await;
    shows(&reply, 200, "gen=2 cpu=100m");
    assert_eq!(reply.body["metadata"]["labels"], json!({"app": "a", "x": "y"}));
}

async fn node(it: &Harness, name: &str, labels: Value, features: &[&str]) {
    it.post("/api/v1/nodes", json!({"metadata": {"name": name, "labels": labels}})).await.expect(201);
    let status = json!({"allocatable": {"cpu": "2", "memory": "2Gi"}, "declaredFeatures": features});
    it.set_status(&format!("/api/v1/nodes/{name}"), status).await;
}

async fn bound(it: &Harness, name: &str, node: &str, requests: Value) -> String {
    let mut body = pod(name, requests, Value::Null);
    body["spec"]["nodeName"] = node.into();
    it.post(PODS, body).await.expect(201);
    format!("{PODS}/{name}/resize")
}

#[tokio::test]
async fn the_conversation_about_nodes() {
    let it = Harness::new().await;
    let linux = json!({"kubernetes.io/os": "linux"});
    node(&it, "n1", linux.clone(), &[]).await;
    node(&it, "w1", json!({"kubernetes.io/os": "windows"}), &[]).await;
    node(&it, "nolabel", json!({}), &[]).await;
    node(&it, "nf", linux, &["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"])
        .await;
    let usual = || json!({"cpu": "500m", "memory": "512Mi"});
    let ask = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"name": "c1", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}});
    let capacity = |reply: &Reply| assert_eq!(reply.body["details"]["causes"], json!([{"reason": "NodeCapacity"}]));

    let b = bound(&it, "b", "n1", usual()).await;
    shows(&it.patch(&b, STRATEGIC, cpu("1")).await, 200, "gen=2 cpu=1");
    let reply = it.patch(&b, STRATEGIC, ask("4", "4Gi")).await;
    shows(
        &reply,
        403,
        "pods \"b\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 4000, allocatable: 2000; memory, requested: 4294967296, allocatable: 2147483648",
    );
    capacity(&reply);
    let limited = json!({"spec": {"containers": [{"name": "c1", "resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "1"}}}]}});
    shows(
        &it.patch(&b, STRATEGIC, limited).await,
        422,
        "Pod \"b\" is invalid: spec.containers[0].resources.requests: Invalid value: \"4\": must be less than or equal to cpu limit of 1",
    );

    let big = bound(&it, "big", "n1", json!({"cpu": "3", "memory": "1Gi"})).await;
    let reply = it.patch(&big, STRATEGIC, cpu("2500m")).await;
    shows(
        &reply,
        403,
        "pods \"big\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000",
    );
    capacity(&reply);
    shows(&it.patch(&big, STRATEGIC, cpu("3")).await, 200, "gen=1 cpu=3");

    let reply = {
        let w = bound(&it, "w", "w1", usual()).await;
        it.patch(&w, STRATEGIC, cpu("1")).await
    };
    shows(
        &reply,
        403,
        "pods \"w\" is forbidden: pod resize is only supported on linux nodes, node \"w1\" is \"windows\"",
    );
    assert_eq!(
        reply.body["details"],
        json!({"name": "w", "kind": "pods", "causes": [{"reason": "UnsupportedPlatform"}]})
    );
    let bare = bound(&it, "bare", "nolabel", usual()).await;
    shows(&it.patch(&bare, STRATEGIC, cpu("1")).await, 200, "gen=2 cpu=1");
    let gone = bound(&it, "gone", "absent", usual()).await;
    let reply = it.patch(&gone, STRATEGIC, cpu("1")).await;
    shows(&reply, 403, "pods \"gone\" is forbidden: node \"absent\" not found");
    assert_eq!(reply.body["details"], json!({"name": "gone", "kind": "pods"}));

    // Pod-level resources and plain init containers ask the node whether it can.
    for (node, code) in [("n1", 403), ("nf", 200)] {
        let name = format!("plr-{node}");
        let mut body = pod(&name, json!({"cpu": "100m", "memory": "100Mi"}), Value::Null);
        body["spec"]["nodeName"] = node.into();
        body["spec"]["resources"] = json!({"requests": {"cpu": "300m"}});
        it.post(PODS, body).await.expect(201);
        let reply = it
            .patch(
                &format!("{PODS}/{name}/resize"),
                STRATEGIC,
                json!({"spec": {"resources": {"requests": {"cpu": "400m"}}}}),
            )
            .await;
        assert_eq!(reply.code, code, "{}", reply.text);
        if code == 403 {
            shows(
                &reply,
                403,
                "pods \"plr-n1\" is forbidden: pod update requires features InPlacePodLevelResourcesVerticalScaling which are not available on node \"n1\"",
            );
            shows(&it.patch(&format!("{PODS}/{name}/resize"), STRATEGIC, cpu("110m")).await, 200, "gen=2 cpu=110m");
        }
    }
}

#[tokio::test]
async fn statuses_and_what_they_decide() {
    let it = Harness::new().await;
    it.post(PODS, pod("b", json!({"cpu": "800m", "memory": "512Mi"}), Value::Null)).await.expect(201);
    let path = format!("{PODS}/b");
    let status = |resources: Value| {
        let mut container = json!({"name": "c1", "state": {"running": {"startedAt": null}}, "ready": true, "restartCount": 0, "image": "p", "imageID": ""});
        if !resources.is_null() {
            container["resources"] = resources;
        }
        json!({"phase": "Running", "containerStatuses": [container]})
    };
    it.set_status(&path, status(Value::Null)).await;
    let resize = format!("{path}/resize");
    shows(
        &it.patch(&resize, STRATEGIC, cpu("900m")).await,
        422,
        "Pod \"b\" is invalid: spec: Forbidden: Pod running on node without support for resize",
    );
    it.set_status(&path, status(json!({}))).await;
    shows(&it.patch(&resize, STRATEGIC, cpu("900m")).await, 200, "gen=2 cpu=900m");

    let condition = json!({"type": "PodResizePending", "observedGeneration": 2, "status": "True", "reason": "Whatever", "message": "m"});
    let kept =
        it.set_status(&path, json!({"observedGeneration": 2, "conditions": [condition], "resize": "Deferred"})).await;
    assert_eq!(kept["status"]["conditions"][0]["reason"], "Whatever");
    assert_eq!(kept["status"]["resize"], "Deferred");
    let cleared = it.set_status(&path, json!({"observedGeneration": null})).await;
    assert_eq!(cleared["status"]["observedGeneration"], 2);
    let reply = it.patch(&format!("{path}/status"), MERGE, json!({"status": {"qosClass": "Guaranteed"}})).await;
    shows(&reply, 422, "Pod \"b\" is invalid: status.qosClass: Invalid value: \"Guaranteed\": field is immutable");
    it.set_status(&path, json!({"phase": "Succeeded"})).await;
    shows(&it.patch(&resize, STRATEGIC, cpu("800m")).await, 200, "gen=3 cpu=800m");
}

#[tokio::test]
async fn quota_is_raised_at_once_and_lowered_by_nobody_here() {
    let it = Harness::new().await;
    let quotas = "/api/v1/namespaces/n/resourcequotas";
    it.post(quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "800m", "pods": "2"}}}))
        .await
        .expect(201);
    let q = format!("{quotas}/q");
    it.set_status(
        &q,
        json!({"hard": {"requests.cpu": "800m", "pods": "2"}, "used": {"requests.cpu": "0", "pods": "0"}}),
    )
    .await;
    it.post(PODS, pod("q1", json!({"cpu": "300m", "memory": "100Mi"}), json!({"cpu": "900m", "memory": "300Mi"})))
        .await
        .expect(201);
    let resize = format!("{PODS}/q1/resize");
    let reply = it.patch(&resize, STRATEGIC, cpu("900m")).await;
    shows(
        &reply,
        403,
        "pods \"q1\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=300m, limited: requests.cpu=800m",
    );
    for (ask, generation) in [("800m", 2), ("300m", 3)] {
        shows(&it.patch(&resize, STRATEGIC, cpu(ask)).await, 200, &format!("gen={generation} cpu={ask}"));
        let used = it.get(&q).await.expect(200)["status"]["used"].clone();
        assert_eq!(used, json!({"requests.cpu": "800m", "pods": "1"}));
    }
    // A dry run charges nobody.
    it.call(
        "POST",
        &format!("{PODS}?dryRun=All"),
        &[("content-type", JSON)],
        pod("q2", json!({"cpu": "0"}), Value::Null).to_string(),
    )
    .await
    .expect(201);
    assert_eq!(it.get(&q).await.expect(200)["status"]["used"]["pods"], "1");
}
