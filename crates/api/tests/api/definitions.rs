//! The definitions in an API server: it takes them, it takes the examples, and it refuses what they forbid in our words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy, crd, layer};
use supple_apiserver::{ApiServer, Options};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn server() -> kube::Client {
    let client = ApiServer::open(Options::in_memory()).unwrap().client("default");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crd::all() {
        definitions.create(&PostParams::default(), &definition).await.unwrap();
    }
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &shop).await.unwrap();
    client
}

/// Puts an object; what the server says against it.
async fn create(client: &kube::Client, object: &Value) -> Result<DynamicObject, String> {
    let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let types = object.types.clone().unwrap();
    let kind = GroupVersionKind::gvk("supple.dev", "v1alpha1", &types.kind);
    let plural = crd::all().into_iter().find(|it| it.spec.names.kind == types.kind).unwrap().spec.names.plural;
    let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    api.create(&PostParams::default(), &object).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        other => panic!("{other}"),
    })
}

#[test]
fn the_committed_files_are_the_definitions() {
    for definition in crd::all() {
        let path = root().join("deploy/crds").join(crd::file_name(&definition));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let committed: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(committed, serde_json::to_value(&definition).unwrap(), "run `cargo xtask generate`");
    }
}

/// An API server reckons what a rule can cost from the longest list and the longest text; without a bound it is too dear. And
/// nothing of Rust shows through.
#[test]
fn a_schema_says_what_it_has_to() {
    for definition in crd::all() {
        let schema =
            serde_json::to_value(&definition).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        let name = &definition.spec.names.kind;
        check(&schema["properties"]["spec"], &format!("{name}.spec"), false);
        assert!(!schema["description"].as_str().unwrap().contains("Auto-generated"), "{name}");
    }
}

/// `in_rules`: below something that an expression looks at.
#[track_caller]
fn check(schema: &Value, at: &str, in_rules: bool) {
    let text = schema.to_string();
    assert!(at.ends_with(".spec") || schema["description"].is_string() || at.ends_with("[]"), "{at} is described");
    assert!(
        !text.contains("\"nullable\"") && !text.contains("\"default\"") && !text.contains(",null]"),
        "{at}: {text}"
    );
    let rules = schema["x-kubernetes-validations"].is_array();
    if schema["type"] == "string" && (rules || in_rules) && schema["enum"].is_null() {
        assert!(schema["maxLength"].is_u64(), "{at} has no longest text");
    }
    if let Some(items) = schema.get("items") {
        let bounded = schema["maxItems"].is_u64();
        assert!(bounded || !items.to_string().contains("x-kubernetes-validations"), "{at} has no longest list");
        check(items, &format!("{at}[]"), in_rules || rules);
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        check(below, &format!("{at}.{name}"), (in_rules || rules) && !at.ends_with(".spec"));
    }
}

