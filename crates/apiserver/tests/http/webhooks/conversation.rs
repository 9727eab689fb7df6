//! The recorded conversation with webhooks, review by review (transcript-webhook-reviews, the first half of
//! transcript-webhooks-limitrange).

use serde_json::{Value, json};

use super::{allow, change, configure, rule, scripted, webhook};
use crate::harness::{Harness, STRATEGIC, conformance, cpu, pod};

const NAMESPACE: &str = "t3";

/// A review as the recording shows it.
#[derive(Debug, PartialEq)]
struct Shown {
    path: String,
    request: Value,
    rest: String,
}

impl Shown {
    /// `/path {request} obj.gen 2 old.gen 1 labels {…} req {…} image pause mf 2`.
    fn recorded(line: &str) -> Self {
        let (path, rest) = line.split_once(' ').unwrap();
        let mut trees = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let request = trees.next().unwrap().unwrap();
        let rest = rest[trees.byte_offset()..].trim().to_owned();
        Self { path: path.to_owned(), request, rest }
    }

    fn seen(path: &str, request: &Value) -> Self {
        let (object, old) = (&request["object"], &request["oldObject"]);
        let python = |value: &Value| value.to_string().replace('"', "'").replace("':", "': ").replace(",'", ", '");
        let container = &object["spec"]["containers"][0];
        let rest = format!(
            "obj.gen {} old.gen {} labels {} req {} image {} mf {}",
            object["metadata"]["generation"],
            old["metadata"]["generation"],
            python(&object["metadata"]["labels"]),
            python(&container["resources"]),
            container["image"].as_str().unwrap(),
            object["metadata"]["managedFields"].as_array().map_or(0, Vec::len),
        );
        let mut request = request.clone();
        for field in ["uid", "userInfo", "object", "oldObject"] {
            request.as_object_mut().unwrap().remove(field);
        }
        Self { path: path.to_owned(), request, rest }
    }
}

async fn resize(it: &Harness, query: &str, ask: &str) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/a/resize{query}");
    let headers = [("content-type", STRATEGIC), ("user-agent", "Python-urllib/3")];
    it.call("PATCH", &path, &headers, cpu(ask).to_string()).await.expect(200)
}

#[tokio::test]
async fn webhooks_are_told_what_the_reference_tells_them() {
    let Some(recorded) = conformance("transcript-webhook-reviews.txt") else { return };
    let mut recorded = recorded.lines().map(Shown::recorded);
    let (it, script) = scripted(|path, _| {
        if path.starts_with("/mutate") {
            change(json!([
                {"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": "222m"},
                {"op": "add", "path": "/metadata/labels/added", "value": "yes"},
                {"op": "replace", "path": "/spec/containers/0/image", "value": "other"},
            ]))
        } else {
            allow()
        }
    })
    .await;
    it.post("/api/v1/namespaces", json!({"metadata": {"name": NAMESPACE}})).await.expect(201);
    for (name, resource) in
        [("v-pods", "pods"), ("v-resize", "pods/resize"), ("v-sub", "pods/*"), ("v-all", "*/*"), ("v-star", "*")]
    {
        let rules = json!([rule(&["UPDATE"], &[resource])]);
        configure(&it, "validating", name, json!([webhook(name, rules, Value::Null)])).await;
    }
    let mut body = pod("a", json!({"cpu": "100m", "memory": "100Mi"}), Value::Null);
    body["metadata"]["labels"] = json!({"a": "b"});
    body["spec"]["containers"][0]["image"] = "pause".into();
    let headers = [("content-type", "application/json"), ("user-agent", "Python-urllib/3")];
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    it.call("POST", &pods, &headers, body.to_string()).await.expect(201);
    assert_eq!(script.paths(), Vec::<String>::new());

    let mut compare = |asked: Vec<(String, Value)>| {
        let mut seen: Vec<Shown> = asked.iter().map(|(path, request)| Shown::seen(path, request)).collect();
        let mut expected: Vec<Shown> = recorded.by_ref().take(seen.len()).collect();
        // Those that judge are asked at once, in any order.
        seen.sort_by(|a, b| a.path.cmp(&b.path));
        expected.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(seen, expected);
    };
    let shown = |pod: &Value| {
        let request = pod.pointer("/spec/containers/0/resources/requests/cpu").and_then(Value::as_str).unwrap();
        format!("gen={} cpu={request} labels={}", pod["metadata"]["generation"], pod["metadata"]["labels"])
    };
    for (query, ask, expected) in [
        ("", "110m", "gen=2 cpu=110m labels={\"a\":\"b\"}"),
        ("", "110m", "gen=2 cpu=110m labels={\"a\":\"b\"}"),
        ("?dryRun=All", "115m", "gen=3 cpu=115m labels={\"a\":\"b\"}"),
    ] {
        assert_eq!(shown(&resize(&it, query, ask).await), expected);
        let asked = script.asked();
        assert_eq!(asked.len(), 3);
        compare(asked);
    }

    let rules = json!([rule(&["UPDATE"], &["pods/resize"])]);
    configure(&it, "mutating", "m", json!([webhook("mutate", rules, Value::Null)])).await;
    let resized = resize(&it, "", "120m").await;
    assert_eq!(shown(&resized), "gen=3 cpu=222m labels={\"a\":\"b\"}");
    assert_eq!(resized["spec"]["containers"][0]["image"], "pause");
    let owners: Vec<String> = resized["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {} {}", entry["manager"], entry["operation"], entry["subresource"]))
        .collect();
    assert_eq!(owners, ["\"Python-urllib\" \"Update\" null", "\"Python-urllib\" \"Update\" \"resize\""]);
    let mut asked = script.asked();
    assert_eq!(asked.len(), 4);
    compare(asked.drain(..1).collect());
    compare(asked);
    assert_eq!(recorded.next(), None, "everything recorded has been compared");
}
