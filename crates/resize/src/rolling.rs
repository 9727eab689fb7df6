//! How many pods more, and how many fewer, there may be of a workload while a new template reaches them: amounts that are a number or a
//! percentage of the replicas, rounded as the reference rounds them. The cluster's controllers hold themselves to it, and the loop foresees
//! what a restart through the template would take away.

use k8s_openapi::api::apps::v1::{RollingUpdateDaemonSet, RollingUpdateDeployment, RollingUpdateStatefulSetStrategy};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// A surge: rather one more.
    Up,
    /// What may be missing: rather one less.
    Down,
}

/// The amount for `total`; validation lets only whole numbers and percentages in, and anything else is nothing.
#[must_use]
pub fn resolve(amount: &IntOrString, total: i32, round: Round) -> i32 {
    match amount {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let Some(percent) = text.strip_suffix('%').and_then(|it| it.parse::<i64>().ok()) else { return 0 };
            let hundredfold = percent.saturating_mul(i64::from(total));
            let whole = match round {
                Round::Up => hundredfold.saturating_add(99).div_euclid(100),
                Round::Down => hundredfold.div_euclid(100),
            };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// How many more and how many fewer pods than `replicas` a rolling update may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// `maxSurge`.
    pub surge: i32,
    /// `maxUnavailable`
    pub unavailable: i32,
}

impl Fence {
    /// Of a deployment, a quarter of each where nothing is said. Where rounding leaves neither, one may be missing: an update must be
    /// able to move (`ResolveFenceposts`).
    #[must_use]
    pub fn of_deployment(rolling: Option<&RollingUpdateDeployment>, replicas: i32) -> Self {
        let of = |amount: Option<&IntOrString>, round| {
            resolve(amount.unwrap_or(&IntOrString::String("25%".to_owned())), replicas, round)
        };
        let surge = of(rolling.and_then(|it| it.max_surge.as_ref()), Round::Up);
        let mut unavailable = of(rolling.and_then(|it| it.max_unavailable.as_ref()), Round::Down);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { surge, unavailable: unavailable.min(replicas) }
    }

    /// Of a stateful set, which has no place for one more; one at a time where nothing is said.
    #[must_use]
    pub fn of_stateful_set(rolling: Option<&RollingUpdateStatefulSetStrategy>, replicas: i32) -> Self {
        let said = rolling.and_then(|it| it.max_unavailable.as_ref());
        let unavailable = said.map_or(1, |it| resolve(it, replicas, Round::Down));
        Self { surge: 0, unavailable: unavailable.min(replicas).max(1) }
    }

    /// Of a daemon set on so many nodes: how many may have two, and how many none. Both round up.
    #[must_use]
    pub fn of_daemon_set(rolling: Option<&RollingUpdateDaemonSet>, nodes: i32) -> Self {
        let of = |said: Option<&IntOrString>, usual| said.map_or(usual, |it| resolve(it, nodes, Round::Up));
        let surge = of(rolling.and_then(|it| it.max_surge.as_ref()), 0);
        let unavailable = of(rolling.and_then(|it| it.max_unavailable.as_ref()), 1).min(nodes);
        Self { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> IntOrString {
        text.parse().map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int)
    }

    #[track_caller]
    fn check(surge: &str, unavailable: &str, replicas: i32, expect: (i32, i32)) {
        let rolling =
            RollingUpdateDeployment { max_surge: Some(amount(surge)), max_unavailable: Some(amount(unavailable)) };
        let fence = Fence::of_deployment(Some(&rolling), replicas);
        assert_eq!((fence.surge, fence.unavailable), expect, "{surge} {unavailable} of {replicas}");
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        check("25%", "25%", 10, (3, 2));
        check("25%", "25%", 1, (1, 0));
        check("25%", "25%", 4, (1, 1));
        check("0", "25%", 3, (0, 1));
        check("0%", "0%", 5, (0, 1));
        check("100%", "100%", 3, (3, 3));
        check("2", "7", 5, (2, 5));
        check("1", "0", 5, (1, 0));
        check("nonsense", "0", 5, (0, 1));
        assert_eq!(Fence::of_deployment(None, 10), Fence { surge: 3, unavailable: 2 });
    }

    #[track_caller]
    fn check_ordinals(said: Option<&str>, replicas: i32, expect: i32) {
        let rolling = said.map(|it| RollingUpdateStatefulSetStrategy {
            max_unavailable: Some(amount(it)),
            ..RollingUpdateStatefulSetStrategy::default()
        });
        let fence = Fence::of_stateful_set(rolling.as_ref(), replicas);
        assert_eq!(fence, Fence { surge: 0, unavailable: expect }, "{said:?} of {replicas}");
    }

    #[test]
    fn of_a_stateful_set_one_is_missing_at_least() {
        check_ordinals(None, 3, 1);
        check_ordinals(Some("2"), 3, 2);
        check_ordinals(Some("10%"), 3, 1);
        check_ordinals(Some("50%"), 5, 2);
        check_ordinals(Some("7"), 5, 5);
        check_ordinals(None, 0, 1);
    }

    #[track_caller]
    fn check_nodes(surge: Option<&str>, unavailable: Option<&str>, expect: (i32, i32)) {
        let rolling = RollingUpdateDaemonSet { max_surge: surge.map(amount), max_unavailable: unavailable.map(amount) };
        let fence = Fence::of_daemon_set(Some(&rolling), 5);
        assert_eq!((fence.surge, fence.unavailable), expect, "{surge:?} {unavailable:?}");
    }

    #[test]
    fn of_a_daemon_set_both_round_up() {
        check_nodes(None, None, (0, 1));
        check_nodes(None, Some("10%"), (0, 1));
        check_nodes(None, Some("50%"), (0, 3));
        check_nodes(None, Some("7"), (0, 5));
        check_nodes(Some("10%"), Some("0"), (1, 0));
        check_nodes(Some("0"), Some("0"), (0, 1));
    }
}
