//! Workloads of every kind as one plain value: what a decision and a policy need of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use supple_api::names;
use supple_decide::extract;
use supple_decide::facts::Rollout;
use supple_decide::few::Few;
use supple_decide::numbers::Numbers;
use supple_resize::predict::Sizes;
use supple_resize::rolling::Fence;

use super::owner::Maker;

/// A workload object, cut down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Its UID.
    pub uid: Arc<str>,
    /// `apps/v1`, …
    pub api_version: &'static str,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its annotations under `supple.dev/`.
    pub words: BTreeMap<String, String>,
    /// Labels of its pods, as its template has them: what selectors of budgets match.
    pub pod_labels: Arc<BTreeMap<String, String>>,
    /// Labels and annotations under `supple.dev/` that its pods have from its template.
    pub pod_words: BTreeMap<String, String>,
    /// What its template asks for.
    pub template: Few<Arc<str>, Numbers>,
    /// `spec.replicas`
    pub replicas: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Pods of an older template than the newest are there that are to be replaced, or the newest has not been looked at. A pod that is
    /// only missing is not waited for: what keeps it from being made may be that the others take too much.
    pub rolling: bool,
    /// How a new template reaches its pods, where it does so by itself.
    pub rollout: Option<Rollout>,
    /// How many of its pods may be missing at once while it does.
    pub rollout_takes: u32,
    /// What it is made by.
    pub maker: Option<Box<Maker>>,
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|it| u32::try_from(it).ok()).unwrap_or_default()
}

/// Whether it is nothing, as a number or a share.
fn is_none(of_pods: &IntOrString) -> bool {
    matches!(of_pods, IntOrString::Int(0)) || matches!(of_pods, IntOrString::String(it) if it == "0%")
}

fn base(api_version: &'static str, meta: ObjectMeta, template: Option<PodTemplateSpec>) -> Workload {
    let (pod_meta, spec) = template.map(|it| (it.metadata, it.spec)).unwrap_or_default();
    let labels = Arc::new(meta.labels.unwrap_or_default());
    let pod_words = pod_meta.as_ref().map(extract::words).unwrap_or_default();
    let pod_labels = pod_meta.and_then(|it| it.labels).unwrap_or_default();
    // As a rule they are the same, and then kept once.
    let pod_labels = if pod_labels == *labels { labels.clone() } else { Arc::new(pod_labels) };
    let containers = spec.into_iter().flat_map(|it| it.init_containers.into_iter().flatten().chain(it.containers));
    Workload {
        maker: Maker::of(meta.owner_references.as_deref()),
        uid: Arc::from(meta.uid.unwrap_or_default()),
        api_version,
        labels,
        words: words(meta.annotations),
        pod_labels,
        pod_words,
        template: containers.map(|it| (Arc::from(it.name), Numbers::of(&Sizes::of(it.resources.as_ref())))).collect(),
        ..Workload::default()
    }
}

/// The annotations that speak to us.
pub fn words(annotations: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    annotations.unwrap_or_default().into_iter().filter(|(name, _)| name.starts_with(names::PREFIX)).collect()
}

impl From<Deployment> for Workload {
    fn from(it: Deployment) -> Self {
        let generation = it.metadata.generation;
        let spec = it.spec.unwrap_or_default();
        let status = it.status.unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.unwrap_or_default();
        let fence = Fence::of_deployment(strategy.rolling_update.as_ref(), replicas);
        let surge = strategy.rolling_update.and_then(|it| it.max_surge);
        let takes = if strategy.type_.as_deref() == Some("Recreate") { replicas } else { fence.unavailable };
        let rollout = Some(match strategy.type_.as_deref() {
            Some("Recreate") => Rollout::After,
            _ if surge.as_ref().is_some_and(is_none) => Rollout::Replace,
            _ => Rollout::Surge,
        });
        let behind = status.observed_generation < generation
            || status.replicas.unwrap_or(0) > status.updated_replicas.unwrap_or(0);
        Self {
            replicas: count(Some(replicas)),
            ready: count(status.ready_replicas),
            rolling: behind,
            rollout: rollout.filter(|_| spec.paused != Some(true)),
            rollout_takes: count(Some(takes)),
            ..base("apps/v1", it.metadata, Some(spec.template))
        }
    }
}

impl From<StatefulSet> for Workload {
    fn from(it: StatefulSet) -> Self {
        let generation = it.metadata.generation;
        let spec = it.spec.unwrap_or_default();
        let status = it.status.unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.unwrap_or_default();
        let on_delete = strategy.type_.as_deref() == Some("OnDelete");
        let fence = Fence::of_stateful_set(strategy.rolling_update.as_ref(), replicas);
        // So many of the first pods are to keep the older template, until somebody says otherwise.
        let kept = strategy.rolling_update.and_then(|it| it.partition).unwrap_or(0).max(0);
        let old = status.replicas.saturating_sub(status.updated_replicas.unwrap_or(0));
        let behind = status.observed_generation < generation
            || (status.current_revision != status.update_revision && old > kept);
        Self {
            replicas: count(Some(replicas)),
            ready: count(status.ready_replicas),
            rolling: behind && !on_delete,
            rollout: (!on_delete && kept == 0).then_some(Rollout::After),
            rollout_takes: count(Some(fence.unavailable)),
            ..base("apps/v1", it.metadata, Some(spec.template))
        }
    }
}

