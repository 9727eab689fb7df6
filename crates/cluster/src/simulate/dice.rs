//! Numbers that look random and are a function of the seed alone. Pure.

/// SplitMix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, times: u64) -> bool {
        self.next() % 100 < times
    }

    /// One of these; there must be one.
    pub(super) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.next() % of.len() as u64;
        &of[usize::try_from(at).unwrap_or(0)]
    }
}
