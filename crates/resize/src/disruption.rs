//! What a disruption budget says of pods that are not ready. No rule of a resize, but one that the server answers evictions by and the
//! loop foresees before it asks for one: two that differ would be a pod that is never asked for, or asked for in vain. As Kubernetes
//! v1.36 has it (`pkg/registry/core/pod/storage/eviction.go`).

/// How a disruption budget stands, as far as pods that are not ready go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `status.currentHealthy`
    pub current: i64,
    /// `status.desiredHealthy`
    pub desired: i64,
    /// Its policy is [`ALWAYS`]; all else, and nothing, is `IfHealthyBudget`.
    pub always: bool,
}

/// The `spec.unhealthyPodEvictionPolicy` of a budget that lets pods go that are not ready, however many are.
pub const ALWAYS: &str = "AlwaysAllow";

impl Health {
    /// Whether a pod that is not ready may go at no cost: it is not among those that are counted as healthy, so that these stay as many.
    /// A budget that wants none, or of which nothing is known yet, says nothing of it.
    #[must_use]
    pub const fn lets_unready_go(self) -> bool {
        self.always || (self.current >= self.desired && self.desired > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(current: i64, desired: i64, always: bool, expect: bool) {
        let health = Health { current, desired, always };
        assert_eq!(health.lets_unready_go(), expect, "{health:?}");
    }

    #[test]
    fn a_pod_that_is_not_ready_costs_nothing_where_enough_are() {
        check(2, 2, false, true);
        check(3, 2, false, true);
        check(1, 2, false, false);
        check(1, 2, true, true);
        // `maxUnavailable` of all pods, or a budget whose controller has not looked at it.
        check(0, 0, false, false);
        check(2, 0, false, false);
        check(0, 0, true, true);
    }
}
