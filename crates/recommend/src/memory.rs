//! The past of memory: the peak of each hour of the last week, and nothing else.
//!
//! A kill does not ask how long the peak lasted, so the peak is all that counts; and a week of hours answers every
//! question a forecast asks: what was lately, what ever, what at this hour of the day and of the week.

use crate::past::{Past, Tally, UNKNOWN, place};
use crate::resource::Resource;

/// Hours remembered.
pub const WEEK: usize = 168;

/// Hours after which an hour counts half in the view of everything.
const EVER_HALF_LIFE: f64 = 200.0;

/// Hours a new level must have lasted before it is a new way of the program and not a mood.
pub const SHIFT_HOURS: i64 = 6;

/// By how many steps (a third) the new level must lie outside of everything before it.
const SHIFT_STEPS: u16 = 42;

/// Of one miss of the day or the week before, at most this many steps count (35 %), and so many in all tell them apart.
const LARGEST_MISS: u16 = 44;
const ENOUGH_MISSES: u16 = 200;

/// Hours a climb must have lasted.
const CLIMB_HOURS: i64 = 8;

/// Hours that must be known before those.
const SHIFT_KNOWN: i64 = 24;

/// Hourly peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryPast {
    /// Peak of the running hour.
    pub open: u16,
    /// Peaks of closed hours, at their number modulo a week.
    pub week: [u16; WEEK],
    /// Decayed sums, in steps: how far hours lay from the same hour a week before, and from that of the day before.
    pub weekly: (u16, u16),
    /// Averages.
    pub tally: Tally,
}

impl Default for MemoryPast {
    fn default() -> Self {
        Self { open: UNKNOWN, week: [UNKNOWN; WEEK], weekly: (0, 0), tally: Tally::default() }
    }
}

impl MemoryPast {
    /// Adds a sample to the running hour.
    pub fn put(&mut self, amount: f64) {
        self.tally.put(amount);
        self.raise(amount);
    }

    /// The running hour is known to have needed this much, though it was not measured: a kill.
    pub fn raise(&mut self, amount: f64) {
        let level = Resource::Memory.level(amount);
        self.open = if self.open == UNKNOWN { level } else { self.open.max(level) };
    }

    /// Ends the running hour, number `hour`, and the `gap` unseen ones after it.
    pub fn close(&mut self, hour: i64, gap: i64) {
        self.tally.close((self.open != UNKNOWN).then_some(self.open), gap);
        self.compare(hour);
        self.week[place(hour, WEEK)] = self.open;
        for missing in 1..=gap.min(168) {
            self.week[place(hour + missing, WEEK)] = UNKNOWN;
        }
        self.open = UNKNOWN;
    }

    /// Notes which foretold the ended hour better: the week before, or the day before.
    fn compare(&mut self, hour: i64) {
        let (week, day) = (self.week[place(hour, WEEK)], self.peak(hour - 24));
        if self.open == UNKNOWN || week == UNKNOWN || day == UNKNOWN {
            return;
        }
        let next = |sum: u16, told: u16| sum - sum / 64 + self.open.abs_diff(told).min(LARGEST_MISS);
        self.weekly = (next(self.weekly.0, week), next(self.weekly.1, day));
    }

    /// How far weeks are more regular than days, 0 to 1.
    fn by_week(&self) -> f64 {
        let (week, day) = (f64::from(self.weekly.0), f64::from(self.weekly.1));
        if self.weekly.1 < ENOUGH_MISSES { 0.0 } else { (1.0 - 2.0 * week / day).max(0.0) }
    }

    /// The peak of a closed hour of the last week.
    pub fn peak(&self, hour: i64) -> u16 {
        self.week[place(hour, WEEK)]
    }

    /// The peak so many hours (fewer than a week) before the one at `here` in the ring.
    fn back(&self, here: usize, age: usize) -> u16 {
        self.week[(here + WEEK - age) % WEEK]
    }

