//! Custom resources as a client meets them: a definition brings a kind, its objects behave as those of any other kind,
//! and both survive a restart and go in order.

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use supple_apiserver::{ApiServer, Options, Storage};

use crate::harness::{APPLY, Harness, JSON_PATCH, MERGE, STRATEGIC, TestClock, Watch};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/n/widgets";
const WIDGET: &str = "/apis/example.com/v1/namespaces/n/widgets/w";

/// A definition that uses most of what a schema can say.
fn widgets() -> Value {
    supple_apiserver::fields::parse_yaml(include_bytes!("../fixtures/widgets.yaml")).unwrap().value
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn with_widgets() -> Harness {
    let it = Harness::new().await;
    it.post(CRDS, widgets()).await.expect(201);
    it
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let found = object["status"]["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == kind));
    &found.expect("the condition is there")["status"]
}

/// As an API server of 1.36.2 answered, path for path.
#[tokio::test]
async fn what_nobody_serves_is_a_page_and_no_status() {
    let it = Harness::new().await;
    it.post(CRDS, widgets()).await.expect(201);
    for path in ["/nope", "/apis/nope.dev", "/apis/nope.dev/v1", "/apis/example.com/v9", "/apis/example.com/v1/nopes"] {
        let page = it.get(path).await;
        assert_eq!((page.code, page.text.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8", "{path}");
    }
    let pod = "/api/v1/namespaces/default/pods/x";
    for path in [
        "/api/v9",
        "/api/v1/nopes",
        "/apis/apps/v9",
        "/apis/apps/v1/nopes",
        &format!("{pod}/nope"),
        &format!("{pod}/resize/y"),
    ] {
        let status = it.get(path).await.expect(404);
        assert_eq!(status["reason"], "NotFound", "{path}");
        assert_eq!(status["message"], "the server could not find the requested resource", "{path}");
    }
}

#[tokio::test]
async fn a_definition_brings_a_kind() {
    let it = Harness::new().await;
    it.get(WIDGETS).await.expect(404);
    let created = it.post(CRDS, widgets()).await.expect(201);
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["spec"]["names"]["singular"], "widget");
    assert_eq!(created["spec"]["names"]["listKind"], "WidgetList");
    let definition = it.get(&format!("{CRDS}/widgets.example.com")).await.expect(200);
    for kind in ["NamesAccepted", "Established"] {
        assert_eq!(condition(&definition, kind), "True");
    }
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(definition["status"]["acceptedNames"]["plural"], "widgets");

    let list = it.get(WIDGETS).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("WidgetList"), &json!("example.com/v1")));
    let groups = it.get("/apis").await.expect(200);
    assert!(groups["groups"].as_array().unwrap().iter().any(|it| it["name"] == "example.com"));
    let resources = it.get("/apis/example.com/v1").await.expect(200);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    assert_eq!(resources["resources"][0]["categories"], json!(["all"]));
    assert_eq!(resources["resources"][1]["name"], "widgets/status");
    let aggregated = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let aggregated = it.call("GET", "/apis", &aggregated, "").await.expect(200);
    assert!(aggregated["items"].as_array().unwrap().iter().any(|it| it["metadata"]["name"] == "example.com"));
    let index = it.get("/openapi/v3").await.expect(200);
    assert!(index["paths"]["apis/example.com/v1"].is_object());
    let document = it.get("/openapi/v3/apis/example.com/v1").await.expect(200);
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["maximum"], 100);
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    assert!(document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
}

#[tokio::test]
async fn its_objects_are_objects_like_any_other() {
    let it = with_widgets().await;
    let created = it.post(WIDGETS, widget("w", json!({"size": 3, "port": "http"}))).await.expect(201);
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["spec"]["color"], "red", "defaulted");
    it.post(WIDGETS, widget("w", json!({"size": 3}))).await.expect(409);
    // The status has a path of its own, and another specification is another generation.
    let mut next = created.clone();
    next["spec"]["size"] = 4.into();
    next["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let next = it.put(WIDGET, next).await.expect(200);
    assert_eq!((&next["metadata"]["generation"], &next["status"]), (&json!(2), &Value::Null));
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "spec": {"size": 9}});
    let next = it.patch(&format!("{WIDGET}/status"), MERGE, status).await.expect(200);
    assert_eq!((&next["metadata"]["generation"], &next["spec"]["size"]), (&json!(2), &json!(4)));
    assert_eq!(next["status"]["conditions"][0]["status"], "True");
    let operations = json!([{"op": "replace", "path": "/spec/color", "value": "blue"}]);
    it.patch(WIDGET, JSON_PATCH, operations).await.expect(200);
    let refused = it.patch(WIDGET, STRATEGIC, json!({"spec": {"size": 5}})).await;
    assert_eq!(refused.code, 415);
    assert!(refused.message().contains("application/merge-patch+json, application/apply-patch+yaml"));
    // A PUT says what it builds on.
    let mut blind = next.clone();
    blind["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    it.put(WIDGET, blind).await.expect(422);
    it.put(WIDGET, created).await.expect(409);

    it.post(WIDGETS, widget("x", json!({"size": 1}))).await.expect(201);
    let of = |query: &str| format!("{WIDGETS}?{query}");
    let blue = it.get(&of("fieldSelector=spec.color%3Dblue")).await.expect(200);
    assert_eq!(blue["items"].as_array().unwrap().len(), 1);
    it.get(&of("fieldSelector=spec.size%3D1")).await.expect(400);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = it.call("GET", WIDGETS, &table, "").await.expect(200);
    let titles: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Name", "Size", "Ready", "Since"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("w"), json!(4), json!("True")]);
    assert_eq!(table["rows"][1]["cells"].as_array().unwrap()[..3], [json!("x"), json!(1), Value::Null]);

    it.delete(WIDGET).await.expect(200);
    it.delete(WIDGETS).await.expect(200);
    it.get(WIDGET).await.expect(404);
    assert_eq!(it.get(WIDGETS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn what_its_schema_does_not_allow_is_refused() {
    let it = with_widgets().await;
    let causes = async |spec: Value| -> Vec<String> {
        let refused = it.post(WIDGETS, widget("w", spec)).await.expect(422);
        let causes = refused["details"]["causes"].as_array().unwrap().iter();
        causes.map(|it| format!("{}: {}", it["field"].as_str().unwrap(), it["message"].as_str().unwrap())).collect()
    };
    assert_eq!(causes(json!({})).await, ["spec.size: Required value"]);
    assert_eq!(
        causes(json!({"size": "big"})).await,
        ["spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\""]
    );
    assert_eq!(
        causes(json!({"size": 0})).await,
        ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]
    );
    assert_eq!(
        causes(json!({"size": 1, "color": "green"})).await,
        ["spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\""]
    );
    assert_eq!(
        causes(json!({"size": 1, "port": true})).await,
        ["spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\""]
    );
    assert_eq!(causes(json!({"size": 1, "tags": ["a", "a"]})).await, ["spec.tags[1]: Duplicate value: \"a\""]);
    assert_eq!(
        causes(json!({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]})).await,
        ["spec.parts[1]: Duplicate value: {\"name\":\"a\"}"]
    );
    assert_eq!(
        causes(json!({"size": 9, "most": 5})).await,
        ["spec: Invalid value: \"object\": one that is red is not as large as this"]
    );
    it.post(WIDGETS, widget("w", json!({"size": 9}))).await.expect(201);
    let refused = it.patch(WIDGET, MERGE, json!({"spec": {"size": 8}})).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.message(),
        "Widget.example.com \"w\" is invalid: spec.size: Forbidden: a widget does not shrink"
    );
}

