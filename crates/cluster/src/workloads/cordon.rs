//! The taint of a cordoned node: `kubectl cordon` sets a field, and what tolerates is said of taints (reference:
//! `pkg/controller/nodelifecycle`).

use k8s_openapi::api::core::v1::{Node, Taint};

use super::plan::{Effect, Plan, Scene};

const KEY: &str = "node.kubernetes.io/unschedulable";
const EFFECT: &str = "NoSchedule";

/// What a node needs done.
pub(super) fn plan(scene: &Scene<'_, Node>) -> Plan {
    let mut plan = Plan::default();
    let mut node = Node::clone(scene.owner);
    let spec = node.spec.get_or_insert_default();
    let cordoned = spec.unschedulable == Some(true);
    let mut taints = spec.taints.take().unwrap_or_default();
    let is_ours = |it: &Taint| it.key == KEY && it.effect == EFFECT;
    if taints.iter().any(is_ours) == cordoned || scene.is_going() {
        return plan;
    }
    if cordoned {
        taints.push(Taint {
            key: KEY.to_owned(),
            effect: EFFECT.to_owned(),
            time_added: Some(scene.stamp()),
            ..Taint::default()
        });
    } else {
        taints.retain(|it| !is_ours(it));
    }
    spec.taints = (!taints.is_empty()).then_some(taints);
    plan.push(Effect::update(&node));
    plan
}
