//! What stands beside a workload and has a say in its pods: horizontal autoscalers and disruption budgets.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricTarget};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use supple_api::names::ADJUSTED_TARGET;
use supple_api::selector::matches;
use supple_decide::facts::Scaler;
use supple_decide::scaler::Anchor;

/// A horizontal autoscaler and whom it scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Kind of its target.
    pub kind: String,
    /// Name of its target.
    pub name: String,
    /// What is known of it.
    pub scaler: Scaler,
}

impl From<HorizontalPodAutoscaler> for Scales {
    fn from(it: HorizontalPodAutoscaler) -> Self {
        let by_keda = it.metadata.labels.as_ref().is_some_and(|it| it.contains_key("scaledobject.keda.sh/name"));
        let spec = it.spec;
        let count = |it: Option<i32>, without: u32| it.and_then(|it| u32::try_from(it).ok()).unwrap_or(without);
        let mut scaler = Scaler {
            name: it.metadata.name.unwrap_or_default(),
            kind: if by_keda { "ScaledObject" } else { "HorizontalPodAutoscaler" }.to_owned(),
            cpu_utilization: None,
            memory_utilization: None,
            container: None,
            min_replicas: count(spec.min_replicas, 1),
            max_replicas: count(Some(spec.max_replicas), 1),
            current_replicas: count(it.status.and_then(|it| it.current_replicas), 0),
            anchor: None,
        };
        for metric in spec.metrics.into_iter().flatten() {
            let (resource, target, container) = match (metric.resource, metric.container_resource) {
                (Some(it), _) => (it.name, it.target, None),
                (None, Some(it)) => (it.name, it.target, Some(it.container)),
                (None, None) => continue,
            };
            let Some(percent) = utilization(&target) else { continue };
            match resource.as_str() {
                "cpu" => scaler.cpu_utilization = Some(percent),
                "memory" => scaler.memory_utilization = Some(percent),
                _ => continue,
            }
            scaler.container = container.or(scaler.container);
        }
        let noted = it.metadata.annotations.as_ref().and_then(|it| it.get(ADJUSTED_TARGET));
        let anchor = noted.and_then(|it| serde_json::from_str::<Anchor>(it).ok());
        scaler.anchor = anchor.filter(|it| Some(it.to) == scaler.cpu_utilization);
        Self { kind: spec.scale_target_ref.kind, name: spec.scale_target_ref.name, scaler }
    }
}

fn utilization(target: &MetricTarget) -> Option<u32> {
    target.average_utilization.and_then(|it| u32::try_from(it).ok())
}

/// A disruption budget: whom it is over, and what it leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    selector: Option<LabelSelector>,
    /// `status.disruptionsAllowed`
    pub allowed: u32,
}

impl From<PodDisruptionBudget> for Budget {
    fn from(it: PodDisruptionBudget) -> Self {
        let allowed =
            it.status.map_or(0, |it| it.disruptions_allowed.and_then(|it| u32::try_from(it).ok()).unwrap_or_default());
        Self { selector: it.spec.and_then(|it| it.selector), allowed }
    }
}

impl Budget {
    /// Whether it is over pods with these labels. No selector is over none, an empty one over all (policy/v1).
    pub fn is_over(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|it| matches(it, labels))
    }
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
        assert_eq!(budget.allowed, 1);
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

    #[test]
    fn what_an_autoscaler_reads() {
        let object = json!({
            "metadata": {"name": "web", "labels": {"scaledobject.keda.sh/name": "web"}},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue"}}},
            ]},
        });
        let it = Scales::from(serde_json::from_value::<HorizontalPodAutoscaler>(object).unwrap());
        assert_eq!((it.kind.as_str(), it.scaler.kind.as_str()), ("Deployment", "ScaledObject"));
        assert_eq!((it.scaler.cpu_utilization, it.scaler.memory_utilization), (Some(70), None));
        assert_eq!((it.scaler.min_replicas, it.scaler.max_replicas), (1, 9));
    }
}
