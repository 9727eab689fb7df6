//! A forecast says what the reference then did: the recorded resize requests, foreseen through the library alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota, ResourceQuotaStatus, ResourceRequirements};
use serde::Deserialize;
use serde_json::{Value, json};
use supple_resize::admission::limit_range;
use supple_resize::predict::{Change, Forecast, NamespaceSight, NodeObject, NodeSight, Reason, Sizes, Stage, predict};
use supple_resize::resources::{self, containers};
use supple_resize::{defaults, strategy};

use crate::recorded;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    group: String,
    #[serde(default)]
    pod: Pod,
    created: Option<Value>,
    #[serde(default)]
    pod_state: PodState,
    #[serde(default)]
    limit_ranges: Vec<LimitRange>,
    #[serde(default)]
    quotas: Vec<ResourceQuota>,
    #[serde(default)]
    quota_used: Vec<QuotaUsed>,
    #[serde(default)]
    created_after_pod: bool,
    request: Request,
    response: Response,
}

#[derive(Default, Deserialize)]
struct PodState {
    phase: Option<String>,
    #[serde(default)]
    deleting: bool,
}

#[derive(Deserialize)]
struct QuotaUsed {
    name: String,
    used: resources::WireList,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    path: String,
    content_type: Option<String>,
    query: Option<String>,
    body: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    code: u16,
    body: Option<Value>,
}

impl Case {
    /// The pod as the server had it.
    fn stored(&self) -> Pod {
        let mut pod = self.pod.clone();
        resources::canonicalise(&mut pod).expect("it was created");
        defaults::apply(&mut pod);
        if !self.created_after_pod {
            limit_range::default_pod(&mut pod, &self.ranges());
        }
        strategy::prepare_for_create(&mut pod);
        if let Some(status) = pod.status.as_mut().filter(|_| self.pod_state.phase.is_some()) {
            status.phase.clone_from(&self.pod_state.phase);
        }
        if self.pod_state.deleting {
            pod.metadata.deletion_timestamp = Some(crate::support::at(0).into());
        }
        pod
    }

    fn ranges(&self) -> Vec<LimitRange> {
        let mut ranges = self.limit_ranges.clone();
        ranges.iter_mut().for_each(limit_range::apply_defaults);
        ranges
    }

    fn namespace(&self) -> NamespaceSight {
        let mut quotas = self.quotas.clone();
        for quota in &mut quotas {
            let used = self.quota_used.iter().find(|it| Some(&it.name) == quota.metadata.name.as_ref());
            let hard = quota.spec.as_ref().and_then(|it| it.hard.clone());
            quota.status = Some(ResourceQuotaStatus { hard, used: used.map(|it| it.used.clone()) });
        }
        NamespaceSight { limit_ranges: self.ranges(), quotas }
    }

    fn node(&self) -> NodeSight {
        match self.pod.spec.as_ref().and_then(|it| it.node_name.as_deref()) {
            None => NodeSight::default(),
            Some("fake1") => NodeSight::from_api(&fake_node(), []),
            Some(_) => NodeSight { object: NodeObject::Missing, ..NodeSight::default() },
        }
    }

    /// The request as a change, if one can say it: CPU and memory set, by a strategic merge patch, and nothing else.
    fn change(&self) -> Option<Change> {
        let Request { method, path, content_type, query, body } = &self.request;
        let strategic = content_type.as_deref() == Some("application/strategic-merge-patch+json");
        let plain = method == "PATCH" && path == "pods/p/resize" && strategic && query.is_none();
        let body = body.as_ref().filter(|_| plain)?.as_object()?;
        let spec = body.get("spec").filter(|_| body.len() == 1)?.as_object()?;
        let mut change = Change::default();
        for (key, value) in spec {
            match key.as_str() {
                // Naming the pod level without a size in it makes it there, which is more than a change says.
                "resources" => change.pod = sizes(value).filter(|it| !it.is_empty())?,
                "containers" | "initContainers" => {
                    for entry in value.as_array()? {
                        let entry = entry.as_object().filter(|it| it.len() == 2)?;
                        let name = entry.get("name")?.as_str()?;
                        change.containers.insert(name.to_owned(), sizes(entry.get("resources")?)?);
                    }
                }
                _ => return None,
            }
        }
        let known = |name: &String| containers(&self.pod).any(|it| it.container.name == *name);
        change.containers.keys().all(known).then_some(change)
    }
}

