//! The past of memory: the peak of each hour of the last week, and nothing else.
//!
//! A kill does not ask how long the peak lasted, so the peak is all that counts; and a week of hours answers every
//! question a forecast asks: what was lately, what ever, what at this hour of the day and of the week.

use std::sync::LazyLock;

use wide::u16x8;

use crate::atoms::{self, Atoms, Row, SAME, STRETCHES, VIEWS, row};
use crate::explain::Climb;
use crate::past::{Misses, Past, Tally, UNKNOWN, place};
use crate::resource::{Resource, TOP};
use crate::sample::amount;

/// Hours remembered.
pub const WEEK: usize = 168;

/// Hours after which an hour counts half in the view of everything.
const EVER_HALF_LIFE: f64 = 200.0;

/// Days after which an hour counts half as the same hour of an earlier day.
const DAILY_HALF_LIFE: f64 = 8.313;

/// Hours a new level must have lasted before it is a new way of the program and not a mood.
pub const SHIFT_HOURS: i64 = 6;

/// By how many steps (a third) the new level must lie outside of everything before it.
const SHIFT_STEPS: u16 = 42;

/// Of one miss of the day or the week before, at most this many steps count (35 %).
const LARGEST_MISS: u16 = 44;

/// Hours each higher than the one before that are a climb to a forecast, and by how many steps an hour at most.
const CLIMBED: usize = 3;
const LARGEST_STEP: u16 = 12;

/// Hours of a day, whose record an hour passes or does not.
const RECORD: usize = 24;

/// Hours that say nothing of records, beside those that do.
const UNTRIED: f64 = 24.0;

/// Days each with a higher record than the one before are a growth that goes on, as far as half of the next day.
const GROWN: usize = 3;

/// Steps a day (two per cent) that are no growth.
const NO_GROWTH: u16 = 3;

/// Hours of a day that must be known for its record to count.
const KNOWN_OF_DAY: usize = 18;

/// What a growth that goes on weighs beside the last hours, which are two together.
const GROWTH_WEIGHT: f64 = 0.5;

/// Hours a climb must have lasted.
const CLIMB_HOURS: i64 = 8;

/// Hours that must be known before those.
const SHIFT_KNOWN: i64 = 24;

/// The age of hours from which on they are told of as last week's, and not as an earlier day's.
const LAST_WEEK: usize = 148;

/// What an hour counts in every view, by its age: where no day is known yet, and where one is.
static BY_AGE: LazyLock<(ByAge, ByAge)> = LazyLock::new(|| {
    let mut young = [[0.0; VIEWS]; WEEK];
    for (age, masses) in (0..).zip(&mut young) {
        for (view, half_life) in [(atoms::LATELY, 1.0), (atoms::DAY, 24.0), (atoms::EVER, EVER_HALF_LIFE)] {
            let mass = (-amount(age) / half_life).exp2();
            masses[view] = if mass < 1e-6 { 0.0 } else { mass };
        }
    }
    let mut regular = young;
    for day in 1..=7 {
        let mass = (-amount(day) / DAILY_HALF_LIFE).exp2();
        let mut ahead = 0;
        for (view, hours) in (SAME..).zip(STRETCHES) {
            for _ in 0..hours {
                // The hours beside it count half: nobody's jobs start on the second.
                for (beside, share) in [(0, 1.0), (-1, 0.5), (1, 0.5)] {
                    let age = usize::try_from(day * 24 - ahead + beside).ok().filter(|it| *it < WEEK);
                    if let Some(age) = age {
                        regular[age][view] += mass * share;
                    }
                }
                ahead += 1;
            }
        }
    }
    (young.map(|it| row(&it)), regular.map(|it| row(&it)))
});

/// Masses by age and view.
type ByAge = [Row; WEEK];

/// Hourly peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryPast {
    /// Peak of the running hour.
    pub open: u16,
    /// Peaks of closed hours, at their number modulo a week.
    pub week: [u16; WEEK],
    /// How far hours lay from the same hour of the day before, and from that a week before.
    pub misses: Misses,
    /// Averages.
    pub tally: Tally,
}

