//! Would the API server accept it? What is plain from the facts; and the whole forecast, for what is about to be sent.

use supple_quantity::Bytes;
use supple_resize::amounts::Requirement;
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{NodeObject, NodeSight, Reason, predict};

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Saying};
use crate::check::sight::Sight;
use crate::code::Code;
use crate::facts::Fixed;
use crate::policy::Mode;
use crate::round::Outcome;

/// The first minor version with `pods/resize` switched on, of API server and kubelet.
const SINCE: u32 = 33;

/// The first that resizes pods with resources of their own, and these themselves (KEP-5419, on by default since its beta).
const POD_LEVEL_SINCE: u32 = 36;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    let why = match sight.pod.fixed {
        Some(Fixed::StaticPod) => Some("static pods are never resized"),
        Some(Fixed::Windows) => Some("pods on Windows are never resized"),
        Some(Fixed::ResourceClaims) => Some("pods with claims on node resources are never resized"),
        None => None,
    };
    let claims = || sight.pod.containers.iter().any(|it| it.others.as_ref().is_some_and(|it| it.claims.is_some()));
    if let Some(why) = why.or_else(|| claims().then_some("pods with resource claims are never resized")) {
        draft.stop(Saying::refused(Check::Valid, Code::NotResizable, why));
    }
    // A pod that is about to be created is not resized.
    let server = sight.scene.cluster.minor_version.filter(|_| sight.siblings.is_none());
    if let Some(version) = server.filter(|it| *it < SINCE) {
        let message = format!("Kubernetes 1.{version} has no in-place resize: it requires 1.{SINCE}");
        draft.stop(Saying::refused(Check::Valid, Code::NodeUnsupported, message));
    }
    let old = sight.node().and_then(|it| it.kubelet).filter(|it| *it < SINCE);
    let is_silent = || sight.pod.containers.iter().any(|it| it.running_since.is_some() && it.actual.is_none());
    let unable = match old {
        Some(version) => Some(format!("its node is Kubernetes 1.{version}; in-place resize requires 1.{SINCE}")),
        None => is_silent()
            .then(|| "its node does not report allocated resources, so it does not support in-place resize".to_owned()),
    };
    if let Some(message) = unable {
        let saying = Saying::refused(Check::Valid, Code::NodeUnsupported, message);
        match sight.mode() {
            Mode::Recreate | Mode::InPlaceOrRecreate if draft.deed == Deed::Resize && draft.acts() => {
                draft.deed = Deed::Recreate(Code::NodeUnsupported);
                draft.remark(Saying { outcome: Outcome::Clamped, ..saying });
            }
            _ => draft.stop(saying),
        }
    }
    within_pod_level(sight, draft);
}

/// Containers stay within what the pod as a whole has.
fn within_pod_level(sight: &Sight<'_>, draft: &mut Draft) {
    if sight.pod.pod_level.is_empty() {
        return;
    }
    let version = sight.both().filter(|_| sight.siblings.is_none());
    if let Some(version) = version.filter(|it| *it < POD_LEVEL_SINCE) {
        let message = format!(
            "the pod has pod-level resources; resizing it requires Kubernetes 1.{POD_LEVEL_SINCE}, control plane and \
             node, and one of them is 1.{version}"
        );
        return draft.stop(Saying::refused(Check::Valid, Code::NodeUnsupported, message));
    }
    let level = sight.pod.pod_level;
    let overhead = sight.pod.overhead.amounts();
    let none = supple_resize::amounts::Amounts::default();
    let sum = sight.pod.effective(none, |index, _| draft.next(sight.pod, index, |_| true).amounts());
    let is_left = draft.hold_those_that_can_wait(sight.pod, |part, _| {
        let get = |requirement| level.get(part.resource, requirement);
        let together = |requirement| sum.get(part.resource, requirement) - overhead.get(part.resource, requirement);
        let request = get(Requirement::Request).filter(|it| together(Requirement::Request) > *it);
        let limit = get(Requirement::Limit).filter(|it| part.next.limit.is_some_and(|next| next > *it));
        let bound = request.filter(|_| part.next.request > part.now.request).or(limit)?;
        let (name, has) = (part.resource.as_str(), part.show(Some(bound)));
        let message = format!(
            "{}: the pod as a whole has {has} of {name}; raise that first, in place: kubectl patch pod {} --subresource=resize",
            part.step(),
            sight.pod.key.name
        );
        Some(Saying::refused(Check::Valid, Code::PodLevel, message))
    });
    if is_left {
        within_pod_level(sight, draft);
    }
}

/// The forecast of what is about to be sent, by the rules that the server and the node go by: the last look before it goes.
pub fn foresee(sight: &Sight<'_>, draft: &mut Draft) {
    let pod = sight.pod.to_pod();
    let change = draft.change(sight.pod);
    let mut node = NodeSight::default();
    if let Some(facts) = sight.node() {
        node.object = NodeObject::Present(Box::new(facts.object()));
        // What the others hold stays unknown to it: room is the ledger's business, which knows what is kept for whom.
        node.view.allocatable = facts.allocatable;
    }
    let namespace = sight.ledger.namespace(sight.scene, &sight.pod.key.namespace);
    let charged = sight.pod.containers.iter().filter_map(|it| {
        let used = sight.last_use(it)?;
        Some((it.name.to_string(), used.memory_charged.max(used.memory)?))
    });
    let containers: std::collections::BTreeMap<String, Bytes> = charged.collect();
    let usage = MemoryUsage { pod: None, containers };
    let forecast = predict(&pod, &change, &node, &namespace, Some(&usage));
    let Some(obstacle) = forecast.obstacle else { return };
    let (check, code) = match obstacle.reason {
        Reason::QosChange => (Check::Qos, Code::QosChange),
        Reason::LimitRange => (Check::LimitRange, Code::LimitRange),
        Reason::QuotaExceeded => (Check::Quota, Code::QuotaExceeded),
        Reason::NodeCapacity => (Check::Room, Code::NodeCapacity),
        Reason::NodeUnsupported => (Check::Valid, Code::NodeUnsupported),
        Reason::Infeasible => (Check::Valid, Code::Infeasible),
        Reason::Deferred => (Check::Room, Code::NoRoom),
        Reason::MemoryBelowUsage => (Check::MemoryDecrease, Code::BelowUse),
        Reason::NothingToDo | Reason::NoSuchContainer | Reason::Rejected => (Check::Valid, Code::Rejected),
    };
    draft.stop(Saying::refused(check, code, format!("{}; {}", obstacle.message, obstacle.advice)));
}
