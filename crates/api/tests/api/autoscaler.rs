//! `VerticalPodAutoscaler`: every field carried out or answered for, whose each object is, and what its status says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use supple_api::autoscaler::{CarryOut, Standing, layer, standing};
use supple_api::resolve::{Above, Asked, Given, Policies, Resolved};
use supple_api::vpa::RecommendedContainerResources;
use supple_api::vpa_status::{Known, recommendation, stands, status};
use supple_api::{VerticalPodAutoscaler, VerticalPodAutoscalerCheckpoint};
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::need::{Need, Wanted};
use supple_decide::policy::{Direction, Layer, Limits, Mode, Policy};
use supple_quantity::{Bytes, MilliCpu};

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn autoscaler(name: &str, spec: Value) -> VerticalPodAutoscaler {
    let mut spec = spec;
    if spec.get("targetRef").is_none() {
        spec["targetRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    }
    serde_json::from_value(json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
        "metadata": {"name": name, "namespace": "shop", "generation": 4}, "spec": spec,
    }))
    .unwrap()
}

/// The layer of a specification, and the fields that are not carried out.
fn read(spec: Value) -> (Layer, Vec<String>) {
    let (layer, problems) = layer(&autoscaler("vpa", spec));
    (layer, problems.into_iter().map(|it| it.field).collect())
}

#[track_caller]
fn check_mode(spec: Value, expect: Mode, problems: &[&str]) {
    let (layer, found) = read(spec);
    assert_eq!(layer.mode, Some(expect));
    assert_eq!(found, problems);
}

#[test]
fn modes() {
    let mode = |it: &str| json!({"updatePolicy": {"updateMode": it}});
    check_mode(json!({}), Mode::Recreate, &[]);
    check_mode(json!({"updatePolicy": {}}), Mode::Recreate, &[]);
    check_mode(mode("Off"), Mode::Off, &[]);
    check_mode(mode("Initial"), Mode::Initial, &[]);
    check_mode(mode("Recreate"), Mode::Recreate, &[]);
    check_mode(mode("Auto"), Mode::Recreate, &[]);
    check_mode(mode("InPlaceOrRecreate"), Mode::InPlaceOrRecreate, &[]);
    check_mode(mode("InPlace"), Mode::InPlace, &[]);
    check_mode(mode("Sideways"), Mode::Off, &["spec.updatePolicy.updateMode"]);
}

#[test]
fn the_rest_of_the_update_policy() {
    let update = |it: Value| read(json!({"updatePolicy": it}));
    assert_eq!(update(json!({"minReplicas": 3})).0.min_replicas, Some(3));
    assert_eq!(update(json!({"minReplicas": -3})).1, ["spec.updatePolicy.minReplicas"]);
    assert_eq!(update(json!({"evictAfterOOMSeconds": 60})).1, ["spec.updatePolicy.evictAfterOOMSeconds"]);
    let requirement = |resources: Value, change: &str| {
        update(json!({"evictionRequirements": [{"resources": resources, "changeRequirement": change}]}))
    };
    let (layer, problems) = requirement(json!(["cpu", "memory"]), "TargetHigherThanRequests");
    let both = Direction { rises: true, cpu: true, memory: true };
    assert_eq!((layer.recreate_only_for, layer.steps, problems.len()), (Some(vec![both]), None, 0));
    let memory = Direction { rises: false, cpu: false, memory: true };
    assert_eq!(
        requirement(json!(["memory", "gpu"]), "TargetLowerThanRequests").0.recreate_only_for,
        Some(vec![memory])
    );
    let field = "spec.updatePolicy.evictionRequirements[0]";
    assert_eq!(requirement(json!(["gpu"]), "TargetLowerThanRequests").1, [format!("{field}.resources")]);
    assert_eq!(requirement(json!(["cpu"]), "TargetEqual").1, [format!("{field}.changeRequirement")]);
}

