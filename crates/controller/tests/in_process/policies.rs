//! What is written on policies themselves: whom they speak of, and what of them could not be read.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use supple_api::policy::PolicyStatus;
use supple_api::{ClusterRightsizePolicy, RightsizePolicy};

use super::lab::Lab;

/// Some rounds of virtual time.
async fn rounds() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn status(lab: &Lab, name: &str) -> PolicyStatus {
    Api::<RightsizePolicy>::default_namespaced(lab.client.clone()).get(name).await.unwrap().status.unwrap_or_default()
}

#[track_caller]
fn check(status: &PolicyStatus, workloads: i32, kind: &str, expect: (&str, &str)) -> Condition {
    assert_eq!(status.matched_workloads, workloads);
    let found = status.conditions.iter().find(|it| it.type_ == kind).unwrap();
    assert_eq!((found.status.as_str(), found.reason.as_str()), expect, "{}", found.message);
    found.clone()
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_whom_it_speaks_of_and_what_could_not_be_read() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let base = json!({"metadata": {"name": "base"}, "spec": {"threshold": 5}});
    let cluster = Api::<ClusterRightsizePolicy>::all(lab.client.clone());
    cluster.create(&PostParams::default(), &serde_json::from_value(base).unwrap()).await.unwrap();
    for name in ["a", "b"] {
        lab.pod(name, "100m/64Mi", "200m/128Mi", "cpu=50m memory=40Mi").await;
    }
    let work = lab.begin();
    rounds().await;
    let first = status(&lab, "quick").await;
    check(&first, 2, "Valid", ("True", "Read"));
    check(&first, 2, "Contested", ("False", "Alone"));
    assert!(lab.told("quick").await.is_empty(), "there is nothing its author has to know");
    assert_eq!(first.observed_generation, Some(1));
    let of_cluster = cluster.get("base").await.unwrap();
    check(of_cluster.status.as_ref().unwrap(), 2, "Valid", ("True", "Read"));
    let owner = of_cluster.metadata.managed_fields.unwrap();
    let owner = owner.iter().find(|it| it.subresource.as_deref() == Some("status")).unwrap();
    assert_eq!((owner.manager.as_deref(), owner.operation.as_deref()), (Some("supple"), Some("Apply")));

    // Nothing is written that stands there already.
    let policies = Api::<RightsizePolicy>::default_namespaced(lab.client.clone());
    let version = |it: RightsizePolicy| it.metadata.resource_version;
    let before = version(policies.get("quick").await.unwrap());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(version(policies.get("quick").await.unwrap()), before);

    // A younger one of the same weight contradicts it; a workload goes; and somebody writes what nobody can read. What
    // another program says in its status stays.
    lab.policy("younger", json!({"settle": "2m"})).await;
    lab.pods().delete("b", &DeleteParams::default().grace_period(0)).await.unwrap();
    let wrong = json!({"spec": {"windows": [{"type": "Allow", "schedule": "99 * * * *", "duration": "1h"}]}});
    policies.patch("quick", &PatchParams::default(), &Patch::Merge(wrong)).await.unwrap();
    let reviewed = json!({"apiVersion": "supple.dev/v1alpha1", "kind": "RightsizePolicy", "metadata": {"name": "quick"},
        "status": {"conditions": [{"type": "Reviewed", "status": "True", "reason": "ByAnn", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    policies.patch_status("quick", &PatchParams::apply("reviewer"), &Patch::Apply(reviewed)).await.unwrap();
    rounds().await;
    let second = status(&lab, "quick").await;
    let valid = check(&second, 1, "Valid", ("False", "NotRead"));
    assert!(valid.message.contains("spec.windows[0].schedule"), "{}", valid.message);
    check(&second, 1, "Reviewed", ("True", "ByAnn"));
    assert_eq!(second.observed_generation, Some(2));
    let contested = check(&status(&lab, "younger").await, 1, "Contested", ("True", "SameWeight"));
    assert!(contested.message.contains("rightsizepolicy/default/quick"), "{}", contested.message);
    assert_eq!(lab.told("quick").await, ["NotRead"]);
    assert_eq!(lab.told("younger").await, ["SameWeight"]);

    // What is told once is not told again, not even by whoever leads next; what is mended is.
    work.end().await;
    let work = lab.begin();
    let pause = json!({"windows": null, "paused": {"until": "2026-02-01T00:00:00Z", "reason": "stocktaking"}});
    policies.patch("quick", &PatchParams::default(), &Patch::Merge(json!({"spec": pause}))).await.unwrap();
    let nobody = json!({"spec": {"targetRef": {"kind": "Deployment", "name": "weg"}}});
    policies.patch("younger", &PatchParams::default(), &Patch::Merge(nobody)).await.unwrap();
    rounds().await;
    let mut told = lab.told("quick").await;
    told.sort(); // two of them are of one moment
    assert_eq!(told, ["NotRead", "Paused", "Read"]);
    assert_eq!(lab.told("younger").await, ["SameWeight", "SelectsNothing"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // Those events have expired by now; none came after them.
    assert_eq!(lab.told("quick").await.len() + lab.told("younger").await.len(), 0);
    work.end().await;
    lab.cluster.stop().await;
}