impl From<DaemonSet> for Workload {
    fn from(it: DaemonSet) -> Self {
        let generation = it.metadata.generation;
        let spec = it.spec.unwrap_or_default();
        let status = it.status.unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let on_delete = strategy.type_.as_deref() == Some("OnDelete");
        let fence = Fence::of_daemon_set(strategy.rolling_update.as_ref(), status.desired_number_scheduled);
        let surges = strategy.rolling_update.and_then(|it| it.max_surge).is_some_and(|it| !is_none(&it));
        let behind = status.observed_generation < generation
            || status.updated_number_scheduled.unwrap_or(0) < status.current_number_scheduled;
        Self {
            replicas: count(Some(status.desired_number_scheduled)),
            ready: count(Some(status.number_ready)),
            rolling: behind && !on_delete,
            rollout: (!on_delete).then_some(if surges { Rollout::Surge } else { Rollout::After }),
            rollout_takes: count(Some(fence.unavailable)),
            ..base("apps/v1", it.metadata, Some(spec.template))
        }
    }
}

impl From<Job> for Workload {
    fn from(it: Job) -> Self {
        let spec = it.spec.unwrap_or_default();
        let status = it.status.unwrap_or_default();
        Self {
            replicas: count(spec.parallelism.or(Some(1))),
            ready: count(status.ready),
            ..base("batch/v1", it.metadata, Some(spec.template))
        }
    }
}

impl From<CronJob> for Workload {
    fn from(it: CronJob) -> Self {
        let template = it.spec.job_template.spec.map(|it| it.template);
        Self { replicas: 1, ..base("batch/v1", it.metadata, template) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(spec: Value, status: Value) -> Workload {
        let mut spec = spec;
        spec["template"] = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
        });
        spec["selector"] = json!({});
        let object = json!({
            "metadata": {"name": "web", "generation": 2, "annotations": {"supple.dev/mode": "in-place", "other": "x"}},
            "spec": spec, "status": status,
        });
        serde_json::from_value::<Deployment>(object).unwrap().into()
    }

    #[track_caller]
    fn check_rolling(status: Value, expect: bool) {
        assert_eq!(deployment(json!({"replicas": 2}), status.clone()).rolling, expect, "{status}");
    }

