//! What stands beside a workload and has a say in its pods: horizontal autoscalers and disruption budgets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricTarget};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry};
use supple_api::names::ADJUSTED_TARGET;
use supple_api::resolve::Above;
use supple_api::selector::matches;
use supple_decide::facts::{self, Metric, Scaler};
use supple_decide::hand::MANAGER;
use supple_decide::key::WorkloadKey;
use supple_decide::scaler::Anchor;
use supple_resize::amounts::Resource;
use supple_resize::disruption::{ALWAYS, Health};

/// A horizontal autoscaler and whom it scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Kind of its target.
    pub kind: String,
    /// Name of its target.
    pub name: String,
    /// `apps/v1`, …, where it says so.
    pub api_version: Option<String>,
    /// What is known of it.
    pub scaler: Scaler,
}

impl From<HorizontalPodAutoscaler> for Scales {
    fn from(it: HorizontalPodAutoscaler) -> Self {
        let by_keda = it.metadata.labels.as_ref().is_some_and(|it| it.contains_key("scaledobject.keda.sh/name"));
        let by_keda = by_keda.then(|| "ScaledObject".to_owned());
        let owner = it.metadata.owner_references.iter().flatten().find(|it| it.controller == Some(true));
        let maker = by_keda.or_else(|| owner.map(|it| it.kind.clone()));
        let set_by = metrics_by(it.metadata.managed_fields.as_deref().unwrap_or_default());
        let spec = it.spec;
        let count = |it: Option<i32>, without: u32| it.and_then(|it| u32::try_from(it).ok()).unwrap_or(without);
        let mut scaler = Scaler {
            name: it.metadata.name.unwrap_or_default(),
            kind: maker.unwrap_or_else(|| "HorizontalPodAutoscaler".to_owned()),
            metrics: Vec::new(),
            min_replicas: count(spec.min_replicas, 1),
            max_replicas: count(Some(spec.max_replicas), 1),
            current_replicas: count(it.status.and_then(|it| it.current_replicas), 0),
            anchor: None,
            set_by,
            through: None,
        };
        for metric in spec.metrics.into_iter().flatten() {
            let (resource, target, container) = match (metric.resource, metric.container_resource) {
                (Some(it), _) => (it.name, it.target, None),
                (None, Some(it)) => (it.name, it.target, Some(it.container)),
                (None, None) => continue,
            };
            let Some(percent) = utilization(&target) else { continue };
            let resource = match resource.as_str() {
                "cpu" => Resource::Cpu,
                "memory" => Resource::Memory,
                _ => continue,
            };
            scaler.metrics.push(Metric { resource, percent, container });
        }
        let noted = it.metadata.annotations.as_ref().and_then(|it| it.get(ADJUSTED_TARGET));
        scaler.anchor = noted.and_then(|it| serde_json::from_str::<Anchor>(it).ok());
        let target = spec.scale_target_ref;
        Self { kind: target.kind, name: target.name, api_version: target.api_version, scaler }
    }
}

impl Scales {
    /// What scales a workload: by its own name, or through what it is made by. Of the latter it may be one of several, and the target that
    /// goes with its requests alone is not that of all: an anchor there is none of ours.
    pub fn over(&self, workload: &WorkloadKey, above: Option<Above<'_>>) -> Option<Scaler> {
        if self.kind == *workload.kind && self.name == *workload.name {
            return Some(self.scaler.clone());
        }
        above.filter(|it| it.is(&self.kind, &self.name, self.api_version.as_deref()))?;
        let through = Some(format!("{}/{}", self.kind.to_lowercase(), self.name));
        Some(Scaler { through, anchor: None, ..self.scaler.clone() })
    }
}

/// The latest manager but us that set the metrics: one list, which has one manager at a time unless several applied the same.
fn metrics_by(managed: &[ManagedFieldsEntry]) -> Option<String> {
    let sets = |it: &&ManagedFieldsEntry| {
        let fields = it.fields_v1.as_ref().and_then(|it| it.0.get("f:spec"));
        it.manager.as_deref() != Some(MANAGER) && fields.is_some_and(|it| it.get("f:metrics").is_some())
    };
    managed.iter().filter(sets).max_by_key(|it| it.time.as_ref().map(|it| it.0))?.manager.clone()
}

fn utilization(target: &MetricTarget) -> Option<u32> {
    target.average_utilization.and_then(|it| u32::try_from(it).ok())
}

/// A disruption budget: whom it is over, and what it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    selector: Option<LabelSelector>,
    /// What is known of it, where no other is over the same pods.
    facts: facts::Budget,
}

impl From<PodDisruptionBudget> for Budget {
    fn from(it: PodDisruptionBudget) -> Self {
        let (spec, status) = (it.spec.unwrap_or_default(), it.status.unwrap_or_default());
        let count = |it: Option<i32>| it.map(i64::from).unwrap_or_default();
        let health = Health {
            current: count(status.current_healthy),
            desired: count(status.desired_healthy),
            always: spec.unhealthy_pod_eviction_policy.as_deref() == Some(ALWAYS),
        };
        let facts = facts::Budget {
            name: Arc::from(it.metadata.name.unwrap_or_default()),
            allowed: status.disruptions_allowed.and_then(|it| u32::try_from(it).ok()).unwrap_or_default(),
            health,
            is_shared: false,
        };
        Self { selector: spec.selector, facts }
    }
}

impl Budget {
    /// Whether it is over pods with these labels. No selector is over none, an empty one over all (policy/v1).
    pub fn is_over(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|it| matches(it, labels))
    }
}

