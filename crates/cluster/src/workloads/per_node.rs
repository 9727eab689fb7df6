//! A pod on every node that will have it: the way of a DaemonSet (reference: `pkg/controller/daemon`).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Affinity, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration};
use supple_resize::rolling::Fence;

use super::history::{self, History, REVISION_LABEL, Source};
use super::plan::{Effect, Plan, Scene, Told};
use super::pods::{self, Available};
use super::replicas::{create_pod, delete_pod};
use super::template::{self, annotation, label};
use crate::scheduler::fit;

/// Conditions of a node that do not keep these pods away (`AddOrUpdateDaemonPodTolerations`).
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Counts the changes of the template; kept by the API server for old clients.
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// What of a DaemonSet decides a step, read once.
struct Fleet<'a> {
    scene: &'a Scene<'a, DaemonSet>,
    spec: &'a DaemonSetSpec,
    /// The hash by which pods of the present template are known.
    present: String,
    /// Nodes with what may be there, and the pods that are.
    berths: BTreeMap<&'a str, Berth<'a>>,
    /// Pods for nodes that do not exist.
    lost: Vec<&'a Arc<Pod>>,
}

#[derive(Default)]
struct Berth<'a> {
    /// A pod should be started here.
    starts: bool,
    /// A pod that is here may stay.
    stays: bool,
    /// Oldest first.
    pods: Vec<&'a Arc<Pod>>,
}

/// What a DaemonSet needs done.
pub(super) fn plan(scene: &Scene<'_, DaemonSet>) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = scene.owner.spec.clone() else { return plan };
    let old = scene.owner.status.clone().unwrap_or_default();
    let source = Source {
        template: &spec.template,
        selector: &spec.selector,
        collisions: old.collision_count,
        hash_label: REVISION_LABEL,
    };
    let Some(history) = history::sync(scene, &source, &mut plan) else {
        let status = DaemonSetStatus { collision_count: Some(old.collision_count.unwrap_or_default() + 1), ..old };
        plan.push(Effect::status(&DaemonSet { status: Some(status), ..DaemonSet::clone(scene.owner) }));
        return plan;
    };
    let mine = scene.claim::<Pod>(Some(&spec.selector), |_| true, &mut plan);
    let fleet = Fleet::of(scene, &spec, &history, &mine);
    let status = fleet.status(&old, &mut plan);
    if status != old || scene.owner.status.is_none() {
        plan.push(Effect::status(&DaemonSet { status: Some(status), ..DaemonSet::clone(scene.owner) }));
    }
    if scene.is_going() {
        return plan;
    }
    let steps = plan.effects.len();
    fleet.settle(&mut plan);
    let strategy = spec.update_strategy.as_ref();
    if plan.effects.len() == steps && strategy.and_then(|it| it.type_.as_deref()) != Some("OnDelete") {
        fleet.update(&mut plan);
    }
    let hashes: Vec<&str> = mine.iter().filter_map(|it| label(&it.metadata, REVISION_LABEL)).collect();
    let is_live = |it: &&k8s_openapi::api::apps::v1::ControllerRevision| {
        label(&it.metadata, REVISION_LABEL).is_some_and(|it| hashes.contains(&it) || it == fleet.present)
    };
    let live: Vec<&str> = history.all.iter().filter(is_live).map(history::name).collect();
    history::truncate(&history, &live, spec.revision_history_limit, &mut plan);
    plan
}

