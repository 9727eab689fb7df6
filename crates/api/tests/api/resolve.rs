//! Which layer has the last word about a workload, and that it does not matter in which order things were learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use proptest::prelude::*;
use serde_json::{Value, json};
use supple_api::autoscaler::CarryOut;
use supple_api::condition;
use supple_api::resolve::{Asked, Given, Policies, Resolved, Tally};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy, VerticalPodAutoscaler};
use supple_decide::key::WorkloadKey;
use supple_decide::policy::{Mode, Origin};
use supple_quantity::{Bytes, MilliCpu};

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

/// Everything in one place, so that a test can shuffle it.
#[derive(Clone, Debug, Default)]
struct World {
    cluster: Vec<ClusterRightsizePolicy>,
    namespaced: Vec<RightsizePolicy>,
    autoscalers: Vec<VerticalPodAutoscaler>,
    namespaces: Vec<ObjectMeta>,
    carry_out: CarryOut,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl World {
    fn cluster(mut self, name: &str, day: u32, spec: Value) -> Self {
        self.cluster.push(serde_json::from_value(object("ClusterRightsizePolicy", name, None, day, spec)).unwrap());
        self
    }

    fn namespaced(mut self, name: &str, day: u32, spec: Value) -> Self {
        self.namespaced.push(serde_json::from_value(object("RightsizePolicy", name, Some("shop"), day, spec)).unwrap());
        self
    }

    fn autoscaler(mut self, name: &str, day: u32, spec: Value) -> Self {
        let mut object = object("VerticalPodAutoscaler", name, Some("shop"), day, spec);
        object["apiVersion"] = json!("autoscaling.k8s.io/v1");
        self.autoscalers.push(serde_json::from_value(object).unwrap());
        self
    }

    fn namespace(mut self, labels: Value, annotations: Value) -> Self {
        let meta = json!({"name": "shop", "labels": labels, "annotations": annotations});
        self.namespaces.push(serde_json::from_value(meta).unwrap());
        self
    }

    fn words(mut self, labels: Value, annotations: Value) -> Self {
        self.labels = serde_json::from_value(labels).unwrap();
        self.annotations = serde_json::from_value(annotations).unwrap();
        self
    }

    fn carried_out(mut self, carry_out: CarryOut) -> Self {
        self.carry_out = carry_out;
        self
    }

    fn policies(&self) -> Policies {
        let given = Given {
            cluster: self.cluster.iter().collect(),
            namespaced: self.namespaced.iter().collect(),
            autoscalers: self.autoscalers.iter().collect(),
            namespaces: self.namespaces.iter().collect(),
            carry_out: self.carry_out,
        };
        Policies::new(&given, now())
    }

    fn resolve(&self) -> Resolved {
        self.resolve_in(&self.policies())
    }

    fn resolve_in(&self, policies: &Policies) -> Resolved {
        policies.resolve(&Asked {
            key: &key("Deployment", "web"),
            api_version: "apps/v1",
            labels: &self.labels,
            annotations: &self.annotations,
            above: None,
        })
    }
}

fn key(kind: &str, name: &str) -> WorkloadKey {
    WorkloadKey { namespace: "shop".into(), kind: kind.into(), name: name.into() }
}

fn object(kind: &str, name: &str, namespace: Option<&str>, day: u32, spec: Value) -> Value {
    json!({
        "apiVersion": "supple.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": format!("2026-10-{day:02}T00:00:00Z")},
        "spec": spec,
    })
}

fn mode(mode: &str) -> Value {
    json!({"updatePolicy": {"updateMode": mode}})
}

/// `spec` with more in it.
fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[track_caller]
fn check(world: &World, mode: Mode, origin: &Origin) {
    let resolved = world.resolve();
    assert_eq!((resolved.policy.mode.value, &resolved.policy.mode.origin), (mode, origin), "{:?}", resolved.layers);
}

fn policy(name: &str) -> Origin {
    Origin::Policy(name.into())
}

fn of_cluster(name: &str) -> Origin {
    Origin::ClusterPolicy(name.into())
}

