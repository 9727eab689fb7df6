//! What a past must be able to say to a forecast, and what every past counts alike.

use crate::atoms::Atoms;
use crate::resource::Resource;

/// Marks an hour of which nothing is known.
pub const UNKNOWN: u16 = u16::MAX;

/// A remembered past: views of it as atoms.
pub trait Past {
    /// Which resource this is the past of.
    const RESOURCE: Resource;

    /// All atoms of all views. A climb is believed to go on for so many hours.
    fn tell(&self, hour: i64, climb: f64, atoms: &mut Atoms);

    /// The lowest level worth having and the highest remembered.
    fn range(&self, hour: i64) -> Option<(u16, u16)>;

    /// The tallies.
    fn tally(&self) -> &Tally;

    /// By how many steps an hour is likely to pass what was seen; `usual` while little is known.
    fn restlessness(&self, _hour: i64, usual: f64) -> f64 {
        self.tally().restlessness(usual)
    }
}

/// Averages over the hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Samples of one pod in an hour, as lately seen: what an hour costs does not depend on how many pods a workload has.
    pub per_hour: u16,
    /// Closed hours with samples, counted up to [`MOST_HOURS`]; fewer where a gap has taken what was known of them ([`Tally::lose`]).
    pub hours: u16,
    /// Peak of the last closed hour, where it was measured.
    pub last: Option<u16>,
    /// Decayed sums of hourly means, of the absolute changes of the hourly peak in steps, and of 1.
    pub mean: f32,
    /// See `mean`.
    pub restless: f32,
    /// See `mean`.
    pub weight: f32,
    /// Sum and count of the running hour, of all pods. Both are halved where the count would pass [`MOST_SAMPLES`].
    pub sum: (f32, u32),
    /// Samples within the running hour of the pod that has the most.
    pub pod: u16,
}

/// Hours that are counted: nearly two years.
pub const MOST_HOURS: u16 = (1 << 14) - 1;

/// Samples of an hour that are counted: those of four thousand pods, one every fifteen seconds.
pub const MOST_SAMPLES: u32 = (1 << 20) - 1;

/// A pod has no more samples in an hour: two of one second are one.
pub const MOST_OF_POD: u16 = 3600;

/// Half of an average comes from the last day.
const DECAY: f32 = 0.971_532;

/// A jump is not restlessness: of one change at most this many steps (35 %) count.
const LARGEST_CHANGE: u16 = 44;

/// How many steps an hourly peak usually moves.
const USUAL: f32 = 4.4;

impl Tally {
    /// Counts a sample of a pod; `of_pod` counts those that it has within the running hour. True where sum and count were halved.
    ///
    /// The first of a pod takes the place of whichever is furthest, so that pods which follow each other within an hour count as the
    /// one pod they are in the place of.
    #[expect(clippy::cast_possible_truncation, reason = "a mean of an hour: its further digits are noise")]
    pub fn put(&mut self, amount: f64, of_pod: &mut u16) -> bool {
        *of_pod = if *of_pod == 0 { self.pod.max(1) } else { of_pod.saturating_add(1).min(MOST_OF_POD) };
        self.pod = self.pod.max(*of_pod);
        let is_full = self.sum.1 >= MOST_SAMPLES;
        if is_full {
            self.sum = (self.sum.0 / 2.0, self.sum.1 / 2);
        }
        self.sum = (self.sum.0 + amount as f32, self.sum.1 + 1);
        is_full
    }

    /// Ends an hour with such a peak and the `gap` unseen ones after it.
    pub fn close(&mut self, peak: Option<u16>, gap: i64) {
        let (mean, count) = (self.running(), self.sum.1);
        let of_pod = std::mem::take(&mut self.pod);
        self.sum = (0.0, 0);
        if count > 0 {
            self.mean += mean;
            self.weight += 1.0;
            if let Some((now, before)) = peak.zip(self.last) {
                self.restless += f32::from(now.abs_diff(before).min(LARGEST_CHANGE));
            }
            // Slowly down, at once up: a gap in the recording does not change the interval.
            self.per_hour = of_pod.max(self.per_hour - self.per_hour / 8);
            self.hours = self.hours.saturating_add(1).min(MOST_HOURS);
        }
        self.last = peak.filter(|_| gap == 0);
        let decay = DECAY.powi(i32::try_from(gap.saturating_add(1)).unwrap_or(i32::MAX));
        self.mean *= decay;
        self.restless *= decay;
        self.weight *= decay;
    }

