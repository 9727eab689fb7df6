//! A decaying histogram over the logarithmic scale, kept sparse: at most `N` occupied levels, whatever is put in.
//!
//! Old weight is not multiplied down: new weight is made to grow instead, and all weights are halved once when the
//! growing weight has doubled. So a put is O(occupied) with no multiplication of the rest, every weight is an integer, and
//! save and load are exact. When more than `N` levels are occupied, the two neighbours whose union moves the least weight
//! by the least distance become one, at the *upper* of the two: a memory that errs, errs upwards.

/// A weight can not pass this: fourteen bits.
pub const MAX_WEIGHT: u16 = 16_383;

/// At most `N` levels with their weights, ordered by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest<const N: usize> {
    len: u8,
    level: [u16; N],
    weight: [u16; N],
}

impl<const N: usize> Default for Digest<N> {
    fn default() -> Self {
        Self { len: 0, level: [0; N], weight: [0; N] }
    }
}

impl<const N: usize> Digest<N> {
    /// Levels and weights, lowest level first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (u16, u16)> + Clone + '_ {
        let len = usize::from(self.len);
        self.level[..len].iter().copied().zip(self.weight[..len].iter().copied())
    }

    /// The sum of all weights.
    pub fn total(&self) -> u32 {
        self.entries().map(|(_, weight)| u32::from(weight)).sum()
    }

    /// Nothing was ever put in.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest occupied level.
    pub fn top(&self) -> Option<u16> {
        self.entries().next_back().map(|(level, _)| level)
    }

    /// Adds weight at a level. A weight that would pass [`MAX_WEIGHT`] halves all others first.
    pub fn put(&mut self, level: u16, weight: u16) {
        if weight == 0 {
            return;
        }
        let len = usize::from(self.len);
        let at = self.level[..len].partition_point(|it| *it < level);
        if at < len && self.level[at] == level {
            if self.weight[at] > MAX_WEIGHT.saturating_sub(weight) {
                self.halve();
                return self.put(level, weight.min(MAX_WEIGHT / 2));
            }
            self.weight[at] += weight;
            return;
        }
        if len == N {
            self.join();
            return self.put(level, weight);
        }
        self.level.copy_within(at..len, at + 1);
        self.weight.copy_within(at..len, at + 1);
        self.level[at] = level;
        self.weight[at] = weight.min(MAX_WEIGHT);
        self.len += 1;
    }

    /// Halves every weight, rounding up, so that what was seen once is forgotten only by being merged.
    pub fn halve(&mut self) {
        for weight in &mut self.weight[..usize::from(self.len)] {
            *weight = weight.div_ceil(2);
        }
    }

    /// Takes over everything the other holds.
    pub fn merge(&mut self, other: &Self) {
        for (level, weight) in other.entries() {
            self.put(level, weight);
        }
    }

    /// The lowest level with at least this share (0 to 1) of the weight at or under it.
    pub fn quantile(&self, share: f64) -> Option<u16> {
        let wanted = share * f64::from(self.total());
        let mut below = 0.0;
        for (level, weight) in self.entries() {
            below += f64::from(weight);
            if below + 1e-9 >= wanted {
                return Some(level);
            }
        }
        None
    }

    /// Makes room for one entry by joining the cheapest pair of neighbours.
    fn join(&mut self) {
        let len = usize::from(self.len);
        let cost = |i: usize| u32::from(self.weight[i]) * u32::from(self.level[i + 1] - self.level[i]);
        let Some(at) = (0..len.saturating_sub(1)).min_by_key(|i| cost(*i)) else {
            return;
        };
        let joined = u32::from(self.weight[at]) + u32::from(self.weight[at + 1]);
        self.weight[at + 1] = u16::try_from(joined.min(u32::from(MAX_WEIGHT))).unwrap_or(MAX_WEIGHT);
        self.level.copy_within(at + 1..len, at);
        self.weight.copy_within(at + 1..len, at);
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_few_levels() {
        let mut digest = Digest::<8>::default();
        for level in [10, 20, 20, 30] {
            digest.put(level, 1);
        }
        assert_eq!(digest.quantile(0.25), Some(10));
        assert_eq!(digest.quantile(0.5), Some(20));
        assert_eq!(digest.quantile(1.0), Some(30));
        assert_eq!(Digest::<8>::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn levels_stay_in_order_and_the_top_is_never_lost(levels in prop::collection::vec(0u16..2048, 1..200)) {
            let mut digest = Digest::<16>::default();
            for level in &levels {
                digest.put(*level, 3);
            }
            let kept: Vec<u16> = digest.entries().map(|(level, _)| level).collect();
            prop_assert!(kept.is_sorted() && kept.len() <= 16);
            prop_assert_eq!(digest.top(), levels.iter().copied().max());
            prop_assert_eq!(digest.total(), 3 * u32::try_from(levels.len()).unwrap());
        }

        #[test]
        fn a_quantile_never_falls_below_the_exact_one(levels in prop::collection::vec(0u16..2048, 1..200), share in 0.01f64..1.0) {
            let mut digest = Digest::<16>::default();
            let mut sorted = levels.clone();
            sorted.sort_unstable();
            for level in &levels {
                digest.put(*level, 1);
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = (share * f64::from(u32::try_from(levels.len()).unwrap()) - 1e-9).ceil().max(1.0) as usize;
            prop_assert!(digest.quantile(share).unwrap() >= sorted[rank - 1]);
        }

        #[test]
        fn merging_is_putting_all_where_nothing_must_be_joined(a in prop::collection::vec(0u16..8, 0..50), b in prop::collection::vec(0u16..8, 0..50)) {
            let of = |levels: &[u16]| { let mut it = Digest::<8>::default(); for level in levels { it.put(*level, 1); } it };
            let mut merged = of(&a);
            merged.merge(&of(&b));
            prop_assert_eq!(merged, of(&[a, b].concat()));
        }
    }
}