/// Sizes that say all of a patch's `resources`; `None` where they cannot (a removal, another resource, not a quantity).
fn sizes(value: &Value) -> Option<Sizes> {
    let requirements: ResourceRequirements = serde_json::from_value(value.clone()).ok()?;
    let sizes = Sizes::of(Some(&requirements));
    let lists = [&requirements.requests, &requirements.limits];
    let entries: usize = lists.iter().filter_map(|it| it.as_ref()).map(BTreeMap::len).sum();
    let readable = lists
        .iter()
        .filter_map(|it| it.as_ref())
        .flatten()
        .all(|(_, it)| it.0.parse::<supple_quantity::Quantity>().is_ok());
    let said = [&sizes.cpu_request, &sizes.cpu_limit, &sizes.memory_request, &sizes.memory_limit];
    let said = said.iter().filter(|it| it.is_some()).count();
    let whole = value.as_object()?.values().all(Value::is_object);
    (readable && whole && entries == said).then_some(sizes)
}

fn fake_node() -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "fake1"},
        "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}},
    }))
    .expect("a node")
}

/// Whether the forecast is what happened; the message compared where the reference has one order for it.
#[track_caller]
fn check(case: &Case, stored: &Pod, forecast: &Forecast) {
    let name = &case.name;
    let body = case.response.body.as_ref().expect("every answer has one");
    match case.response.code {
        200 => {
            assert!(forecast.is_accepted(), "{name}: {:?}", forecast.obstacle);
            let after = forecast.change.applied_to(stored).expect("its own containers");
            for container in containers(&after).map(|it| it.container) {
                let lists = ["containers", "initContainers"].into_iter().filter_map(|it| body[it].as_array()).flatten();
                let recorded = lists.into_iter().find(|it| it["name"] == container.name.as_str());
                let Some(recorded) = recorded else { continue };
                let recorded: ResourceRequirements =
                    serde_json::from_value(recorded["resources"].clone()).expect("resources");
                let sizes = Sizes::of(container.resources.as_ref());
                assert_eq!(sizes, Sizes::of(Some(&recorded)), "{name}: {}", container.name);
            }
        }
        code @ (422 | 403) => {
            let obstacle = forecast.obstacle.as_ref().unwrap_or_else(|| panic!("{name}: {code} was not foreseen"));
            assert_eq!(obstacle.reason.stage(), Stage::Api, "{name}: {obstacle}");
            let message = body["message"].as_str().expect("a Status");
            let (_, words) =
                message.split_once(if code == 422 { " is invalid: " } else { " is forbidden: " }).expect("its form");
            let sorted = |text: &str| {
                let text = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
                let mut parts: Vec<_> = text.split(", ").map(str::to_owned).collect();
                parts.sort();
                parts
            };
            assert_eq!(sorted(&obstacle.message), sorted(words), "{name}");
            assert!(!obstacle.advice.is_empty());
            let by_group = match (case.group.as_str(), code) {
                ("qos", _) => Some(Reason::QosChange),
                ("limitrange", 403) => Some(Reason::LimitRange),
                ("quota", 403) => Some(Reason::QuotaExceeded),
                ("node", 403) if words.contains("allocatable") => Some(Reason::NodeCapacity),
                ("node", 403) => Some(Reason::NodeUnsupported),
                _ => None,
            };
            assert!(by_group.is_none_or(|it| it == obstacle.reason), "{name}: {obstacle}");
        }
        other => panic!("{name}: {other}"),
    }
    let text = serde_json::to_string(forecast).expect("plain data");
    assert_eq!(&serde_json::from_str::<Forecast>(&text).expect("what was written"), forecast);
}

/// Foresee every case that a change can say; how many that were.
fn foresee(file: &str) -> Option<usize> {
    let cases: Vec<Case> = recorded::read(file)?;
    let mut seen = 0;
    for case in cases.iter().filter(|it| it.created.is_some() || it.name.starts_with("random")) {
        let Some(change) = case.change() else { continue };
        let stored = case.stored();
        check(case, &stored, &predict(&stored, &change, &case.node(), &case.namespace(), None));
        seen += 1;
    }
    Some(seen)
}

#[test]
fn what_was_recorded_is_foreseen() {
    if let Some(seen) = foresee("resize-api.json") {
        assert!(seen > 100, "{seen} cases");
    }
}

#[test]
fn what_was_recorded_at_random_is_foreseen() {
    if let Some(seen) = foresee("resize-api-random.json") {
        assert!(seen > 500, "{seen} cases");
    }
}
