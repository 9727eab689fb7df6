//! The recorded cases: what the reference answered to one request, asked of us.

use serde_json::{Map, Value, json};

use crate::harness::{Harness, JSON, Reply, conformance};

/// How a case is sent.
pub const NAMESPACE: &str = "/api/v1/namespaces/n";

/// What the record keeps of a pod.
fn trimmed(pod: &Value) -> Value {
    let mut out = Map::new();
    let mut keep = |name: &str, value: Option<&Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            out.insert(name.to_owned(), value.clone());
        }
    };
    keep("generation", pod.pointer("/metadata/generation"));
    keep("labels", pod.pointer("/metadata/labels"));
    keep("annotations", pod.pointer("/metadata/annotations"));
    keep("qosClass", pod.pointer("/status/qosClass"));
    keep("resources", pod.pointer("/spec/resources"));
    for list in ["containers", "initContainers"] {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map(|containers| {
            containers
                .iter()
                .map(|container| {
                    let fields = ["name", "image", "resources", "resizePolicy", "restartPolicy"];
                    let kept =
                        fields.iter().filter_map(|field| Some(((*field).to_owned(), container.get(*field)?.clone())));
                    Value::Object(kept.collect())
                })
                .collect::<Value>()
        });
        keep(list, containers.as_ref());
    }
    Value::Object(out)
}

fn trimmed_status(status: &Value) -> Value {
    let mut out = Map::new();
    for field in ["status", "message", "reason", "code"] {
        out.insert(field.to_owned(), status[field].clone());
    }
    if let Some(causes) = status.pointer("/details/causes") {
        out.insert("causes".to_owned(), causes.clone());
    }
    Value::Object(out)
}

/// Makes what the reference says in random order comparable, and drops what is not ours to match.
fn comparable(mut body: Value) -> Value {
    let first_line = |value: &mut Value| {
        if let Some(text) = value.as_str() {
            *value = text.lines().next().unwrap_or_default().into();
        }
    };
    if body.get("causes").is_none() && body.get("message").is_none() {
        return body;
    }
    first_line(&mut body["message"]);
    let several = body["message"].as_str().unwrap_or_default().split_once(": [");
    if let Some(list) = several.and_then(|(_, list)| list.strip_suffix(']')) {
        // The same sentences in another order are the same answer.
        let mut parts: Vec<&str> = list.split(", ").collect();
        parts.sort_unstable();
        body["message"] = parts.join(", ").into();
    }
    if let Some(causes) = body.get_mut("causes").and_then(Value::as_array_mut) {
        for cause in causes.iter_mut().filter(|cause| cause.get("message").is_some()) {
            first_line(&mut cause["message"]);
        }
        causes.sort_by_key(Value::to_string);
    }
    body
}

