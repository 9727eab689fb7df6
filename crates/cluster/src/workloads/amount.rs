//! Amounts that are a number or a percentage of the replicas, rounded as the reference rounds them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// A surge: rather one more.
    Up,
    /// What may be missing: rather one less.
    Down,
}

/// The amount for `total`; validation lets only whole numbers and percentages in, and anything else is nothing.
pub(super) fn resolve(amount: &IntOrString, total: i32, round: Round) -> i32 {
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
pub(super) struct Fence {
    /// `maxSurge`.
    pub surge: i32,
    /// `maxUnavailable`; never more than the replicas.
    pub unavailable: i32,
}

impl Fence {
    /// Both resolved. Where rounding leaves neither, one may be missing: an update must be able to move
    /// (`ResolveFenceposts`).
    pub(super) fn of(surge: &IntOrString, unavailable: &IntOrString, replicas: i32) -> Self {
        let surge = resolve(surge, replicas, Round::Up);
        let mut unavailable = resolve(unavailable, replicas, Round::Down);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { surge, unavailable: unavailable.min(replicas) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(surge: &str, unavailable: &str, replicas: i32, expect: (i32, i32)) {
        let amount = |text: &str| text.parse().map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int);
        let fence = Fence::of(&amount(surge), &amount(unavailable), replicas);
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
    }
}
