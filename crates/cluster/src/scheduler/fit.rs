//! Whether a pod fits a node, and the reference's words for why it does not. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration};
use supple_quantity::Quantity;
use supple_resize::resources::{self, ResourceList};

/// A node with what is left of it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    node: Arc<Node>,
    free: BTreeMap<String, Quantity>,
    pods: i64,
}

/// Why no node would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoFit {
    nodes: usize,
    /// How many nodes refused for which reason.
    reasons: BTreeMap<String, usize>,
}

impl fmt::Display for NoFit {
    /// The reference's `FitError.Error()`, up to where it begins to speak of preemption, which this scheduler has not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, reasons } = self;
        if *nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        // Sorted as text with their counts in front, as there.
        let mut reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        write!(f, "0/{nodes} nodes are available: {}.", reasons.join(", "))
    }
}

impl Room {
    /// A node and what the pods bound to it [hold](held).
    pub(super) fn of<'a>(node: &Arc<Node>, bound: impl IntoIterator<Item = &'a ResourceList>) -> Self {
        let allocatable = node.status.as_ref().and_then(|it| it.allocatable.clone()).unwrap_or_default();
        let mut free: BTreeMap<String, Quantity> =
            allocatable.into_iter().filter_map(|(name, value)| Some((name, value.0.parse().ok()?))).collect();
        let pods = free.remove("pods").map_or(i64::MAX, |it| it.value());
        let mut room = Self { node: Arc::clone(node), free, pods };
        for held in bound {
            room.take(held);
        }
        room
    }

    /// Count a pod in that holds this.
    pub(super) fn take(&mut self, held: &ResourceList) {
        self.pods = self.pods.saturating_sub(1);
        for (name, wanted) in held.iter() {
            *self.free.entry(name.to_owned()).or_default() -= wanted;
        }
    }

    /// Every reason why the pod cannot go here: those of the first check that fails, in the reference's order of checks.
    fn refuse(&self, wanted: &Wanted<'_>) -> Vec<String> {
        let Wanted { spec, requests } = wanted;
        if self.node.spec.as_ref().is_some_and(|it| it.unschedulable == Some(true)) {
            let cordon = Taint {
                key: "node.kubernetes.io/unschedulable".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            };
            if !tolerated(&cordon, spec.tolerations.as_deref().unwrap_or_default()) {
                return vec!["node(s) were unschedulable".to_owned()];
            }
        }
        if untolerated(spec, &self.node, |it| it.effect == "NoSchedule" || it.effect == "NoExecute") {
            return vec!["node(s) had untolerated taint(s)".to_owned()];
        }
        if !is_chosen(spec, &self.node) {
            return vec!["node(s) didn't match Pod's node affinity/selector".to_owned()];
        }
        let mut reasons = Vec::new();
        if self.pods < 1 {
            reasons.push("Too many pods".to_owned());
        }
        let nothing = Quantity::default();
        for (name, wanted) in requests.iter() {
            if *wanted > nothing && wanted > self.free.get(name).unwrap_or(&nothing) {
                reasons.push(format!("Insufficient {name}"));
            }
        }
        reasons
    }
}

/// What a pod takes of its node: of each container the greatest of what it wants, was promised and has, so that a deferred
/// increase keeps its place (reference §3.7).
pub(super) fn held(pod: &Pod) -> ResourceList {
    resources::pod_requests_with_status(pod)
}

/// What a pod wants of a node, looked up once for all nodes.
struct Wanted<'a> {
    spec: &'a PodSpec,
    requests: ResourceList,
}

/// The node for a pod, by name: of those that fit, the one with the most CPU left, so that resizes find room everywhere.
pub(super) fn place(pod: &Pod, rooms: &BTreeMap<String, Room>) -> Result<String, NoFit> {
    let mut no_fit = NoFit { nodes: rooms.len(), reasons: BTreeMap::new() };
    let mut best: Option<(&String, &Quantity)> = None;
    let (nothing, nobody) = (Quantity::default(), PodSpec::default());
    let wanted = Wanted { spec: pod.spec.as_ref().unwrap_or(&nobody), requests: resources::pod_requests(pod) };
    for (name, room) in rooms {
        let reasons = room.refuse(&wanted);
        if reasons.is_empty() {
            let free = room.free.get("cpu").unwrap_or(&nothing);
            if best.is_none_or(|(_, most)| free > most) {
                best = Some((name, free));
            }
        }
        for reason in reasons {
            *no_fit.reasons.entry(reason).or_default() += 1;
        }
    }
    best.map(|(name, _)| name.clone()).ok_or(no_fit)
}

/// Whether the node has a taint of such a kind that the pod does not tolerate.
pub(crate) fn untolerated(spec: &PodSpec, node: &Node, is_meant: impl Fn(&Taint) -> bool) -> bool {
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let mut taints = node.spec.iter().flat_map(|it| it.taints.iter().flatten());
    taints.any(|it| is_meant(it) && !tolerated(it, tolerations))
}

