//! What the controllers ask of a pod: does it run, is it ready, for how long, is it over, and which one is missed least.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::template::annotation;

/// Lets its owner say which pods to take first (reference: `core.PodDeletionCost`).
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The phase; empty where there is none yet.
pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|it| it.phase.as_deref()).unwrap_or_default()
}

/// Whether it has ended.
pub(super) fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether somebody has begun to delete it.
pub(super) fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts among the pods an owner has.
pub(super) fn is_active(pod: &Pod) -> bool {
    !is_over(pod) && !is_going(pod)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|it| it.type_ == "Ready")
}

/// Whether it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|it| it.status == "True")
}

/// Since when it is ready.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod).filter(|it| it.status == "True")?.last_transition_time.as_ref().map(|it| it.0)
}

/// Whether it has been ready for so many seconds (`minReadySeconds`), or will be at a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Available {
    /// It is not ready.
    No,
    /// It is ready, and will be available then if it stays so.
    At(Timestamp),
    /// It is.
    Yes,
}

/// `podutil.IsPodAvailable`.
pub(super) fn available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Available {
    if !is_ready(pod) {
        return Available::No;
    }
    if min_ready_seconds <= 0 {
        return Available::Yes;
    }
    let Some(since) = ready_since(pod) else { return Available::No };
    let at = since.saturating_add(SignedDuration::from_secs(min_ready_seconds.into())).unwrap_or(Timestamp::MAX);
    if at <= now { Available::Yes } else { Available::At(at) }
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|it| it.node_name.as_deref()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|it| it.container_statuses.iter().flatten());
    statuses.map(|it| it.restart_count).max().unwrap_or_default()
}

fn deletion_cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, DELETION_COST).and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Puts the pods that are missed least first: not placed, not running, not ready, cheap by their own word, doubled up on
/// a node, lately ready, often restarted, young (`controller.ActivePodsWithRanks`). Ages are compared by magnitude, so
/// that among pods of one age chance (their UID) decides and not a second. `related`: the pods that count for doubling
/// up, those of every generation of the same workload.
pub(super) fn least_missed<'a>(
    pods: &mut [&Arc<Pod>],
    related: impl IntoIterator<Item = &'a Arc<Pod>>,
    now: Timestamp,
) {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.into_iter().filter(|it| is_active(it)) {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let order = |phase: &str| match phase {
        "Pending" => 0,
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    };
    pods.sort_by(|one, other| {
        let doubled = |pod: &Pod| on_node.get(node(pod)).copied().unwrap_or_default();
        let uid = |pod: &Pod| pod.metadata.uid.clone();
        let by_age = |one_at: Option<Timestamp>, other_at: Option<Timestamp>| match (one_at, other_at) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) if a == b => Ordering::Equal,
            (Some(a), Some(b)) => magnitude(a, now).cmp(&magnitude(b, now)).then_with(|| uid(one).cmp(&uid(other))),
        };
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|it| it.0);
        (!node(one).is_empty())
            .cmp(&!node(other).is_empty())
            .then_with(|| order(phase(one)).cmp(&order(phase(other))))
            .then_with(|| is_ready(one).cmp(&is_ready(other)))
            .then_with(|| deletion_cost(one).cmp(&deletion_cost(other)))
            .then_with(|| doubled(other).cmp(&doubled(one)))
            .then_with(|| {
                if is_ready(one) && is_ready(other) {
                    by_age(ready_since(one), ready_since(other))
                } else {
                    Ordering::Equal
                }
            })
            .then_with(|| restarts(other).cmp(&restarts(one)))
            .then_with(|| by_age(created(one), created(other)))
            .then_with(|| uid(one).cmp(&uid(other)))
    });
}

/// How many binary digits the age has; nothing for what lies ahead.
fn magnitude(at: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(at).as_nanos();
    if age <= 0 { -1 } else { i64::from(age.ilog2()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A ready pod, 1000 s old, on its own node; `change` alters fields by their pointers.
    fn pod(name: &str, change: Value) -> Arc<Pod> {
        let mut tree = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": at(0), "annotations": {}},
            "spec": {"nodeName": name, "containers": []},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(0)}],
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
            },
        });
        for (path, value) in change.as_object().unwrap() {
            let (parent, field) = path.rsplit_once('/').unwrap();
            match tree.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
                parent => parent[field] = value.clone(),
            }
        }
        Arc::new(serde_json::from_value(tree).unwrap())
    }

    #[track_caller]
    fn check(less: Value, more: Value) {
        let (less, more) = (pod("z", less), pod("a", more));
        for mut pods in [[&less, &more], [&more, &less]] {
            let all = pods;
            least_missed(&mut pods, all, at(1000));
            assert_eq!(pods.map(|it| it.metadata.name.as_deref().unwrap()), ["z", "a"]);
        }
    }

    #[test]
    fn the_least_missed_goes_first() {
        check(json!({"/spec/nodeName": ""}), json!({"/status/phase": "Pending"}));
        check(json!({"/status/phase": "Pending"}), json!({"/status/phase": "Unknown"}));
        check(json!({"/status/phase": "Unknown"}), json!({"/status/conditions/0/status": "False"}));
        check(json!({"/status/conditions/0/status": "False"}), json!({"/metadata/annotations": {DELETION_COST: "-5"}}));
        check(json!({"/metadata/annotations": {DELETION_COST: "-5"}}), json!({}));
        check(json!({"/status/conditions/0/lastTransitionTime": at(990)}), json!({}));
        check(json!({"/status/containerStatuses/0/restartCount": 3}), json!({}));
        check(json!({"/metadata/creationTimestamp": at(990)}), json!({}));
    }

    #[test]
    fn ages_of_one_magnitude_are_the_same_age() {
        check(
            json!({"/metadata/uid": "1", "/metadata/creationTimestamp": at(0)}),
            json!({"/metadata/uid": "2", "/metadata/creationTimestamp": at(10)}),
        );
    }

    #[test]
    fn of_a_doubled_node_one_goes() {
        let (a, b, c) =
            (pod("a", json!({})), pod("b", json!({"/spec/nodeName": "x"})), pod("c", json!({"/spec/nodeName": "x"})));
        let mut pods = [&a, &b, &c];
        let all = pods;
        least_missed(&mut pods, all, at(1000));
        assert_eq!(pods[2].metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn available_is_ready_for_long_enough() {
        let ready = pod("a", json!({"/status/conditions/0/lastTransitionTime": at(100)}));
        assert_eq!(available(&ready, 0, at(100)), Available::Yes);
        assert_eq!(available(&ready, 30, at(129)), Available::At(at(130)));
        assert_eq!(available(&ready, 30, at(130)), Available::Yes);
        assert_eq!(available(&pod("b", json!({"/status/conditions/0/status": "False"})), 0, at(500)), Available::No);
    }
}
