//! A decaying histogram over the logarithmic scale, kept sparse: at most `N` occupied levels, whatever is put in.
//!
//! Old weight is not multiplied down: new weight is made to grow instead, and all weights are halved once when the
//! growing weight has doubled. So a put is O(occupied) with no multiplication of the rest, every weight is an integer, and
//! save and load are exact. What has been halved to nothing is forgotten. When more than `N` levels are occupied, two
//! neighbours become one at their mean: those for which this moves the least weight by the least distance. The highest
//! level stays where it is.

/// A weight can not pass this: thirteen bits.
pub const MAX_WEIGHT: u16 = 8191;

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
        // Counted and not searched: where a sample belongs cannot be guessed, and a wrong guess costs more than looking at all.
        let at = (0..N).map(|i| usize::from(i < len && self.level[i] < level)).sum::<usize>();
        if at < len && self.level[at] == level {
            if self.weight[at] > MAX_WEIGHT.saturating_sub(weight) {
                self.halve();
                return self.put(level, weight.min(MAX_WEIGHT / 2));
            }
            self.weight[at] += weight;
            return;
        }
        if len == N {
            return self.squeeze(at, level, weight);
        }
        self.level.copy_within(at..len, at + 1);
        self.weight.copy_within(at..len, at + 1);
        self.level[at] = level;
        self.weight[at] = weight.min(MAX_WEIGHT);
        self.len += 1;
    }

    /// Halves every weight. What comes to nothing leaves.
    pub fn halve(&mut self) {
        for weight in &mut self.weight[..usize::from(self.len)] {
            *weight /= 2;
        }
        let halved = *self;
        self.refill(halved.entries().filter(|(_, weight)| *weight > 0));
    }

    /// Halves every weight, rounding up: of what is counted in larger numbers from now on, nothing may leave.
    pub fn halve_up(&mut self) {
        self.weight[..usize::from(self.len)].iter_mut().for_each(|it| *it = it.div_ceil(2));
    }

    /// Keeps the levels within `from..=to` alone.
    pub fn keep(&mut self, from: u16, to: u16) {
        let all = *self;
        self.refill(all.entries().filter(|(level, _)| (from..=to).contains(level)));
    }

    /// The weight at levels within `from..=to`.
    pub fn within(&self, from: u16, to: u16) -> u32 {
        self.entries().filter(|(level, _)| (from..=to).contains(level)).map(|(_, weight)| u32::from(weight)).sum()
    }

    /// Takes the place of everything held, in the order of levels and at most as many as were there.
    fn refill(&mut self, entries: impl Iterator<Item = (u16, u16)>) {
        *self = Self::default();
        for (level, weight) in entries {
            let at = usize::from(self.len);
            (self.level[at], self.weight[at]) = (level, weight);
            self.len += 1;
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

    /// Puts in a level that is not there, before the entry at `at`, where there is no room: two neighbours become one at their mean. Only
    /// what lies between those and it is moved.
    fn squeeze(&mut self, at: usize, level: u16, weight: u16) {
        let Some(pair) = self.cheapest() else { return };
        let (joined, sum) = self.joined(pair);
        let weight = weight.min(MAX_WEIGHT);
        if at == pair + 1 && joined == level {
            // Where they met it was, and there is room for one more now.
            (self.level[pair], self.weight[pair]) = (joined, sum);
            self.level.copy_within(at + 1.., at);
            self.weight.copy_within(at + 1.., at);
            self.len -= 1;
            return self.put(level, weight);
        }
        let (here, there) = if at > pair + 1 {
            for i in pair + 1..at - 1 {
                (self.level[i], self.weight[i]) = (self.level[i + 1], self.weight[i + 1]);
            }
            (at - 1, pair)
        } else if at <= pair {
            for i in (at..pair).rev() {
                (self.level[i + 1], self.weight[i + 1]) = (self.level[i], self.weight[i]);
            }
            (at, pair + 1)
        } else if joined < level {
            (pair + 1, pair)
        } else {
            (pair, pair + 1)
        };
        (self.level[there], self.weight[there]) = (joined, sum);
        (self.level[here], self.weight[here]) = (level, weight);
    }

    /// The cheapest pair of neighbours to join.
    fn cheapest(&self) -> Option<usize> {
        let len = usize::from(self.len);
        let cost = |i: usize| {
            let (a, b) = (f64::from(self.weight[i]), f64::from(self.weight[i + 1]));
            let apart = f64::from(self.level[i + 1] - self.level[i]);
            // Less than 2^30, so that a quotient of whole numbers this small is never rounded up to one.
            #[expect(clippy::cast_possible_truncation, reason = "the whole part is meant")]
            let cost = ((a * b * apart * 64.0) / (a + b)) as i64;
            cost
        };
        (0..len.saturating_sub(1)).min_by_key(|i| cost(*i))
    }

    /// What an entry and the next one become: level and weight.
    fn joined(&self, at: usize) -> (u16, u16) {
        let (a, b) = (u32::from(self.weight[at]), u32::from(self.weight[at + 1]));
        let (low, high) = (u32::from(self.level[at]), u32::from(self.level[at + 1]));
        let level = if at + 2 == usize::from(self.len) { high } else { (low * a + high * b).div_ceil(a + b) };
        (
            u16::try_from(level).unwrap_or(u16::MAX),
            u16::try_from((a + b).min(u32::from(MAX_WEIGHT))).unwrap_or(MAX_WEIGHT),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl<const N: usize> Digest<N> {
        /// Makes room for one entry by joining the cheapest pair of neighbours, at their mean, in whole numbers.
        fn join(&mut self) {
            let len = usize::from(self.len);
            let cost = |i: usize| {
                let (a, b) = (u64::from(self.weight[i]), u64::from(self.weight[i + 1]));
                let apart = u64::from(self.level[i + 1] - self.level[i]);
                (a * b * apart * 64) / (a + b)
            };
            let at = (0..len - 1).min_by_key(|i| cost(*i)).unwrap();
            let (a, b) = (u32::from(self.weight[at]), u32::from(self.weight[at + 1]));
            let (low, high) = (u32::from(self.level[at]), u32::from(self.level[at + 1]));
            let level = if at + 2 == len { high } else { (low * a + high * b).div_ceil(a + b) };
            self.level[at + 1] = u16::try_from(level).unwrap();
            self.weight[at + 1] = u16::try_from((a + b).min(u32::from(MAX_WEIGHT))).unwrap();
            self.level.copy_within(at + 1..len, at);
            self.weight.copy_within(at + 1..len, at);
            self.len -= 1;
        }
    }

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
        fn levels_stay_in_order_and_the_top_is_never_lost(levels in prop::collection::vec(0u16..2047, 1..200)) {
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
        fn squeezed_in_is_joined_and_put(puts in prop::collection::vec((0u16..90, prop_oneof![1u16..4, 1u16..9000]), 1..200)) {
            let mut digest = Digest::<7>::default();
            for (level, weight) in puts {
                let mut plain = digest;
                if plain.len == 7 && plain.entries().all(|it| it.0 != level) {
                    plain.join();
                }
                plain.put(level, weight);
                digest.put(level, weight);
                prop_assert_eq!(digest.entries().collect::<Vec<_>>(), plain.entries().collect::<Vec<_>>());
            }
        }

        #[test]
        fn joining_keeps_the_mean(levels in prop::collection::vec(0u16..2047, 1..200)) {
            let mut digest = Digest::<16>::default();
            for level in &levels {
                digest.put(*level, 1);
            }
            let sum: u64 = levels.iter().map(|it| u64::from(*it)).sum();
            let kept: u64 = digest.entries().map(|(level, weight)| u64::from(level) * u64::from(weight)).sum();
            // A join rounds up, and the top takes its neighbour in where it must: never less, and little more.
            prop_assert!(kept >= sum, "{kept} of {sum}");
            prop_assert!(kept <= sum + 200 * 60, "{kept} of {sum}");
        }

        #[test]
        fn what_is_halved_to_nothing_is_gone(levels in prop::collection::vec(0u16..2047, 1..200)) {
            let mut digest = Digest::<16>::default();
            for level in &levels {
                digest.put(*level, 1);
            }
            let before = digest.total();
            digest.halve();
            prop_assert!(digest.total() <= before / 2);
            (0..14).for_each(|_| digest.halve());
            prop_assert!(digest.is_empty());
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