#[test]
fn the_more_particular_layer_has_the_last_word() {
    let mut world = World::default();
    check(&world, Mode::Off, &Origin::BuiltIn);
    world = world.cluster("base", 1, mode("Initial"));
    check(&world, Mode::Initial, &of_cluster("base"));
    let labelled = world.clone().namespace(json!({"supple.dev/mode": "recommend"}), json!({}));
    check(&labelled, Mode::Off, &Origin::NamespaceLabel);
    let with_policy = labelled.namespaced("all", 1, mode("Recreate"));
    check(&with_policy, Mode::Recreate, &policy("all"));
    let spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "recommenders": [{"name": "supple"}], "updatePolicy": {"updateMode": "InPlaceOrRecreate"},
    });
    let with_autoscaler = with_policy.autoscaler("vpa", 1, spec);
    check(&with_autoscaler, Mode::InPlaceOrRecreate, &Origin::VerticalPodAutoscaler("vpa".into()));
    let with_words = with_autoscaler.clone().words(json!({}), json!({"supple.dev/mode": "in-place"}));
    check(&with_words, Mode::InPlace, &Origin::Workload);
    let both = with_autoscaler.words(json!({"supple.dev/mode": "Off"}), json!({"supple.dev/mode": "in-place"}));
    check(&both, Mode::Off, &Origin::Workload);
    let resolved = with_words.resolve();
    let layers: Vec<&str> = resolved.layers.iter().map(|it| &**it).collect();
    let expect = [
        "clusterrightsizepolicy/base",
        "namespace/shop",
        "rightsizepolicy/shop/all",
        "verticalpodautoscaler/shop/vpa",
        "shop/deployment/web",
    ];
    assert_eq!(layers, expect);
    assert_eq!(resolved.autoscaler.as_deref(), Some("vpa"));
}

/// Whoever wrote it wants the workload left alone; on the way from VPA, whose updater takes every other mode for its own, the
/// workload's own label says otherwise.
#[test]
fn off_of_an_autoscaler_is_a_mode_and_only_the_workload_itself_has_a_say_over_it() {
    let spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "recommenders": [{"name": "supple"}], "updatePolicy": {"updateMode": "Off"},
    });
    let world = World::default()
        .cluster("base", 1, mode("InPlace"))
        .namespace(json!({"supple.dev/mode": "in-place"}), json!({}))
        .namespaced("all", 1, mode("InPlace"))
        .autoscaler("vpa", 1, spec);
    check(&world, Mode::Off, &Origin::VerticalPodAutoscaler("vpa".into()));
    check(&world.words(json!({"supple.dev/mode": "in-place"}), json!({})), Mode::InPlace, &Origin::Workload);
}

#[test]
fn each_setting_comes_from_the_last_layer_that_has_it() {
    let world = World::default()
        .cluster("base", 1, json!({"settle": "1m", "learn": "2h", "risk": {"memory": "1 per week"}}))
        .namespaced("all", 1, json!({"settle": "2m"}));
    let policy = world.resolve().policy;
    assert_eq!(policy.settle.value, SignedDuration::from_mins(2));
    assert_eq!(policy.learn.value, SignedDuration::from_hours(2));
    assert_eq!(policy.memory_risk.value.as_deref(), Some("1 per week"));
    assert_eq!(policy.learn.origin, of_cluster("base"));
    assert_eq!(policy.startup.origin, Origin::BuiltIn);
}

#[test]
fn containers_are_laid_field_by_field() {
    let containers = |it: Value| json!({"resourcePolicy": {"containerPolicies": it}});
    let world = World::default()
        .cluster("base", 1, containers(json!([{"containerName": "*", "minAllowed": {"cpu": "10m", "memory": "32Mi"}}])))
        .namespaced("all", 1, containers(json!([{"containerName": "app", "minAllowed": {"memory": "64Mi"}}])));
    let policy = world.resolve().policy;
    let (app, other) = (policy.container("app"), policy.container("other"));
    assert_eq!((app.at_least.cpu, app.at_least.memory), (Some(MilliCpu(10)), Some(Bytes(64 << 20))));
    assert_eq!(other.at_least.memory, Some(Bytes(32 << 20)));
}