impl Default for MemoryPast {
    fn default() -> Self {
        Self { open: UNKNOWN, week: [UNKNOWN; WEEK], misses: Misses::default(), tally: Tally::default() }
    }
}

impl MemoryPast {
    /// Adds a sample of a pod to the running hour, as [`Tally::put`] does.
    pub fn put(&mut self, amount: f64, of_pod: &mut u16) {
        let amount = Resource::Memory.within(amount);
        self.tally.put(amount, of_pod);
        self.raise(amount);
    }

    /// The running hour is known to have needed this much, though it was not measured: a kill.
    pub fn raise(&mut self, amount: f64) {
        let level = Resource::Memory.level(amount);
        self.open = if self.open == UNKNOWN { level } else { self.open.max(level) };
    }

    /// As if the `hours` before `hour` had reached the peaks of their days, the youngest day first.
    pub fn make(&mut self, hour: i64, hours: i64, per_hour: u16, days: &[f64]) {
        let of_day = |day: &f64| (Resource::Memory.level(*day), *day);
        let peaks: Vec<(u16, f64)> = days.iter().flat_map(|it| [of_day(it); 24]).collect();
        let known = peaks.len().min(usize::try_from(hours).unwrap_or(0));
        for (age, (level, _)) in (1..).zip(&peaks[..known]) {
            self.week[place(hour - age, WEEK)] = *level;
        }
        if known > 0 {
            let mean = peaks[..known].iter().map(|it| it.1).sum::<f64>() / amount(hours.max(1));
            self.tally.make(hours, per_hour, mean);
        }
    }

    /// Ends the running hour, number `hour`, and the `gap` unseen ones after it. How many hours of the week were known before the gap, and
    /// how many of them still are.
    pub fn close(&mut self, hour: i64, gap: i64) -> (u16, u16) {
        self.tally.close((self.open != UNKNOWN).then_some(self.open), gap);
        self.compare(hour);
        self.week[place(hour, WEEK)] = self.open;
        self.open = UNKNOWN;
        if gap <= 0 {
            return (1, 1);
        }
        let before = self.known();
        for missing in 1..=gap.min(168) {
            self.week[place(hour + missing, WEEK)] = UNKNOWN;
        }
        (before, self.known())
    }

    /// How many hours of the week are known.
    fn known(&self) -> u16 {
        self.week.iter().map(|it| u16::from(*it != UNKNOWN)).sum()
    }

    /// Notes which foretold the ended hour better: the week before, or the day before.
    fn compare(&mut self, hour: i64) {
        let (week, day) = (self.week[place(hour, WEEK)], self.peak(hour - 24));
        if self.open == UNKNOWN || week == UNKNOWN || day == UNKNOWN {
            return;
        }
        let miss = |told: u16| self.open.abs_diff(told);
        self.misses.count(miss(day), miss(week), LARGEST_MISS);
    }

    /// How far weeks are more regular than days, 0 to 1.
    fn by_week(&self) -> f64 {
        self.misses.week_by_day().map_or(0.0, |it| (1.0 - 2.0 * it).max(0.0))
    }

    /// The peak of a closed hour of the last week.
    pub fn peak(&self, hour: i64) -> u16 {
        self.week[place(hour, WEEK)]
    }

    /// The highest peak of the hours before this one, as far as `hours` reach back, the running one not among them.
    pub fn highest(&self, hour: i64, hours: usize) -> Option<u16> {
        let here = place(hour, WEEK);
        (1..hours).map(|age| self.back(here, age)).filter(|it| *it != UNKNOWN).max()
    }

    /// The peak so many hours (fewer than a week) before the one at `here` in the ring.
    fn back(&self, here: usize, age: usize) -> u16 {
        self.week[(here + WEEK - age) % WEEK]
    }