impl<'a> Fleet<'a> {
    fn of(scene: &'a Scene<'a, DaemonSet>, spec: &'a DaemonSetSpec, history: &History, mine: &[&'a Arc<Pod>]) -> Self {
        let present = label(&history.present.metadata, REVISION_LABEL).unwrap_or_default().to_owned();
        let tried = tolerant(spec.template.spec.clone().unwrap_or_default());
        let mut berths: BTreeMap<&str, Berth<'_>> = BTreeMap::new();
        for node in scene.view.nodes.iter() {
            let (starts, stays) = welcomes(node, &tried);
            let name = node.metadata.name.as_deref().unwrap_or_default();
            berths.insert(name, Berth { starts, stays, pods: Vec::new() });
        }
        let mut lost = Vec::new();
        for pod in mine {
            match target(pod).and_then(|it| berths.get_mut(it)) {
                Some(berth) => berth.pods.push(pod),
                None => lost.push(*pod),
            }
        }
        for berth in berths.values_mut() {
            berth.pods.sort_by_key(|it| (it.metadata.creation_timestamp.clone(), it.metadata.name.clone()));
        }
        Self { scene, spec, present, berths, lost }
    }

    fn is_present(&self, pod: &Pod) -> bool {
        label(&pod.metadata, REVISION_LABEL) == Some(&self.present)
    }

    fn availability(&self, pod: &Pod, plan: &mut Plan) -> bool {
        match pods::available(pod, self.spec.min_ready_seconds.unwrap_or_default(), self.scene.now) {
            Available::Yes => !pods::is_going(pod),
            Available::No => false,
            Available::At(at) => {
                plan.again_at(at);
                false
            }
        }
    }

    /// How many nodes want a pod.
    fn wanted(&self) -> i32 {
        i32::try_from(self.berths.values().filter(|it| it.starts).count()).unwrap_or(i32::MAX)
    }

    /// How many nodes may have two, and how many none, while the template changes.
    fn fence(&self) -> (i32, i32) {
        let rolling = self.spec.update_strategy.as_ref().and_then(|it| it.rolling_update.as_ref());
        let Fence { surge, unavailable } = Fence::of_daemon_set(rolling, self.wanted());
        (surge, unavailable)
    }

    /// Pods onto nodes that want one and have none, and away from nodes that do not want theirs.
    fn settle(&self, plan: &mut Plan) {
        let (surge, _) = self.fence();
        for (node, berth) in &self.berths {
            if !berth.stays {
                plan.effects.extend(berth.pods.iter().filter(|it| !pods::is_going(it)).map(|it| delete_pod(it)));
                continue;
            }
            let mut running = Vec::new();
            for pod in &berth.pods {
                if pods::is_going(pod) {
                    continue;
                }
                if pods::is_over(pod) {
                    plan.push(Effect::tell(ended(pod, node)));
                    plan.push(delete_pod(pod));
                } else {
                    running.push(*pod);
                }
            }
            if berth.pods.is_empty() && berth.starts {
                plan.push(create_pod(&self.pod(node)));
            }
            // With a surge, an old one and a new one may stand side by side.
            let (present, old): (Vec<_>, Vec<_>) =
                running.into_iter().partition(|it| surge == 0 || self.is_present(it));
            plan.effects.extend(present.iter().skip(1).chain(old.iter().skip(1)).map(|it| delete_pod(it)));
        }
        let unbound = |it: &&&Arc<Pod>| {
            !pods::is_going(it)
                && it.spec.as_ref().is_none_or(|it| it.node_name.as_deref().unwrap_or_default().is_empty())
        };
        plan.effects.extend(self.lost.iter().filter(unbound).map(|it| delete_pod(it)));
    }

    /// Pods of an earlier template replaced, as many at once as may be missing (or doubled).
    fn update(&self, plan: &mut Plan) {
        let (surge, unavailable) = self.fence();
        if surge > 0 { self.surge(surge, plan) } else { self.replace(unavailable, plan) }
    }

    fn replace(&self, allowed: i32, plan: &mut Plan) {
        let (mut missing, mut broken, mut serving) = (0, Vec::new(), Vec::new());
        for berth in self.berths.values().filter(|it| it.starts || it.stays && !it.pods.is_empty()) {
            match berth.pods.as_slice() {
                [pod] if pods::is_going(pod) => missing += 1,
                [pod] => match (self.is_present(pod), self.availability(pod, plan)) {
                    (true, true) => {}
                    (true, false) => missing += 1,
                    (false, true) => serving.push(*pod),
                    (false, false) => {
                        missing += 1;
                        broken.push(*pod);
                    }
                },
                _ => missing += 1,
            }
        }
        // What does not serve is missing already; replacing it costs nothing.
        let left = usize::try_from(allowed - missing).unwrap_or(0);
        plan.effects.extend(broken.into_iter().chain(serving.into_iter().take(left)).map(|it| delete_pod(it)));
    }

    fn surge(&self, allowed: i32, plan: &mut Plan) {
        let (mut doubled, mut urgent, mut others) = (0, Vec::new(), Vec::new());
        for (node, berth) in &self.berths {
            let here =
                |present: bool| berth.pods.iter().find(|it| !pods::is_going(it) && self.is_present(it) == present);
            let Some(old) = here(false) else { continue };
            let old_serves = self.availability(old, plan);
            match here(true) {
                Some(new) if self.availability(new, plan) || !old_serves => plan.push(delete_pod(old)),
                Some(_) => doubled += 1,
                None if !old_serves => urgent.push(*node),
                None => others.push(*node),
            }
        }
        let left = usize::try_from(allowed - doubled).unwrap_or(0);
        let chosen = urgent.into_iter().chain(others).take(left);
        plan.effects.extend(chosen.map(|node| create_pod(&self.pod(node))));
    }

    /// The pod for a node. The scheduler puts it there: it is bound by an affinity, not by us.
    fn pod(&self, node: &str) -> Pod {
        let mut pod = template::pod(self.scene.owner.as_ref(), &self.spec.template);
        let labels = template::labels(&mut pod.metadata);
        labels.insert(REVISION_LABEL.to_owned(), self.present.clone());
        if let Some(generation) = annotation(self.scene.meta(), GENERATION) {
            labels.insert("pod-template-generation".to_owned(), generation.to_owned());
        }
        let mut spec = tolerant(pod.spec.take().unwrap_or_default());
        let to = NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        };
        let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
        let required = affinity
            .node_affinity
            .get_or_insert_default()
            .required_during_scheduling_ignored_during_execution
            .get_or_insert_default();
        if required.node_selector_terms.is_empty() {
            required.node_selector_terms.push(NodeSelectorTerm::default());
        }
        for term in &mut required.node_selector_terms {
            term.match_fields = Some(vec![to.clone()]);
        }
        pod.spec = Some(spec);
        pod
    }

    fn status(&self, old: &DaemonSetStatus, plan: &mut Plan) -> DaemonSetStatus {
        let mut status = DaemonSetStatus {
            desired_number_scheduled: self.wanted(),
            observed_generation: self.scene.meta().generation,
            collision_count: old.collision_count,
            conditions: old.conditions.clone(),
            ..DaemonSetStatus::default()
        };
        let (mut available, mut updated) = (0, 0);
        for berth in self.berths.values().filter(|it| !it.pods.is_empty()) {
            if !berth.starts {
                status.number_misscheduled += 1;
                continue;
            }
            status.current_number_scheduled += 1;
            let any = |is: &mut dyn FnMut(&Pod) -> bool| i32::from(berth.pods.iter().any(|it| is(it)));
            status.number_ready += any(&mut |pod| pods::is_ready(pod));
            available += any(&mut |pod| self.availability(pod, plan));
            updated += any(&mut |pod| self.is_present(pod));
        }
        let some = |count: i32| (count > 0).then_some(count);
        status.number_available = some(available);
        status.updated_number_scheduled = some(updated);
        status.number_unavailable = some(status.desired_number_scheduled - available);
        status
    }
}