#[test]
fn container_policies() {
    let (layer, problems) = read(json!({"resourcePolicy": {"containerPolicies": [
        {"containerName": "*", "mode": "Off"},
        {"containerName": "app", "mode": "Auto", "minAllowed": {"cpu": 1, "memory": "64Mi"}, "maxAllowed": {"cpu": "2500m"},
         "controlledResources": ["memory"], "controlledValues": "RequestsOnly"},
        {"containerName": "web", "controlledValues": "RequestsAndLimits"},
    ]}}));
    assert_eq!(problems, [""; 0]);
    let (all, app, web) = (&layer.containers["*"], &layer.containers["app"], &layer.containers["web"]);
    assert_eq!((all.off, app.off, web.off), (Some(true), Some(false), None));
    assert_eq!((app.at_least.cpu, app.at_least.memory), (Some(MilliCpu(1000)), Some(Bytes(64 << 20))));
    assert_eq!((app.at_most.cpu, app.at_most.memory), (Some(MilliCpu(2500)), None));
    assert_eq!((app.controlled, web.controlled), (Some((false, true)), None));
    assert_eq!((app.limits, web.limits, all.limits), (Some(Limits::Keep), Some(Limits::Ratio), None));
    // Exact names win over `*`, as a whole.
    let policy = Policy::default().under(layer);
    assert!(policy.container("sidecar").off.value && !policy.container("web").off.value);
}

#[test]
fn what_is_not_carried_out_is_answered_for() {
    let (layer, problems) = read(json!({
        "startupBoost": {"cpu": {"type": "Factor", "factor": 2, "durationSeconds": 30}},
        "resourcePolicy": {"containerPolicies": [{
            "containerName": "app", "mode": "Perhaps", "controlledResources": ["cpu", "nvidia.com/gpu"], "controlledValues": "Limits",
            "minAllowed": {"cpu": "2", "nvidia.com/gpu": 1}, "maxAllowed": {"cpu": "much", "memory": "-1"},
            "oomBumpUpRatio": "1.5", "oomMinBumpUp": "10Mi", "memoryAggregationIntervalSeconds": 60,
            "memoryAggregationIntervalCount": 4, "startupBoost": {"cpu": {"type": "Quantity", "quantity": "500m"}},
        }]},
    }));
    let of = |name: &str| format!("spec.resourcePolicy.containerPolicies[0].{name}");
    let mut expect = vec![
        "spec.startupBoost".to_owned(),
        of("mode"),
        of("minAllowed.nvidia.com/gpu"),
        of("maxAllowed.cpu"),
        of("maxAllowed.memory"),
        of("controlledResources"),
        of("controlledValues"),
        of("oomBumpUpRatio"),
        of("oomMinBumpUp"),
        of("memoryAggregationIntervalSeconds"),
        of("memoryAggregationIntervalCount"),
        of("startupBoost"),
    ];
    let mut found = problems;
    found.sort();
    expect.sort();
    assert_eq!(found, expect);
    let app = &layer.containers["app"];
    assert_eq!((app.off, app.controlled, app.at_least.cpu), (Some(true), Some((true, false)), Some(MilliCpu(2000))));
}

#[track_caller]
fn check_standing(recommender: Option<&str>, mode: &str, expect: [Standing; 3]) {
    let recommenders: Vec<Value> = recommender.iter().map(|it| json!({"name": it})).collect();
    let one = autoscaler("vpa", json!({"recommenders": recommenders, "updatePolicy": {"updateMode": mode}}));
    let found = [CarryOut::Named, CarryOut::All, CarryOut::None].map(|it| standing(&one, it));
    assert_eq!(found, expect, "{recommender:?} {mode}");
}

