//! A long time in pieces: a server answers with at most 11,000 points a series, and shorter answers are easier to bear for
//! both. Pure.

/// A range of time at whole steps, both ends included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first point.
    pub from: i64,
    /// The last point.
    pub to: i64,
    /// Between two points.
    pub step: u32,
}

impl Range {
    /// How many points there are.
    #[must_use]
    pub fn points(&self) -> u64 {
        let steps = self.to.saturating_sub(self.from).checked_div(i64::from(self.step)).unwrap_or(-1);
        u64::try_from(steps.saturating_add(1)).unwrap_or(0)
    }
}

/// The pieces of the time between two moments, oldest first, each of at most `points` points. Their points lie at multiples
/// of the step, so that the same question a minute later is the same one, and can come from a cache.
#[must_use]
pub fn pieces(from: i64, to: i64, step: u32, points: u32) -> Vec<Range> {
    let (step, points) = (i64::from(step.max(1)), i64::from(points.max(1)));
    let first = from.div_euclid(step).saturating_add(i64::from(from.rem_euclid(step) != 0));
    let last = to.div_euclid(step);
    let mut pieces = Vec::new();
    let mut at = first;
    while at <= last && pieces.len() < MOST {
        let end = last.min(at.saturating_add(points - 1));
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        pieces.push(Range { from: at.saturating_mul(i64::from(step)), to: end.saturating_mul(i64::from(step)), step });
        let Some(next) = end.checked_add(1) else { break };
        at = next;
    }
    pieces
}

/// Most pieces; whoever asks for more of them has asked for something else than it meant.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(from: i64, to: i64, step: u32, points: u32, expect: &[(i64, i64)]) {
        let found: Vec<_> = pieces(from, to, step, points).iter().map(|it| (it.from, it.to)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn pieces_meet_and_do_not_overlap() {
        check(0, 300, 60, 3, &[(0, 120), (180, 300)]);
        check(1, 299, 60, 100, &[(60, 240)]);
        check(-61, 60, 60, 100, &[(-60, 60)]);
        check(61, 119, 60, 100, &[]);
        check(5, 1, 60, 100, &[]);
    }

    proptest! {
        #[test]
        fn together_they_are_the_whole(from: i64, length in 0_i64..10_000_000, step: u32, points: u32) {
            let to = from.saturating_add(length);
            let pieces = pieces(from, to, step, points);
            prop_assert!(pieces.iter().all(|it| it.points() <= u64::from(points.max(1)) && it.from <= it.to));
            prop_assert!(pieces.windows(2).all(|it| it[0].to + i64::from(it[0].step) == it[1].from));
        }
    }
}