    /// Peaks by age in hours, the running hour being 0. Unknown hours are left out.
    pub fn peaks(&self, hour: i64) -> impl Iterator<Item = (i64, u16)> + '_ {
        std::iter::once(self.open)
            .chain(self.closed(hour))
            .zip(0..)
            .filter_map(|(peak, age)| (peak != UNKNOWN).then_some((age, peak)))
    }

    /// Peaks of the closed hours, the latest first; of the hour a week ago nothing is told.
    fn closed(&self, hour: i64) -> impl Iterator<Item = u16> + '_ {
        let here = place(hour, WEEK);
        self.week[..here].iter().rev().chain(self.week[here + 1..].iter().rev()).copied()
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
        let Misses { day, week } = other.misses;
        self.misses = Misses { day: self.misses.day.max(day), week: self.misses.week.max(week) };
        self.tally.merge(&other.tally);
    }

    /// A steady climb, where most hours since the last fall were higher than the one before.
    pub fn climb(&self, hour: i64) -> Option<Climb> {
        let mut higher = 0_u32;
        let mut newest: Option<(i64, u16)> = None;
        let mut oldest: Option<(i64, u16)> = None;
        for (age, peak) in self.peaks(hour).filter(|(age, _)| *age > 0) {
            if let Some((_, later)) = oldest {
                // Going back in time a climb goes down; more than two steps up is the fall where it began.
                if peak > later.saturating_add(2) {
                    break;
                }
                higher += u32::from(peak < later);
            }
            newest.get_or_insert((age, peak));
            oldest = Some((age, peak));
        }
        let ((span, from), (newest, to)) = (oldest?, newest?);
        let (bottom, top) = (Resource::Memory.amount(from), Resource::Memory.amount(to));
        let steady = span >= CLIMB_HOURS && i64::from(higher) * 10 >= span * 4 && top >= bottom * 1.08;
        steady.then(|| Climb { per_hour: (top - bottom) / amount(span - newest), reached: top, hours_to_limit: None })
    }

    /// Where the last hours each were higher than the one before: where they will be, beside where they were.
    fn climbing(&self, hour: i64, hours: f64, atoms: &mut Atoms) {
        if hours <= 0.0 {
            return;
        }
        let here = place(hour, WEEK);
        let peaks: [u16; CLIMBED + 1] = std::array::from_fn(|it| self.back(here, it + 1));
        let steps =
            peaks.windows(2).map(|pair| if pair.contains(&UNKNOWN) { 0 } else { pair[0].saturating_sub(pair[1]) });
        let Some(step) = steps.min().filter(|it| *it > 0) else { return };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let more = (f64::from(step.min(LARGEST_STEP)) * hours).round() as u16;
        let now = if self.open == UNKNOWN { peaks[0] } else { self.open.max(peaks[0]) };
        // What went up and down all week passes the day's record by no more than it has before.
        let known = self.highest(hour, RECORD + 1).map_or(now, |it| it.max(now));
        let (moved, passing) = self.passing(hour, 0.0);
        let share = if moved > 0.0 { (passing / moved).min(1.0) } else { 1.0 };
        let climbed = now.saturating_add(more);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let beyond = (f64::from(climbed.saturating_sub(known)) * share).ceil() as u16;
        atoms.put(atoms::LATELY, climbed.min(known).saturating_add(beyond).min(TOP), 1.0);
    }

    /// By how many steps hours passed the record of the day before them, summed up, and how many hours there were to do so.
    fn passed(&self, hour: i64) -> (f64, f64) {
        let here = place(hour, WEEK);
        let (mut steps, mut hours) = (0_u32, 0_u32);
        let mut record: Option<(usize, u16)> = None;
        let mut oldest = None;
        for age in (1..WEEK).rev() {
            let peak = self.back(here, age);
            if peak == UNKNOWN {
                continue;
            }
            if record.is_some_and(|it| it.0 > age + RECORD) {
                let day = (age + 1..=age + RECORD).filter(|it| *it < WEEK).map(|it| (it, self.back(here, it)));
                record = day.filter(|it| it.1 != UNKNOWN).max_by_key(|it| (it.1, WEEK - it.0));
            }
            if let Some((_, record)) = record.filter(|_| *oldest.get_or_insert(age) >= age + RECORD) {
                steps += u32::from(peak.saturating_sub(record).min(LARGEST_MISS));
                hours += 1;
            }
            if record.is_none_or(|it| peak >= it.1) {
                record = Some((age, peak));
            }
            oldest.get_or_insert(age);
        }
        (f64::from(steps), f64::from(hours))
    }

    /// By how many steps the hourly peak moves, and by how many it would, were each hour thrown anew and were records passed as they were:
    /// then one hour in a day and an hour passes, by as much as hours move. What comes back to the same peak every few hours moves,
    /// but passes nothing: a heap that is swept.
    fn passing(&self, hour: i64, usual: f64) -> (f64, f64) {
        let moved = self.tally.restlessness(usual);
        let (steps, hours) = self.passed(hour);
        (moved, (RECORD as f64 * steps + UNTRIED * moved) / (hours + UNTRIED))
    }

    /// Where days each had a higher record than the one before: where half of the next day will be.
    fn grown(&self, hour: i64) -> Option<u16> {
        let here = place(hour, WEEK);
        let mut records = [0; GROWN];
        for (day, record) in records.iter_mut().enumerate() {
            let known = || (1..=RECORD).map(|it| self.back(here, day * RECORD + it)).filter(|it| *it != UNKNOWN);
            *record = known().max().filter(|_| known().count() >= KNOWN_OF_DAY)?;
        }
        let step = records.windows(2).map(|pair| pair[0].saturating_sub(pair[1])).min()?;
        let grown = records[0].saturating_add(step.min(LARGEST_MISS) / 2).min(TOP);
        (step > NO_GROWTH).then_some(grown)
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

    fn tell(&self, hour: i64, climb: f64, atoms: &mut Atoms) {
        self.climbing(hour, climb, atoms);
        if let Some(grown) = self.grown(hour) {
            atoms.put(atoms::LATELY, grown, GROWTH_WEIGHT);
        }
        if self.open != UNKNOWN {
            // A peak stands from when it was seen, however little of the hour that is.
            let seen = self.tally.seen().max(0.25);
            [atoms::LATELY, atoms::DAY, atoms::EVER].into_iter().for_each(|view| atoms.put(view, self.open, seen));
        }
        let regular = self.tally.hours >= 22;
        let masses = if regular { &BY_AGE.1 } else { &BY_AGE.0 };
        for ((age, masses), peak) in masses.iter().enumerate().skip(1).zip(self.closed(hour)) {
            if age == LAST_WEEK && regular {
                // Where weeks are more regular than days, days before the last week count less.
                atoms.scale_from(SAME, 1.0 - self.by_week());
            }
            if peak != UNKNOWN {
                atoms.put_all(peak, masses);
            }
        }
    }

    fn range(&self, hour: i64) -> Option<(u16, u16)> {
        // What is not known is the highest number there is, and 0 when one is added. Eight hours at once: the lower of two is one without
        // what it is more than the other.
        let mut week = self.week;
        week[place(hour, WEEK)] = UNKNOWN;
        let (mut low, mut high) = (u16x8::splat(self.open), u16x8::splat(self.open.wrapping_add(1)));
        for eight in week.as_chunks::<8>().0 {
            let it = u16x8::new(*eight);
            low -= low.saturating_sub(it);
            high += (it + u16x8::ONE).saturating_sub(high);
        }
        let low = low.to_array().into_iter().min()?;
        let high = high.to_array().into_iter().max()?.checked_sub(1)?;
        Some((low, self.grown(hour).map_or(high, |it| it.max(high))))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn restlessness(&self, hour: i64, usual: f64) -> f64 {
        let (moved, passing) = self.passing(hour, usual);
        moved.min(passing)
    }
}