#[test]
fn whose_it_is() {
    use Standing::{OtherActs, OtherWatches, Ours};
    check_standing(Some("supple"), "Recreate", [Ours, Ours, OtherActs]);
    check_standing(Some("supple"), "Off", [Ours, Ours, OtherWatches]);
    check_standing(None, "InPlaceOrRecreate", [OtherActs, Ours, OtherActs]);
    check_standing(None, "Off", [OtherWatches, Ours, OtherWatches]);
    check_standing(Some("default"), "Initial", [OtherActs, Ours, OtherActs]);
    check_standing(Some("own"), "Auto", [OtherActs, OtherActs, OtherActs]);
    check_standing(Some("own"), "Off", [OtherWatches, OtherWatches, OtherWatches]);
    assert_eq!("all".parse(), Ok(CarryOut::All));
    assert!("some".parse::<CarryOut>().unwrap_err().contains("named, all or none"));
}

fn resolve(autoscalers: &[VerticalPodAutoscaler], carry_out: CarryOut) -> Resolved {
    resolve_made_by(None, autoscalers, carry_out)
}

fn resolve_made_by(above: Option<Above<'_>>, autoscalers: &[VerticalPodAutoscaler], carry_out: CarryOut) -> Resolved {
    let given = Given { autoscalers: autoscalers.iter().collect(), carry_out, ..Given::default() };
    let key = WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: "web".into() };
    let nothing = BTreeMap::new();
    let asked = Asked { key: &key, api_version: "apps/v1", labels: &nothing, annotations: &nothing, above };
    Policies::new(&given, now()).resolve(&asked)
}

#[test]
fn another_s_autoscaler_that_acts_is_another_hand() {
    let off = autoscaler("off", json!({"updatePolicy": {"updateMode": "Off"}}));
    let acts = autoscaler("acts", json!({}));
    let elsewhere =
        autoscaler("elsewhere", json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "db"}}));
    let all = [off, acts, elsewhere];
    let resolved = resolve(&all, CarryOut::Named);
    assert_eq!((resolved.other_vertical, resolved.autoscaler), (vec!["acts".to_owned()], None));
    assert_eq!(resolved.policy.mode.value, Mode::Off, "what is another's is no layer");
    let resolved = resolve(&all, CarryOut::All);
    assert!(resolved.other_vertical.is_empty() && resolved.autoscaler.is_some());
    assert_eq!(resolved.ties.len(), 1, "two of one workload: one has the last word");
}

/// Whether an autoscaler that is written with this version speaks of a workload of that kind, which is of that version.
#[track_caller]
fn check_target(kind: &str, written: Option<&str>, actual: &str, expect: bool) {
    let target = json!({"kind": kind, "name": "web", "apiVersion": written});
    let theirs = autoscaler("theirs", json!({"targetRef": target}));
    let ours = autoscaler("ours", json!({"targetRef": target, "recommenders": [{"name": "supple"}]}));
    let given = Given { autoscalers: vec![&theirs, &ours], ..Given::default() };
    let key = WorkloadKey { namespace: "shop".into(), kind: kind.into(), name: "web".into() };
    let nothing = BTreeMap::new();
    let asked = Asked { key: &key, api_version: actual, labels: &nothing, annotations: &nothing, above: None };
    let resolved = Policies::new(&given, now()).resolve(&asked);
    let found = (resolved.other_vertical.len() == 1, resolved.autoscaler.is_some());
    assert_eq!(found, (expect, expect), "{written:?} {kind} of {actual}");
}

#[test]
fn the_kinds_of_kubernetes_are_found_by_name_alone_as_vpa_finds_them() {
    for (kind, actual) in [
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("ReplicaSet", "apps/v1"),
        ("ReplicationController", "v1"),
        ("Job", "batch/v1"),
        ("CronJob", "batch/v1"),
    ] {
        for written in [None, Some(""), Some("v1"), Some("apps/v1"), Some("extensions/v1beta1"), Some("example.com/v1")]
        {
            check_target(kind, written, actual, true);
        }
    }
    // What another group has given the name: VPA does nothing with it, and who means it says so.
    check_target("StatefulSet", Some("apps.kruise.io/v1beta1"), "apps.kruise.io/v1beta1", true);
    check_target("StatefulSet", Some("apps.kruise.io/v1alpha1"), "apps.kruise.io/v1beta1", true);
    check_target("StatefulSet", Some("apps/v1"), "apps.kruise.io/v1beta1", false);
    check_target("Job", Some("batch/v1"), "batch.volcano.sh/v1alpha1", false);
    // Any other kind VPA looks up in the group that is written.
    check_target("Rollout", Some("argoproj.io/v1alpha1"), "argoproj.io/v1alpha1", true);
    check_target("Rollout", Some("apps/v1"), "argoproj.io/v1alpha1", false);
}

