//! `resize-api.json` and `resize-api-random.json`: one request against one pod, per case.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota, ResourceQuotaStatus};
use serde::Deserialize;
use serde_json::{Value, json};
use supple_resize::admission::limit_range;

use crate::pipeline::{Door, Refusal, World, create, update};
use crate::{data, merge};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    #[serde(default)]
    pod: Value,
    created: Option<Value>,
    #[serde(default)]
    created_after_pod: bool,
    #[serde(default)]
    pod_state: PodState,
    #[serde(default)]
    limit_ranges: Vec<LimitRange>,
    #[serde(default)]
    quotas: Vec<ResourceQuota>,
    #[serde(default)]
    quota_used: Vec<Used>,
    request: Request,
    response: Response,
    after: Option<Value>,
}

#[derive(Deserialize, Default)]
struct PodState {
    phase: Option<String>,
    #[serde(default)]
    deleting: bool,
}

#[derive(Deserialize)]
struct Used {
    name: String,
    used: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    path: String,
    content_type: Option<String>,
    query: Option<String>,
    #[serde(default)]
    body: Value,
}

#[derive(Deserialize)]
struct Response {
    code: u16,
    body: Value,
}

/// Cases that only a server can answer: their number is part of what is asserted.
fn needs_server(case: &Case) -> bool {
    let content_type = case.request.content_type.as_deref().unwrap_or_default();
    let resize = case.request.path.ends_with("/resize");
    match case.request.method.as_str() {
        "POST" => resize,
        "PATCH" => {
            // Server-side apply, an unknown content type, a body that is no JSON, a pod that is not there.
            content_type.contains("apply-patch")
                || content_type == "application/json"
                || case.request.body.is_string()
                || case.pod.is_null()
        }
        // A PUT with a stale version, GET, DELETE.
        _ => true,
    }
}

/// The reference's own words around a refusal of the patch itself.
const PATCH_REFUSED: &str = "the server rejected our request due to an error in our request";

fn world(case: &Case) -> World {
    let mut limit_ranges = case.limit_ranges.clone();
    limit_ranges.iter_mut().for_each(limit_range::apply_defaults);
    let node = json!({
        "metadata": {"name": "fake1"},
        "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}},
    });
    let nodes: Vec<Node> = vec![serde_json::from_value(node).unwrap()];
    World { limit_ranges, quotas: Vec::new(), nodes }
}

/// The quotas as the controller has filled them: `used` as recorded, or nothing.
fn quotas(case: &Case, used: impl Fn(&str) -> Option<BTreeMap<String, String>>) -> Vec<ResourceQuota> {
    let filled = case.quotas.iter().cloned().map(|mut quota| {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let recorded = used(quota.metadata.name.as_deref().unwrap_or_default()).unwrap_or_default();
        let of = |name: &String| recorded.get(name).cloned().unwrap_or_else(|| "0".to_owned());
        let used = hard.keys().map(|name| (name.clone(), serde_json::from_value(of(name).into()).unwrap())).collect();
        quota.status = Some(ResourceQuotaStatus { hard: Some(hard), used: Some(used) });
        quota
    });
    filled.collect()
}

/// The pod as the cases trim it.
fn trimmed(pod: &Pod) -> Value {
    let value = serde_json::to_value(pod).unwrap();
    let (spec, meta) = (&value["spec"], &value["metadata"]);
    let containers = |list: &Value| -> Value {
        let of = |it: &Value| {
            let keep = ["name", "image", "resources", "resizePolicy", "restartPolicy"];
            Value::Object(
                it.as_object().unwrap().clone().into_iter().filter(|(key, _)| keep.contains(&key.as_str())).collect(),
            )
        };
        list.as_array().unwrap().iter().map(of).collect()
    };
    let mut out = json!({
        "generation": meta["generation"],
        "containers": containers(&spec["containers"]),
        "qosClass": value["status"]["qosClass"],
    });
    if spec["initContainers"].is_array() {
        out["initContainers"] = containers(&spec["initContainers"]);
    }
    for (key, field) in
        [("resources", &spec["resources"]), ("labels", &meta["labels"]), ("annotations", &meta["annotations"])]
    {
        if !field.is_null() {
            out[key] = field.clone();
        }
    }
    out
}

