//! What a past must be able to say to a forecast, and what every past counts alike.

use crate::resource::Resource;

/// Marks an hour of which nothing is known.
pub const UNKNOWN: u16 = u16::MAX;

/// A remembered past: views of it as atoms (level, mass), given to a visitor one by one.
pub trait Past {
    /// Which resource this is the past of.
    const RESOURCE: Resource;

    /// The running hour and those before it, their mass halving with every `half_life` hours of age.
    fn lately(&self, hour: i64, half_life: f64, visit: impl FnMut(u16, f64));

    /// Everything that is remembered.
    fn ever(&self, hour: i64, visit: impl FnMut(u16, f64));

    /// The hour `ahead` hours from now, as it was on earlier days.
    fn same_hour(&self, hour: i64, ahead: i64, visit: impl FnMut(u16, f64));

    /// How well the same hour of earlier days foretells an hour, 0 to 1. The more, the less other hours are asked.
    fn regularity(&self) -> f64 {
        0.0
    }

    /// The lowest and the highest level remembered.
    fn range(&self, hour: i64) -> Option<(u16, u16)>;

    /// The tallies.
    fn tally(&self) -> &Tally;
}

/// Averages over the hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Samples in an hour, as lately seen.
    pub per_hour: u16,
    /// Closed hours with samples, counted up to 65535.
    pub hours: u16,
    /// Decayed sum of hourly means and its weight; the quotient is what the container uses on average.
    pub mean: (f32, f32),
    /// Sum and count of the running hour.
    pub sum: (f64, u16),
    /// Decayed sum of the absolute changes of the hourly peak, in steps, and its weight.
    pub restless: (f32, f32),
}

/// Half of an average comes from the last day.
const DECAY: f32 = 0.971_532;

/// A jump is not restlessness: of one change at most this many steps (35 %) count.
const LARGEST_CHANGE: u16 = 44;

impl Tally {
    /// Counts a sample.
    pub fn put(&mut self, amount: f64) {
        self.sum = (self.sum.0 + amount, self.sum.1.saturating_add(1));
    }

    /// Ends an hour whose peak was `peak`, the one before having had `before`.
    pub fn close(&mut self, peak: u16, before: u16) {
        let (sum, count) = std::mem::take(&mut self.sum);
        if count == 0 {
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "an average: its further digits are noise")]
        let mean = (sum / f64::from(count)) as f32;
        self.mean = (self.mean.0 * DECAY + mean, self.mean.1 * DECAY + 1.0);
        if before != UNKNOWN {
            let change = f32::from(peak.abs_diff(before).min(LARGEST_CHANGE));
            self.restless = (self.restless.0 * DECAY + change, self.restless.1 * DECAY + 1.0);
        }
        // Slowly down, at once up: a gap in the recording does not change the interval.
        self.per_hour = count.max(self.per_hour - self.per_hour / 8);
        self.hours = self.hours.saturating_add(1);
    }

    /// Takes over another tally of the same running hour.
    pub fn merge(&mut self, other: &Self) {
        self.per_hour = self.per_hour.max(other.per_hour);
        self.hours = self.hours.max(other.hours);
        self.mean = (self.mean.0 + other.mean.0, self.mean.1 + other.mean.1);
        self.sum = (self.sum.0 + other.sum.0, self.sum.1.saturating_add(other.sum.1));
        self.restless = (self.restless.0 + other.restless.0, self.restless.1 + other.restless.1);
    }

    /// The average use, lately.
    pub fn average(&self, resource: Resource) -> f64 {
        let (sum, weight) = (f64::from(self.mean.0), f64::from(self.mean.1));
        let (open, seen) = if self.sum.1 == 0 { (0.0, 0.0) } else { (self.sum.0 / f64::from(self.sum.1), 1.0) };
        let average = if weight + seen > 0.0 { (sum + open) / (weight + seen) } else { 0.0 };
        average.max(resource.unit())
    }

    /// By how many steps the hourly peak usually moves; drawn towards `usual` while little is known.
    pub fn restlessness(&self, usual: f64) -> f64 {
        (f64::from(self.restless.0) + 2.0 * usual) / (f64::from(self.restless.1) + 2.0)
    }

    /// How much of the running hour was seen, at least a quarter.
    pub fn seen(&self) -> f64 {
        if self.per_hour == 0 { 1.0 } else { (f64::from(self.sum.1) / f64::from(self.per_hour)).clamp(0.25, 1.0) }
    }
}

/// Where an hour stands in a ring of so many.
pub fn place(hour: i64, of: usize) -> usize {
    let of = i64::try_from(of).unwrap_or(i64::MAX);
    usize::try_from(hour.rem_euclid(of)).unwrap_or(0)
}
