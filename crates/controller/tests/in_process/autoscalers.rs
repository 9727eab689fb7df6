//! `VerticalPodAutoscaler` objects that are ours: what is written on them, and what VPA's own recommender had learned.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use supple_api::VerticalPodAutoscaler;
use supple_api::vpa::{VerticalPodAutoscalerCheckpoint, VerticalPodAutoscalerStatus};
use supple_controller::world::Settings;
use supple_decide::code::Code;
use supple_decide::note::LastResize;

use super::lab::{Lab, requests};
use super::looped::is;

/// A cluster that has VPA's kinds, and one pod.
pub async fn lab() -> Lab {
    lab_of(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await
}

/// The same, where the status of an object is of this schema.
async fn lab_of(status: Value) -> Lab {
    let lab = Lab::new().await;
    kinds_of(&lab, status).await;
    lab.policy("quick", json!({})).await;
    lab.pod("web", "1/1Gi", "2/2Gi", "cpu=200m memory=300Mi").await;
    lab
}

/// The status as the definitions of VPA up to 1.6 have it: without `observedGeneration`, which the server leaves out.
fn status_before_1_7() -> Value {
    let condition =
        ["type", "status", "reason", "message", "lastTransitionTime"].map(|it| (it, json!({"type": "string"})));
    let condition = json!({"type": "object", "properties": BTreeMap::from(condition)});
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let fields = json!({"recommendation": any, "conditions": {"type": "array", "items": condition}});
    json!({"type": "object", "properties": fields})
}

/// VPA's two kinds.
pub async fn kinds(lab: &Lab) {
    kinds_of(lab, json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})).await;
}

async fn kinds_of(lab: &Lab, status: Value) {
    let definitions = Api::<CustomResourceDefinition>::all(lab.client.clone());
    for (kind, subresources) in
        [("VerticalPodAutoscaler", json!({"status": {}})), ("VerticalPodAutoscalerCheckpoint", json!({}))]
    {
        let plural = format!("{}s", kind.to_lowercase());
        let mut schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        if kind == "VerticalPodAutoscaler" {
            schema["properties"] = json!({"status": status});
        }
        let definition = json!({
            "metadata": {"name": format!("{plural}.autoscaling.k8s.io"),
                "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797"}},
            "spec": {"group": "autoscaling.k8s.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources,
                    "schema": {"openAPIV3Schema": schema}}]},
        });
        definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    }
}

pub fn autoscalers(lab: &Lab) -> Api<VerticalPodAutoscaler> {
    Api::default_namespaced(lab.client.clone())
}

