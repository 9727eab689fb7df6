//! What would have to change, in a sentence, for each obstacle.

use supple_quantity::Quantity;

use super::{NoSuchContainer, Obstacle, Reason};
use crate::admission::Denial;
use crate::allocate::{Impossible, ShortResource, Shortage};
use crate::guard::{self, BelowUsage};
use crate::qos::QosClass;

fn obstacle(reason: Reason, message: impl Into<String>, advice: impl Into<String>) -> Obstacle {
    Obstacle { reason, message: message.into(), advice: advice.into() }
}

pub(super) fn nothing_to_do() -> Obstacle {
    obstacle(Reason::NothingToDo, "the pod has these sizes already", "ask for other sizes")
}

pub(super) fn no_such_container(it: &NoSuchContainer) -> Obstacle {
    let advice = format!("name one of {}", it.has.join(", "));
    obstacle(Reason::NoSuchContainer, format!("the pod has no container {:?}", it.container), advice)
}

pub(super) fn rejected(message: String) -> Obstacle {
    obstacle(Reason::Rejected, message, "change the sizes as the message says")
}

pub(super) fn qos_change(message: String, old: QosClass, new: QosClass) -> Obstacle {
    let keep = match old {
        QosClass::Guaranteed => "keep every request equal to its limit",
        QosClass::Burstable if new == QosClass::Guaranteed => "keep at least one request below its limit",
        QosClass::Burstable => "keep at least one request or limit above zero",
        QosClass::BestEffort => "create the pod anew with requests: one without any can have none by a resize",
    };
    obstacle(Reason::QosChange, message, format!("the pod is {old} and would become {new}: {keep}"))
}

pub(super) fn denied(reason: Reason, denial: Denial) -> Obstacle {
    let advice = match reason {
        Reason::LimitRange => "stay within the namespace's limit range, or change that",
        Reason::QuotaExceeded => "ask for less, shrink another pod of the namespace, or raise the quota",
        Reason::NodeCapacity => "ask for less than the whole node has, or move the pod to a larger one",
        _ => "move the pod to a node that can resize it",
    };
    obstacle(reason, denial.message, advice)
}

pub(super) fn infeasible(why: Impossible) -> Obstacle {
    let advice = match why {
        Impossible::Swap => "give the container's memory the resize policy RestartContainer, by creating the pod anew",
        Impossible::StaticCpuManager | Impossible::StaticMemoryManager => {
            "create the pod anew with the sizes: this node pins what Guaranteed pods own"
        }
    };
    obstacle(Reason::Infeasible, why.to_string(), advice)
}

pub(super) fn deferred(shortage: &Shortage) -> Obstacle {
    let amount = |it: i64| match shortage.resource {
        ShortResource::Cpu => Quantity::milli_units(it).to_string(),
        ShortResource::Memory => Quantity::binary(it).to_string(),
        ShortResource::Pods => it.to_string(),
    };
    let missing = shortage.requested.saturating_add(shortage.used).saturating_sub(shortage.capacity);
    let advice = if shortage.requested > shortage.capacity {
        format!("the pod alone asks for more {} than the node's {}", shortage.resource, amount(shortage.capacity))
    } else {
        let free = shortage.capacity.saturating_sub(shortage.used).max(0);
        format!(
            "other pods of the node must give back {} of {}, or ask for at most {} for the whole pod",
            amount(missing),
            shortage.resource,
            amount(free)
        )
    };
    obstacle(Reason::Deferred, shortage.to_string(), advice)
}

pub(super) fn below_usage(refusal: &BelowUsage) -> Obstacle {
    let show = |it: supple_quantity::Bytes| Quantity::binary(it.0).to_string();
    let above = |it: &guard::Reason| match it {
        guard::Reason::PodUsage { usage, .. } => Some(format!("the pod's limit above the {} it uses", show(*usage))),
        guard::Reason::ContainerUsage { container, usage, .. } => {
            Some(format!("the limit of container {container} above the {} it uses", show(*usage)))
        }
        guard::Reason::PodUnknown | guard::Reason::ContainerUnknown { .. } => None,
    };
    let above: Vec<String> = refusal.reasons.iter().filter_map(above).collect();
    obstacle(Reason::MemoryBelowUsage, refusal.to_string(), format!("keep {}", above.join(" and ")))
}