    /// Peaks by age in hours, the running hour being 0. Unknown hours are left out.
    pub fn peaks(&self, hour: i64) -> impl Iterator<Item = (i64, u16)> + '_ {
        let here = place(hour, WEEK);
        let closed = (1..WEEK).zip(1..).map(move |(back, age)| (age, self.back(here, back)));
        std::iter::once((0, self.open)).chain(closed).filter(|(_, peak)| *peak != UNKNOWN)
    }

    /// True when the last hours lie well outside of everything remembered before them: another program runs now.
    pub fn shifted(&self, hour: i64) -> bool {
        let mut new = (u16::MAX, 0);
        let mut old = (u16::MAX, 0);
        let (mut new_hours, mut old_hours) = (0, 0);
        for (age, peak) in self.peaks(hour).filter(|(age, _)| *age > 0) {
            let (range, count) =
                if age <= SHIFT_HOURS { (&mut new, &mut new_hours) } else { (&mut old, &mut old_hours) };
            *range = (range.0.min(peak), range.1.max(peak));
            *count += 1;
        }
        let enough = new_hours == SHIFT_HOURS && old_hours >= SHIFT_KNOWN;
        enough && (new.1.saturating_add(SHIFT_STEPS) <= old.0 || old.1.saturating_add(SHIFT_STEPS) <= new.0)
    }

    /// Takes over another past at the same running hour.
    pub fn merge(&mut self, other: &Self, hour: i64) {
        let higher = |a: u16, b: u16| {
            if a == UNKNOWN {
                b
            } else if b == UNKNOWN {
                a
            } else {
                a.max(b)
            }
        };
        self.open = higher(self.open, other.open);
        for age in 1..=168 {
            let here = place(hour - age, WEEK);
            self.week[here] = higher(self.week[here], other.week[here]);
        }
        self.weekly = (self.weekly.0.max(other.weekly.0), self.weekly.1.max(other.weekly.1));
        self.tally.merge(&other.tally);
    }

    /// A steady climb: bytes an hour, where most hours since the last fall were higher than the one before.
    pub fn climb(&self, hour: i64) -> Option<f64> {
        let mut higher = 0_u32;
        let mut newest: Option<u16> = None;
        let mut oldest: Option<(i64, u16)> = None;
        for (age, peak) in self.peaks(hour).filter(|(age, _)| *age > 0) {
            if let Some((_, later)) = oldest {
                // Going back in time a climb goes down; more than two steps up is the fall where it began.
                if peak > later.saturating_add(2) {
                    break;
                }
                higher += u32::from(peak < later);
            }
            newest.get_or_insert(peak);
            oldest = Some((age, peak));
        }
        let ((span, from), to) = (oldest?, newest?);
        let (bottom, top) = (Resource::Memory.amount(from), Resource::Memory.amount(to));
        let steady = span >= CLIMB_HOURS && i64::from(higher) * 10 >= span * 4 && top >= bottom * 1.08;
        let hours = span as f64;
        steady.then(|| (top - bottom) / hours)
    }

    /// The running hour and those before it, their mass halving with every `half_life` hours of age.
    fn aged(&self, hour: i64, half_life: f64, mut visit: impl FnMut(u16, f64)) {
        let decay = (-1.0 / half_life).exp2();
        let mut mass = 1.0;
        if self.open != UNKNOWN {
            // A peak stands from when it was seen, however little of the hour that is.
            visit(self.open, self.tally.seen().max(0.25));
        }
        let here = place(hour, WEEK);
        for age in 1..WEEK {
            mass *= decay;
            if mass < 1e-6 {
                break;
            }
            let peak = self.back(here, age);
            if peak != UNKNOWN {
                visit(peak, mass);
            }
        }
    }

    /// Forgets what is older than `keep` hours.
    pub fn forget(&mut self, hour: i64, keep: i64) {
        for age in keep.max(0) + 1..=168 {
            self.week[place(hour - age, WEEK)] = UNKNOWN;
        }
    }
}

impl Past for MemoryPast {
    const RESOURCE: Resource = Resource::Memory;

    fn lately(&self, hour: i64, visit: impl FnMut(u16, f64)) {
        self.aged(hour, 1.0, visit);
    }

    fn day(&self, hour: i64, visit: impl FnMut(u16, f64)) {
        self.aged(hour, 24.0, visit);
    }

    fn ever(&self, hour: i64, visit: impl FnMut(u16, f64)) {
        self.aged(hour, EVER_HALF_LIFE, visit);
    }

    fn same_hour(&self, hour: i64, ahead: i64, mut visit: impl FnMut(u16, f64)) {
        if self.tally.hours < 22 {
            return;
        }
        let (by_week, here) = (self.by_week(), place(hour, WEEK));
        let mut mass = 1.0;
        for day in 1..=7 {
            mass *= 0.92; // half after eight days
            let mass = mass * if day == 7 { 1.0 } else { 1.0 - by_week };
            let age = day * 24 - ahead;
            // The hours beside it count half: nobody's jobs start on the second.
            for (beside, share) in [(0, 1.0), (-1, 0.5), (1, 0.5)] {
                let age = age + beside;
                let Some(age) = usize::try_from(age).ok().filter(|it| (1..WEEK).contains(it)) else { continue };
                let peak = self.back(here, age);
                if peak != UNKNOWN {
                    visit(peak, mass * share);
                }
            }
        }
    }

    fn range(&self, hour: i64) -> Option<(u16, u16)> {
        let mut range = None;
        for (_, peak) in self.peaks(hour) {
            let (low, high) = range.unwrap_or((peak, peak));
            range = Some((low.min(peak), high.max(peak)));
        }
        range
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