    /// Of the hours counted, the share `left` of `of` is known still: a gap has taken the others.
    pub fn lose(&mut self, (of, left): (u16, u16)) {
        if let Some(hours) = (u32::from(self.hours) * u32::from(left)).checked_div(u32::from(of)) {
            self.hours = u16::try_from(hours).unwrap_or(MOST_HOURS).min(self.hours);
        }
    }

    /// As if there had been so many hours up to now, of so many samples each, with such a mean.
    pub fn make(&mut self, hours: i64, per_hour: u16, mean: f64) {
        self.per_hour = per_hour.min(MOST_OF_POD);
        self.hours = u16::try_from(hours).unwrap_or(u16::MAX).min(MOST_HOURS);
        self.weight = (1..=i32::from(self.hours)).map(|age| DECAY.powi(age)).sum();
        #[expect(clippy::cast_possible_truncation, reason = "a mean: its further digits are noise")]
        let mean = mean as f32;
        self.mean = mean * self.weight;
        // How restless these hours were is not known: as restless as most.
        self.restless = USUAL * self.weight;
    }

    /// Takes over another tally of the same running hour.
    pub fn merge(&mut self, other: &Self) {
        self.per_hour = self.per_hour.max(other.per_hour);
        self.hours = self.hours.max(other.hours);
        self.last = self.last.max(other.last);
        self.mean += other.mean;
        self.restless += other.restless;
        self.weight += other.weight;
        self.sum = (self.sum.0 + other.sum.0, self.sum.1 + other.sum.1);
        while self.sum.1 > MOST_SAMPLES {
            self.sum = (self.sum.0 / 2.0, self.sum.1 / 2);
        }
        self.pod = self.pod.max(other.pod);
    }

    /// Samples of one pod in an hour, the running one among them.
    pub fn samples(&self) -> u16 {
        self.per_hour.max(self.pod)
    }

    /// The mean of the running hour.
    #[expect(clippy::cast_possible_truncation, reason = "a mean: its further digits are noise")]
    fn running(&self) -> f32 {
        (f64::from(self.sum.0) / f64::from(self.sum.1.max(1))) as f32
    }

    /// The average use, lately.
    pub fn average(&self, resource: Resource) -> f64 {
        let (sum, weight) = (f64::from(self.mean), f64::from(self.weight));
        let (open, seen) =
            if self.sum.1 == 0 { (0.0, 0.0) } else { (f64::from(self.sum.0) / f64::from(self.sum.1), 1.0) };
        let average = if weight + seen > 0.0 { (sum + open) / (weight + seen) } else { 0.0 };
        average.max(resource.unit())
    }

    /// By how many steps the hourly peak usually moves; drawn towards `usual` while little is known.
    pub fn restlessness(&self, usual: f64) -> f64 {
        (f64::from(self.restless) + 2.0 * usual) / (f64::from(self.weight) + 2.0)
    }

    /// How much of the running hour was seen.
    pub fn seen(&self) -> f64 {
        if self.per_hour == 0 { 1.0 } else { (f64::from(self.pod) / f64::from(self.per_hour)).min(1.0) }
    }
}

/// How far hours lay from what the day before and from what the week before said of them, in levels: decayed sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Misses {
    /// Of the day.
    pub day: u16,
    /// Of the week.
    pub week: u16,
}

impl Misses {
    /// What one hour counts at most.
    pub const LARGEST: u16 = 60;
    /// After how many hours an hour counts 1/e.
    const FADE: u16 = 64;
    /// What a sum can come to.
    pub const MOST: u16 = (Self::LARGEST + 1) * Self::FADE;
    /// How much the day must have missed before the two are compared.
    const ENOUGH: u16 = 200;

    /// Counts an hour; of either miss no more than `largest`.
    pub fn count(&mut self, day: u16, week: u16, largest: u16) {
        let next = |sum: u16, miss: u16| sum - sum / Self::FADE + miss.min(largest).min(Self::LARGEST);
        *self = Self { day: next(self.day, day), week: next(self.week, week) };
    }

    /// What the week misses by what the day does; `None` where that is not known yet.
    pub fn week_by_day(self) -> Option<f64> {
        (self.day >= Self::ENOUGH).then(|| f64::from(self.week) / f64::from(self.day))
    }
}

/// Where an hour stands in a ring of so many.
pub fn place(hour: i64, of: usize) -> usize {
    let of = i64::try_from(of).unwrap_or(i64::MAX);
    usize::try_from(hour.rem_euclid(of)).unwrap_or(0)
}
