//! Discovery documents, entry by entry as recorded from the reference for the kinds we serve.

use serde_json::{Value, json};
use supple_apiserver::discovery;
use supple_apiserver::kinds::{self, Rows, TABLE};

use crate::conformance;

/// The entry of this name in a list of objects.
fn named<'a>(list: &'a Value, key: &str, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it[key] == name)
}

#[test]
fn plain_lists_are_those_of_the_reference() {
    let Some(recorded) = conformance::load("discovery.json") else { return };
    let mut compared = 0;
    for (path, expected) in recorded["plain"].as_object().expect("documents by path") {
        let mut parts = path.trim_start_matches("/api/").trim_start_matches("/apis/").rsplit('/');
        let (version, group) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let Some(ours) = discovery::resource_list(Rows::built_in(), group, version) else { continue };
        for field in ["kind", "apiVersion", "groupVersion"] {
            assert_eq!(ours.get(field), expected.get(field), "{path}: {field}");
        }
        for entry in ours["resources"].as_array().expect("a list") {
            let name = entry["name"].as_str().expect("a name");
            assert_eq!(Some(entry), named(&expected["resources"], "name", name), "{path}: {name}");
            compared += 1;
        }
    }
    assert!(compared >= 48, "only {compared} entries compared");
    for entry in discovery::group_list(Rows::built_in())["groups"].as_array().expect("a list") {
        let name = entry["name"].as_str().expect("a name");
        // Metrics come from an extension in the reference.
        if name == "metrics.k8s.io" {
            continue;
        }
        let theirs = named(&recorded["plain"]["/apis"]["groups"], "name", name).expect("recorded");
        assert_eq!(entry["preferredVersion"], theirs["preferredVersion"], "{name}");
        // Of the versions we serve some, those that are stable.
        for version in entry["versions"].as_array().expect("versions") {
            let of = version["version"].as_str().expect("a version");
            assert_eq!(Some(version), named(&theirs["versions"], "version", of), "{name}");
        }
    }
    assert_eq!(discovery::api_versions("127.0.0.1:6443"), recorded["plain"]["/api"]);
}

#[test]
fn aggregated_documents_are_those_of_the_reference() {
    let Some(recorded) = conformance::load("discovery.json") else { return };
    let documents = [
        ("/api", discovery::aggregated_core(Rows::built_in())),
        ("/apis", discovery::aggregated_groups(Rows::built_in())),
    ];
    let mut compared = 0;
    for (path, ours) in documents {
        let expected = &recorded["aggregated"][path];
        assert_eq!(expected["contentType"], discovery::AGGREGATED_CONTENT_TYPE);
        for field in ["kind", "apiVersion", "metadata"] {
            assert_eq!(ours[field], expected["body"][field], "{path}: {field}");
        }
        for group in ours["items"].as_array().expect("groups") {
            let name = &group["metadata"];
            if name["name"] == "metrics.k8s.io" {
                continue;
            }
            let theirs =
                expected["body"]["items"].as_array().expect("groups").iter().find(|it| &it["metadata"] == name);
            let theirs = theirs.expect("the reference has the group");
            for version in group["versions"].as_array().expect("versions") {
                let their_version =
                    named(&theirs["versions"], "version", version["version"].as_str().expect("a version"))
                        .expect("recorded");
                assert_eq!(version["freshness"], their_version["freshness"]);
                for resource in version["resources"].as_array().expect("resources") {
                    let plural = resource["resource"].as_str().expect("a name");
                    let their_resource = named(&their_version["resources"], "resource", plural).expect("recorded");
                    // Of the subresources we serve some: those we have must be the same.
                    let strip = |value: &Value| {
                        let mut value = value.clone();
                        value.as_object_mut().map(|it| it.remove("subresources"));
                        value
                    };
                    assert_eq!(strip(resource), strip(their_resource), "{path}: {plural}");
                    for subresource in resource["subresources"].as_array().into_iter().flatten() {
                        let name = subresource["subresource"].as_str().expect("a name");
                        assert_eq!(
                            Some(subresource),
                            named(&their_resource["subresources"], "subresource", name),
                            "{path}: {plural}/{name}"
                        );
                        compared += 1;
                    }
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 48, "only {compared} entries compared");
}

#[test]
fn groups_are_found_by_name() {
    assert_eq!(discovery::group(Rows::built_in(), "policy-of-nobody"), None);
    assert_eq!(
        discovery::group(Rows::built_in(), "coordination.k8s.io"),
        Some(json!({
            "kind": "APIGroup", "apiVersion": "v1", "name": "coordination.k8s.io",
            "versions": [{"groupVersion": "coordination.k8s.io/v1", "version": "v1"}],
            "preferredVersion": {"groupVersion": "coordination.k8s.io/v1", "version": "v1"},
        }))
    );
    assert_eq!(discovery::resource_list(Rows::built_in(), "coordination.k8s.io", "v2"), None);
    assert_eq!(discovery::version()["minor"], "36");
}

#[test]
fn the_table_of_resources_is_consistent() {
    for resource in TABLE {
        let again = kinds::find(resource.group, resource.version, resource.plural).expect("found by its own name");
        assert!(std::ptr::eq(again, resource), "{} is twice in the table", resource.qualified());
        assert!(
            !resource.kind.is_empty() && resource.list_kind == format!("{}List", resource.kind),
            "{}",
            resource.qualified()
        );
        assert_eq!(resource.type_of.is_some(), resource.shape().is_some(), "{}", resource.qualified());
        let sent = !matches!(resource.backing, kinds::Backing::Metrics);
        assert_eq!(sent, resource.type_of.is_some(), "{}", resource.qualified());
        for subresource in resource.subresources {
            assert_eq!(subresource.body.is_some(), subresource.body.and_then(|it| it.type_of.shape()).is_some());
        }
        if resource.type_of.is_some() {
            let by_kind = kinds::by_kind(&resource.api_version(), resource.kind).expect("found by its kind");
            assert!(std::ptr::eq(by_kind, resource));
        }
    }
}