/// Whether the pod's node selector and required node affinity want the node.
pub(crate) fn is_chosen(spec: &PodSpec, node: &Node) -> bool {
    let nothing = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&nothing);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let required = spec
        .affinity
        .as_ref()
        .and_then(|it| it.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref());
    spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && required.is_none_or(|it| it.node_selector_terms.iter().any(|term| term_matches(term, labels, name)))
}

/// `v1.Toleration.ToleratesTaint`.
fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|it| {
        let effect = it.effect.as_deref().unwrap_or_default();
        let key = it.key.as_deref().unwrap_or_default();
        let fits = (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key);
        fits && match it.operator.as_deref().unwrap_or("Equal") {
            "Exists" => true,
            "Equal" | "" => {
                !key.is_empty() && it.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
            _ => false,
        }
    })
}

/// All requirements of a term must hold; an empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|it| requirement_holds(it, labels.get(&it.key).map(String::as_str)))
        && fields.iter().all(|it| it.key == "metadata.name" && requirement_holds(it, Some(name)))
}

fn requirement_holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let ordered = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(|it| number(it));
        value.and_then(number).zip(bound).is_some_and(|(value, bound)| holds(value, bound))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|it| values.iter().any(|other| other == it)),
        "NotIn" => value.is_none_or(|it| values.iter().all(|other| other != it)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => ordered(|value, bound| value > bound),
        "Lt" => ordered(|value, bound| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(extra: serde_json::Value) -> Arc<Node> {
        let mut node = json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd", "cores": "8"}},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
        });
        if let Some(extra) = extra.as_object() {
            node.as_object_mut().unwrap().extend(extra.clone());
        }
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn pod(cpu: &str, memory: &str, spec: serde_json::Value) -> Pod {
        let mut all = json!({
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}],
        });
        if let Some(spec) = spec.as_object() {
            all.as_object_mut().unwrap().extend(spec.clone());
        }
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": all})).unwrap()
    }

    /// A node with these pods.
    fn room<'a>(node: &Arc<Node>, bound: impl IntoIterator<Item = &'a Pod>) -> Room {
        let held: Vec<ResourceList> = bound.into_iter().map(held).collect();
        Room::of(node, &held)
    }

    #[track_caller]
    fn check(pod: &Pod, rooms: &[Room], expect: Result<usize, &str>) {
        let named = rooms.iter().enumerate().map(|(index, room)| (index.to_string(), room.clone())).collect();
        let got = place(pod, &named).map_err(|it| it.to_string());
        assert_eq!(
            got.as_ref().map(String::as_str).map_err(String::as_str),
            expect.map(|it| it.to_string()).as_deref().map_err(|it| *it)
        );
    }

    #[test]
    fn room_is_what_bound_pods_leave() {
        let bound = [pod("500m", "1Gi", json!({})), pod("1", "1Gi", json!({}))];
        let rooms = [room(&node(json!({})), &bound)];
        check(&pod("500m", "2Gi", json!({})), &rooms, Ok(0));
        check(&pod("501m", "1Gi", json!({})), &rooms, Err("0/1 nodes are available: 1 Insufficient cpu."));
        check(
            &pod("1", "3Gi", json!({})),
            &rooms,
            Err("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."),
        );
        check(&pod("1", "1Gi", json!({})), &[], Err("no nodes available to schedule pods"));
    }

    #[test]
    fn pods_are_counted() {
        let bound = [pod("0", "0", json!({})), pod("0", "0", json!({})), pod("0", "0", json!({}))];
        let rooms = [room(&node(json!({})), &bound)];
        check(&pod("1m", "1", json!({})), &rooms, Err("0/1 nodes are available: 1 Too many pods."));
    }

    /// How many millicores a pod takes of its node: what it wants, was allocated and has (nothing: not told of) are given,
    /// and the reason of its pending resize, if one is pending.
    #[track_caller]
    fn check_held(wants: &str, allocated: &str, has: &str, pending: &str, expect: i64) {
        let mut bound = pod(wants, "1Gi", json!({}));
        let mut status = json!({"name": "c", "ready": true, "restartCount": 0, "image": "", "imageID": ""});
        if !allocated.is_empty() {
            status["allocatedResources"] = json!({"cpu": allocated});
        }
        if !has.is_empty() {
            status["resources"] = json!({"requests": {"cpu": has}});
        }
        let pending =
            (!pending.is_empty()).then(|| json!({"type": "PodResizePending", "status": "True", "reason": pending}));
        let conditions: Vec<_> = pending.into_iter().collect();
        let status = json!({"containerStatuses": [status], "conditions": conditions});
        bound.status = serde_json::from_value(status).unwrap();
        let free = |room: &Room| room.free["cpu"].milli();
        let (empty, full) = (room(&node(json!({})), []), room(&node(json!({})), [&bound]));
        assert_eq!(free(&empty) - free(&full), expect, "wants {wants}, {allocated:?} allocated, has {has:?}");
    }

    /// The reference's own cases (scheduler/framework/types_test.go, component-helpers/resource/helpers_test.go).
    #[test]
    fn a_pod_takes_the_greatest_of_what_it_wants_was_promised_and_has() {
        check_held("700m", "500m", "500m", "Deferred", 700);
        check_held("700m", "500m", "500m", "Infeasible", 500);
        check_held("6", "4", "2", "Infeasible", 4000);
        check_held("4", "2", "2", "", 4000);
        check_held("30m", "10m", "20m", "", 30);
        check_held("10m", "30m", "20m", "", 30);
        check_held("10m", "20m", "30m", "", 30);
        check_held("500m", "500m", "800m", "", 800);
        check_held("4", "", "", "Infeasible", 4000);
        check_held("4", "", "", "", 4000);
    }

    #[test]
    fn a_sidecar_is_counted_likewise_and_another_init_container_by_what_it_wants() {
        let told = |name: &str| {
            json!({
                "name": name, "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "resources": {"requests": {"cpu": "900m"}}, "allocatedResources": {"cpu": "900m"},
            })
        };
        let taken = |restart: serde_json::Value| {
            let requests = json!({"requests": {"cpu": "100m"}});
            let init = json!([{"name": "i", "resources": requests, "restartPolicy": restart}]);
            let mut bound = pod("200m", "1Gi", json!({"initContainers": init}));
            bound.status = serde_json::from_value(json!({"initContainerStatuses": [told("i")]})).unwrap();
            2000 - room(&node(json!({})), [&bound]).free["cpu"].milli()
        };
        assert_eq!(taken(json!("Always")), 1100);
        assert_eq!(taken(json!(null)), 200);
    }

    #[test]
    fn a_deferred_increase_keeps_its_place() {
        let mut bound = pod("1500m", "1Gi", json!({}));
        bound.status = serde_json::from_value(json!({"containerStatuses": [{
            "name": "c", "ready": true, "restartCount": 0, "image": "", "imageID": "",
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
            "allocatedResources": {"cpu": "500m", "memory": "1Gi"},
        }]}))
        .unwrap();
        let rooms = [room(&node(json!({})), [&bound])];
        check(&pod("1", "1Gi", json!({})), &rooms, Err("0/1 nodes are available: 1 Insufficient cpu."));
    }

    #[test]
    fn cordons_and_taints_are_heeded() {
        let cordoned = [room(&node(json!({"spec": {"unschedulable": true}})), [])];
        check(&pod("1", "1", json!({})), &cordoned, Err("0/1 nodes are available: 1 node(s) were unschedulable."));
        check(&pod("1", "1", json!({"tolerations": [{"operator": "Exists"}]})), &cordoned, Ok(0));
        let tainted =
            [room(&node(json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})), [])];
        check(&pod("1", "1", json!({})), &tainted, Err("0/1 nodes are available: 1 node(s) had untolerated taint(s)."));
        check(&pod("1", "1", json!({"tolerations": [{"key": "k", "value": "v"}]})), &tainted, Ok(0));
        check(
            &pod("1", "1", json!({"tolerations": [{"key": "k", "value": "w"}]})),
            &tainted,
            Err("0/1 nodes are available: 1 node(s) had untolerated taint(s)."),
        );
        let preferred = [room(&node(json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}})), [])];
        check(&pod("1", "1", json!({})), &preferred, Ok(0));
    }

    #[test]
    fn selectors_and_affinity_are_heeded() {
        let rooms = [room(&node(json!({})), [])];
        let refused = Err("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
        check(&pod("1", "1", json!({"nodeSelector": {"disk": "ssd"}})), &rooms, Ok(0));
        check(&pod("1", "1", json!({"nodeSelector": {"disk": "tape"}})), &rooms, refused);
        let affinity = |operator: &str, values: serde_json::Value| {
            let terms = json!([{"matchExpressions": [{"key": "cores", "operator": operator, "values": values}]}]);
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            pod("1", "1", json!({"affinity": {"nodeAffinity": required}}))
        };
        check(&affinity("Gt", json!(["4"])), &rooms, Ok(0));
        check(&affinity("Lt", json!(["4"])), &rooms, refused);
        check(&affinity("NotIn", json!(["8"])), &rooms, refused);
        check(&affinity("Exists", json!([])), &rooms, Ok(0));
    }

    #[test]
    fn the_emptier_node_is_taken() {
        let full = room(&node(json!({})), &[pod("1", "1Gi", json!({}))]);
        let empty = room(&node(json!({})), []);
        check(&pod("1", "1", json!({})), &[full.clone(), empty, full], Ok(1));
    }
}
