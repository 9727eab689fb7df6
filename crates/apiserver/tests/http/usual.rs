//! The usual patches of pods are written in a way of their own. A dry run goes the general way, so the two are asked one after
//! the other, and must answer alike whatever is patched and whatever was before.

use serde_json::{Value, json};
use supple_apiserver::Options;

use crate::harness::{Harness, MERGE, STRATEGIC, TestClock, small};

const POD: &str = "/api/v1/namespaces/n/pods/a";

/// Patches of every part, of every kind that nodes, controllers and people send, some that are refused or change nothing.
fn patches() -> Vec<(&'static str, &'static str, Value)> {
    let resources = |cpu: &str, memory: &str| {
        json!({"spec": {"containers": [{"name": "c1", "resources": {
            "requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1", "memory": "1Gi"},
        }}]}})
    };
    let condition = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "lastTransitionTime": "2030-01-01T00:00:00Z"}]}});
    let running = json!({"status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [{
        "name": "c1", "ready": true, "started": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}, "allocatedResources": {"cpu": "100m", "memory": "64Mi"},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }]}});
    vec![
        ("/resize", STRATEGIC, resources("100m", "64Mi")),
        ("/resize", STRATEGIC, resources("0.2", "128Mi")),
        ("/resize", STRATEGIC, resources("2", "64Mi")),
        ("/resize", MERGE, resources("300m", "1Gi")),
        ("/resize", STRATEGIC, json!({"spec": {"containers": [{"name": "c1", "resources": {"limits": null}}]}})),
        ("/resize", STRATEGIC, json!({"spec": {"containers": [{"name": "c1", "image": "other"}]}})),
        (
            "/resize",
            STRATEGIC,
            json!({"spec": {"containers": [{"name": "nobody", "resources": {"limits": {"cpu": "1"}}}]}}),
        ),
        ("/resize", STRATEGIC, json!({"spec": {"nodeName": "elsewhere"}})),
        ("/resize", STRATEGIC, json!({"status": {"phase": "Failed"}})),
        ("/resize", STRATEGIC, json!({"metadata": {"labels": {"a": "b"}}})),
        ("/status", STRATEGIC, running.clone()),
        ("/status", MERGE, running),
        ("/status", STRATEGIC, condition("Ready", "True")),
        ("/status", STRATEGIC, condition("Ready", "False")),
        ("/status", STRATEGIC, condition("PodResizePending", "True")),
        ("/status", STRATEGIC, json!({"status": {"conditions": [{"type": "PodResizePending", "$patch": "delete"}]}})),
        ("/status", STRATEGIC, json!({"status": {"observedGeneration": 2, "resize": "Proposed"}})),
        ("/status", STRATEGIC, json!({"status": {"phase": "Succeeded"}, "spec": {"activeDeadlineSeconds": 5}})),
        ("/status", STRATEGIC, json!({"status": {"nonsense": 1}})),
        ("/status", STRATEGIC, json!({"status": {"conditions": "none"}})),
        ("/status", STRATEGIC, json!({"status": null})),
        ("/status", MERGE, json!({"metadata": {"uid": "another"}, "status": {"phase": "Running"}})),
        ("/status", MERGE, json!({"metadata": {"resourceVersion": "1"}, "status": {"phase": "Pending"}})),
        ("/status", MERGE, json!({"metadata": {"labels": {"by": "status"}}, "status": {"message": "hello"}})),
        ("", STRATEGIC, json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"activeDeadlineSeconds": 600}})),
        ("", STRATEGIC, json!({"spec": {"activeDeadlineSeconds": 500}})),
        ("", STRATEGIC, json!({"spec": {"containers": [{"name": "c1", "image": "two"}]}})),
        ("", STRATEGIC, json!({"spec": {"containers": [{"name": "c1", "image": "one"}]}})),
        ("", STRATEGIC, json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}})),
        ("", STRATEGIC, json!({"spec": {"hostname": "new"}})),
        ("", STRATEGIC, json!({"spec": {"nonsense": {"deep": true}}})),
        ("", MERGE, json!({"spec": {}, "status": {"phase": "Failed"}})),
        ("", MERGE, json!({"metadata": {"annotations": {"a": "b"}}})),
        ("", MERGE, json!({"metadata": {"annotations": {"a": null}}, "spec": {"activeDeadlineSeconds": 400}})),
        ("", MERGE, json!({"metadata": {"name": "b"}, "spec": {"activeDeadlineSeconds": 300}})),
        ("", MERGE, json!({"kind": "Node", "spec": {"activeDeadlineSeconds": 300}})),
        ("", MERGE, json!({})),
    ]
}