#[tokio::test]
async fn unknown_fields_go_and_are_named() {
    let it = with_widgets().await;
    let bogus =
        widget("w", json!({"size": 1, "bogus": 1, "free": {"any": {"thing": 1}}, "parts": [{"name": "a", "no": 1}]}));
    let created = it.post(WIDGETS, bogus.clone()).await;
    assert_eq!(
        created.warnings(),
        ["299 - \"unknown field \\\"spec.bogus\\\"\"", "299 - \"unknown field \\\"spec.parts[0].no\\\"\""]
    );
    let created = created.expect(201);
    assert_eq!(
        created["spec"],
        json!({"color": "red", "size": 1, "free": {"any": {"thing": 1}}, "parts": [{"name": "a"}]})
    );
    let strict = it.post(&format!("{WIDGETS}?fieldValidation=Strict"), bogus).await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.message(),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.bogus\", \
         unknown field \"spec.parts[0].no\""
    );
    let mut odd = widget("x", json!({"size": 1}));
    odd["metadata"]["bogus"] = 1.into();
    let created = it.post(WIDGETS, odd).await;
    assert_eq!(created.warnings(), ["299 - \"unknown field \\\"metadata.bogus\\\"\""]);
}

#[tokio::test]
async fn its_fields_have_owners() {
    let it = with_widgets().await;
    let apply = async |manager: &str, spec: Value| {
        it.patch(&format!("{WIDGET}?fieldManager={manager}"), APPLY, widget("w", spec)).await
    };
    apply("a", json!({"size": 1, "parts": [{"name": "a", "count": 1}], "tags": ["a"]})).await.expect(201);
    let merged = apply("b", json!({"parts": [{"name": "b", "count": 2}], "tags": ["b"]})).await.expect(200);
    assert_eq!(merged["spec"]["parts"], json!([{"name": "a", "count": 1}, {"name": "b", "count": 2}]));
    assert_eq!(merged["spec"]["tags"], json!(["a", "b"]));
    let refused = apply("b", json!({"size": 2})).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (409, Some("Conflict")));
    let left = apply("a", json!({"size": 1})).await.expect(200);
    assert_eq!(left["spec"]["parts"], json!([{"name": "b", "count": 2}]));
    let unknown = apply("a", json!({"size": 1, "bogus": 1})).await;
    assert!(unknown.message().contains(".spec.bogus: field not declared in schema"), "{}", unknown.text);
    let managers = left["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().all(|it| it["apiVersion"] == "example.com/v1"));
}