/// What the library answers: the stored pod or the refusal.
fn answer(case: &Case) -> Result<Pod, Refusal> {
    let mut world = world(case);
    let before = if case.created_after_pod {
        World::default()
    } else {
        World { limit_ranges: world.limit_ranges.clone(), quotas: quotas(case, |_| None), ..World::default() }
    };
    if case.request.method == "POST" {
        return create(&before, case.request.body.clone());
    }
    let mut pod = create(&before, case.pod.clone()).expect("the recorded pod was created");
    if let Some(created) = &case.created {
        assert_eq!(&trimmed(&pod), created, "{}: as created", case.name);
    }
    let status = pod.status.as_mut().unwrap();
    if let Some(phase) = &case.pod_state.phase {
        status.phase = Some(phase.clone());
    }
    if case.pod_state.deleting {
        // Asking for the deletion of a pod that a finalizer keeps is a change of it too.
        pod.metadata.generation = Some(2);
        pod.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    }
    world.quotas = quotas(case, |name| case.quota_used.iter().find(|it| it.name == name).map(|it| it.used.clone()));
    let mut body = serde_json::to_value(&pod).unwrap();
    match case.request.content_type.as_deref() {
        Some("application/json-patch+json") => {
            merge::json(&mut body, &case.request.body).map_err(|_| Refusal::Undecodable(PATCH_REFUSED.to_owned()))?
        }
        Some("application/merge-patch+json") => merge::merge(&mut body, &case.request.body),
        _ => merge::strategic(&mut body, &case.request.body),
    }
    let door = match case.request.path.rsplit('/').next() {
        Some("resize") => Door::Resize,
        Some("status") => Door::Status,
        _ => Door::Main,
    };
    let answer = update(&world, &pod, body, door);
    if let Some(after) = &case.after {
        assert!(case.request.query.as_deref().is_some_and(|it| it.contains("dryRun")), "{}: only dry runs", case.name);
        assert_eq!(&trimmed(&pod), after, "{}: a dry run stores nothing", case.name);
    }
    answer
}

/// A message with its list of errors as a set: the reference reports entries of one map in random order.
fn unordered(message: &str) -> (String, Vec<String>) {
    // In the long diff of a refused plain update, only the first line is ours to match.
    let message = message.split('\n').next().unwrap_or_default();
    match (message.find('['), message.ends_with(']')) {
        (Some(at), true) if message[..at].ends_with(": ") => {
            let mut parts: Vec<String> = message[at + 1..message.len() - 1]
                .split(", spec")
                .flat_map(|it| it.split(", maximum"))
                .map(|it| it.trim_start_matches("spec").to_owned())
                .collect();
            parts.sort();
            (message[..at].to_owned(), parts)
        }
        _ => (message.to_owned(), Vec::new()),
    }
}

fn causes(refusal: &Refusal) -> Vec<String> {
    let mut causes: Vec<String> = match refusal {
        Refusal::Undecodable(_) => Vec::new(),
        Refusal::Invalid { errors, .. } => {
            errors.iter().map(|it| format!("{} {} {}", it.reason(), it.field, it.message())).collect()
        }
        Refusal::Forbidden { denial, .. } => denial.causes.iter().map(|it| format!("{it}  ")).collect(),
    };
    causes.sort();
    causes
}

fn recorded_causes(body: &Value) -> Vec<String> {
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    let list = body["causes"].as_array().cloned().unwrap_or_default();
    let mut causes: Vec<String> =
        list.iter().map(|it| format!("{} {} {}", text(it, "reason"), text(it, "field"), text(it, "message"))).collect();
    causes.sort();
    causes
}

/// What differs between the answer and the recording.
fn difference(case: &Case) -> Option<String> {
    let recorded = &case.response;
    let differs = match answer(case) {
        Ok(pod) if recorded.code < 300 => {
            let got = trimmed(&pod);
            (got != recorded.body).then(|| format!("got {got}\n  recorded {}", recorded.body))
        }
        Ok(pod) => {
            Some(format!("accepted as {}\n  recorded {} {}", trimmed(&pod), recorded.code, recorded.body["message"]))
        }
        Err(refusal) => {
            let message = recorded.body["message"].as_str().unwrap_or_default();
            let same = match &refusal {
                // The server wraps what the decoder says into the patch it came from.
                Refusal::Undecodable(text) => message.ends_with(text.as_str()),
                _ => {
                    unordered(&refusal.message()) == unordered(message)
                        && (message.contains('\n') || causes(&refusal) == recorded_causes(&recorded.body))
                }
            };
            (!same || refusal.code() != recorded.code).then(|| {
                format!("refused {} {}\n  recorded {} {message}", refusal.code(), refusal.message(), recorded.code)
            })
        }
    };
    differs.map(|text| format!("{}: {text}", case.name))
}

#[track_caller]
fn check(file: &str, in_file: usize, without_server: usize) {
    let Some(text) = data::read(file) else { return };
    let cases: Vec<Case> = serde_json::from_str(&text).expect("cases are of the documented form");
    assert_eq!(cases.len(), in_file, "cases in {file}");
    let ran: Vec<&Case> = cases.iter().filter(|case| !needs_server(case)).collect();
    let differences: Vec<String> = ran.iter().filter_map(|case| difference(case)).collect();
    data::report(&differences, ran.len(), without_server);
}

#[test]
fn recorded_requests() {
    check("resize-api.json", 169, 160);
}

#[test]
fn recorded_random_requests() {
    check("resize-api-random.json", 1200, 1200);
}