/// Without what a dry run cannot know.
fn comparable(mut answer: Value) -> Value {
    if let Some(metadata) = answer["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    answer
}

#[tokio::test]
async fn the_usual_way_answers_as_the_general_way() {
    let clock = TestClock::new();
    let it = Harness::with(Options { clock: clock.clone(), ..Options::in_memory() }).await;
    let mut pod = small("a");
    pod["spec"]["nodeName"] = "lab".into();
    it.post("/api/v1/namespaces/n/pods", pod).await.expect(201);
    let patches = patches();
    let (mut chance, mut changed, mut refused) = (7_u64, 0, 0);
    for step in 0..1_000 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = usize::try_from(chance >> 33).unwrap();
        let (part, content_type, body) = &patches[pick % patches.len()];
        let by = ["kubelet", "supple", "kubectl-edit"][pick / 64 % 3];
        let strict = ["Ignore", "Warn", "Strict"][pick / 256 % 3];
        let path = format!("{POD}{part}?fieldManager={by}&fieldValidation={strict}");
        if step % 5 == 0 {
            clock.advance(1);
        }
        let before = it.get(POD).await.expect(200);
        let general = it.patch(&format!("{path}&dryRun=All"), content_type, body.clone()).await;
        assert_eq!(it.get(POD).await.expect(200), before, "a dry run changes nothing");
        let usual = it.patch(&path, content_type, body.clone()).await;
        let told = format!("step {step}: PATCH {path} {body}");
        assert_eq!(usual.code, general.code, "{told}: {} {}", usual.text, general.text);
        assert_eq!(usual.warnings(), general.warnings(), "{told}");
        assert_eq!(comparable(usual.body.clone()), comparable(general.body), "{told}");
        let after = it.get(POD).await.expect(200);
        if usual.code == 200 {
            assert_eq!(usual.body, after, "{told}");
            changed += usize::from(before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]);
        } else {
            assert_eq!(after, before, "{told}");
            refused += 1;
        }
        let phase = after["status"]["phase"].as_str().unwrap_or_default();
        let found = it.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3Dlab,status.phase%3D{phase}")).await;
        assert_eq!(found.expect(200)["items"].as_array().map(Vec::len), Some(1), "{told}: what is looked for is found");
    }
    assert!(changed > 200 && refused > 100, "{changed} changed, {refused} refused: neither way was taken often");
}

/// What a node of the same process says is written as its patch would be: two servers are told the same in the two ways.
#[tokio::test]
async fn what_a_node_says_is_its_patch() {
    let clock = TestClock::new();
    let server = || Harness::with(Options { clock: clock.clone(), ..Options::in_memory() });
    let (told, patched) = (server().await, server().await);
    let running = json!({"phase": "Running", "podIP": "10.0.0.1", "startTime": "2030-01-01T00:00:00Z", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"},
    ]});
    for it in [&told, &patched] {
        it.post("/api/v1/namespaces/n/pods", small("a")).await.expect(201);
        it.patch(&format!("{POD}/status?fieldManager=supple"), MERGE, json!({ "status": running })).await.expect(200);
    }
    let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let own = uid(&told.get(POD).await.expect(200));
    let container = |cpu: &str, more: Value| {
        let mut status = json!({
            "name": "c1", "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
            "state": {"running": {"startedAt": "2030-01-01T00:00:03.7Z"}}, "lastState": {},
            "allocatedResources": {"cpu": cpu}, "resources": {"requests": {"cpu": cpu}, "limits": {}},
        });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    };
    let stopped = json!({"ready": false, "allocatedResources": {}, "state": {"terminated": {
        "exitCode": 1, "startedAt": "2030-01-01T00:00:03.7Z", "finishedAt": "2030-01-01T00:00:04.2Z", "reason": "Error",
    }}});
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2030-01-01T00:00:05.9Z", "observedGeneration": 2});
    let words = [
        json!({"containerStatuses": [container("100m", json!({}))], "observedGeneration": 1}),
        json!({"conditions": [condition("Ready"), condition("PodResizeInProgress")], "observedGeneration": 2}),
        json!({"containerStatuses": [container("200m", json!({}))], "allocatedResources": {"cpu": "200m"}, "resources": {"requests": {"cpu": "200m"}}}),
        json!({"containerStatuses": [container("200m", stopped)], "reason": "why", "message": "because"}),
        json!({"conditions": [], "reason": null, "message": null, "hostIPs": [], "initContainerStatuses": []}),
    ];
    for (step, word) in words.into_iter().enumerate() {
        clock.advance(1);
        let fields: Vec<&str> = word.as_object().unwrap().keys().map(String::as_str).collect();
        let status = serde_json::from_value(word.clone()).unwrap();
        let is_written = told.server.report(("n", "a", &own), &status, &fields).await.unwrap();
        assert!(is_written, "step {step}: it is usual");
        let body = json!({ "status": word });
        patched.patch(&format!("{POD}/status?fieldManager=supple"), MERGE, body).await.expect(200);
        let (mut one, mut other) = (told.get(POD).await.expect(200), patched.get(POD).await.expect(200));
        for pod in [&mut one, &mut other] {
            pod["metadata"]["uid"] = Value::Null;
        }
        assert_eq!(one, other, "step {step}: {word}");
    }
    let nothing = serde_json::from_value(json!({})).unwrap();
    let asks = [
        ("another pod", ("n", "a", "other"), vec!["message"]),
        ("no pod", ("n", "b", own.as_str()), vec!["message"]),
        ("what selectors ask for", ("n", "a", own.as_str()), vec!["phase"]),
        ("nothing new", ("n", "a", own.as_str()), vec!["message"]),
    ];
    for (what, whose, fields) in asks {
        assert!(!told.server.report(whose, &nothing, &fields).await.unwrap(), "{what} is left to a request");
    }
}
