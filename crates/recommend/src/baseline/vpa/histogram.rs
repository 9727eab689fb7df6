//! VPA's decaying histogram: exponential buckets of 5 %, weights that grow with time instead of fading.
//!
//! Reference: `pkg/recommender/util/{histogram,decaying_histogram,histogram_options}.go` of VPA 1.7.1. The oddities are
//! the reference's: a percentile is the *end* of its bucket, edges below a ten-thousandth of weight do not exist, and
//! the reference time jumps to a multiple of the half-life counted from the year 1.

use std::sync::LazyLock;

/// Growth from bucket to bucket.
const RATIO: f64 = 1.05;

/// Powers of it: three of them are asked for with every sample.
static POWERS: LazyLock<[f64; BUCKETS]> = LazyLock::new(|| {
    let mut power = 0;
    [(); BUCKETS].map(|()| {
        power += 1;
        RATIO.powi(power - 1)
    })
});

/// 256ths of an octave, from 1 on, with the bucket that all numbers in it belong to; 0 where a bucket begins within, which only the
/// logarithm can tell. A logarithm with every sample is a sixth of all this strategy takes.
static BY_DIGITS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let last = digits(RATIO.powi(176));
    (0..=last)
        .map(|at| {
            let from = f64::from_bits((at as u64 + digits_of(1.0)) << DIGITS);
            let to = f64::from_bits(((at as u64 + 1 + digits_of(1.0)) << DIGITS) - 1);
            let (first, last) = (by_logarithm(from), by_logarithm(to));
            if first == last { u8::try_from(first).unwrap_or(0) } else { 0 }
        })
        .collect()
});

/// Bits of a number that are not looked at by [`BY_DIGITS`].
const DIGITS: u32 = 44;

const fn digits_of(grown: f64) -> u64 {
    grown.to_bits() >> DIGITS
}

/// Where a number of at least 1 stands in [`BY_DIGITS`].
fn digits(grown: f64) -> usize {
    usize::try_from(digits_of(grown).saturating_sub(digits_of(1.0))).unwrap_or(usize::MAX)
}

/// The bucket that ends after so much growth.
fn by_logarithm(grown: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; then bounded")]
    let bucket = (grown.ln() / RATIO.ln()).floor() as usize;
    bucket.min(BUCKETS - 1)
}

/// Weights under this are nothing.
const EPSILON: f64 = 1e-4;

/// Buckets of either resource.
const BUCKETS: usize = 176;

/// Seconds from the first of January of the year 1 to the epoch.
const YEAR_ONE: i64 = 62_135_596_800;

/// A histogram whose weights halve with every half-life.
#[derive(Clone, Debug)]
pub struct Histogram {
    first: f64,
    half_life: i64,
    reference: Option<i64>,
    /// The last time that was asked for, and its factor: pods of a workload are measured at the same times.
    latest: Option<(i64, f64)>,
    weights: [f64; BUCKETS],
    total: f64,
    low: usize,
    high: usize,
    /// The percentiles that were asked for last.
    found: Option<[Found; 3]>,
}

/// Where a share of the weight was reached.
#[derive(Clone, Copy, Debug)]
struct Found {
    share: f64,
    bucket: usize,
    /// The weight up to this bucket, to nine digits.
    below: f64,
}

impl Histogram {
    /// Buckets from `first` on (0.01 core, 10^7 bytes), halving every `half_life` seconds.
    pub fn new(first: f64, half_life: i64) -> Self {
        let weights = [0.0; BUCKETS];
        Self {
            first,
            half_life,
            reference: None,
            latest: None,
            weights,
            total: 0.0,
            low: BUCKETS - 1,
            high: 0,
            found: None,
        }
    }

    /// Where a bucket begins.
    pub fn start(&self, bucket: usize) -> f64 {
        let power = POWERS[bucket.min(BUCKETS - 1)];
        if bucket == 0 { 0.0 } else { self.first * (power - 1.0) / (RATIO - 1.0) }
    }

    /// Which bucket holds a value.
    pub fn find(&self, value: f64) -> usize {
        if value < self.first {
            return 0;
        }
        let grown = value * (RATIO - 1.0) / self.first + 1.0;
        match BY_DIGITS.get(digits(grown)) {
            Some(bucket) if *bucket > 0 => usize::from(*bucket),
            _ => by_logarithm(grown),
        }
    }

    /// Adds a value of this weight, as of `time`.
    pub fn add(&mut self, value: f64, weight: f64, time: i64) {
        let weight = weight * self.factor(time);
        let bucket = self.find(value);
        self.weights[bucket] += weight;
        self.total += weight;
        if self.weights[bucket] >= EPSILON && (self.low..=self.high).contains(&bucket) {
            for found in self.found.iter_mut().flatten().filter(|it| bucket <= it.bucket) {
                found.below += weight;
            }
            return;
        }
        self.found = None;
        if self.weights[bucket] >= EPSILON {
            self.low = self.low.min(bucket);
            self.high = self.high.max(bucket);
        }
    }

    /// Takes a value out again, as it was put in.
    pub fn subtract(&mut self, value: f64, weight: f64, time: i64) {
        let weight = weight * self.factor(time);
        let bucket = self.find(value);
        let less = |from: f64| if from - weight < EPSILON { 0.0 } else { from - weight };
        self.weights[bucket] = less(self.weights[bucket]);
        self.total = less(self.total);
        self.trim();
    }