/// Which of these budgets are over pods with these labels, by name. Where pods of one workload have several labels, as a primary and its
/// replicas, a budget over one of them holds for all, because which of them is disturbed is decided for the workload.
pub fn over(budgets: &[&Budget], labels: &[Cow<'_, BTreeMap<String, String>>]) -> Vec<facts::Budget> {
    let mut over: Vec<facts::Budget> = Vec::new();
    for labels in labels {
        let of_one = || budgets.iter().filter(|it| it.is_over(labels));
        let is_shared = of_one().nth(1).is_some();
        for Budget { facts, .. } in of_one() {
            match over.iter_mut().find(|it| it.name == facts.name) {
                Some(known) => known.is_shared |= is_shared,
                None => over.push(facts::Budget { is_shared, ..facts.clone() }),
            }
        }
    }
    over.sort_by(|a, b| a.name.cmp(&b.name));
    over
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check_over(selector: Value, expect: bool) {
        let object = json!({"spec": {"selector": selector}, "status": {
            "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
        let budget = Budget::from(serde_json::from_value::<PodDisruptionBudget>(object).unwrap());
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        assert_eq!(budget.is_over(&labels), expect, "{selector}");
        assert_eq!(budget.facts.allowed, 1);
    }

    #[test]
    fn budgets() {
        check_over(json!(null), false);
        check_over(json!({}), true);
        check_over(json!({"matchLabels": {"app": "web"}}), true);
        check_over(json!({"matchLabels": {"app": "db"}}), false);
        let one = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        check_over(one("In", json!(["web", "db"])), true);
        check_over(one("NotIn", json!(["web"])), false);
        check_over(one("Exists", json!(null)), true);
        check_over(one("DoesNotExist", json!(null)), false);
        check_over(one("Near", json!(null)), false);
    }

    /// What an autoscaler with these metrics and this note reads: `cpu 70`, `app cpu 70`; and whether the note holds.
    #[track_caller]
    fn check_reads(labels: Value, metrics: Value, expect: (&str, &[&str], bool)) {
        let note = json!({"percent": 40, "milliCpu": 1000, "pods": 1, "to": 70}).to_string();
        let object = json!({
            "metadata": {"name": "web", "labels": labels, "annotations": {(ADJUSTED_TARGET): note}},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": metrics},
        });
        let it = Scales::from(serde_json::from_value::<HorizontalPodAutoscaler>(object).unwrap());
        assert_eq!((it.kind.as_str(), it.scaler.min_replicas, it.scaler.max_replicas), ("Deployment", 1, 9));
        let of = |it: &Metric| {
            let container = it.container.as_ref().map(|it| format!("{it} ")).unwrap_or_default();
            format!("{container}{} {}", it.resource.as_str(), it.percent)
        };
        let reads: Vec<String> = it.scaler.metrics.iter().map(of).collect();
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        assert_eq!((it.scaler.kind.as_str(), &*reads, it.scaler.adjusted().is_some()), expect, "{metrics}");
    }

    #[test]
    fn what_an_autoscaler_reads() {
        let pod = |name: &str, percent: u32| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "Resource", "resource": {"name": name, "target": target}})
        };
        let container = |container: &str, name: &str, percent: u32| {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            json!({"type": "ContainerResource",
                "containerResource": {"name": name, "container": container, "target": target}})
        };
        let amount = json!({"type": "Resource", "resource":
            {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let other = json!({"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue"}}});
        let own = "HorizontalPodAutoscaler";
        check_reads(json!({}), json!([pod("cpu", 70), amount, other]), (own, &["cpu 70"], true));
        check_reads(json!({}), json!([pod("cpu", 60)]), (own, &["cpu 60"], false));
        check_reads(json!({}), json!([amount, other]), (own, &[], false));
        check_reads(
            json!({"scaledobject.keda.sh/name": "web"}),
            json!([container("app", "cpu", 70), pod("memory", 80)]),
            ("ScaledObject", &["app cpu 70", "memory 80"], true),
        );
        // Of two of one resource none is lost; which one was adjusted is told by its target, unless both have it.
        check_reads(
            json!({}),
            json!([container("app", "cpu", 70), container("proxy", "cpu", 50)]),
            (own, &["app cpu 70", "proxy cpu 50"], true),
        );
        check_reads(
            json!({}),
            json!([container("app", "cpu", 70), container("proxy", "cpu", 70)]),
            (own, &["app cpu 70", "proxy cpu 70"], false),
        );
    }

    #[test]
    fn whose_an_autoscaler_is_and_who_set_its_target() {
        let target = json!({"type": "Utilization", "averageUtilization": 40});
        let wrote =
            |manager: &str, time: &str, fields: Value| json!({"manager": manager, "time": time, "fieldsV1": fields});
        let metrics = json!({"f:spec": {"f:metrics": {}}});
        let object = json!({
            "metadata": {"name": "web",
                "annotations": {(ADJUSTED_TARGET): json!({"percent": 40, "milliCpu": 400, "pods": 1, "to": 97}).to_string()},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"},
                    {"apiVersion": "x/v1", "kind": "WebApp", "name": "web", "uid": "2", "controller": true}],
                "managedFields": [
                    wrote("old", "2026-01-01T00:00:00Z", metrics.clone()),
                    wrote("argocd-controller", "2026-01-02T00:00:00Z", metrics.clone()),
                    wrote(MANAGER, "2026-01-03T00:00:00Z", metrics),
                    wrote("kube-controller-manager", "2026-01-04T00:00:00Z", json!({"f:status": {}}))]},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
        });
        let it = Scales::from(serde_json::from_value::<HorizontalPodAutoscaler>(object).unwrap()).scaler;
        assert_eq!((it.kind.as_str(), it.set_by.as_deref()), ("WebApp", Some("argocd-controller")));
        let said = it.set_back().unwrap();
        assert!(said.starts_with("argocd-controller set webapp/web to 40 % after"), "{said}");
    }
}