#[test]
fn an_autoscaler_of_what_a_workload_is_made_by_speaks_of_it() {
    let of = |name: &str, version: &str| {
        let target = json!({"apiVersion": version, "kind": "Prometheus", "name": "k8s"});
        autoscaler(name, json!({"targetRef": target, "updatePolicy": {"updateMode": "InPlace"}}))
    };
    let above = Some(Above { kind: "Prometheus", name: "k8s", api_version: "monitoring.coreos.com/v1" });
    let all = [of("theirs", "monitoring.coreos.com/v1"), of("elsewhere", "monitoring.example.com/v1")];
    let resolved = resolve_made_by(above, &all, CarryOut::Named);
    assert_eq!((resolved.other_vertical, resolved.autoscalers.len()), (vec!["theirs".to_owned()], 1));
    assert!(resolve(&all, CarryOut::Named).autoscalers.is_empty(), "of whom nobody has made it is none");
    let resolved = resolve_made_by(above, &all, CarryOut::All);
    assert_eq!(resolved.autoscaler.as_deref(), Some("theirs"));
    assert_eq!(resolved.policy.mode.value, Mode::InPlace);
    // Who names the workload itself has the last word.
    let all =
        [of("theirs", "monitoring.coreos.com/v1"), autoscaler("own", json!({"updatePolicy": {"updateMode": "Off"}}))];
    let resolved = resolve_made_by(above, &all, CarryOut::All);
    assert_eq!((resolved.autoscaler.as_deref(), resolved.policy.mode.value), (Some("own"), Mode::Off));
    assert_eq!(resolved.ties.len(), 1);
}

fn need() -> Need {
    fn wanted<T>(target: T, lower: T, upper: T, confidence_permille: u16) -> Option<Wanted<T>> {
        let (rule, doubt) = ("plan".to_owned(), "short-history".to_owned());
        Some(Wanted { target, lower, upper, confidence_permille, rule, doubt, urgent: false, veto: false })
    }
    Need {
        cpu: wanted(MilliCpu(42), MilliCpu(31), MilliCpu(53), 900),
        memory: wanted(Bytes(262_144_000), Bytes(128 << 20), Bytes(1 << 30), 400),
        fresh: Some(now()),
        hours: 12,
    }
}

#[test]
fn the_recommendation_is_in_vpa_s_notation() {
    let needs = Few::from([("app".into(), need()), ("sidecar".into(), need())]);
    let spec = json!({"resourcePolicy": {"containerPolicies": [
        {"containerName": "app", "minAllowed": {"cpu": "50m"}, "maxAllowed": {"memory": "200Mi"}},
        {"containerName": "sidecar", "mode": "Off"},
    ]}});
    let policy = Policy::default().under(layer(&autoscaler("vpa", spec)).0);
    let found = serde_json::to_value(recommendation(&needs, &policy)).unwrap();
    let expect = json!({"containerRecommendations": [{
        "containerName": "app",
        "target": {"cpu": "50m", "memory": "209715200"},
        "lowerBound": {"cpu": "50m", "memory": "134217728"},
        "upperBound": {"cpu": "53m", "memory": "209715200"},
        "uncappedTarget": {"cpu": "42m", "memory": "262144k"},
    }]});
    assert_eq!(found, expect);
    let only_cpu =
        json!({"resourcePolicy": {"containerPolicies": [{"containerName": "*", "controlledResources": ["cpu"]}]}});
    let policy = Policy::default().under(layer(&autoscaler("vpa", only_cpu)).0);
    assert_eq!(recommendation(&needs, &policy).container_recommendations[0].target.len(), 1);
    // The most wins over the least.
    let crossed = json!({"resourcePolicy": {"containerPolicies": [
        {"containerName": "*", "minAllowed": {"cpu": "2"}, "maxAllowed": {"cpu": "1"}}]}});
    let (layer, problems) = layer(&autoscaler("vpa", crossed));
    assert_eq!(problems.len(), 1);
    let policy = Policy::default().under(layer);
    assert_eq!(recommendation(&needs, &policy).container_recommendations[0].target["cpu"].0, "1");
}