/// A watch is told of everything, and ends when the kind goes.
#[tokio::test]
async fn a_definition_goes_after_its_objects() {
    let it = with_widgets().await;
    let mut held = widget("held", json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    it.post(WIDGETS, held).await.expect(201);
    it.post(WIDGETS, widget("w", json!({"size": 1}))).await.expect(201);
    let mut watch = Watch::begin(&it, "/apis/example.com/v1/widgets?watch=true", &[]).await;
    assert_eq!(watch.words(2).await, ["ADDED held", "ADDED w"]);
    let path = format!("{CRDS}/widgets.example.com");
    let marked = it.delete(&path).await.expect(200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let waiting = it.get(&path).await.expect(200);
    assert_eq!(condition(&waiting, "Terminating"), "True");
    it.get(WIDGET).await.expect(404);
    let refused = it.post(WIDGETS, widget("new", json!({"size": 1}))).await;
    assert_eq!(refused.code, 405);
    assert_eq!(refused.message(), "create not allowed while custom resource definition is terminating");
    it.patch(&format!("{WIDGETS}/held"), MERGE, json!({"metadata": {"finalizers": null}})).await.expect(200);
    it.get(&path).await.expect(404);
    it.get(WIDGETS).await.expect(404);
    let words = watch.words(4).await;
    assert_eq!(words, ["MODIFIED held", "DELETED w", "DELETED held", "end"]);
    // The same names are free again.
    it.post(CRDS, widgets()).await.expect(201);
    it.post(WIDGETS, widget("w", json!({"size": 1}))).await.expect(201);
}

#[tokio::test]
async fn names_are_given_once() {
    let it = with_widgets().await;
    let mut other = widgets();
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget", "listKind": "GadgetList"});
    it.post(CRDS, other).await.expect(201);
    let path = format!("{CRDS}/gadgets.example.com");
    let refused = it.get(&path).await.expect(200);
    assert_eq!(
        (condition(&refused, "NamesAccepted"), condition(&refused, "Established")),
        (&json!("False"), &json!("False"))
    );
    let words = refused["status"]["conditions"][0].clone();
    assert_eq!(
        (&words["reason"], &words["message"]),
        (&json!("SingularConflict"), &json!("\"widget\" is already in use"))
    );
    it.get("/apis/example.com/v1/gadgets").await.expect(404);
    it.delete(&format!("{CRDS}/widgets.example.com")).await.expect(200);
    assert_eq!(condition(&it.get(&path).await.expect(200), "Established"), "True");
    it.get("/apis/example.com/v1/gadgets").await.expect(200);
}

#[tokio::test]
async fn kinds_and_objects_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { storage: Storage::Durable(folder.path().join("store")), ..Options::in_memory() };
    let it = Harness::with(options()).await;
    it.post(CRDS, widgets()).await.expect(201);
    it.post(WIDGETS, widget("w", json!({"size": 2, "color": "blue"}))).await.expect(201);
    drop(it);
    let it = Harness::with(options()).await;
    assert_eq!(it.get(WIDGET).await.expect(200)["spec"]["size"], 2);
    let blue = it.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dblue")).await.expect(200);
    assert_eq!(blue["items"].as_array().unwrap().len(), 1);
    it.patch(WIDGET, MERGE, json!({"spec": {"size": 1}})).await.expect(422);
}

/// Versions differ in nothing but their name; each is answered in its own.
#[tokio::test]
async fn several_versions_show_the_same_objects() {
    let it = Harness::new().await;
    let mut definition = widgets();
    let mut beta = definition["spec"]["versions"][0].clone();
    beta["name"] = "v1beta1".into();
    beta["storage"] = false.into();
    beta["deprecated"] = true.into();
    definition["spec"]["versions"].as_array_mut().unwrap().insert(0, beta);
    it.post(CRDS, definition).await.expect(201);
    let group = it.get("/apis/example.com").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v1");
    it.post(WIDGETS, widget("w", json!({"size": 2}))).await.expect(201);
    let old = it.get("/apis/example.com/v1beta1/namespaces/n/widgets/w").await;
    assert_eq!(old.warnings(), ["299 - \"example.com/v1beta1 Widget is deprecated\""]);
    let mut old = old.expect(200);
    assert_eq!(old["apiVersion"], "example.com/v1beta1");
    old["spec"]["size"] = 3.into();
    it.put("/apis/example.com/v1beta1/namespaces/n/widgets/w", old).await.expect(200);
    let new = it.get(WIDGET).await.expect(200);
    assert_eq!((&new["apiVersion"], &new["spec"]["size"]), (&json!("example.com/v1"), &json!(3)));
    let list = it.get("/apis/example.com/v1beta1/widgets").await.expect(200);
    assert_eq!(list["items"][0]["apiVersion"], "example.com/v1beta1");
}

#[tokio::test]
async fn its_objects_are_scaled_like_any_other() {
    let it = with_widgets().await;
    it.post(WIDGETS, widget("w", json!({"size": 2}))).await.expect(201);
    it.set_status(WIDGET, json!({"size": 1, "selector": "app=w"})).await;
    let scale = it.get(&format!("{WIDGET}/scale")).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=w"}));
    let scaled = it.patch(&format!("{WIDGET}/scale"), MERGE, json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    let widget = it.get(WIDGET).await.expect(200);
    assert_eq!((&widget["spec"]["size"], &widget["metadata"]["generation"]), (&json!(5), &json!(2)));
    // Its schema and its rules hold on this way too.
    it.patch(&format!("{WIDGET}/scale"), MERGE, json!({"spec": {"replicas": 101}})).await.expect(422);
    it.patch(&format!("{WIDGET}/scale"), MERGE, json!({"spec": {"replicas": 1}})).await.expect(422);
}

/// An object that a schema would no longer accept stays changeable where it is not about the change.
#[tokio::test]
async fn what_has_not_changed_is_not_refused() {
    let it = with_widgets().await;
    it.post(WIDGETS, widget("w", json!({"size": 50}))).await.expect(201);
    let path = format!("{CRDS}/widgets.example.com");
    let size = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum";
    it.patch(&path, JSON_PATCH, json!([{"op": "replace", "path": size, "value": 10}])).await.expect(200);
    assert_eq!(it.get(&path).await.expect(200)["metadata"]["generation"], 2);
    it.post(WIDGETS, widget("x", json!({"size": 50}))).await.expect(422);
    it.patch(WIDGET, MERGE, json!({"spec": {"color": "blue"}})).await.expect(200);
    it.patch(WIDGET, MERGE, json!({"spec": {"size": 60}})).await.expect(422);
}

/// A policy as this project's own definitions are written: derived, with rules.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "supple.dev",
    version = "v1alpha1",
    kind = "SizePolicy",
    namespaced,
    status = "SizePolicyStatus",
    shortname = "szp",
    validation = "!has(self.spec.most) || self.spec.least <= self.spec.most",
    printcolumn(name = "Least", type_ = "integer", json_path = ".spec.least")
)]
#[serde(rename_all = "camelCase")]
struct SizePolicySpec {
    #[x_kube(validation = "self >= 0")]
    least: i64,
    most: Option<i64>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
enum Mode {
    #[default]
    Off,
    InPlace,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default)]