/// Sends a case to a fresh server (whose namespace is `n`); what is wrong with the answer.
pub async fn run(harness: &Harness, case: &Value) -> Result<(), String> {
    let list = |name: &str| case.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let after_pod = case.get("createdAfterPod").and_then(Value::as_bool).unwrap_or(false);
    if case["group"] == "node" {
        harness
            .post("/api/v1/nodes", json!({"metadata": {"name": "fake1", "labels": {"kubernetes.io/os": "linux"}}}))
            .await
            .expect(201);
        harness
            .set_status("/api/v1/nodes/fake1", json!({"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}}))
            .await;
    }
    if !after_pod {
        limits_and_quotas(harness, case).await;
    }
    if let Some(created) = case.get("created").filter(|created| !created.is_null()) {
        let pod = harness.post(&format!("{NAMESPACE}/pods"), case["pod"].clone()).await.expect(201);
        same("created", &trimmed(&pod), created)?;
    }
    if after_pod {
        limits_and_quotas(harness, case).await;
    }
    for quota in list("quotaUsed") {
        let path = format!("{NAMESPACE}/resourcequotas/{}", quota["name"].as_str().unwrap());
        let stored = harness.get(&path).await.expect(200);
        if !after_pod {
            // Charged by the creation of the pod, at once.
            same("used", &stored["status"]["used"], &quota["used"])?;
        }
        harness.set_status(&path, json!({"used": quota["used"]})).await;
    }
    if let Some(phase) = case.pointer("/podState/phase") {
        harness.set_status(&format!("{NAMESPACE}/pods/p"), json!({"phase": phase})).await;
    }
    if case.pointer("/podState/deleting") == Some(&json!(true)) {
        harness.delete(&format!("{NAMESPACE}/pods/p")).await.expect(200);
    }
    let reply = send(harness, &case["request"]).await;
    let response = &case["response"];
    if response["code"] != json!(reply.code) {
        return Err(format!("code {} instead of {}: {}", reply.code, response["code"], reply.text));
    }
    let body = if reply.code < 300 { trimmed(&reply.body) } else { comparable(trimmed_status(&reply.body)) };
    let wanted = if reply.code < 300 { response["body"].clone() } else { comparable(response["body"].clone()) };
    same("answer", &body, &wanted)?;
    if let Some(warnings) = response.get("warnings") {
        same("warnings", &json!(reply.warnings()), warnings)?;
    }
    if let Some(after) = case.get("after") {
        same("after", &trimmed(&harness.get(&format!("{NAMESPACE}/pods/p")).await.expect(200)), after)?;
    }
    Ok(())
}

async fn limits_and_quotas(harness: &Harness, case: &Value) {
    for (plural, list) in [("limitranges", "limitRanges"), ("resourcequotas", "quotas")] {
        for object in case.get(list).and_then(Value::as_array).into_iter().flatten() {
            let created = harness.post(&format!("{NAMESPACE}/{plural}"), object.clone()).await.expect(201);
            if plural == "resourcequotas" {
                // What the quota controller writes when it first sees a quota.
                let hard = created["spec"]["hard"].clone();
                let zero = |hard: &Value| -> Value {
                    hard.as_object()
                        .unwrap()
                        .keys()
                        .map(|name| (name.clone(), json!("0")))
                        .collect::<Map<_, _>>()
                        .into()
                };
                let path = format!("{NAMESPACE}/{plural}/{}", created["metadata"]["name"].as_str().unwrap());
                harness.set_status(&path, json!({"used": zero(&hard), "hard": hard})).await;
            }
        }
    }
}

async fn send(harness: &Harness, request: &Value) -> Reply {
    let path = request["path"].as_str().unwrap();
    let mut uri = format!("{NAMESPACE}/{path}");
    if let Some(query) = request.get("query").and_then(Value::as_str) {
        uri += &format!("?{query}");
    }
    let body = if let Some(set) = request.get("set").and_then(Value::as_object) {
        let mut pod = harness.get(&format!("{NAMESPACE}/pods/p")).await.expect(200);
        for (path, value) in set {
            *pod.pointer_mut(&format!("/{path}")).unwrap() = value.clone();
        }
        match request.get("resourceVersion") {
            Some(version) if version == "current" => {}
            Some(version) => pod["metadata"]["resourceVersion"] = version.clone(),
            None => drop(pod["metadata"].as_object_mut().unwrap().remove("resourceVersion")),
        }
        pod.to_string()
    } else {
        match request.get("body") {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(body) => body.to_string(),
        }
    };
    let content_type = request.get("contentType").and_then(Value::as_str).unwrap_or(JSON);
    harness.call(request["method"].as_str().unwrap(), &uri, &[("content-type", content_type)], body).await
}

fn same(what: &str, found: &Value, wanted: &Value) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}:\n    found  {found}\n    wanted {wanted}")) }
}

async fn all(file: &str) {
    let Some(text) = conformance(file) else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        if let Err(why) = run(&Harness::new().await, case).await {
            wrong.push(format!("{name} ({})\n  {why}", case["group"]));
        }
    }
    println!("{file}: {} cases", cases.len());
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_recorded_case() {
    all("resize-api.json").await;
}

#[tokio::test]
async fn every_random_case() {
    all("resize-api-random.json").await;
}
