//! The API server's half of a forecast: the way of one `/resize` request, in its order (reference §1.4, §3.1).

use k8s_openapi::api::core::v1::Pod;

use super::{Change, NamespaceSight, NodeObject, NodeSight, Obstacle, Reason, advice};
use crate::admission::{Denial, limit_range, node, quota};
use crate::{defaults, field, qos, strategy, validate};

/// The pod as it would be stored.
pub(super) fn accept(
    pod: &Pod,
    change: &Change,
    sight: &NodeSight,
    namespace: &NamespaceSight,
) -> Result<Pod, Obstacle> {
    let mut new = change.applied_to(pod).map_err(|it| advice::no_such_container(&it))?;
    defaults::apply(&mut new);
    // A pod that is being deleted is past its limit ranges (reference §3.4).
    let ranges = if pod.metadata.deletion_timestamp.is_some() { &[][..] } else { &namespace.limit_ranges };
    limit_range::default_pod(&mut new, ranges);
    strategy::prepare_for_resize(&mut new, pod);
    let errors = validate::resize(&new, pod);
    if !errors.is_empty() {
        let (old_class, new_class) = (qos::recorded(pod), qos::compute(&new));
        let message = field::join(&errors);
        return Err(match old_class == new_class {
            true => advice::rejected(message),
            false => advice::qos_change(message, old_class, new_class),
        });
    }
    let refused = |reason: Reason| move |denial: Denial| advice::denied(reason, denial);
    limit_range::validate_pod(&new, ranges).map_err(refused(Reason::LimitRange))?;
    let object = match &sight.object {
        NodeObject::Unknown => None,
        NodeObject::Missing => Some(None),
        NodeObject::Present(node) => Some(Some(&**node)),
    };
    if let Some(object) = object {
        node::check(&new, pod, object).map_err(|denial| {
            let capacity = denial.causes.iter().any(|it| it == "NodeCapacity");
            let reason = if capacity { Reason::NodeCapacity } else { Reason::NodeUnsupported };
            advice::denied(reason, denial)
        })?;
    }
    quota::check(&new, Some(pod), &namespace.quotas).map_err(refused(Reason::QuotaExceeded))?;
    Ok(new)
}