#[test]
fn within_a_kind_particular_goes_before_weight_and_weight_before_age() {
    let named = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}});
    let selected = json!({"selector": {"matchLabels": {"tier": "front"}}});
    let world = World::default()
        .words(json!({"tier": "front"}), json!({}))
        .namespaced("all", 1, with(mode("Recreate"), json!({"weight": 100})))
        .namespaced("selected", 2, with(mode("Initial"), with(selected.clone(), json!({"weight": 50}))));
    check(&world, Mode::Initial, &policy("selected"));
    let world = world.namespaced("named", 3, with(mode("InPlace"), named));
    check(&world, Mode::InPlace, &policy("named"));
    let world = World::default()
        .words(json!({"tier": "front"}), json!({}))
        .namespaced("light", 1, with(mode("Recreate"), selected.clone()))
        .namespaced("heavy", 2, with(mode("InPlace"), with(selected, json!({"weight": 1}))));
    check(&world, Mode::InPlace, &policy("heavy"));
    assert_eq!(world.resolve().ties, []);
}

#[test]
fn a_policy_speaks_only_of_what_it_names() {
    let speaks = |spec: Value| {
        World::default()
            .words(json!({"tier": "front"}), json!({}))
            .namespaced("p", 1, with(mode("InPlace"), spec))
            .resolve()
            .layers
            .len()
            == 1
    };
    assert!(speaks(json!({})));
    assert!(speaks(json!({"targetRef": {"kind": "Deployment", "name": "web"}})));
    assert!(speaks(json!({"targetRef": {"kind": "Deployment"}})));
    assert!(speaks(json!({"targetRef": {"apiVersion": "apps/v1beta1", "kind": "Deployment", "name": "web"}})));
    assert!(!speaks(json!({"targetRef": {"apiVersion": "argoproj.io/v1", "kind": "Deployment", "name": "web"}})));
    assert!(!speaks(json!({"targetRef": {"kind": "Deployment", "name": "db"}})));
    assert!(!speaks(json!({"targetRef": {"kind": "StatefulSet"}})));
    assert!(speaks(json!({"selector": {}})));
    assert!(speaks(
        json!({"selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "b"]}]}})
    ));
    assert!(speaks(
        json!({"selector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["front"]}]}})
    ));
    assert!(speaks(json!({"selector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}})));
    assert!(!speaks(json!({"selector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}})));
    assert!(!speaks(
        json!({"selector": {"matchExpressions": [{"key": "tier", "operator": "Near", "values": ["front"]}]}})
    ));
    assert!(!speaks(json!({"selector": {"matchLabels": {"tier": "back"}}})));
}

#[test]
fn a_cluster_policy_selects_namespaces() {
    let spec = with(mode("InPlace"), json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}));
    let world = World::default().cluster("a", 1, spec);
    check(&world, Mode::Off, &Origin::BuiltIn);
    check(&world.clone().namespace(json!({"team": "b"}), json!({})), Mode::Off, &Origin::BuiltIn);
    check(&world.namespace(json!({"team": "a"}), json!({})), Mode::InPlace, &of_cluster("a"));
}

#[test]
fn of_two_equals_the_older_wins_and_the_younger_is_told() {
    let world = World::default()
        .namespaced("younger", 9, mode("Off"))
        .namespaced("older", 2, with(mode("InPlace"), json!({"settle": "1m"})))
        .namespaced("elsewhere", 4, json!({"learn": "1h"}));
    check(&world, Mode::InPlace, &policy("older"));
    let policies = world.policies();
    let resolved = world.resolve_in(&policies);
    let tie: (Arc<str>, Arc<str>) = ("rightsizepolicy/shop/older".into(), "rightsizepolicy/shop/younger".into());
    assert_eq!(resolved.ties, [tie]);
    let mut tally = Tally::new(&policies);
    tally.add(&resolved.layers, &resolved.ties);
    let outcome = tally.of("rightsizepolicy/shop/younger");
    assert_eq!(
        (outcome.workloads, outcome.overruled_by.as_slice()),
        (1, &["rightsizepolicy/shop/older".to_owned()][..])
    );
    let status = condition::policy_status(&outcome, Some(3), None, now());
    assert_eq!((status.observed_generation, status.matched_workloads), (Some(3), 1));
    let contested = status.conditions.iter().find(|it| it.type_ == condition::CONTESTED).unwrap();
    assert_eq!((contested.status.as_str(), contested.reason.as_str()), ("True", "SameWeight"));
    assert!(contested.message.contains("rightsizepolicy/shop/older"), "{}", contested.message);
    // Later and unchanged: since when it has been so stays.
    let later = now() + SignedDuration::from_hours(1);
    let again = condition::policy_status(&outcome, Some(4), Some(&status), later);
    assert_eq!(again.conditions[0].last_transition_time, status.conditions[0].last_transition_time);
    assert_eq!(again.conditions[0].observed_generation, Some(4));
    // What somebody else says there is not ours to repeat.
    let mut shared = status.clone();
    shared.conditions.push(Condition { type_: "Reviewed".to_owned(), ..status.conditions[0].clone() });
    assert_eq!(condition::policy_status(&outcome, Some(3), Some(&shared), later), status);
    // Not contested any more.
    let alone = condition::policy_status(&tally.of("rightsizepolicy/shop/older"), Some(1), Some(&status), later);
    let contested = alone.conditions.iter().find(|it| it.type_ == condition::CONTESTED).unwrap();
    assert_eq!((contested.status.as_str(), contested.last_transition_time.0), ("False", later));
}

#[test]
fn a_pause_of_any_layer_holds() {
    let paused = |until: Option<&str>, why: &str| json!({"paused": {"until": until, "reason": why}});
    let why = |world: &World| {
        let pause = world.resolve().policy.pause.clone();
        pause.value.map(|it| (it.why, pause.origin))
    };
    let world = World::default().cluster("freeze", 1, paused(Some("2026-12-24T00:00:00Z"), "freeze"));
    let frozen = Some(("freeze".to_owned(), of_cluster("freeze")));
    assert_eq!(why(&world), frozen);
    let shorter = world.clone().words(json!({}), json!({"supple.dev/paused": "2026-11-01T00:00:00Z past"}));
    assert_eq!(why(&shorter), frozen, "a pause that ends sooner ends no other");
    let longer = world.clone().words(json!({}), json!({"supple.dev/paused": "true ask Ann"}));
    assert_eq!(why(&longer), Some(("ask Ann".to_owned(), Origin::Workload)));
    let by_namespace = world.namespace(json!({}), json!({"supple.dev/paused": "moving"}));
    assert_eq!(why(&by_namespace), Some(("moving".to_owned(), Origin::NamespaceLabel)));
}

#[test]
fn words_nobody_knows_stop_and_are_told() {
    let world = World::default().cluster("base", 1, mode("InPlace")).words(json!({}), json!({"supple.dev/mode": "on"}));
    check(&world, Mode::Off, &Origin::Workload);
    let problem = &world.resolve().problems[0];
    assert_eq!(
        (problem.object.as_str(), problem.field.as_str()),
        ("shop/deployment/web", "metadata.annotations[supple.dev/mode]")
    );
    assert!(problem.message.contains("recommend, in-place"), "{}", problem.message);
    let world = World::default().namespace(json!({"supple.dev/mode": "yes"}), json!({}));
    check(&world, Mode::Off, &Origin::NamespaceLabel);
    assert_eq!(world.policies().problems()[0].object, "namespace/shop");
}

/// What got past the schema, or was there before it, is a problem and never a panic, and errs on the side of doing nothing.
#[test]
fn bad_values_are_told_and_careful() {
    let spec = json!({
        "updatePolicy": {"updateMode": "Teleport", "minReplicas": -1, "recreateBy": "Magic"},
        "resourcePolicy": {"containerPolicies": [
            {"containerName": "a", "mode": "Maybe", "minAllowed": {"cpu": "lots", "memory": "2Gi"}, "maxAllowed": {"memory": "1Gi"},
             "controlledResources": ["cpu", "gpu"], "controlledValues": "Limits", "limits": "Half"},
            {"containerName": "a"},
            {},
        ]},
        "risk": {"memory": "often", "cpu": "5 % of cats"},
        "headroom": {"cpu": -1},
        "limits": "Off",
        "settle": "soon", "learn": "99999999999999999999h",
        "coolDown": {"up": ""},
        "windows": [
            {"type": "Allow", "schedule": "0 25 * * *", "duration": "1h"},
            {"type": "Deny", "schedule": "0 2 * * *", "duration": "1h", "timeZone": "Mars/Olympus"},
            {"type": "Perhaps", "schedule": "0 2 * * *", "duration": "forever"},
        ],
        "schedules": [{"schedule": "", "duration": "1h", "containerPolicies": [{"containerName": "a", "minAllowed": {"cpu": 1}}]}],
        "paused": {"until": "then", "reason": "why not"},
        "hpa": "Ignore",
        "guards": [{"name": "g", "query": "up"}, {"name": "h", "query": "up", "above": "high"}],
    });
    let world = World::default().namespaced("p", 1, spec);
    let policies = world.policies();
    let policy = world.resolve_in(&policies).policy;
    assert_eq!(policy.mode.value, Mode::Off);
    assert_eq!(policy.pause.value.as_ref().map(|it| it.until), Some(None), "a pause with a bad end has none");
    assert!(policy.container("a").off.value);
    assert_eq!(policy.container("a").controlled.value, (true, false));
    let open: Vec<(bool, usize)> = policy.windows.value.iter().map(|it| (it.allow, it.spans.len())).collect();
    assert_eq!(open, [(true, 0), (false, 1), (false, 1)], "never allowed, always denied");
    assert_eq!((policy.schedules.value.len(), policy.guards.value.len()), (0, 0));
    let fields: Vec<&str> = policies.problems().iter().map(|it| it.field.as_str()).collect();
    let expect = [
        "spec.coolDown.up",
        "spec.guards[0]",
        "spec.guards[1]",
        "spec.guards[1].above",
        "spec.headroom.cpu",
        "spec.hpa",
        "spec.learn",
        "spec.limits",
        "spec.paused.until",
        "spec.resourcePolicy.containerPolicies[0].controlledResources",
        "spec.resourcePolicy.containerPolicies[0].controlledValues",
        "spec.resourcePolicy.containerPolicies[0].limits",
        "spec.resourcePolicy.containerPolicies[0].minAllowed.cpu",
        "spec.resourcePolicy.containerPolicies[0].minAllowed.memory",
        "spec.resourcePolicy.containerPolicies[0].mode",
        "spec.resourcePolicy.containerPolicies[1].containerName",
        "spec.resourcePolicy.containerPolicies[2].containerName",
        "spec.risk.cpu",
        "spec.risk.memory",
        "spec.schedules[0].schedule",
        "spec.settle",
        "spec.updatePolicy.minReplicas",
        "spec.updatePolicy.recreateBy",
        "spec.updatePolicy.updateMode",
        "spec.windows[0].schedule",
        "spec.windows[1].timeZone",
        "spec.windows[2].duration",
        "spec.windows[2].type",
    ];
    assert_eq!(fields, expect);
    assert!(policies.problems().iter().all(|it| it.object == "rightsizepolicy/shop/p"));
    let mut tally = Tally::new(&policies);
    let resolved = world.resolve_in(&policies);
    tally.add(&resolved.layers, &resolved.ties);
    let status = condition::policy_status(&tally.of("rightsizepolicy/shop/p"), Some(1), None, now());
    assert_eq!((status.conditions[0].type_.as_str(), status.conditions[0].status.as_str()), ("Valid", "False"));
}

/// A risk in the form of the other resource is no risk, and the sentence names the form that is.
#[test]
fn a_risk_has_the_form_of_its_resource() {
    let world = World::default().namespaced("p", 1, json!({"risk": {"memory": "0.5 % of time", "cpu": "1 per day"}}));
    let policies = world.policies();
    let policy = world.resolve_in(&policies).policy;
    assert_eq!((&policy.memory_risk.value, &policy.cpu_risk.value), (&None, &None));
    let told: Vec<(&str, bool)> = policies
        .problems()
        .iter()
        .zip(["\"0.5 % of time\"", "\"1 per 30 days\""])
        .map(|(it, form)| (it.field.as_str(), it.message.ends_with(&format!("as in {form}"))))
        .collect();
    assert_eq!(told, [("spec.risk.cpu", true), ("spec.risk.memory", true)]);
}

#[test]
fn workloads_of_the_same_layers_share_a_policy() {
    let world = World::default().cluster("base", 1, mode("InPlace"));
    let policies = world.policies();
    let nothing = BTreeMap::new();
    let of = |name: &str| {
        policies
            .resolve(&Asked {
                key: &key("Deployment", name),
                api_version: "apps/v1",
                labels: &nothing,
                annotations: &nothing,
                above: None,
            })
            .policy
    };
    assert!(Arc::ptr_eq(&of("a"), &of("b")));
}

#[test]
fn schedules_are_worked_out_anew_in_time() {
    let policies = World::default().policies();
    assert!(!policies.stale(now() + SignedDuration::from_hours(12)));
    assert!(policies.stale(now() + SignedDuration::from_hours(30)));
    assert!(policies.stale(now() - SignedDuration::from_hours(30)), "the clock went back");
}

fn any_spec() -> impl Strategy<Value = Value> {
    let modes = prop::sample::select(vec!["Off", "Initial", "Recreate", "InPlaceOrRecreate", "InPlace"]);
    let target = prop::option::of(prop::sample::select(vec![
        json!({"targetRef": {"kind": "Deployment", "name": "web"}}),
        json!({"targetRef": {"kind": "Deployment"}}),
        json!({"selector": {"matchLabels": {"tier": "front"}}}),
    ]));
    (prop::option::of(modes), target, -1..2_i32, prop::option::of(1..60_u32), any::<bool>()).prop_map(
        |(mode, target, weight, settle, paused)| {
            let mut spec = json!({"weight": weight});
            if let Some(mode) = mode {
                spec["updatePolicy"] = json!({"updateMode": mode});
            }
            if let Some(settle) = settle {
                spec["settle"] = json!(format!("{settle}m"));
            }
            if paused {
                spec["paused"] = json!({"until": format!("2026-12-{:02}T00:00:00Z", 1 + weight + 1), "reason": "p"});
            }
            with(spec, target.unwrap_or_else(|| json!({})))
        },
    )
}

fn any_world() -> impl Strategy<Value = World> {
    let specs = || prop::collection::vec((any_spec(), 1..5_u32), 0..5);
    (specs(), specs(), prop::collection::vec(1..5_u32, 0..3)).prop_map(|(cluster, namespaced, autoscalers)| {
        let mut world = World::default().words(json!({"tier": "front"}), json!({})).carried_out(CarryOut::All);
        for (index, (spec, day)) in cluster.into_iter().enumerate() {
            world = world.cluster(&format!("c{index}"), day, spec);
        }
        for (index, (spec, day)) in namespaced.into_iter().enumerate() {
            world = world.namespaced(&format!("n{index}"), day, spec);
        }
        for (index, day) in autoscalers.into_iter().enumerate() {
            let spec =
                json!({"targetRef": {"kind": "Deployment", "name": "web"}, "updatePolicy": {"minReplicas": index + 1}});
            world = world.autoscaler(&format!("v{index}"), day, spec);
        }
        world.namespace(json!({"supple.dev/mode": "in-place"}), json!({}))
    })
}

proptest! {
    #[test]
    fn the_order_in_which_things_were_learned_does_not_matter(
        (world, shuffled) in any_world().prop_flat_map(|world| {
            let World { cluster, namespaced, autoscalers, .. } = world.clone();
            let lists = (Just(cluster).prop_shuffle(), Just(namespaced).prop_shuffle(), Just(autoscalers).prop_shuffle());
            (Just(world), lists)
        })
    ) {
        let (cluster, namespaced, autoscalers) = shuffled;
        let other = World { cluster, namespaced, autoscalers, ..world.clone() };
        prop_assert_eq!(world.resolve(), other.resolve());
        let (one, two) = (world.policies(), other.policies());
        prop_assert_eq!(one.problems(), two.problems());
    }
}

#[test]
fn the_bounds_of_a_guard_are_as_fine_and_as_large_as_they_are_written() {
    let guard = |name: &str, above: &str| json!({"name": name, "query": "up", "above": above, "below": "-0.5"});
    let spec = json!({"guards": [guard("a", "0.0005"), guard("b", "20u"), guard("c", "10Gi"), guard("d", "1n")]});
    let world = World::default().namespaced("p", 1, spec);
    let policies = world.policies();
    let policy = world.resolve_in(&policies).policy;
    let guards = policy.rows().into_iter().find(|it| it.name == "guards").unwrap().value;
    let bounds =
        ["a: harm above 0.0005", "b: harm above 0.00002", "c: harm above 10737418240", "d: harm above 0.000000001"];
    assert_eq!(guards, bounds.map(|it| format!("{it} or below -0.5")).join("; "));
    assert!(policies.problems().is_empty());
}