/// An object of ours.
pub async fn autoscaler(lab: &Lab, name: &str, kind: &str, target: &str, mode: &str) {
    let object = json!({"metadata": {"name": name}, "spec": {
        "targetRef": {"kind": kind, "name": target}, "recommenders": [{"name": "supple"}],
        "updatePolicy": {"updateMode": mode}}});
    autoscalers(lab).create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn status(lab: &Lab, name: &str) -> VerticalPodAutoscalerStatus {
    autoscalers(lab).get(name).await.unwrap().status.unwrap_or_default()
}

#[track_caller]
fn check(status: &VerticalPodAutoscalerStatus, expect: &[&str]) {
    let said = status.conditions.iter().map(|it| {
        let reason = it.reason.as_deref().unwrap_or("-");
        format!("{}={} {reason}", it.type_, it.status)
    });
    let mut said: Vec<String> = said.filter(|it| !it.starts_with("LowConfidence")).collect();
    said.sort();
    assert_eq!(said, expect, "{status:#?}");
}

async fn versions(lab: &Lab, names: &[&str]) -> Vec<Option<String>> {
    let mut versions = Vec::new();
    for name in names {
        versions.push(autoscalers(lab).get(name).await.unwrap().metadata.resource_version);
    }
    versions
}

#[tokio::test(start_paused = true)]
async fn every_object_of_ours_is_told_how_it_stands() {
    let lab = lab().await;
    autoscaler(&lab, "first", "Pod", "web", "InPlaceOrRecreate").await;
    autoscaler(&lab, "second", "Pod", "web", "InPlaceOrRecreate").await;
    autoscaler(&lab, "nobody", "Deployment", "gone", "Auto").await;
    let others = json!({"metadata": {"name": "other"}, "spec": {"targetRef": {"kind": "Deployment", "name": "gone"}}});
    autoscalers(&lab).create(&PostParams::default(), &serde_json::from_value(others).unwrap()).await.unwrap();
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(900)).await;

    let first = status(&lab, "first").await;
    check(&first, &["RecommendationProvided=True -"]);
    let recommended = &first.recommendation.as_ref().unwrap().container_recommendations[0];
    assert_eq!((recommended.container_name.as_str(), recommended.target.len()), ("app", 2), "{recommended:?}");
    let second = status(&lab, "second").await;
    check(&second, &["ConfigUnsupported=True Contested", "RecommendationProvided=False Contested"]);
    let message = second.conditions[0].message.as_deref().unwrap();
    assert!(message.contains("verticalpodautoscaler/first has the same target"), "{message}");
    let nobody = status(&lab, "nobody").await;
    let no_pods = ["NoPodsMatched=True NoPodsMatched", "RecommendationProvided=False NoPodsMatched"];
    check(&nobody, &[&["ConfigDeprecated=True UpdateModeAuto"][..], &no_pods].concat());
    assert_eq!(status(&lab, "other").await, VerticalPodAutoscalerStatus::default(), "what is another's is left alone");

    stay_as_they_are(&lab, &["second", "nobody", "other"]).await;

    // The elder goes, and then the pod.
    autoscalers(&lab).delete("first", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(900)).await;
    let second = status(&lab, "second").await;
    check(&second, &["RecommendationProvided=True -"]);
    lab.pods().delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    check(&status(&lab, "second").await, &["NoPodsMatched=True NoPodsMatched", "RecommendationProvided=True -"]);
    work.end().await;
    lab.cluster.stop().await;
}

/// Nothing is written that stands there already.
async fn stay_as_they_are(lab: &Lab, names: &[&str]) {
    let before = versions(lab, names).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(versions(lab, names).await, before);
}