struct SizePolicyStatus {
    phase: Option<String>,
}

#[tokio::test]
async fn derived_definitions_are_served() {
    let clock = TestClock::new();
    let server = ApiServer::open(Options { clock: clock.clone(), ..Options::in_memory() }).unwrap();
    let client = server.client("default");
    let definitions: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(client.clone());
    definitions
        .patch(SizePolicy::crd_name(), &PatchParams::apply("supple"), &Patch::Apply(SizePolicy::crd()))
        .await
        .unwrap();
    let policies: Api<SizePolicy> = Api::default_namespaced(client);
    let new = |least, most| SizePolicy::new("p", SizePolicySpec { least, most, mode: Mode::InPlace });
    for (least, most, why) in [(-1, None, "spec.least"), (5, Some(2), "failed rule")] {
        let refused = policies.create(&PostParams::default(), &new(least, most)).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let created = policies.create(&PostParams::default(), &new(1, Some(2))).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let status = json!({"status": {"phase": "Ready"}});
    let status = policies.patch_status("p", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    assert_eq!(status.status.unwrap().phase.as_deref(), Some("Ready"));
    clock.advance(1);
}

#[tokio::test]
async fn the_vertical_pod_autoscaler_can_be_used() {
    let it = Harness::new().await;
    let definitions = include_str!("../fixtures/vpa-crds.yaml");
    for definition in definitions.split("\n---\n") {
        it.call("POST", CRDS, &[("content-type", "application/yaml")], definition.to_owned()).await.expect(201);
    }
    let path = "/apis/autoscaling.k8s.io/v1/namespaces/n/verticalpodautoscalers";
    let vpa = |mode: &str, cpu: Value| {
        json!({
            "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "updatePolicy": {"updateMode": mode},
                "resourcePolicy": {"containerPolicies": [{"containerName": "*", "maxAllowed": {"cpu": cpu}}]},
            },
        })
    };
    it.post(path, vpa("Sometimes", json!("1"))).await.expect(422);
    it.post(path, vpa("Off", json!("one"))).await.expect(422);
    it.post(path, vpa("Off", json!(2))).await.expect(201);
    let status = json!({"status": {
        "conditions": [{"type": "RecommendationProvided", "status": "True"}],
        "recommendation": {"containerRecommendations": [{"containerName": "app", "target": {"cpu": "250m", "memory": "64Mi"}}]},
    }});
    it.patch(&format!("{path}/web/status"), MERGE, status).await.expect(200);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = it.call("GET", path, &table, "").await.expect(200);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..5], ["web", "Off", "250m", "64Mi", "True"].map(Value::from));
    let checkpoint = json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscalerCheckpoint", "metadata": {"name": "c"},
        "spec": {"vpaObjectName": "web"},
        "status": {"cpuHistogram": {"bucketWeights": {"0": 1, "7": 3}}, "lastUpdateTime": null},
    });
    let path = "/apis/autoscaling.k8s.io/v1/namespaces/n/verticalpodautoscalercheckpoints";
    let made = it.post(path, checkpoint.clone()).await.expect(201);
    assert_eq!(made["spec"]["vpaObjectName"], "web");
    let written =
        it.patch(&format!("{path}/c/status"), MERGE, json!({"status": checkpoint["status"]})).await.expect(200);
    assert_eq!(written["status"]["cpuHistogram"]["bucketWeights"], json!({"0": 1, "7": 3}));
}