fn ended(pod: &Pod, node: &str) -> Told {
    let (namespace, name) =
        (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
    if pods::phase(pod) == "Failed" {
        let text = format!("Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it");
        Told::warning("FailedDaemonPod", text)
    } else {
        let text = format!("Found succeeded daemon pod {namespace}/{name} on node {node}, will try to delete it");
        Told::normal("SucceededDaemonPod", text)
    }
}

/// With everything such a pod tolerates.
fn tolerant(mut spec: PodSpec) -> PodSpec {
    let tolerations = spec.tolerations.get_or_insert_default();
    let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
    for (key, effect) in TOLERATED.into_iter().chain((spec.host_network == Some(true)).then_some(network)) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec
}

/// Whether a node is to get such a pod, and whether one that is there may stay.
fn welcomes(node: &Node, spec: &PodSpec) -> (bool, bool) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let named = spec.node_name.as_deref().is_none_or(|it| it.is_empty() || it == name);
    if !named || !fit::is_chosen(spec, node) {
        return (false, false);
    }
    let keeps_out = |effect: &str| fit::untolerated(spec, node, |it| it.effect == effect);
    let stays = !keeps_out("NoExecute");
    (stays && !keeps_out("NoSchedule"), stays)
}

/// The node a pod is on, or is meant for.
fn target(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|it| !it.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|it| it.match_fields.iter().flatten());
    let mut names = fields.filter(|it| it.key == "metadata.name").flat_map(|it| it.values.iter().flatten());
    names.next().map(String::as_str)
}