    /// The ends of the buckets in which the shares, ascending, are reached; 0 where nothing is in. Nothing where they are what they
    /// were when they were last asked for.
    pub fn percentiles(&mut self, shares: [f64; 3]) -> Option<[f64; 3]> {
        if let Some(found) = &self.found
            && found.iter().zip(shares).all(|(it, share)| it.share == share && self.is_still(it))
        {
            return None;
        }
        if self.weights[self.low] < EPSILON {
            return Some([0.0; 3]);
        }
        let found = self.search(shares);
        self.found = Some(found);
        Some(found.map(|it| if it.bucket < BUCKETS - 1 { self.start(it.bucket + 1) } else { self.start(it.bucket) }))
    }

    /// One way through the buckets serves all shares: the sums up to a bucket are the same for each.
    fn search(&self, shares: [f64; 3]) -> [Found; 3] {
        let mut bucket = self.low;
        let mut below = self.weights[bucket];
        shares.map(|share| {
            let threshold = share * self.total;
            while bucket < self.high && below < threshold {
                bucket += 1;
                below += self.weights[bucket];
            }
            Found { share, bucket, below }
        })
    }

    /// Whether a share is surely reached where it was when it was looked for: weights are added one by one now and not from the lowest
    /// bucket on, so a sum may differ in its last digits, and what is nearer to the threshold than that is looked for anew.
    fn is_still(&self, it: &Found) -> bool {
        let threshold = it.share * self.total;
        let hair = 1e-9 * self.total;
        (it.below > threshold + hair || it.bucket == self.high)
            && (it.below - self.weights[it.bucket] < threshold - hair || it.bucket == self.low)
    }

    fn factor(&mut self, time: i64) -> f64 {
        if let Some((_, factor)) = self.latest.filter(|it| it.0 == time) {
            return factor;
        }
        let reference = match self.reference {
            Some(reference) if time <= reference.saturating_add(self.half_life.saturating_mul(100)) => reference,
            _ => self.shift(time),
        };
        let factor = (crate::sample::amount(time - reference) / crate::sample::amount(self.half_life)).exp2();
        self.latest = Some((time, factor));
        factor
    }

    /// Moves the reference to the multiple of the half-life nearest to `time`, halves up.
    fn shift(&mut self, time: i64) -> i64 {
        let since = time + YEAR_ONE;
        let rest = since.rem_euclid(self.half_life);
        let new = if rest * 2 < self.half_life { time - rest } else { time - rest + self.half_life };
        if let Some(old) = self.reference {
            let halvings = (crate::sample::amount(old - new) / crate::sample::amount(self.half_life)).round();
            let factor = halvings.exp2();
            self.weights.iter_mut().for_each(|it| *it *= factor);
            self.total *= factor;
            self.trim();
        }
        self.reference = Some(new);
        new
    }

    fn trim(&mut self) {
        self.found = None;
        while self.low < BUCKETS - 1 && self.weights[self.low] < EPSILON {
            self.low += 1;
        }
        while self.high > 0 && self.weights[self.high] < EPSILON {
            self.high -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_start(bucket: usize, wanted: f64) {
        let got = Histogram::new(0.01, 86_400).start(bucket);
        assert!((got / wanted - 1.0).abs() < 1e-8, "bucket {bucket} starts at {got}, not {wanted}");
    }

    #[test]
    fn bucket_starts_are_the_references() {
        for (bucket, wanted) in [
            (1, 0.01),
            (2, 0.0205),
            (3, 0.031_525),
            (5, 0.055_256_312_5),
            (10, 0.125_778_925_4),
            (20, 0.330_659_541),
            (30, 0.664_388_475),
            (40, 1.207_997_742),
            (50, 2.093_479_957),
            (60, 3.535_837_179),
            (80, 9.712_288_213),
            (100, 26.100_251_57),
            (120, 69.582_397_13),
            (150, 301.395_499_2),
            (174, 972.475_627_5),
            (175, 1_021.109_409),
        ] {
            check_start(bucket, wanted);
        }
    }

    #[test]
    fn values_find_the_references_buckets() {
        let cpu = Histogram::new(0.01, 86_400);
        for (value, bucket) in [
            (0.0204, 1),
            (0.0205, 1),
            (0.1, 8),
            (0.25, 16),
            (0.5, 25),
            (1.0, 36),
            (2.0, 49),
            (4.0, 62),
            (1000.0, 174),
            (5000.0, 175),
        ] {
            assert_eq!(cpu.find(value), bucket, "{value} cores");
        }
        let memory = Histogram::new(1e7, 86_400);
        let mebi = 1_048_576.0;
        for (value, bucket) in [
            (1e6, 0),
            (1e7, 1),
            (5e7, 4),
            (1e8, 8),
            (256.0 * mebi, 17),
            (512.0 * mebi, 26),
            (1024.0 * mebi, 37),
            (4096.0 * mebi, 63),
            (1e12, 174),
        ] {
            assert_eq!(memory.find(value), bucket, "{value} bytes");
        }
    }
}