#[test]
fn conditions_say_how_it_stands() {
    let spec = json!({"updatePolicy": {"updateMode": "Auto", "evictAfterOOMSeconds": 60}});
    let mut one = autoscaler("vpa", spec);
    let (layer, problems) = layer(&one);
    let policy = Policy::default().under(layer);
    let conditions = |of: &VerticalPodAutoscaler, needs: &Few<_, _>, pods| {
        let known = Known { needs, policy: &policy, pods, problems: &problems, overruled_by: None, moved: false };
        let status = status(of, &known, now());
        let said: Vec<String> = status
            .conditions
            .iter()
            .map(|it| format!("{}={} {}", it.type_, it.status, it.reason.as_deref().unwrap_or("-")))
            .collect();
        (status, said)
    };
    let (nothing, needs) = (Few::new(), Few::from([("app".into(), need())]));
    let unsupported = ["ConfigUnsupported=True FieldsLeftOut", "ConfigDeprecated=True UpdateModeAuto"];
    let (first, said) = conditions(&one, &nothing, 0);
    assert_eq!(
        said,
        [["RecommendationProvided=False NoPodsMatched", "NoPodsMatched=True NoPodsMatched"], unsupported].concat()
    );
    one.status = Some(first);
    let (_, said) = conditions(&one, &nothing, 2);
    assert_eq!(said[0], "RecommendationProvided=False NoData");
    assert!(!said.iter().any(|it| it.starts_with("NoPodsMatched")));
    let (second, said) = conditions(&one, &needs, 2);
    assert_eq!(said[0], "RecommendationProvided=True -");
    assert!(said.contains(&"LowConfidence=True LowConfidence".to_owned()));
    let low = second.conditions.iter().find(|it| it.type_ == "LowConfidence").unwrap();
    assert_eq!(low.message.as_deref(), Some("below 50%, nothing is lowered: app: memory 40% (short-history)"));
    assert_eq!(second.observed_generation, Some(4));
    // A restart knows nothing at first and takes nothing away.
    one.status = Some(second.clone());
    assert_eq!(conditions(&one, &nothing, 2).0.recommendation, second.recommendation);
    // Another one has the last word: what this one said before is followed by nobody.
    let known = Known {
        needs: &nothing,
        policy: &policy,
        pods: 2,
        problems: &problems,
        overruled_by: Some("older"),
        moved: false,
    };
    let overruled = status(&one, &known, now());
    assert_eq!(overruled.recommendation, None);
    for (type_, status) in [("RecommendationProvided", "False"), ("ConfigUnsupported", "True")] {
        let said = overruled.conditions.iter().find(|it| it.type_ == type_).unwrap();
        assert_eq!((said.status.as_str(), said.reason.as_deref()), (status, Some("Contested")), "{type_}");
        assert!(said.message.as_deref().unwrap().contains("verticalpodautoscaler/older"), "{type_}");
    }
}