#[tokio::test(start_paused = true)]
async fn what_the_definition_has_no_field_for_is_not_written_again_and_again() {
    let lab = lab_of(status_before_1_7()).await;
    autoscaler(&lab, "nobody", "Deployment", "gone", "InPlace").await;
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let said = status(&lab, "nobody").await;
    check(&said, &["NoPodsMatched=True NoPodsMatched", "RecommendationProvided=False NoPodsMatched"]);
    assert_eq!((said.observed_generation, said.conditions[0].observed_generation), (None, None), "it is left out");
    stay_as_they_are(&lab, &["nobody"]).await;
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_recommendation_goes_with_what_it_was_about() {
    let lab = lab().await;
    autoscaler(&lab, "web", "Pod", "web", "Off").await;
    let work = lab.begin();
    let after = async |spec: Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        autoscalers(&lab).patch("web", &PatchParams::default(), &patch).await.unwrap();
        tokio::time::sleep(Duration::from_secs(900)).await;
        let said = status(&lab, "web").await;
        (said.recommendation.is_some(), said)
    };
    let (given, said) = after(json!({})).await;
    check(&said, &["RecommendationProvided=True -"]);
    assert!(given);
    let policies =
        |mode: &str| json!({"resourcePolicy": {"containerPolicies": [{"containerName": "*", "mode": mode}]}});
    let (given, said) = after(policies("Off")).await;
    check(&said, &["RecommendationProvided=False NothingControlled"]);
    assert!(!given, "every container is off");
    assert!(after(policies("Auto")).await.0);
    let (given, said) = after(json!({"targetRef": {"kind": "Deployment", "name": "gone"}})).await;
    check(&said, &["NoPodsMatched=True NoPodsMatched", "RecommendationProvided=False NoPodsMatched"]);
    assert!(!given, "it was about another");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_another_recommender_learned_is_taken_over_once() {
    let lab = lab().await;
    autoscaler(&lab, "web", "Pod", "web", "Off").await;
    checkpoint(&lab).await;
    let mut hours = Vec::new();
    for _ in 0..2 {
        let work = lab.begin();
        tokio::time::sleep(Duration::from_secs(900)).await;
        hours.push(known(&lab).await);
        work.end().await;
    }
    assert!(hours[0] >= 24, "a week was known before the first sample: {hours:?}");
    assert!(hours[1] <= hours[0] + 1, "and is not taken for another one: {hours:?}");
    lab.cluster.stop().await;
}

/// Hours that are known of the pod.
async fn known(lab: &Lab) -> i32 {
    lab.rightsizing("pod-web").await.recommendation.remove(0).hours
}

/// What VPA's recommender has written of the container in a month.
async fn checkpoint(lab: &Lab) {
    let weights = |bucket: &str| -> Value { json!({"bucketWeights": {bucket: 10_000}, "totalWeight": 20.5}) };
    let checkpoint = json!({
        "metadata": {"name": "web-app"}, "spec": {"vpaObjectName": "web", "containerName": "app"},
        "status": {"version": "v3", "totalSamplesCount": 11_520,
            "firstSampleStart": "2025-12-01T00:00:00Z", "lastSampleStart": "2025-12-31T23:59:00Z",
            "cpuHistogram": weights("8"), "memoryHistogram": weights("26")},
    });
    let checkpoints = Api::<VerticalPodAutoscalerCheckpoint>::default_namespaced(lab.client.clone());
    checkpoints.create(&PostParams::default(), &serde_json::from_value(checkpoint).unwrap()).await.unwrap();
}

/// As `docs/from-vpa.md` has it: Supple beside VPA, both looked at, and then one object after the other handed over.
#[tokio::test(start_paused = true)]
async fn what_vpa_had_learned_is_known_on_the_way_from_it() {
    for reads_past in [false, true] {
        let lab = lab().await;
        let theirs = json!({"metadata": {"name": "web"}, "spec": {"targetRef": {"kind": "Pod", "name": "web"},
            "updatePolicy": {"updateMode": "Off"}}});
        autoscalers(&lab).create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        checkpoint(&lab).await;
        let work = lab.begin_set(Settings { reads_past, ..Settings::default() });
        tokio::time::sleep(Duration::from_secs(900)).await;
        let compared = known(&lab).await;
        assert_eq!(compared >= 24, !reads_past, "{compared}: a Prometheus would tell more");
        let ours = json!({"spec": {"recommenders": [{"name": "supple"}]}});
        autoscalers(&lab).patch("web", &PatchParams::default(), &Patch::Merge(&ours)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(900)).await;
        let handed_over = known(&lab).await;
        assert!(handed_over >= 24, "where it told nothing: {handed_over}");
        assert!(reads_past || handed_over <= compared + 1, "once: {compared} and then {handed_over}");
        work.end().await;
        lab.cluster.stop().await;
    }
}

/// A pod that VPA's updater has resized in place, and whose object is handed over then.
#[tokio::test(start_paused = true)]
async fn what_vpa_s_updater_has_resized_is_gone_on_with_once_its_object_is_ours() {
    let lab = Lab::new().await;
    kinds(&lab).await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "InPlace"}})).await;
    lab.pod("web", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let theirs = json!({"metadata": {"name": "web"}, "spec": {"targetRef": {"kind": "Pod", "name": "web"},
        "updatePolicy": {"updateMode": "InPlaceOrRecreate"}}});
    autoscalers(&lab).create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    // As the updater does it: two patches, under the name of its program.
    let updater = PatchParams { field_manager: Some("updater".to_owned()), ..PatchParams::default() };
    let sizes = json!({"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "8Gi"}});
    let resize = json!({"spec": {"containers": [{"name": "app", "resources": sizes}]}});
    lab.pods().patch_resize("web", &updater, &Patch::Strategic(&resize)).await.unwrap();
    let noted = json!({"metadata": {"annotations": {"vpaInPlaceUpdated": "true"}}});
    lab.pods().patch("web", &updater, &Patch::Merge(&noted)).await.unwrap();
    let mut work = lab.begin();
    work.until("VPA acts on it", is("web", Code::OtherVertical)).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(lab.requests("web").await, "1/2Gi");
    let ours = json!({"spec": {"recommenders": [{"name": "supple"}], "updatePolicy": {"updateMode": "InPlace"}}});
    autoscalers(&lab).patch("web", &PatchParams::default(), &Patch::Merge(&ours)).await.unwrap();
    work.until("it is resized", is("web", Code::Resized)).await;
    let pod = lab.pods().get("web").await.unwrap();
    assert_ne!(requests(&pod), "1/2Gi");
    let note = LastResize::read(&pod).unwrap();
    assert_eq!(note.first, None, "what it had at first nobody has told us");
    // Is the updater still at it, two would go on for ever.
    lab.pods().patch_resize("web", &updater, &Patch::Strategic(&resize)).await.unwrap();
    work.until("it stands back", is("web", Code::OtherHand)).await;
    work.end().await;
    lab.cluster.stop().await;
}

/// What an operator runs for a custom resource: a stateful set for each of these containers.
async fn made_by_an_operator(lab: &Lab, containers: &[&str]) {
    let definitions = Api::<CustomResourceDefinition>::all(lab.client.clone());
    let definition = json!({"metadata": {"name": "prometheuses.monitoring.example.com"},
        "spec": {"group": "monitoring.example.com", "scope": "Namespaced",
            "names": {"kind": "Prometheus", "plural": "prometheuses"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.example.com", "v1", "Prometheus"));
    let kind = ApiResource { plural: "prometheuses".to_owned(), ..kind };
    let operated = Api::<DynamicObject>::default_namespaced_with(lab.client.clone(), &kind);
    let operated = operated.create(&PostParams::default(), &DynamicObject::new("k8s", &kind)).await.unwrap();
    let owner = json!({"apiVersion": "monitoring.example.com/v1", "kind": "Prometheus", "name": "k8s",
        "uid": operated.metadata.uid, "controller": true});
    let sets = Api::<StatefulSet>::default_namespaced(lab.client.clone());
    for name in containers {
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
        let set = json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": {
            "replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"supple.dev/usage-pattern": "cpu=50m memory=100Mi"}},
                "spec": {"containers": [{"name": name, "image": "i", "resources": resources}]}}}});
        sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
    }
}

/// Of a custom resource that is scaled in place of the workloads that its operator makes: another's is another hand, and ours is carried
/// out for all of them.
#[tokio::test(start_paused = true)]
async fn an_object_that_targets_what_workloads_are_made_by_speaks_of_them() {
    let lab = Lab::new().await;
    kinds(&lab).await;
    lab.policy("quick", json!({"updatePolicy": {"updateMode": "InPlace"}})).await;
    made_by_an_operator(&lab, &["server", "gateway"]).await;
    let theirs = json!({"metadata": {"name": "k8s"}, "spec": {
        "targetRef": {"apiVersion": "monitoring.example.com/v1", "kind": "Prometheus", "name": "k8s"},
        "updatePolicy": {"updateMode": "InPlace"}}});
    autoscalers(&lab).create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    let work = lab.begin();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    for name in ["server", "gateway"] {
        let decision = lab.rightsizing(&format!("statefulset-{name}")).await.decision.unwrap();
        assert_eq!(decision.code, "OtherVertical", "{decision:?}");
    }
    let ours = json!({"spec": {"recommenders": [{"name": "supple"}]}});
    autoscalers(&lab).patch("k8s", &PatchParams::default(), &Patch::Merge(&ours)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    // Of both together, and not of the one and the other in turns.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let said = status(&lab, "k8s").await;
        check(&said, &["RecommendationProvided=True -"]);
        let named = said.recommendation.unwrap().container_recommendations;
        assert_eq!(named.iter().map(|it| &*it.container_name).collect::<Vec<_>>(), ["gateway", "server"]);
    }
    for name in ["server-0", "gateway-0"] {
        let pod = lab.pods().get(name).await.unwrap();
        assert_ne!(requests(&pod), "1/1Gi", "{name} is resized");
    }
    work.end().await;
    lab.cluster.stop().await;
}
