//! OpenAPI: what kubectl looks for in the documents, and that they hold together.

use serde_json::Value;
use supple_apiserver::kinds::{Rows, TABLE, Verb};
use supple_apiserver::openapi;

fn document(path: &str) -> Value {
    serde_json::from_slice(&Rows::built_in().documents().get(path).expect("served").body).expect("JSON")
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

#[test]
fn the_index_names_every_document() {
    let index = Rows::built_in().documents().index();
    for (path, entry) in index["paths"].as_object().expect("paths") {
        let document = Rows::built_in().documents().get(path).expect("every indexed document is served");
        assert_eq!(entry["serverRelativeURL"], format!("/openapi/v3/{path}?hash={}", document.hash));
    }
    for resource in TABLE {
        assert!(!index["paths"][path_of(resource.group, resource.version)].is_null(), "{}", resource.qualified());
    }
    assert!(Rows::built_in().documents().get("api/v2").is_none());
}

/// kubectl asks for validation by the server only if a PATCH of the kind takes `fieldValidation`, and takes merge keys from
/// the document only if that PATCH takes strategic merge patches.
#[test]
fn every_kind_can_be_patched_with_field_validation() {
    for resource in TABLE.iter().filter(|it| it.allows(Verb::Patch)) {
        let document = document(&path_of(resource.group, resource.version));
        let patches: Vec<&Value> = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|it| &it["patch"])
            .filter(|it| it["x-kubernetes-group-version-kind"]["kind"] == resource.kind)
            .collect();
        assert!(!patches.is_empty(), "{}", resource.qualified());
        for patch in patches {
            let parameters = patch["parameters"].as_array().expect("parameters");
            assert!(parameters.iter().any(|it| it["name"] == "fieldValidation" && it["in"] == "query"));
            assert!(!patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_null());
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_kind_has_a_type() {
    fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value.as_str().filter(|_| key == "$ref") {
                        Some(reference) => into.push(reference),
                        None => references(value, into),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, into)),
            _ => {}
        }
    }
    for path in Rows::built_in().documents().index()["paths"].as_object().expect("paths").keys() {
        let document = document(path);
        let mut all = Vec::new();
        references(&document, &mut all);
        for reference in all {
            let name = reference.strip_prefix("#/components/schemas/").expect("a reference to a type");
            assert!(document["components"]["schemas"].get(name).is_some(), "{path}: {name}");
        }
        for resource in TABLE.iter().filter(|it| &path_of(it.group, it.version) == path) {
            let Some(type_of) = resource.type_of else { continue };
            let schema = &document["components"]["schemas"][&*(type_of.name)()];
            assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], resource.kind, "{path}");
        }
    }
}

#[test]
fn merge_keys_and_list_types_are_marked() {
    let document = document("api/v1");
    let pod_spec = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(pod_spec["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(pod_spec["containers"]["x-kubernetes-list-type"], "map");
    assert_eq!(pod_spec["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(pod_spec["tolerations"]["x-kubernetes-list-type"], "atomic");
    let meta = &document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"];
    assert_eq!(meta["finalizers"]["x-kubernetes-list-type"], "set");
}

/// kubectl wants a v2 document before it creates a list, and is content with one that describes nothing.
#[test]
fn the_v2_document_is_whole_and_empty() {
    assert_eq!(
        openapi::v2::protobuf(),
        [b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.2".as_slice(), b"\x42\x00"].concat()
    );
    assert_eq!(openapi::v2::json()["swagger"], "2.0");
}

#[test]
fn every_patch_may_be_an_apply_and_scales_are_described() {
    let document = document("apis/apps/v1");
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths.iter().filter(|(_, item)| !item["patch"].is_null()) {
        let patch = &item["patch"];
        assert!(!patch["requestBody"]["content"]["application/apply-patch+yaml"].is_null(), "{path}");
        let parameters = patch["parameters"].as_array().expect("parameters");
        for wanted in ["dryRun", "fieldManager", "fieldValidation", "force"] {
            assert!(parameters.iter().any(|it| it["name"] == wanted), "{path}: {wanted}");
        }
    }
    let scale = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    for method in ["get", "put", "patch"] {
        assert_eq!(scale[method]["x-kubernetes-group-version-kind"]["kind"], "Scale", "{method}");
    }
    let of = |name: &str, field: &str| {
        document["components"]["schemas"][name]["properties"][field]["x-kubernetes-patch-strategy"].clone()
    };
    assert_eq!(of("io.k8s.api.apps.v1.DeploymentSpec", "strategy"), "retainKeys");
    assert_eq!(of("io.k8s.api.apps.v1.DeploymentStatus", "conditions"), "merge");
}