#[tokio::test]
async fn the_examples_are_taken_and_mean_what_they_say() {
    let client = server().await;
    let now = "2026-11-28T12:00:00Z".parse().unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(root().join("examples/policies")).unwrap() {
        let path = file.unwrap().path();
        let shown = path.display();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for document in documents {
            let stored = create(&client, &document).await.unwrap_or_else(|message| panic!("{shown}: {message}"));
            let stored = serde_json::to_value(stored).unwrap();
            // Nothing is cut off: every field that is written is a field of the schema.
            assert_eq!(stored["spec"], document["spec"], "{shown}");
            let (layer, problems) = if document["kind"] == "RightsizePolicy" {
                layer::of_policy(&serde_json::from_value::<RightsizePolicy>(stored.clone()).unwrap(), now)
            } else {
                layer::of_cluster_policy(
                    &serde_json::from_value::<ClusterRightsizePolicy>(stored.clone()).unwrap(),
                    now,
                )
            };
            assert_eq!(problems, [], "{shown}");
            assert!(layer.mode.is_some() || layer.pause.is_some(), "{shown} says something");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} examples");
}

fn policy(spec: &Value) -> Value {
    json!({
        "apiVersion": "supple.dev/v1alpha1", "kind": "RightsizePolicy",
        "metadata": {"name": "p", "namespace": "shop"}, "spec": spec,
    })
}

/// Specifications that are refused: what the server's message has in it.
fn refused() -> Vec<(Value, &'static str)> {
    let container = |it: Value| json!({"resourcePolicy": {"containerPolicies": [it]}});
    let window = |schedule: &str, duration: &str, zone: &str| json!({"windows": [{"type": "Deny", "schedule": schedule, "duration": duration, "timeZone": zone}]});
    let schedule = |schedule: &str, duration: &str, zone: &str, containers: Value| json!({"schedules": [{"schedule": schedule, "duration": duration, "timeZone": zone, "containerPolicies": containers}]});
    let sized = || json!([{"containerName": "app", "minAllowed": {"cpu": 1}}]);
    let guard = |it: Value| json!({"guards": [it]});
    vec![
        (
            json!({"targetRef": {"kind": "Pod", "name": "a"}, "selector": {}}),
            "spec: Invalid value: \"object\": targetRef and selector exclude each other",
        ),
        (
            json!({"targetRef": {"kind": ""}}),
            "spec.targetRef.kind: Invalid value: \"string\": must be the kind of the workload",
        ),
        (json!({"targetRef": {"name": "web"}}), "spec.targetRef.kind: Required value"),
        (
            json!({"updatePolicy": {"updateMode": "Auto"}}),
            "supported values: \"Off\", \"Initial\", \"Recreate\", \"InPlaceOrRecreate\", \"InPlace\"",
        ),
        (json!({"updatePolicy": {"recreateBy": "Rollback"}}), "supported values: \"Eviction\", \"Rollout\""),
        (json!({"updatePolicy": {"minReplicas": 0}}), "spec.updatePolicy.minReplicas"),
        (
            container(json!({"containerName": "a", "minAllowed": {"cpu": "2"}, "maxAllowed": {"cpu": "500m"}})),
            "minAllowed.cpu must not be more than maxAllowed.cpu",
        ),
        (
            container(json!({"containerName": "a", "minAllowed": {"cpu": 2}, "maxAllowed": {"cpu": 1}})),
            "minAllowed.cpu must not be more than maxAllowed.cpu",
        ),
        (
            container(json!({"containerName": "a", "minAllowed": {"memory": "2Gi"}, "maxAllowed": {"memory": "1G"}})),
            "minAllowed.memory must not be more than maxAllowed.memory",
        ),
        (
            container(json!({"containerName": "a", "minAllowed": {"memory": "2 Gi"}})),
            "spec.resourcePolicy.containerPolicies[0].minAllowed.memory",
        ),
        (
            container(json!({"containerName": "a", "minAllowed": {"memory": -1}})),
            "should be greater than or equal to 0",
        ),
        (
            container(json!({"containerName": "a", "maxAllowed": {"cpu": "-1"}})),
            "spec.resourcePolicy.containerPolicies[0].maxAllowed.cpu",
        ),
        (
            container(json!({"containerName": ""})),
            "must be the name of a container, or \"*\" for all that are not named",
        ),
        (container(json!({"minAllowed": {"cpu": 1}})), "containerName: Required value"),
        (container(json!({"containerName": "a", "mode": "auto"})), "supported values: \"Auto\", \"Off\""),
        (
            container(json!({"containerName": "a", "controlledResources": ["gpu"]})),
            "supported values: \"cpu\", \"memory\"",
        ),
        (
            container(json!({"containerName": "a", "controlledValues": "Limits"})),
            "supported values: \"RequestsAndLimits\", \"RequestsOnly\"",
        ),
        (
            json!({"resourcePolicy": {"containerPolicies": [{"containerName": "a"}, {"containerName": "a"}]}}),
            "Duplicate value",
        ),
        (
            json!({"risk": {"memory": "often"}}),
            "spec.risk.memory: Invalid value: \"string\": must say how often, as in",
        ),
        (
            json!({"risk": {"cpu": "1 per moon"}}),
            "spec.risk.cpu: Invalid value: \"string\": must say how much of the time, as in \"0.5 % of time\"",
        ),
        (
            json!({"risk": {"cpu": "1 per day"}}),
            "spec.risk.cpu: Invalid value: \"string\": must say how much of the time, as in",
        ),
        (
            json!({"risk": {"memory": "0.5 % of time"}}),
            "spec.risk.memory: Invalid value: \"string\": must say how often, as in \"1 per 30 days\"",
        ),
        (json!({"headroom": {"cpu": -5}}), "spec.headroom.cpu"),
        (json!({"limits": "Off"}), "supported values: \"Keep\", \"Ratio\", \"Equal\", \"None\""),
        (json!({"steps": {"memoryDown": 101}}), "spec.steps.memoryDown"),
        (json!({"threshold": 101}), "spec.threshold"),
        (
            json!({"coolDown": {"up": "5"}}),
            "spec.coolDown.up: Invalid value: \"string\": must be a duration in hours, minutes and seconds",
        ),
        (
            json!({"coolDown": {"down": "1d"}}),
            "spec.coolDown.down: Invalid value: \"string\": must be a duration in hours",
        ),
        (json!({"settle": ""}), "spec.settle: Invalid value: \"string\": must be a duration in hours"),
        (json!({"startup": "-10m"}), "spec.startup: Invalid value: \"string\": must be a duration in hours"),
        (json!({"learn": "a day"}), "spec.learn: Invalid value: \"string\": must be a duration in hours"),
        (
            json!({"giveUpDeferredAfter": "30"}),
            "spec.giveUpDeferredAfter: Invalid value: \"string\": must be a duration in hours",
        ),
        (json!({"windows": [{"schedule": "0 22 * * *", "duration": "8h"}]}), "spec.windows[0].type: Required value"),
        (
            window("@daily", "8h", "UTC"),
            "spec.windows[0].schedule: Invalid value: \"string\": must be five cron fields",
        ),
        (
            window("0 0 22 * * *", "8h", "UTC"),
            "spec.windows[0].schedule: Invalid value: \"string\": must be five cron fields",
        ),
        (
            window("0 22 * * *", "169h", "UTC"),
            "spec.windows[0].duration: Invalid value: \"string\": must be a duration of at most 168h",
        ),
        (
            window("0 22 * * *", "0s", "UTC"),
            "spec.windows[0].duration: Invalid value: \"string\": must be a duration of at most 168h",
        ),
        (
            window("0 22 * * *", "8h", "Berlin!"),
            "spec.windows[0].timeZone: Invalid value: \"string\": must be the name of a time zone",
        ),
        (
            schedule("8", "8h", "UTC", sized()),
            "spec.schedules[0].schedule: Invalid value: \"string\": must be five cron fields",
        ),
        (
            schedule("0 8 * * *", "8", "UTC", sized()),
            "spec.schedules[0].duration: Invalid value: \"string\": must be a duration of at most 168h",
        ),
        (
            schedule("0 8 * * *", "8h", "+1", sized()),
            "spec.schedules[0].timeZone: Invalid value: \"string\": must be the name of a time zone",
        ),
        (schedule("0 8 * * *", "8h", "UTC", json!([])), "spec.schedules[0].containerPolicies"),
        (
            schedule("0 8 * * *", "8h", "UTC", json!([{"containerName": "a"}])),
            "spec.schedules[0].containerPolicies[0]: Invalid value: \"object\": must say minAllowed, maxAllowed or both",
        ),
        (
            schedule("0 8 * * *", "8h", "UTC", json!([{"containerName": "", "minAllowed": {"cpu": 1}}])),
            "must be the name of a container, or \"*\" for all that are not named",
        ),
        (json!({"paused": {"until": "2026-12-01T06:00:00Z"}}), "spec.paused.reason: Required value"),
        (json!({"paused": {"until": "tomorrow", "reason": "sale"}}), "spec.paused.until"),
        (json!({"hpa": "Ignore"}), "supported values: \"Refuse\", \"Adjust\", \"refuse\", \"adjust\""),
        (json!({"podsAtOnce": 0}), "spec.podsAtOnce"),
        (json!({"namespacePodsAtOnce": 0}), "spec.namespacePodsAtOnce"),
        (json!({"minConfidence": 101}), "spec.minConfidence"),
        (
            guard(json!({"name": "errors", "query": "up"})),
            "spec.guards[0]: Invalid value: \"object\": must say above, below or both",
        ),
        (
            guard(json!({"name": "", "query": "up", "above": 1})),
            "spec.guards[0].name: Invalid value: \"string\": must have a name",
        ),
        (
            guard(json!({"name": "errors", "query": "", "above": 1})),
            "spec.guards[0].query: Invalid value: \"string\": must be a PromQL expression",
        ),
        (guard(json!({"name": "errors", "query": "up", "above": "high"})), "spec.guards[0].above"),
        (
            json!({"guards": (0..11).map(|it| json!({"name": format!("g{it}"), "query": "up", "below": 1})).collect::<Vec<_>>()}),
            "must have at most 10 items",
        ),
    ]
}

#[tokio::test]
async fn what_the_rules_forbid_is_refused_in_our_words() {
    let client = server().await;
    let mut messages = Vec::new();
    for (spec, part) in refused() {
        let message = create(&client, &policy(&spec)).await.expect_err(&format!("{spec} is taken"));
        assert!(message.contains(part), "{spec}: {message:?} has no {part:?}");
        messages.push(message);
    }
    // Every rule is broken by one of them, in the field it is about.
    let broken: BTreeSet<(&str, &str)> = crd::RULES
        .iter()
        .filter(|it| messages.iter().any(|said| said.contains(it.message) && said.contains(&at(it.at))))
        .map(|it| (it.at, it.message))
        .collect();
    let missing: Vec<_> = crd::RULES.iter().map(|it| (it.at, it.message)).filter(|it| !broken.contains(it)).collect();
    assert_eq!(missing, [], "no object breaks these rules");
}

/// `windows[].schedule` as a message names its first element.
fn at(path: &str) -> String {
    if path.is_empty() { "spec: ".to_owned() } else { format!("spec.{}: ", path.replace("[]", "[0]")) }
}

#[tokio::test]
async fn the_cluster_s_kind_has_the_same_rules_and_selects_namespaces() {
    let client = server().await;
    let of = |name: &str, spec: Value| json!({"apiVersion": "supple.dev/v1alpha1", "kind": "ClusterRightsizePolicy", "metadata": {"name": name}, "spec": spec});
    let namespaces = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}, "weight": 3});
    let stored = create(&client, &of("good", namespaces.clone())).await.unwrap();
    assert_eq!(stored.data["spec"], namespaces);
    let message = create(&client, &of("bad", json!({"settle": "soon"}))).await.unwrap_err();
    assert!(message.contains("must be a duration in hours, minutes and seconds"), "{message}");
    // The namespaced kind has no such field: it is cut off, not stored.
    let stored = create(&client, &policy(&json!({"namespaceSelector": {}, "weight": 3}))).await.unwrap();
    assert_eq!(stored.data["spec"], json!({"weight": 3}));
}

#[tokio::test]
async fn a_rightsizing_keeps_its_workload() {
    let client = server().await;
    let object = |name: &str| {
        json!({
            "apiVersion": "supple.dev/v1alpha1", "kind": "Rightsizing",
            "metadata": {"name": "deployment-web", "namespace": "shop"},
            "spec": {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}},
        })
    };
    create(&client, &object("web")).await.unwrap();
    let api: Api<supple_api::Rightsizing> = Api::namespaced(client, "shop");
    let mut stored = api.get("deployment-web").await.unwrap();
    stored.spec.workload_ref.name = "other".to_owned();
    let error = api.replace("deployment-web", &PostParams::default(), &stored).await.unwrap_err();
    assert!(error.to_string().contains("a Rightsizing is about one workload for good"), "{error}");
}