#[test]
fn what_was_recommended_stays_while_nothing_is_known_as_far_as_the_policy_lets_it() {
    let containers = |said: Value| json!({"resourcePolicy": {"containerPolicies": said}});
    let mut one = autoscaler("vpa", json!({}));
    let needs = Few::from([("app".into(), need()), ("side".into(), need())]);
    // What comes of it with what is known, under these container policies: the resources of each container, and the condition.
    let given = |of: &VerticalPodAutoscaler, needs: &Few<_, _>, said: Value, moved: bool| {
        let policy = Policy::default().under(layer(&autoscaler("vpa", containers(said))).0);
        let known = Known { needs, policy: &policy, pods: 1, problems: &[], overruled_by: None, moved };
        let status = status(of, &known, now());
        let provided = &status.conditions[0];
        let reason = format!("{} {}", provided.status, provided.reason.as_deref().unwrap_or("-"));
        let all = status.recommendation.clone().unwrap_or_default().container_recommendations;
        let one = |it: &RecommendedContainerResources| {
            let lists = [&it.target, &it.lower_bound, &it.upper_bound, &it.uncapped_target];
            assert!(lists.iter().all(|list| list.keys().eq(it.target.keys())), "{it:?}");
            format!("{}: {}", it.container_name, it.target.keys().cloned().collect::<Vec<_>>().join(" "))
        };
        (all.iter().map(one).collect::<Vec<_>>().join(", "), reason, status)
    };
    let off = |name: &str| json!([{"containerName": name, "mode": "Off"}]);
    let only =
        json!([{"containerName": "app", "controlledResources": ["memory"]}, {"containerName": "side", "mode": "Off"}]);
    let (all, provided) = ("app: cpu memory, side: cpu memory".to_owned(), "True -".to_owned());
    let (found, reason, whole) = given(&one, &needs, json!([]), false);
    assert_eq!((found, reason), (all.clone(), provided.clone()));
    one.status = Some(whole);
    // It is known that nothing is to be said.
    let (found, reason, status) = given(&one, &needs, off("*"), false);
    assert_eq!((found.as_str(), reason.as_str()), ("", "False NothingControlled"));
    assert_eq!(status.recommendation, None, "as VPA has it, nothing of before stays");
    // Nothing is known: what was said stays, of what is still sized and of the same target.
    let nothing = Few::new();
    let unmeasured = Few::from([("app".into(), Need { cpu: None, memory: None, ..need() })]);
    for unknown in [&nothing, &unmeasured] {
        for (said, moved, expect) in [
            (json!([]), false, all.as_str()),
            (off("side"), false, "app: cpu memory"),
            (only.clone(), false, "app: memory"),
            (off("*"), false, ""),
            (json!([]), true, ""),
        ] {
            let (found, reason, _) = given(&one, unknown, said.clone(), moved);
            assert_eq!(found, expect, "{said} {moved}");
            let why = if said == off("*") && !unknown.is_empty() { "NothingControlled" } else { "NoData" };
            assert_eq!(reason, if expect.is_empty() { format!("False {why}") } else { "True -".to_owned() }, "{said}");
        }
    }
    assert_eq!(given(&one, &needs, json!([]), true).0, all, "what is known is of the new target");
}

#[test]
fn a_status_without_generations_is_compared_without() {
    let one = autoscaler("vpa", json!({}));
    let (policy, needs) = (Policy::default(), Few::new());
    let known = |pods| Known { needs: &needs, policy: &policy, pods, problems: &[], overruled_by: None, moved: false };
    let whole = status(&one, &known(0), now());
    assert!(stands(&whole, &whole));
    let mut pruned = whole.clone();
    pruned.observed_generation = None;
    pruned.conditions.iter_mut().for_each(|it| it.observed_generation = None);
    assert!(stands(&pruned, &whole));
    assert!(!stands(&pruned, &status(&one, &known(1), now())), "it says something else");
    let mut older = whole.clone();
    older.observed_generation = Some(3);
    assert!(!stands(&older, &whole), "where there are generations they count");
    let mut older = whole.clone();
    older.conditions[0].observed_generation = Some(3);
    assert!(!stands(&older, &whole));
}