    #[test]
    fn a_deployment_rolls_until_all_of_it_is_new() {
        check_rolling(json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2}), true);
        check_rolling(json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2}), true);
        check_rolling(json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1}), true);
        check_rolling(json!({"observedGeneration": 2, "replicas": 2}), true);
        check_rolling(json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}), false);
        // One of two is missing, as under a quota: the other is of the newest template.
        check_rolling(json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}), false);
        check_rolling(json!({"observedGeneration": 2}), false);
    }

    /// A set of ten with this update strategy and status.
    fn set<K: serde::de::DeserializeOwned + Into<Workload>>(strategy: Value, status: Value) -> Workload {
        let spec = json!({"replicas": 10, "selector": {}, "serviceName": "", "template": {"metadata": {}}, "updateStrategy": strategy});
        serde_json::from_value::<K>(json!({"metadata": {"generation": 2}, "spec": spec, "status": status}))
            .unwrap()
            .into()
    }

    #[test]
    fn a_stateful_set_rolls_until_all_but_its_partition_is_new() {
        let check = |strategy: &Value, (replicas, updated): (u32, u32), newest: &str, expect: bool| {
            let status = json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
                "currentRevision": "web-1", "updateRevision": newest});
            let it = set::<StatefulSet>(strategy.clone(), status.clone());
            assert_eq!(it.rolling, expect, "{strategy} {status}");
        };
        let partition = |at: u32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": at}});
        for whole in [json!({}), partition(0)] {
            check(&whole, (10, 10), "web-1", false);
            check(&whole, (10, 0), "web-2", true);
            check(&whole, (10, 9), "web-2", true);
            // The last one that is to be made anew is missing: the others are new.
            check(&whole, (9, 9), "web-2", false);
        }
        check(&partition(3), (10, 6), "web-2", true);
        check(&partition(3), (10, 7), "web-2", false);
        check(&partition(3), (9, 6), "web-2", false);
        check(&partition(10), (10, 0), "web-2", false);
        check(&partition(100), (10, 0), "web-2", false);
        check(&json!({"type": "OnDelete"}), (10, 0), "web-2", false);
        // Without a restart of its own no template reaches all of it.
        let rollout = |strategy: Value| set::<StatefulSet>(strategy, json!({})).rollout;
        assert_eq!(rollout(partition(0)), Some(Rollout::After));
        assert_eq!((rollout(partition(1)), rollout(json!({"type": "OnDelete"}))), (None, None));
        let unseen = json!({"observedGeneration": 1, "replicas": 10, "updatedReplicas": 10, "currentRevision": "a", "updateRevision": "a"});
        assert!(set::<StatefulSet>(partition(3), unseen).rolling);
    }

    #[test]
    fn a_daemon_set_rolls_while_pods_of_an_older_template_are_there() {
        let check = |strategy: &str, observed: i64, (wanted, there, updated): (u32, u32, u32), expect: bool| {
            let status = json!({"observedGeneration": observed, "desiredNumberScheduled": wanted, "currentNumberScheduled": there,
                "updatedNumberScheduled": updated, "numberMisscheduled": 0, "numberReady": there});
            let it = set::<DaemonSet>(json!({"type": strategy}), status.clone());
            assert_eq!((it.rolling, it.replicas), (expect, wanted), "{strategy} {status}");
        };
        check("RollingUpdate", 2, (10, 10, 10), false);
        check("RollingUpdate", 2, (10, 10, 9), true);
        check("RollingUpdate", 1, (10, 10, 10), true);
        // A quota keeps it from one node.
        check("RollingUpdate", 2, (10, 9, 9), false);
        check("RollingUpdate", 2, (10, 9, 8), true);
        check("OnDelete", 2, (10, 10, 0), false);
    }

    #[test]
    fn how_new_pods_take_the_places_of_old_ones() {
        let of = |strategy: Value| deployment(json!({"strategy": strategy}), json!({})).rollout;
        assert_eq!(of(json!({})), Some(Rollout::Surge), "a quarter is what it is unless something else is said");
        assert_eq!(of(json!({"rollingUpdate": {"maxSurge": "30%"}})), Some(Rollout::Surge));
        for none in [json!(0), json!("0%")] {
            assert_eq!(of(json!({"rollingUpdate": {"maxSurge": none}})), Some(Rollout::Replace), "{none}");
        }
        assert_eq!(of(json!({"type": "Recreate"})), Some(Rollout::After));
        let of = |strategy: Value| {
            let spec = json!({"selector": {}, "template": {"metadata": {}}, "updateStrategy": strategy});
            Workload::from(serde_json::from_value::<DaemonSet>(json!({"metadata": {}, "spec": spec})).unwrap()).rollout
        };
        assert_eq!(of(json!({})), Some(Rollout::After));
        assert_eq!(of(json!({"rollingUpdate": {"maxSurge": 1}})), Some(Rollout::Surge));
        assert_eq!(of(json!({"type": "OnDelete"})), None);
    }

    #[test]
    fn how_many_pods_a_rollout_may_take_at_once() {
        let of = |replicas: i32, strategy: Value| {
            deployment(json!({"replicas": replicas, "strategy": strategy}), json!({})).rollout_takes
        };
        assert_eq!((of(3, json!({})), of(4, json!({})), of(10, json!({}))), (0, 1, 2), "a quarter, rounded down");
        assert_eq!(of(1, json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})), 1);
        assert_eq!(of(10, json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})), 0);
        assert_eq!(of(1, json!({"rollingUpdate": {"maxSurge": 0}})), 1, "it has to move");
        assert_eq!(of(3, json!({"type": "Recreate"})), 3, "all of them");
        let set = json!({"metadata": {}, "spec": {"replicas": 3, "serviceName": "s", "selector": {}, "template": {"metadata": {}}}});
        assert_eq!(Workload::from(serde_json::from_value::<StatefulSet>(set).unwrap()).rollout_takes, 1);
        let of = |rolling: Value| {
            let strategy = json!({"rollingUpdate": rolling});
            let spec = json!({"selector": {}, "template": {"metadata": {}}, "updateStrategy": strategy});
            let status = json!({"desiredNumberScheduled": 5, "currentNumberScheduled": 5, "numberMisscheduled": 0, "numberReady": 5});
            let object = json!({"metadata": {}, "spec": spec, "status": status});
            Workload::from(serde_json::from_value::<DaemonSet>(object).unwrap()).rollout_takes
        };
        assert_eq!((of(json!({})), of(json!({"maxUnavailable": "50%"}))), (1, 3));
        assert_eq!(of(json!({"maxSurge": 1, "maxUnavailable": 0})), 0);
    }

    #[test]
    fn what_is_kept_of_it() {
        let it = deployment(json!({"replicas": 3, "paused": true}), json!({"readyReplicas": 1}));
        assert_eq!((it.replicas, it.ready, it.rollout), (3, 1, None));
        assert_eq!(it.template["c"].cpu_request, Some(supple_quantity::MilliCpu(1000)));
        assert_eq!(it.words.keys().collect::<Vec<_>>(), ["supple.dev/mode"]);
        assert_eq!(it.pod_labels["app"], "web");
    }
}