#[test]
fn only_what_is_sized_is_in_doubt() {
    let containers = json!({"containerPolicies": [
        {"containerName": "side", "mode": "Off"}, {"containerName": "app", "controlledResources": ["cpu"]}]});
    let one = autoscaler("vpa", json!({"resourcePolicy": containers}));
    let policy = Policy::default().under(layer(&one).0);
    let needs = Few::from([("app".into(), need()), ("side".into(), need())]);
    let known = Known { needs: &needs, policy: &policy, pods: 1, problems: &[], overruled_by: None, moved: false };
    let status = status(&one, &known, now());
    assert!(status.conditions.iter().all(|it| it.type_ != "LowConfidence"), "{:?}", status.conditions);
}

#[test]
fn a_startup_boost_is_refused_in_a_condition() {
    let boost = json!({"cpu": {"type": "Factor", "factor": 3, "durationSeconds": 60}});
    let container = json!({"containerName": "app", "startupBoost": boost});
    let one = autoscaler("vpa", json!({"startupBoost": boost, "resourcePolicy": {"containerPolicies": [container]}}));
    let (_, problems) = layer(&one);
    let policy = Policy::default();
    let known =
        Known { needs: &Few::new(), policy: &policy, pods: 1, problems: &problems, overruled_by: None, moved: false };
    let status = status(&one, &known, now());
    let said = status.conditions.iter().find(|it| it.type_ == "ConfigUnsupported").unwrap();
    let message = said.message.as_deref().unwrap();
    assert_eq!(said.status, "True");
    for field in ["spec.startupBoost", "spec.resourcePolicy.containerPolicies[0].startupBoost"] {
        assert!(message.contains(&format!("{field}: not applied: pods start with the recommended sizes")), "{message}");
    }
}

#[test]
fn objects_are_read_as_they_are_and_written_back_so() {
    let object = json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "updatePolicy": {"updateMode": "InPlaceOrRecreate", "minReplicas": 1, "evictAfterOOMSeconds": 300,
                "evictionRequirements": [{"resources": ["cpu"], "changeRequirement": "TargetHigherThanRequests"}]},
            "resourcePolicy": {"containerPolicies": [{"containerName": "*", "mode": "Auto", "minAllowed": {"cpu": "100m"},
                "maxAllowed": {"memory": "1Gi"}, "controlledResources": ["cpu"], "controlledValues": "RequestsOnly",
                "oomBumpUpRatio": "1.2", "oomMinBumpUp": "100Mi", "memoryAggregationIntervalSeconds": 86400,
                "memoryAggregationIntervalCount": 8,
                "startupBoost": {"cpu": {"type": "Quantity", "quantity": "1", "durationSeconds": 10}}}]},
            "recommenders": [{"name": "supple"}],
            "startupBoost": {"cpu": {"type": "Factor", "factor": 3}},
        },
        "status": {
            "recommendation": {"containerRecommendations": [{"containerName": "app", "target": {"cpu": "25m", "memory": "262144k"},
                "lowerBound": {"cpu": "25m"}, "upperBound": {"cpu": "1"}, "uncappedTarget": {"cpu": "25m"}}]},
            "conditions": [{"type": "RecommendationProvided", "status": "True", "lastTransitionTime": "2026-11-28T12:00:00Z"}],
            "observedGeneration": 1,
        },
    });
    let read: VerticalPodAutoscaler = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), object);
    let checkpoint = json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscalerCheckpoint",
        "metadata": {"name": "web-app", "namespace": "shop"},
        "spec": {"vpaObjectName": "web", "containerName": "app"},
        "status": {
            "lastUpdateTime": "2026-11-28T12:00:00Z", "version": "v3",
            "cpuHistogram": {"referenceTimestamp": "2026-11-28T00:00:00Z", "bucketWeights": {"0": 10000, "12": 7}, "totalWeight": 20.5},
            "memoryHistogram": {"referenceTimestamp": "2026-11-28T00:00:00Z", "bucketWeights": {"9": 10000}, "totalWeight": 3.25},
            "firstSampleStart": "2026-11-20T12:00:00Z", "lastSampleStart": "2026-11-28T11:59:00Z", "totalSamplesCount": 1234,
        },
    });
    let read: VerticalPodAutoscalerCheckpoint = serde_json::from_value(checkpoint.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), checkpoint);
}
